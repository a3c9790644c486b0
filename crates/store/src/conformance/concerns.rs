//! What the end of a delivery concerns beside itself: incidents count what is sent of them; and what is said late is said
//! once an sequence.

use tidings_domain::delivery::{SkipReason, Status};
use tidings_domain::id::{DeliveryId, IncidentId};
use tidings_domain::incident::IncidentTrigger;

use super::admission::at_most;
use super::samples::{NOW, after_ms, lease, tried, untried};
use super::watching_world::changed;
use super::world::World;
use crate::monitoring::{IncidentRecord, TransitionOutcome, TransitionRecord};
use crate::queue::{
    Acceptance, Claimed, FollowUps, InitialState, NewDelivery, NextState, ReleaseBatch, Resend, Settlement,
};

fn of(record: &IncidentRecord, settlement: Settlement) -> Settlement {
    Settlement { follow_ups: FollowUps::Incident(record.incident.id), ..settlement }
}

impl World {
    async fn notifications_sent(&self, id: IncidentId) -> u64 {
        self.kept(self.ours, id).await.incident.notifications_sent
    }

    /// Follows with an event of this incident that has these deliveries.
    async fn told_of(
        &self,
        record: &IncidentRecord,
        trigger: IncidentTrigger,
        deliveries: Vec<NewDelivery>,
    ) -> Acceptance {
        let events = vec![self.tells(record, trigger, NOW, deliveries)];
        match self.follow(self.ours, TransitionRecord { events, ..TransitionRecord::default() }).await {
            Ok(TransitionOutcome::Applied(mut answers)) => answers.remove(0),
            outcome => panic!("{outcome:?}"),
        }
    }

    async fn claimed_again(&self, id: DeliveryId) -> Claimed {
        let mut claimed = self.claim(self.ours, after_ms(900), lease(1, 60_000), 9).await;
        assert!(claimed.iter().map(|one| one.id).eq([id]));
        claimed.remove(0)
    }
}

pub(super) async fn an_incident_counts_what_is_first_sent(world: World) {
    let (record, other) = (world.failing(world.ours).await, world.failing(world.ours).await);
    let id = record.incident.id;
    for (next, count) in [
        (NextState::Skipped(SkipReason::RuleDisabled), 0),
        (NextState::Done(Status::Sent), 1),
        (NextState::Done(Status::Failed), 1),
        (NextState::Done(Status::Sent), 2),
    ] {
        let claimed = world.claimed(world.ours).await;
        world.store.settle(of(&record, untried(&claimed, next.clone()))).await.unwrap();
        world.store.settle(of(&record, untried(&claimed, next.clone()))).await.unwrap();
        assert_eq!(world.notifications_sent(id).await, count, "{next:?}, and the second was stale");
    }
    let retried = world.claimed(world.ours).await;
    world.store.settle(of(&record, tried(&retried, NextState::RetryAt(after_ms(900))))).await.unwrap();
    let retried = world.claimed_again(retried.id).await;
    world.store.settle(of(&record, tried(&retried, NextState::Done(Status::Sent)))).await.unwrap();
    assert_eq!(world.notifications_sent(id).await, 3);
    assert_eq!(world.notifications_sent(other.incident.id).await, 0);
    world
        .store
        .settle(of(&other, untried(&world.claimed(world.theirs).await, NextState::Done(Status::Sent))))
        .await
        .unwrap();
    assert_eq!(world.notifications_sent(other.incident.id).await, 0, "a stranger's delivery does not count");
}

pub(super) async fn what_is_sent_again_counts_once(world: World) {
    let record = world.failing(world.ours).await;
    let resend =
        |delivery_id| Resend { workspace_id: world.ours.id, delivery_id, rule_generation: 1, now: after_ms(900) };
    for (number, first) in [Status::Sent, Status::Failed].into_iter().enumerate() {
        let mut claimed = world.claimed(world.ours).await;
        for status in [first, Status::Failed, Status::Sent, Status::Sent] {
            world.store.settle(of(&record, tried(&claimed, NextState::Done(status)))).await.unwrap();
            world.store.resend(resend(claimed.id)).await.unwrap();
            claimed = world.claimed_again(claimed.id).await;
        }
        world.store.settle(of(&record, tried(&claimed, NextState::Done(Status::Failed)))).await.unwrap();
        assert_eq!(world.notifications_sent(record.incident.id).await, number as u64 + 1);
    }
}

pub(super) async fn a_digest_counts_for_every_incident_it_tells_of(world: World) {
    let (one, two) = (world.failing(world.ours).await, world.failing(world.ours).await);
    let held = || world.delivery(world.ours, InitialState::Held);
    world.told_of(&one, IncidentTrigger::Opened, vec![held(), held()]).await;
    world.told_of(&one, IncidentTrigger::Resolved, vec![held()]).await;
    world.told_of(&two, IncidentTrigger::Opened, vec![held()]).await;
    world.hold(2).await;
    let digest = world.digest(world.all_held().await);
    let id = digest.new_event.deliveries[0].id;
    assert_eq!(world.let_go(ReleaseBatch { digest: Some(digest), ..world.release(NOW) }).await.carried, 6);
    let counts =
        async || (world.notifications_sent(one.incident.id).await, world.notifications_sent(two.incident.id).await);
    for (status, expected) in [(Status::Failed, (0, 0)), (Status::Sent, (3, 1)), (Status::Sent, (3, 1))] {
        let claimed = world.claimed_again(id).await;
        let settlement = tried(&claimed, NextState::Done(status));
        world.store.settle(Settlement { follow_ups: FollowUps::Digest, ..settlement }).await.unwrap();
        assert_eq!(counts().await, expected);
        let resend = Resend { workspace_id: world.ours.id, delivery_id: id, rule_generation: 0, now: after_ms(60) };
        world.store.resend(resend).await.unwrap();
    }
}

pub(super) async fn what_is_said_late_is_said_once_an_occasion(world: World) {
    let ours = world.ours;
    let record = world.failing(ours).await;
    let other = world.another_channel().await;
    let first = world.delivery(ours, InitialState::Suppressed);
    let told = world.told_of(&record, IncidentTrigger::Opened, vec![first.clone()]).await;
    let late = |delivery: NewDelivery, sequence| NewDelivery { sequence, replaces_id: Some(first.id), ..delivery };
    let due = |tenant| world.delivery(tenant, InitialState::Due);
    let ruleless = |tenant| NewDelivery { rule_id: None, ..due(tenant) };

    let deliveries = [due(ours), due(other), ruleless(ours), ruleless(other)].map(|one| late(one, 2));
    let ids = deliveries.each_ref().map(|one| one.id);
    let expected = Acceptance { duplicate: true, not_leased: vec![], ..told.clone() };
    assert_eq!(world.told_of(&record, IncidentTrigger::Opened, deliveries.into()).await, expected);
    assert_eq!(world.statuses(&ids).await, [Status::Pending; 4], "rules and channels are told apart");

    let again = [due(ours), due(other), ruleless(ours), ruleless(other)].map(|one| late(one, 2));
    let known = again.each_ref().map(|one| one.id);
    let deliveries = [&again[..], &[late(due(ours), 3), due(ours)]].concat();
    let third = deliveries[4].id;
    let answer = world.told_of(&record, IncidentTrigger::Opened, deliveries).await;
    assert_eq!(answer, Acceptance { not_leased: known.into(), ..expected.clone() });
    for id in known {
        assert!(world.store.delivery(ours.id, id).await.unwrap().is_none());
    }
    let found = world.read(ours, third).await;
    assert_eq!((found.event.id, found.sequence, found.replaces_id), (told.event_id, 3, Some(first.id)));
    assert_eq!(world.store.event(ours.id, told.event_id).await.unwrap().expect("it is there").counts, told.counts);
}

pub(super) async fn what_is_said_late_begins_like_any_other(world: World) {
    let ours = world.ours;
    let record = world.failing(ours).await;
    world.told_of(&record, IncidentTrigger::Opened, vec![world.delivery(ours, InitialState::Suppressed)]).await;
    let under_way = world.claimed(ours).await;
    let late = |sequence| NewDelivery { sequence, ..world.delivery(ours, InitialState::Leased(lease(1, 500))) };
    let admitted = NewDelivery { rate_limit: Some(at_most(1)), ..late(2) };
    let refused = NewDelivery { rate_limit: Some(at_most(1)), ..late(3) };
    let waits = NewDelivery { blocked_by: Some(under_way.id), ..late(4) };
    let ids = [admitted.id, refused.id, waits.id];
    let answer = world.told_of(&record, IncidentTrigger::Opened, vec![admitted, refused, waits]).await;
    assert_eq!(answer.not_leased, ids[1..]);
    assert_eq!(world.statuses(&ids).await, [Status::Sending, Status::Held, Status::Pending]);
    assert_eq!(world.read(ours, ids[2]).await.next_attempt_at, None);
}

pub(super) async fn an_incident_that_changes_keeps_its_count(world: World) {
    let record = world.failing(world.ours).await;
    let claimed = world.claimed(world.ours).await;
    world.store.settle(of(&record, tried(&claimed, NextState::Done(Status::Sent)))).await.unwrap();
    let mut later = record.clone();
    later.revision += 1;
    world.follow(world.ours, changed(later)).await.unwrap();
    let world = world.reopen().await;
    assert_eq!(world.notifications_sent(record.incident.id).await, 1);
}
