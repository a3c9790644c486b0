//! Settle: an attempt and the state it leads to, fenced by lease owner and attempt count.

use std::sync::Arc;

use tidings_domain::delivery::{AttemptTrigger, SkipReason, Status};
use tidings_domain::gate::Gate;

use super::fixture::Fixture;
use super::samples::{NOW, after_ms, attempt, attempted, lease, passed, stopped, unattempted};
use crate::history::DeliveryRecord;
use crate::queue::{Attempt, InitialState, NextState, Settled, Settlement};

impl Fixture {
    async fn settle(&self, settlement: Settlement) -> Settled {
        self.store.settle(settlement).await.unwrap()
    }
}

/// All fields of a delivery, to compare them.
fn debug_text(delivery: &DeliveryRecord) -> String {
    format!("{delivery:?}")
}

pub(super) async fn settle_sent_completes_delivery(fixture: Fixture) {
    let claimed = fixture.accept_and_claim(fixture.ours).await;
    assert_eq!(fixture.settle(attempted(&claimed, NextState::Done(Status::Sent))).await, Settled::Written);
    let sent = fixture.read(fixture.ours, claimed.id).await;
    assert_eq!((sent.status, sent.attempt_count, sent.http_status), (Status::Sent, 1, Some(204)));
    assert_eq!((sent.sent_at, sent.completed_at), (Some(after_ms(50)), Some(after_ms(50))));
    assert_eq!((sent.last_error, sent.next_attempt_at, sent.reason), (None, None, None));
    assert_eq!(sent.attempts, [attempt(1, true)]);
    assert!(fixture.claim(fixture.ours, after_ms(99_999), lease(2, 1), 9).await.is_empty());
}

pub(super) async fn settle_failed_completes_delivery(fixture: Fixture) {
    let claimed = fixture.accept_and_claim(fixture.ours).await;
    assert_eq!(fixture.settle(attempted(&claimed, NextState::Done(Status::Failed))).await, Settled::Written);
    let failed = fixture.read(fixture.ours, claimed.id).await;
    assert_eq!((failed.status, failed.attempt_count, failed.http_status), (Status::Failed, 1, Some(502)));
    assert_eq!(failed.last_error.as_deref(), Some("HTTP 502 — expected 2xx"));
    assert_eq!((failed.sent_at, failed.completed_at, failed.next_attempt_at), (None, Some(after_ms(50)), None));
    assert_eq!(failed.attempts, [attempt(1, false)]);
}

pub(super) async fn settle_retry_is_due_at_instant(fixture: Fixture) {
    let claimed = fixture.accept_and_claim(fixture.ours).await;
    assert_eq!(fixture.settle(attempted(&claimed, NextState::RetryAt(after_ms(500)))).await, Settled::Written);
    let waiting = fixture.read(fixture.ours, claimed.id).await;
    assert_eq!((waiting.status, waiting.next_attempt_at), (Status::Pending, Some(after_ms(500))));
    assert_eq!((waiting.attempt_count, waiting.completed_at, waiting.sent_at), (1, None, None));
    assert!(fixture.claim(fixture.ours, after_ms(499), lease(2, 900), 9).await.is_empty());

    let again = fixture.claim(fixture.ours, after_ms(500), lease(2, 900), 9).await.pop().expect("it is due");
    assert_eq!((again.id, again.attempt_count), (claimed.id, 1));
    fixture.settle(attempted(&again, NextState::Done(Status::Sent))).await;
    let sent = fixture.read(fixture.ours, claimed.id).await;
    assert_eq!(sent.attempts, [attempt(1, false), attempt(2, true)]);
    assert_eq!((sent.attempt_count, sent.last_error), (2, None), "those of the last attempt");
}

pub(super) async fn settle_other_owner_is_stale(fixture: Fixture) {
    let claimed = fixture.accept_and_claim(fixture.ours).await;
    let reclaimed = fixture.claim(fixture.ours, after_ms(60_000), lease(2, 90_000), 1).await.remove(0);
    assert_eq!(fixture.settle(attempted(&claimed, NextState::Done(Status::Sent))).await, Settled::Stale);
    assert_eq!(fixture.settle(attempted(&reclaimed, NextState::Done(Status::Failed))).await, Settled::Written);
    assert_eq!(fixture.status(fixture.ours, claimed.id).await, Status::Failed);
}

pub(super) async fn settle_other_attempt_count_is_stale(fixture: Fixture) {
    let first = fixture.accept_and_claim(fixture.ours).await;
    fixture.settle(attempted(&first, NextState::RetryAt(NOW))).await;
    // The same owner has claimed it again: only the attempt count differs.
    let second = fixture.claim(fixture.ours, NOW, lease(1, 60_000), 1).await.remove(0);
    assert_eq!(fixture.settle(attempted(&first, NextState::Done(Status::Failed))).await, Settled::Stale);
    assert_eq!(fixture.settle(attempted(&second, NextState::Done(Status::Sent))).await, Settled::Written);
}

pub(super) async fn settle_twice_is_stale(fixture: Fixture) {
    for next in [
        NextState::Done(Status::Sent),
        NextState::RetryAt(after_ms(9_000)),
        NextState::Skipped(SkipReason::RuleDisabled),
    ] {
        let claimed = fixture.accept_and_claim(fixture.ours).await;
        assert_eq!(fixture.settle(unattempted(&claimed, next)).await, Settled::Written);
        assert_eq!(fixture.settle(unattempted(&claimed, NextState::Done(Status::Failed))).await, Settled::Stale);
    }
}

pub(super) async fn settle_stale_changes_nothing(fixture: Fixture) {
    let claimed = fixture.accept_and_claim(fixture.ours).await;
    let before = debug_text(&fixture.read(fixture.ours, claimed.id).await);
    let evaluation = stopped(Gate::ChannelDisabled, NOW);
    for next in [
        NextState::Done(Status::Sent),
        NextState::RetryAt(NOW),
        NextState::Suppressed(evaluation),
        NextState::Skipped(SkipReason::RuleDisabled),
    ] {
        let mut settlement = attempted(&claimed, next);
        settlement.owner = 2;
        settlement.attempt_state = Some("theirs".into());
        assert_eq!(fixture.settle(settlement).await, Settled::Stale);
        assert_eq!(debug_text(&fixture.read(fixture.ours, claimed.id).await), before);
    }
    let mut gone = attempted(&claimed, NextState::Done(Status::Sent));
    gone.delivery_id = fixture.id();
    assert_eq!(fixture.settle(gone).await, Settled::Stale, "no such delivery");
}

pub(super) async fn settle_suppressed_appends_gate_evaluation(fixture: Fixture) {
    let claimed = fixture.accept_and_claim(fixture.ours).await;
    let evaluation = stopped(Gate::ChannelDisabled, after_ms(40));
    assert_eq!(
        fixture.settle(unattempted(&claimed, NextState::Suppressed(evaluation.clone()))).await,
        Settled::Written
    );
    let found = fixture.read(fixture.ours, claimed.id).await;
    assert_eq!((found.status, found.completed_at), (Status::Suppressed, Some(after_ms(50))));
    assert_eq!(found.reason.as_deref(), Some("channel_disabled"));
    assert_eq!(found.gate_evaluations, [passed(NOW), evaluation]);
    assert_eq!((found.attempt_count, found.attempts.len()), (0, 0));
}

pub(super) async fn settle_skipped_records_reason(fixture: Fixture) {
    let claimed = fixture.accept_and_claim(fixture.ours).await;
    assert_eq!(
        fixture.settle(unattempted(&claimed, NextState::Skipped(SkipReason::RuleDisabled))).await,
        Settled::Written
    );
    let found = fixture.read(fixture.ours, claimed.id).await;
    assert_eq!((found.status, found.completed_at), (Status::Skipped, Some(after_ms(50))));
    assert_eq!(found.reason.as_deref(), Some("rule_disabled"));
    assert_eq!(found.gate_evaluations, [passed(NOW)]);
}

pub(super) async fn settle_done_with_open_status_is_refused(fixture: Fixture) {
    let claimed = fixture.accept_and_claim(fixture.ours).await;
    for status in Status::ALL.into_iter().filter(|status| !status.is_resendable()) {
        let outcome = fixture.store.settle(unattempted(&claimed, NextState::Done(status))).await;
        assert!(matches!(outcome, Err(crate::StoreError::Corrupt(_))), "{status:?}: {outcome:?}");
    }
    let mut test = fixture.test(fixture.ours, Status::Sent, NOW);
    test.status = Status::Pending;
    assert!(fixture.store.record_test(test).await.is_err());
    let mut repeated = attempted(&claimed, NextState::RetryAt(NOW));
    fixture.settle(repeated.clone()).await;
    let again = fixture.claim(fixture.ours, NOW, lease(1, 60_000), 1).await.remove(0);
    repeated.attempt_count = again.attempt_count;
    assert!(matches!(fixture.store.settle(repeated).await, Err(crate::StoreError::Corrupt(_))));
    assert_eq!(fixture.status(fixture.ours, again.id).await, Status::Sending, "an attempt is written once");
}

pub(super) async fn settle_concurrent_settlements_are_all_written(fixture: Fixture) {
    for _ in 0..64 {
        fixture.accept_one(fixture.ours, InitialState::Due).await;
    }
    let claimed = fixture.claim(fixture.ours, NOW, lease(1, 60_000), 64).await;
    let tasks: Vec<_> = claimed
        .into_iter()
        .map(|one| {
            let store = Arc::clone(&fixture.store);
            tokio::spawn(async move {
                let outcome = store.settle(attempted(&one, NextState::Done(Status::Sent))).await;
                (one.id, outcome)
            })
        })
        .collect();
    for task in tasks {
        let (id, outcome) = task.await.unwrap();
        assert_eq!(outcome.unwrap(), Settled::Written);
        let expected = Attempt { trigger: AttemptTrigger::Scheduled, ..attempt(1, true) };
        assert_eq!(fixture.read(fixture.ours, id).await.attempts, [expected]);
    }
}
