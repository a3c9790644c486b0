//! The queue of one channel in this process: what it has in memory, and how much more it may take. Holds no lock and does
//! no I/O; its owner is [`super::channel_queues`].

use std::collections::VecDeque;
use std::sync::Arc;

use tidings_channels::RateSignal;
use tidings_domain::time::Timestamp;
use tidings_store::queue::Claimed;
use tokio::sync::Notify;

use super::breaker::Breaker;
use super::pace::{Answer, Pace};

#[cfg(test)]
mod tests;

/// Concurrency and memory limits of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent attempts on this node.
    pub node_slots: usize,
    /// Concurrent attempts of one channel. It may borrow more while at least half of the node's slots are free.
    pub channel_slots: usize,
    /// Concurrent attempts guaranteed to every channel, even if the node's slots are used up.
    pub guaranteed_slots: usize,
    /// Deliveries of one channel waiting in memory.
    pub channel_ready_max: usize,
    /// Deliveries waiting in memory, all channels together.
    pub node_ready_max: usize,
    /// Memory of those deliveries, in bytes.
    pub node_ready_bytes_max: usize,
    /// Duration of a lease, in milliseconds.
    pub lease_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            node_slots: 512,
            channel_slots: 64,
            guaranteed_slots: 4,
            channel_ready_max: 8_192,
            node_ready_max: 12_288,
            node_ready_bytes_max: 32 << 20,
            lease_ms: 120_000,
        }
    }
}

/// Deliveries of one channel from which on it is congested.
const CONGESTION_MIN: usize = 1_024;
/// Congestion that will clear within this time is worth waiting for. Beyond it, backpressure would only delay the
/// producer: the delivery goes to the store.
const CONGESTION_CLEARS_WITHIN_MS: f64 = 1_000.0;
/// Producers of large batches wait longer: this much more for each delivery they bring.
const CONGESTION_CLEARS_WITHIN_MS_PER_DELIVERY: f64 = 100.0;
/// Assumed duration of an attempt before the first one has ended, in milliseconds.
const ASSUMED_ATTEMPT_MS: f64 = 5_000.0;

/// A window of this many attempts is no limit any more.
const MATTERING_WINDOW: usize = 64;

/// An attempt as evidence about the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AttemptSample {
    pub duration_ms: u32,
    /// Whether it failed in a way that concerns the destination as a whole.
    pub is_outage: bool,
    pub is_delivered: bool,
    /// What the receiver allows the channel as a whole.
    pub rate: Option<RateSignal>,
}

/// What changed for the channel with the end of an attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OutcomeChange {
    pub breaker_opened: bool,
    pub pause_began: bool,
}

/// One channel's queue.
pub(super) struct ChannelQueue {
    /// Attempts in progress.
    pub in_flight: usize,
    /// Capacity reserved for deliveries that are not committed or not claimed yet.
    pub reserved: usize,
    /// Deliveries in memory that wait for a slot.
    pub ready: VecDeque<Claimed>,
    /// When the store next has a delivery due for this channel, as far as this process knows.
    pub due_at: Option<Timestamp>,
    /// Deliveries that found no capacity here and wait in the store.
    pub backlog: usize,
    /// Whether the channel is in the round robin of those that wait for a slot of the node.
    pub in_rotation: bool,
    pub breaker: Breaker,
    /// Set while the receiver limits the rate, and until the channel has recovered from that.
    pace: Option<Box<Pace>>,
    /// Attempts that may be in progress at once because of the channel's type.
    attempts_max: usize,
    /// Notified when the channel is no longer congested. Wakes one waiting producer at a time.
    pub capacity_freed: Arc<Notify>,
    /// Smoothed duration of an attempt, in milliseconds; none before the first.
    attempt_ms: Option<f64>,
}

impl ChannelQueue {
    pub(super) fn new() -> Self {
        Self {
            in_flight: 0,
            reserved: 0,
            ready: VecDeque::new(),
            due_at: None,
            backlog: 0,
            in_rotation: false,
            breaker: Breaker::default(),
            pace: None,
            attempts_max: usize::MAX,
            capacity_freed: Arc::default(),
            attempt_ms: None,
        }
    }

    /// Whether it can be dropped without losing work.
    pub(super) fn is_idle(&self) -> bool {
        let is_empty = self.in_memory() == 0 && self.backlog == 0;
        is_empty && self.due_at.is_none() && !self.in_rotation
    }

    /// Learns the channel's type from a delivery.
    pub(super) fn set_attempts_max(&mut self, attempts_max: Option<usize>) {
        self.attempts_max = attempts_max.unwrap_or(usize::MAX);
    }

    /// How many attempts may be in progress at once, whatever the node's slots: none during a pause.
    fn concurrency(&self, now: Timestamp) -> usize {
        if self.breaker.is_open() {
            return 1.min(self.pace.as_ref().map_or(1, |pace| pace.concurrency(self.in_flight, now)));
        }
        let by_pace = self.pace.as_ref().map_or(usize::MAX, |pace| pace.concurrency(self.in_flight, now));
        self.attempts_max.min(by_pace)
    }

    /// Whether its own limit, not the node's, keeps another attempt from starting.
    pub(super) fn is_at_limit(&self, now: Timestamp) -> bool {
        self.in_flight >= self.concurrency(now)
    }

    /// Whether an attempt may start, given all attempts in progress on the node.
    pub(super) fn has_free_slot(&self, node_in_flight: usize, limits: &Limits, now: Timestamp) -> bool {
        if self.is_at_limit(now) {
            return false;
        }
        if self.breaker.is_open() {
            return true;
        }
        // The last half of the node's slots is never lent, so that a channel that wakes up finds one.
        let can_borrow = node_in_flight * 2 < limits.node_slots;
        self.in_flight < limits.guaranteed_slots
            || (node_in_flight < limits.node_slots && (self.in_flight < limits.channel_slots || can_borrow))
    }

    /// An attempt starts.
    pub(super) fn record_start(&mut self, now: Timestamp) {
        self.in_flight += 1;
        if let Some(pace) = &mut self.pace {
            pace.record_start(now);
        }
    }

    /// Until when its receiver wants no attempt.
    pub(super) fn paused_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.pace.as_ref().and_then(|pace| pace.paused_until(now))
    }

    /// Ends a pause, as nothing is known about the receiver any more.
    pub(super) fn forget_pause(&mut self) {
        if let Some(pace) = &mut self.pace {
            **pace = Pace::unknown();
        }
    }

    /// Nothing is known about the receiver, after a restart: one attempt goes first.
    pub(super) fn probe_first(&mut self) {
        self.pace.get_or_insert_with(|| Box::new(Pace::unknown()));
    }

    /// Whether a delivery that is due since `due_at` has waited too long because of pauses alone.
    pub(super) fn is_pause_wait_exceeded(&self, due_at: Timestamp, now: Timestamp) -> bool {
        self.pace.as_ref().is_some_and(|pace| pace.is_wait_exceeded(due_at, now))
    }

    /// Whether it must be kept although it has no work: a new queue would send a burst to a receiver that is down, or
    /// that limits the rate.
    pub(super) fn has_restriction(&self) -> bool {
        self.breaker.is_open() || self.pace.is_some()
    }

    /// Everything it has in memory, attempts in progress included.
    fn in_memory(&self) -> usize {
        self.in_flight + self.reserved + self.ready.len()
    }

    /// Whether a producer that brings `batch_size` deliveries should be delayed. A delivery that overflows to the store
    /// costs two more writes, so a short wait for a fast destination pays off. Producers to a slow destination, or to
    /// one with a long backlog, are never delayed.
    pub(super) fn is_congested(&self, batch_size: usize, node_used: usize, limits: &Limits) -> bool {
        let waiting = self.in_memory() + self.backlog;
        let node_is_filling = node_used * 2 >= limits.node_ready_max;
        // With a backlog nothing can be reserved, however small the backlog: order would be lost.
        let is_full =
            self.backlog > 0 || waiting >= CONGESTION_MIN || (node_is_filling && waiting >= limits.channel_slots);
        let clears_soon = match self.attempt_ms {
            Some(ms) => {
                let max_ms = CONGESTION_CLEARS_WITHIN_MS + CONGESTION_CLEARS_WITHIN_MS_PER_DELIVERY * batch_size as f64;
                waiting as f64 * ms / limits.channel_slots as f64 <= max_ms
            }
            // Unknown before the first attempt has ended, which may hang. Only large batches are delayed for that.
            None => batch_size >= limits.channel_slots,
        };
        is_full && clears_soon && !self.has_restriction()
    }

    /// How many more deliveries it may take into memory: no more than it is likely to send within a quarter of a lease,
    /// so that leases do not expire in memory.
    pub(super) fn free_capacity(&self, node_used: usize, limits: &Limits, now: Timestamp) -> usize {
        let in_memory = self.in_memory();
        let concurrency = self.concurrency(now);
        // While the receiver is down or limits the rate, nothing waits in memory: a pause would have to return it.
        if concurrency < limits.channel_slots && self.has_restriction() {
            return concurrency.saturating_sub(in_memory);
        }
        let slots = limits.channel_slots.min(concurrency);
        let attempt_ms = self.attempt_ms.unwrap_or(ASSUMED_ATTEMPT_MS).max(0.1);
        let sendable = slots as f64 * (limits.lease_ms as f64 / 4.0) / attempt_ms;
        let capacity = (sendable as usize).clamp(slots, limits.channel_ready_max);
        let node_free = limits.node_ready_max.saturating_sub(node_used);
        // Even with the node's memory used up a channel keeps its guaranteed slots.
        capacity.saturating_sub(in_memory).min(node_free.max(limits.guaranteed_slots.saturating_sub(in_memory)))
    }

    /// When it could claim from the store: when something is due there, and the pause is over.
    pub(super) fn next_claim_at(&self, node_used: usize, limits: &Limits, now: Timestamp) -> Option<Timestamp> {
        let due_at = self.due_at?;
        if let Some(until) = self.paused_until(now) {
            return Some(due_at.max(until));
        }
        (self.is_low(limits) && self.free_capacity(node_used, limits, now) > 0).then_some(due_at)
    }

    /// Whether the store has a delivery for it that is due already.
    pub(super) fn has_due(&self, now: Timestamp) -> bool {
        self.due_at.is_some_and(|at| at <= now)
    }

    /// Whether it should claim from the store: something is due, and little is left in memory.
    pub(super) fn needs_refill(&self, now: Timestamp, limits: &Limits) -> bool {
        self.has_due(now) && self.is_low(limits)
    }

    /// Whether the deliveries waiting in memory will soon be in progress.
    pub(super) fn is_low(&self, limits: &Limits) -> bool {
        self.ready.len() * 2 <= limits.channel_slots
    }

    /// Records that the store has a delivery due at this instant.
    pub(super) fn note_due(&mut self, at: Timestamp) {
        self.due_at = Some(self.due_at.map_or(at, |known| known.min(at)));
    }

    /// Records that `count` deliveries were claimed, `is_all` if the store had no more. Returns by how much the backlog
    /// shrank.
    pub(super) fn clear_backlog(&mut self, count: usize, is_all: bool, now: Timestamp) -> usize {
        let cleared = if is_all { self.backlog } else { count.min(self.backlog) };
        self.backlog -= cleared;
        if is_all {
            self.due_at = None;
            if let Some(pace) = &mut self.pace {
                pace.record_caught_up(now);
            }
        }
        cleared
    }

    /// Records how an attempt ended; it is no longer in progress.
    pub(super) fn record_outcome(&mut self, sample: AttemptSample, now: Timestamp) -> OutcomeChange {
        let took = f64::from(sample.duration_ms);
        self.attempt_ms = Some(self.attempt_ms.map_or(took, |known| known + (took - known) / 8.0));
        let breaker_opened = self.breaker.record_outcome(sample.is_outage);
        let mut pause_began = false;
        if sample.rate.is_some() {
            self.pace.get_or_insert_with(|| Box::new(Pace::known()));
        }
        if let Some(pace) = &mut self.pace {
            let started_at = now.minus_ms(sample.duration_ms.into());
            let answer = Answer { rate: sample.rate, is_delivered: sample.is_delivered, started_at };
            pause_began = pace.record_answer(answer, self.in_flight, now);
            if pace.is_over(self.attempts_max.min(MATTERING_WINDOW), now) {
                self.pace = None;
            }
        }
        OutcomeChange { breaker_opened, pause_began }
    }
}
