//! As many events as the server takes, from the first request until every webhook is delivered and settled. The bare way
//! takes turns with it: the same events in the same shape.

use std::{thread, time::Duration};

use anyhow::Context as _;

use super::{
    Bench, alternately,
    floors::Floors,
    flow::{self, Flow},
    load::Load,
    median,
    metrics::{COMMITS, OPERATIONS},
    say,
    server::{SETTLED, Server},
    sink::Sink,
    spread::Spread,
    table::{Figure, Table, Target, Unit, thousands},
    way::{self, Way},
};

/// What an idle server is left alone for before its memory is looked at.
const IDLE: Duration = Duration::from_secs(2);

/// How events come in and go out.
struct Shape {
    name: &'static str,
    connections: u64,
    batch: u64,
    fan_out: u64,
    events: u64,
}

impl Shape {
    fn load<'a>(&self, one: Load<'a>) -> Load<'a> {
        let Self { connections, batch, events, .. } = *self;
        Load { connections, batch, events, limit: Duration::from_secs(60), ..one }
    }

    /// Deliveries per second and the cost of each, in words.
    fn words(&self, flow: &Flow) -> String {
        let what = if self.fan_out == 1 { "events" } else { "deliveries" };
        let (rate, cpu_ms) = self.of_delivery(flow);
        format!("{} {what}/s, {cpu_ms:.3} ms of CPU each", thousands(rate))
    }

    /// Deliveries per second, and milliseconds of processor time for each.
    fn of_delivery(&self, flow: &Flow) -> (f64, f64) {
        let fan_out = self.fan_out as f64;
        (flow.events_per_second * fan_out, flow.cpu_ms_per_event / fan_out)
    }
}

/// What was measured, rates and costs by delivery: of one webhook each, an event and its delivery are as many.
struct Measured {
    per_second: f64,
    cpu_ms: f64,
    bare_per_second: f64,
    bare_cpu_ms: f64,
    operations_per_commit: f64,
    ready_ms: f64,
    idle_mib: f64,
    peak_mib: f64,
}

impl Measured {
    /// What the bare way did, as a floor.
    fn bare_rate(&self) -> Option<(f64, &'static str)> {
        Some((self.bare_per_second, ON_BARE_WAY))
    }

    /// What it cost there, as a floor.
    fn bare_cost(&self) -> Option<(f64, &'static str)> {
        Some((self.bare_cpu_ms, ON_BARE_WAY))
    }
}

const ON_BARE_WAY: &str = "on the bare way";

/// One event per request, one webhook each.
pub fn one_by_one(bench: &Bench, floors: &Floors, table: &mut Table) -> anyhow::Result<()> {
    let events = bench.pick(100_000, 20_000);
    let measured = measure(bench, &Shape { name: "one by one", connections: 64, batch: 1, fan_out: 1, events }, table)?;
    let mut add = |name, value, unit, target, floor| table.add(Figure { name, value, unit, target, floor });
    let (rate, target) = (measured.per_second, Target::AtLeast(18_000.0));
    let into_sink = Some((floors.requests_per_second, "generator → sink"));
    add("one by one: events to delivered and settled", rate, Unit::PerSecond, target, into_sink);
    let as_rows = Some((floors.rows.events_per_second, "as rows, 20 a commit"));
    add("one by one: the same, beside rows alone", rate, Unit::PerSecond, Target::None, as_rows);
    add("one by one: the same, beside the bare way", rate, Unit::PerSecond, Target::None, measured.bare_rate());
    let cost = Some((floors.event_cpu_ms(), "HTTP in and out, rows, 2 HMACs"));
    add("one by one: CPU of the server per event", measured.cpu_ms, Unit::Ms, Target::Below(0.075), cost);
    add("one by one: that CPU, beside the bare way", measured.cpu_ms, Unit::Ms, Target::None, measured.bare_cost());
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
    let events = bench.pick(120_000, 40_000);
    let measured = measure(bench, &Shape { name: "batches", connections: 16, batch: 100, fan_out: 1, events }, table)?;
    let mut add = |name, value, unit, target, floor| table.add(Figure { name, value, unit, target, floor });
    let (rate, target) = (measured.per_second, Target::AtLeast(30_000.0));
    let into_sink = Some((floors.requests_per_second, "generator → sink"));
    add("batches: events to delivered and settled", rate, Unit::PerSecond, target, into_sink);
    let as_rows = Some((floors.rows_in_batches.events_per_second, "as rows, 200 a commit"));
    add("batches: the same, beside rows alone", rate, Unit::PerSecond, Target::None, as_rows);
    add("batches: the same, beside the bare way", rate, Unit::PerSecond, Target::None, measured.bare_rate());
    let cost = measured.bare_cost();
    add("batches: CPU of the server per event", measured.cpu_ms, Unit::Ms, Target::None, cost);
    add("batches: operations per commit (fsync)", measured.operations_per_commit, Unit::Count, Target::None, None);
    add("batches: most memory", measured.peak_mib, Unit::MiB, Target::Below(80.0), None);
    Ok(())
}

/// One event per request, ten webhooks each.
pub fn fan_out(bench: &Bench, floors: &Floors, table: &mut Table) -> anyhow::Result<()> {
    let events = bench.pick(15_000, 4_000);
    let measured = measure(bench, &Shape { name: "fan-out", connections: 64, batch: 1, fan_out: 10, events }, table)?;
    let mut add = |name, value, unit, target, floor| table.add(Figure { name, value, unit, target, floor });
    let (rate, target) = (measured.per_second, Target::AtLeast(25_000.0));
    let into_sink = Some((floors.requests_per_second, "generator → sink"));
    add("fan-out: deliveries, settled", rate, Unit::PerSecond, target, into_sink);
    add("fan-out: the same, beside the bare way", rate, Unit::PerSecond, Target::None, measured.bare_rate());
    let cost = measured.bare_cost();
    add("fan-out: CPU of the server per delivery", measured.cpu_ms, Unit::Ms, Target::None, cost);
    add("fan-out: operations per commit (fsync)", measured.operations_per_commit, Unit::Count, Target::None, None);
    add("fan-out: most memory", measured.peak_mib, Unit::MiB, Target::Below(80.0), None);
    Ok(())
}

/// Measures the server and the bare way in turns.
fn measure(bench: &Bench, shape: &Shape, table: &mut Table) -> anyhow::Result<Measured> {
    let sink = Sink::start(bench)?;
    let mut way = Way::start(bench, &sink, shape.fan_out)?;
    let mut server = Server::start_fresh(bench)?;
    let workspace = server.workspace();
    for number in 0..shape.fan_out {
        workspace.wire("bench", &sink.url(&format!("/ok/{number}")))?;
    }
    thread::sleep(IDLE);
    let idle_mib = server.memory_mib()?;
    let (load, bare_load) = (shape.load(workspace.load("bench")), shape.load(way.load()));
    let warm_up = shape.events / 5;
    bare(bench, &Load { events: warm_up, ..bare_load.clone() }, shape, &sink, &mut way)?;
    once(bench, &Load { events: warm_up, ..load.clone() }, shape, &sink, &mut server)?;
    let (mut rounds, mut bare_rounds) = (Vec::new(), Vec::new());
    for turn in 0..bench.turns() {
        for is_server in alternately(turn, [false, true]) {
            let (words, flow) = if is_server {
                let round = once(bench, &load, shape, &sink, &mut server)?;
                rounds.push(round);
                ("server", round.flow)
            } else {
                let flow = bare(bench, &bare_load, shape, &sink, &mut way)?;
                bare_rounds.push(flow);
                ("bare way", flow)
            };
            say(&format!("  turn {}, {words}: {}", turn + 1, shape.words(&flow)));
        }
    }
    table.remark(way::WORDS.to_owned());
    let flows: Vec<Flow> = rounds.iter().map(|round| round.flow).collect();
    tell(shape, &flows, &bare_rounds, table);
    let middle = |flows: &[Flow]| {
        let of = |part: fn((f64, f64)) -> f64| median(flows.iter().map(|flow| part(shape.of_delivery(flow))).collect());
        (of(|(rate, _)| rate), of(|(_, cpu_ms)| cpu_ms))
    };
    let ((per_second, cpu_ms), (bare_per_second, bare_cpu_ms)) = (middle(&flows), middle(&bare_rounds));
    let measured = Measured {
        per_second,
        cpu_ms,
        bare_per_second,
        bare_cpu_ms,
        operations_per_commit: median(rounds.iter().map(|round| round.operations_per_commit).collect()),
        ready_ms: server.ready_ms,
        idle_mib,
        peak_mib: server.memory_peak_mib()?,
    };
    server.discard()?;
    way.discard()?;
    Ok(measured)
}

/// What all turns came to, in words below the table.
fn tell(shape: &Shape, flows: &[Flow], bare_rounds: &[Flow], table: &mut Table) {
    let name = shape.name;
    let sum = |of: fn(&Flow) -> u64| flows.iter().map(of).sum::<u64>();
    let (delivered, repeats) = (thousands(sum(|flow| flow.delivered) as f64), sum(|flow| flow.repeats));
    table.remark(format!("{name}: {delivered} different deliveries, all received; {repeats} received again."));
    let ratios =
        |part: fn(&Flow) -> f64| Spread::of(flows.iter().zip(bare_rounds).map(|(flow, bare)| part(flow) / part(bare)));
    table.remark(format!(
        "{name}, turn by turn: {} times the rate of the bare way, {} times its CPU.",
        ratios(|flow| flow.events_per_second),
        ratios(|flow| flow.cpu_ms_per_event)
    ));
}

/// One measurement of the bare way.
fn bare(bench: &Bench, load: &Load<'_>, shape: &Shape, sink: &Sink, way: &mut Way) -> anyhow::Result<Flow> {
    flow::measure(bench, load, shape.fan_out, sink, way).context("on the bare way")
}

/// One measurement of the server.
#[derive(Clone, Copy)]
struct Round {
    flow: Flow,
    operations_per_commit: f64,
}

fn once(bench: &Bench, load: &Load<'_>, shape: &Shape, sink: &Sink, server: &mut Server) -> anyhow::Result<Round> {
    let before = server.metrics()?;
    let flow = flow::measure(bench, load, shape.fan_out, sink, server)?;
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
