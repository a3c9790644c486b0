//! Processor time and memory of this process, from `/proc`.

use std::{fs, io};

/// Linux reports times in `/proc` in hundredths of a second, whatever the kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time of this process in seconds, user and system.
pub fn own_cpu_seconds() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    parse_cpu_seconds(&stat).ok_or_else(|| io::Error::other("/proc/self/stat has an unexpected format"))
}

/// MiB from `/proc/self/status`: `VmRSS` is the resident memory, `VmHWM` its peak.
pub fn own_memory_mib(field: &str) -> io::Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    parse_memory_mib(&status, field).ok_or_else(|| io::Error::other(format!("/proc/self/status has no {field}")))
}

/// The second field is the process name in parentheses, which may hold anything: fields are counted after it.
fn parse_cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

fn parse_memory_mib(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_cpu_seconds_skips_a_name_with_spaces_and_parentheses() {
        assert_eq!(parse_cpu_seconds("4711 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3 0 100"), Some(3.0));
        assert_eq!(parse_cpu_seconds("4711 (a"), None);
    }

    #[test]
    fn parse_memory_mib_finds_the_field() {
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t    512 kB\n";
        assert_eq!((parse_memory_mib(status, "VmHWM"), parse_memory_mib(status, "VmSwap")), (Some(2.0), None));
    }
}
