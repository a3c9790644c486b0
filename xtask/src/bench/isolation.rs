//! How neighbours affect a healthy channel: one channel that refuses, one that hangs, one with a huge backlog.
//!
//! Measured in pairs of short rounds: one server without such neighbours, one with them, each freshly started. Both a
//! channel of the neighbours' workspace and one of another workspace are measured. Rounds are compared within their
//! pair, and the median of the ratios is reported: on a noisy machine, load that changes over minutes affects both
//! halves of a pair, but not all pairs. No round is discarded.

use std::{net::TcpListener, thread, time::Duration};

use super::{
    Bench, alternately,
    baselines::Baselines,
    latency::{medians, steadily},
    load::{Load, Quantiles},
    process::Process,
    progress,
    server::{Server, Workspace},
    sink::Sink,
    spread::Spread,
    table::{Figure, Table, Target, Unit, thousands},
};
use crate::shell::Stopwatch;

/// Maximum ratio of the latency with neighbours to that without.
const TIMES_MAX: f64 = 1.5;
/// Minimum number of pairs.
const PAIRS_MIN: usize = 5;
/// Beyond the minimum no pair is started that would probably exceed this time.
const WITHIN: Duration = Duration::from_secs(240);
/// Timeout of the hanging channel.
const HANGING_TIMEOUT_MS: u64 = 5_000;
/// Events per second for each of the refusing and the hanging channel.
const TROUBLE_RATE: u64 = 20;
/// Events for those channels before the measurement.
const TROUBLE_BEFORE: u64 = 200;
/// Events for the slow channel per request. Larger requests would be delayed by backpressure, and no backlog would
/// grow.
const SLOW_BATCH: u64 = 20;
/// Time limit of the neighbours' load: longer than a round.
const TROUBLE_LIMIT: Duration = Duration::from_secs(600);
/// Time for the neighbours to reach a steady state.
const SETTLE_IN: Duration = Duration::from_secs(2);

/// The workspace of the healthy channel.
#[derive(Clone, Copy)]
enum Location {
    Same,
    Other,
}

impl Location {
    const fn path(self) -> &'static str {
        match self {
            Self::Same => "/ok/same",
            Self::Other => "/ok/other",
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same workspace",
            Self::Other => "other workspace",
        }
    }
}

/// Latencies without and with neighbours, by pair.
#[derive(Default)]
struct Compared {
    alone: Vec<Quantiles>,
    beside: Vec<Quantiles>,
}

impl Compared {
    /// Ratio of the p99 with neighbours to that without, by pair.
    fn ratios(&self) -> Vec<f64> {
        self.beside.iter().zip(&self.alone).map(|(beside, alone)| beside.p99_ms / alone.p99_ms).collect()
    }
}

/// Measures it and adds it to the table.
pub fn measure(bench: &Bench, baselines: &Baselines, table: &mut Table) -> anyhow::Result<()> {
    let (mut same, mut other) = (Compared::default(), Compared::default());
    let mut waiting_least = u64::MAX;
    let watch = Stopwatch::start();
    for pair in 0.. {
        let took = watch.read().0;
        if pair >= bench.pick(PAIRS_MIN, 1) && (bench.quick || took + took / pair as u32 > WITHIN) {
            break;
        }
        // Alternate the order, so that no half and no location always comes first.
        for with_neighbours in alternately(pair, [false, true]) {
            let mut stage = Stage::set(bench, with_neighbours)?;
            for place in alternately(pair / 2, [Location::Same, Location::Other]) {
                let quantiles = stage.measure(bench, place)?;
                let compared = if matches!(place, Location::Same) { &mut same } else { &mut other };
                let list = if with_neighbours { &mut compared.beside } else { &mut compared.alone };
                list.push(quantiles);
                let (p50, p99) = (quantiles.p50_ms, quantiles.p99_ms);
                let waiting = stage.waiting()?;
                waiting_least = waiting_least.min(waiting.unwrap_or(u64::MAX));
                let beside = waiting.map_or("alone".to_owned(), |waiting| {
                    format!("with neighbours, backlog {}", thousands(waiting as f64))
                });
                progress(&format!(
                    "  pair {}, {}, {beside}: p50 {p50:.3} ms, p99 {p99:.3} ms",
                    pair + 1,
                    place.as_str()
                ));
            }
            stage.clear()?;
        }
        let last = |compared: &Compared| compared.ratios().last().copied().unwrap_or(f64::NAN);
        let (in_same, in_other) = (last(&same), last(&other));
        progress(&format!("  pair {}: p99 {in_same:.2} × and {in_other:.2} × that alone", pair + 1));
    }
    add_figures(table, baselines, Location::Same, &same);
    add_figures(table, baselines, Location::Other, &other);
    let waiting = thousands(waiting_least as f64);
    table.remark(format!("isolation: at the end of each measurement the backlog held at least {waiting} deliveries."));
    Ok(())
}

fn add_figures(table: &mut Table, baselines: &Baselines, place: Location, compared: &Compared) {
    let (alone, beside) = (medians(&compared.alone), medians(&compared.beside));
    let place = place.as_str();
    let mut add = |name: &str, value, unit, target, baseline| {
        table.add(Figure { name: &format!("isolation, {place}: {name}"), value, unit, target, baseline })
    };
    let machine = Some((baselines.latency.p99_ms, "generator → sink"));
    add("p99 alone", alone.1, Unit::Ms, Target::None, machine);
    let of_alone = |alone| Some((alone, "alone"));
    add("p50 with neighbours", beside.0, Unit::Ms, Target::None, of_alone(alone.0));
    add("p99 with neighbours", beside.1, Unit::Ms, Target::None, of_alone(alone.1));
    let ratios = compared.ratios();
    let spread = Spread::new(ratios.iter().copied());
    add(
        "p99 ratio with/without neighbours, median of pairs",
        spread.median,
        Unit::Times,
        Target::AtMost(TIMES_MAX),
        None,
    );
    let p99s = |rounds: &[Quantiles]| Spread::new(rounds.iter().map(|round| round.p99_ms));
    let one_by_one: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    table.remark(format!(
        "isolation, {place}: p99 alone {} ms, with neighbours {} ms; ratio {spread}, by pair: {}.",
        p99s(&compared.alone),
        p99s(&compared.beside),
        one_by_one.join(", ")
    ));
}

/// A server with its channels, and the load of the neighbours.
struct Stage {
    server: Server,
    workspace: Workspace,
    other: Workspace,
    sink: Sink,
    neighbours: Option<Neighbours>,
}

struct Neighbours {
    /// Separate from the healthy channel's sink, so that it cannot slow that down.
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
        workspace.subscribe("healthy", &sink.url(Location::Same.path()))?;
        other.subscribe("healthy", &sink.url(Location::Other.path()))?;
        let neighbours = with_neighbours.then(|| Neighbours::start(bench, &workspace)).transpose()?;
        Ok(Self { server, workspace, other, sink, neighbours })
    }

    fn measure(&mut self, bench: &Bench, place: Location) -> anyhow::Result<Quantiles> {
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.fill(bench, &self.workspace)?;
        }
        // Also without neighbours, so that leftover work of the previous round affects both equally.
        thread::sleep(SETTLE_IN);
        let workspace = if matches!(place, Location::Same) { &self.workspace } else { &self.other };
        let load = workspace.load("healthy");
        steadily(bench, &mut self.server, &load, &self.sink, place.path(), bench.pick(7, 5))
    }

    /// Size of the neighbours' backlog, if there are neighbours.
    fn waiting(&self) -> anyhow::Result<Option<u64>> {
        self.neighbours.as_ref().map(Neighbours::checked_backlog_size).transpose()
    }

    /// Stops everything, the neighbours first, and deletes the files.
    fn clear(self) -> anyhow::Result<()> {
        drop(self.neighbours);
        self.server.discard()
    }
}

impl Neighbours {
    fn start(bench: &Bench, workspace: &Workspace) -> anyhow::Result<Self> {
        let sink = Sink::start(bench)?;
        let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        workspace.subscribe("refusing", &format!("http://{closed}/"))?;
        workspace.subscribe_with_timeout("hanging", &sink.url("/hang/a"), Some(HANGING_TIMEOUT_MS))?;
        workspace.subscribe("slow", &sink.url("/slow/200/a"))?;
        let stream = |resource_id| {
            let load = workspace.load(resource_id);
            Load { batch: 100, events: TROUBLE_BEFORE, ..load.clone() }.send(bench)?;
            let (rate, limit) = (Some(TROUBLE_RATE), TROUBLE_LIMIT);
            Load { rate, events: TROUBLE_RATE * limit.as_secs(), limit, ..load }.send_meanwhile(bench)
        };
        let streams = [stream("refusing")?, stream("hanging")?];
        Ok(Self { sink, slow_sent: 0, backlog: bench.pick(120_000, 40_000), _streams: streams })
    }

    /// Refills the backlog.
    fn fill(&mut self, bench: &Bench, workspace: &Workspace) -> anyhow::Result<()> {
        let events = self.backlog.saturating_sub(self.backlog_size()?);
        if events > 0 {
            let load = Load { connections: 16, batch: SLOW_BATCH, events, ..workspace.load("slow") };
            self.slow_sent += load.send(bench)?.events;
        }
        Ok(())
    }

    fn backlog_size(&self) -> anyhow::Result<u64> {
        Ok(self.slow_sent.saturating_sub(self.sink.arrived("/slow/", false)?.requests))
    }

    /// Size of the backlog. Fails if it is too small for a valid measurement.
    fn checked_backlog_size(&self) -> anyhow::Result<u64> {
        let (waiting, backlog) = (self.backlog_size()?, self.backlog);
        anyhow::ensure!(
            waiting >= backlog / 2,
            "only {waiting} of {backlog} deliveries were left in the backlog at the end"
        );
        Ok(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_compare_within_pairs() {
        let rounds = |p99s: [f64; 3]| p99s.map(|p99_ms| Quantiles { count: 1_000, p50_ms: 0.5, p99_ms }).to_vec();
        let compared = Compared { alone: rounds([1.0, 4.0, 2.0]), beside: rounds([2.0, 4.0, 2.5]) };
        assert_eq!(compared.ratios(), [2.0, 1.0, 1.25]);
        assert_eq!(Spread::new(compared.ratios()).median, 1.25);
    }
}
