//! Leases that are returned or reclaimed: their deliveries are due again, without an attempt.

use tidings_domain::delivery::{SkipReason, Status};

use super::fixture::Fixture;
use super::samples::{after_ms, attempted, lease, unattempted};
use crate::queue::{InitialState, LeaseRef, NextState, Settled};

pub(super) async fn reclaim_leases_of_dead_owners_makes_them_due(fixture: Fixture) {
    let (ours, theirs) = (fixture.ours, fixture.theirs);
    let own = fixture.accept_one(ours, InitialState::Leased(lease(9, 60_000))).await;
    let first = fixture.accept_and_claim(ours).await.id;
    let second = fixture.accept_one(theirs, InitialState::Leased(lease(7, 60_000))).await;
    let waiting = fixture.accept_one_at(ours, InitialState::Due, after_ms(5_000)).await;
    assert_eq!(fixture.store.reclaim_leases(after_ms(9), 9).await.unwrap(), 2);
    for (tenant, id) in [(ours, first), (theirs, second)] {
        let found = fixture.read(tenant, id).await;
        assert_eq!((found.status, found.next_attempt_at), (Status::Pending, Some(after_ms(9))));
        assert!(fixture.claim(tenant, after_ms(9), lease(3, 60_000), 9).await.iter().map(|one| one.id).eq([id]));
    }
    assert_eq!(fixture.read(ours, waiting).await.next_attempt_at, Some(after_ms(5_000)), "it was not leased");
    assert_eq!(fixture.status(ours, own).await, Status::Sending, "the caller's own lease stays");
}

pub(super) async fn return_leases_returns_only_named(fixture: Fixture) {
    let (named, other) = (fixture.accept_and_claim(fixture.ours).await, fixture.accept_and_claim(fixture.ours).await);
    let theirs = fixture.accept_and_claim(fixture.theirs).await;
    let leases = vec![named.lease_ref(), theirs.lease_ref()];
    assert_eq!(fixture.store.return_leases(leases).await.unwrap(), 2);
    let returned = fixture.read(fixture.ours, named.id).await;
    let due_since = (Status::Pending, Some(named.due_at));
    assert_eq!((returned.status, returned.next_attempt_at), due_since, "since it was due before");
    assert_eq!(fixture.status(fixture.theirs, theirs.id).await, Status::Pending);
    assert_eq!(fixture.status(fixture.ours, other.id).await, Status::Sending);
}

pub(super) async fn return_leases_without_lease_changes_nothing(fixture: Fixture) {
    let ours = fixture.ours;
    let sent = fixture.accept_settled(ours, Status::Sent, after_ms(1)).await;
    let waiting = fixture.accept_one_at(ours, InitialState::Due, after_ms(5_000)).await;
    let suppressed = fixture.accept_one(ours, InitialState::Suppressed).await;
    let ids = [sent, waiting, suppressed, fixture.id()];
    let leases = ids.map(|delivery_id| LeaseRef { workspace_id: ours.id, delivery_id, owner: 1, due_at: after_ms(9) });
    assert_eq!(fixture.store.return_leases(leases.to_vec()).await.unwrap(), 0);
    assert_eq!(fixture.store.return_leases(vec![]).await.unwrap(), 0);
    assert_eq!(fixture.store.reclaim_leases(after_ms(9), 9).await.unwrap(), 0);
    assert_eq!(fixture.status(ours, sent).await, Status::Sent);
    assert_eq!(fixture.status(ours, suppressed).await, Status::Suppressed);
    assert_eq!(fixture.read(ours, waiting).await.next_attempt_at, Some(after_ms(5_000)));
}

pub(super) async fn return_leases_of_another_owner_changes_nothing(fixture: Fixture) {
    let claimed = fixture.accept_and_claim(fixture.ours).await;
    let others = LeaseRef { owner: claimed.lease.owner + 1, ..claimed.lease_ref() };
    let foreign = LeaseRef { workspace_id: fixture.theirs.id, ..claimed.lease_ref() };
    assert_eq!(fixture.store.return_leases(vec![others, foreign]).await.unwrap(), 0);
    assert_eq!(fixture.status(fixture.ours, claimed.id).await, Status::Sending);
}

pub(super) async fn settle_after_return_is_stale(fixture: Fixture) {
    let claimed = fixture.accept_and_claim(fixture.ours).await;
    fixture.store.return_leases(vec![claimed.lease_ref()]).await.unwrap();
    for settlement in [
        attempted(&claimed, NextState::Done(Status::Sent)),
        unattempted(&claimed, NextState::Skipped(SkipReason::RuleDisabled)),
    ] {
        assert_eq!(fixture.store.settle(settlement).await.unwrap(), Settled::Stale);
    }
}
