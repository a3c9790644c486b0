//! The delivery queue: dispatches due deliveries fairly across channels, and settles them.
//!
//! A delivery that was just accepted has a reservation in memory and is dispatched as soon as it is committed. What finds
//! no capacity, retries, and what an earlier process left behind are claimed from the store when their channel has
//! capacity (`claimer`). `channel_queues` decides which attempt may start; `sender` makes the attempt and settles
//! it. Deliveries that a gate holds are released by `release_loop`, together in a `digest` where the channel merges
//! messages.

mod breaker;
mod channel_queue;
mod channel_queues;
mod claimer;
mod digest;
mod health;
mod pace;
mod recheck;
mod release_loop;
mod render;
mod send_context;
mod sender;
mod suppressed_openings;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tidings_domain::id::{ChannelId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_store::Store;
use tidings_store::queue::{Claimed, Lease, LeaseRef};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

pub use channel_queue::Limits;
pub use health::Health;

use crate::Result;
use crate::changes::Topic;
use crate::clock::Clock;
use crate::incidents::ActiveIncidents;
use crate::quiescence::{Component, Quiescence};
use crate::settings::Settings;
use crate::snapshot::ConfigCache;
use crate::sync::lock;
pub(crate) use channel_queues::ChannelQueues;
use channel_queues::Ready;
pub(crate) use suppressed_openings::SuppressedOpenings;

/// How long backpressure delays a producer at most.
const BACKPRESSURE_MAX_WAIT: Duration = Duration::from_millis(100);
/// How much longer for each delivery that it brings.
const BACKPRESSURE_MAX_WAIT_PER_DELIVERY: Duration = Duration::from_millis(30);
/// Deliveries of a request beyond this number do not extend the wait.
const BACKPRESSURE_DELIVERIES_MAX: usize = 90;

/// Attempts that start at once; the others of a burst start one after the other.
const START_BURST_MAX: usize = 4;

/// The delivery queue of this process. Clones share their state.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    config: Arc<ConfigCache>,
    settings: Arc<Settings>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    /// Identifies the leases of this process.
    lease_owner: i64,
    channel_queues: Mutex<ChannelQueues>,
    active_incidents: ActiveIncidents,
    /// Notified when a channel may need a refill from the store, or when the claimer should stop.
    claim_wakeup: Notify,
    /// Notified when a held delivery may have to be released earlier than was known.
    release_wakeup: Notify,
    /// When the next held delivery is released, as far as is known, in milliseconds since the Unix epoch.
    next_release_ms: AtomicI64,
    health: health::ChannelHealthMap,
    /// Attempts and their settlements.
    tasks: TaskTracker,
    quiescence: Quiescence,
    suppressed_openings: SuppressedOpenings,
}

/// Capacity in memory for a delivery that is about to be committed. Dropping it cancels the reservation.
pub(crate) struct Reservation {
    queue: Queue,
    channel_id: ChannelId,
    /// Whether the delivery was enqueued: then the queue itself has cancelled the reservation.
    is_used: bool,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.is_used {
            self.queue.channel_queues().cancel_reserved(self.channel_id, 1);
        }
    }
}

impl Queue {
    /// Starts the queue: reclaims the leases of an earlier process and begins to dispatch.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        config: Arc<ConfigCache>,
        settings: Arc<Settings>,
        clock: Arc<dyn Clock>,
        active_incidents: ActiveIncidents,
        limits: Limits,
    ) -> Result<Self> {
        let mut owner = [0; 8];
        clock.random(&mut owner);
        let lease_owner = i64::from_le_bytes(owner);
        // One process owns a data directory, so leases of any other owner belong to a process that is gone.
        let reclaimed = store.reclaim_leases(clock.now(), lease_owner).await?;
        if reclaimed > 0 {
            tracing::info!(deliveries = reclaimed, "reclaimed leases of the previous process");
        }
        let mut channel_queues = ChannelQueues::new(limits);
        let now = clock.now();
        // Pauses are not stored. One delivery goes first where some are left behind, in case the receiver limits the
        // rate still.
        for due in store.due().await?.into_iter().filter(|due| due.at <= now) {
            channel_queues.note_left_behind(due.channel_id, due.at);
        }
        let health = health::ChannelHealthMap::load(store.as_ref()).await?;
        let queue = Self(Arc::new(Inner {
            store,
            config,
            settings,
            clock,
            limits,
            lease_owner,
            channel_queues: Mutex::new(channel_queues),
            active_incidents,
            claim_wakeup: Notify::new(),
            release_wakeup: Notify::new(),
            next_release_ms: AtomicI64::new(i64::MAX),
            health,
            tasks: TaskTracker::new(),
            quiescence: Quiescence::default(),
            suppressed_openings: SuppressedOpenings::default(),
        }));
        tokio::spawn(claimer::run(queue.clone(), queue.quiescence().listen(Component::Claimer)));
        tokio::spawn(release_loop::run(queue.clone(), queue.quiescence().listen(Component::ReleaseLoop)));
        tokio::spawn(health::run(queue.clone()));
        Ok(queue)
    }

    fn channel_queues(&self) -> MutexGuard<'_, ChannelQueues> {
        lock(&self.0.channel_queues)
    }

    pub(crate) fn quiescence(&self) -> &Quiescence {
        &self.0.quiescence
    }

    pub(crate) fn suppressed_openings(&self) -> &SuppressedOpenings {
        &self.0.suppressed_openings
    }

    /// A lease of this process that begins now.
    pub(crate) fn lease(&self, now: Timestamp) -> Lease {
        Lease { owner: self.0.lease_owner, until: now.plus_ms(self.0.limits.lease_ms) }
    }

    /// Whether any channel may be congested, so that [`Self::wait_for_capacity`] is worth calling.
    pub(crate) fn is_under_pressure(&self) -> bool {
        self.channel_queues().is_under_pressure()
    }

    /// Applies backpressure to a producer of deliveries: waits until none of their channels is congested, at most
    /// [`BACKPRESSURE_MAX_WAIT`] plus [`BACKPRESSURE_MAX_WAIT_PER_DELIVERY`] for each. `channels` has one entry for each
    /// delivery.
    pub(crate) async fn wait_for_capacity(&self, mut channels: Vec<ChannelId>) {
        let batch_size = channels.len();
        let max_wait = BACKPRESSURE_MAX_WAIT
            + BACKPRESSURE_MAX_WAIT_PER_DELIVERY * batch_size.min(BACKPRESSURE_DELIVERIES_MAX) as u32;
        channels.sort_unstable();
        channels.dedup();
        let congested = || self.channel_queues().congested(&channels, batch_size);
        let wait = async {
            // `notify_one` stores a permit, so a wake-up between the check and the await is not missed.
            while let Some(capacity_freed) = congested() {
                capacity_freed.notified().await;
            }
        };
        // After the longest wait the deliveries are accepted all the same: some go to the store instead of memory.
        let _ = tokio::time::timeout(max_wait, wait).await;
    }

    /// Reserves capacity in memory for a delivery of this channel. None if it must wait in the store.
    pub(crate) fn reserve(&self, channel_id: ChannelId, now: Timestamp) -> Option<Reservation> {
        let granted = self.channel_queues().reserve(channel_id, now);
        granted.then(|| Reservation { queue: self.clone(), channel_id, is_used: false })
    }

    /// Enqueues committed deliveries in place of their reservations, and dispatches what may start now.
    pub(crate) fn enqueue_committed(&self, committed: impl IntoIterator<Item = (Claimed, Reservation)>) {
        // Collected first: the caller's iterator must not run under the lock, which dropping a reservation takes as well.
        let use_reservation = |(claimed, mut reservation): (Claimed, Reservation)| {
            reservation.is_used = true;
            claimed
        };
        let committed: Vec<_> = committed.into_iter().map(use_reservation).collect();
        if committed.is_empty() {
            return;
        }
        let mut ready = Ready::default();
        let now = self.0.clock.now();
        let mut queues = self.channel_queues();
        for claimed in committed {
            queues.cancel_reserved(claimed.channel_id, 1);
            queues.enqueue(claimed, now, &mut ready);
        }
        drop(queues);
        self.dispatch_ready(ready);
    }

    /// Dispatches what may start, and returns the leases of what may not.
    fn dispatch_ready(&self, ready: Ready) {
        if !ready.return_leases.is_empty() {
            let (queue, active) = (self.clone(), self.0.quiescence.begin_work());
            self.0.tasks.spawn(async move {
                queue.return_leases(ready.return_leases).await;
                drop(active);
            });
        }
        self.dispatch(ready.start);
    }

    async fn return_leases(&self, leases: Vec<LeaseRef>) {
        if let Err(error) = self.0.store.return_leases(leases).await {
            tracing::warn!(%error, "failed to return leases, they will expire");
        }
        self.0.claim_wakeup.notify_one();
    }

    /// Something of this topic changed in the workspace.
    pub(crate) fn mark_changed(&self, workspace_id: WorkspaceId, topic: Topic) {
        self.0.config.feeds().mark(workspace_id, topic);
    }

    /// Until when the receiver of this channel wants no attempt.
    pub(crate) fn paused_until(&self, channel_id: ChannelId) -> Option<Timestamp> {
        let now = self.0.clock.now();
        self.channel_queues().paused_until(channel_id, now)
    }

    /// The store has a delivery due for this channel at this instant.
    pub(crate) fn note_due(&self, channel_id: ChannelId, at: Timestamp) {
        self.channel_queues().note_due(channel_id, at);
        self.0.claim_wakeup.notify_one();
    }

    /// How recent attempts through this channel went.
    pub fn health(&self, channel_id: ChannelId) -> Health {
        Health { paused_until: self.paused_until(channel_id), ..self.0.health.of(channel_id) }
    }

    /// The channel has another receiver now: what the former one limited does not apply to it.
    pub fn forget_pause(&self, channel_id: ChannelId) {
        self.channel_queues().forget_pause(channel_id);
        self.0.claim_wakeup.notify_one();
    }

    /// Drops the health of a deleted channel.
    pub fn forget_health(&self, channel_id: ChannelId) {
        self.0.health.forget(channel_id);
    }

    /// A delivery is held until this instant.
    pub(crate) fn note_held_until(&self, at: Timestamp) {
        if at.unix_ms() < self.0.next_release_ms.load(Ordering::Relaxed) {
            self.0.release_wakeup.notify_one();
        }
    }

    /// A delivery is held until an instant that is not known here.
    pub(crate) fn wake_release_loop(&self) {
        self.0.release_wakeup.notify_one();
    }

    /// Dispatches deliveries. If a large burst started at once, its responses would arrive at once, too, and start the
    /// next burst together; every other task would wait behind all of them each time. So only a few start at once; the
    /// others start one by one, with a yield in between.
    fn dispatch(&self, mut start: Vec<Claimed>) {
        let later = start.split_off(start.len().min(START_BURST_MAX));
        start.into_iter().for_each(|claimed| self.spawn_attempt(claimed));
        if !later.is_empty() {
            let (queue, active) = (self.clone(), self.0.quiescence.begin_work());
            self.0.tasks.spawn(async move {
                for claimed in later {
                    tokio::task::yield_now().await;
                    queue.spawn_attempt(claimed);
                }
                drop(active);
            });
        }
    }

    fn spawn_attempt(&self, claimed: Claimed) {
        self.0.tasks.spawn(sender::run(self.clone(), claimed, self.0.quiescence.begin_work()));
    }

    /// Stops the queue: claims nothing more, returns the leases of deliveries that wait in memory, and waits for the
    /// attempts in flight. Returns whether all of them were settled within `bound`.
    pub(crate) async fn stop(&self, bound: Duration) -> bool {
        let leases = self.channel_queues().stop();
        self.0.claim_wakeup.notify_one();
        if !leases.is_empty() {
            self.return_leases(leases).await;
        }
        self.0.tasks.close();
        let is_drained = tokio::time::timeout(bound, self.0.tasks.wait()).await.is_ok();
        if let Err(error) = self.0.health.save(self.0.store.as_ref()).await {
            tracing::warn!(%error, "failed to save the health of channels");
        }
        is_drained
    }
}
