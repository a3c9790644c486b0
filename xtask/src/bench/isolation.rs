//! What a healthy channel feels of its neighbours: one that refuses, one that hangs, one with a huge backlog.
//!
//! Each round starts two servers one after the other, the first without such neighbours, the second with them, and
//! measures on both a channel of the neighbours' workspace and one of another workspace. Rounds take turns, so that
//! what changes on the machine meanwhile meets both.

use std::{net::TcpListener, thread, time::Duration};

use super::{
    Bench,
    floors::Floors,
    latency::{medians, steadily},
    load::{Load, Quantiles},
    process::Process,
    say,
    server::{Server, Workspace},
    sink::Sink,
    table::{Figure, Table, Target, Unit, thousands},
};

/// How much longer than alone a webhook may be on its way.
const TIMES_MAX: f64 = 1.5;
/// How long the channel that hangs is waited for.
const HANGING_TIMEOUT_MS: u64 = 5_000;
/// Events per second that keep going to the channels that refuse and hang.
const TROUBLE_RATE: u64 = 20;
/// How many of those wait there already when the measurement begins.
const TROUBLE_BEFORE: u64 = 200;
/// How long the neighbours go on at most: longer than a round.
const TROUBLE_LIMIT: Duration = Duration::from_secs(600);
/// What the neighbours are given to come to their usual state.
const SETTLE_IN: Duration = Duration::from_secs(2);

/// The two places where the healthy channel may be.
#[derive(Clone, Copy)]
enum Place {
    Same,
    Other,
}

impl Place {
    const fn path(self) -> &'static str {
        match self {
            Self::Same => "/ok/same",
            Self::Other => "/ok/other",
        }
    }
}

/// Latencies of one place, alone and with neighbours, by round.
#[derive(Default)]
struct Compared {
    alone: Vec<Quantiles>,
    beside: Vec<Quantiles>,
}

/// Measures it and adds it to the table.
pub fn measure(bench: &Bench, floors: &Floors, table: &mut Table) -> anyhow::Result<()> {
    let (mut same, mut other) = (Compared::default(), Compared::default());
    let mut waiting_least = u64::MAX;
    for round in 0..bench.repeats() {
        // Neither place always comes first.
        let places = if round % 2 == 0 { [Place::Same, Place::Other] } else { [Place::Other, Place::Same] };
        for with_neighbours in [false, true] {
            let mut stage = Stage::set(bench, with_neighbours)?;
            for place in places {
                let quantiles = stage.measure(bench, place)?;
                let compared = if matches!(place, Place::Same) { &mut same } else { &mut other };
                let list = if with_neighbours { &mut compared.beside } else { &mut compared.alone };
                list.push(quantiles);
                let (p50, p99) = (quantiles.p50_ms, quantiles.p99_ms);
                let beside = if with_neighbours { "beside the others" } else { "alone" };
                say(&format!("  {} {beside}: p50 {p50:.3} ms, p99 {p99:.3} ms", place.path()));
            }
            waiting_least = waiting_least.min(stage.waiting_least);
        }
    }
    tell(table, floors, "same workspace", &same);
    tell(table, floors, "other workspace", &other);
    let waiting = thousands(waiting_least as f64);
    table.remark(format!("isolation: at the end of a measurement never fewer than {waiting} waited in the backlog."));
    Ok(())
}

fn tell(table: &mut Table, floors: &Floors, place: &str, compared: &Compared) {
    let (alone, beside) = (medians(&compared.alone), medians(&compared.beside));
    let mut add =
        |name: String, value, unit, target, floor| table.add(Figure { name: &name, value, unit, target, floor });
    let machine = Some((floors.latency.p99_ms, "generator → sink"));
    add(format!("isolation, {place}: p99 alone"), alone.1, Unit::Ms, Target::None, machine);
    let of_alone = |alone| Some((alone, "alone"));
    add(format!("isolation, {place}: p50 beside the others"), beside.0, Unit::Ms, Target::None, of_alone(alone.0));
    add(format!("isolation, {place}: p99 beside the others"), beside.1, Unit::Ms, Target::None, of_alone(alone.1));
    add(
        format!("isolation, {place}: p99, times that alone"),
        beside.1 / alone.1,
        Unit::Times,
        Target::AtMost(TIMES_MAX),
        None,
    );
}

/// A server with its channels, and what is sent to the healthy one's neighbours.
struct Stage {
    server: Server,
    workspace: Workspace,
    other: Workspace,
    sink: Sink,
    neighbours: Option<Neighbours>,
    seconds: u64,
    /// The fewest that waited in the backlog at the end of a measurement.
    waiting_least: u64,
}

struct Neighbours {
    /// A sink of their own, so that they do not keep the healthy channel's busy.
    sink: Sink,
    /// Events sent to the slow channel so far.
    slow_sent: u64,
    backlog: u64,
    _streams: [Process; 2],
}

impl Stage {
    fn set(bench: &Bench, with_neighbours: bool) -> anyhow::Result<Self> {
        let sink = Sink::start(bench)?;
        let (server, other) = Server::start_with_another(bench)?;
        let workspace = server.workspace();
        workspace.wire("healthy", &sink.url(Place::Same.path()))?;
        other.wire("healthy", &sink.url(Place::Other.path()))?;
        let neighbours = with_neighbours.then(|| Neighbours::move_in(bench, &workspace)).transpose()?;
        let seconds = bench.pick(15, 5);
        Ok(Self { server, workspace, other, sink, neighbours, seconds, waiting_least: u64::MAX })
    }

    fn measure(&mut self, bench: &Bench, place: Place) -> anyhow::Result<Quantiles> {
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.fill(bench, &self.workspace)?;
            thread::sleep(SETTLE_IN);
        }
        let workspace = if matches!(place, Place::Same) { &self.workspace } else { &self.other };
        let (server, sink) = (&mut self.server, &self.sink);
        let quantiles = steadily(bench, server, workspace, "healthy", sink, place.path(), self.seconds)?;
        if let Some(neighbours) = &self.neighbours {
            self.waiting_least = self.waiting_least.min(neighbours.waiting()?);
        }
        Ok(quantiles)
    }
}

impl Neighbours {
    fn move_in(bench: &Bench, workspace: &Workspace) -> anyhow::Result<Self> {
        let sink = Sink::start(bench)?;
        let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        workspace.wire("refusing", &format!("http://{closed}/"))?;
        workspace.wire_with_timeout("hanging", &sink.url("/hang/a"), Some(HANGING_TIMEOUT_MS))?;
        workspace.wire("slow", &sink.url("/slow/200/a"))?;
        let stream = |resource_id| {
            let before = Load { batch: 100, events: TROUBLE_BEFORE, ..load(workspace, resource_id) };
            before.send(bench)?;
            let (rate, limit) = (Some(TROUBLE_RATE), TROUBLE_LIMIT);
            let events = TROUBLE_RATE * limit.as_secs();
            Load { rate, events, limit, ..load(workspace, resource_id) }.send_meanwhile(bench)
        };
        let streams = [stream("refusing")?, stream("hanging")?];
        Ok(Self { sink, slow_sent: 0, backlog: bench.pick(120_000, 24_000), _streams: streams })
    }

    /// Fills the backlog up again.
    fn fill(&mut self, bench: &Bench, workspace: &Workspace) -> anyhow::Result<()> {
        let events = self.backlog.saturating_sub(self.waiting()?);
        if events > 0 {
            self.slow_sent += Load { batch: 500, events, ..load(workspace, "slow") }.send(bench)?.events;
        }
        Ok(())
    }

    fn waiting(&self) -> anyhow::Result<u64> {
        Ok(self.slow_sent.saturating_sub(self.sink.arrived("/slow/", false)?.requests))
    }
}

fn load<'a>(workspace: &'a Workspace, resource_id: &'a str) -> Load<'a> {
    Load {
        address: workspace.address,
        path: workspace.runs_path(),
        key: &workspace.key,
        resource_id,
        connections: 4,
        batch: 1,
        events: 1,
        rate: None,
        limit: Duration::from_secs(120),
    }
}
