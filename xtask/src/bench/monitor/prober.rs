//! The prober without the server: `probe-bench`, at full speed or on schedule. Every check must succeed.

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

/// Longer than two intervals of warm-up, the measurement and the shutdown.
const ENDED_WITHIN: Duration = Duration::from_secs(180);
/// Concurrent loops, each with its own host.
const AT_ONCE: u64 = 64;
/// Options for probes without keep-alive.
const CLOSE: &[&str] = &["--path", "/close"];

/// The report of `probe-bench`.
struct Report(Value);

impl Report {
    fn number(&self, name: &str) -> anyhow::Result<f64> {
        self.0[name].as_f64().with_context(|| format!("there is no {name} in {}", self.0))
    }
}

/// Runs `probe-bench` on this number of hosts.
fn run(bench: &Bench, targets: &mut Targets, mode: &str, hosts: u64, options: &[&str]) -> anyhow::Result<Report> {
    let dir = bench.scratch.dir("probe-bench")?;
    let mut process = Process::start(&bench.binaries.join("probe-bench"), &dir, "probe-bench", |command| {
        command.arg(mode).args(["--hosts", &hosts.to_string()]).args(options);
        targets.firsts.iter().for_each(|first| _ = command.args(["--first", &first.to_string()]));
        targets.tls.iter().for_each(|file| _ = command.arg("--tls").arg(file));
    })?;
    process.wait(ENDED_WITHIN)?;
    targets.check()?;
    let output = fs::read_to_string(dir.join("probe-bench.log"))?;
    let json: Value = serde_json::from_str(&output).with_context(|| format!("probe-bench printed: {output}"))?;
    let report = Report(json);
    let failures = report.number("failures")?;
    anyhow::ensure!(failures == 0.0, "{failures} checks failed, the first with: {}", report.0["firstFailure"]);
    anyhow::ensure!(report.number("checks")? > 0.0, "nothing was checked: {}", report.0);
    Ok(report)
}

/// The cost of a check.
struct Cost {
    /// Checks per second of processor time.
    per_core: f64,
    /// Processor time per check, in milliseconds.
    cpu_ms: f64,
}

/// The median cost of a check at full speed.
fn cost(bench: &Bench, targets: &mut Targets, mode: &str, options: &[&str]) -> anyhow::Result<Cost> {
    let seconds = bench.pick("5", "2");
    let (mut per_core, mut cpu_ms) = (Vec::new(), Vec::new());
    for _ in 0..bench.repeats() {
        let report = run(bench, targets, mode, AT_ONCE, &[options, &["--seconds", seconds]].concat())?;
        let (checks, cpu_seconds) = (report.number("checks")?, report.number("cpuSeconds")?);
        per_core.push(checks / cpu_seconds);
        cpu_ms.push(cpu_seconds * 1e3 / checks);
    }
    Ok(Cost { per_core: median(per_core), cpu_ms: median(cpu_ms) })
}

/// Cost of a check over HTTP and TLS, with the plain exchange as the baseline.
pub fn flat_out(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let (mut plain, mut tls) = (Targets::plain(bench, 1, AT_ONCE)?, Targets::tls(bench)?);
    let mut add_cost = |name: &str, cost: &Cost, baseline: Option<&Cost>| {
        let baseline_of = |of: fn(&Cost) -> f64| baseline.map(|baseline| (of(baseline), "plain exchange"));
        let mut add =
            |name: &str, value, unit, baseline| table.add(Figure { name, value, unit, target: Target::None, baseline });
        add(&format!("{name}, per core"), cost.per_core, Unit::PerSecond, baseline_of(|cost| cost.per_core));
        add(&format!("{name}, CPU of each"), cost.cpu_ms, Unit::Ms, baseline_of(|cost| cost.cpu_ms));
    };
    let exchange = cost(bench, &mut plain, "baseline", &[])?;
    add_cost("monitor: checks over HTTP, keep-alive", &cost(bench, &mut plain, "flat-out", &[])?, Some(&exchange));
    add_cost("monitor: checks over HTTP, new connection", &cost(bench, &mut plain, "flat-out", CLOSE)?, None);
    let exchange = cost(bench, &mut tls, "baseline", &[])?;
    add_cost("monitor: checks over TLS, keep-alive", &cost(bench, &mut tls, "flat-out", &[])?, Some(&exchange));
    add_cost("monitor: checks over TLS, new handshake", &cost(bench, &mut tls, "flat-out", CLOSE)?, None);
    Ok(())
}

/// Resource usage of prober and scheduler.
pub struct ProberUsage {
    /// Busy processors.
    pub cores: f64,
    /// Milliseconds of processor time for each check.
    pub cpu_ms: f64,
    /// Peak resident memory in MiB.
    pub memory_mib: f64,
    /// Delay of checks after their due time.
    pub lag: Quantiles,
}

/// Measures prober and scheduler with one endpoint per host.
pub fn on_schedule(
    bench: &Bench,
    targets: &mut Targets,
    endpoints: u64,
    table: &mut Table,
) -> anyhow::Result<ProberUsage> {
    let seconds = bench.pick("40", "10");
    let options = ["--interval-seconds", &INTERVAL_SECONDS.to_string(), "--seconds", seconds];
    let report = run(bench, targets, "schedule", endpoints, &options)?;
    let (checks, due) = (report.number("checks")?, report.number("due")?);
    // Checks at the start and end of the measurement may be counted or not.
    let is_all = (checks - due).abs() <= due * 0.005;
    anyhow::ensure!(is_all, "{due} checks were due, but {checks} were made: the scheduler lagged");
    let cpu_seconds = report.number("cpuSeconds")?;
    let (made, due) = (thousands(checks), thousands(due));
    table.remark(format!(
        "monitor: the prober alone made {made} checks of {due} that were due; all got the expected answer."
    ));
    Ok(ProberUsage {
        cores: cpu_seconds / report.number("seconds")?,
        cpu_ms: cpu_seconds * 1e3 / checks,
        memory_mib: report.number("rssMaxMib")?,
        lag: Quantiles::read(&report.0["lag"])?,
    })
}
