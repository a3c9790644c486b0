//! Endpoints on schedule, and how late their probes begin.
//!
//! The scheduler is told when each endpoint was last checked, evenly spread, so that it is known from outside when each
//! is due: one interval later, and every interval from then on. How late a probe begins is told by what was observed,
//! not by the scheduler.

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
    report::{Begun, Report},
    watched::{fault, now, probe},
};

/// What is under way at the end is waited for so long.
const STOP_BOUND: Duration = Duration::from_secs(10);
/// From here to where the scheduler reads the time of day.
const LEAD_MS: u64 = 200;
/// A probe that seems to begin up to so much too early counts as that much off. Later than an interval less this shows
/// as turns that are missing.
const EARLY_MS: u64 = 1_000;

struct Book {
    watched: Arc<EndpointSet>,
    interval_ms: u64,
    /// When each is due for the first time.
    first_due: HashMap<EndpointId, Timestamp>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    checks: u64,
    failures: u64,
    first_failure: Option<String>,
    lag: Latencies,
}

#[async_trait]
impl EndpointSource for Book {
    fn endpoints(&self) -> Arc<EndpointSet> {
        self.watched.clone()
    }

    async fn changed(&self, _: u64) {
        pending().await
    }

    async fn observed(&self, watch: &MonitoredEndpoint, observation: Observation) {
        let late_ms = self.first_due.get(&watch.id).map(|due| {
            let since_ms = observation.started_at.plus_ms(EARLY_MS).since_ms(*due);
            (since_ms % self.interval_ms).abs_diff(EARLY_MS)
        });
        let mut seen = self.seen();
        seen.checks += 1;
        seen.lag.record(late_ms.unwrap_or_default() * 1_000_000);
        if let Some(fault) = fault(&observation) {
            seen.failures += 1;
            seen.first_failure.get_or_insert(fault);
        }
    }
}

impl Book {
    fn new(hosts: &Hosts, interval_seconds: u32) -> Self {
        let interval_ms = u64::from(interval_seconds) * 1_000;
        let urls = hosts.urls();
        let (begin, count) = (now().plus_ms(LEAD_MS), urls.len() as u64);
        let mut first_due = HashMap::new();
        let endpoints = (0..).zip(&urls).map(|(number, url)| {
            let id = EndpointId::from_uuid(uuid_v7(1_777_000_000_000 + u64::from(number), &id_suffix(number, [0; 10])));
            let due = begin.plus_ms(u64::from(number) * (interval_ms - LEAD_MS) / count);
            first_due.insert(id, due);
            Arc::new(MonitoredEndpoint {
                id,
                workspace_id: WorkspaceId::from_uuid(uuid_v7(1, &[0; 10])),
                revision: 1,
                definition: Arc::new(Definition { interval_seconds, ..Definition::new(probe(url)) }),
                secret: None,
                last_checked_at: Some(due.minus_ms(interval_ms)),
            })
        });
        let watched = Arc::new(EndpointSet { version: 1, endpoints: endpoints.collect() });
        Self { watched, interval_ms, first_due, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One endpoint a host.
pub async fn run(hosts: &Hosts, interval_seconds: u32, time: Duration) -> anyhow::Result<Report> {
    let prober = Arc::new(hosts.prober()?);
    let book = Arc::new(Book::new(hosts, interval_seconds));
    let handle = Scheduler::start(book.clone(), prober, Arc::new(now));
    sleep(Duration::from_secs(u64::from(interval_seconds) * 2)).await;
    *book.seen() = Seen::default();
    let begun = Begun::now()?;
    sleep(time).await;
    let seen = std::mem::take(&mut *book.seen());
    let mut report = begun.report(seen.checks, seen.failures, seen.first_failure)?;
    handle.stop(STOP_BOUND).await;
    report.lag = seen.lag.summary();
    report.due = Some((report.seconds * f64::from(hosts.hosts) / f64::from(interval_seconds)) as u64);
    Ok(report)
}
