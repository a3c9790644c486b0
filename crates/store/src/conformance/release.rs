//! Release: leases are given back, and what was not tried is due now.

use tidings_domain::delivery::{SkipReason, Status};

use super::samples::{after_ms, lease, tried, untried};
use super::world::World;
use crate::queue::{Held, NextState, Settled, Start};

pub(super) async fn every_lease_is_given_back(world: World) {
    let (ours, theirs) = (world.ours, world.theirs);
    let first = world.claimed(ours).await.id;
    let second = world.accept_one(theirs, Start::Leased(lease(7, 60_000))).await;
    let waiting = world.accept_one_at(ours, Start::Due, after_ms(5_000)).await;
    assert_eq!(world.store.release(after_ms(9), None).await.unwrap(), 2);
    for (tenant, id) in [(ours, first), (theirs, second)] {
        let found = world.read(tenant, id).await;
        assert_eq!((found.status, found.next_attempt_at), (Status::Pending, Some(after_ms(9))));
        assert!(world.claim(tenant, after_ms(9), lease(3, 60_000), 9).await.iter().map(|one| one.id).eq([id]));
    }
    assert_eq!(world.read(ours, waiting).await.next_attempt_at, Some(after_ms(5_000)), "it was nobody's");
}

pub(super) async fn only_the_named_leases_are_given_back(world: World) {
    let (named, other) = (world.claimed(world.ours).await, world.claimed(world.ours).await);
    let theirs = world.claimed(world.theirs).await;
    let held = vec![named.held(), theirs.held()];
    assert_eq!(world.store.release(after_ms(9), Some(held)).await.unwrap(), 2);
    assert_eq!(world.status(world.ours, named.id).await, Status::Pending);
    assert_eq!(world.status(world.theirs, theirs.id).await, Status::Pending);
    assert_eq!(world.status(world.ours, other.id).await, Status::Sending);
}

pub(super) async fn what_is_not_leased_is_not_given_back(world: World) {
    let ours = world.ours;
    let sent = world.done(ours, Status::Sent, after_ms(1)).await;
    let waiting = world.accept_one_at(ours, Start::Due, after_ms(5_000)).await;
    let suppressed = world.accept_one(ours, Start::Suppressed).await;
    let ids = [sent, waiting, suppressed, world.id()];
    let held = ids.map(|delivery_id| Held { workspace_id: ours.id, delivery_id, owner: 1 });
    assert_eq!(world.store.release(after_ms(9), Some(held.to_vec())).await.unwrap(), 0);
    assert_eq!(world.store.release(after_ms(9), Some(vec![])).await.unwrap(), 0);
    assert_eq!(world.store.release(after_ms(9), None).await.unwrap(), 0);
    assert_eq!(world.status(ours, sent).await, Status::Sent);
    assert_eq!(world.status(ours, suppressed).await, Status::Suppressed);
    assert_eq!(world.read(ours, waiting).await.next_attempt_at, Some(after_ms(5_000)));
}

pub(super) async fn a_lease_of_another_node_is_not_given_back(world: World) {
    let claimed = world.claimed(world.ours).await;
    let others = Held { owner: claimed.lease.owner + 1, ..claimed.held() };
    let foreign = Held { workspace_id: world.theirs.id, ..claimed.held() };
    assert_eq!(world.store.release(after_ms(9), Some(vec![others, foreign])).await.unwrap(), 0);
    assert_eq!(world.status(world.ours, claimed.id).await, Status::Sending);
}

pub(super) async fn a_released_lease_no_longer_settles(world: World) {
    let claimed = world.claimed(world.ours).await;
    world.store.release(after_ms(9), Some(vec![claimed.held()])).await.unwrap();
    for settlement in [
        tried(&claimed, NextState::Done(Status::Sent)),
        untried(&claimed, NextState::Skipped(SkipReason::RuleDisabled)),
    ] {
        assert_eq!(world.store.settle(settlement).await.unwrap(), Settled::Stale);
    }
}
