//! How long a webhook is on its way when the server has time: from the beginning of the run's request to the receiver.

use std::{thread, time::Duration};

use super::{
    Bench,
    floors::Floors,
    load::{Load, Quantiles},
    median, say,
    server::{Server, Workspace},
    sink::Sink,
    table::{Figure, Table, Target, Unit},
};
use crate::shell::Stopwatch;

/// Requests per second: far below what the server can do.
const RATE: u64 = 200;
/// What is still on its way when the last answer has come is there within this, or is lost.
const ARRIVED_WITHIN: Duration = Duration::from_secs(20);

/// Measures it and adds it to the table.
pub fn measure(bench: &Bench, floors: &Floors, table: &mut Table) -> anyhow::Result<()> {
    let seconds = bench.pick(20, 5);
    let sink = Sink::start(bench)?;
    let mut rounds = Vec::new();
    for _ in 0..bench.repeats() {
        let mut server = Server::start_fresh(bench)?;
        let workspace = server.workspace();
        workspace.wire("bench", &sink.url("/ok/latency"))?;
        let round = steadily(bench, &mut server, &workspace, "bench", &sink, "/ok/latency", seconds)?;
        say(&format!("  p50 {:.3} ms, p99 {:.3} ms", round.p50_ms, round.p99_ms));
        rounds.push(round);
    }
    let (p50_ms, p99_ms) = medians(&rounds);
    let mut add = |name, value, target, floor| {
        table.add(Figure { name, value, unit: Unit::Ms, target, floor: Some((floor, "generator → sink")) });
    };
    add("latency at 200/s, request to receiver: p50", p50_ms, Target::AtMost(0.6), floors.latency.p50_ms);
    add("latency at 200/s, request to receiver: p99", p99_ms, Target::AtMost(2.0), floors.latency.p99_ms);
    Ok(())
}

/// The medians of p50 and p99.
pub fn medians(rounds: &[Quantiles]) -> (f64, f64) {
    let of = |part: fn(&Quantiles) -> f64| median(rounds.iter().map(part).collect());
    (of(|round| round.p50_ms), of(|round| round.p99_ms))
}

/// 200 events per second to one channel, after a second to warm up. All must arrive.
pub fn steadily(
    bench: &Bench,
    server: &mut Server,
    workspace: &Workspace,
    resource_id: &str,
    sink: &Sink,
    path: &str,
    seconds: u64,
) -> anyhow::Result<Quantiles> {
    let mut load = Load {
        address: workspace.address,
        path: workspace.runs_path(),
        key: &workspace.key,
        resource_id,
        connections: 16,
        batch: 1,
        events: RATE,
        rate: Some(RATE),
        limit: Duration::from_secs(seconds.max(1)),
    };
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
            anyhow::ensure!(!is_over, "of {events} events {arrived} were received, no more come");
            thread::sleep(Duration::from_millis(10));
        }
    }
    let distinct = sink.arrived(path, true)?.distinct;
    let events = RATE * seconds;
    anyhow::ensure!(distinct == events, "{events} events were accepted, {distinct} different ones received");
    let quantiles = sink.latency(path)?;
    anyhow::ensure!(quantiles.count >= events, "only {} of {events} webhooks carried a stamp", quantiles.count);
    Ok(quantiles)
}
