//! The wall clock. Generator and sink are two processes on one machine and compare its times; a clock step during a run
//! would show as an absurd maximum.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub fn now_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Seconds between two times.
pub fn seconds_between(start_nanos: u64, end_nanos: u64) -> f64 {
    end_nanos.saturating_sub(start_nanos) as f64 / 1e9
}
