//! A roster that tests edit, and eyes that see what they are told to, both of which remember what happened.

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

/// The time of day when a test begins.
pub const NOW: Timestamp = Timestamp::from_unix_ms(1_777_694_412_345);

pub const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn id(number: u32) -> EndpointId {
    EndpointId::from_uuid(uuid_v7(1_777_000_000_000 + u64::from(number), &id_suffix(number, [0; 10])))
}

/// An endpoint that is looked at so often.
pub fn watched(number: u32, interval_seconds: u32) -> MonitoredEndpoint {
    watching(number, interval_seconds, Probe::Tcp { host: format!("host-{number}"), port: 1 })
}

pub fn watching(number: u32, interval_seconds: u32, probe: Probe) -> MonitoredEndpoint {
    MonitoredEndpoint {
        id: id(number),
        workspace_id: WorkspaceId::from_uuid(uuid_v7(1, &[0; 10])),
        revision: 1,
        definition: Arc::new(Definition { interval_seconds, ..Definition::new(probe) }),
        secret: None,
        last_checked_at: None,
    }
}

/// A time of day that goes with the runtime's, and may be moved.
#[derive(Clone)]
pub struct Wall(Arc<AtomicI64>, Instant);

impl Wall {
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
        let wall = self.clone();
        Arc::new(move || wall.now())
    }
}

/// What is watched, and what was seen of it.
pub struct Book {
    pub watched: Mutex<Arc<EndpointSet>>,
    pub version: watch::Sender<u64>,
    pub observations: Mutex<Vec<(EndpointId, u32, Observation)>>,
    /// Rings with each observation.
    pub seen: Notify,
    /// Writing one down takes one of these.
    pub pens: Semaphore,
    /// Nobody is told of edits.
    pub is_mute: bool,
}

impl Book {
    pub fn of(endpoints: Vec<MonitoredEndpoint>) -> Arc<Self> {
        Arc::new(Self::with(endpoints))
    }

    pub fn with(endpoints: Vec<MonitoredEndpoint>) -> Self {
        let watched = EndpointSet { version: 1, endpoints: endpoints.into_iter().map(Arc::new).collect() };
        Self {
            watched: Mutex::new(Arc::new(watched)),
            version: watch::Sender::new(1),
            observations: Mutex::default(),
            seen: Notify::new(),
            pens: Semaphore::new(Semaphore::MAX_PERMITS),
            is_mute: false,
        }
    }

    pub fn edit(&self, change: impl FnOnce(&mut Vec<Arc<MonitoredEndpoint>>)) {
        let version = {
            let mut watched = self.watched.lock().unwrap();
            let mut changed = EndpointSet::clone(&watched);
            change(&mut changed.endpoints);
            changed.version += 1;
            *watched = Arc::new(changed);
            watched.version
        };
        self.version.send_replace(version);
    }

    /// Edits the endpoint that stands there in the list.
    pub fn edit_one(&self, at: usize, change: impl FnOnce(&mut MonitoredEndpoint)) {
        self.edit(|endpoints| {
            let mut watch = MonitoredEndpoint::clone(&endpoints[at]);
            watch.revision += 1;
            change(&mut watch);
            endpoints[at] = Arc::new(watch);
        });
    }

    /// Waits until so many were seen.
    pub async fn until_seen(&self, count: usize) {
        while self.observations.lock().unwrap().len() < count {
            self.seen.notified().await;
        }
    }
}

#[async_trait]
impl EndpointSource for Book {
    fn endpoints(&self) -> Arc<EndpointSet> {
        self.watched.lock().unwrap().clone()
    }

    async fn changed(&self, version: u64) {
        if self.is_mute {
            return std::future::pending().await;
        }
        let mut versions = self.version.subscribe();
        versions.wait_for(|now| *now != version).await.unwrap();
    }

    async fn observed(&self, watch: &MonitoredEndpoint, observation: Observation) {
        let _pen = self.pens.acquire().await.unwrap();
        self.observations.lock().unwrap().push((watch.id, watch.revision, observation));
        self.seen.notify_one();
    }
}

/// Eyes that take as long as they are told, and know when each endpoint was looked at.
#[derive(Default)]
pub struct Eyes {
    takes: Duration,
    pub began: Mutex<BTreeMap<EndpointId, Vec<Instant>>>,
    pub now: AtomicUsize,
    pub most: AtomicUsize,
    per_endpoint: Mutex<BTreeMap<EndpointId, usize>>,
}

impl Eyes {
    pub fn taking(takes: Duration) -> Arc<Self> {
        Arc::new(Self { takes, ..Self::default() })
    }

    /// When this endpoint was looked at, in seconds since then.
    pub fn looks(&self, number: u32, since: Instant) -> Vec<f64> {
        let began = self.began.lock().unwrap();
        began.get(&id(number)).into_iter().flatten().map(|at| (*at - since).as_secs_f64()).collect()
    }

    pub fn count(&self) -> usize {
        self.began.lock().unwrap().values().map(Vec::len).sum()
    }
}

/// Counts down when a look ends, however it does.
struct Looking<'a>(&'a Eyes, EndpointId);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
        *self.0.per_endpoint.lock().unwrap().get_mut(&self.1).unwrap() -= 1;
    }
}

#[async_trait]
impl EndpointProber for Eyes {
    async fn look(&self, watch: &MonitoredEndpoint, now: Timestamp) -> Observation {
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let looking = {
            let mut per_endpoint = self.per_endpoint.lock().unwrap();
            let count = per_endpoint.entry(watch.id).or_default();
            *count += 1;
            assert_eq!(*count, 1, "never two of one endpoint");
            Looking(self, watch.id)
        };
        self.began.lock().unwrap().entry(watch.id).or_default().push(Instant::now());
        assert!(!matches!(&watch.definition.probe, Probe::Tcp { host, .. } if host == "panic"), "as it was told to");
        sleep(self.takes).await;
        drop(looking);
        seen_at(now)
    }
}

pub fn seen_at(now: Timestamp) -> Observation {
    Observation { started_at: now, timings: Timings::default(), certificate: None, outcome: Ok(Answer::Reached) }
}
