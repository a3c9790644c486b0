//! Digests: one delivery that carries what was held back, which ends as it does.

use std::sync::Arc;

use tidings_domain::delivery::{SkipReason, Status};
use tidings_domain::digest::Digest;
use tidings_domain::event::{Content, Event, EventKind};
use tidings_domain::gate::Gate;
use tidings_domain::id::DeliveryId;
use tidings_domain::resource::ResourceType;

use super::admission::at_most;
use super::samples::{NOW, after_ms, assert_same_event, held, lease, stopped, tried, untried};
use super::world::World;
use crate::history::DeliveryFilter;
use crate::queue::{
    Claimed, Counts, FollowUps, InitialState, NewDelivery, NewDigest, NextState, ReleaseBatch, ReleaseOutcome, Resend,
    Settlement,
};

fn of_digest(settlement: Settlement) -> Settlement {
    Settlement { follow_ups: FollowUps::Digest, ..settlement }
}

impl World {
    /// A digest of these, for our channel.
    pub(super) fn digest(&self, carried: Vec<DeliveryId>) -> NewDigest {
        let channel = self.ours.channel_id.to_string();
        let mut event = Event::sample(self.id(), self.ours.id, ResourceType::Channel, &channel, NOW);
        event.kind = EventKind::Digest;
        event.run_id = format!("digest-{}", self.draw());
        event.content = Content::Digest(Box::new(Digest::new("quiet hours".into(), vec![], NOW)));
        let delivery = NewDelivery { rule_id: None, rule_generation: 0, ..self.delivery(self.ours, InitialState::Due) };
        NewDigest { new_event: self.new_event(event, vec![delivery]), carried }
    }

    /// Holds so many, has a digest carry them, and claims it.
    async fn claimed_digest(&self, count: usize) -> (Claimed, Vec<DeliveryId>) {
        let carried = self.hold(count).await;
        let digest = self.digest(carried.clone());
        let gone = self.let_go(ReleaseBatch { digest: Some(digest), ..self.release(NOW) }).await;
        assert_eq!(gone, ReleaseOutcome { due: 1, carried: count as u32, held: 0 });
        let mut claimed = self.claim(self.ours, NOW, lease(1, 60_000), 9).await;
        assert_eq!(claimed.len(), 1);
        (claimed.remove(0), carried)
    }
}

pub(super) async fn a_digest_carries_what_is_held(world: World) {
    let ids = world.hold(3).await;
    let digest = world.digest(vec![ids[0], ids[2], world.accept_one(world.ours, InitialState::Suppressed).await]);
    let (event, id) = (Arc::clone(&digest.new_event.event), digest.new_event.deliveries[0].id);
    let gone = world.let_go(ReleaseBatch { digest: Some(digest), ..world.release(after_ms(9)) }).await;
    assert_eq!(gone, ReleaseOutcome { due: 1, carried: 2, held: 0 });
    for carried in [ids[0], ids[2]] {
        let found = world.read(world.ours, carried).await;
        assert_eq!((found.status, found.digest_id, found.held_until), (Status::Held, Some(id), None));
        assert_eq!((found.reason.as_deref(), found.completed_at), (Some("quiet_hours"), None));
    }
    assert_eq!(world.all_held().await, [ids[1]], "what is carried waits for nothing else");
    let carried = |digest_id| DeliveryFilter { digest_id: Some(digest_id), limit: 9, ..DeliveryFilter::default() };
    assert_eq!(world.listed(world.ours, carried(id)).await, [ids[2], ids[0]]);
    assert_eq!(world.listed(world.theirs, carried(id)).await, []);
    let found = world.read(world.ours, id).await;
    assert_same_event(&found.event, &event);
    assert_eq!((found.status, found.rule_id, found.digest_id), (Status::Pending, None, None));
    let counts = world.store.event(world.ours.id, event.id).await.unwrap().expect("it is there").counts;
    assert_eq!(counts, Counts { pending: 1, ..Counts::default() });
    let claimed = world.claim(world.ours, NOW, lease(1, 9), 9).await.remove(0);
    assert_eq!((claimed.id, claimed.rule_id, claimed.rule_generation), (id, None, 0));
    assert_same_event(&claimed.event, &event);
}

pub(super) async fn what_a_digest_carries_ends_as_it_does(world: World) {
    let evaluation = stopped(Gate::ChannelDisabled, after_ms(40));
    for (next, status, reason) in [
        (NextState::Done(Status::Sent), Status::Sent, None),
        (NextState::Done(Status::Failed), Status::Failed, None),
        (NextState::Suppressed(evaluation.clone()), Status::Suppressed, Some("channel_disabled")),
        (NextState::Skipped(SkipReason::ChannelDeleted), Status::Skipped, Some("channel_deleted")),
    ] {
        let (digest, carried) = world.claimed_digest(2).await;
        let other = world.hold(1).await[0];
        world.store.settle(of_digest(untried(&digest, next.clone()))).await.unwrap();
        for id in carried {
            let found = world.read(world.ours, id).await;
            assert_eq!((found.status, found.reason.as_deref()), (status, reason));
            assert_eq!((found.completed_at, found.held_until), (Some(after_ms(50)), None));
            assert_eq!(found.sent_at, (status == Status::Sent).then_some(after_ms(50)));
            assert_eq!((found.digest_id, found.attempt_count), (Some(digest.id), 0));
            let is_walked = matches!(next, NextState::Suppressed(_));
            assert_eq!(found.gate_evaluations.get(1), is_walked.then_some(&evaluation));
        }
        assert_eq!(world.status(world.ours, other).await, Status::Held, "nothing else does");
    }
}

pub(super) async fn what_is_carried_stays_held_until_then(world: World) {
    let (mut digest, carried) = world.claimed_digest(2).await;
    for next in [NextState::RetryAt(NOW), NextState::Held(held(NOW, after_ms(10)))] {
        world.store.settle(of_digest(untried(&digest, next.clone()))).await.unwrap();
        assert_eq!(world.statuses(&carried).await, [Status::Held; 2]);
        if matches!(next, NextState::Held(_)) {
            assert_eq!(world.all_held().await, [digest.id], "it is held itself, and lets go by itself");
            world.let_go(ReleaseBatch { individual: vec![digest.id], ..world.release(NOW) }).await;
        }
        digest = world.claim(world.ours, NOW, lease(1, 60_000), 9).await.remove(0);
    }
    let mut stale = of_digest(tried(&digest, NextState::Done(Status::Sent)));
    stale.owner = 9;
    world.store.settle(stale).await.unwrap();
    assert_eq!(world.statuses(&carried).await, [Status::Held; 2]);
    let world = world.reopen().await;
    world.store.settle(of_digest(tried(&digest, NextState::Done(Status::Sent)))).await.unwrap();
    assert_eq!(world.statuses(&carried).await, [Status::Sent; 2]);
}

pub(super) async fn what_failed_with_a_digest_is_sent_with_it(world: World) {
    let (digest, carried) = world.claimed_digest(3).await;
    world.store.settle(of_digest(tried(&digest, NextState::Done(Status::Failed)))).await.unwrap();
    let resend =
        |delivery_id| Resend { workspace_id: world.ours.id, delivery_id, rule_generation: 1, now: after_ms(60) };
    // One of them goes its own way.
    world.store.resend(resend(carried[0])).await.unwrap();
    world.store.resend(resend(digest.id)).await.unwrap();
    let claimed = world.claim(world.ours, after_ms(60), lease(1, 60_000), 9).await;
    assert_eq!(claimed.len(), 2);
    let own = claimed.iter().find(|one| one.id == carried[0]).expect("it is due");
    world.store.settle(tried(own, NextState::Done(Status::Failed))).await.unwrap();
    let again = claimed.iter().find(|one| one.id == digest.id).expect("it is due");
    world.store.settle(of_digest(tried(again, NextState::Done(Status::Sent)))).await.unwrap();
    use Status::{Failed, Sent};
    assert_eq!(world.statuses(&carried).await, [Failed, Sent, Sent]);
    assert_eq!(world.read(world.ours, carried[0]).await.digest_id, Some(digest.id), "the log remembers");

    world.store.resend(resend(digest.id)).await.unwrap();
    let again = world.claim(world.ours, after_ms(60), lease(1, 60_000), 9).await.remove(0);
    world.store.settle(of_digest(tried(&again, NextState::Done(Failed)))).await.unwrap();
    assert_eq!(world.statuses(&carried).await, [Failed, Sent, Sent], "what was sent stays sent");
}

pub(super) async fn a_digest_takes_one_place(world: World) {
    let ids = world.hold(5).await;
    let digest = world.digest(ids);
    let gone =
        world.let_go(ReleaseBatch { digest: Some(digest), rate_limit: Some(at_most(2)), ..world.release(NOW) }).await;
    assert_eq!(gone, ReleaseOutcome { due: 1, carried: 5, held: 0 });
    assert_eq!(world.ask(at_most(2), NOW).await.0, Status::Pending);
    assert_eq!(world.ask(at_most(2), NOW).await.0, Status::Held);
}

pub(super) async fn a_digest_that_the_limit_refuses_is_not_made(world: World) {
    world.ask(at_most(1), after_ms(10_000)).await;
    let ids = world.hold(2).await;
    let digest = world.digest(ids.clone());
    let (event_id, now) = (digest.new_event.event.id, after_ms(20_000));
    let release = ReleaseBatch { digest: Some(digest), rate_limit: Some(at_most(1)), ..world.release(now) };
    assert_eq!(world.let_go(release.clone()).await, ReleaseOutcome { held: 2, ..ReleaseOutcome::default() });
    assert!(world.store.event(world.ours.id, event_id).await.unwrap().is_none());
    for id in &ids {
        let found = world.read(world.ours, *id).await;
        assert_eq!((found.held_until, found.digest_id), (Some(after_ms(70_000)), None));
        assert_eq!((found.reason.as_deref(), found.gate_evaluations.len()), (Some("rate_limit"), 2));
    }
    assert_eq!(world.ask(at_most(2), after_ms(30_000)).await.0, Status::Held, "nothing overtakes it");
    let release = ReleaseBatch { now: after_ms(70_000), ..release };
    assert_eq!(world.let_go(release).await, ReleaseOutcome { due: 1, carried: 2, held: 0 });
}

pub(super) async fn what_comes_after_a_carried_one_waits_for_its_digest(world: World) {
    let (digest, carried) = world.claimed_digest(2).await;
    let after = NewDelivery { blocked_by: Some(carried[0]), ..world.delivery(world.ours, InitialState::Due) };
    let id = after.id;
    let answer = world.accept(world.new_event(world.event(world.ours), vec![after])).await;
    assert_eq!(answer.not_leased, [id]);
    assert!(world.claim(world.ours, after_ms(9_000), lease(1, 60_000), 9).await.is_empty());
    world.store.settle(of_digest(tried(&digest, NextState::Done(Status::Sent)))).await.unwrap();
    let claimed = world.claim(world.ours, after_ms(50), lease(1, 60_000), 9).await;
    assert!(claimed.iter().map(|one| (one.id, one.blocked_by)).eq([(id, Some(carried[0]))]));
}

pub(super) async fn a_large_digest_is_one_release(world: World) {
    let batch = (0..2_000)
        .map(|_| world.new_event(world.event(world.ours), vec![world.delivery(world.ours, InitialState::Held)]));
    world.store.accept(batch.collect()).await.unwrap();
    let ids = world.all_held().await;
    let digest = world.digest(ids.clone());
    let gone = world.let_go(ReleaseBatch { digest: Some(digest), ..world.release(NOW) }).await;
    assert_eq!(gone, ReleaseOutcome { due: 1, carried: 2_000, held: 0 });
    assert_eq!(world.all_held().await, []);
    let claimed = world.claim(world.ours, NOW, lease(1, 60_000), 9).await.remove(0);
    world.store.settle(of_digest(tried(&claimed, NextState::Done(Status::Sent)))).await.unwrap();
    assert_eq!(world.statuses(&[ids[0], ids[999], ids[1_999]]).await, [Status::Sent; 3]);
}
