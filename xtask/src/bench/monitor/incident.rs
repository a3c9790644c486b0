//! From a failing check to the channel, while the server goes on with all its other endpoints.
//!
//! Real probes: a host answers what its endpoint does not expect, and the answer holds the instant at which it was
//! given (the stamp of `tidings_bench::stamp`). The words of the failed assertion quote it, the opening that follows
//! says those words, and the receiver finds the stamp in the webhook's body. Endpoints are made at a steady rate, and
//! each is looked at when it is made and every interval from then on: so their outages begin at that rate, too.

use std::{thread, time::Duration};

use serde_json::json;

use super::{INTERVAL_SECONDS, endpoints::Endpoints, targets::Targets};
use crate::bench::{
    Bench, say,
    server::Server,
    sink::Sink,
    table::{Figure, Table, Target, Unit},
};
use crate::shell::Stopwatch;

/// Outages that begin in a second.
const RATE: u64 = 50;
/// Checks in a row that open an incident: the first one does not.
const THRESHOLD: u64 = 2;
/// Away from the nets of the other targets.
const NET: u64 = 100;
/// What is not there so long after it was due is lost.
const GRACE: Duration = Duration::from_secs(30);
const PATH: &str = "/ok/outages";

/// Measures it and adds it to the table.
pub fn measure(bench: &Bench, server: &mut Server, table: &mut Table) -> anyhow::Result<()> {
    let count: u64 = bench.pick(500, 100);
    let (sink, mut targets) = (Sink::start(bench)?, Targets::plain(bench, NET, count)?);
    let workspace = server.workspace();
    workspace.wire_outages(&sink.url(PATH))?;
    let fields = json!({
        "failureThreshold": THRESHOLD,
        "assertions": [{"kind": "json", "operator": "equals", "target": "status", "value": "ok"}],
    });
    let failing = Endpoints { targets: &targets, count, rate: Some(RATE), path: "/stamp", fields };
    let made_seconds = failing.make(&workspace)?;

    let watch = Stopwatch::start();
    let within = Duration::from_secs(INTERVAL_SECONDS * THRESHOLD) + GRACE;
    loop {
        server.check()?;
        targets.check()?;
        let arrived = sink.arrived(PATH, false)?.requests;
        if arrived >= count {
            break;
        }
        anyhow::ensure!(watch.read().0 < within, "of {count} outages {arrived} were told, no more come");
        thread::sleep(Duration::from_millis(100));
    }
    let arrived = sink.arrived(PATH, true)?;
    anyhow::ensure!(arrived.distinct == count, "{count} outages began, {} different ones were told", arrived.distinct);
    let took = sink.latency(PATH)?;
    anyhow::ensure!(took.count == arrived.requests, "only {} of {count} webhooks carried a stamp", took.count);
    say(&format!("  p50 {:.3} ms, p99 {:.3} ms", took.p50_ms, took.p99_ms));

    let mut add = |part: &str, value, target| {
        let name = format!("watch: server, failing check to receiver, {RATE}/s beside the others: {part}");
        table.add(Figure { name: &name, value, unit: Unit::Ms, target, floor: None });
    };
    add("p50", took.p50_ms, Target::None);
    add("p99", took.p99_ms, Target::Below(50.0));
    let again = arrived.requests - arrived.distinct;
    table.remark(format!(
        "watch: {count} outages, begun within {made_seconds:.1} s, each by its check no. {THRESHOLD}; all were told, \
         {again} told again."
    ));
    Ok(())
}
