//! The queue of one channel in this process: what it has in memory, and how much more it may take. Holds no lock and does
//! no I/O; its owner is [`super::channel_queues`].

use std::collections::VecDeque;
use std::sync::Arc;

use tidings_domain::time::Timestamp;
use tidings_store::queue::Claimed;
use tokio::sync::Notify;

use super::breaker::Breaker;

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

/// An attempt as evidence about the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AttemptSample {
    pub duration_ms: u32,
    /// Whether it failed in a way that concerns the destination as a whole.
    pub is_outage: bool,
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
            capacity_freed: Arc::default(),
            attempt_ms: None,
        }
    }

    /// Whether it can be dropped without losing work.
    pub(super) fn is_idle(&self) -> bool {
        let is_empty = self.in_memory() == 0 && self.backlog == 0;
        is_empty && self.due_at.is_none() && !self.in_rotation
    }

    /// Whether an attempt may start, given all attempts in progress on the node.
    pub(super) fn has_free_slot(&self, node_in_flight: usize, limits: &Limits) -> bool {
        if self.breaker.is_open() {
            return self.in_flight == 0;
        }
        // The last half of the node's slots is never lent, so that a channel that wakes up finds one.
        let can_borrow = node_in_flight * 2 < limits.node_slots;
        self.in_flight < limits.guaranteed_slots
            || (node_in_flight < limits.node_slots && (self.in_flight < limits.channel_slots || can_borrow))
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
        is_full && clears_soon && !self.breaker.is_open()
    }

    /// How many more deliveries it may take into memory: no more than it is likely to send within a quarter of a lease,
    /// so that leases do not expire in memory.
    pub(super) fn free_capacity(&self, node_used: usize, limits: &Limits) -> usize {
        let in_memory = self.in_memory();
        if self.breaker.is_open() {
            return 1_usize.saturating_sub(in_memory);
        }
        let attempt_ms = self.attempt_ms.unwrap_or(ASSUMED_ATTEMPT_MS).max(0.1);
        let sendable = limits.channel_slots as f64 * (limits.lease_ms as f64 / 4.0) / attempt_ms;
        let capacity = (sendable as usize).clamp(limits.channel_slots, limits.channel_ready_max);
        let node_free = limits.node_ready_max.saturating_sub(node_used);
        // Even with the node's memory used up a channel keeps its guaranteed slots.
        capacity.saturating_sub(in_memory).min(node_free.max(limits.guaranteed_slots.saturating_sub(in_memory)))
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
    pub(super) fn clear_backlog(&mut self, count: usize, is_all: bool) -> usize {
        let cleared = if is_all { self.backlog } else { count.min(self.backlog) };
        self.backlog -= cleared;
        if is_all {
            self.due_at = None;
        }
        cleared
    }

    /// Records how an attempt ended. Returns whether it opened the breaker.
    pub(super) fn record_outcome(&mut self, sample: AttemptSample) -> bool {
        let took = f64::from(sample.duration_ms);
        self.attempt_ms = Some(self.attempt_ms.map_or(took, |known| known + (took - known) / 8.0));
        self.breaker.record_outcome(sample.is_outage)
    }
}
