//! Follow-ups: incidents count the notifications that were sent. And deferred openings: each sequence is inserted once.

use tidings_domain::delivery::{SkipReason, Status};
use tidings_domain::id::{DeliveryId, IncidentId};
use tidings_domain::incident::IncidentTrigger;

use super::fixture::Fixture;
use super::monitoring_fixture::incident_only;
use super::rate_limit::at_most;
use super::samples::{NOW, after_ms, attempted, lease, unattempted};
use crate::monitoring::{IncidentRecord, TransitionOutcome, TransitionRecord};
use crate::queue::{
    Acceptance, Claimed, FollowUps, InitialState, NewDelivery, NextState, ReleaseBatch, Resend, Settlement,
};

fn with_follow_up(record: &IncidentRecord, settlement: Settlement) -> Settlement {
    Settlement { follow_ups: FollowUps::Incident(record.incident.id), ..settlement }
}

impl Fixture {
    async fn notifications_sent(&self, id: IncidentId) -> u64 {
        self.stored_incident(self.ours, id).await.incident.notifications_sent
    }

    /// Records a transition with one event of the incident, with these deliveries.
    async fn record_incident_event(
        &self,
        record: &IncidentRecord,
        trigger: IncidentTrigger,
        deliveries: Vec<NewDelivery>,
    ) -> Acceptance {
        let events = vec![self.incident_event(record, trigger, NOW, deliveries)];
        match self.record_transition(self.ours, TransitionRecord { events, ..TransitionRecord::default() }).await {
            Ok(TransitionOutcome::Applied(mut answers)) => answers.remove(0),
            outcome => panic!("{outcome:?}"),
        }
    }

    async fn claim_only_retry(&self, id: DeliveryId) -> Claimed {
        let mut claimed = self.claim(self.ours, after_ms(900), lease(1, 60_000), 9).await;
        assert!(claimed.iter().map(|one| one.id).eq([id]));
        claimed.remove(0)
    }
}

pub(super) async fn incident_counts_first_sent(fixture: Fixture) {
    let (record, other) = (fixture.open_incident(fixture.ours).await, fixture.open_incident(fixture.ours).await);
    let id = record.incident.id;
    for (next, count) in [
        (NextState::Skipped(SkipReason::RuleDisabled), 0),
        (NextState::Done(Status::Sent), 1),
        (NextState::Done(Status::Failed), 1),
        (NextState::Done(Status::Sent), 2),
    ] {
        let claimed = fixture.accept_and_claim(fixture.ours).await;
        fixture.store.settle(with_follow_up(&record, unattempted(&claimed, next.clone()))).await.unwrap();
        fixture.store.settle(with_follow_up(&record, unattempted(&claimed, next.clone()))).await.unwrap();
        assert_eq!(fixture.notifications_sent(id).await, count, "{next:?}, and the second was stale");
    }
    let retried = fixture.accept_and_claim(fixture.ours).await;
    fixture
        .store
        .settle(with_follow_up(&record, attempted(&retried, NextState::RetryAt(after_ms(900)))))
        .await
        .unwrap();
    let retried = fixture.claim_only_retry(retried.id).await;
    fixture.store.settle(with_follow_up(&record, attempted(&retried, NextState::Done(Status::Sent)))).await.unwrap();
    assert_eq!(fixture.notifications_sent(id).await, 3);
    assert_eq!(fixture.notifications_sent(other.incident.id).await, 0);
    fixture
        .store
        .settle(with_follow_up(
            &other,
            unattempted(&fixture.accept_and_claim(fixture.theirs).await, NextState::Done(Status::Sent)),
        ))
        .await
        .unwrap();
    assert_eq!(
        fixture.notifications_sent(other.incident.id).await,
        0,
        "a delivery of another workspace does not count"
    );
}

pub(super) async fn incident_resent_delivery_counts_once(fixture: Fixture) {
    let record = fixture.open_incident(fixture.ours).await;
    let resend =
        |delivery_id| Resend { workspace_id: fixture.ours.id, delivery_id, rule_generation: 1, now: after_ms(900) };
    for (number, first) in [Status::Sent, Status::Failed].into_iter().enumerate() {
        let mut claimed = fixture.accept_and_claim(fixture.ours).await;
        for status in [first, Status::Failed, Status::Sent, Status::Sent] {
            fixture.store.settle(with_follow_up(&record, attempted(&claimed, NextState::Done(status)))).await.unwrap();
            fixture.store.resend(resend(claimed.id), None).await.unwrap();
            claimed = fixture.claim_only_retry(claimed.id).await;
        }
        fixture
            .store
            .settle(with_follow_up(&record, attempted(&claimed, NextState::Done(Status::Failed))))
            .await
            .unwrap();
        assert_eq!(fixture.notifications_sent(record.incident.id).await, number as u64 + 1);
    }
}

pub(super) async fn digest_sent_counts_for_each_incident(fixture: Fixture) {
    let (one, two) = (fixture.open_incident(fixture.ours).await, fixture.open_incident(fixture.ours).await);
    let held = || fixture.delivery(fixture.ours, InitialState::Held);
    fixture.record_incident_event(&one, IncidentTrigger::Opened, vec![held(), held()]).await;
    fixture.record_incident_event(&one, IncidentTrigger::Resolved, vec![held()]).await;
    fixture.record_incident_event(&two, IncidentTrigger::Opened, vec![held()]).await;
    fixture.accept_held(2).await;
    let digest = fixture.digest(fixture.list_all_held().await);
    let id = digest.new_event.deliveries[0].id;
    assert_eq!(
        fixture.release_held(ReleaseBatch { digest: Some(digest), ..fixture.empty_release(NOW) }).await.members,
        6
    );
    let counts =
        async || (fixture.notifications_sent(one.incident.id).await, fixture.notifications_sent(two.incident.id).await);
    for (status, expected) in [(Status::Failed, (0, 0)), (Status::Sent, (3, 1)), (Status::Sent, (3, 1))] {
        let claimed = fixture.claim_only_retry(id).await;
        let settlement = attempted(&claimed, NextState::Done(status));
        fixture.store.settle(Settlement { follow_ups: FollowUps::Digest, ..settlement }).await.unwrap();
        assert_eq!(counts().await, expected);
        let resend = Resend { workspace_id: fixture.ours.id, delivery_id: id, rule_generation: 0, now: after_ms(60) };
        fixture.store.resend(resend, None).await.unwrap();
    }
}

pub(super) async fn deferred_opening_same_sequence_is_inserted_once(fixture: Fixture) {
    let ours = fixture.ours;
    let record = fixture.open_incident(ours).await;
    let other = fixture.another_channel().await;
    let first = fixture.delivery(ours, InitialState::Suppressed);
    let first_answer = fixture.record_incident_event(&record, IncidentTrigger::Opened, vec![first.clone()]).await;
    let deferred = |delivery: NewDelivery, sequence| NewDelivery { sequence, replaces_id: Some(first.id), ..delivery };
    let due = |tenant| fixture.delivery(tenant, InitialState::Due);
    let ruleless = |tenant| NewDelivery { rule_id: None, ..due(tenant) };

    let deliveries = [due(ours), due(other), ruleless(ours), ruleless(other)].map(|one| deferred(one, 2));
    let ids = deliveries.each_ref().map(|one| one.id);
    let answer = fixture.record_incident_event(&record, IncidentTrigger::Opened, deliveries.into()).await;
    let blocked = ids[2..].to_vec();
    let expected = Acceptance { duplicate: true, not_leased: blocked, ..first_answer.clone() };
    assert_eq!(answer, expected, "one after the other through each channel");
    assert_eq!(fixture.statuses(&ids).await, [Status::Pending; 4], "they differ by rule or channel");

    let again = [due(ours), due(other), ruleless(ours), ruleless(other)].map(|one| deferred(one, 2));
    let repeated = again.each_ref().map(|one| one.id);
    let deliveries = [&again[..], &[deferred(due(ours), 3), due(ours)]].concat();
    let third = deliveries[4].id;
    let answer = fixture.record_incident_event(&record, IncidentTrigger::Opened, deliveries).await;
    assert_eq!(answer, Acceptance { not_leased: [&repeated[..], &[third]].concat(), ..expected });
    for id in repeated {
        assert!(fixture.store.delivery(ours.id, id).await.unwrap().is_none());
    }
    let found = fixture.read(ours, third).await;
    assert_eq!((found.event.id, found.sequence, found.replaces_id), (first_answer.event_id, 3, Some(first.id)));
    assert_eq!(
        fixture.store.event(ours.id, first_answer.event_id).await.unwrap().expect("it is there").counts,
        first_answer.counts
    );
}

pub(super) async fn deferred_opening_initial_state_is_resolved(fixture: Fixture) {
    let ours = fixture.ours;
    let record = fixture.open_incident(ours).await;
    fixture
        .record_incident_event(&record, IncidentTrigger::Opened, vec![fixture.delivery(ours, InitialState::Suppressed)])
        .await;
    let deferred = |sequence| NewDelivery { sequence, ..fixture.delivery(ours, InitialState::Leased(lease(1, 500))) };
    let admitted = NewDelivery { rate_limit: Some(at_most(1)), ..deferred(2) };
    let refused = NewDelivery { rate_limit: Some(at_most(1)), ..deferred(3) };
    let blocked = deferred(4);
    let ids = [admitted.id, refused.id, blocked.id];
    let answer =
        fixture.record_incident_event(&record, IncidentTrigger::Opened, vec![admitted, refused, blocked]).await;
    assert_eq!(answer.not_leased, ids[1..]);
    assert_eq!(fixture.statuses(&ids).await, [Status::Sending, Status::Held, Status::Pending]);
    fixture.assert_blocked(ids[2], ids[0]).await;
}

pub(super) async fn incident_updated_keeps_count(fixture: Fixture) {
    let record = fixture.open_incident(fixture.ours).await;
    let claimed = fixture.accept_and_claim(fixture.ours).await;
    fixture.store.settle(with_follow_up(&record, attempted(&claimed, NextState::Done(Status::Sent)))).await.unwrap();
    let mut later = record.clone();
    later.revision += 1;
    fixture.record_transition(fixture.ours, incident_only(later)).await.unwrap();
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.notifications_sent(record.incident.id).await, 1);
}
