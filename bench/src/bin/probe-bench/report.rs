//! The report of one measurement.

use serde::Serialize;
use tidings_bench::{clock, latency::Summary, procfs};

/// The program's output.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Checks that finished during the measurement.
    pub checks: u64,
    /// Checks without the expected answer.
    pub failures: u64,
    pub first_failure: Option<String>,
    pub seconds: f64,
    /// Processor time of this process, user and system.
    pub cpu_seconds: f64,
    /// Resident memory at the end, and its peak.
    pub rss_mib: f64,
    pub rss_max_mib: f64,
    /// Delay of probes after their due time, with a schedule only.
    pub lag: Option<Summary>,
    /// Runs that were due during the measurement, with a schedule only.
    pub due: Option<u64>,
}

impl Report {
    /// One line of JSON.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

/// The start of a measurement.
pub struct Start {
    nanos: u64,
    cpu_seconds: f64,
}

impl Start {
    /// Starts now.
    pub fn now() -> anyhow::Result<Self> {
        Ok(Self { nanos: clock::now_nanos(), cpu_seconds: procfs::own_cpu_seconds()? })
    }

    /// The report of the time since.
    pub fn report(&self, checks: u64, failures: u64, first_failure: Option<String>) -> anyhow::Result<Report> {
        Ok(Report {
            checks,
            failures,
            first_failure,
            seconds: clock::seconds_between(self.nanos, clock::now_nanos()),
            cpu_seconds: procfs::own_cpu_seconds()? - self.cpu_seconds,
            rss_mib: procfs::own_memory_mib("VmRSS")?,
            rss_max_mib: procfs::own_memory_mib("VmHWM")?,
            lag: None,
            due: None,
        })
    }
}
