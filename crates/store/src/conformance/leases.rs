//! Leases that are returned or reclaimed: the deliveries are due again, untried.

use tidings_domain::delivery::{SkipReason, Status};

use super::samples::{after_ms, lease, tried, untried};
use super::world::World;
use crate::queue::{InitialState, LeaseRef, NextState, Settled};

pub(super) async fn reclaim_leases_of_dead_owners_makes_them_due(world: World) {
    let (ours, theirs) = (world.ours, world.theirs);
    let own = world.accept_one(ours, InitialState::Leased(lease(9, 60_000))).await;
    let first = world.claimed(ours).await.id;
    let second = world.accept_one(theirs, InitialState::Leased(lease(7, 60_000))).await;
    let waiting = world.accept_one_at(ours, InitialState::Due, after_ms(5_000)).await;
    assert_eq!(world.store.reclaim_leases(after_ms(9), 9).await.unwrap(), 2);
    for (tenant, id) in [(ours, first), (theirs, second)] {
        let found = world.read(tenant, id).await;
        assert_eq!((found.status, found.next_attempt_at), (Status::Pending, Some(after_ms(9))));
        assert!(world.claim(tenant, after_ms(9), lease(3, 60_000), 9).await.iter().map(|one| one.id).eq([id]));
    }
    assert_eq!(world.read(ours, waiting).await.next_attempt_at, Some(after_ms(5_000)), "it was not leased");
    assert_eq!(world.status(ours, own).await, Status::Sending, "the caller's own lease stays");
}

pub(super) async fn return_leases_named_only(world: World) {
    let (named, other) = (world.claimed(world.ours).await, world.claimed(world.ours).await);
    let theirs = world.claimed(world.theirs).await;
    let leases = vec![named.lease_ref(), theirs.lease_ref()];
    assert_eq!(world.store.return_leases(after_ms(9), leases).await.unwrap(), 2);
    assert_eq!(world.status(world.ours, named.id).await, Status::Pending);
    assert_eq!(world.status(world.theirs, theirs.id).await, Status::Pending);
    assert_eq!(world.status(world.ours, other.id).await, Status::Sending);
}

pub(super) async fn return_leases_without_lease_changes_nothing(world: World) {
    let ours = world.ours;
    let sent = world.done(ours, Status::Sent, after_ms(1)).await;
    let waiting = world.accept_one_at(ours, InitialState::Due, after_ms(5_000)).await;
    let suppressed = world.accept_one(ours, InitialState::Suppressed).await;
    let ids = [sent, waiting, suppressed, world.id()];
    let leases = ids.map(|delivery_id| LeaseRef { workspace_id: ours.id, delivery_id, owner: 1 });
    assert_eq!(world.store.return_leases(after_ms(9), leases.to_vec()).await.unwrap(), 0);
    assert_eq!(world.store.return_leases(after_ms(9), vec![]).await.unwrap(), 0);
    assert_eq!(world.store.reclaim_leases(after_ms(9), 9).await.unwrap(), 0);
    assert_eq!(world.status(ours, sent).await, Status::Sent);
    assert_eq!(world.status(ours, suppressed).await, Status::Suppressed);
    assert_eq!(world.read(ours, waiting).await.next_attempt_at, Some(after_ms(5_000)));
}

pub(super) async fn return_leases_of_another_owner_changes_nothing(world: World) {
    let claimed = world.claimed(world.ours).await;
    let others = LeaseRef { owner: claimed.lease.owner + 1, ..claimed.lease_ref() };
    let foreign = LeaseRef { workspace_id: world.theirs.id, ..claimed.lease_ref() };
    assert_eq!(world.store.return_leases(after_ms(9), vec![others, foreign]).await.unwrap(), 0);
    assert_eq!(world.status(world.ours, claimed.id).await, Status::Sending);
}

pub(super) async fn settle_after_return_is_stale(world: World) {
    let claimed = world.claimed(world.ours).await;
    world.store.return_leases(after_ms(9), vec![claimed.lease_ref()]).await.unwrap();
    for settlement in [
        tried(&claimed, NextState::Done(Status::Sent)),
        untried(&claimed, NextState::Skipped(SkipReason::RuleDisabled)),
    ] {
        assert_eq!(world.store.settle(settlement).await.unwrap(), Settled::Stale);
    }
}
