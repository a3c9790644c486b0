//! Ordering: a blocked delivery is not attempted before its blocker is settled.

use tidings_domain::delivery::{SkipReason, Status};
use tidings_domain::gate::Gate;
use tidings_domain::id::{DeliveryId, Id as _, IncidentId};

use super::fixture::Fixture;
use super::samples::{NOW, after_ms, attempted, held, lease, stopped, unattempted};
use crate::queue::{Claimed, FollowUps, InitialState, NewDelivery, NextState, Settled, Settlement};

/// A settlement of a delivery of some incident, which need not exist.
pub(super) fn of_incident(settlement: Settlement) -> Settlement {
    Settlement { follow_ups: FollowUps::Incident(IncidentId::from_bytes([1; 16])), ..settlement }
}

impl Fixture {
    /// Accepts an event whose one delivery is blocked by another.
    async fn accept_blocked(&self, after: DeliveryId, start: InitialState) -> DeliveryId {
        let delivery = NewDelivery { blocked_by: Some(after), ..self.delivery(self.ours, start) };
        let id = delivery.id;
        let not_leased = self.accept(self.new_event(self.event(self.ours), vec![delivery])).await.not_leased;
        assert!(not_leased.is_empty() || not_leased == [id]);
        id
    }

    /// Asserts that the delivery is pending and has no due instant.
    async fn assert_blocked(&self, id: DeliveryId) {
        let found = self.read(self.ours, id).await;
        assert_eq!((found.status, found.next_attempt_at), (Status::Pending, None));
    }

    /// Claims what is due a minute later, and asserts that it is this one only.
    async fn claim_only(&self, id: DeliveryId) -> Claimed {
        let mut claimed = self.claim(self.ours, after_ms(60_000), lease(1, 600_000), 9).await;
        assert!(claimed.iter().map(|one| one.id).eq([id]), "{claimed:?}");
        claimed.remove(0)
    }
}

pub(super) async fn blocked_delivery_is_due_when_blocker_settles(fixture: Fixture) {
    let suppressed = NextState::Suppressed(stopped(Gate::ChannelDisabled, NOW));
    for next in [
        NextState::Done(Status::Sent),
        NextState::Done(Status::Failed),
        suppressed,
        NextState::Skipped(SkipReason::RuleDisabled),
        NextState::Held(held(NOW, after_ms(900_000))),
    ] {
        let first = fixture.accept_and_claim(fixture.ours).await;
        let leased = fixture.accept_blocked(first.id, InitialState::Leased(lease(1, 10))).await;
        let due = fixture.accept_blocked(first.id, InitialState::Due).await;
        for id in [leased, due] {
            fixture.assert_blocked(id).await;
            assert_eq!(fixture.read(fixture.ours, id).await.blocked_by, Some(first.id));
        }
        assert!(fixture.claim(fixture.ours, after_ms(59_000), lease(2, 1), 9).await.is_empty());
        fixture.store.settle(of_incident(unattempted(&first, next.clone()))).await.unwrap();
        let claimed = fixture.claim(fixture.ours, after_ms(50), lease(1, 600_000), 9).await;
        assert!(claimed.iter().map(|one| (one.id, one.blocked_by)).eq([leased, due].map(|id| (id, Some(first.id)))));
        for one in &claimed {
            fixture.store.settle(attempted(one, NextState::Done(Status::Sent))).await.unwrap();
            assert_eq!(
                fixture.read(fixture.ours, one.id).await.blocked_by,
                Some(first.id),
                "the history keeps it: {next:?}"
            );
        }
    }
}

pub(super) async fn blocked_delivery_waits_through_retries(fixture: Fixture) {
    let first = fixture.accept_and_claim(fixture.ours).await;
    let second = fixture.accept_blocked(first.id, InitialState::Due).await;
    fixture.store.settle(of_incident(attempted(&first, NextState::RetryAt(after_ms(100))))).await.unwrap();
    fixture.assert_blocked(second).await;
    let mut stale = of_incident(attempted(&first, NextState::Done(Status::Sent)));
    stale.owner = 9;
    assert_eq!(fixture.store.settle(stale).await.unwrap(), Settled::Stale);
    fixture.assert_blocked(second).await;
    let again = fixture.claim_only(first.id).await;
    fixture.store.settle(of_incident(attempted(&again, NextState::Done(Status::Failed)))).await.unwrap();
    fixture.claim_only(second).await;
}

pub(super) async fn blocked_chain_is_sent_one_by_one(fixture: Fixture) {
    let mut ids = vec![fixture.accept_one(fixture.ours, InitialState::Due).await];
    for _ in 0..3 {
        ids.push(fixture.accept_blocked(ids[ids.len() - 1], InitialState::Due).await);
    }
    for id in ids {
        let claimed = fixture.claim_only(id).await;
        fixture.store.settle(of_incident(attempted(&claimed, NextState::Done(Status::Sent)))).await.unwrap();
    }
}

pub(super) async fn blocked_by_settled_or_held_is_due(fixture: Fixture) {
    let sent = fixture.accept_settled(fixture.ours, Status::Sent, NOW).await;
    let suppressed = fixture.accept_one(fixture.ours, InitialState::Suppressed).await;
    let held = fixture.accept_one(fixture.ours, InitialState::Held).await;
    for before in [sent, suppressed, held, fixture.id()] {
        let id = fixture.accept_blocked(before, InitialState::Due).await;
        let claimed = fixture.claim_only(id).await;
        assert_eq!(claimed.blocked_by, Some(before));
        fixture.store.settle(attempted(&claimed, NextState::Done(Status::Sent))).await.unwrap();
    }
}

pub(super) async fn held_or_suppressed_delivery_is_not_blocked(fixture: Fixture) {
    let first = fixture.accept_and_claim(fixture.ours).await;
    for (start, status) in [(InitialState::Held, Status::Held), (InitialState::Suppressed, Status::Suppressed)] {
        let id = fixture.accept_blocked(first.id, start).await;
        let found = fixture.read(fixture.ours, id).await;
        assert_eq!((found.status, found.blocked_by), (status, Some(first.id)));
    }
}

pub(super) async fn blocked_by_delivery_of_same_batch_waits(fixture: Fixture) {
    let first = fixture.delivery(fixture.ours, InitialState::Leased(lease(1, 60_000)));
    let second = NewDelivery {
        blocked_by: Some(first.id),
        ..fixture.delivery(fixture.ours, InitialState::Leased(lease(1, 60_000)))
    };
    let third = NewDelivery { blocked_by: Some(second.id), ..fixture.delivery(fixture.ours, InitialState::Due) };
    let held = fixture.delivery(fixture.ours, InitialState::Held);
    let fourth = NewDelivery { blocked_by: Some(held.id), ..fixture.delivery(fixture.ours, InitialState::Due) };
    let ids = [first.id, second.id, third.id, held.id, fourth.id];
    let batch = [vec![first], vec![second, third], vec![held], vec![fourth]];
    let batch = batch.map(|deliveries| fixture.new_event(fixture.event(fixture.ours), deliveries));
    let answers = fixture.store.accept(batch.into()).await.unwrap();
    let not_leased: Vec<_> = answers.iter().flat_map(|answer| answer.not_leased.clone()).collect();
    assert_eq!(not_leased, [ids[1], ids[2]]);
    assert!(answers.iter().all(|answer| answer.counts.pending + answer.counts.held == answer.counts.pending.max(1)));
    fixture.claim(fixture.ours, NOW, lease(1, 600_000), 9).await;
    assert_eq!(fixture.status(fixture.ours, ids[4]).await, Status::Sending, "a held delivery blocks nothing");
}

pub(super) async fn blocked_delivery_waits_through_reclaimed_lease(fixture: Fixture) {
    let first = fixture.accept_and_claim(fixture.ours).await;
    let second = fixture.accept_blocked(first.id, InitialState::Due).await;
    fixture.store.reclaim_leases(after_ms(1), 9).await.unwrap();
    fixture.assert_blocked(second).await;
    let again = fixture.claim_only(first.id).await;
    assert_eq!(again.attempt_count, 0, "no attempt was made");
}

pub(super) async fn blocked_delivery_survives_restart(fixture: Fixture) {
    let first = fixture.accept_one(fixture.ours, InitialState::Leased(lease(1, 50))).await;
    let second = fixture.accept_blocked(first, InitialState::Due).await;
    let fixture = fixture.reopen().await;
    let claimed = fixture.claim_only(first).await;
    let fixture = fixture.reopen().await;
    fixture.store.settle(of_incident(attempted(&claimed, NextState::Done(Status::Sent)))).await.unwrap();
    let fixture = fixture.reopen().await;
    fixture.claim_only(second).await;
}
