//! Maximum throughput, from the first request until every delivery is settled. The baseline pipeline alternates with
//! the server, with the same load.

use std::{thread, time::Duration};

use anyhow::Context as _;

use super::{
    Bench, alternately,
    baselines::Baselines,
    flow::{self, Flow},
    load::Load,
    median,
    metrics::{COMMITS, OPERATIONS},
    pipeline::{self, BaselinePipeline},
    progress,
    server::{SETTLED, Server},
    sink::Sink,
    spread::Spread,
    table::{Figure, Table, Target, Unit, thousands},
};

/// Idle time before memory is measured.
const IDLE: Duration = Duration::from_secs(2);

/// The shape of the load.
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

    /// Formats deliveries per second and processor time per delivery.
    fn describe(&self, flow: &Flow) -> String {
        let what = if self.fan_out == 1 { "events" } else { "deliveries" };
        let (rate, cpu_ms) = self.per_delivery(flow);
        format!("{} {what}/s, {cpu_ms:.3} ms of CPU each", thousands(rate))
    }

    /// Deliveries per second, and processor time per delivery in milliseconds.
    fn per_delivery(&self, flow: &Flow) -> (f64, f64) {
        let fan_out = self.fan_out as f64;
        (flow.events_per_second * fan_out, flow.cpu_ms_per_event / fan_out)
    }
}

/// Results, with rates and costs per delivery.
struct Measured {
    per_second: f64,
    cpu_ms: f64,
    baseline_per_second: f64,
    baseline_cpu_ms: f64,
    operations_per_commit: f64,
    ready_ms: f64,
    idle_mib: f64,
    peak_mib: f64,
}

impl Measured {
    fn baseline_rate(&self) -> Option<(f64, &'static str)> {
        Some((self.baseline_per_second, IN_PIPELINE))
    }

    fn baseline_cost(&self) -> Option<(f64, &'static str)> {
        Some((self.baseline_cpu_ms, IN_PIPELINE))
    }
}

const IN_PIPELINE: &str = "in the baseline pipeline";

/// One event per request, one webhook each.
pub fn one_by_one(bench: &Bench, baselines: &Baselines, table: &mut Table) -> anyhow::Result<()> {
    let events = bench.pick(100_000, 20_000);
    let measured = measure(bench, &Shape { name: "one by one", connections: 64, batch: 1, fan_out: 1, events }, table)?;
    let mut add = |name, value, unit, target, baseline| table.add(Figure { name, value, unit, target, baseline });
    let (rate, target) = (measured.per_second, Target::AtLeast(18_000.0));
    let into_sink = Some((baselines.requests_per_second, "generator → sink"));
    add("one by one: events to delivered and settled", rate, Unit::PerSecond, target, into_sink);
    let as_rows = Some((baselines.rows.events_per_second, "as rows, 20 a commit"));
    add("one by one: the same, vs. rows only", rate, Unit::PerSecond, Target::None, as_rows);
    add("one by one: the same, vs. baseline pipeline", rate, Unit::PerSecond, Target::None, measured.baseline_rate());
    let cost = Some((baselines.event_cpu_ms(), "HTTP in and out, rows, 2 HMACs"));
    add("one by one: CPU of the server per event", measured.cpu_ms, Unit::Ms, Target::Below(0.075), cost);
    add(
        "one by one: that CPU, vs. baseline pipeline",
        measured.cpu_ms,
        Unit::Ms,
        Target::None,
        measured.baseline_cost(),
    );
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
pub fn batches(bench: &Bench, baselines: &Baselines, table: &mut Table) -> anyhow::Result<()> {
    let events = bench.pick(120_000, 40_000);
    let measured = measure(bench, &Shape { name: "batches", connections: 16, batch: 100, fan_out: 1, events }, table)?;
    let mut add = |name, value, unit, target, baseline| table.add(Figure { name, value, unit, target, baseline });
    let (rate, target) = (measured.per_second, Target::AtLeast(30_000.0));
    let into_sink = Some((baselines.requests_per_second, "generator → sink"));
    add("batches: events to delivered and settled", rate, Unit::PerSecond, target, into_sink);
    let as_rows = Some((baselines.rows_in_batches.events_per_second, "as rows, 200 a commit"));
    add("batches: the same, vs. rows only", rate, Unit::PerSecond, Target::None, as_rows);
    add("batches: the same, vs. baseline pipeline", rate, Unit::PerSecond, Target::None, measured.baseline_rate());
    let cost = measured.baseline_cost();
    add("batches: CPU of the server per event", measured.cpu_ms, Unit::Ms, Target::None, cost);
    add("batches: operations per commit (fsync)", measured.operations_per_commit, Unit::Count, Target::None, None);
    add("batches: most memory", measured.peak_mib, Unit::MiB, Target::Below(80.0), None);
    Ok(())
}

/// One event per request, ten webhooks each.
pub fn fan_out(bench: &Bench, baselines: &Baselines, table: &mut Table) -> anyhow::Result<()> {
    let events = bench.pick(15_000, 4_000);
    let measured = measure(bench, &Shape { name: "fan-out", connections: 64, batch: 1, fan_out: 10, events }, table)?;
    let mut add = |name, value, unit, target, baseline| table.add(Figure { name, value, unit, target, baseline });
    let (rate, target) = (measured.per_second, Target::AtLeast(25_000.0));
    let into_sink = Some((baselines.requests_per_second, "generator → sink"));
    add("fan-out: deliveries, settled", rate, Unit::PerSecond, target, into_sink);
    add("fan-out: the same, vs. baseline pipeline", rate, Unit::PerSecond, Target::None, measured.baseline_rate());
    let cost = measured.baseline_cost();
    add("fan-out: CPU of the server per delivery", measured.cpu_ms, Unit::Ms, Target::None, cost);
    add("fan-out: operations per commit (fsync)", measured.operations_per_commit, Unit::Count, Target::None, None);
    add("fan-out: most memory", measured.peak_mib, Unit::MiB, Target::Below(80.0), None);
    Ok(())
}

/// Measures server and baseline pipeline alternately.
fn measure(bench: &Bench, shape: &Shape, table: &mut Table) -> anyhow::Result<Measured> {
    let sink = Sink::start(bench)?;
    let mut pipeline = BaselinePipeline::start(bench, &sink, shape.fan_out)?;
    let mut server = Server::start_fresh(bench)?;
    let workspace = server.workspace();
    for number in 0..shape.fan_out {
        workspace.subscribe("bench", &sink.url(&format!("/ok/{number}")))?;
    }
    thread::sleep(IDLE);
    let idle_mib = server.memory_mib()?;
    let (load, baseline_load) = (shape.load(workspace.load("bench")), shape.load(pipeline.load()));
    let warm_up = shape.events / 5;
    measure_baseline(bench, &Load { events: warm_up, ..baseline_load.clone() }, shape, &sink, &mut pipeline)?;
    measure_server(bench, &Load { events: warm_up, ..load.clone() }, shape, &sink, &mut server)?;
    let (mut rounds, mut baseline_rounds) = (Vec::new(), Vec::new());
    for turn in 0..bench.turns() {
        for is_server in alternately(turn, [false, true]) {
            let (name, flow) = if is_server {
                let round = measure_server(bench, &load, shape, &sink, &mut server)?;
                rounds.push(round);
                ("server", round.flow)
            } else {
                let flow = measure_baseline(bench, &baseline_load, shape, &sink, &mut pipeline)?;
                baseline_rounds.push(flow);
                ("baseline pipeline", flow)
            };
            progress(&format!("  turn {}, {name}: {}", turn + 1, shape.describe(&flow)));
        }
    }
    table.remark(pipeline::REMARK.to_owned());
    let flows: Vec<Flow> = rounds.iter().map(|round| round.flow).collect();
    add_remarks(shape, &flows, &baseline_rounds, table);
    let medians = |flows: &[Flow]| {
        let of =
            |part: fn((f64, f64)) -> f64| median(flows.iter().map(|flow| part(shape.per_delivery(flow))).collect());
        (of(|(rate, _)| rate), of(|(_, cpu_ms)| cpu_ms))
    };
    let ((per_second, cpu_ms), (baseline_per_second, baseline_cpu_ms)) = (medians(&flows), medians(&baseline_rounds));
    let measured = Measured {
        per_second,
        cpu_ms,
        baseline_per_second,
        baseline_cpu_ms,
        operations_per_commit: median(rounds.iter().map(|round| round.operations_per_commit).collect()),
        ready_ms: server.ready_ms,
        idle_mib,
        peak_mib: server.memory_peak_mib()?,
    };
    server.discard()?;
    pipeline.discard()?;
    Ok(measured)
}

/// Adds remarks about all turns.
fn add_remarks(shape: &Shape, flows: &[Flow], baseline_rounds: &[Flow], table: &mut Table) {
    let name = shape.name;
    let sum = |of: fn(&Flow) -> u64| flows.iter().map(of).sum::<u64>();
    let (delivered, repeats) = (thousands(sum(|flow| flow.delivered) as f64), sum(|flow| flow.repeats));
    table.remark(format!("{name}: {delivered} distinct deliveries, all received; {repeats} duplicates."));
    let ratios = |part: fn(&Flow) -> f64| {
        Spread::new(flows.iter().zip(baseline_rounds).map(|(flow, baseline)| part(flow) / part(baseline)))
    };
    table.remark(format!(
        "{name}, by turn: ratio to the baseline pipeline {} in rate, {} in CPU.",
        ratios(|flow| flow.events_per_second),
        ratios(|flow| flow.cpu_ms_per_event)
    ));
}

/// One measurement of the baseline pipeline.
fn measure_baseline(
    bench: &Bench,
    load: &Load<'_>,
    shape: &Shape,
    sink: &Sink,
    pipeline: &mut BaselinePipeline,
) -> anyhow::Result<Flow> {
    flow::measure(bench, load, shape.fan_out, sink, pipeline).context("in the baseline pipeline")
}

/// One measurement of the server.
#[derive(Clone, Copy)]
struct Round {
    flow: Flow,
    operations_per_commit: f64,
}

fn measure_server(
    bench: &Bench,
    load: &Load<'_>,
    shape: &Shape,
    sink: &Sink,
    server: &mut Server,
) -> anyhow::Result<Round> {
    let before = server.metrics()?;
    let flow = flow::measure(bench, load, shape.fan_out, sink, server)?;
    let after = server.metrics()?;
    let grown = |name, labels: &[_]| after.sum(name, labels) - before.sum(name, labels);
    [COMMITS, OPERATIONS].into_iter().try_for_each(|name| after.must_have(name))?;
    for status in ["failed", "suppressed", "skipped"] {
        let count = grown(SETTLED, &[("status", status)]);
        anyhow::ensure!(count == 0.0, "{count} deliveries were settled as `{status}`");
    }
    let operations = grown(OPERATIONS, &[("operation", "accept")]) + grown(OPERATIONS, &[("operation", "settle")]);
    Ok(Round { flow, operations_per_commit: operations / grown(COMMITS, &[]) })
}
