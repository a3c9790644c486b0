//! The check engine: what a check costs, and whether ten thousand endpoints are looked at in time.
//!
//! ```text
//! tidings-watcher ──probes──▶ tidings-target        (5,000 hosts a process, each an address of loopback)
//! ```
//!
//! For now the watcher is the prober and its schedule in a process of their own: nothing is judged, nothing written
//! down. What the rest of the engine adds to it is not in these figures.

use std::{fs, net::SocketAddr, process::Stdio, time::Duration};

use anyhow::Context as _;
use serde_json::Value;

use super::{
    Bench,
    load::Quantiles,
    median,
    process::Process,
    say,
    table::{Figure, Table, Target, Unit},
};

const STARTED_WITHIN: Duration = Duration::from_secs(30);
/// Beyond what it measures: warming up, and the end.
const GRACE: Duration = Duration::from_secs(60);

/// What is watched on schedule.
const ENDPOINTS: u64 = 10_000;
const INTERVAL_SECONDS: u64 = 10;
/// Each host is an open file twice: one listens, one is connected.
const HOSTS_IN_A_PROCESS: u64 = 5_000;
/// Loops that probe at once, each with a host of its own.
const AT_ONCE: u64 = 64;

/// What of the check engine it is.
const WORDS: &str = "watch: the prober and its schedule in a process of their own, without judging and storing.";

/// Processes that answer.
struct Targets {
    processes: Vec<Process>,
    /// The first host of each.
    firsts: Vec<SocketAddr>,
    tls: Option<std::path::PathBuf>,
}

impl Targets {
    /// Plain HTTP on so many hosts.
    fn plain(bench: &Bench, hosts: u64) -> anyhow::Result<Self> {
        let mut targets = Self { processes: Vec::new(), firsts: Vec::new(), tls: None };
        for number in 0..hosts.div_ceil(HOSTS_IN_A_PROCESS) {
            let hosts = (hosts - number * HOSTS_IN_A_PROCESS).min(HOSTS_IN_A_PROCESS);
            let first = format!("127.{}.0.1:0", number + 1);
            targets.start(bench, &["--first", &first, "--hosts", &hosts.to_string()])?;
        }
        Ok(targets)
    }

    /// TLS on one host with many names.
    fn tls(bench: &Bench) -> anyhow::Result<Self> {
        let authority = bench.scratch.dir("authority")?.join("authority.der");
        let file = authority.to_str().context("the target directory's name is not text")?.to_owned();
        let mut targets = Self { processes: Vec::new(), firsts: Vec::new(), tls: Some(authority) };
        targets.start(bench, &["--tls", &file])?;
        Ok(targets)
    }

    fn start(&mut self, bench: &Bench, args: &[&str]) -> anyhow::Result<()> {
        let dir = bench.scratch.dir("target")?;
        let mut process = Process::start(&bench.binaries.join("tidings-target"), &dir, "tidings-target", |command| {
            command.arg("--with-parent").args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        })?;
        self.firsts.push(process.address(STARTED_WITHIN)?);
        self.processes.push(process);
        Ok(())
    }

    /// Has the watcher look at so many of their hosts, and tells what it printed. Every check must have succeeded.
    fn watched(&mut self, bench: &Bench, how: &str, hosts: u64, options: &[&str]) -> anyhow::Result<Watched> {
        let dir = bench.scratch.dir("watcher")?;
        let mut process =
            Process::start(&bench.binaries.join("tidings-watcher"), &dir, "tidings-watcher", |command| {
                command.arg(how).args(["--hosts", &hosts.to_string()]).args(options);
                self.firsts.iter().for_each(|first| _ = command.args(["--first", &first.to_string()]));
                self.tls.iter().for_each(|file| _ = command.arg("--tls").arg(file));
            })?;
        process.wait(GRACE + Duration::from_secs(120))?;
        self.processes.iter_mut().try_for_each(Process::check)?;
        let said = fs::read_to_string(dir.join("tidings-watcher.log"))?;
        let told: Value = serde_json::from_str(&said).with_context(|| format!("the watcher said: {said}"))?;
        let watched = Watched(told);
        let failures = watched.number("failures")?;
        anyhow::ensure!(failures == 0.0, "{failures} checks failed, the first with: {}", watched.0["firstFailure"]);
        anyhow::ensure!(watched.number("checks")? > 0.0, "nothing was checked: {}", watched.0);
        Ok(watched)
    }

    /// The median cost of a check when they are made as fast as they are answered.
    fn cost(&mut self, bench: &Bench, how: &str, options: &[&str]) -> anyhow::Result<Cost> {
        let seconds = bench.pick("5", "2");
        let (mut per_core, mut cpu_ms) = (Vec::new(), Vec::new());
        for _ in 0..bench.repeats() {
            let watched = self.watched(bench, how, AT_ONCE, &[options, &["--seconds", seconds]].concat())?;
            let (checks, cpu_seconds) = (watched.number("checks")?, watched.number("cpuSeconds")?);
            per_core.push(checks / cpu_seconds);
            cpu_ms.push(cpu_seconds * 1e3 / checks);
        }
        Ok(Cost { per_core: median(per_core), cpu_ms: median(cpu_ms) })
    }
}

/// What the watcher printed.
struct Watched(Value);

impl Watched {
    fn number(&self, name: &str) -> anyhow::Result<f64> {
        self.0[name].as_f64().with_context(|| format!("there is no {name} in {}", self.0))
    }
}

/// What a check costs.
struct Cost {
    /// Checks in a second of processor time.
    per_core: f64,
    /// Milliseconds of processor time for each.
    cpu_ms: f64,
}

/// Measures it and adds it to the table.
pub fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    table.remark(WORDS.to_owned());
    let (mut plain, mut tls) = (Targets::plain(bench, AT_ONCE)?, Targets::tls(bench)?);
    let mut tell = |name: &str, cost: &Cost, floor: Option<&Cost>| {
        let floor_of = |of: fn(&Cost) -> f64| floor.map(|floor| (of(floor), "the bare exchange"));
        let mut add =
            |name: &str, value, unit, floor| table.add(Figure { name, value, unit, target: Target::None, floor });
        add(&format!("{name}, per core"), cost.per_core, Unit::PerSecond, floor_of(|cost| cost.per_core));
        add(&format!("{name}, CPU of each"), cost.cpu_ms, Unit::Ms, floor_of(|cost| cost.cpu_ms));
    };
    say("  flat out");
    let bare = plain.cost(bench, "bare", &[])?;
    tell("watch: checks over HTTP, kept alive", &plain.cost(bench, "flat-out", &[])?, Some(&bare));
    tell("watch: checks over HTTP, a connection each", &plain.cost(bench, "flat-out", CLOSE)?, None);
    let bare = tls.cost(bench, "bare", &[])?;
    tell("watch: checks over TLS, kept alive", &tls.cost(bench, "flat-out", &[])?, Some(&bare));
    tell("watch: checks over TLS, a handshake each", &tls.cost(bench, "flat-out", CLOSE)?, None);
    drop((plain, tls));
    on_schedule(bench, table)
}

/// What is asked for where no connection is kept.
const CLOSE: &[&str] = &["--path", "/close"];

/// Ten thousand endpoints, each on a host of its own, every ten seconds.
fn on_schedule(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    say("  on schedule");
    let seconds = bench.pick(60, 10);
    let mut targets = Targets::plain(bench, ENDPOINTS)?;
    let options = ["--interval-seconds", &INTERVAL_SECONDS.to_string(), "--seconds", &seconds.to_string()];
    let watched = targets.watched(bench, "schedule", ENDPOINTS, &options)?;
    let (checks, due) = (watched.number("checks")?, watched.number("due")?);
    // Those at the very ends may fall to either side.
    let is_all = (checks - due).abs() <= due * 0.005;
    anyhow::ensure!(is_all, "{due} checks were due and {checks} were made: it fell behind");
    let lag = Quantiles::read(&watched.0["lag"])?;
    let cores = watched.number("cpuSeconds")? / watched.number("seconds")?;
    let mut add = |name, value, unit, target| table.add(Figure { name, value, unit, target, floor: None });
    add("watch: lag at 1,000 checks/s: p50", lag.p50_ms, Unit::Ms, Target::None);
    add("watch: lag at 1,000 checks/s: p99", lag.p99_ms, Unit::Ms, Target::Below(200.0));
    add("watch: 10,000 endpoints at 10 s: CPU", cores, Unit::Cores, Target::AtMost(1.0));
    let memory = watched.number("rssMaxMib")?;
    add("watch: 10,000 endpoints at 10 s: most memory", memory, Unit::MiB, Target::AtMost(250.0));
    table.remark(format!("watch: {checks} checks on schedule, {due} were due; every one answered as expected."));
    Ok(())
}
