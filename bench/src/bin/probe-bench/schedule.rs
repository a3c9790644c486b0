//! Endpoints on schedule, and the lag of their probes.
//!
//! Each endpoint gets an evenly spread time of its last check, so that its due times are known from outside: one
//! interval later, and every interval after that. The lag is computed from the observations, not taken from the
//! scheduler.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tidings_bench::latency::Latencies;
use tidings_domain::{
    check::Observation,
    endpoint::Definition,
    id::{EndpointId, Id as _, WorkspaceId, id_suffix, uuid_v7},
    time::Timestamp,
};
use tidings_monitor::{EndpointSet, EndpointSource, MonitoredEndpoint, Scheduler};
use tokio::time::sleep;

use crate::{
    Hosts,
    report::{Report, Start},
    targets::{definition, fault, now},
};

/// Grace period for probes in flight at the end.
const STOP_BOUND: Duration = Duration::from_secs(10);
/// Time from here until the scheduler reads the wall clock, at most.
const LEAD_MS: u64 = 200;
/// A probe that starts up to this much early counts its earliness as lag. A lag beyond an interval minus this shows as
/// missing runs instead.
const EARLY_MS: u64 = 1_000;

struct BenchSource {
    endpoints: Arc<EndpointSet>,
    interval_ms: u64,
    /// First due time of each endpoint.
    first_due: HashMap<EndpointId, Timestamp>,
    results: Mutex<Results>,
}

#[derive(Default)]
struct Results {
    checks: u64,
    failures: u64,
    first_failure: Option<String>,
    lag: Latencies,
}

#[async_trait]
impl EndpointSource for BenchSource {
    fn endpoints(&self) -> Arc<EndpointSet> {
        self.endpoints.clone()
    }

    async fn changed(&self, _: u64) {
        pending().await
    }

    async fn record(&self, endpoint: &MonitoredEndpoint, observation: Observation) {
        let late_ms = self.first_due.get(&endpoint.id).map(|due| {
            let since_ms = observation.started_at.plus_ms(EARLY_MS).since_ms(*due);
            (since_ms % self.interval_ms).abs_diff(EARLY_MS)
        });
        let mut results = self.results();
        results.checks += 1;
        results.lag.record(late_ms.unwrap_or_default() * 1_000_000);
        if let Some(fault) = fault(&observation) {
            results.failures += 1;
            results.first_failure.get_or_insert(fault);
        }
    }
}

impl BenchSource {
    fn new(hosts: &Hosts, interval_seconds: u32) -> Self {
        let interval_ms = u64::from(interval_seconds) * 1_000;
        let urls = hosts.urls();
        let (first, count) = (now().plus_ms(LEAD_MS), urls.len() as u64);
        let mut first_due = HashMap::new();
        let endpoints = (0..).zip(&urls).map(|(number, url)| {
            let id = EndpointId::from_uuid(uuid_v7(1_777_000_000_000 + u64::from(number), &id_suffix(number, [0; 10])));
            let due = first.plus_ms(u64::from(number) * (interval_ms - LEAD_MS) / count);
            first_due.insert(id, due);
            Arc::new(MonitoredEndpoint {
                id,
                workspace_id: WorkspaceId::from_uuid(uuid_v7(1, &[0; 10])),
                revision: 1,
                definition: Arc::new(Definition { interval_seconds, ..definition(url) }),
                last_checked_at: Some(due.minus_ms(interval_ms)),
            })
        });
        let endpoints = Arc::new(EndpointSet { version: 1, endpoints: endpoints.collect() });
        Self { endpoints, interval_ms, first_due, results: Mutex::default() }
    }

    fn results(&self) -> MutexGuard<'_, Results> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Probes one endpoint per host.
pub async fn run(hosts: &Hosts, interval_seconds: u32, time: Duration) -> anyhow::Result<Report> {
    let prober = Arc::new(hosts.prober()?);
    let source = Arc::new(BenchSource::new(hosts, interval_seconds));
    let handle = Scheduler::start(source.clone(), prober, Arc::new(now));
    sleep(Duration::from_secs(u64::from(interval_seconds) * 2)).await;
    *source.results() = Results::default();
    let start = Start::now()?;
    sleep(time).await;
    let results = std::mem::take(&mut *source.results());
    let mut report = start.report(results.checks, results.failures, results.first_failure)?;
    handle.stop(STOP_BOUND).await;
    report.lag = results.lag.summary();
    report.due = Some((report.seconds * f64::from(hosts.hosts) / f64::from(interval_seconds)) as u64);
    Ok(report)
}
