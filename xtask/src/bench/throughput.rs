//! As many events as the server takes, from the first request until every webhook is delivered and settled.

use std::{thread, time::Duration};

use super::{
    Bench,
    floors::Floors,
    flow::{self, Flow},
    load::Load,
    median,
    metrics::{COMMITS, OPERATIONS},
    say,
    server::{SETTLED, Server, Workspace},
    sink::Sink,
    table::{Figure, Table, Target, Unit, thousands},
    way::{self, Way},
};

/// What an idle server is left alone for before its memory is looked at.
const IDLE: Duration = Duration::from_secs(2);

/// How events come in and go out.
struct Shape {
    connections: u64,
    batch: u64,
    fan_out: u64,
    events: u64,
}

impl Shape {
    fn load<'a>(&self, workspace: &'a Workspace) -> Load<'a> {
        Load {
            address: workspace.address,
            path: workspace.runs_path(),
            key: &workspace.key,
            resource_id: "bench",
            connections: self.connections,
            batch: self.batch,
            events: self.events,
            rate: None,
            limit: Duration::from_secs(60),
        }
    }
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
    let sink = Sink::start(bench)?;
    let mut way = Way::start(bench, &sink)?;
    let measured = measure(bench, &shape, &sink, Some(&mut way), table, "one by one")?;
    table.remark(way::WORDS.to_owned());
    let mut add = |name, value, unit, target, floor| table.add(Figure { name, value, unit, target, floor });
    let (rate, target) = (measured.events_per_second, Target::AtLeast(18_000.0));
    let into_sink = Some((floors.requests_per_second, "generator → sink"));
    add("one by one: events to delivered and settled", rate, Unit::PerSecond, target, into_sink);
    let as_rows = Some((floors.rows.events_per_second, "as rows, 20 a commit"));
    add("one by one: the same, beside rows alone", rate, Unit::PerSecond, Target::None, as_rows);
    let on_bare_way = Some((way.events_per_second(), "on the bare way"));
    add("one by one: the same, beside the bare way", rate, Unit::PerSecond, Target::None, on_bare_way);
    let cost = Some((floors.event_cpu_ms(), "HTTP in and out, rows, 2 HMACs"));
    add("one by one: CPU of the server per event", measured.cpu_ms_per_event, Unit::Ms, Target::Below(0.075), cost);
    let on_bare_way = Some((way.cpu_ms_per_event(), "on the bare way"));
    add("one by one: that CPU, beside the bare way", measured.cpu_ms_per_event, Unit::Ms, Target::None, on_bare_way);
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
    let measured = measure(bench, &shape, &Sink::start(bench)?, None, table, "batches")?;
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
    let measured = measure(bench, &shape, &Sink::start(bench)?, None, table, "fan-out")?;
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

/// Measures the server, and in turns with it the bare way if there is one.
fn measure(
    bench: &Bench,
    shape: &Shape,
    sink: &Sink,
    mut way: Option<&mut Way>,
    table: &mut Table,
    name: &str,
) -> anyhow::Result<Measured> {
    let mut server = Server::start_fresh(bench)?;
    let workspace = server.workspace();
    for number in 0..shape.fan_out {
        workspace.wire("bench", &sink.url(&format!("/ok/{number}")))?;
    }
    thread::sleep(IDLE);
    let idle_mib = server.memory_mib()?;
    let load = shape.load(&workspace);
    let warm_up = Load { events: shape.events / 5, ..load.clone() };
    if let Some(way) = &mut way {
        way.warm_up(bench, &warm_up, sink)?;
    }
    once(bench, &warm_up, shape.fan_out, sink, &mut server)?;
    let mut rounds = Vec::new();
    for _ in 0..bench.repeats() {
        if let Some(way) = &mut way {
            let bare = way.measure(bench, &load, sink)?;
            say(&format!("  {} events/s on the bare way", thousands(bare.events_per_second)));
        }
        let round = once(bench, &load, shape.fan_out, sink, &mut server)?;
        say(&format!("  {} events/s", thousands(round.flow.events_per_second)));
        rounds.push(round);
    }
    let middle = |of: fn(&Round) -> f64| median(rounds.iter().map(of).collect());
    let repeats: u64 = rounds.iter().map(|round| round.flow.repeats).sum();
    let delivered: u64 = rounds.iter().map(|round| round.flow.delivered).sum();
    let delivered = thousands(delivered as f64);
    table.remark(format!("{name}: {delivered} different deliveries, all received; {repeats} received again."));
    Ok(Measured {
        events_per_second: middle(|round| round.flow.events_per_second),
        cpu_ms_per_event: middle(|round| round.flow.cpu_ms_per_event),
        operations_per_commit: middle(|round| round.operations_per_commit),
        ready_ms: server.ready_ms,
        idle_mib,
        peak_mib: server.memory_peak_mib()?,
    })
}

/// One measurement of the server.
struct Round {
    flow: Flow,
    operations_per_commit: f64,
}

fn once(bench: &Bench, load: &Load<'_>, fan_out: u64, sink: &Sink, server: &mut Server) -> anyhow::Result<Round> {
    let before = server.metrics()?;
    let flow = flow::measure(bench, load, fan_out, sink, server)?;
    let after = server.metrics()?;
    let grown = |name, labels: &[_]| after.sum(name, labels) - before.sum(name, labels);
    [COMMITS, OPERATIONS].into_iter().try_for_each(|name| after.must_have(name))?;
    for status in ["failed", "suppressed", "skipped"] {
        let count = grown(SETTLED, &[("status", status)]);
        anyhow::ensure!(count == 0.0, "{count} deliveries ended as `{status}`");
    }
    let operations = grown(OPERATIONS, &[("operation", "accept")]) + grown(OPERATIONS, &[("operation", "settle")]);
    Ok(Round { flow, operations_per_commit: operations / grown(COMMITS, &[]) })
}
