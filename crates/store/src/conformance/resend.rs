//! Resend: what was settled by an attempt is made due again by hand.

use tidings_domain::delivery::{AttemptTrigger, SkipReason, Status};
use tidings_domain::gate::Gate;
use tidings_domain::id::DeliveryId;

use super::samples::{NOW, after_ms, assert_refused, lease, stopped, tried, untried};
use super::world::{Tenant, World};
use crate::queue::{InitialState, NewDelivery, NextState, Resend};

impl World {
    fn resend(&self, id: DeliveryId) -> Resend {
        Resend { workspace_id: self.ours.id, delivery_id: id, rule_generation: 5, now: after_ms(900) }
    }
}

pub(super) async fn a_sent_or_failed_delivery_is_sent_again(world: World) {
    for status in [Status::Sent, Status::Failed] {
        let id = world.done(world.ours, status, after_ms(50)).await;
        world.store.resend(world.resend(id)).await.unwrap();
        let found = world.read(world.ours, id).await;
        assert_eq!((found.status, found.next_attempt_at), (Status::Pending, Some(after_ms(900))));
        assert_eq!((found.completed_at, found.attempt_count), (None, 1));
        let claimed = world.claim(world.ours, after_ms(900), lease(1, 9_000), 9).await;
        assert!(claimed.iter().map(|one| (one.id, one.rule_generation)).eq([(id, 5)]));
    }
}

pub(super) async fn what_was_not_tried_or_is_under_way_is_not_resent(world: World) {
    let ours = world.ours;
    let sending = world.claimed(ours).await.id;
    let suppressed = world.accept_one(ours, InitialState::Suppressed).await;
    let skipped = world.claimed(ours).await;
    world.store.settle(untried(&skipped, NextState::Skipped(SkipReason::RuleDisabled))).await.unwrap();
    let stopped_late = world.claimed(ours).await;
    let evaluation = stopped(Gate::ChannelDisabled, NOW);
    world.store.settle(untried(&stopped_late, NextState::Suppressed(evaluation))).await.unwrap();
    let pending = world.accept_one_at(ours, InitialState::Due, after_ms(5_000)).await;
    for id in [pending, sending, suppressed, skipped.id, stopped_late.id] {
        let before = format!("{:?}", world.read(ours, id).await);
        assert_refused!(world.store.resend(world.resend(id)).await, Conflict);
        assert_eq!(format!("{:?}", world.read(ours, id).await), before);
    }
    assert_refused!(world.store.resend(world.resend(world.id())).await, NotFound);
}

pub(super) async fn a_resend_restarts_the_policy_and_not_the_numbers(world: World) {
    let ours = world.ours;
    let first = world.claimed(ours).await;
    world.store.settle(tried(&first, NextState::RetryAt(NOW))).await.unwrap();
    let second = world.claim(ours, NOW, lease(1, 9_000), 1).await.remove(0);
    world.store.settle(tried(&second, NextState::Done(Status::Failed))).await.unwrap();
    world.store.resend(world.resend(first.id)).await.unwrap();

    let third = world.claim(ours, after_ms(900), lease(1, 9_000), 1).await.remove(0);
    assert_eq!((third.attempt_count, third.attempt_base), (2, 2));
    assert_eq!(third.attempt_trigger, AttemptTrigger::Resend);
    world.store.settle(tried(&third, NextState::RetryAt(after_ms(950)))).await.unwrap();

    let fourth = world.claim(ours, after_ms(950), lease(1, 9_000), 1).await.remove(0);
    assert_eq!((fourth.attempt_count, fourth.attempt_base), (3, 2));
    assert_eq!(fourth.attempt_trigger, AttemptTrigger::Scheduled, "a retry is the engine's own again");
    world.store.settle(tried(&fourth, NextState::Done(Status::Sent))).await.unwrap();

    let attempts = world.read(ours, first.id).await.attempts;
    use AttemptTrigger::{Resend, Scheduled};
    let told: Vec<_> = attempts.iter().map(|attempt| (attempt.number, attempt.trigger)).collect();
    assert_eq!(told, [(1, Scheduled), (2, Scheduled), (3, Resend), (4, Scheduled)]);
}

pub(super) async fn a_test_is_not_resent(world: World) {
    for (status, rule_id) in [(Status::Failed, None), (Status::Sent, Some(world.ours.rule_id))] {
        let mut test = world.test(world.ours, status, NOW);
        test.rule_id = rule_id;
        let id = test.delivery_id;
        world.store.record_test(test).await.unwrap();
        assert_refused!(world.store.resend(world.resend(id)).await, Conflict);
    }
    assert_eq!(world.store.due().await.unwrap(), []);
}

pub(super) async fn what_has_no_rule_is_resent_one_by_one(world: World) {
    let delivery = NewDelivery { rule_id: None, rule_generation: 0, ..world.delivery(world.ours, InitialState::Due) };
    let id = delivery.id;
    world.accept(world.new_event(world.event(world.ours), vec![delivery])).await;
    let claimed = world.claim(world.ours, NOW, lease(1, 9_000), 9).await.remove(0);
    world.store.settle(tried(&claimed, NextState::Done(Status::Failed))).await.unwrap();
    for limit in [None, Some(9)] {
        let Tenant { id, channel_id, .. } = world.ours;
        assert_eq!(world.store.recover(id, channel_id, NOW, NOW, limit).await.unwrap(), 0);
    }
    world.store.resend(Resend { rule_generation: 0, ..world.resend(id) }).await.unwrap();
    let again = world.claim(world.ours, after_ms(900), lease(1, 9_000), 9).await.remove(0);
    assert_eq!((again.id, again.rule_id, again.attempt_trigger), (id, None, AttemptTrigger::Resend));
}
