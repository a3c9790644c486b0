//! Tests of the lanes over random histories: nothing is forgotten, nobody starves, the limits hold.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::AttemptTrigger;
use tidings_domain::event::Event;
use tidings_domain::id::{ChannelId, DeliveryId, EventId, Id, RuleId, WorkspaceId};
use tidings_domain::resource::ResourceType;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_store::queue::{Claimed, Lease};

use super::channel_queue::Limits;
use super::channel_queues::Lanes;

const NOW: Timestamp = Timestamp::from_unix_ms(1_000_000);

fn channel(n: u8) -> ChannelId {
    ChannelId::from_bytes([n; 16])
}

fn claimed(channel_number: u8, number: u32) -> Claimed {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let event = Event::sample(EventId::from_bytes(id), WorkspaceId::from_bytes([1; 16]), ResourceType::Flow, "f", NOW);
    Claimed {
        id: DeliveryId::from_bytes(id),
        event: Arc::new(event),
        rule_id: Some(RuleId::from_bytes([2; 16])),
        rule_generation: 1,
        channel_id: channel(channel_number),
        channel_type: ChannelType::Webhook,
        severity: Severity::Info,
        attempt_count: 0,
        attempt_base: 0,
        attempt_trigger: AttemptTrigger::Scheduled,
        attempt_state: None,
        blocked_by: None,
        lease: Lease { owner: 1, until: NOW },
    }
}

/// Lanes with what is under way, played by hand.
struct Game {
    lanes: Lanes,
    limits: Limits,
    under_way: Vec<Claimed>,
    started: HashSet<DeliveryId>,
    given_back: HashSet<DeliveryId>,
    offered: u32,
}

impl Game {
    fn new(limits: Limits) -> Self {
        let lanes = Lanes::new(limits);
        Self { lanes, limits, under_way: vec![], started: HashSet::new(), given_back: HashSet::new(), offered: 0 }
    }

    fn offer(&mut self, channel_number: u8) {
        self.offered += 1;
        let mut start = Vec::new();
        self.lanes.offer(claimed(channel_number, self.offered), &mut start);
        self.begin(start);
    }

    fn finish(&mut self, pick: usize, took: Option<(u32, bool)>) {
        if self.under_way.is_empty() {
            return;
        }
        let ended = self.under_way.swap_remove(pick % self.under_way.len());
        let finished = self.lanes.finish(ended.channel_id, NOW, took);
        self.given_back.extend(finished.give_back.iter().map(|held| held.delivery_id));
        self.begin(finished.start);
    }

    fn begin(&mut self, start: Vec<Claimed>) {
        for claimed in start {
            assert!(self.started.insert(claimed.id), "started twice");
            self.under_way.push(claimed);
        }
        let mut of_channel: BTreeMap<ChannelId, usize> = BTreeMap::new();
        for claimed in &self.under_way {
            *of_channel.entry(claimed.channel_id).or_default() += 1;
        }
        let own = of_channel.len() * self.limits.own_slots;
        assert!(self.under_way.len() <= self.limits.node_slots + own, "the node's limit holds");
        assert_eq!(self.lanes.in_flight(), self.under_way.len());
    }
}

proptest! {
    #[test]
    fn all_that_is_offered_is_started_or_given_back(
        steps in proptest::collection::vec((0u8..5, any::<usize>(), 0u8..4), 1..400), down in 0u8..6
    ) {
        let limits = Limits { node_slots: 8, channel_slots: 3, own_slots: 1, ..Limits::default() };
        let mut game = Game::new(limits);
        for (channel_number, pick, what) in steps {
            if what < 3 {
                game.offer(channel_number);
            } else {
                let outage = game.under_way.get(pick % game.under_way.len().max(1))
                    .is_some_and(|claimed| claimed.channel_id == channel(down));
                game.finish(pick, Some((10, outage)));
            }
        }
        while !game.under_way.is_empty() {
            game.finish(0, Some((10, false)));
        }
        prop_assert_eq!(game.started.len() + game.given_back.len(), game.offered as usize);
        prop_assert!(game.started.is_disjoint(&game.given_back));
        prop_assert_eq!(game.lanes.ready(), 0);
    }
}

#[test]
fn a_channel_with_a_huge_backlog_does_not_hold_up_another() {
    let limits = Limits { node_slots: 8, channel_slots: 4, own_slots: 1, ..Limits::default() };
    let mut game = Game::new(limits);
    for _ in 0..1_000 {
        game.offer(1);
    }
    game.offer(2);
    assert!(game.under_way.iter().any(|claimed| claimed.channel_id == channel(2)), "it starts at once");
}

#[test]
fn when_a_destination_answers_again_its_channel_is_back_at_full_speed() {
    let limits = Limits::default();
    let mut game = Game::new(limits);
    for _ in 0..40 {
        game.offer(1);
    }
    while !game.under_way.is_empty() {
        game.finish(0, Some((10, true)));
    }
    for _ in 0..20 {
        game.offer(1);
    }
    assert_eq!(game.under_way.len(), 1, "the breaker is open");
    game.finish(0, Some((10, false)));
    assert_eq!(game.under_way.len(), 19, "all of the rest");
}

#[test]
fn what_waits_in_the_store_is_not_overtaken() {
    let mut lanes = Lanes::new(Limits::default());
    assert!(lanes.reserve(channel(1), NOW));
    lanes.note_due(channel(1), NOW);
    assert!(!lanes.reserve(channel(1), NOW), "it goes behind what is due");
    let wanted = lanes.wanted(NOW);
    assert_eq!(wanted.len(), 1);
    let (start, drained) = lanes.fetched(&wanted, vec![claimed(1, 1)]);
    assert!(start.len() == 1 && drained);
    assert!(lanes.reserve(channel(1), NOW), "nothing waits any more");
}

#[test]
fn nobody_is_held_back_for_what_never_came() {
    let mut lanes = Lanes::new(Limits::default());
    lanes.note_due(channel(1), NOW);
    assert!(!lanes.reserve(channel(1), NOW));
    assert!(lanes.is_pressed());
    assert!(lanes.crowded(&[channel(1)], 100).is_some(), "one is about to wait in the store");
    assert!(lanes.crowded(&[channel(2)], 100).is_none(), "another channel's crowd is nobody else's");
    // Its commit failed: the next look finds nothing.
    let wanted = lanes.wanted(NOW);
    lanes.fetched(&wanted, vec![]);
    assert!(!lanes.is_pressed() && lanes.crowded(&[channel(1)], 100).is_none());
}

#[test]
fn a_stop_starts_nothing_more_and_gives_back_what_waits() {
    let limits = Limits { node_slots: 2, channel_slots: 1, own_slots: 1, ..Limits::default() };
    let mut game = Game::new(limits);
    for _ in 0..5 {
        game.offer(1);
    }
    let under_way = game.under_way.len();
    assert_eq!(game.lanes.stop().len(), 5 - under_way);
    game.finish(0, None);
    assert_eq!(game.under_way.len(), under_way - 1);
    assert!(!game.lanes.reserve(channel(1), NOW));
}

#[test]
fn a_fetch_is_bounded_and_takes_turns() {
    let mut lanes = Lanes::new(Limits::default());
    for n in 0..100 {
        lanes.note_due(channel(n), NOW);
    }
    let mut served = HashSet::new();
    for _ in 0..20 {
        let wanted = lanes.wanted(NOW);
        assert!(wanted.iter().map(|(_, count)| *count).sum::<u32>() <= 128);
        served.extend(wanted.iter().map(|(id, _)| *id));
        lanes.give_up(&wanted);
    }
    assert_eq!(served.len(), 100, "every channel gets its turn");

    let mut lanes = Lanes::new(Limits::default());
    lanes.note_due(channel(1), NOW);
    assert_eq!(lanes.wanted(NOW), [(channel(1), 32)], "a fetch is a write, for which everybody waits");
}

#[test]
fn memory_is_bounded_in_bytes_as_well() {
    let limits =
        Limits { node_slots: 1, own_slots: 1, channel_slots: 1, node_ready_bytes_max: 3_000, ..Limits::default() };
    let mut game = Game::new(limits);
    for _ in 0..5 {
        game.offer(1);
    }
    assert!(!game.lanes.reserve(channel(1), NOW), "it waits in the store");
    assert!(game.lanes.reserve(channel(2), NOW), "another channel still has its own slots");
}
