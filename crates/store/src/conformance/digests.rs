//! Digests: one delivery in place of held ones, which are settled with it.

use std::sync::Arc;

use tidings_domain::delivery::{SkipReason, Status};
use tidings_domain::digest::Digest;
use tidings_domain::event::{Content, Event, EventKind};
use tidings_domain::gate::Gate;
use tidings_domain::id::DeliveryId;
use tidings_domain::resource::ResourceType;

use super::fixture::Fixture;
use super::rate_limit::at_most;
use super::samples::{NOW, after_ms, assert_same_event, attempted, held, lease, stopped, unattempted};
use crate::history::DeliveryFilter;
use crate::queue::{
    Claimed, Counts, FollowUps, InitialState, NewDelivery, NewDigest, NextState, ReleaseBatch, ReleaseOutcome, Resend,
    Settlement,
};

pub(super) fn of_digest(settlement: Settlement) -> Settlement {
    Settlement { follow_ups: FollowUps::Digest, ..settlement }
}

impl Fixture {
    /// A digest of these members, for our channel.
    pub(super) fn digest(&self, members: Vec<DeliveryId>) -> NewDigest {
        let channel = self.ours.channel_id.to_string();
        let mut event = Event::sample(self.id(), self.ours.id, ResourceType::Channel, &channel, NOW);
        event.kind = EventKind::Digest;
        event.run_id = format!("digest-{}", self.next_number());
        event.content = Content::Digest(Box::new(Digest::new("quiet hours".into(), vec![], NOW)));
        let delivery = NewDelivery { rule_id: None, rule_generation: 0, ..self.delivery(self.ours, InitialState::Due) };
        NewDigest { new_event: self.new_event(event, vec![delivery]), members }
    }

    /// Accepts `count` held deliveries, releases them as a digest, and claims it. Returns it with its members.
    pub(super) async fn accept_and_claim_digest(&self, count: usize) -> (Claimed, Vec<DeliveryId>) {
        let members = self.accept_held(count).await;
        let digest = self.digest(members.clone());
        let outcome = self.release_held(ReleaseBatch { digest: Some(digest), ..self.empty_release(NOW) }).await;
        assert_eq!(outcome, ReleaseOutcome { due: 1, members: count as u32, held: 0 });
        let mut claimed = self.claim(self.ours, NOW, lease(1, 60_000), 9).await;
        assert_eq!(claimed.len(), 1);
        (claimed.remove(0), members)
    }
}

pub(super) async fn digest_takes_held_members(fixture: Fixture) {
    let ids = fixture.accept_held(3).await;
    let digest = fixture.digest(vec![ids[0], ids[2], fixture.accept_one(fixture.ours, InitialState::Suppressed).await]);
    let (event, id) = (Arc::clone(&digest.new_event.event), digest.new_event.deliveries[0].id);
    let outcome =
        fixture.release_held(ReleaseBatch { digest: Some(digest), ..fixture.empty_release(after_ms(9)) }).await;
    assert_eq!(outcome, ReleaseOutcome { due: 1, members: 2, held: 0 });
    for member in [ids[0], ids[2]] {
        let found = fixture.read(fixture.ours, member).await;
        assert_eq!((found.status, found.digest_id, found.held_until), (Status::Held, Some(id), None));
        assert_eq!((found.reason.as_deref(), found.completed_at), (Some("quiet_hours"), None));
    }
    assert_eq!(fixture.list_all_held().await, [ids[1]], "members are not listed as held");
    let members_of = |digest_id| DeliveryFilter { digest_id: Some(digest_id), limit: 9, ..DeliveryFilter::default() };
    assert_eq!(fixture.delivery_ids(fixture.ours, members_of(id)).await, [ids[2], ids[0]]);
    assert_eq!(fixture.delivery_ids(fixture.theirs, members_of(id)).await, []);
    let found = fixture.read(fixture.ours, id).await;
    assert_same_event(&found.event, &event);
    assert_eq!((found.status, found.rule_id, found.digest_id), (Status::Pending, None, None));
    let counts = fixture.store.event(fixture.ours.id, event.id).await.unwrap().expect("it is there").counts;
    assert_eq!(counts, Counts { pending: 1, ..Counts::default() });
    let claimed = fixture.claim(fixture.ours, NOW, lease(1, 9), 9).await.remove(0);
    assert_eq!((claimed.id, claimed.rule_id, claimed.rule_generation), (id, None, 0));
    assert_same_event(&claimed.event, &event);
}

pub(super) async fn digest_settled_settles_members(fixture: Fixture) {
    let evaluation = stopped(Gate::ChannelDisabled, after_ms(40));
    for (next, status, reason) in [
        (NextState::Done(Status::Sent), Status::Sent, None),
        (NextState::Done(Status::Failed), Status::Failed, None),
        (NextState::Suppressed(evaluation.clone()), Status::Suppressed, Some("channel_disabled")),
        (NextState::Skipped(SkipReason::ChannelDeleted), Status::Skipped, Some("channel_deleted")),
    ] {
        let (digest, members) = fixture.accept_and_claim_digest(2).await;
        let other = fixture.accept_held(1).await[0];
        fixture.store.settle(of_digest(unattempted(&digest, next.clone()))).await.unwrap();
        for id in members {
            let found = fixture.read(fixture.ours, id).await;
            assert_eq!((found.status, found.reason.as_deref()), (status, reason));
            assert_eq!((found.completed_at, found.held_until), (Some(after_ms(50)), None));
            assert_eq!(found.sent_at, (status == Status::Sent).then_some(after_ms(50)));
            assert_eq!((found.digest_id, found.attempt_count), (Some(digest.id), 0));
            let is_evaluated = matches!(next, NextState::Suppressed(_));
            assert_eq!(found.gate_evaluations.get(1), is_evaluated.then_some(&evaluation));
        }
        assert_eq!(fixture.status(fixture.ours, other).await, Status::Held, "only members are settled");
    }
}

pub(super) async fn digest_unsettled_members_stay_held(fixture: Fixture) {
    let (digest, members) = fixture.accept_and_claim_digest(2).await;
    fixture.store.settle(of_digest(unattempted(&digest, NextState::RetryAt(NOW)))).await.unwrap();
    assert_eq!(fixture.statuses(&members).await, [Status::Held; 2]);
    let digest = fixture.claim(fixture.ours, NOW, lease(1, 60_000), 9).await.remove(0);
    let mut stale = of_digest(attempted(&digest, NextState::Done(Status::Sent)));
    stale.owner = 9;
    fixture.store.settle(stale).await.unwrap();
    assert_eq!(fixture.statuses(&members).await, [Status::Held; 2]);
    let fixture = fixture.reopen().await;
    fixture.store.settle(of_digest(attempted(&digest, NextState::Done(Status::Sent)))).await.unwrap();
    assert_eq!(fixture.statuses(&members).await, [Status::Sent; 2]);
}

pub(super) async fn digest_that_a_gate_holds_is_dissolved(fixture: Fixture) {
    let (digest, members) = fixture.accept_and_claim_digest(2).await;
    let evaluation = held(NOW, after_ms(10));
    fixture.store.settle(of_digest(unattempted(&digest, NextState::Held(evaluation.clone())))).await.unwrap();
    let found = fixture.read(fixture.ours, digest.id).await;
    assert_eq!((found.status, found.reason.as_deref()), (Status::Suppressed, Some("quiet_hours")));
    assert_eq!((found.held_until, found.gate_evaluations.last()), (None, Some(&evaluation)));
    assert_eq!(fixture.list_all_held().await, members, "its members are held, for another digest");
    for id in &members {
        let found = fixture.read(fixture.ours, *id).await;
        assert_eq!((found.status, found.held_until, found.digest_id), (Status::Held, Some(after_ms(10)), None));
        assert_eq!(found.gate_evaluations.last(), Some(&evaluation));
    }
    let again = fixture.digest(members.clone());
    let release = ReleaseBatch { digest: Some(again), ..fixture.empty_release(after_ms(10)) };
    assert_eq!(fixture.release_held(release).await.members, 2);
}

pub(super) async fn resent_digest_that_a_gate_holds_is_dissolved(fixture: Fixture) {
    let (digest, members) = fixture.accept_and_claim_digest(2).await;
    fixture.store.settle(of_digest(attempted(&digest, NextState::Done(Status::Failed)))).await.unwrap();
    let resend =
        Resend { workspace_id: fixture.ours.id, delivery_id: digest.id, rule_generation: 1, now: after_ms(60) };
    fixture.store.resend(resend, None).await.unwrap();
    let again = fixture.claim(fixture.ours, after_ms(60), lease(1, 60_000), 9).await.remove(0);
    let next = NextState::Held(held(NOW, after_ms(100)));
    fixture.store.settle(of_digest(unattempted(&again, next))).await.unwrap();
    assert_eq!(fixture.status(fixture.ours, digest.id).await, Status::Suppressed);
    assert_eq!(fixture.list_all_held().await, members, "they would be lost with the digest");
    let found = fixture.read(fixture.ours, members[0]).await;
    assert_eq!((found.held_until, found.completed_at, found.digest_id), (Some(after_ms(100)), None, None));
}

pub(super) async fn digest_resent_settles_failed_members(fixture: Fixture) {
    let (digest, members) = fixture.accept_and_claim_digest(3).await;
    fixture.store.settle(of_digest(attempted(&digest, NextState::Done(Status::Failed)))).await.unwrap();
    let resend =
        |delivery_id| Resend { workspace_id: fixture.ours.id, delivery_id, rule_generation: 1, now: after_ms(60) };
    // A member that is resent by itself leaves the digest.
    fixture.store.resend(resend(members[0]), None).await.unwrap();
    fixture.store.resend(resend(digest.id), None).await.unwrap();
    let claimed = fixture.claim(fixture.ours, after_ms(60), lease(1, 60_000), 9).await;
    assert_eq!(claimed.len(), 2);
    let own = claimed.iter().find(|one| one.id == members[0]).expect("it is due");
    fixture.store.settle(attempted(own, NextState::Done(Status::Failed))).await.unwrap();
    let again = claimed.iter().find(|one| one.id == digest.id).expect("it is due");
    fixture.store.settle(of_digest(attempted(again, NextState::Done(Status::Sent)))).await.unwrap();
    use Status::{Failed, Sent};
    assert_eq!(fixture.statuses(&members).await, [Failed, Sent, Sent]);
    assert_eq!(fixture.read(fixture.ours, members[0]).await.digest_id, Some(digest.id), "the history keeps it");

    fixture.store.resend(resend(digest.id), None).await.unwrap();
    let again = fixture.claim(fixture.ours, after_ms(60), lease(1, 60_000), 9).await.remove(0);
    fixture.store.settle(of_digest(attempted(&again, NextState::Done(Failed)))).await.unwrap();
    assert_eq!(fixture.statuses(&members).await, [Failed, Sent, Sent], "sent members stay sent");
}

pub(super) async fn digest_takes_one_rate_limit_slot(fixture: Fixture) {
    let ids = fixture.accept_held(5).await;
    let digest = fixture.digest(ids);
    let outcome = fixture
        .release_held(ReleaseBatch { digest: Some(digest), rate_limit: Some(at_most(2)), ..fixture.empty_release(NOW) })
        .await;
    assert_eq!(outcome, ReleaseOutcome { due: 1, members: 5, held: 0 });
    assert_eq!(fixture.accept_rate_limited(at_most(2), NOW).await.0, Status::Pending);
    assert_eq!(fixture.accept_rate_limited(at_most(2), NOW).await.0, Status::Held);
}

pub(super) async fn digest_refused_by_rate_limit_is_not_created(fixture: Fixture) {
    fixture.accept_rate_limited(at_most(1), after_ms(10_000)).await;
    let ids = fixture.accept_held(2).await;
    let digest = fixture.digest(ids.clone());
    let (event_id, now) = (digest.new_event.event.id, after_ms(20_000));
    let release = ReleaseBatch { digest: Some(digest), rate_limit: Some(at_most(1)), ..fixture.empty_release(now) };
    assert_eq!(fixture.release_held(release.clone()).await, ReleaseOutcome { held: 2, ..ReleaseOutcome::default() });
    assert!(fixture.store.event(fixture.ours.id, event_id).await.unwrap().is_none());
    for id in &ids {
        let found = fixture.read(fixture.ours, *id).await;
        assert_eq!((found.held_until, found.digest_id), (Some(after_ms(70_000)), None));
        assert_eq!((found.reason.as_deref(), found.gate_evaluations.len()), (Some("rate_limit"), 2));
    }
    assert_eq!(
        fixture.accept_rate_limited(at_most(2), after_ms(30_000)).await.0,
        Status::Held,
        "a new delivery does not overtake"
    );
    let release = ReleaseBatch { now: after_ms(70_000), ..release };
    assert_eq!(fixture.release_held(release).await, ReleaseOutcome { due: 1, members: 2, held: 0 });
}

pub(super) async fn digest_of_many_members_is_one_release(fixture: Fixture) {
    let batch = (0..2_000).map(|_| {
        fixture.new_event(fixture.event(fixture.ours), vec![fixture.delivery(fixture.ours, InitialState::Held)])
    });
    fixture.store.accept(batch.collect()).await.unwrap();
    let ids = fixture.list_all_held().await;
    let digest = fixture.digest(ids.clone());
    let outcome = fixture.release_held(ReleaseBatch { digest: Some(digest), ..fixture.empty_release(NOW) }).await;
    assert_eq!(outcome, ReleaseOutcome { due: 1, members: 2_000, held: 0 });
    assert_eq!(fixture.list_all_held().await, []);
    let claimed = fixture.claim(fixture.ours, NOW, lease(1, 60_000), 9).await.remove(0);
    fixture.store.settle(of_digest(attempted(&claimed, NextState::Done(Status::Sent)))).await.unwrap();
    assert_eq!(fixture.statuses(&[ids[0], ids[999], ids[1_999]]).await, [Status::Sent; 3]);
}
