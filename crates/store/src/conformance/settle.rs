//! Settle: an attempt and the state that it leads to, fenced by lease owner and attempt number.

use std::sync::Arc;

use tidings_domain::delivery::{AttemptTrigger, SkipReason, Status};
use tidings_domain::gate::Gate;

use super::samples::{NOW, after_ms, attempt, lease, passed, stopped, tried, untried};
use super::world::World;
use crate::history::DeliveryRecord;
use crate::queue::{Attempt, InitialState, NextState, Settled, Settlement};

impl World {
    async fn settle(&self, settlement: Settlement) -> Settled {
        self.store.settle(settlement).await.unwrap()
    }
}

/// Everything of a delivery that a settlement may change.
fn facts(delivery: &DeliveryRecord) -> String {
    format!("{delivery:?}")
}

pub(super) async fn a_sent_delivery_is_done(world: World) {
    let claimed = world.claimed(world.ours).await;
    assert_eq!(world.settle(tried(&claimed, NextState::Done(Status::Sent))).await, Settled::Written);
    let sent = world.read(world.ours, claimed.id).await;
    assert_eq!((sent.status, sent.attempt_count, sent.http_status), (Status::Sent, 1, Some(204)));
    assert_eq!((sent.sent_at, sent.completed_at), (Some(after_ms(50)), Some(after_ms(50))));
    assert_eq!((sent.last_error, sent.next_attempt_at, sent.reason), (None, None, None));
    assert_eq!(sent.attempts, [attempt(1, true)]);
    assert!(world.claim(world.ours, after_ms(99_999), lease(2, 1), 9).await.is_empty());
}

pub(super) async fn a_failed_delivery_is_done(world: World) {
    let claimed = world.claimed(world.ours).await;
    assert_eq!(world.settle(tried(&claimed, NextState::Done(Status::Failed))).await, Settled::Written);
    let failed = world.read(world.ours, claimed.id).await;
    assert_eq!((failed.status, failed.attempt_count, failed.http_status), (Status::Failed, 1, Some(502)));
    assert_eq!(failed.last_error.as_deref(), Some("HTTP 502 — expected 2xx"));
    assert_eq!((failed.sent_at, failed.completed_at, failed.next_attempt_at), (None, Some(after_ms(50)), None));
    assert_eq!(failed.attempts, [attempt(1, false)]);
}

pub(super) async fn a_retry_waits_for_its_instant(world: World) {
    let claimed = world.claimed(world.ours).await;
    assert_eq!(world.settle(tried(&claimed, NextState::RetryAt(after_ms(500)))).await, Settled::Written);
    let waiting = world.read(world.ours, claimed.id).await;
    assert_eq!((waiting.status, waiting.next_attempt_at), (Status::Pending, Some(after_ms(500))));
    assert_eq!((waiting.attempt_count, waiting.completed_at, waiting.sent_at), (1, None, None));
    assert!(world.claim(world.ours, after_ms(499), lease(2, 900), 9).await.is_empty());

    let again = world.claim(world.ours, after_ms(500), lease(2, 900), 9).await.pop().expect("it is due");
    assert_eq!((again.id, again.attempt_count), (claimed.id, 1));
    world.settle(tried(&again, NextState::Done(Status::Sent))).await;
    let sent = world.read(world.ours, claimed.id).await;
    assert_eq!(sent.attempts, [attempt(1, false), attempt(2, true)]);
    assert_eq!((sent.attempt_count, sent.last_error), (2, None), "the last attempt is what counts");
}

pub(super) async fn another_owner_is_stale(world: World) {
    let claimed = world.claimed(world.ours).await;
    let taken_over = world.claim(world.ours, after_ms(60_000), lease(2, 90_000), 1).await.remove(0);
    assert_eq!(world.settle(tried(&claimed, NextState::Done(Status::Sent))).await, Settled::Stale);
    assert_eq!(world.settle(tried(&taken_over, NextState::Done(Status::Failed))).await, Settled::Written);
    assert_eq!(world.status(world.ours, claimed.id).await, Status::Failed);
}

pub(super) async fn another_attempt_number_is_stale(world: World) {
    let first = world.claimed(world.ours).await;
    world.settle(tried(&first, NextState::RetryAt(NOW))).await;
    // The same owner has it again: only the number tells the two apart.
    let second = world.claim(world.ours, NOW, lease(1, 60_000), 1).await.remove(0);
    assert_eq!(world.settle(tried(&first, NextState::Done(Status::Failed))).await, Settled::Stale);
    assert_eq!(world.settle(tried(&second, NextState::Done(Status::Sent))).await, Settled::Written);
}

pub(super) async fn a_second_settlement_is_stale(world: World) {
    for next in [
        NextState::Done(Status::Sent),
        NextState::RetryAt(after_ms(9_000)),
        NextState::Skipped(SkipReason::RuleDisabled),
    ] {
        let claimed = world.claimed(world.ours).await;
        assert_eq!(world.settle(untried(&claimed, next)).await, Settled::Written);
        assert_eq!(world.settle(untried(&claimed, NextState::Done(Status::Failed))).await, Settled::Stale);
    }
}

pub(super) async fn a_stale_settlement_changes_nothing(world: World) {
    let claimed = world.claimed(world.ours).await;
    let before = facts(&world.read(world.ours, claimed.id).await);
    let evaluation = stopped(Gate::ChannelDisabled, NOW);
    for next in [
        NextState::Done(Status::Sent),
        NextState::RetryAt(NOW),
        NextState::Suppressed(evaluation),
        NextState::Skipped(SkipReason::RuleDisabled),
    ] {
        let mut settlement = tried(&claimed, next);
        settlement.owner = 2;
        settlement.attempt_state = Some("theirs".into());
        assert_eq!(world.settle(settlement).await, Settled::Stale);
        assert_eq!(facts(&world.read(world.ours, claimed.id).await), before);
    }
    let mut gone = tried(&claimed, NextState::Done(Status::Sent));
    gone.delivery_id = world.id();
    assert_eq!(world.settle(gone).await, Settled::Stale, "there is no such delivery");
}

pub(super) async fn a_suppressed_delivery_keeps_every_walk(world: World) {
    let claimed = world.claimed(world.ours).await;
    let evaluation = stopped(Gate::ChannelDisabled, after_ms(40));
    assert_eq!(world.settle(untried(&claimed, NextState::Suppressed(evaluation.clone()))).await, Settled::Written);
    let found = world.read(world.ours, claimed.id).await;
    assert_eq!((found.status, found.completed_at), (Status::Suppressed, Some(after_ms(50))));
    assert_eq!(found.reason.as_deref(), Some("channel_disabled"));
    assert_eq!(found.gate_evaluations, [passed(NOW), evaluation]);
    assert_eq!((found.attempt_count, found.attempts.len()), (0, 0));
}

pub(super) async fn a_skipped_delivery_says_why(world: World) {
    let claimed = world.claimed(world.ours).await;
    assert_eq!(world.settle(untried(&claimed, NextState::Skipped(SkipReason::RuleDisabled))).await, Settled::Written);
    let found = world.read(world.ours, claimed.id).await;
    assert_eq!((found.status, found.completed_at), (Status::Skipped, Some(after_ms(50))));
    assert_eq!(found.reason.as_deref(), Some("rule_disabled"));
    assert_eq!(found.gate_evaluations, [passed(NOW)]);
}

pub(super) async fn a_delivery_is_not_done_with_an_open_status(world: World) {
    let claimed = world.claimed(world.ours).await;
    for status in Status::ALL.into_iter().filter(|status| !status.is_resendable()) {
        let outcome = world.store.settle(untried(&claimed, NextState::Done(status))).await;
        assert!(matches!(outcome, Err(crate::StoreError::Corrupt(_))), "{status:?}: {outcome:?}");
    }
    let mut test = world.test(world.ours, Status::Sent, NOW);
    test.status = Status::Pending;
    assert!(world.store.record_test(test).await.is_err());
    let mut twice = tried(&claimed, NextState::RetryAt(NOW));
    world.settle(twice.clone()).await;
    let again = world.claim(world.ours, NOW, lease(1, 60_000), 1).await.remove(0);
    twice.attempt_count = again.attempt_count;
    assert!(matches!(world.store.settle(twice).await, Err(crate::StoreError::Corrupt(_))));
    assert_eq!(world.status(world.ours, again.id).await, Status::Sending, "an attempt is written once");
}

pub(super) async fn many_at_once_are_all_written(world: World) {
    for _ in 0..64 {
        world.accept_one(world.ours, InitialState::Due).await;
    }
    let claimed = world.claim(world.ours, NOW, lease(1, 60_000), 64).await;
    let tasks: Vec<_> = claimed
        .into_iter()
        .map(|one| {
            let store = Arc::clone(&world.store);
            tokio::spawn(async move {
                let outcome = store.settle(tried(&one, NextState::Done(Status::Sent))).await;
                (one.id, outcome)
            })
        })
        .collect();
    for task in tasks {
        let (id, outcome) = task.await.unwrap();
        assert_eq!(outcome.unwrap(), Settled::Written);
        let expected = Attempt { trigger: AttemptTrigger::Scheduled, ..attempt(1, true) };
        assert_eq!(world.read(world.ours, id).await.attempts, [expected]);
    }
}
