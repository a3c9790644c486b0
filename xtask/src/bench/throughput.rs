//! As many events as the server takes, from the first request until every webhook is delivered and settled.

use std::{thread, time::Duration};

use super::{
    Bench, clock,
    floors::Floors,
    load::Load,
    median, say,
    server::{Metrics, Server, Workspace},
    sink::Sink,
    table::{Figure, Table, Target, Unit, thousands},
};
use crate::shell::Stopwatch;

/// No arrival and nothing settled for so long: what is missing is lost. Longer than the first retry waits.
const STALLED: Duration = Duration::from_secs(45);
/// All of one measurement.
const DRAINED_WITHIN: Duration = Duration::from_secs(300);
/// What an idle server is left alone for before its memory is looked at.
const IDLE: Duration = Duration::from_secs(2);

const SETTLED: &str = "tidings_deliveries_settled_total";
const COMMITS: &str = "tidings_store_commits_total";
const OPERATIONS: &str = "tidings_store_operations_total";

/// How events come in and go out.
struct Shape {
    connections: u64,
    batch: u64,
    fan_out: u64,
    events: u64,
}

/// The medians of what was measured.
struct Measured {
    events_per_second: f64,
    cpu_ms_per_event: f64,
    operations_per_commit: f64,
    ready_ms: f64,
    idle_mib: f64,
    peak_mib: f64,
}

/// One event per request, one webhook each.
pub fn one_by_one(bench: &Bench, floors: &Floors, table: &mut Table) -> anyhow::Result<()> {
    let shape = Shape { connections: 64, batch: 1, fan_out: 1, events: bench.pick(150_000, 20_000) };
    let measured = measure(bench, &shape, table, "one by one")?;
    let mut add = |name, value, unit, target, floor| table.add(Figure { name, value, unit, target, floor });
    let (rate, target) = (measured.events_per_second, Target::AtLeast(18_000.0));
    let into_sink = Some((floors.requests_per_second, "generator → sink"));
    add("one by one: events to delivered and settled", rate, Unit::PerSecond, target, into_sink);
    let as_rows = Some((floors.rows.events_per_second, "as rows, 20 a commit"));
    add("one by one: the same, beside rows alone", rate, Unit::PerSecond, Target::None, as_rows);
    let cost = Some((floors.event_cpu_ms(), "HTTP in and out, rows, 2 HMACs"));
    add("one by one: CPU of the server per event", measured.cpu_ms_per_event, Unit::Ms, Target::Below(0.075), cost);
    add(
        "one by one: operations per commit (fsync)",
        measured.operations_per_commit,
        Unit::Count,
        Target::AtLeast(15.0),
        None,
    );
    add("one by one: start to ready, empty directory", measured.ready_ms, Unit::Ms, Target::AtMost(300.0), None);
    add("one by one: memory, idle before", measured.idle_mib, Unit::MiB, Target::Below(30.0), None);
    add("one by one: most memory", measured.peak_mib, Unit::MiB, Target::Below(80.0), None);
    Ok(())
}

/// Many events per request, one webhook each.
pub fn batches(bench: &Bench, floors: &Floors, table: &mut Table) -> anyhow::Result<()> {
    let shape = Shape { connections: 16, batch: 100, fan_out: 1, events: bench.pick(200_000, 40_000) };
    let measured = measure(bench, &shape, table, "batches")?;
    let mut add = |name, value, unit, target, floor| table.add(Figure { name, value, unit, target, floor });
    let (rate, target) = (measured.events_per_second, Target::AtLeast(30_000.0));
    let into_sink = Some((floors.requests_per_second, "generator → sink"));
    add("batches: events to delivered and settled", rate, Unit::PerSecond, target, into_sink);
    let as_rows = Some((floors.rows_in_batches.events_per_second, "as rows, 200 a commit"));
    add("batches: the same, beside rows alone", rate, Unit::PerSecond, Target::None, as_rows);
    add("batches: CPU of the server per event", measured.cpu_ms_per_event, Unit::Ms, Target::None, None);
    add("batches: operations per commit (fsync)", measured.operations_per_commit, Unit::Count, Target::None, None);
    add("batches: most memory", measured.peak_mib, Unit::MiB, Target::Below(80.0), None);
    Ok(())
}

/// One event per request, ten webhooks each.
pub fn fan_out(bench: &Bench, floors: &Floors, table: &mut Table) -> anyhow::Result<()> {
    let shape = Shape { connections: 64, batch: 1, fan_out: 10, events: bench.pick(25_000, 4_000) };
    let measured = measure(bench, &shape, table, "fan-out")?;
    let ten = shape.fan_out as f64;
    let mut add = |name, value, unit, target, floor| table.add(Figure { name, value, unit, target, floor });
    let (rate, target) = (measured.events_per_second * ten, Target::AtLeast(25_000.0));
    let into_sink = Some((floors.requests_per_second, "generator → sink"));
    add("fan-out: deliveries, settled", rate, Unit::PerSecond, target, into_sink);
    add("fan-out: CPU of the server per delivery", measured.cpu_ms_per_event / ten, Unit::Ms, Target::None, None);
    add("fan-out: operations per commit (fsync)", measured.operations_per_commit, Unit::Count, Target::None, None);
    add("fan-out: most memory", measured.peak_mib, Unit::MiB, Target::Below(80.0), None);
    Ok(())
}

fn measure(bench: &Bench, shape: &Shape, table: &mut Table, name: &str) -> anyhow::Result<Measured> {
    let sink = Sink::start(bench)?;
    let mut server = Server::start_fresh(bench)?;
    let workspace = server.workspace();
    for number in 0..shape.fan_out {
        workspace.wire("bench", &sink.url(&format!("/ok/{number}")))?;
    }
    thread::sleep(IDLE);
    let idle_mib = server.memory_mib()?;
    once(bench, shape, shape.events / 5, &sink, &mut server, &workspace)?; // to warm up
    let mut rounds = Vec::new();
    for _ in 0..bench.repeats() {
        let round = once(bench, shape, shape.events, &sink, &mut server, &workspace)?;
        say(&format!("  {} events/s", thousands(round.events_per_second)));
        rounds.push(round);
    }
    let middle = |of: fn(&Round) -> f64| median(rounds.iter().map(of).collect());
    let repeats: u64 = rounds.iter().map(|round| round.repeats).sum();
    let delivered: u64 = rounds.iter().map(|round| round.delivered).sum();
    let delivered = thousands(delivered as f64);
    table.remark(format!("{name}: {delivered} different deliveries, all received; {repeats} received again."));
    Ok(Measured {
        events_per_second: middle(|round| round.events_per_second),
        cpu_ms_per_event: middle(|round| round.cpu_ms_per_event),
        operations_per_commit: middle(|round| round.operations_per_commit),
        ready_ms: server.ready_ms,
        idle_mib,
        peak_mib: server.memory_peak_mib()?,
    })
}

/// One measurement.
struct Round {
    events_per_second: f64,
    cpu_ms_per_event: f64,
    operations_per_commit: f64,
    delivered: u64,
    repeats: u64,
}

fn once(
    bench: &Bench,
    shape: &Shape,
    events: u64,
    sink: &Sink,
    server: &mut Server,
    workspace: &Workspace,
) -> anyhow::Result<Round> {
    sink.reset()?;
    let (before, cpu_before) = (server.metrics()?, server.cpu_seconds()?);
    let sent = Load {
        address: workspace.address,
        path: workspace.runs_path(),
        key: &workspace.key,
        resource_id: "bench",
        connections: shape.connections,
        batch: shape.batch,
        events,
        rate: None,
        limit: Duration::from_secs(60),
    }
    .send(bench);
    server.check()?;
    let sent = sent?;
    let expected = sent.events * shape.fan_out;
    let end_nanos = wait_until_settled(server, sink, &before, expected)?;
    let cpu_seconds = server.cpu_seconds()? - cpu_before;
    let after = server.metrics()?;
    let grown = |name, labels: &[_]| after.sum(name, labels) - before.sum(name, labels);
    [COMMITS, OPERATIONS].into_iter().try_for_each(|name| after.must_have(name))?;

    for status in ["failed", "suppressed", "skipped"] {
        let count = grown(SETTLED, &[("status", status)]);
        anyhow::ensure!(count == 0.0, "{count} deliveries ended as `{status}`");
    }
    let arrived = sink.arrived("/ok/", true)?;
    anyhow::ensure!(arrived.with_id == arrived.requests, "webhooks came without a webhook-id");
    let distinct = arrived.distinct;
    anyhow::ensure!(distinct == expected, "{expected} deliveries were accepted, {distinct} different ones received");

    let operations = grown(OPERATIONS, &[("operation", "accept")]) + grown(OPERATIONS, &[("operation", "settle")]);
    let accepted = sent.events as f64;
    Ok(Round {
        events_per_second: accepted / clock::seconds_between(sent.start_nanos, end_nanos),
        cpu_ms_per_event: cpu_seconds * 1e3 / accepted,
        operations_per_commit: operations / grown(COMMITS, &[]),
        delivered: distinct,
        repeats: arrived.requests - distinct,
    })
}

/// Waits until the sink has received and the server has settled everything, and tells when that was.
fn wait_until_settled(server: &mut Server, sink: &Sink, before: &Metrics, expected: u64) -> anyhow::Result<u64> {
    let watch = Stopwatch::start();
    let sent_before = before.sum(SETTLED, &[("status", "sent")]);
    let (mut seen, mut seen_at) = ((0, 0), Duration::ZERO);
    loop {
        server.check()?;
        let arrived = sink.arrived("/ok/", false)?;
        let is_all_there = arrived.requests >= expected;
        // Asking costs the server a little: only when it can matter.
        let settled = if is_all_there || watch.read().0.saturating_sub(seen_at) > Duration::from_secs(1) {
            (server.metrics()?.sum(SETTLED, &[("status", "sent")]) - sent_before) as u64
        } else {
            seen.1
        };
        if is_all_there && settled >= expected {
            return Ok(clock::now_nanos());
        }
        let now = watch.read().0;
        if (arrived.requests, settled) != seen {
            (seen, seen_at) = ((arrived.requests, settled), now);
        }
        let is_over = now - seen_at > STALLED || now > DRAINED_WITHIN;
        let requests = arrived.requests;
        anyhow::ensure!(
            !is_over,
            "of {expected} deliveries {requests} were received and {settled} settled, no more come"
        );
        thread::sleep(Duration::from_millis(if is_all_there { 3 } else { 10 }));
    }
}
