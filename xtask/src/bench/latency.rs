//! How long a webhook is on its way when the server has time: from the beginning of the run's request to the receiver.
//! The server and the bare way take turns, each started anew for each.

use std::{thread, time::Duration};

use anyhow::Context as _;

use super::{
    Bench, alternately,
    floors::Floors,
    flow::Serves,
    load::{Load, Quantiles},
    median, say,
    server::Server,
    sink::Sink,
    spread::Spread,
    table::{Figure, Table, Target, Unit},
    way::{self, Way},
};
use crate::shell::Stopwatch;

/// Requests per second: far below what the server can do.
const RATE: u64 = 200;
/// What is still on its way when the last answer has come is there within this, or is lost.
const ARRIVED_WITHIN: Duration = Duration::from_secs(20);
const PATH: &str = "/ok/latency";

/// Who is measured.
#[derive(Clone, Copy)]
enum Who {
    Server,
    BareWay,
}

/// Measures it and adds it to the table.
pub fn measure(bench: &Bench, floors: &Floors, table: &mut Table) -> anyhow::Result<()> {
    let sink = Sink::start(bench)?;
    let (mut server, mut bare) = (Vec::new(), Vec::new());
    for turn in 0..bench.turns() {
        for who in alternately(turn, [Who::BareWay, Who::Server]) {
            let (round, rounds, words) = match who {
                Who::Server => (of_server(bench, &sink)?, &mut server, "server"),
                Who::BareWay => (of_bare_way(bench, &sink).context("on the bare way")?, &mut bare, "bare way"),
            };
            say(&format!("  turn {}, {words}: p50 {:.3} ms, p99 {:.3} ms", turn + 1, round.p50_ms, round.p99_ms));
            rounds.push(round);
        }
    }
    table.remark(way::WORDS.to_owned());
    let ((p50_ms, p99_ms), (bare_p50_ms, bare_p99_ms)) = (medians(&server), medians(&bare));
    let mut add = |name, value, target, floor| {
        table.add(Figure { name, value, unit: Unit::Ms, target, floor: Some(floor) });
    };
    let into_sink = |floor| (floor, "generator → sink");
    let on_bare_way = |floor| (floor, "on the bare way");
    let machine = floors.latency;
    add("latency at 200/s, request to receiver: p50", p50_ms, Target::AtMost(0.6), into_sink(machine.p50_ms));
    add("latency at 200/s: p50, beside the bare way", p50_ms, Target::None, on_bare_way(bare_p50_ms));
    add("latency at 200/s, request to receiver: p99", p99_ms, Target::AtMost(2.0), into_sink(machine.p99_ms));
    add("latency at 200/s: p99, beside the bare way", p99_ms, Target::None, on_bare_way(bare_p99_ms));
    let ratios = |part: fn(&Quantiles) -> f64| {
        Spread::of(server.iter().zip(&bare).map(|(server, bare)| part(server) / part(bare)))
    };
    table.remark(format!(
        "latency, turn by turn: p50 {} times that of the bare way, p99 {} times.",
        ratios(|round| round.p50_ms),
        ratios(|round| round.p99_ms)
    ));
    Ok(())
}

fn of_server(bench: &Bench, sink: &Sink) -> anyhow::Result<Quantiles> {
    let mut server = Server::start_fresh(bench)?;
    let workspace = server.workspace();
    workspace.wire("bench", &sink.url(PATH))?;
    let round = steadily(bench, &mut server, &workspace.load("bench"), sink, PATH, seconds(bench))?;
    server.discard()?;
    Ok(round)
}

fn of_bare_way(bench: &Bench, sink: &Sink) -> anyhow::Result<Quantiles> {
    let mut way = Way::start(bench, sink, 1)?;
    let load = way.load();
    let round = steadily(bench, &mut way, &load, sink, way::FIRST_PATH, seconds(bench))?;
    way.discard()?;
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

/// 200 events per second of this kind to one path, after a second to warm up. All must arrive.
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
