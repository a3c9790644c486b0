//! Metrics of scheduler and prober. Check results are counted by the engine. No label holds a host or an id.

use std::sync::LazyLock;
use std::time::Duration;

use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use tidings_domain::endpoint::Probe;

const STARTED: &str = "tidings_probes_started_total";
const LAG: &str = "tidings_check_lag_seconds";
const SKIPPED: &str = "tidings_probe_runs_skipped_total";
const IN_FLIGHT: &str = "tidings_probes_in_flight";
const MONITORED: &str = "tidings_endpoints_watched";
const REFERENCE_PROBES: &str = "tidings_reference_probes_total";

/// Why a scheduled run was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SkipReason {
    /// The endpoint's previous probe was still running.
    InFlight,
    /// A later run was due as well by the time the scheduler got to it: the machine does not keep up.
    Lagging,
    /// Too many observations were waiting to be persisted.
    Backpressure,
}

impl SkipReason {
    pub const ALL: [Self; 3] = [Self::InFlight, Self::Lagging, Self::Backpressure];

    /// The value of the label `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::Lagging => "lagging",
            Self::Backpressure => "backpressure",
        }
    }
}

/// Registers the help texts.
pub(crate) fn describe() {
    describe_counter!(STARTED, Unit::Count, "Probes started, by endpoint type.");
    describe_histogram!(LAG, Unit::Seconds, "Delay between the time a probe was due and the time it started.");
    describe_counter!(
        SKIPPED,
        Unit::Count,
        "Scheduled probe runs that were skipped, by reason: previous probe in flight, scheduler lagging, or \
         backpressure from persisting results."
    );
    describe_gauge!(IN_FLIGHT, Unit::Count, "Probes in flight, including those waiting for a slot of their target.");
    describe_gauge!(MONITORED, Unit::Count, "Endpoints on schedule: enabled and not deleted.");
    describe_counter!(
        REFERENCE_PROBES,
        Unit::Count,
        "Probes of the reference targets, by result: at least one answered, or all were silent."
    );
}

/// Endpoint types as definitions spell them.
const TYPES: [&str; 5] = ["http", "tcp", "icmp", "dns", "tls"];

/// `None` for what is not probed.
const fn type_index(probe: &Probe) -> Option<usize> {
    match probe {
        Probe::Http(_) => Some(0),
        Probe::Tcp { .. } => Some(1),
        Probe::Icmp { .. } => Some(2),
        Probe::Dns { .. } => Some(3),
        Probe::Tls { .. } => Some(4),
        Probe::External { .. } => None,
    }
}

/// Handles of the series that every probe updates.
struct Series {
    started: [Counter; TYPES.len()],
    lag: Histogram,
}

// Looked up on first use, because a handle taken before the recorder is installed counts nothing.
static SERIES: LazyLock<Series> =
    LazyLock::new(|| Series { started: TYPES.map(|kind| counter!(STARTED, "type" => kind)), lag: histogram!(LAG) });

pub(crate) fn record_started(probe: &Probe) {
    if let Some(index) = type_index(probe) {
        SERIES.started[index].increment(1);
    }
}

pub(crate) fn record_lag(lag: Duration) {
    SERIES.lag.record(lag.as_secs_f64());
}

pub(crate) fn record_skipped(reason: SkipReason, runs: u64) {
    counter!(SKIPPED, "reason" => reason.as_str()).increment(runs);
}

pub(crate) fn set_load(monitored: usize, in_flight: usize) {
    gauge!(MONITORED).set(monitored as f64);
    gauge!(IN_FLIGHT).set(in_flight as f64);
}

pub(crate) fn record_reference_probe(one_answered: bool) {
    counter!(REFERENCE_PROBES, "result" => if one_answered { "answered" } else { "silent" }).increment(1);
}

#[cfg(test)]
mod tests {
    use tidings_domain::endpoint::HttpProbe;
    use tidings_domain::tls::TlsSettings;

    use super::*;

    #[test]
    fn labels_match_definitions_and_are_distinct() {
        let host = String::new;
        for probe in [
            Probe::Http(HttpProbe::new("http://a/")),
            Probe::Tcp { host: host(), port: 1 },
            Probe::Icmp { host: host() },
            Probe::Dns { host: host(), record_type: host(), expected_value: None },
            Probe::Tls { host: host(), port: 1, tls: TlsSettings::default() },
        ] {
            let variant = format!("{probe:?}").to_lowercase();
            assert!(variant.starts_with(TYPES[type_index(&probe).unwrap()]), "{variant}");
        }
        let reasons: std::collections::BTreeSet<_> = SkipReason::ALL.map(SkipReason::as_str).into();
        assert_eq!(reasons.len(), SkipReason::ALL.len());
    }
}
