//! Latency of a webhook at low load, from the start of the run's request to the receiver. Server and baseline pipeline
//! alternate, freshly started each time.

use std::{thread, time::Duration};

use anyhow::Context as _;

use super::{
    Bench, alternately,
    baselines::Baselines,
    flow::Serves,
    load::{Load, Quantiles},
    median,
    pipeline::{self, BaselinePipeline},
    progress,
    server::Server,
    sink::Sink,
    spread::Spread,
    table::{Figure, Table, Target, Unit},
};
use crate::shell::Stopwatch;

/// Requests per second, far below the server's maximum.
const RATE: u64 = 200;
/// Deliveries that arrive later than this after the last response are lost.
const ARRIVED_WITHIN: Duration = Duration::from_secs(20);
const PATH: &str = "/ok/latency";

/// The measured system.
#[derive(Clone, Copy)]
enum System {
    Server,
    Pipeline,
}

/// Measures it and adds it to the table.
pub fn measure(bench: &Bench, baselines: &Baselines, table: &mut Table) -> anyhow::Result<()> {
    let sink = Sink::start(bench)?;
    let (mut server, mut baseline) = (Vec::new(), Vec::new());
    for turn in 0..bench.turns() {
        for system in alternately(turn, [System::Pipeline, System::Server]) {
            let (round, rounds, name) = match system {
                System::Server => (measure_server(bench, &sink)?, &mut server, "server"),
                System::Pipeline => (
                    measure_pipeline(bench, &sink).context("in the baseline pipeline")?,
                    &mut baseline,
                    "baseline pipeline",
                ),
            };
            progress(&format!("  turn {}, {name}: p50 {:.3} ms, p99 {:.3} ms", turn + 1, round.p50_ms, round.p99_ms));
            rounds.push(round);
        }
    }
    table.remark(pipeline::REMARK.to_owned());
    let ((p50_ms, p99_ms), (baseline_p50_ms, baseline_p99_ms)) = (medians(&server), medians(&baseline));
    let mut add = |name, value, target, baseline| {
        table.add(Figure { name, value, unit: Unit::Ms, target, baseline: Some(baseline) });
    };
    let into_sink = |baseline| (baseline, "generator → sink");
    let in_pipeline = |baseline| (baseline, "in the baseline pipeline");
    let machine = baselines.latency;
    add("latency at 200/s, request to receiver: p50", p50_ms, Target::AtMost(0.6), into_sink(machine.p50_ms));
    add("latency at 200/s: p50, vs. baseline pipeline", p50_ms, Target::None, in_pipeline(baseline_p50_ms));
    add("latency at 200/s, request to receiver: p99", p99_ms, Target::AtMost(2.0), into_sink(machine.p99_ms));
    add("latency at 200/s: p99, vs. baseline pipeline", p99_ms, Target::None, in_pipeline(baseline_p99_ms));
    let ratios = |part: fn(&Quantiles) -> f64| {
        Spread::new(server.iter().zip(&baseline).map(|(server, baseline)| part(server) / part(baseline)))
    };
    table.remark(format!(
        "latency, by turn: ratio to the baseline pipeline {} at p50, {} at p99.",
        ratios(|round| round.p50_ms),
        ratios(|round| round.p99_ms)
    ));
    Ok(())
}

fn measure_server(bench: &Bench, sink: &Sink) -> anyhow::Result<Quantiles> {
    let mut server = Server::start_fresh(bench)?;
    let workspace = server.workspace();
    workspace.subscribe("bench", &sink.url(PATH))?;
    let round = steadily(bench, &mut server, &workspace.load("bench"), sink, PATH, seconds(bench))?;
    server.discard()?;
    Ok(round)
}

fn measure_pipeline(bench: &Bench, sink: &Sink) -> anyhow::Result<Quantiles> {
    let mut baseline = BaselinePipeline::start(bench, sink, 1)?;
    let load = baseline.load();
    let round = steadily(bench, &mut baseline, &load, sink, pipeline::FIRST_PATH, seconds(bench))?;
    baseline.discard()?;
    Ok(round)
}

fn seconds(bench: &Bench) -> u64 {
    bench.pick(10, 5)
}

/// The medians of p50 and p99.
pub fn medians(rounds: &[Quantiles]) -> (f64, f64) {
    let of = |part: fn(&Quantiles) -> f64| median(rounds.iter().map(part).collect());
    (of(|round| round.p50_ms), of(|round| round.p99_ms))
}

/// Sends 200 events per second to one path, after one second of warm-up. All must arrive.
pub fn steadily(
    bench: &Bench,
    server: &mut dyn Serves,
    load: &Load<'_>,
    sink: &Sink,
    path: &str,
    seconds: u64,
) -> anyhow::Result<Quantiles> {
    let limit = Duration::from_secs(seconds.max(1));
    let mut load = Load { connections: 16, batch: 1, rate: Some(RATE), limit, ..load.clone() };
    for events in [RATE, RATE * seconds] {
        sink.reset()?;
        load.events = events;
        let sent = load.send(bench);
        server.check()?;
        let sent = sent?.events;
        anyhow::ensure!(sent == events, "of {events} events only {sent} were sent");
        let watch = Stopwatch::start();
        while sink.arrived(path, false)?.requests < events {
            server.check()?;
            let arrived = sink.arrived(path, false)?.requests;
            let is_over = watch.read().0 > ARRIVED_WITHIN;
            anyhow::ensure!(!is_over, "of {events} events {arrived} were received, then nothing more");
            thread::sleep(Duration::from_millis(10));
        }
    }
    let distinct = sink.arrived(path, true)?.distinct;
    let events = RATE * seconds;
    anyhow::ensure!(distinct == events, "{events} events were accepted, {distinct} distinct ones received");
    let quantiles = sink.latency(path)?;
    anyhow::ensure!(quantiles.count >= events, "only {} of {events} webhooks have a send time", quantiles.count);
    Ok(quantiles)
}
