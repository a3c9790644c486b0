//! A lane: what one channel has under way in this process, and how much more it may have. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use tidings_domain::time::Timestamp;
use tidings_store::queue::Claimed;
use tokio::sync::Notify;

use super::breaker::Breaker;

/// How much is sent at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Attempts under way on this node.
    pub node_slots: usize,
    /// Attempts under way for one channel; more if at least half of the node's are free.
    pub channel_slots: usize,
    /// Attempts that every channel may have under way even if the node's are used up.
    pub own_slots: usize,
    /// Deliveries of one channel in memory, waiting for a slot.
    pub channel_ready_max: usize,
    /// Deliveries in memory in all, waiting for a slot.
    pub node_ready_max: usize,
    /// What those may take up, in bytes.
    pub node_ready_bytes_max: usize,
    /// How long a lease lasts, in milliseconds.
    pub lease_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            node_slots: 512,
            channel_slots: 64,
            own_slots: 4,
            channel_ready_max: 8_192,
            node_ready_max: 12_288,
            node_ready_bytes_max: 32 << 20,
            lease_ms: 120_000,
        }
    }
}

/// Deliveries of one channel in memory from which on those who bring more are held back.
const CROWD: usize = 1_024;
/// A crowd that will be gone within so many milliseconds is worth waiting for, and one that lasts longer for those who
/// bring more; behind a longer one there is only the store.
const CROWD_MS_MAX: f64 = 1_000.0;
/// So much longer for each delivery that is brought.
const CROWD_MS_EACH: f64 = 100.0;
/// What an attempt is taken to last until the channel has shown how long it does, in milliseconds.
const ASSUMED_ATTEMPT_MS: f64 = 5_000.0;

/// One channel's lane.
pub(super) struct Lane {
    /// Attempts under way.
    pub in_flight: usize,
    /// Places given to deliveries that are not committed yet.
    pub reserved: usize,
    /// Deliveries that wait for a slot.
    pub ready: VecDeque<Claimed>,
    /// When the store next has something due, as far as is known.
    pub due_at: Option<Timestamp>,
    /// How many of its deliveries wait in the store, as far as this process saw them fall behind.
    pub behind: usize,
    /// Whether the lane stands in the line of those that wait for the node.
    pub in_line: bool,
    /// Whether the destination is taken to be down.
    pub breaker: Breaker,
    /// IncidentDelivery when it is not crowded, for one of those who wait for that.
    pub eased: Arc<Notify>,
    /// What an attempt lasts, in milliseconds, smoothed; none before the first.
    attempt_ms: Option<f64>,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self {
            in_flight: 0,
            reserved: 0,
            ready: VecDeque::new(),
            due_at: None,
            behind: 0,
            in_line: false,
            breaker: Breaker::default(),
            eased: Arc::default(),
            attempt_ms: None,
        }
    }

    /// Whether nothing of it need be remembered.
    pub(super) fn is_idle(&self) -> bool {
        let has_nothing = self.held() == 0 && self.behind == 0;
        has_nothing && self.due_at.is_none() && !self.in_line
    }

    /// Whether an attempt may start, with so many under way on the node.
    pub(super) fn may_start(&self, node_in_flight: usize, limits: &Limits) -> bool {
        if self.breaker.is_open() {
            return self.in_flight == 0;
        }
        let lendable = node_in_flight * 2 < limits.node_slots;
        self.in_flight < limits.own_slots
            || (node_in_flight < limits.node_slots && (self.in_flight < limits.channel_slots || lendable))
    }

    /// What it has in memory, under way or not.
    fn held(&self) -> usize {
        self.in_flight + self.reserved + self.ready.len()
    }

    /// Whether so much waits, and is so soon sent, that whoever brings more had better wait, too: what finds no place in
    /// memory is written twice more. Nobody waits for a destination that is slow or has much before it.
    /// `brought` is how many deliveries that is.
    pub(super) fn is_crowded(&self, brought: usize, node_taken: usize, limits: &Limits) -> bool {
        let waiting = self.held() + self.behind;
        let node_is_filling = node_taken * 2 >= limits.node_ready_max;
        // Behind those that wait in the store there is no place in memory, however few they are.
        let is_many = self.behind > 0 || waiting >= CROWD || (node_is_filling && waiting >= limits.channel_slots);
        let is_soon_gone = match self.attempt_ms {
            Some(ms) => {
                waiting as f64 * ms / limits.channel_slots as f64 <= CROWD_MS_MAX + CROWD_MS_EACH * brought as f64
            }
            // Before the first attempt has ended nobody knows: it may hang. Only large batches wait for that.
            None => brought >= limits.channel_slots,
        };
        is_many && is_soon_gone && !self.breaker.is_open()
    }

    /// How many more deliveries it may take into memory: no more than it is likely to send within a quarter of a lease.
    pub(super) fn room(&self, node_taken: usize, limits: &Limits) -> usize {
        let held = self.held();
        if self.breaker.is_open() {
            return 1_usize.saturating_sub(held);
        }
        let attempt_ms = self.attempt_ms.unwrap_or(ASSUMED_ATTEMPT_MS).max(0.1);
        let sendable = limits.channel_slots as f64 * (limits.lease_ms as f64 / 4.0) / attempt_ms;
        let most = (sendable as usize).clamp(limits.channel_slots, limits.channel_ready_max);
        let of_node = limits.node_ready_max.saturating_sub(node_taken);
        // Even with the node's memory used up a channel gets its own slots.
        most.saturating_sub(held).min(of_node.max(limits.own_slots.saturating_sub(held)))
    }

    /// Whether the store has something for it that waits already.
    pub(super) fn has_backlog(&self, now: Timestamp) -> bool {
        self.due_at.is_some_and(|at| at <= now)
    }

    /// Whether it should fetch what the store has: there is something, and little is left in memory.
    pub(super) fn wants_more(&self, now: Timestamp, limits: &Limits) -> bool {
        self.has_backlog(now) && self.has_little_ready(limits)
    }

    /// Whether what it has in memory will soon be under way.
    pub(super) fn has_little_ready(&self, limits: &Limits) -> bool {
        self.ready.len() * 2 <= limits.channel_slots
    }

    /// Learns that something is due at this instant.
    pub(super) fn note_due(&mut self, at: Timestamp) {
        self.due_at = Some(self.due_at.map_or(at, |known| known.min(at)));
    }

    /// So many were fetched from the store, and perhaps all. Answers how many fewer are known to wait there.
    pub(super) fn caught_up(&mut self, count: usize, all: bool) -> usize {
        let fewer = if all { self.behind } else { count.min(self.behind) };
        self.behind -= fewer;
        if all {
            self.due_at = None;
        }
        fewer
    }

    /// Learns how long an attempt took and whether it speaks of an outage. True if the breaker opened with it.
    pub(super) fn learn(&mut self, duration_ms: u32, outage: bool) -> bool {
        let took = f64::from(duration_ms);
        self.attempt_ms = Some(self.attempt_ms.map_or(took, |known| known + (took - known) / 8.0));
        self.breaker.learn(outage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unused_slots_are_lent_but_not_the_last_half() {
        let (mut lane, limits) = (Lane::new(), Limits::default());
        lane.in_flight = limits.channel_slots;
        assert!(lane.may_start(limits.channel_slots, &limits), "the node is mostly free");
        assert!(!lane.may_start(limits.node_slots / 2, &limits), "half of it is in use");
        lane.in_flight = limits.channel_slots - 1;
        assert!(lane.may_start(limits.node_slots - 1, &limits));
        assert!(!lane.may_start(limits.node_slots, &limits));
        lane.in_flight = limits.own_slots - 1;
        assert!(lane.may_start(limits.node_slots, &limits), "its own slots are its own");
    }

    #[test]
    fn an_open_breaker_lets_one_through_at_a_time() {
        let (mut lane, limits) = (Lane::new(), Limits::default());
        while !lane.learn(10, true) {}
        assert!(lane.may_start(0, &limits));
        assert_eq!(lane.room(0, &limits), 1);
        lane.in_flight = 1;
        assert!(!lane.may_start(1, &limits));
        assert_eq!(lane.room(0, &limits), 0);
        lane.learn(10, false);
        assert!(lane.may_start(1, &limits));
    }

    #[test]
    fn a_slow_channel_holds_few_leases() {
        let (mut slow, mut fast, limits) = (Lane::new(), Lane::new(), Limits::default());
        for _ in 0..100 {
            slow.learn(15_000, false);
            fast.learn(1, false);
        }
        assert!(slow.room(0, &limits) <= 2 * limits.channel_slots);
        assert_eq!(fast.room(0, &limits), limits.channel_ready_max);
    }

    #[test]
    fn a_crowd_is_worth_waiting_for_if_it_is_soon_gone() {
        let (mut lane, limits) = (Lane::new(), Limits::default());
        lane.reserved = CROWD;
        assert!(!lane.is_crowded(10, CROWD, &limits), "nobody knows yet how fast it is: it may hang");
        assert!(lane.is_crowded(100, CROWD, &limits), "a batch can wait for that");
        lane.learn(9_000, false);
        assert!(!lane.is_crowded(1, CROWD, &limits));
        for _ in 0..100 {
            lane.learn(2, false);
        }
        assert!(lane.is_crowded(1, CROWD, &limits));
        lane.reserved = 0;
        lane.behind = 1;
        assert!(lane.is_crowded(1, 0, &limits), "the one that fell behind is soon sent, too");
        lane.behind = 500_000;
        assert!(!lane.is_crowded(1, CROWD, &limits), "that would take too long");
        assert_eq!((lane.caught_up(3, false), lane.caught_up(9, true)), (3, 499_997));
        lane.reserved = limits.channel_slots;
        assert!(!lane.is_crowded(1, CROWD, &limits));
        assert!(lane.is_crowded(1, limits.node_ready_max / 2, &limits), "the node is filling up");
    }

    proptest! {
        #[test]
        fn every_channel_can_always_have_its_own_slots(
            in_flight in 0usize..4, node in 0usize..2_000, ready in 0usize..20_000, took in 0u32..100_000
        ) {
            let (mut lane, limits) = (Lane::new(), Limits::default());
            lane.learn(took, false);
            lane.in_flight = in_flight;
            prop_assert!(lane.may_start(node, &limits));
            prop_assert!(lane.room(ready, &limits) >= limits.own_slots - in_flight);
        }
    }
}
