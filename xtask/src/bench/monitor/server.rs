//! The whole server with endpoints on schedule: probed, evaluated and persisted.

use std::{thread, time::Duration};

use serde_json::json;

use super::{
    INTERVAL_SECONDS,
    endpoints::{Endpoints, ensure_healthy},
    prober::ProberUsage,
    targets::Targets,
};
use crate::bench::{
    Bench, clock,
    flow::Serves as _,
    metrics::{COMMITS, Metrics, OPERATIONS},
    progress,
    server::Server,
    table::{Figure, Table, Target, Unit, thousands},
};

const STARTED: &str = "tidings_probes_started_total";
const LAG: &str = "tidings_check_lag_seconds";
/// Exported only once a run was skipped, so it may be missing.
const SKIPPED: &str = "tidings_probe_runs_skipped_total";
const MONITORED: &str = "tidings_endpoints_watched";

/// Starts a server, creates the endpoints and measures it. Returns the running server.
pub fn measure(
    bench: &Bench,
    targets: &mut Targets,
    endpoints: u64,
    baseline: &ProberUsage,
    table: &mut Table,
) -> anyhow::Result<Server> {
    let mut server = Server::start_fresh(bench)?;
    let workspace = server.workspace();
    let wanted = Endpoints { targets, count: endpoints, rate: None, path: "/health", fields: json!({}) };
    let made_seconds = wanted.create(&workspace)?;
    progress(&format!("  created in {made_seconds:.1} s"));
    thread::sleep(Duration::from_secs(bench.pick(15, INTERVAL_SECONDS)));
    server.check()?;

    let start = Sample::take(&server)?;
    thread::sleep(Duration::from_secs(bench.pick(40, 10)));
    server.check()?;
    let end = Sample::take(&server)?;
    targets.check()?;
    ensure_healthy(&workspace)?;
    let monitored = end.metrics.sum(MONITORED, &[]);
    anyhow::ensure!(monitored == endpoints as f64, "{endpoints} endpoints were created, {monitored} are monitored");
    add_figures(&start, &end, endpoints, baseline, server.memory_peak_mib()?, table)?;
    table.remark(format!(
        "monitor: {} endpoints were created over the API in {made_seconds:.1} s, and all were healthy at the end.",
        thousands(endpoints as f64)
    ));
    Ok(server)
}

/// The server's metrics at one time.
struct Sample {
    metrics: Metrics,
    cpu_seconds: f64,
    nanos: u64,
}

impl Sample {
    fn take(server: &Server) -> anyhow::Result<Self> {
        Ok(Self { metrics: server.metrics()?, cpu_seconds: server.cpu_seconds()?, nanos: clock::now_nanos() })
    }
}

fn add_figures(
    start: &Sample,
    end: &Sample,
    endpoints: u64,
    baseline: &ProberUsage,
    memory_mib: f64,
    table: &mut Table,
) -> anyhow::Result<()> {
    let grown = |name| end.metrics.grown(&start.metrics, name);
    let (checks, commits, operations) = (grown(STARTED)?, grown(COMMITS)?, grown(OPERATIONS)?);
    let skipped = end.metrics.sum(SKIPPED, &[]) - start.metrics.sum(SKIPPED, &[]);
    let lag = |quantile| end.metrics.quantile_ms(&start.metrics, LAG, quantile);
    let seconds = clock::seconds_between(start.nanos, end.nanos);
    let cpu_seconds = end.cpu_seconds - start.cpu_seconds;
    let due = (endpoints / INTERVAL_SECONDS) as f64;

    let under = format!("monitor: server, {} endpoints at {INTERVAL_SECONDS} s", thousands(endpoints as f64));
    let mut add = |what: &str, value, unit, target, baseline: Option<f64>| {
        let baseline = baseline.map(|baseline| (baseline, "prober only"));
        table.add(Figure { name: &format!("{under}: {what}"), value, unit, target, baseline });
    };
    // Checks at the start and end of the measurement may be counted or not.
    add("checks", checks / seconds, Unit::PerSecond, Target::AtLeast(due * 0.995), None);
    add("runs skipped", skipped, Unit::Count, Target::AtMost(0.0), None);
    add("lag p50", lag(0.5)?, Unit::Ms, Target::None, Some(baseline.lag.p50_ms));
    add("lag p99", lag(0.99)?, Unit::Ms, Target::Below(200.0), Some(baseline.lag.p99_ms));
    add("CPU", cpu_seconds / seconds, Unit::Cores, Target::AtMost(1.0), Some(baseline.cores));
    add("CPU of each check", cpu_seconds * 1e3 / checks, Unit::Ms, Target::None, Some(baseline.cpu_ms));
    add("peak memory", memory_mib, Unit::MiB, Target::AtMost(250.0), Some(baseline.memory_mib));
    add("commits", commits / seconds, Unit::PerSecond, Target::None, None);
    add("operations per commit", operations / commits, Unit::Count, Target::None, None);
    Ok(())
}
