//! Tests over random sequences: no delivery is lost, no channel starves, the limits hold.

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

use super::super::channel_queue::{AttemptSample, Limits};
use super::{ChannelQueues, Ready};

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
        due_at: NOW,
        attempt_count: 0,
        attempt_base: 0,
        attempt_trigger: AttemptTrigger::Scheduled,
        attempt_state: None,
        lease: Lease { owner: 1, until: NOW },
    }
}

fn attempt_sample(is_outage: bool) -> Option<AttemptSample> {
    Some(AttemptSample { duration_ms: 10, is_outage, is_delivered: !is_outage, rate: None })
}

/// Queues with their attempts in progress, driven by hand.
struct Simulation {
    queues: ChannelQueues,
    limits: Limits,
    in_progress: Vec<Claimed>,
    started: HashSet<DeliveryId>,
    returned: HashSet<DeliveryId>,
    enqueued: u32,
}

impl Simulation {
    fn new(limits: Limits) -> Self {
        let queues = ChannelQueues::new(limits);
        Self { queues, limits, in_progress: vec![], started: HashSet::new(), returned: HashSet::new(), enqueued: 0 }
    }

    fn enqueue(&mut self, channel_number: u8) {
        self.enqueued += 1;
        let mut ready = Ready::default();
        self.queues.enqueue(claimed(channel_number, self.enqueued), NOW, &mut ready);
        self.returned.extend(ready.return_leases.iter().map(|lease| lease.delivery_id));
        self.start(ready.start);
    }

    fn complete(&mut self, pick: usize, sample: Option<AttemptSample>) {
        if self.in_progress.is_empty() {
            return;
        }
        let ended = self.in_progress.swap_remove(pick % self.in_progress.len());
        let completion = self.queues.complete(ended.channel_id, NOW, sample);
        self.returned.extend(completion.return_leases.iter().map(|lease| lease.delivery_id));
        self.start(completion.start);
    }

    fn start(&mut self, start: Vec<Claimed>) {
        for claimed in start {
            assert!(self.started.insert(claimed.id), "started twice");
            self.in_progress.push(claimed);
        }
        let mut per_channel: BTreeMap<ChannelId, usize> = BTreeMap::new();
        for claimed in &self.in_progress {
            *per_channel.entry(claimed.channel_id).or_default() += 1;
        }
        let own = per_channel.len() * self.limits.guaranteed_slots;
        assert!(self.in_progress.len() <= self.limits.node_slots + own, "the node's limit holds");
        assert_eq!(self.queues.in_flight(), self.in_progress.len());
    }
}

proptest! {
    #[test]
    fn every_enqueued_delivery_is_started_or_its_lease_returned(
        steps in proptest::collection::vec((0u8..5, any::<usize>(), 0u8..4), 1..400), down in 0u8..6
    ) {
        let limits = Limits { node_slots: 8, channel_slots: 3, guaranteed_slots: 1, ..Limits::default() };
        let mut game = Simulation::new(limits);
        for (channel_number, pick, action) in steps {
            if action < 3 {
                game.enqueue(channel_number);
            } else {
                let is_outage = game.in_progress.get(pick % game.in_progress.len().max(1))
                    .is_some_and(|claimed| claimed.channel_id == channel(down));
                game.complete(pick, attempt_sample(is_outage));
            }
        }
        while !game.in_progress.is_empty() {
            game.complete(0, attempt_sample(false));
        }
        prop_assert_eq!(game.started.len() + game.returned.len(), game.enqueued as usize);
        prop_assert!(game.started.is_disjoint(&game.returned));
        prop_assert_eq!(game.queues.ready(), 0);
    }
}

#[test]
fn long_backlog_does_not_delay_other_channel() {
    let limits = Limits { node_slots: 8, channel_slots: 4, guaranteed_slots: 1, ..Limits::default() };
    let mut game = Simulation::new(limits);
    for _ in 0..1_000 {
        game.enqueue(1);
    }
    game.enqueue(2);
    assert!(game.in_progress.iter().any(|claimed| claimed.channel_id == channel(2)), "it starts at once");
}

#[test]
fn closed_breaker_restores_full_concurrency() {
    let limits = Limits::default();
    let mut game = Simulation::new(limits);
    for _ in 0..40 {
        game.enqueue(1);
    }
    while !game.in_progress.is_empty() {
        game.complete(0, attempt_sample(true));
    }
    for _ in 0..20 {
        game.enqueue(1);
    }
    assert_eq!(game.in_progress.len(), 1, "the breaker is open");
    game.complete(0, attempt_sample(false));
    assert_eq!(game.in_progress.len(), 19, "all of the rest");
}

#[test]
fn reserve_does_not_overtake_due_deliveries() {
    let mut queues = ChannelQueues::new(Limits::default());
    assert!(queues.reserve(channel(1), NOW));
    queues.note_due(channel(1), NOW);
    assert!(!queues.reserve(channel(1), NOW), "it goes behind what is due");
    let plan = queues.plan_claims(NOW);
    assert_eq!(plan.len(), 1);
    let (ready, is_drained) = queues.absorb_claims(&plan, vec![claimed(1, 1)], NOW);
    assert!(ready.start.len() == 1 && is_drained);
    assert!(queues.reserve(channel(1), NOW), "the store is drained");
}

#[test]
fn congestion_clears_after_failed_commit() {
    let mut queues = ChannelQueues::new(Limits::default());
    queues.note_due(channel(1), NOW);
    assert!(!queues.reserve(channel(1), NOW));
    assert!(queues.is_under_pressure());
    assert!(queues.congested(&[channel(1)], 100).is_some(), "one is about to wait in the store");
    assert!(queues.congested(&[channel(2)], 100).is_none(), "congestion is per channel");
    // The commit failed: the next claim finds nothing.
    let plan = queues.plan_claims(NOW);
    queues.absorb_claims(&plan, vec![], NOW);
    assert!(!queues.is_under_pressure() && queues.congested(&[channel(1)], 100).is_none());
}

#[test]
fn stop_starts_nothing_and_returns_waiting_leases() {
    let limits = Limits { node_slots: 2, channel_slots: 1, guaranteed_slots: 1, ..Limits::default() };
    let mut game = Simulation::new(limits);
    for _ in 0..5 {
        game.enqueue(1);
    }
    let in_progress = game.in_progress.len();
    assert_eq!(game.queues.stop().len(), 5 - in_progress);
    game.complete(0, None);
    assert_eq!(game.in_progress.len(), in_progress - 1);
    assert!(!game.queues.reserve(channel(1), NOW));
}

#[test]
fn plan_claims_is_bounded_and_rotates() {
    let mut queues = ChannelQueues::new(Limits::default());
    for n in 0..100 {
        queues.note_due(channel(n), NOW);
    }
    let mut served = HashSet::new();
    for _ in 0..20 {
        let plan = queues.plan_claims(NOW);
        assert!(plan.iter().map(|(_, count)| *count).sum::<u32>() <= 128);
        served.extend(plan.iter().map(|(id, _)| *id));
        queues.cancel_reservations(&plan);
    }
    assert_eq!(served.len(), 100, "every channel gets its turn");

    let mut queues = ChannelQueues::new(Limits::default());
    queues.note_due(channel(1), NOW);
    assert_eq!(queues.plan_claims(NOW), [(channel(1), 32)], "a claim is a write that blocks other writers");
}

#[test]
fn reserve_respects_byte_limit() {
    let limits = Limits {
        node_slots: 1,
        guaranteed_slots: 1,
        channel_slots: 1,
        node_ready_bytes_max: 3_000,
        ..Limits::default()
    };
    let mut game = Simulation::new(limits);
    for _ in 0..5 {
        game.enqueue(1);
    }
    assert!(!game.queues.reserve(channel(1), NOW), "it waits in the store");
    assert!(game.queues.reserve(channel(2), NOW), "another channel still has its own slots");
}
