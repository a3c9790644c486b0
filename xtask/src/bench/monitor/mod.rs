//! Monitoring: the cost of a check, ten thousand endpoints on schedule, and the latency from a failing check to the
//! notification.
//!
//! ```text
//! probe-bench ──────probes──▶ tidings-target        (5,000 hosts per process, each a loopback address)
//! tidings serve ────probes──▶ tidings-target
//!       └───────────webhooks─▶ tidings-sink
//! ```
//!
//! `probe-bench` runs prober and scheduler in a process of their own, without evaluating or persisting results. It is
//! the server's baseline.

mod endpoints;
mod incident;
mod prober;
mod server;
mod targets;

use super::{Bench, progress, table::Table, table::thousands};
use targets::Targets;

/// Interval of all endpoints.
const INTERVAL_SECONDS: u64 = 10;

/// Explains the figures below the table.
const REMARK: &str = "monitor: checks at full speed are made by the prober in its own process; the rest by the whole \
    server. Its baseline is prober and scheduler on the same endpoints, without evaluation and storage. Lag is read \
    from the buckets of /metrics, the baseline's from every check in whole milliseconds. A notification is timed from the \
    response that meets the failure threshold, when the target sends it, to the webhook at the receiver.";

/// Measures it and adds it to the table.
pub fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    table.remark(REMARK.to_owned());
    progress("  full speed");
    prober::flat_out(bench, table)?;
    let endpoints: u64 = bench.pick(10_000, 1_000);
    let mut targets = Targets::plain(bench, 1, endpoints)?;
    progress(&format!("  {} endpoints on schedule, prober only", thousands(endpoints as f64)));
    let baseline = prober::on_schedule(bench, &mut targets, endpoints, table)?;
    progress("  the same, server");
    let mut server = server::measure(bench, &mut targets, endpoints, &baseline, table)?;
    progress("  failing check to notification");
    incident::measure(bench, &mut server, table)?;
    targets.check()
}
