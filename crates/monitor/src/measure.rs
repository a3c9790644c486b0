//! What is measured of the check engine, apart from what the checks came to. No label ever holds a host or an id.

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
const WATCHED: &str = "tidings_endpoints_watched";
const REFERENCES: &str = "tidings_reference_probes_total";

/// Why a turn was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skipped {
    /// The endpoint's probe before was still under way.
    UnderWay,
    /// The turn had passed before anybody looked at the timetable: the machine does not keep up.
    Behind,
    /// Too many observations wait to be written down.
    Unwritten,
}

impl Skipped {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::UnderWay, Self::Behind, Self::Unwritten];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnderWay => "in_flight",
            Self::Behind => "lagging",
            Self::Unwritten => "backpressure",
        }
    }
}

/// Says what each series means.
pub(crate) fn describe() {
    describe_counter!(STARTED, Unit::Count, "Probes begun, by type of endpoint.");
    describe_histogram!(LAG, Unit::Seconds, "How late probes began, after the instant at which they were due.");
    describe_counter!(
        SKIPPED,
        Unit::Count,
        "Turns skipped, by reason: the endpoint's probe before was under way, the machine was behind, or what was seen \
         could not be written down fast enough."
    );
    describe_gauge!(IN_FLIGHT, Unit::Count, "Probes under way, with those that wait for their target's turn.");
    describe_gauge!(WATCHED, Unit::Count, "Endpoints that are watched.");
    describe_counter!(
        REFERENCES,
        Unit::Count,
        "Times that the reference targets were looked at, by result: one answered, or all were silent."
    );
}

/// The words for the types of endpoints.
const TYPES: [&str; 5] = ["http", "tcp", "icmp", "dns", "tls"];

const fn place(probe: &Probe) -> usize {
    match probe {
        Probe::Http(_) => 0,
        Probe::Tcp { .. } => 1,
        Probe::Icmp { .. } => 2,
        Probe::Dns { .. } => 3,
        Probe::Tls { .. } => 4,
    }
}

/// The series that every probe counts in, looked up once; by then the recorder is there.
struct Series {
    started: [Counter; TYPES.len()],
    lag: Histogram,
}

static SERIES: LazyLock<Series> =
    LazyLock::new(|| Series { started: TYPES.map(|kind| counter!(STARTED, "type" => kind)), lag: histogram!(LAG) });

/// A probe is begun.
pub(crate) fn started(probe: &Probe) {
    SERIES.started[place(probe)].increment(1);
}

/// A probe began so late.
pub(crate) fn lagged(lag: Duration) {
    SERIES.lag.record(lag.as_secs_f64());
}

/// So many turns were skipped.
pub(crate) fn skipped(why: Skipped, turns: u64) {
    counter!(SKIPPED, "reason" => why.as_str()).increment(turns);
}

/// How much there is to do.
pub(crate) fn load(watched: usize, in_flight: usize) {
    gauge!(WATCHED).set(watched as f64);
    gauge!(IN_FLIGHT).set(in_flight as f64);
}

/// The reference targets were looked at.
pub(crate) fn looked_at_references(one_answered: bool) {
    counter!(REFERENCES, "result" => if one_answered { "answered" } else { "silent" }).increment(1);
}

#[cfg(test)]
mod tests {
    use tidings_domain::endpoint::HttpProbe;

    use super::*;

    #[test]
    fn types_are_called_as_in_definitions() {
        let host = String::new;
        for probe in [
            Probe::Http(HttpProbe::new("http://a/")),
            Probe::Tcp { host: host(), port: 1 },
            Probe::Icmp { host: host() },
            Probe::Dns { host: host(), record_type: host(), expected_value: None },
            Probe::Tls { host: host(), port: 1 },
        ] {
            let told = format!("{probe:?}").to_lowercase();
            assert!(told.starts_with(TYPES[place(&probe)]), "{told}");
        }
        let words: std::collections::BTreeSet<_> = Skipped::ALL.map(Skipped::as_str).into();
        assert_eq!(words.len(), Skipped::ALL.len());
    }
}
