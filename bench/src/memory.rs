//! How much memory this process has, from `/proc`.

use std::{fs, io};

/// MiB from `/proc/self/status`: `VmRSS` is resident now, `VmHWM` is the most that ever was.
pub fn own_mib(field: &str) -> io::Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    parse(&status, field).ok_or_else(|| io::Error::other(format!("/proc/self/status has no {field}")))
}

fn parse(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn memory_is_found_by_its_name() {
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t    512 kB\n";
        assert_eq!((super::parse(status, "VmHWM"), super::parse(status, "VmSwap")), (Some(2.0), None));
    }
}
