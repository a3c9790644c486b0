//! How much processor time this process has used, from `/proc`.

use std::{fs, io};

/// The kernel counts in hundredths of a second here, whatever its own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds that this process has spent, its own and the kernel's on its behalf.
pub fn own_seconds() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    parse(&stat).ok_or_else(|| io::Error::other("/proc/self/stat is not of the form that proc(5) tells"))
}

/// The second field is a name in brackets that may hold anything: counting starts behind it.
fn parse(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_found_behind_an_odd_name() {
        let stat = "4711 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3 0 100";
        assert_eq!(super::parse(stat), Some(3.0));
        assert_eq!(super::parse("4711 (a"), None);
    }
}
