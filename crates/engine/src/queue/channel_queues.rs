//! The queues of all channels in this process: which attempts may start now, whose turn it is when the node is full, and
//! what to claim from the store.

use std::collections::VecDeque;
use std::sync::Arc;

use tidings_domain::event::Content;
use tidings_domain::id::ChannelId;
use tidings_domain::time::Timestamp;
use tidings_store::queue::{Claimed, LeaseRef};
use tokio::sync::Notify;

use super::channel_queue::{AttemptSample, ChannelQueue, Limits};
use crate::ById;

#[cfg(test)]
mod tests;

/// The most deliveries that one claim asks for. A claim is a write, and every other writer waits for it.
const CLAIM_MAX: usize = 128;
/// The most that a claim asks for of one channel.
const CLAIM_PER_CHANNEL_MAX: usize = 32;
/// The least share of a channel if many channels share a claim.
const CLAIM_PER_CHANNEL_MIN: usize = 16;
/// Idle queues that are kept, because they know how fast their channel is.
const IDLE_QUEUES_KEPT: usize = 10_000;

/// The queues of all channels. Every method is short and does no I/O: callers hold a lock over it.
pub(crate) struct ChannelQueues {
    limits: Limits,
    queues: ById<ChannelId, ChannelQueue>,
    /// Channels with deliveries that wait for a slot of the node, served round robin.
    rotation: VecDeque<ChannelId>,
    in_flight: usize,
    /// Deliveries that wait for a slot, and reservations.
    in_memory: usize,
    /// Deliveries that found no capacity and wait in the store, as far as this process knows.
    backlog: usize,
    /// Approximate size of the deliveries that wait in memory, in bytes.
    ready_bytes: usize,
    /// Where the next claim starts among the channels that need a refill, so that each gets its turn.
    claim_cursor: usize,
    stopping: bool,
}

/// What follows from the end of an attempt.
#[derive(Default)]
pub(super) struct Completion {
    /// Deliveries to dispatch now.
    pub start: Vec<Claimed>,
    /// Leases to return to the store, because the channel's breaker opened or a pause began.
    pub return_leases: Vec<LeaseRef>,
    pub breaker_opened: bool,
    /// The end of the pause that began.
    pub paused_until: Option<Timestamp>,
    /// Whether the channel should claim what the store has for it.
    pub needs_refill: bool,
}

/// What follows from enqueuing deliveries.
#[derive(Default)]
pub(super) struct Ready {
    /// Deliveries to dispatch now.
    pub start: Vec<Claimed>,
    /// Leases to return to the store, because the channel is paused.
    pub return_leases: Vec<LeaseRef>,
}

impl ChannelQueues {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            queues: ById::default(),
            rotation: VecDeque::new(),
            in_flight: 0,
            in_memory: 0,
            backlog: 0,
            ready_bytes: 0,
            claim_cursor: 0,
            stopping: false,
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn ready(&self) -> usize {
        self.queues.values().map(|queue| queue.ready.len()).sum()
    }

    pub(crate) fn open_breakers(&self) -> usize {
        self.queues.values().filter(|queue| queue.breaker.is_open()).count()
    }

    /// How much of the node's memory for deliveries is in use, in deliveries. At the limit in bytes: all of it.
    fn used_capacity(&self) -> usize {
        if self.ready_bytes < self.limits.node_ready_bytes_max { self.in_memory } else { self.limits.node_ready_max }
    }

    fn queue_mut(&mut self, channel_id: ChannelId) -> &mut ChannelQueue {
        self.queues.entry(channel_id).or_insert_with(ChannelQueue::new)
    }

    /// Whether any channel may be congested: a cheap test before [`Self::congested`].
    pub(super) fn is_under_pressure(&self) -> bool {
        self.in_memory >= self.limits.channel_slots || self.backlog > 0
    }

    /// The first of these channels that is congested for a producer of `batch_size` deliveries: what is notified when it
    /// no longer is.
    pub(super) fn congested(&self, channels: &[ChannelId], batch_size: usize) -> Option<Arc<Notify>> {
        let (used, limits) = (self.used_capacity(), self.limits);
        let mut queues = channels.iter().filter_map(|channel_id| self.queues.get(channel_id));
        let congested = queues.find(|queue| queue.is_congested(batch_size, used, &limits));
        congested.map(|queue| Arc::clone(&queue.capacity_freed))
    }

    /// Reserves capacity for a delivery that is about to be committed. Returns false if it must wait in the store, behind
    /// those that wait there already.
    pub(super) fn reserve(&mut self, channel_id: ChannelId, now: Timestamp) -> bool {
        let (limits, used, stopping) = (self.limits, self.used_capacity(), self.stopping);
        let queue = self.queue_mut(channel_id);
        // Not while the store has something due for the channel: the new delivery would overtake it.
        let granted = !stopping && !queue.has_due(now) && queue.free_capacity(used, &limits, now) > 0;
        if granted {
            queue.reserved += 1;
            self.in_memory += 1;
        } else {
            queue.backlog += 1;
            self.backlog += 1;
        }
        granted
    }

    /// Cancels reservations of a channel.
    pub(super) fn cancel_reserved(&mut self, channel_id: ChannelId, count: usize) {
        if let Some(queue) = self.queues.get_mut(&channel_id) {
            queue.reserved = queue.reserved.saturating_sub(count);
            self.in_memory = self.in_memory.saturating_sub(count);
        }
    }

    /// Enqueues a delivery that this process holds the lease of. Adds to `ready` what may start now: this delivery, or
    /// others before it; or this delivery to `ready.return_leases`, if the channel is paused, because its lease would
    /// not last.
    pub(super) fn enqueue(&mut self, claimed: Claimed, now: Timestamp, ready: &mut Ready) {
        let channel_id = claimed.channel_id;
        let (limits, in_flight, stopping) = (self.limits, self.in_flight, self.stopping);
        let queue = self.queue_mut(channel_id);
        queue.set_attempts_max(claimed.channel_type.attempts_max());
        if queue.paused_until(now).is_some() {
            queue.note_due(claimed.due_at);
            ready.return_leases.push(claimed.lease_ref());
            return;
        }
        let has_free_slot = !stopping && queue.has_free_slot(in_flight, &limits, now);
        if has_free_slot && queue.ready.is_empty() {
            queue.record_start(now);
            self.in_flight += 1;
            ready.start.push(claimed);
            return;
        }
        let bytes = approximate_size(&claimed);
        queue.ready.push_back(claimed);
        let joins_rotation = !queue.in_rotation;
        queue.in_rotation = true;
        self.in_memory += 1;
        self.ready_bytes += bytes;
        if joins_rotation {
            self.rotation.push_back(channel_id);
        }
        if has_free_slot {
            self.start_ready(now, &mut ready.start);
        }
    }

    /// An attempt ended. `sample` is its evidence about the destination, if any.
    pub(super) fn complete(
        &mut self,
        channel_id: ChannelId,
        now: Timestamp,
        sample: Option<AttemptSample>,
    ) -> Completion {
        let mut completion = Completion::default();
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(queue) = self.queues.get_mut(&channel_id) {
            queue.in_flight = queue.in_flight.saturating_sub(1);
            let change = sample.map(|sample| queue.record_outcome(sample, now)).unwrap_or_default();
            completion.breaker_opened = change.breaker_opened;
            let paused_until = queue.paused_until(now);
            completion.paused_until = paused_until.filter(|_| change.pause_began);
            // The breaker opened, or a pause began: what waits in memory would outlive its lease.
            if change.breaker_opened || (paused_until.is_some() && !queue.ready.is_empty()) {
                if let Some(first) = queue.ready.iter().map(|claimed| claimed.due_at).min() {
                    queue.note_due(first);
                }
                self.in_memory = self.in_memory.saturating_sub(queue.ready.len());
                let bytes: usize = queue.ready.iter().map(approximate_size).sum();
                self.ready_bytes = self.ready_bytes.saturating_sub(bytes);
                completion.return_leases.extend(queue.ready.drain(..).map(|claimed| claimed.lease_ref()));
            }
            if !queue.ready.is_empty() && !queue.in_rotation {
                queue.in_rotation = true;
                self.rotation.push_back(channel_id);
            }
            completion.needs_refill = queue.needs_refill(now, &self.limits);
        }
        self.start_ready(now, &mut completion.start);
        let (used, limits) = (self.used_capacity(), self.limits);
        if let Some(queue) = self.queues.get(&channel_id).filter(|queue| !queue.is_congested(1, used, &limits)) {
            queue.capacity_freed.notify_one();
        }
        completion
    }

    /// Starts what may start, one delivery of each channel in turn. A channel that has all the slots it may have leaves
    /// the rotation; the end of one of its own attempts brings it back.
    fn start_ready(&mut self, now: Timestamp, start: &mut Vec<Claimed>) {
        let mut refused_in_a_row = 0;
        // Ends after one full round without a start.
        while !self.stopping && refused_in_a_row < self.rotation.len() {
            let Some(channel_id) = self.rotation.pop_front() else { return };
            let Some(queue) = self.queues.get_mut(&channel_id) else { continue };
            if queue.has_free_slot(self.in_flight, &self.limits, now) {
                if let Some(claimed) = queue.ready.pop_front() {
                    queue.record_start(now);
                    self.in_flight += 1;
                    self.in_memory = self.in_memory.saturating_sub(1);
                    self.ready_bytes = self.ready_bytes.saturating_sub(approximate_size(&claimed));
                    start.push(claimed);
                }
                refused_in_a_row = 0;
            } else if queue.in_flight < self.limits.channel_slots && !queue.is_at_limit(now) {
                // The node is full, not the channel: it keeps its turn.
                refused_in_a_row += 1;
            } else {
                queue.in_rotation = false;
                continue;
            }
            queue.in_rotation = !queue.ready.is_empty();
            if queue.in_rotation {
                self.rotation.push_back(channel_id);
            }
        }
    }

    /// The store has a delivery due for this channel at this instant.
    pub(super) fn note_due(&mut self, channel_id: ChannelId, at: Timestamp) {
        self.queue_mut(channel_id).note_due(at);
    }

    /// What to claim from the store now, as a number for each channel. Reserves capacity for all of it; the caller
    /// passes the plan on to [`Self::absorb_claims`] or [`Self::cancel_reservations`].
    pub(super) fn plan_claims(&mut self, now: Timestamp) -> Vec<(ChannelId, u32)> {
        if self.stopping {
            return Vec::new();
        }
        let limits = self.limits;
        let hungry = self.queues.iter().filter(|(_, queue)| queue.needs_refill(now, &limits));
        let mut hungry: Vec<ChannelId> = hungry.map(|(id, _)| *id).collect();
        // A stable order, rotated: the budget goes to other channels each time.
        hungry.sort_unstable();
        let cursor = self.claim_cursor % hungry.len().max(1);
        hungry.rotate_left(cursor);
        let mut plan = Vec::new();
        let mut budget = CLAIM_MAX;
        let share = (CLAIM_MAX / hungry.len().max(1)).clamp(CLAIM_PER_CHANNEL_MIN, CLAIM_PER_CHANNEL_MAX);
        for channel_id in hungry {
            let used = self.used_capacity();
            let Some(queue) = self.queues.get_mut(&channel_id) else { continue };
            let count = queue.free_capacity(used, &limits, now).min(share).min(budget);
            if count > 0 {
                queue.reserved += count;
                self.in_memory += count;
                budget -= count;
                plan.push((channel_id, count as u32));
            }
            if budget == 0 {
                break;
            }
        }
        self.claim_cursor = cursor + plan.len();
        plan
    }

    /// Enqueues what was claimed under `plan` and cancels the plan's reservations. Returns what may start now, and
    /// whether the store had fewer than asked for of some channel.
    pub(super) fn absorb_claims(
        &mut self,
        plan: &[(ChannelId, u32)],
        claimed: Vec<Claimed>,
        now: Timestamp,
    ) -> (Ready, bool) {
        let mut counts: ById<ChannelId, u32> = ById::default();
        for claimed in &claimed {
            *counts.entry(claimed.channel_id).or_default() += 1;
        }
        let mut is_drained = false;
        for &(channel_id, asked) in plan {
            self.cancel_reserved(channel_id, asked as usize);
            if let Some(queue) = self.queues.get_mut(&channel_id) {
                let got = counts.get(&channel_id).copied().unwrap_or(0);
                self.backlog = self.backlog.saturating_sub(queue.clear_backlog(got as usize, got < asked, now));
                is_drained |= got < asked;
            }
        }
        let mut ready = Ready::default();
        for claimed in claimed {
            self.enqueue(claimed, now, &mut ready);
        }
        (ready, is_drained)
    }

    /// The claim failed: cancels the plan's reservations.
    pub(super) fn cancel_reservations(&mut self, plan: &[(ChannelId, u32)]) {
        for &(channel_id, count) in plan {
            self.cancel_reserved(channel_id, count as usize);
        }
    }

    /// When the store next has a delivery due for a channel that could take it.
    pub(super) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let used = self.used_capacity();
        self.queues.values().filter_map(|queue| queue.next_claim_at(used, &self.limits, now)).min()
    }

    /// Until when the channel is paused.
    pub(super) fn paused_until(&self, channel_id: ChannelId, now: Timestamp) -> Option<Timestamp> {
        self.queues.get(&channel_id).and_then(|queue| queue.paused_until(now))
    }

    /// Whether a delivery that is due since `due_at` has waited too long because of pauses alone.
    pub(super) fn is_pause_wait_exceeded(&self, channel_id: ChannelId, due_at: Timestamp, now: Timestamp) -> bool {
        self.queues.get(&channel_id).is_some_and(|queue| queue.is_pause_wait_exceeded(due_at, now))
    }

    /// Ends the channel's pause. One attempt goes first.
    pub(super) fn forget_pause(&mut self, channel_id: ChannelId) {
        if let Some(queue) = self.queues.get_mut(&channel_id) {
            queue.forget_pause();
        }
    }

    /// The store has deliveries for this channel that an earlier process left behind.
    pub(super) fn note_left_behind(&mut self, channel_id: ChannelId, at: Timestamp) {
        let queue = self.queue_mut(channel_id);
        queue.note_due(at);
        queue.probe_first();
    }

    /// Drops idle queues once there are many.
    pub(super) fn sweep(&mut self) {
        if self.queues.len() > IDLE_QUEUES_KEPT {
            self.queues.retain(|_, queue| !queue.is_idle() || queue.has_restriction());
        }
    }

    /// Starts nothing from now on. Returns the leases of all deliveries that wait in memory, to be returned to the store.
    pub(super) fn stop(&mut self) -> Vec<LeaseRef> {
        self.stopping = true;
        self.rotation.clear();
        self.queues.values_mut().flat_map(|queue| queue.ready.drain(..)).map(|claimed| claimed.lease_ref()).collect()
    }
}

/// Approximate memory of a delivery, in bytes.
fn approximate_size(claimed: &Claimed) -> usize {
    1_024
        + match &claimed.event.content {
            Content::Run(run) => {
                run.output.as_ref().map_or(0, |output| output.get().len())
                    + run.error_message.as_ref().map_or(0, String::len)
            }
            Content::Incident(incident) => {
                incident.fields.iter().map(|field| field.label.len() + field.value.len()).sum()
            }
            Content::Digest(digest) => digest.entries.iter().map(|entry| entry.title.len() + 100).sum(),
        }
}
