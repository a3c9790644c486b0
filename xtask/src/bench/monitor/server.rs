//! The whole server with endpoints on schedule: probed, judged, and written down.

use std::{thread, time::Duration};

use serde_json::json;

use super::{
    INTERVAL_SECONDS,
    alone::Alone,
    endpoints::{Endpoints, must_be_healthy},
    targets::Targets,
};
use crate::bench::{
    Bench, clock,
    flow::Serves as _,
    metrics::{COMMITS, Metrics, OPERATIONS},
    say,
    server::Server,
    table::{Figure, Table, Target, Unit, thousands},
};

const STARTED: &str = "tidings_probes_started_total";
const LAG: &str = "tidings_check_lag_seconds";
/// There only once a turn was skipped; the checks that are missing then would show without it.
const SKIPPED: &str = "tidings_probe_runs_skipped_total";
const WATCHED: &str = "tidings_endpoints_watched";

/// Starts a server, gives it the endpoints, measures it, and hands it back with all of them still watched.
pub fn measure(
    bench: &Bench,
    targets: &mut Targets,
    endpoints: u64,
    floor: &Alone,
    table: &mut Table,
) -> anyhow::Result<Server> {
    let mut server = Server::start_fresh(bench)?;
    let workspace = server.workspace();
    let wanted = Endpoints { targets, count: endpoints, rate: None, path: "/health", fields: json!({}) };
    let made_seconds = wanted.make(&workspace)?;
    say(&format!("  made in {made_seconds:.1} s"));
    thread::sleep(Duration::from_secs(bench.pick(15, INTERVAL_SECONDS)));
    server.check()?;

    let begin = Look::at(&server)?;
    thread::sleep(Duration::from_secs(bench.pick(40, 10)));
    server.check()?;
    let end = Look::at(&server)?;
    targets.check()?;
    must_be_healthy(&workspace)?;
    let watched = end.metrics.sum(WATCHED, &[]);
    anyhow::ensure!(watched == endpoints as f64, "{endpoints} endpoints were made, {watched} are watched");
    tell(&begin, &end, endpoints, floor, server.memory_peak_mib()?, table)?;
    table.remark(format!(
        "watch: {} endpoints were made over the API in {made_seconds:.1} s, and all were healthy at the end.",
        thousands(endpoints as f64)
    ));
    Ok(server)
}

/// The server at one instant.
struct Look {
    metrics: Metrics,
    cpu_seconds: f64,
    nanos: u64,
}

impl Look {
    fn at(server: &Server) -> anyhow::Result<Self> {
        Ok(Self { metrics: server.metrics()?, cpu_seconds: server.cpu_seconds()?, nanos: clock::now_nanos() })
    }
}

fn tell(
    begin: &Look,
    end: &Look,
    endpoints: u64,
    floor: &Alone,
    memory_mib: f64,
    table: &mut Table,
) -> anyhow::Result<()> {
    let grown = |name| end.metrics.grown(&begin.metrics, name);
    let (checks, commits, operations) = (grown(STARTED)?, grown(COMMITS)?, grown(OPERATIONS)?);
    let skipped = end.metrics.sum(SKIPPED, &[]) - begin.metrics.sum(SKIPPED, &[]);
    let lag = |quantile| end.metrics.quantile_ms(&begin.metrics, LAG, quantile);
    let seconds = clock::seconds_between(begin.nanos, end.nanos);
    let cpu_seconds = end.cpu_seconds - begin.cpu_seconds;
    let due = (endpoints / INTERVAL_SECONDS) as f64;

    let under = format!("watch: server, {} endpoints at {INTERVAL_SECONDS} s", thousands(endpoints as f64));
    let mut add = |what: &str, value, unit, target, floor: Option<f64>| {
        let floor = floor.map(|floor| (floor, "the prober alone"));
        table.add(Figure { name: &format!("{under}: {what}"), value, unit, target, floor });
    };
    // Those at the very ends may fall to either side.
    add("checks", checks / seconds, Unit::PerSecond, Target::AtLeast(due * 0.995), None);
    add("turns skipped", skipped, Unit::Count, Target::AtMost(0.0), None);
    add("lag p50", lag(0.5)?, Unit::Ms, Target::None, Some(floor.lag.p50_ms));
    add("lag p99", lag(0.99)?, Unit::Ms, Target::Below(200.0), Some(floor.lag.p99_ms));
    add("CPU", cpu_seconds / seconds, Unit::Cores, Target::AtMost(1.0), Some(floor.cores));
    add("CPU of each check", cpu_seconds * 1e3 / checks, Unit::Ms, Target::None, Some(floor.cpu_ms));
    add("most memory", memory_mib, Unit::MiB, Target::AtMost(250.0), Some(floor.memory_mib));
    add("commits", commits / seconds, Unit::PerSecond, Target::None, None);
    add("operations per commit", operations / commits, Unit::Count, Target::None, None);
    Ok(())
}
