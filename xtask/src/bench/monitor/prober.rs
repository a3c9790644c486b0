//! The prober without the server: `tidings-watcher`, flat out or on schedule. Every check must succeed.

use std::{fs, time::Duration};

use anyhow::Context as _;
use serde_json::Value;

use super::{INTERVAL_SECONDS, targets::Targets};
use crate::bench::{
    Bench,
    load::Quantiles,
    median,
    process::Process,
    table::{Figure, Table, Target, Unit, thousands},
};

/// Two intervals to warm up, the longest that is measured, and the end.
const ENDED_WITHIN: Duration = Duration::from_secs(180);
/// Loops that probe at once, each with a host of its own.
const AT_ONCE: u64 = 64;
/// What is asked for where no connection is kept.
const CLOSE: &[&str] = &["--path", "/close"];

/// What the watcher printed.
struct Watched(Value);

impl Watched {
    fn number(&self, name: &str) -> anyhow::Result<f64> {
        self.0[name].as_f64().with_context(|| format!("there is no {name} in {}", self.0))
    }
}

/// Has the watcher look at so many hosts, and tells what it printed.
fn watched(bench: &Bench, targets: &mut Targets, how: &str, hosts: u64, options: &[&str]) -> anyhow::Result<Watched> {
    let dir = bench.scratch.dir("watcher")?;
    let mut process = Process::start(&bench.binaries.join("tidings-watcher"), &dir, "tidings-watcher", |command| {
        command.arg(how).args(["--hosts", &hosts.to_string()]).args(options);
        targets.firsts.iter().for_each(|first| _ = command.args(["--first", &first.to_string()]));
        targets.tls.iter().for_each(|file| _ = command.arg("--tls").arg(file));
    })?;
    process.wait(ENDED_WITHIN)?;
    targets.check()?;
    let said = fs::read_to_string(dir.join("tidings-watcher.log"))?;
    let told: Value = serde_json::from_str(&said).with_context(|| format!("the watcher said: {said}"))?;
    let watched = Watched(told);
    let failures = watched.number("failures")?;
    anyhow::ensure!(failures == 0.0, "{failures} checks failed, the first with: {}", watched.0["firstFailure"]);
    anyhow::ensure!(watched.number("checks")? > 0.0, "nothing was checked: {}", watched.0);
    Ok(watched)
}

/// What a check costs.
struct Cost {
    /// Checks in a second of processor time.
    per_core: f64,
    /// Milliseconds of processor time for each.
    cpu_ms: f64,
}

/// The median cost of a check when they are made as fast as they are answered.
fn cost(bench: &Bench, targets: &mut Targets, how: &str, options: &[&str]) -> anyhow::Result<Cost> {
    let seconds = bench.pick("5", "2");
    let (mut per_core, mut cpu_ms) = (Vec::new(), Vec::new());
    for _ in 0..bench.repeats() {
        let watched = watched(bench, targets, how, AT_ONCE, &[options, &["--seconds", seconds]].concat())?;
        let (checks, cpu_seconds) = (watched.number("checks")?, watched.number("cpuSeconds")?);
        per_core.push(checks / cpu_seconds);
        cpu_ms.push(cpu_seconds * 1e3 / checks);
    }
    Ok(Cost { per_core: median(per_core), cpu_ms: median(cpu_ms) })
}

/// What a check costs over HTTP and TLS, beside the bare exchange.
pub fn flat_out(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let (mut plain, mut tls) = (Targets::plain(bench, 1, AT_ONCE)?, Targets::tls(bench)?);
    let mut tell = |name: &str, cost: &Cost, floor: Option<&Cost>| {
        let floor_of = |of: fn(&Cost) -> f64| floor.map(|floor| (of(floor), "the bare exchange"));
        let mut add =
            |name: &str, value, unit, floor| table.add(Figure { name, value, unit, target: Target::None, floor });
        add(&format!("{name}, per core"), cost.per_core, Unit::PerSecond, floor_of(|cost| cost.per_core));
        add(&format!("{name}, CPU of each"), cost.cpu_ms, Unit::Ms, floor_of(|cost| cost.cpu_ms));
    };
    let bare = cost(bench, &mut plain, "bare", &[])?;
    tell("watch: checks over HTTP, kept alive", &cost(bench, &mut plain, "flat-out", &[])?, Some(&bare));
    tell("watch: checks over HTTP, a connection each", &cost(bench, &mut plain, "flat-out", CLOSE)?, None);
    let bare = cost(bench, &mut tls, "bare", &[])?;
    tell("watch: checks over TLS, kept alive", &cost(bench, &mut tls, "flat-out", &[])?, Some(&bare));
    tell("watch: checks over TLS, a handshake each", &cost(bench, &mut tls, "flat-out", CLOSE)?, None);
    Ok(())
}

/// What the prober and its schedule take for endpoints that are looked at in time.
pub struct Alone {
    /// Processors that were busy.
    pub cores: f64,
    /// Milliseconds of processor time for each check.
    pub cpu_ms: f64,
    /// The most MiB that ever were resident.
    pub memory_mib: f64,
    /// How late checks began.
    pub lag: Quantiles,
}

/// So many endpoints, each on a host of its own.
pub fn on_schedule(bench: &Bench, targets: &mut Targets, endpoints: u64, table: &mut Table) -> anyhow::Result<Alone> {
    let seconds = bench.pick("40", "10");
    let options = ["--interval-seconds", &INTERVAL_SECONDS.to_string(), "--seconds", seconds];
    let watched = watched(bench, targets, "schedule", endpoints, &options)?;
    let (checks, due) = (watched.number("checks")?, watched.number("due")?);
    // Those at the very ends may fall to either side.
    let is_all = (checks - due).abs() <= due * 0.005;
    anyhow::ensure!(is_all, "{due} checks were due and {checks} were made: it fell behind");
    let cpu_seconds = watched.number("cpuSeconds")?;
    let (made, due) = (thousands(checks), thousands(due));
    table.remark(format!("watch: the prober alone made {made} checks, {due} were due; all were answered as expected."));
    Ok(Alone {
        cores: cpu_seconds / watched.number("seconds")?,
        cpu_ms: cpu_seconds * 1e3 / checks,
        memory_mib: watched.number("rssMaxMib")?,
        lag: Quantiles::read(&watched.0["lag"])?,
    })
}
