//! Resend: sent or failed deliveries are made due again by hand.

use tidings_domain::delivery::{AttemptTrigger, SkipReason, Status};
use tidings_domain::gate::Gate;
use tidings_domain::id::DeliveryId;

use super::fixture::{Fixture, Tenant};
use super::samples::{NOW, after_ms, assert_refused, attempted, lease, stopped, unattempted};
use crate::queue::{InitialState, NewDelivery, NextState, Resend};

impl Fixture {
    fn resend_of(&self, id: DeliveryId) -> Resend {
        Resend { workspace_id: self.ours.id, delivery_id: id, rule_generation: 5, now: after_ms(900) }
    }
}

pub(super) async fn resend_sent_or_failed_is_due(fixture: Fixture) {
    for status in [Status::Sent, Status::Failed] {
        let id = fixture.accept_settled(fixture.ours, status, after_ms(50)).await;
        fixture.store.resend(fixture.resend_of(id), None).await.unwrap();
        let found = fixture.read(fixture.ours, id).await;
        assert_eq!((found.status, found.next_attempt_at), (Status::Pending, Some(after_ms(900))));
        assert_eq!((found.completed_at, found.attempt_count), (None, 1));
        let claimed = fixture.claim(fixture.ours, after_ms(900), lease(1, 9_000), 9).await;
        assert!(claimed.iter().map(|one| (one.id, one.rule_generation)).eq([(id, 5)]));
    }
}

pub(super) async fn resend_unattempted_or_in_progress_is_conflict(fixture: Fixture) {
    let ours = fixture.ours;
    let sending = fixture.accept_and_claim(ours).await.id;
    let suppressed = fixture.accept_one(ours, InitialState::Suppressed).await;
    let skipped = fixture.accept_and_claim(ours).await;
    fixture.store.settle(unattempted(&skipped, NextState::Skipped(SkipReason::RuleDisabled))).await.unwrap();
    let stopped_late = fixture.accept_and_claim(ours).await;
    let evaluation = stopped(Gate::ChannelDisabled, NOW);
    fixture.store.settle(unattempted(&stopped_late, NextState::Suppressed(evaluation))).await.unwrap();
    let pending = fixture.accept_one_at(ours, InitialState::Due, after_ms(5_000)).await;
    for id in [pending, sending, suppressed, skipped.id, stopped_late.id] {
        let before = format!("{:?}", fixture.read(ours, id).await);
        assert_refused!(fixture.store.resend(fixture.resend_of(id), None).await, Conflict);
        assert_eq!(format!("{:?}", fixture.read(ours, id).await), before);
    }
    assert_refused!(fixture.store.resend(fixture.resend_of(fixture.id()), None).await, NotFound);
}

pub(super) async fn resend_restarts_policy_and_keeps_attempt_numbers(fixture: Fixture) {
    let ours = fixture.ours;
    let first = fixture.accept_and_claim(ours).await;
    fixture.store.settle(attempted(&first, NextState::RetryAt(NOW))).await.unwrap();
    let second = fixture.claim(ours, NOW, lease(1, 9_000), 1).await.remove(0);
    fixture.store.settle(attempted(&second, NextState::Done(Status::Failed))).await.unwrap();
    fixture.store.resend(fixture.resend_of(first.id), None).await.unwrap();

    let third = fixture.claim(ours, after_ms(900), lease(1, 9_000), 1).await.remove(0);
    assert_eq!((third.attempt_count, third.attempt_base), (2, 2));
    assert_eq!(third.attempt_trigger, AttemptTrigger::Resend);
    fixture.store.settle(attempted(&third, NextState::RetryAt(after_ms(950)))).await.unwrap();

    let fourth = fixture.claim(ours, after_ms(950), lease(1, 9_000), 1).await.remove(0);
    assert_eq!((fourth.attempt_count, fourth.attempt_base), (3, 2));
    assert_eq!(fourth.attempt_trigger, AttemptTrigger::Scheduled, "a retry is the engine's own again");
    fixture.store.settle(attempted(&fourth, NextState::Done(Status::Sent))).await.unwrap();

    let attempts = fixture.read(ours, first.id).await.attempts;
    use AttemptTrigger::{Resend, Scheduled};
    let recorded: Vec<_> = attempts.iter().map(|attempt| (attempt.number, attempt.trigger)).collect();
    assert_eq!(recorded, [(1, Scheduled), (2, Scheduled), (3, Resend), (4, Scheduled)]);
}

pub(super) async fn resend_test_is_conflict(fixture: Fixture) {
    for (status, rule_id) in [(Status::Failed, None), (Status::Sent, Some(fixture.ours.rule_id))] {
        let mut test = fixture.test(fixture.ours, status, NOW);
        test.rule_id = rule_id;
        let id = test.delivery_id;
        fixture.store.record_test(test).await.unwrap();
        assert_refused!(fixture.store.resend(fixture.resend_of(id), None).await, Conflict);
    }
    assert_eq!(fixture.store.due().await.unwrap(), []);
}

pub(super) async fn resend_without_rule_works_only_individually(fixture: Fixture) {
    let delivery =
        NewDelivery { rule_id: None, rule_generation: 0, ..fixture.delivery(fixture.ours, InitialState::Due) };
    let id = delivery.id;
    fixture.accept(fixture.new_event(fixture.event(fixture.ours), vec![delivery])).await;
    let claimed = fixture.claim(fixture.ours, NOW, lease(1, 9_000), 9).await.remove(0);
    fixture.store.settle(attempted(&claimed, NextState::Done(Status::Failed))).await.unwrap();
    for limit in [None, Some(9)] {
        let Tenant { id, channel_id, .. } = fixture.ours;
        assert_eq!(fixture.store.recover(id, channel_id, NOW, NOW, limit, None).await.unwrap(), 0);
    }
    fixture.store.resend(Resend { rule_generation: 0, ..fixture.resend_of(id) }, None).await.unwrap();
    let again = fixture.claim(fixture.ours, after_ms(900), lease(1, 9_000), 9).await.remove(0);
    assert_eq!((again.id, again.rule_id, again.attempt_trigger), (id, None, AttemptTrigger::Resend));
}
