//! What a healthy channel feels of its neighbours: one that refuses, one that hangs, one with a huge backlog.
//!
//! Pairs of short rounds: one server without such neighbours, one with them, each started anew; on both a channel of the
//! neighbours' workspace and one of another workspace are measured. Each pair is compared within itself, and what is
//! told is the middle of all those comparisons, because what changes on a noisy machine from one minute to the next
//! meets both halves of a pair, but not all pairs. No round is left out.

use std::{net::TcpListener, thread, time::Duration};

use super::{
    Bench, alternately,
    floors::Floors,
    latency::{medians, steadily},
    load::{Load, Quantiles},
    process::Process,
    say,
    server::{Server, Workspace},
    sink::Sink,
    spread::Spread,
    table::{Figure, Table, Target, Unit, thousands},
};
use crate::shell::Stopwatch;

/// How much longer than alone a webhook may be on its way.
const TIMES_MAX: f64 = 1.5;
/// How many pairs there are, if there is time for no more.
const PAIRS_MIN: usize = 5;
/// Beyond those no pair is begun that would probably not end within this.
const WITHIN: Duration = Duration::from_secs(240);
/// How long the channel that hangs is waited for.
const HANGING_TIMEOUT_MS: u64 = 5_000;
/// Events per second that keep going to the channels that refuse and hang.
const TROUBLE_RATE: u64 = 20;
/// How many of those wait there already when the measurement begins.
const TROUBLE_BEFORE: u64 = 200;
/// How many come to the slow channel in one request: the server holds callers back who bring many more at once to a
/// channel that is not very slow, and then no backlog grows.
const FILLED_AT_ONCE: u64 = 20;
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

    const fn words(self) -> &'static str {
        match self {
            Self::Same => "same workspace",
            Self::Other => "other workspace",
        }
    }
}

/// Latencies of one place, alone and with neighbours, by pair.
#[derive(Default)]
struct Compared {
    alone: Vec<Quantiles>,
    beside: Vec<Quantiles>,
}

impl Compared {
    /// How many times as long as alone it took beside the others, pair by pair.
    fn times(&self) -> Vec<f64> {
        self.beside.iter().zip(&self.alone).map(|(beside, alone)| beside.p99_ms / alone.p99_ms).collect()
    }
}

/// Measures it and adds it to the table.
pub fn measure(bench: &Bench, floors: &Floors, table: &mut Table) -> anyhow::Result<()> {
    let (mut same, mut other) = (Compared::default(), Compared::default());
    let mut waiting_least = u64::MAX;
    let watch = Stopwatch::start();
    for pair in 0.. {
        let took = watch.read().0;
        if pair >= bench.pick(PAIRS_MIN, 1) && (bench.quick || took + took / pair as u32 > WITHIN) {
            break;
        }
        // Neither half and neither place always comes first.
        for with_neighbours in alternately(pair, [false, true]) {
            let mut stage = Stage::set(bench, with_neighbours)?;
            for place in alternately(pair / 2, [Place::Same, Place::Other]) {
                let quantiles = stage.measure(bench, place)?;
                let compared = if matches!(place, Place::Same) { &mut same } else { &mut other };
                let list = if with_neighbours { &mut compared.beside } else { &mut compared.alone };
                list.push(quantiles);
                let (p50, p99) = (quantiles.p50_ms, quantiles.p99_ms);
                let waiting = stage.waiting()?;
                waiting_least = waiting_least.min(waiting.unwrap_or(u64::MAX));
                let beside = waiting.map_or("alone".to_owned(), |waiting| {
                    format!("beside the others, of whom {} wait", thousands(waiting as f64))
                });
                say(&format!("  pair {}, {}, {beside}: p50 {p50:.3} ms, p99 {p99:.3} ms", pair + 1, place.words()));
            }
            stage.clear()?;
        }
        let last = |compared: &Compared| compared.times().last().copied().unwrap_or(f64::NAN);
        let (in_same, in_other) = (last(&same), last(&other));
        say(&format!("  pair {}: p99 {in_same:.2} × and {in_other:.2} × that alone", pair + 1));
    }
    tell(table, floors, Place::Same, &same);
    tell(table, floors, Place::Other, &other);
    let waiting = thousands(waiting_least as f64);
    table.remark(format!("isolation: at the end of a measurement never fewer than {waiting} waited in the backlog."));
    Ok(())
}

fn tell(table: &mut Table, floors: &Floors, place: Place, compared: &Compared) {
    let (alone, beside) = (medians(&compared.alone), medians(&compared.beside));
    let place = place.words();
    let mut add = |name: &str, value, unit, target, floor| {
        table.add(Figure { name: &format!("isolation, {place}: {name}"), value, unit, target, floor })
    };
    let machine = Some((floors.latency.p99_ms, "generator → sink"));
    add("p99 alone", alone.1, Unit::Ms, Target::None, machine);
    let of_alone = |alone| Some((alone, "alone"));
    add("p50 beside the others", beside.0, Unit::Ms, Target::None, of_alone(alone.0));
    add("p99 beside the others", beside.1, Unit::Ms, Target::None, of_alone(alone.1));
    let times = compared.times();
    let spread = Spread::of(times.iter().copied());
    add("p99, times that alone, pair by pair", spread.middle, Unit::Times, Target::AtMost(TIMES_MAX), None);
    let p99s = |rounds: &[Quantiles]| Spread::of(rounds.iter().map(|round| round.p99_ms));
    let one_by_one: Vec<String> = times.iter().map(|times| format!("{times:.2}")).collect();
    table.remark(format!(
        "isolation, {place}: p99 alone {} ms, beside the others {} ms; times that alone {spread}, one pair after the \
         other {}.",
        p99s(&compared.alone),
        p99s(&compared.beside),
        one_by_one.join(", ")
    ));
}

/// A server with its channels, and what is sent to the healthy one's neighbours.
struct Stage {
    server: Server,
    workspace: Workspace,
    other: Workspace,
    sink: Sink,
    neighbours: Option<Neighbours>,
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
        Ok(Self { server, workspace, other, sink, neighbours })
    }

    fn measure(&mut self, bench: &Bench, place: Place) -> anyhow::Result<Quantiles> {
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.fill(bench, &self.workspace)?;
        }
        // Without neighbours too: whatever the machine still does of what was before, it does to both.
        thread::sleep(SETTLE_IN);
        let workspace = if matches!(place, Place::Same) { &self.workspace } else { &self.other };
        let load = workspace.load("healthy");
        steadily(bench, &mut self.server, &load, &self.sink, place.path(), bench.pick(7, 5))
    }

    /// How many wait in the neighbours' backlog, if there are neighbours.
    fn waiting(&self) -> anyhow::Result<Option<u64>> {
        self.neighbours.as_ref().map(Neighbours::still_waiting).transpose()
    }

    /// Ends all of it, the neighbours first, and takes away what was written.
    fn clear(self) -> anyhow::Result<()> {
        drop(self.neighbours);
        self.server.discard()
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
            let load = workspace.load(resource_id);
            Load { batch: 100, events: TROUBLE_BEFORE, ..load.clone() }.send(bench)?;
            let (rate, limit) = (Some(TROUBLE_RATE), TROUBLE_LIMIT);
            Load { rate, events: TROUBLE_RATE * limit.as_secs(), limit, ..load }.send_meanwhile(bench)
        };
        let streams = [stream("refusing")?, stream("hanging")?];
        Ok(Self { sink, slow_sent: 0, backlog: bench.pick(120_000, 40_000), _streams: streams })
    }

    /// Fills the backlog up again.
    fn fill(&mut self, bench: &Bench, workspace: &Workspace) -> anyhow::Result<()> {
        let events = self.backlog.saturating_sub(self.waiting()?);
        if events > 0 {
            let load = Load { connections: 16, batch: FILLED_AT_ONCE, events, ..workspace.load("slow") };
            self.slow_sent += load.send(bench)?.events;
        }
        Ok(())
    }

    fn waiting(&self) -> anyhow::Result<u64> {
        Ok(self.slow_sent.saturating_sub(self.sink.arrived("/slow/", false)?.requests))
    }

    /// How many wait in the backlog. An error if that is so few that nothing was measured beside it.
    fn still_waiting(&self) -> anyhow::Result<u64> {
        let (waiting, backlog) = (self.waiting()?, self.backlog);
        anyhow::ensure!(waiting >= backlog / 2, "of a backlog of {backlog} only {waiting} waited at the end");
        Ok(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_is_compared_within_itself() {
        let rounds = |p99s: [f64; 3]| p99s.map(|p99_ms| Quantiles { count: 1_000, p50_ms: 0.5, p99_ms }).to_vec();
        let compared = Compared { alone: rounds([1.0, 4.0, 2.0]), beside: rounds([2.0, 4.0, 2.5]) };
        assert_eq!(compared.times(), [2.0, 1.0, 1.25]);
        assert_eq!(Spread::of(compared.times()).middle, 1.25);
    }
}
