//! What was measured between two instants.

use serde::Serialize;
use tidings_bench::{clock, cpu, latency::Summary, memory};

/// What the program prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Checks that ended while it was measured.
    pub checks: u64,
    /// How many of them were not answered 200, with the words of the first.
    pub failures: u64,
    pub first_failure: Option<String>,
    pub seconds: f64,
    /// Processor time of this process, its own and the kernel's on its behalf.
    pub cpu_seconds: f64,
    /// Memory at the end, and the most that there ever was.
    pub rss_mib: f64,
    pub rss_max_mib: f64,
    /// How late probes began, if there was an instant at which they were due.
    pub lag: Option<Summary>,
    /// Turns that should have come while it was measured, if there was a schedule.
    pub due: Option<u64>,
}

impl Report {
    /// One line.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

/// When measuring began.
pub struct Begun {
    nanos: u64,
    cpu_seconds: f64,
}

impl Begun {
    /// Now.
    pub fn now() -> anyhow::Result<Self> {
        Ok(Self { nanos: clock::now_nanos(), cpu_seconds: cpu::own_seconds()? })
    }

    /// What it came to.
    pub fn report(&self, checks: u64, failures: u64, first_failure: Option<String>) -> anyhow::Result<Report> {
        Ok(Report {
            checks,
            failures,
            first_failure,
            seconds: clock::seconds_between(self.nanos, clock::now_nanos()),
            cpu_seconds: cpu::own_seconds()? - self.cpu_seconds,
            rss_mib: memory::own_mib("VmRSS")?,
            rss_max_mib: memory::own_mib("VmHWM")?,
            lag: None,
            due: None,
        })
    }
}
