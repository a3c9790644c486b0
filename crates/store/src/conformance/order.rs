//! Order: what comes after another is not tried before that one is settled.

use tidings_domain::delivery::{SkipReason, Status};
use tidings_domain::gate::Gate;
use tidings_domain::id::{DeliveryId, Id as _, IncidentId};

use super::samples::{NOW, after_ms, held, lease, stopped, tried, untried};
use super::world::World;
use crate::queue::{Claimed, FollowUps, InitialState, NewDelivery, NextState, Settled, Settlement};

/// Some incident; that it is known to nobody costs nothing.
pub(super) fn of_incident(settlement: Settlement) -> Settlement {
    Settlement { follow_ups: FollowUps::Incident(IncidentId::from_bytes([1; 16])), ..settlement }
}

impl World {
    /// Accepts an event whose one delivery comes after another.
    async fn accept_after(&self, after: DeliveryId, start: InitialState) -> DeliveryId {
        let delivery = NewDelivery { blocked_by: Some(after), ..self.delivery(self.ours, start) };
        let id = delivery.id;
        let waits = self.accept(self.new_event(self.event(self.ours), vec![delivery])).await.not_leased;
        assert!(waits.is_empty() || waits == [id]);
        id
    }

    /// That it waits for another: nobody can claim it.
    async fn assert_waits(&self, id: DeliveryId) {
        let found = self.read(self.ours, id).await;
        assert_eq!((found.status, found.next_attempt_at), (Status::Pending, None));
    }

    /// Claims what is due a minute later, which is just this one.
    async fn claim_only(&self, id: DeliveryId) -> Claimed {
        let mut claimed = self.claim(self.ours, after_ms(60_000), lease(1, 600_000), 9).await;
        assert!(claimed.iter().map(|one| one.id).eq([id]), "{claimed:?}");
        claimed.remove(0)
    }
}

pub(super) async fn what_comes_after_waits_for_the_end(world: World) {
    let suppressed = NextState::Suppressed(stopped(Gate::ChannelDisabled, NOW));
    for next in [
        NextState::Done(Status::Sent),
        NextState::Done(Status::Failed),
        suppressed,
        NextState::Skipped(SkipReason::RuleDisabled),
        NextState::Held(held(NOW, after_ms(900_000))),
    ] {
        let first = world.claimed(world.ours).await;
        let leased = world.accept_after(first.id, InitialState::Leased(lease(1, 10))).await;
        let due = world.accept_after(first.id, InitialState::Due).await;
        for id in [leased, due] {
            world.assert_waits(id).await;
            assert_eq!(world.read(world.ours, id).await.blocked_by, Some(first.id));
        }
        assert!(world.claim(world.ours, after_ms(59_000), lease(2, 1), 9).await.is_empty());
        world.store.settle(of_incident(untried(&first, next.clone()))).await.unwrap();
        let claimed = world.claim(world.ours, after_ms(50), lease(1, 600_000), 9).await;
        assert!(claimed.iter().map(|one| (one.id, one.blocked_by)).eq([leased, due].map(|id| (id, Some(first.id)))));
        for one in &claimed {
            world.store.settle(tried(one, NextState::Done(Status::Sent))).await.unwrap();
            assert_eq!(world.read(world.ours, one.id).await.blocked_by, Some(first.id), "the log remembers: {next:?}");
        }
    }
}

pub(super) async fn a_retry_keeps_it_waiting(world: World) {
    let first = world.claimed(world.ours).await;
    let second = world.accept_after(first.id, InitialState::Due).await;
    world.store.settle(of_incident(tried(&first, NextState::RetryAt(after_ms(100))))).await.unwrap();
    world.assert_waits(second).await;
    let mut stale = of_incident(tried(&first, NextState::Done(Status::Sent)));
    stale.owner = 9;
    assert_eq!(world.store.settle(stale).await.unwrap(), Settled::Stale);
    world.assert_waits(second).await;
    let again = world.claim_only(first.id).await;
    world.store.settle(of_incident(tried(&again, NextState::Done(Status::Failed)))).await.unwrap();
    world.claim_only(second).await;
}

pub(super) async fn a_chain_goes_one_by_one(world: World) {
    let mut ids = vec![world.accept_one(world.ours, InitialState::Due).await];
    for _ in 0..3 {
        ids.push(world.accept_after(ids[ids.len() - 1], InitialState::Due).await);
    }
    for id in ids {
        let claimed = world.claim_only(id).await;
        world.store.settle(of_incident(tried(&claimed, NextState::Done(Status::Sent)))).await.unwrap();
    }
}

pub(super) async fn one_that_is_settled_or_held_is_not_waited_for(world: World) {
    let sent = world.done(world.ours, Status::Sent, NOW).await;
    let suppressed = world.accept_one(world.ours, InitialState::Suppressed).await;
    let held = world.accept_one(world.ours, InitialState::Held).await;
    for before in [sent, suppressed, held, world.id()] {
        let id = world.accept_after(before, InitialState::Due).await;
        let claimed = world.claim_only(id).await;
        assert_eq!(claimed.blocked_by, Some(before));
        world.store.settle(tried(&claimed, NextState::Done(Status::Sent))).await.unwrap();
    }
}

pub(super) async fn what_is_stopped_does_not_wait(world: World) {
    let first = world.claimed(world.ours).await;
    for (start, status) in [(InitialState::Held, Status::Held), (InitialState::Suppressed, Status::Suppressed)] {
        let id = world.accept_after(first.id, start).await;
        let found = world.read(world.ours, id).await;
        assert_eq!((found.status, found.blocked_by), (status, Some(first.id)));
    }
}

pub(super) async fn one_of_the_same_request_is_waited_for(world: World) {
    let first = world.delivery(world.ours, InitialState::Leased(lease(1, 60_000)));
    let second = NewDelivery {
        blocked_by: Some(first.id),
        ..world.delivery(world.ours, InitialState::Leased(lease(1, 60_000)))
    };
    let third = NewDelivery { blocked_by: Some(second.id), ..world.delivery(world.ours, InitialState::Due) };
    let held = world.delivery(world.ours, InitialState::Held);
    let fourth = NewDelivery { blocked_by: Some(held.id), ..world.delivery(world.ours, InitialState::Due) };
    let ids = [first.id, second.id, third.id, held.id, fourth.id];
    let batch = [vec![first], vec![second, third], vec![held], vec![fourth]];
    let batch = batch.map(|deliveries| world.new_event(world.event(world.ours), deliveries));
    let answers = world.store.accept(batch.into()).await.unwrap();
    let not_leased: Vec<_> = answers.iter().flat_map(|answer| answer.not_leased.clone()).collect();
    assert_eq!(not_leased, [ids[1], ids[2]]);
    assert!(answers.iter().all(|answer| answer.counts.pending + answer.counts.held == answer.counts.pending.max(1)));
    world.claim(world.ours, NOW, lease(1, 600_000), 9).await;
    assert_eq!(world.status(world.ours, ids[4]).await, Status::Sending, "nobody waits for what is held");
}

pub(super) async fn a_release_keeps_it_waiting(world: World) {
    let first = world.claimed(world.ours).await;
    let second = world.accept_after(first.id, InitialState::Due).await;
    world.store.reclaim_leases(after_ms(1), 9).await.unwrap();
    world.assert_waits(second).await;
    let again = world.claim_only(first.id).await;
    assert_eq!(again.attempt_count, 0, "it waits through releases, too");
}

pub(super) async fn waiting_survives_a_restart(world: World) {
    let first = world.accept_one(world.ours, InitialState::Leased(lease(1, 50))).await;
    let second = world.accept_after(first, InitialState::Due).await;
    let world = world.reopen().await;
    let claimed = world.claim_only(first).await;
    let world = world.reopen().await;
    world.store.settle(of_incident(tried(&claimed, NextState::Done(Status::Sent)))).await.unwrap();
    let world = world.reopen().await;
    world.claim_only(second).await;
}
