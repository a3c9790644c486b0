//! The check engine: what a check costs, whether ten thousand endpoints are looked at in time, and how long it is from
//! a failing check to the channel.
//!
//! ```text
//! tidings-watcher ──probes──▶ tidings-target        (5,000 hosts a process, each an address of loopback)
//! tidings serve ────probes──▶ tidings-target
//!       └───────────webhooks─▶ tidings-sink
//! ```
//!
//! The watcher is the prober and its schedule in a process of their own: nothing is judged, nothing written down. It is
//! the floor of the server, which does all of it.

mod alert;
mod alone;
mod endpoints;
mod served;
mod targets;

use super::{Bench, say, table::Table, table::thousands};
use targets::Targets;

/// How often each endpoint is looked at.
const INTERVAL_SECONDS: u64 = 10;

/// What is measured, and how.
const WORDS: &str = "watch: checks flat out are made by the prober in a process of its own; the rest is the whole \
    server. Its floor is the prober with its schedule, which judges and stores nothing, on the same endpoints. Lag is \
    read from the buckets of /metrics, the floor's from every check in whole milliseconds. An alert is timed from the \
    answer that meets the threshold, as it leaves the target, to the webhook at the receiver.";

/// Measures it and adds it to the table.
pub fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    table.remark(WORDS.to_owned());
    say("  flat out");
    alone::flat_out(bench, table)?;
    let endpoints: u64 = bench.pick(10_000, 1_000);
    let mut targets = Targets::plain(bench, 1, endpoints)?;
    say(&format!("  {} endpoints on schedule, the prober alone", thousands(endpoints as f64)));
    let floor = alone::on_schedule(bench, &mut targets, endpoints, table)?;
    say("  the same, the server");
    let mut server = served::measure(bench, &mut targets, endpoints, &floor, table)?;
    say("  from a failing check to the channel");
    alert::measure(bench, &mut server, table)?;
    targets.check()
}
