//! Tests of slots, capacity and congestion of one channel.

use super::*;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_unix_ms(1_000_000);

fn sample(duration_ms: u32, is_outage: bool) -> AttemptSample {
    AttemptSample { duration_ms, is_outage, is_delivered: !is_outage, rate: None }
}

#[test]
fn has_free_slot_lends_unused_slots_but_not_the_last_half() {
    let (mut queue, limits) = (ChannelQueue::new(), Limits::default());
    queue.in_flight = limits.channel_slots;
    assert!(queue.has_free_slot(limits.channel_slots, &limits, NOW), "the node is mostly free");
    assert!(!queue.has_free_slot(limits.node_slots / 2, &limits, NOW), "half of it is in use");
    queue.in_flight = limits.channel_slots - 1;
    assert!(queue.has_free_slot(limits.node_slots - 1, &limits, NOW));
    assert!(!queue.has_free_slot(limits.node_slots, &limits, NOW));
    queue.in_flight = limits.guaranteed_slots - 1;
    assert!(queue.has_free_slot(limits.node_slots, &limits, NOW), "own slots are guaranteed");
}

#[test]
fn open_breaker_allows_one_attempt_at_a_time() {
    let (mut queue, limits) = (ChannelQueue::new(), Limits::default());
    while !queue.record_outcome(sample(10, true), NOW).breaker_opened {}
    assert!(queue.has_free_slot(0, &limits, NOW));
    assert_eq!(queue.free_capacity(0, &limits, NOW), 1);
    queue.in_flight = 1;
    assert!(!queue.has_free_slot(1, &limits, NOW));
    assert_eq!(queue.free_capacity(0, &limits, NOW), 0);
    queue.record_outcome(sample(10, false), NOW);
    assert!(queue.has_free_slot(1, &limits, NOW));
}

#[test]
fn free_capacity_of_slow_channel_is_small() {
    let (mut slow, mut fast, limits) = (ChannelQueue::new(), ChannelQueue::new(), Limits::default());
    for _ in 0..100 {
        slow.record_outcome(sample(15_000, false), NOW);
        fast.record_outcome(sample(1, false), NOW);
    }
    assert!(slow.free_capacity(0, &limits, NOW) <= 2 * limits.channel_slots);
    assert_eq!(fast.free_capacity(0, &limits, NOW), limits.channel_ready_max);
}

#[test]
fn is_congested_only_if_it_clears_soon() {
    let (mut queue, limits) = (ChannelQueue::new(), Limits::default());
    queue.reserved = CONGESTION_MIN;
    assert!(!queue.is_congested(10, CONGESTION_MIN, &limits), "its speed is unknown yet: it may hang");
    assert!(queue.is_congested(100, CONGESTION_MIN, &limits), "a large batch waits for that");
    queue.record_outcome(sample(9_000, false), NOW);
    assert!(!queue.is_congested(1, CONGESTION_MIN, &limits));
    for _ in 0..100 {
        queue.record_outcome(sample(2, false), NOW);
    }
    assert!(queue.is_congested(1, CONGESTION_MIN, &limits));
    queue.reserved = 0;
    queue.backlog = 1;
    assert!(queue.is_congested(1, 0, &limits), "a short backlog clears soon, too");
    queue.backlog = 500_000;
    assert!(!queue.is_congested(1, CONGESTION_MIN, &limits), "it would take too long to clear");
    assert_eq!((queue.clear_backlog(3, false, NOW), queue.clear_backlog(9, true, NOW)), (3, 499_997));
    queue.reserved = limits.channel_slots;
    assert!(!queue.is_congested(1, CONGESTION_MIN, &limits));
    assert!(queue.is_congested(1, limits.node_ready_max / 2, &limits), "the node is filling up");
}

proptest! {
    #[test]
    fn own_slots_are_always_available(
        in_flight in 0usize..4, node in 0usize..2_000, ready in 0usize..20_000, took in 0u32..100_000
    ) {
        let (mut queue, limits) = (ChannelQueue::new(), Limits::default());
        queue.record_outcome(sample(took, false), NOW);
        queue.in_flight = in_flight;
        prop_assert!(queue.has_free_slot(node, &limits, NOW));
        prop_assert!(queue.free_capacity(ready, &limits, NOW) >= limits.guaranteed_slots - in_flight);
    }
}
