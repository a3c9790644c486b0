//! Holding: what a gate holds back waits for its instant, and is nobody's to send until then.

use tidings_domain::delivery::Status;
use tidings_domain::gate::Gate;
use tidings_domain::id::DeliveryId;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

use super::samples::{NOW, after_ms, assert_same_event, held, lease, passed, stopped, tried, untried};
use super::world::{HELD_MS, Tenant, World};
use crate::StoreError;
use crate::history::DeliveryFilter;
use crate::queue::{Counts, Due, HeldDelivery, InitialState, NewDelivery, NextState, ReleaseBatch, Resend};

impl World {
    pub(super) async fn held_back(&self, tenant: Tenant, until: Timestamp, limit: u32) -> Vec<HeldDelivery> {
        self.store.list_held(tenant.id, tenant.channel_id, until, limit).await.unwrap()
    }

    /// What of ours is held back, at whatever instant it may go.
    pub(super) async fn all_held(&self) -> Vec<DeliveryId> {
        self.held_back(self.ours, after_ms(900_000), 10_000).await.iter().map(|held| held.id).collect()
    }

    async fn held(&self) -> Vec<Due> {
        let mut held = self.store.next_releases().await.unwrap();
        held.sort_by_key(|due| due.channel_id);
        held
    }

    /// A release of nothing from our channel.
    pub(super) fn release(&self, now: Timestamp) -> ReleaseBatch {
        ReleaseBatch {
            workspace_id: self.ours.id,
            channel_id: self.ours.channel_id,
            now,
            stopped: vec![],
            individual: vec![],
            digest: None,
            rate_limit: None,
        }
    }
}

pub(super) async fn what_is_held_is_in_the_log_and_not_due(world: World) {
    let (ours, event) = (world.ours, world.event(world.ours));
    let delivery = world.delivery(ours, InitialState::Held);
    let id = delivery.id;
    let answer = world.accept(world.new_event(event, vec![delivery])).await;
    assert_eq!((answer.counts, answer.not_leased), (Counts { held: 1, ..Counts::default() }, vec![]));
    let found = world.read(ours, id).await;
    assert_eq!((found.status, found.reason.as_deref()), (Status::Held, Some("quiet_hours")));
    assert_eq!((found.held_until, found.next_attempt_at), (Some(after_ms(HELD_MS)), None));
    assert_eq!((found.completed_at, found.digest_id, found.sequence), (None, None, 1));
    assert_eq!(found.gate_evaluations, [held(NOW, after_ms(HELD_MS))]);
    assert_eq!(world.store.due().await.unwrap(), []);
    assert!(world.claim(ours, after_ms(900_000), lease(1, 1), 9).await.is_empty());
    assert_eq!(world.store.reclaim_leases(after_ms(9), 9).await.unwrap(), 0);
    let resend = Resend { workspace_id: ours.id, delivery_id: id, rule_generation: 1, now: NOW };
    assert_eq!(world.store.resend(resend).await, Err(StoreError::Conflict));
    let by_reason =
        |reason: &str| DeliveryFilter { reason: Some(reason.into()), limit: 9, ..DeliveryFilter::default() };
    assert_eq!(world.listed(ours, by_reason("quiet_hours")).await, [id]);
    assert_eq!(world.listed(ours, by_reason("rate_limit")).await, []);
}

pub(super) async fn every_channel_says_when_its_first_may_go(world: World) {
    assert_eq!(world.held().await, []);
    let mut expected = Vec::new();
    for number in 0..20 {
        let tenant = if number == 0 { world.theirs } else { world.another_channel().await };
        for at in [9_000, number, 500] {
            world.accept_one_at(tenant, InitialState::Held, after_ms(at)).await;
            world.accept_one_at(tenant, InitialState::Due, NOW).await;
        }
        let at = after_ms(number + HELD_MS);
        expected.push(Due { workspace_id: tenant.id, channel_id: tenant.channel_id, at });
    }
    expected.sort_by_key(|due| due.channel_id);
    assert_eq!(world.held().await, expected);
}

pub(super) async fn what_is_held_back_comes_as_it_was_accepted(world: World) {
    let (ours, event) = (world.ours, world.event(world.ours));
    let delivery = NewDelivery {
        rule_id: None,
        rule_generation: 4,
        severity: Severity::Critical,
        ..world.delivery(ours, InitialState::Held)
    };
    world.accept(world.new_event(event.clone(), vec![delivery.clone()])).await;
    let found = world.held_back(ours, after_ms(HELD_MS), 9).await.remove(0);
    assert_same_event(&found.event, &event);
    assert_eq!((found.id, found.rule_id, found.rule_generation), (delivery.id, None, 4));
    assert_eq!((found.severity, found.evaluation), (Severity::Critical, delivery.evaluation));
}

pub(super) async fn what_is_held_back_comes_in_the_order_of_events(world: World) {
    let mut expected = Vec::new();
    for at in [30, 10, 20, 10, 0] {
        let event = world.event_at(world.ours, after_ms(at));
        // Of what was held last, the instant is the earliest.
        let mut delivery = world.delivery(world.ours, InitialState::Held);
        delivery.evaluation = held(NOW, after_ms(1_000 - at));
        expected.push((event.id, delivery.id));
        world.accept(world.new_event(event, vec![delivery])).await;
    }
    expected.sort();
    let expected: Vec<_> = expected.into_iter().map(|(_, id)| id).collect();
    assert_eq!(world.all_held().await, expected);
    let first: Vec<_> = world.held_back(world.ours, after_ms(1_000), 2).await.iter().map(|held| held.id).collect();
    assert_eq!(first, expected[..2]);
    assert!(world.held_back(world.ours, after_ms(1_000), 0).await.is_empty());
    assert_eq!(world.held_back(world.ours, after_ms(980), 9).await.len(), 2, "those that may go by then");
}

pub(super) async fn only_what_the_channel_holds_is_held_back(world: World) {
    let other = world.another_channel().await;
    let id = world.accept_one(world.ours, InitialState::Held).await;
    for tenant in [other, world.theirs] {
        world.accept_one(tenant, InitialState::Held).await;
    }
    for start in [InitialState::Due, InitialState::Suppressed, InitialState::Leased(lease(1, 9))] {
        world.accept_one(world.ours, start).await;
    }
    assert_eq!(world.all_held().await, [id]);
    let strange = Tenant { id: world.theirs.id, ..world.ours };
    assert!(world.held_back(strange, after_ms(900_000), 9).await.is_empty());
}

pub(super) async fn a_delivery_is_held_when_it_comes_up(world: World) {
    let first = world.claimed(world.ours).await;
    world.store.settle(tried(&first, NextState::RetryAt(NOW))).await.unwrap();
    let claimed = world.claim(world.ours, NOW, lease(1, 60_000), 1).await.remove(0);
    let evaluation = held(after_ms(50), after_ms(7_000));
    world.store.settle(untried(&claimed, NextState::Held(evaluation.clone()))).await.unwrap();
    let found = world.read(world.ours, claimed.id).await;
    assert_eq!((found.status, found.reason.as_deref()), (Status::Held, Some("quiet_hours")));
    assert_eq!((found.held_until, found.next_attempt_at), (Some(after_ms(7_000)), None));
    assert_eq!((found.gate_evaluations, found.completed_at), (vec![passed(NOW), evaluation.clone()], None));
    assert_eq!((found.attempt_count, found.attempts.len()), (1, 1), "what was tried stays tried");
    assert_eq!(world.held_back(world.ours, after_ms(7_000), 9).await[0].evaluation, evaluation);
    assert_eq!(world.store.due().await.unwrap(), []);
}

pub(super) async fn what_is_held_has_an_instant(world: World) {
    let open = [passed(NOW), stopped(Gate::QuietHours, NOW)];
    for evaluation in open.clone() {
        let delivery = NewDelivery { evaluation, ..world.delivery(world.ours, InitialState::Held) };
        let outcome = world.store.accept(vec![world.new_event(world.event(world.ours), vec![delivery])]).await;
        assert!(matches!(outcome, Err(StoreError::Corrupt(_))), "{outcome:?}");
    }
    let claimed = world.claimed(world.ours).await;
    for evaluation in open {
        let outcome = world.store.settle(untried(&claimed, NextState::Held(evaluation))).await;
        assert!(matches!(outcome, Err(StoreError::Corrupt(_))), "{outcome:?}");
    }
    assert_eq!(world.status(world.ours, claimed.id).await, Status::Sending);
}

pub(super) async fn holds_survive_a_restart(world: World) {
    let id = world.accept_one(world.ours, InitialState::Held).await;
    let claimed = world.claimed(world.ours).await;
    world.store.settle(untried(&claimed, NextState::Held(held(NOW, after_ms(1))))).await.unwrap();
    let before = format!("{:?}", world.read(world.ours, id).await);
    let world = world.reopen().await;
    assert_eq!(format!("{:?}", world.read(world.ours, id).await), before);
    assert_eq!(world.all_held().await, [id, claimed.id]);
    let at = after_ms(1);
    let ours = Due { workspace_id: world.ours.id, channel_id: world.ours.channel_id, at };
    assert_eq!(world.held().await, [ours]);
}
