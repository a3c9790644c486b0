//! Counts of settled deliveries and reported runs by minute.

use tidings_domain::delivery::Status;
use tidings_domain::gate::Gate;
use tidings_domain::time::Timestamp;

use super::digests::of_digest;
use super::fixture::{Fixture, Tenant};
use super::samples::{NOW, after_ms, attempted, stopped, unattempted};
use crate::insights::{Activity, ActivityFilter};
use crate::queue::{InitialState, NextState};

const MINUTE_MS: u64 = 60_000;

/// The minute that contains `NOW`.
fn minute() -> Timestamp {
    Timestamp::from_unix_ms(NOW.unix_ms() / MINUTE_MS as i64 * MINUTE_MS as i64)
}

impl Fixture {
    async fn activity(&self, tenant: Tenant, minutes: u32) -> Vec<(Timestamp, Activity)> {
        let filter = ActivityFilter { since: NOW, until: NOW.plus_ms(3 * MINUTE_MS), minutes, is_up_to_date: true };
        self.store.activity(tenant.id, filter).await.unwrap()
    }
}

pub(super) async fn activity_counts_settled_deliveries_and_runs(fixture: Fixture) {
    let (ours, theirs) = (fixture.ours, fixture.theirs);
    let next_minute = minute().plus_ms(MINUTE_MS);
    fixture.accept_settled(ours, Status::Sent, NOW).await;
    fixture.accept_settled(ours, Status::Sent, next_minute).await;
    fixture.accept_settled(ours, Status::Failed, NOW).await;
    fixture.accept_settled(theirs, Status::Failed, NOW).await;
    fixture.accept_one(ours, InitialState::Suppressed).await;
    let claimed = fixture.accept_and_claim(ours).await;
    let stop = NextState::Suppressed(stopped(Gate::RulePaused, NOW));
    fixture.store.settle(unattempted(&claimed, stop)).await.unwrap();
    // Neither what waits counts, nor a retry, nor a stale settlement, nor a duplicate, nor a test.
    let claimed = fixture.accept_and_claim(ours).await;
    fixture.store.settle(attempted(&claimed, NextState::RetryAt(after_ms(999_999)))).await.unwrap();
    fixture.store.settle(attempted(&claimed, NextState::Done(Status::Sent))).await.unwrap();
    let event = fixture.run(ours, "f1", NOW, true);
    fixture.report(event.clone()).await;
    fixture.report(event).await;
    fixture.store.record_test(fixture.test(ours, Status::Failed, NOW)).await.unwrap();

    let first =
        Activity { sent: 1, failed: 1, suppressed: 2, runs_succeeded: 1, runs_failed: 6, ..Activity::default() };
    let second = Activity { sent: 1, ..Activity::default() };
    let idle = Activity::default();
    let expected = [first, second, idle, idle];
    let by_minute = fixture.activity(ours, 1).await;
    assert_eq!(by_minute.iter().map(|(_, activity)| *activity).collect::<Vec<_>>(), expected);
    assert!(by_minute.iter().map(|(at, _)| *at).eq((0..4).map(|n| minute().plus_ms(n * MINUTE_MS))));
    let failed = Activity { failed: 1, runs_failed: 1, ..Activity::default() };
    assert_eq!(fixture.activity(theirs, 1).await[0].1, failed);
    let by_day = fixture.activity(ours, 1_440).await;
    assert_eq!((by_day.len(), by_day[0].1), (1, Activity { sent: 2, ..first }));
    assert_eq!(by_day[0].0.unix_ms() % 86_400_000, 0, "periods start at multiples of their length");
    let none = ActivityFilter { since: NOW, until: NOW.minus_ms(MINUTE_MS), minutes: 1, is_up_to_date: true };
    assert!(fixture.store.activity(ours.id, none).await.unwrap().is_empty());
}

pub(super) async fn activity_counts_members_of_digests(fixture: Fixture) {
    let ours = fixture.ours;
    let (digest, _) = fixture.accept_and_claim_digest(2).await;
    fixture.store.settle(of_digest(attempted(&digest, NextState::Done(Status::Sent)))).await.unwrap();
    let sent: u64 = fixture.activity(ours, 1).await.iter().map(|(_, activity)| activity.sent).sum();
    assert_eq!(sent, 3, "the digest and its two members");
}

pub(super) async fn activity_survives_closing_and_is_pruned(fixture: Fixture) {
    let ours = fixture.ours;
    fixture.accept_settled(ours, Status::Sent, NOW).await;
    let fixture = fixture.reopen().await;
    let one = Activity { sent: 1, runs_failed: 1, ..Activity::default() };
    assert_eq!(fixture.activity(ours, 1).await[0].1, one);
    assert_eq!(fixture.activity(ours, 1).await[0].1, one, "a start counts nothing again");
    fixture.accept_settled(ours, Status::Sent, after_ms(1)).await;
    let two = Activity { sent: 2, runs_failed: 2, ..Activity::default() };
    assert_eq!(fixture.activity(ours, 1).await[0].1, two);
    let days = 90 * 86_400_000;
    fixture.prune_all(minute().plus_ms(days), 9).await;
    assert_eq!(fixture.activity(ours, 1).await[0].1, two);
    fixture.prune_all(minute().plus_ms(days + MINUTE_MS), 9).await;
    assert_eq!(fixture.activity(ours, 1).await[0].1, Activity::default());
}

/// What a refused operation did is not counted, and what others of its batch did is.
pub(super) async fn activity_of_refused_operations_is_not_counted(fixture: Fixture) {
    let ours = fixture.ours;
    let suppressed = |fixture: &Fixture| {
        fixture.new_event(fixture.event(ours), vec![fixture.delivery(ours, InitialState::Suppressed)])
    };
    let accepted = suppressed(&fixture);
    let mut twin = suppressed(&fixture);
    // The sort key of another delivery: refused after its event was inserted.
    twin.deliveries[0].id = accepted.deliveries[0].id;
    fixture.accept(accepted).await;
    let (refused, other) =
        tokio::join!(fixture.store.accept(vec![twin]), fixture.store.accept(vec![suppressed(&fixture)]));
    assert!(refused.is_err() && other.is_ok());
    let first = fixture.activity(ours, 1).await[0].1;
    assert_eq!((first.suppressed, first.runs_failed), (2, 2));
}
