//! The queue: sends what is due, fairly, and settles it.
//!
//! What was just accepted has a place in memory and is sent as soon as it is committed; what finds no place, retries and
//! what another process left are fetched from the store when their channel has room ([`claimer`]). [`lanes`] decides who
//! may start; [`sender`] makes the attempt and settles it. What a gate holds back is let go by [`holds`], together in a
//! [`digest`] where the channel can say it so.

mod breaker;
mod channel_queue;
mod channel_queues;
#[cfg(test)]
mod channel_queues_tests;
mod claimer;
mod digest;
mod health;
mod recheck;
mod release_loop;
mod sender;
mod suppressed_openings;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidings_domain::event::Event;
use tidings_domain::id::ChannelId;
use tidings_domain::time::Timestamp;
use tidings_store::Store;
use tidings_store::queue::{Claimed, Lease};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

pub use channel_queue::Limits;
pub use health::Health;

use crate::Result;
use crate::clock::Clock;
use crate::fanout::EndpointSituation;
use crate::incidents::Down;
use crate::quiescence::{Part, Pulse};
use crate::settings::Settings;
use crate::snapshot::{ConfigCache, WorkspaceView};
pub(crate) use channel_queues::Lanes;
pub(crate) use suppressed_openings::Stopped;

/// How long a request is held back while a channel that it has something for is crowded.
const PATIENCE: Duration = Duration::from_millis(100);
/// How much longer for each delivery that it brings.
const PATIENCE_EACH: Duration = Duration::from_millis(30);
/// Deliveries that count for that.
const PATIENCE_COUNT_MAX: usize = 90;

/// How many attempts start in one moment.
const TOGETHER_MAX: usize = 4;

/// The queue. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    live: Arc<ConfigCache>,
    settings: Arc<Settings>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    /// What this process signs its leases with.
    owner: i64,
    lanes: Mutex<Lanes>,
    /// Which endpoints have an active incident.
    down: Down,
    /// IncidentDelivery when a lane may want more from the store, or when the claimer should stop.
    wake: Notify,
    /// IncidentDelivery when something may have to be let go sooner than was known.
    held: Notify,
    /// When something is next let go, as far as is known, in milliseconds since the Unix epoch.
    held_next: AtomicI64,
    /// How live sends go.
    healths: health::Healths,
    /// Attempts and their settlements.
    tasks: TaskTracker,
    /// IncidentDelivery when the clock was set by hand.
    pulse: Pulse,
    /// Openings that were stopped when they came up or were let go.
    stopped: Stopped,
}

/// A place in memory for a delivery that is about to be committed. Gives itself back when dropped.
pub(crate) struct Place {
    queue: Queue,
    channel_id: ChannelId,
    /// Whether what it was kept for has come.
    is_taken: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_taken {
            self.queue.lanes().unreserve(self.channel_id, 1);
        }
    }
}

impl Queue {
    /// Starts it: gives back the leases of a process that died and begins to send.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        live: Arc<ConfigCache>,
        settings: Arc<Settings>,
        clock: Arc<dyn Clock>,
        down: Down,
        limits: Limits,
    ) -> Result<Self> {
        let mut owner = [0; 8];
        clock.random(&mut owner);
        let owner = i64::from_le_bytes(owner);
        let reclaimed = store.reclaim_leases(clock.now(), owner).await?;
        if reclaimed > 0 {
            tracing::info!(deliveries = reclaimed, "reclaimed leases of the previous process");
        }
        let queue = Self(Arc::new(Inner {
            store,
            live,
            settings,
            clock,
            limits,
            owner,
            lanes: Mutex::new(Lanes::new(limits)),
            down,
            wake: Notify::new(),
            held: Notify::new(),
            held_next: AtomicI64::new(i64::MAX),
            healths: health::Healths::default(),
            tasks: TaskTracker::new(),
            pulse: Pulse::default(),
            stopped: Stopped::default(),
        }));
        tokio::spawn(claimer::run(queue.clone(), queue.pulse().listen(Part::Claimer)));
        tokio::spawn(release_loop::run(queue.clone(), queue.pulse().listen(Part::Holds)));
        Ok(queue)
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What says that the clock was set by hand.
    pub(crate) fn pulse(&self) -> &Pulse {
        &self.0.pulse
    }

    /// Openings that were stopped when they came up or were let go.
    pub(crate) fn stopped(&self) -> &Stopped {
        &self.0.stopped
    }

    /// The lease of a delivery that is taken up now.
    pub(crate) fn lease(&self, now: Timestamp) -> Lease {
        Lease { owner: self.0.owner, until: now.plus_ms(self.0.limits.lease_ms) }
    }

    /// Whether so much is in memory that some channel may be crowded.
    pub(crate) fn is_pressed(&self) -> bool {
        self.lanes().is_pressed()
    }

    /// Waits while one of these channels, one for each delivery, is crowded; but not for long: those who bring more have
    /// more patience.
    pub(crate) async fn let_through(&self, mut channels: Vec<ChannelId>) {
        let brought = channels.len();
        let patience = PATIENCE + PATIENCE_EACH * brought.min(PATIENCE_COUNT_MAX) as u32;
        channels.sort_unstable();
        channels.dedup();
        let crowded = || self.lanes().crowded(&channels, brought);
        let waited = async {
            while let Some(eased) = crowded() {
                eased.notified().await;
            }
        };
        let _ = tokio::time::timeout(patience, waited).await;
    }

    /// A place in memory for a delivery of this channel, unless it must wait in the store.
    pub(crate) fn reserve(&self, channel_id: ChannelId, now: Timestamp) -> Option<Place> {
        let granted = self.lanes().reserve(channel_id, now);
        granted.then(|| Place { queue: self.clone(), channel_id, is_taken: false })
    }

    /// Takes over deliveries that are committed, to be sent at once or when their turn comes.
    pub(crate) fn hand_over(&self, committed: impl IntoIterator<Item = (Claimed, Place)>) {
        let taken = |(claimed, mut place): (Claimed, Place)| {
            place.is_taken = true;
            claimed
        };
        let committed: Vec<_> = committed.into_iter().map(taken).collect();
        let mut start = Vec::new();
        let mut lanes = self.lanes();
        for claimed in committed {
            lanes.unreserve(claimed.channel_id, 1);
            lanes.offer(claimed, &mut start);
        }
        drop(lanes);
        self.send(start);
    }

    /// The store has something for this channel that is due at this instant.
    pub(crate) fn due_at(&self, channel_id: ChannelId, at: Timestamp) {
        self.lanes().note_due(channel_id, at);
        self.0.wake.notify_one();
    }

    /// What gates know of the endpoint that the event is about, if it is about one.
    pub(crate) fn endpoint_situation<'a>(
        &self,
        view: &'a WorkspaceView,
        event: &Event,
    ) -> Option<EndpointSituation<'a>> {
        sender::endpoint_situation(&self.0.down, view, event).map(|situation| situation.as_situation())
    }

    /// How live sends through this channel go.
    pub(crate) fn health(&self, channel_id: ChannelId) -> Health {
        self.0.healths.of(channel_id)
    }

    /// The channel is gone.
    pub(crate) fn forget_health(&self, channel_id: ChannelId) {
        self.0.healths.forget(channel_id);
    }

    /// Something is held back until this instant.
    pub(crate) fn held_until(&self, at: Timestamp) {
        if at.unix_ms() < self.0.held_next.load(Ordering::Relaxed) {
            self.0.held.notify_one();
        }
    }

    /// Something was held back, or may be let go, at an instant that is not known here.
    pub(crate) fn look_at_holds(&self) {
        self.0.held.notify_one();
    }

    /// Starts these attempts. Many that start in one moment would also be answered in one moment, again and again, and
    /// everybody else's would stand behind all of them each time: so they start one by one, and whatever else is ready
    /// has its turn in between.
    fn send(&self, mut start: Vec<Claimed>) {
        let later = start.split_off(start.len().min(TOGETHER_MAX));
        start.into_iter().for_each(|claimed| self.attempt(claimed));
        if !later.is_empty() {
            let (queue, busy) = (self.clone(), self.0.pulse.busy());
            self.0.tasks.spawn(async move {
                for claimed in later {
                    tokio::task::yield_now().await;
                    queue.attempt(claimed);
                }
                drop(busy);
            });
        }
    }

    fn attempt(&self, claimed: Claimed) {
        self.0.tasks.spawn(sender::run(self.clone(), claimed, self.0.pulse.busy()));
    }

    /// Ends it: takes up nothing more, gives back what waits in memory and waits for what is being sent. Answers whether
    /// all of that was settled within `bound`.
    pub(crate) async fn stop(&self, bound: Duration) -> bool {
        let leased = self.lanes().stop();
        self.0.wake.notify_one();
        if !leased.is_empty() {
            let released = self.0.store.return_leases(self.0.clock.now(), leased).await;
            if let Err(error) = released {
                tracing::warn!(%error, "leases could not be given back; they end by themselves");
            }
        }
        self.0.tasks.close();
        tokio::time::timeout(bound, self.0.tasks.wait()).await.is_ok()
    }
}
