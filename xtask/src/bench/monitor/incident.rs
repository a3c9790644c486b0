//! Latency from a failing check to the notification, while the server monitors all its other endpoints.
//!
//! The probes are real: a host returns a body that fails the endpoint's assertion and holds the time of the response
//! (see `tidings_bench::send_time`). The failed assertion quotes it, the notification includes the assertion, and the
//! receiver finds the time in the webhook's body. Endpoints are created at a constant rate and probed at once and every
//! interval after that, so incidents open at the same rate.

use std::{thread, time::Duration};

use serde_json::json;

use super::{INTERVAL_SECONDS, endpoints::Endpoints, targets::Targets};
use crate::bench::{
    Bench, progress,
    server::Server,
    sink::Sink,
    table::{Figure, Table, Target, Unit},
};
use crate::shell::Stopwatch;

/// Incidents opened per second.
const RATE: u64 = 50;
/// Failure threshold: the first failing check does not open an incident.
const THRESHOLD: u64 = 2;
/// Not used by the other targets.
const NET: u64 = 100;
/// Notifications that arrive later than this after they were due are lost.
const GRACE: Duration = Duration::from_secs(30);
const PATH: &str = "/ok/incidents";

/// Measures it and adds it to the table.
pub fn measure(bench: &Bench, server: &mut Server, table: &mut Table) -> anyhow::Result<()> {
    let count: u64 = bench.pick(500, 100);
    let (sink, mut targets) = (Sink::start(bench)?, Targets::plain(bench, NET, count)?);
    let workspace = server.workspace();
    workspace.subscribe_to_incidents(&sink.url(PATH))?;
    let fields = json!({
        "failureThreshold": THRESHOLD,
        "assertions": [{"kind": "json", "operator": "equals", "target": "status", "value": "ok"}],
    });
    let failing = Endpoints { targets: &targets, count, rate: Some(RATE), path: "/stamp", fields };
    let made_seconds = failing.create(&workspace)?;

    let watch = Stopwatch::start();
    let within = Duration::from_secs(INTERVAL_SECONDS * THRESHOLD) + GRACE;
    loop {
        server.check()?;
        targets.check()?;
        let arrived = sink.arrived(PATH, false)?.requests;
        if arrived >= count {
            break;
        }
        anyhow::ensure!(watch.read().0 < within, "of {count} incidents {arrived} were notified, then nothing more");
        thread::sleep(Duration::from_millis(100));
    }
    let arrived = sink.arrived(PATH, true)?;
    anyhow::ensure!(
        arrived.distinct == count,
        "{count} incidents opened, {} distinct ones were notified",
        arrived.distinct
    );
    let took = sink.latency(PATH)?;
    anyhow::ensure!(took.count == arrived.requests, "only {} of {count} webhooks have a send time", took.count);
    progress(&format!("  p50 {:.3} ms, p99 {:.3} ms", took.p50_ms, took.p99_ms));

    let mut add = |part: &str, value, target| {
        let name = format!("monitor: server, failing check to receiver, {RATE}/s: {part}");
        table.add(Figure { name: &name, value, unit: Unit::Ms, target, baseline: None });
    };
    add("p50", took.p50_ms, Target::None);
    add("p99", took.p99_ms, Target::Below(50.0));
    let again = arrived.requests - arrived.distinct;
    table.remark(format!(
        "monitor: {count} incidents opened within {made_seconds:.1} s, each by check no. {THRESHOLD}; all were \
         notified, {again} duplicates."
    ));
    Ok(())
}
