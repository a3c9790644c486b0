//! A source that tests edit, a prober that takes a fixed time, and a clock that tests move. All record what happened.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tidings_domain::check::{Answer, Observation, Timings};
use tidings_domain::endpoint::{Definition, Probe};
use tidings_domain::id::{EndpointId, Id, WorkspaceId, id_suffix, uuid_v7};
use tidings_domain::time::Timestamp;
use tidings_monitor::{EndpointProber, EndpointSet, EndpointSource, MonitoredEndpoint, WallClock};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep};

/// Wall-clock time at the start of a test.
pub const NOW: Timestamp = Timestamp::from_unix_ms(1_777_694_412_345);

pub const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn id(number: u32) -> EndpointId {
    EndpointId::from_uuid(uuid_v7(1_777_000_000_000 + u64::from(number), &id_suffix(number, [0; 10])))
}

/// An endpoint with this interval and a TCP probe.
pub fn endpoint(number: u32, interval_seconds: u32) -> MonitoredEndpoint {
    endpoint_with(number, interval_seconds, Probe::Tcp { host: format!("host-{number}"), port: 1 })
}

pub fn endpoint_with(number: u32, interval_seconds: u32, probe: Probe) -> MonitoredEndpoint {
    MonitoredEndpoint {
        id: id(number),
        workspace_id: WorkspaceId::from_uuid(uuid_v7(1, &[0; 10])),
        revision: 1,
        definition: Arc::new(Definition { interval_seconds, ..Definition::new(probe) }),
        last_checked_at: None,
    }
}

/// A wall clock that follows tokio's clock and can jump.
#[derive(Clone)]
pub struct FakeClock(Arc<AtomicI64>, Instant);

impl FakeClock {
    pub fn new() -> Self {
        Self(Arc::new(AtomicI64::new(NOW.unix_ms())), Instant::now())
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::SeqCst) + self.1.elapsed().as_millis() as i64)
    }

    pub fn jump(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }

    pub fn clock(&self) -> WallClock {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}

/// An in-memory [`EndpointSource`].
pub struct FakeSource {
    pub set: Mutex<Arc<EndpointSet>>,
    pub version: watch::Sender<u64>,
    /// Endpoint, revision and observation.
    pub observations: Mutex<Vec<(EndpointId, u32, Observation)>>,
    /// Notified of each observation.
    pub recorded: Notify,
    /// Recording an observation needs one.
    pub write_permits: Semaphore,
    /// `changed` never resolves.
    pub never_notifies: bool,
}

impl FakeSource {
    pub fn of(endpoints: Vec<MonitoredEndpoint>) -> Arc<Self> {
        Arc::new(Self::with(endpoints))
    }

    pub fn with(endpoints: Vec<MonitoredEndpoint>) -> Self {
        let set = EndpointSet { version: 1, endpoints: endpoints.into_iter().map(Arc::new).collect() };
        Self {
            set: Mutex::new(Arc::new(set)),
            version: watch::Sender::new(1),
            observations: Mutex::default(),
            recorded: Notify::new(),
            write_permits: Semaphore::new(Semaphore::MAX_PERMITS),
            never_notifies: false,
        }
    }

    pub fn edit(&self, change: impl FnOnce(&mut Vec<Arc<MonitoredEndpoint>>)) {
        let version = {
            let mut set = self.set.lock().unwrap();
            let mut changed = EndpointSet::clone(&set);
            change(&mut changed.endpoints);
            changed.version += 1;
            *set = Arc::new(changed);
            set.version
        };
        self.version.send_replace(version);
    }

    /// Edits the endpoint at this index.
    pub fn edit_one(&self, index: usize, change: impl FnOnce(&mut MonitoredEndpoint)) {
        self.edit(|endpoints| {
            let mut endpoint = MonitoredEndpoint::clone(&endpoints[index]);
            endpoint.revision += 1;
            change(&mut endpoint);
            endpoints[index] = Arc::new(endpoint);
        });
    }

    /// Waits until `count` observations are recorded.
    pub async fn wait_for(&self, count: usize) {
        while self.observations.lock().unwrap().len() < count {
            self.recorded.notified().await;
        }
    }
}

#[async_trait]
impl EndpointSource for FakeSource {
    fn endpoints(&self) -> Arc<EndpointSet> {
        self.set.lock().unwrap().clone()
    }

    async fn changed(&self, version: u64) {
        if self.never_notifies {
            return std::future::pending().await;
        }
        let mut versions = self.version.subscribe();
        versions.wait_for(|now| *now != version).await.unwrap();
    }

    async fn record(&self, endpoint: &MonitoredEndpoint, observation: Observation) {
        let _permit = self.write_permits.acquire().await.unwrap();
        self.observations.lock().unwrap().push((endpoint.id, endpoint.revision, observation));
        self.recorded.notify_one();
    }
}

/// A prober whose probes take a fixed time. It asserts that no endpoint has two probes in flight.
#[derive(Default)]
pub struct FakeProber {
    takes: Duration,
    pub started: Mutex<BTreeMap<EndpointId, Vec<Instant>>>,
    pub in_flight: AtomicUsize,
    in_flight_by_endpoint: Mutex<BTreeMap<EndpointId, usize>>,
}

impl FakeProber {
    pub fn taking(takes: Duration) -> Arc<Self> {
        Arc::new(Self { takes, ..Self::default() })
    }

    /// When this endpoint's probes started, in seconds since `since`.
    pub fn starts(&self, number: u32, since: Instant) -> Vec<f64> {
        let started = self.started.lock().unwrap();
        started.get(&id(number)).into_iter().flatten().map(|at| (*at - since).as_secs_f64()).collect()
    }

    /// Number of started probes.
    pub fn count(&self) -> usize {
        self.started.lock().unwrap().values().map(Vec::len).sum()
    }
}

/// Counts a probe as in flight until dropped.
struct InFlight<'a>(&'a FakeProber, EndpointId);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
        *self.0.in_flight_by_endpoint.lock().unwrap().get_mut(&self.1).unwrap() -= 1;
    }
}

#[async_trait]
impl EndpointProber for FakeProber {
    async fn probe_once(&self, endpoint: &MonitoredEndpoint, now: Timestamp) -> Observation {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let in_flight = {
            let mut by_endpoint = self.in_flight_by_endpoint.lock().unwrap();
            let count = by_endpoint.entry(endpoint.id).or_default();
            *count += 1;
            assert_eq!(*count, 1, "two probes of one endpoint in flight");
            InFlight(self, endpoint.id)
        };
        self.started.lock().unwrap().entry(endpoint.id).or_default().push(Instant::now());
        let panics = matches!(&endpoint.definition.probe, Probe::Tcp { host, .. } if host == "panic");
        assert!(!panics, "the panic that the test wants");
        sleep(self.takes).await;
        drop(in_flight);
        Observation { started_at: now, timings: Timings::default(), certificate: None, outcome: Ok(Answer::Reached) }
    }
}
