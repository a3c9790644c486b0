//! The scheduler's task: starts probes when they are due and applies changes of the endpoint set.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidings_domain::id::EndpointId;
use tidings_domain::time::Timestamp;
use tokio::sync::oneshot;
use tokio::task::{self, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::endpoint_source::{EndpointProber, EndpointSource, MonitoredEndpoint};
use super::schedule_table::{ScheduleTable, ScheduledRun};
use super::stagger::{first_due_at_startup, first_due_when_added};
use crate::metrics::{self, SkipReason};

/// Returns the wall-clock time.
pub type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Observations that may wait to be persisted. At the limit no probe starts, because each may hold a response body.
pub const PENDING_WRITES_MAX: usize = 2_048;
/// How often the endpoint set's version is polled and the load metrics are updated.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Minimum time between two refreshes after edits: each one iterates over all endpoints.
const REFRESH_INTERVAL_MIN: Duration = Duration::from_millis(50);
/// Minimum time between log lines about skipped runs.
const SKIP_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Probes that start this late are worth a log line.
const LAG_WARNING: Duration = Duration::from_secs(1);

/// Runs the probes of all endpoints on schedule.
#[derive(Debug)]
pub struct Scheduler;

/// A running scheduler. Dropping it stops the scheduler and cancels all probes.
#[derive(Debug)]
pub struct Handle {
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Scheduler {
    /// Starts to probe the endpoints of `source`.
    pub fn start(source: Arc<dyn EndpointSource>, prober: Arc<dyn EndpointProber>, clock: WallClock) -> Handle {
        metrics::describe();
        let (stop, stopped) = oneshot::channel();
        let scheduler = SchedulerLoop::new(source, prober, clock);
        Handle { stop, task: tokio::spawn(scheduler.run(stopped)) }
    }
}

impl Handle {
    /// Starts no more probes, waits up to `grace` until those in flight are finished and persisted, and cancels the
    /// rest.
    pub async fn stop(self, grace: Duration) {
        // Fails if the task has ended already, which the next line reports.
        let _ = self.stop.send(grace);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the probe scheduler failed");
        }
    }
}

struct SchedulerLoop {
    source: Arc<dyn EndpointSource>,
    prober: Arc<dyn EndpointProber>,
    clock: WallClock,
    /// The zero of the schedule table.
    started: Instant,
    table: ScheduleTable,
    /// Version of the set that `endpoints` was taken from; `None` before the first.
    version: Option<u64>,
    endpoints: HashMap<EndpointId, Arc<MonitoredEndpoint>>,
    probes: JoinSet<()>,
    task_endpoints: HashMap<task::Id, EndpointId>,
    /// Dropping an endpoint's sender cancels its probe, unless that has finished and is being persisted.
    cancel_handles: HashMap<EndpointId, oneshot::Sender<()>>,
    pending_writes: Arc<AtomicUsize>,
    skip_log: SkipLog,
}

impl SchedulerLoop {
    fn new(source: Arc<dyn EndpointSource>, prober: Arc<dyn EndpointProber>, clock: WallClock) -> Self {
        let started = Instant::now();
        Self {
            source,
            prober,
            clock,
            started,
            table: ScheduleTable::default(),
            version: None,
            endpoints: HashMap::new(),
            probes: JoinSet::new(),
            task_endpoints: HashMap::new(),
            cancel_handles: HashMap::new(),
            pending_writes: Arc::default(),
            skip_log: SkipLog::new(started),
        }
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<Duration>) {
        let source = self.source.clone();
        self.refresh_endpoints();
        let mut changed = source.changed(self.version.unwrap_or_default());
        let (mut refreshed_at, mut has_changed) = (Instant::now(), false);
        let mut poll_at = refreshed_at + POLL_INTERVAL;
        let grace = loop {
            self.start_due();
            let due = self.table.next_due().map_or(poll_at, |due| self.started + due);
            let refresh_at = if has_changed { refreshed_at + REFRESH_INTERVAL_MIN } else { poll_at };
            tokio::select! {
                biased;
                grace = &mut stopped => break grace,
                () = &mut changed, if !has_changed => has_changed = true,
                Some(finished) = self.probes.join_next_with_id() => {
                    self.on_finished(finished);
                    // Drain the others, so that one turn of the loop serves many probes.
                    while let Some(finished) = self.probes.try_join_next_with_id() {
                        self.on_finished(finished);
                    }
                }
                () = sleep_until(due.min(refresh_at).min(poll_at)) => {}
            }
            let now = Instant::now();
            let is_poll_due = now >= poll_at;
            if is_poll_due {
                poll_at = now + POLL_INTERVAL;
                metrics::set_load(self.table.len(), self.table.in_flight());
                self.skip_log.log_if_due(now);
            }
            if is_poll_due || (has_changed && now >= refreshed_at + REFRESH_INTERVAL_MIN) {
                let is_new_version = self.refresh_endpoints();
                refreshed_at = now;
                if has_changed || is_new_version {
                    changed = source.changed(self.version.unwrap_or_default());
                    has_changed = false;
                }
            }
        };
        // An error means that the handle was dropped: no grace period.
        let until = Instant::now() + grace.unwrap_or_default();
        while let Ok(Some(_)) = timeout_at(until, self.probes.join_next()).await {}
        self.probes.shutdown().await;
        metrics::set_load(0, 0);
    }

    /// Time since the scheduler started.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Applies the source's current set. Returns whether it is a new version.
    fn refresh_endpoints(&mut self) -> bool {
        let set = self.source.endpoints();
        if self.version == Some(set.version) {
            return false;
        }
        // Read both clocks together: last checks are in wall-clock time, due times in monotonic time.
        let (now, wall_now, is_startup) = (self.now(), (self.clock)(), self.version.is_none());
        let mut previous = std::mem::take(&mut self.endpoints);
        let is_new_or_changed = |endpoint: &Arc<MonitoredEndpoint>| {
            previous.get(&endpoint.id).is_none_or(|previous| has_new_probe(previous, endpoint))
        };
        let added = set.endpoints.iter().filter(|endpoint| is_new_or_changed(endpoint)).count();
        self.endpoints.reserve(set.endpoints.len());
        for endpoint in &set.endpoints {
            let (id, interval) = (endpoint.id, interval(endpoint));
            match previous.remove(&id) {
                None if is_startup => {
                    let due = first_due_at_startup(id, interval, endpoint.last_checked_at, wall_now);
                    self.table.add(id, interval, now + due);
                }
                None => self.table.add(id, interval, now + first_due_when_added(id, interval, added)),
                Some(previous) => {
                    if self::interval(&previous) != interval {
                        self.table.set_interval(id, interval, now);
                    }
                    if has_new_probe(&previous, endpoint) {
                        self.table.restart(id, now + first_due_when_added(id, interval, added));
                        self.cancel_handles.remove(&id);
                    }
                }
            }
            self.endpoints.insert(id, endpoint.clone());
        }
        // What is left is no longer in the set.
        for id in previous.keys() {
            self.table.remove(*id);
            self.cancel_handles.remove(id);
        }
        self.version = Some(set.version);
        true
    }

    fn start_due(&mut self) {
        while let Some(run) = self.table.pop_due(self.now()) {
            self.skip_log.record_skipped(SkipReason::Lagging, run.missed);
            if !run.starts {
                self.skip_log.record_skipped(SkipReason::InFlight, 1);
            } else if self.pending_writes.load(Ordering::Relaxed) >= PENDING_WRITES_MAX {
                self.skip_log.record_skipped(SkipReason::Backpressure, 1);
                let now = self.now();
                self.table.finish(run.id, now);
            } else {
                self.start(run);
            }
        }
    }

    fn start(&mut self, run: ScheduledRun) {
        // Always there: the table and this map hold the same endpoints.
        let Some(endpoint) = self.endpoints.get(&run.id).cloned() else { return };
        metrics::record_started(&endpoint.definition.probe);
        self.skip_log.record_started(self.now().saturating_sub(run.due));
        let (cancel_handle, cancelled) = oneshot::channel();
        let check = CheckRun {
            source: self.source.clone(),
            prober: self.prober.clone(),
            clock: self.clock.clone(),
            due: self.started + run.due,
            endpoint,
            pending_writes: self.pending_writes.clone(),
        };
        let task = self.probes.spawn(check.run(cancelled)).id();
        self.task_endpoints.insert(task, run.id);
        self.cancel_handles.insert(run.id, cancel_handle);
    }

    fn on_finished(&mut self, finished: Result<(task::Id, ()), JoinError>) {
        let task = match finished {
            Ok((task, ())) => task,
            Err(error) => {
                tracing::error!(%error, "BUG: a check panicked, its endpoint is probed again at the next run");
                error.id()
            }
        };
        if let Some(id) = self.task_endpoints.remove(&task) {
            self.cancel_handles.remove(&id);
            self.table.finish(id, self.started.elapsed());
        }
    }
}

fn interval(endpoint: &MonitoredEndpoint) -> Duration {
    Duration::from_secs(endpoint.definition.interval_seconds.max(1).into())
}

/// Whether a probe of `previous` says nothing about `endpoint`. Edits of name, thresholds or assertions do not count.
fn has_new_probe(previous: &Arc<MonitoredEndpoint>, endpoint: &Arc<MonitoredEndpoint>) -> bool {
    if Arc::ptr_eq(previous, endpoint) {
        return false;
    }
    previous.definition.probe != endpoint.definition.probe
}

/// One check: probe an endpoint and persist the observation.
struct CheckRun {
    source: Arc<dyn EndpointSource>,
    prober: Arc<dyn EndpointProber>,
    clock: WallClock,
    due: Instant,
    endpoint: Arc<MonitoredEndpoint>,
    pending_writes: Arc<AtomicUsize>,
}

impl CheckRun {
    /// Cancelled by dropping the sender of `cancelled`, but only during the probe: a write must not be interrupted.
    async fn run(self, cancelled: oneshot::Receiver<()>) {
        let (late, now) = (self.due.elapsed(), (self.clock)());
        let observation = tokio::select! {
            biased;
            _ = cancelled => return,
            observation = self.prober.probe_once(&self.endpoint, now) => observation,
        };
        // The probe may have waited for a permit of its target: `started_at` is then later than `now`.
        metrics::record_lag(late + Duration::from_millis(observation.started_at.since_ms(now)));
        let _pending = PendingWrite::new(&self.pending_writes);
        self.source.record(&self.endpoint, observation).await;
    }
}

/// Counts an observation that waits to be persisted, until dropped.
struct PendingWrite<'a>(&'a AtomicUsize);

impl<'a> PendingWrite<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for PendingWrite<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Logs skipped runs and lag at most once a minute instead of once per run.
#[derive(Debug)]
struct SkipLog {
    since: Instant,
    skipped: [u64; SkipReason::ALL.len()],
    lag_max: Duration,
}

impl SkipLog {
    fn new(now: Instant) -> Self {
        Self { since: now, skipped: [0; SkipReason::ALL.len()], lag_max: Duration::ZERO }
    }

    fn record_skipped(&mut self, reason: SkipReason, runs: u64) {
        if runs > 0 {
            self.skipped[reason as usize] += runs;
            metrics::record_skipped(reason, runs);
        }
    }

    fn record_started(&mut self, lag: Duration) {
        self.lag_max = self.lag_max.max(lag);
    }

    fn log_if_due(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) < SKIP_LOG_INTERVAL {
            return;
        }
        let [in_flight, lagging, backpressure] = self.skipped;
        let lag_max_ms = self.lag_max.as_millis();
        if lagging + backpressure > 0 || self.lag_max >= LAG_WARNING {
            tracing::warn!(lagging, backpressure, in_flight, lag_max_ms, "probe scheduler is lagging, skipping runs");
        } else if in_flight > 0 {
            tracing::info!(in_flight, "runs skipped, the endpoint's previous probe was in flight");
        }
        *self = Self::new(now);
    }
}
