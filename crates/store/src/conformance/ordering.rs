//! Order: of one subject and channel, a delivery is not attempted before those that joined the chain earlier are settled.

use tidings_domain::delivery::{AttemptTrigger, OutdatedReason, SkipReason, Status};
use tidings_domain::gate::Gate;
use tidings_domain::id::{DeliveryId, Id as _, IncidentId};
use tidings_domain::incident::{IncidentTrigger, Subject};
use tidings_domain::time::Timestamp;

use super::fixture::{Fixture, Tenant};
use super::samples::{NOW, after_ms, attempted, held, lease, stopped, unattempted};
use crate::monitoring::IncidentRecord;
use crate::queue::{
    Acceptance, Claimed, FollowUps, InitialState, NewDelivery, NewEvent, NextState, ReleaseBatch, Settled, Settlement,
};

/// A settlement of a delivery of some incident, which need not exist.
pub(super) fn of_incident(settlement: Settlement) -> Settlement {
    Settlement { follow_ups: FollowUps::Incident(IncidentId::from_bytes([1; 16])), ..settlement }
}

impl Fixture {
    /// An incident, which is not stored, of a subject of its own.
    pub(super) fn new_subject(&self) -> IncidentRecord {
        self.incident_record(self.ours, Subject::Alert(format!("alert-{}", self.next_number())))
    }

    /// A new event of the incident, with this delivery.
    pub(super) fn event_of(&self, record: &IncidentRecord, delivery: NewDelivery) -> NewEvent {
        let trigger = IncidentTrigger::Reminder { number: self.next_number() as u32 };
        self.incident_event(record, trigger, delivery.evaluation.evaluated_at, vec![delivery])
    }

    /// Accepts a new event of the incident with one delivery.
    pub(super) async fn accept_of(&self, record: &IncidentRecord, start: InitialState) -> DeliveryId {
        self.accept_of_at(record, self.ours, start, NOW).await.0
    }

    async fn accept_of_at(
        &self,
        record: &IncidentRecord,
        tenant: Tenant,
        start: InitialState,
        at: Timestamp,
    ) -> (DeliveryId, Acceptance) {
        let delivery = self.delivery_at(tenant, start, at);
        let id = delivery.id;
        (id, self.accept(self.event_of(record, delivery)).await)
    }

    /// Accepts a due delivery of the incident, which owner 1 claims.
    async fn accept_and_claim_of(&self, record: &IncidentRecord) -> Claimed {
        let id = self.accept_of(record, InitialState::Due).await;
        self.claim_only_at(id, NOW).await
    }

    /// Asserts that the delivery is pending and has no due instant.
    pub(super) async fn assert_blocked(&self, id: DeliveryId, by: DeliveryId) {
        let found = self.read(self.ours, id).await;
        assert_eq!((found.status, found.next_attempt_at, found.blocked_by), (Status::Pending, None, Some(by)));
    }

    /// Claims what is due a minute later, and asserts that it is this one only.
    pub(super) async fn claim_only(&self, id: DeliveryId) -> Claimed {
        self.claim_only_at(id, after_ms(60_000)).await
    }

    async fn claim_only_at(&self, id: DeliveryId, now: Timestamp) -> Claimed {
        let mut claimed = self.claim(self.ours, now, lease(1, 600_000), 9).await;
        assert!(claimed.iter().map(|one| one.id).eq([id]), "{claimed:?}");
        claimed.remove(0)
    }

    async fn settle_of(&self, settlement: Settlement, now: Timestamp) {
        assert_eq!(self.store.settle(of_incident(Settlement { now, ..settlement })).await.unwrap(), Settled::Written);
    }

    /// A delivery that failed once and waits for its retry, due this long after [`NOW`].
    async fn waiting_for_retry(&self, record: &IncidentRecord, retry_ms: u64, not_before: Option<u64>) -> DeliveryId {
        let claimed = self.accept_and_claim_of(record).await;
        let settlement = attempted(&claimed, NextState::RetryAt(after_ms(retry_ms)));
        self.settle_of(Settlement { not_before: not_before.map(after_ms), ..settlement }, NOW).await;
        claimed.id
    }

    async fn due_at(&self, id: DeliveryId) -> Option<Timestamp> {
        self.read(self.ours, id).await.next_attempt_at
    }
}

pub(super) async fn blocked_delivery_is_due_when_blocker_settles(fixture: Fixture) {
    let suppressed = NextState::Suppressed(stopped(Gate::ChannelDisabled, NOW));
    for next in [
        NextState::Done(Status::Sent),
        NextState::Done(Status::Failed),
        suppressed,
        NextState::Skipped(SkipReason::RuleDisabled),
        NextState::Outdated(OutdatedReason::IncidentOver),
        NextState::Held(held(NOW, after_ms(900_000))),
    ] {
        let record = fixture.new_subject();
        let first = fixture.accept_and_claim_of(&record).await;
        let (leased, answer) =
            fixture.accept_of_at(&record, fixture.ours, InitialState::Leased(lease(1, 10)), NOW).await;
        assert_eq!((answer.not_leased, answer.counts.pending), (vec![leased], 1));
        let due = fixture.accept_of(&record, InitialState::Due).await;
        fixture.assert_blocked(leased, first.id).await;
        fixture.assert_blocked(due, leased).await;
        assert!(fixture.claim(fixture.ours, after_ms(59_000), lease(2, 1), 9).await.is_empty());
        fixture.settle_of(unattempted(&first, next.clone()), after_ms(50)).await;
        for (id, before) in [(leased, first.id), (due, leased)] {
            let claimed = fixture.claim_only(id).await;
            fixture.settle_of(attempted(&claimed, NextState::Done(Status::Sent)), after_ms(50)).await;
            let found = fixture.read(fixture.ours, id).await;
            assert_eq!(found.blocked_by, Some(before), "the history keeps it: {next:?}");
        }
    }
}

pub(super) async fn delivery_made_after_clock_was_set_back_is_sent(fixture: Fixture) {
    let record = fixture.new_subject();
    let first = fixture.accept_and_claim_of(&record).await;
    let (second, _) = fixture.accept_of_at(&record, fixture.ours, InitialState::Due, NOW.minus_ms(30_000)).await;
    fixture.settle_of(attempted(&first, NextState::Done(Status::Sent)), NOW).await;
    // It is later than the first, whatever its id claims.
    fixture.claim_only(second).await;
}

pub(super) async fn blocked_delivery_waits_through_retries(fixture: Fixture) {
    let record = fixture.new_subject();
    let first = fixture.accept_and_claim_of(&record).await;
    let second = fixture.accept_of(&record, InitialState::Due).await;
    fixture.settle_of(attempted(&first, NextState::RetryAt(after_ms(100))), after_ms(50)).await;
    fixture.assert_blocked(second, first.id).await;
    let mut stale = of_incident(attempted(&first, NextState::Done(Status::Sent)));
    stale.owner = 9;
    assert_eq!(fixture.store.settle(stale).await.unwrap(), Settled::Stale);
    fixture.assert_blocked(second, first.id).await;
    let again = fixture.claim_only(first.id).await;
    fixture.settle_of(attempted(&again, NextState::Done(Status::Failed)), after_ms(100)).await;
    assert_eq!(fixture.due_at(second).await, Some(after_ms(100)), "at once");
}

pub(super) async fn chain_spans_incidents_of_one_subject_and_channel(fixture: Fixture) {
    let record = fixture.new_subject();
    let later = fixture.incident_record_at(fixture.ours, record.incident.subject.clone(), after_ms(1));
    let other = fixture.new_subject();
    let elsewhere = fixture.another_channel().await;
    let first = fixture.accept_of(&record, InitialState::Leased(lease(1, 600_000))).await;
    let (id, _) = fixture.accept_of_at(&record, elsewhere, InitialState::Due, NOW).await;
    assert!(fixture.due_at(id).await.is_some(), "another channel has its own order");
    let of_other = fixture.accept_of(&other, InitialState::Due).await;
    assert!(fixture.due_at(of_other).await.is_some(), "and so has another subject");
    let (second, _) = fixture.accept_of_at(&later, fixture.ours, InitialState::Due, after_ms(1)).await;
    fixture.assert_blocked(second, first).await;
    let run = fixture.accept_one(fixture.ours, InitialState::Due).await;
    assert!(fixture.due_at(run).await.is_some(), "runs have no order");
}

pub(super) async fn blocked_chain_is_sent_one_by_one(fixture: Fixture) {
    let record = fixture.new_subject();
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(fixture.accept_of(&record, InitialState::Due).await);
    }
    for id in ids {
        let claimed = fixture.claim_only(id).await;
        fixture.settle_of(attempted(&claimed, NextState::Done(Status::Sent)), NOW).await;
    }
}

pub(super) async fn settled_held_and_resent_deliveries_block_nothing(fixture: Fixture) {
    let record = fixture.new_subject();
    let sent = fixture.accept_and_claim_of(&record).await;
    fixture.settle_of(attempted(&sent, NextState::Done(Status::Sent)), NOW).await;
    fixture.accept_of(&record, InitialState::Suppressed).await;
    fixture.accept_of(&record, InitialState::Held).await;
    let resend = crate::queue::Resend {
        workspace_id: fixture.ours.id,
        delivery_id: sent.id,
        rule_generation: 1,
        now: after_ms(90_000),
    };
    fixture.store.resend(resend, None).await.unwrap();
    let id = fixture.accept_of(&record, InitialState::Due).await;
    let claimed = fixture.claim_only(id).await;
    assert_eq!(fixture.read(fixture.ours, id).await.blocked_by, None);
    fixture.settle_of(attempted(&claimed, NextState::Done(Status::Sent)), NOW).await;
}

pub(super) async fn blocked_by_delivery_of_same_batch_waits(fixture: Fixture) {
    let record = fixture.new_subject();
    let leased = InitialState::Leased(lease(1, 60_000));
    let starts = [leased, leased, InitialState::Due, InitialState::Held, InitialState::Due];
    let deliveries = starts.map(|start| fixture.delivery(fixture.ours, start));
    let ids = deliveries.each_ref().map(|delivery| delivery.id);
    let batch = deliveries.map(|delivery| fixture.event_of(&record, delivery));
    let answers = fixture.store.accept(batch.into()).await.unwrap();
    let not_leased: Vec<_> = answers.iter().flat_map(|answer| answer.not_leased.clone()).collect();
    assert_eq!(not_leased, [ids[1], ids[2], ids[4]]);
    fixture.assert_blocked(ids[1], ids[0]).await;
    fixture.assert_blocked(ids[2], ids[1]).await;
    fixture.assert_blocked(ids[4], ids[2]).await;
}

pub(super) async fn blocked_delivery_waits_through_reclaimed_lease(fixture: Fixture) {
    let record = fixture.new_subject();
    let first = fixture.accept_and_claim_of(&record).await;
    let second = fixture.accept_of(&record, InitialState::Due).await;
    fixture.store.reclaim_leases(after_ms(1), 9).await.unwrap();
    fixture.assert_blocked(second, first.id).await;
    let again = fixture.claim_only(first.id).await;
    assert_eq!(again.attempt_count, 0, "no attempt was made");
}

pub(super) async fn blocked_delivery_survives_restart(fixture: Fixture) {
    let record = fixture.new_subject();
    let first = fixture.accept_of(&record, InitialState::Leased(lease(1, 50))).await;
    let second = fixture.accept_of(&record, InitialState::Due).await;
    let fixture = fixture.reopen().await;
    let claimed = fixture.claim_only(first).await;
    let fixture = fixture.reopen().await;
    fixture.settle_of(attempted(&claimed, NextState::Done(Status::Sent)), NOW).await;
    let fixture = fixture.reopen().await;
    fixture.claim_only(second).await;
}

pub(super) async fn newer_delivery_expedites_the_head(fixture: Fixture) {
    let record = fixture.new_subject();
    let head = fixture.waiting_for_retry(&record, 240_000, None).await;
    let now = after_ms(1_000);
    let (second, answer) = fixture.accept_of_at(&record, fixture.ours, InitialState::Due, now).await;
    assert_eq!(answer.expedited, [(fixture.ours.channel_id, now)]);
    let claimed = fixture.claim_only_at(head, now).await;
    assert_eq!(
        (claimed.attempt_trigger, claimed.attempt_count, claimed.attempt_base),
        (AttemptTrigger::NewerEvent, 1, 0)
    );
    fixture.settle_of(attempted(&claimed, NextState::RetryAt(after_ms(1_100))), after_ms(1_100)).await;
    assert_eq!(fixture.due_at(head).await, Some(after_ms(240_000)), "the retry is due when it was");
    fixture.assert_blocked(second, head).await;
    let claimed = fixture.claim_only_at(head, after_ms(240_000)).await;
    assert_eq!((claimed.attempt_trigger, claimed.attempt_count), (AttemptTrigger::Scheduled, 2));
    assert_eq!(claimed.attempt_base, 1, "the expedited attempt used up no retry");
    let triggers: Vec<_> =
        fixture.read(fixture.ours, head).await.attempts.iter().map(|attempt| attempt.trigger.as_str()).collect();
    assert_eq!(triggers, ["scheduled", "newer_event"]);
}

pub(super) async fn expedited_attempts_of_one_delivery_are_five_seconds_apart(fixture: Fixture) {
    let record = fixture.new_subject();
    let head = fixture.waiting_for_retry(&record, 240_000, None).await;
    // Four joining within four seconds cause two attempts, the second as soon as it may be.
    for (ms, expected) in [(1_000, Some(1_000)), (2_000, Some(6_000)), (3_000, None), (4_000, None)] {
        let now = after_ms(ms);
        let (_, answer) = fixture.accept_of_at(&record, fixture.ours, InitialState::Due, now).await;
        let expedited: Vec<_> = answer.expedited.iter().map(|(_, at)| *at).collect();
        assert_eq!(expedited, Vec::from_iter(expected.map(after_ms)), "at {ms}");
        if ms == 1_000 {
            let claimed = fixture.claim_only_at(head, now).await;
            fixture.settle_of(attempted(&claimed, NextState::RetryAt(now)), now).await;
        }
    }
    assert_eq!(fixture.due_at(head).await, Some(after_ms(6_000)));
}

pub(super) async fn expedited_attempts_of_one_channel_are_a_second_apart(fixture: Fixture) {
    let mut heads = Vec::new();
    for _ in 0..4 {
        let record = fixture.new_subject();
        heads.push((fixture.waiting_for_retry(&record, 2_500, None).await, record));
    }
    for (_, record) in &heads {
        fixture.accept_of(record, InitialState::Due).await;
    }
    let mut due = Vec::new();
    for (head, _) in &heads {
        due.push(fixture.due_at(*head).await.unwrap().since_ms(NOW));
    }
    assert_eq!(due, [0, 1_000, 2_000, 2_500], "the last one's retry is sooner");
}

pub(super) async fn expedited_attempt_is_not_before_the_receiver_wants_it(fixture: Fixture) {
    let record = fixture.new_subject();
    let head = fixture.waiting_for_retry(&record, 240_000, Some(30_000)).await;
    fixture.accept_of_at(&record, fixture.ours, InitialState::Due, after_ms(1_000)).await;
    assert_eq!(fixture.due_at(head).await, Some(after_ms(30_000)));
    let record = fixture.new_subject();
    let head = fixture.waiting_for_retry(&record, 60_000, Some(60_000)).await;
    let (_, answer) = fixture.accept_of_at(&record, fixture.ours, InitialState::Due, after_ms(1_000)).await;
    assert_eq!((fixture.due_at(head).await, answer.expedited), (Some(after_ms(60_000)), vec![]));
}

pub(super) async fn head_that_does_not_wait_for_a_retry_is_not_expedited(fixture: Fixture) {
    let record = fixture.new_subject();
    let first = fixture.accept_and_claim_of(&record).await;
    let (_, answer) = fixture.accept_of_at(&record, fixture.ours, InitialState::Due, NOW).await;
    assert!(answer.expedited.is_empty(), "its attempt is in progress");
    fixture.settle_of(unattempted(&first, NextState::RetryAt(after_ms(900))), NOW).await;
    let (_, answer) = fixture.accept_of_at(&record, fixture.ours, InitialState::Due, NOW).await;
    assert!(answer.expedited.is_empty(), "it had no attempt yet");
    let other = fixture.new_subject();
    let held = fixture.accept_of(&other, InitialState::Held).await;
    fixture.accept_of(&other, InitialState::Due).await;
    assert_eq!(fixture.status(fixture.ours, held).await, Status::Held);
}

pub(super) async fn held_delivery_released_after_later_sent_is_superseded(fixture: Fixture) {
    let (record, ours) = (fixture.new_subject(), fixture.ours);
    let early = fixture.accept_of(&record, InitialState::Held).await;
    let sent = fixture.accept_and_claim_of(&record).await;
    let late = fixture.accept_of(&record, InitialState::Held).await;
    fixture.settle_of(attempted(&sent, NextState::Done(Status::Sent)), NOW).await;
    let other = fixture.accept_of(&fixture.new_subject(), InitialState::Held).await;
    let release = ReleaseBatch { individual: vec![early, late, other], ..fixture.empty_release(after_ms(70)) };
    assert_eq!(fixture.release_held(release).await.due, 2);
    let found = fixture.read(ours, early).await;
    assert_eq!((found.status, found.reason.as_deref()), (Status::Suppressed, Some("superseded")));
    assert_eq!((found.completed_at, found.held_until, found.next_attempt_at), (Some(after_ms(70)), None, None));
    assert_eq!(fixture.statuses(&[late, other]).await, [Status::Pending; 2]);
}

pub(super) async fn held_delivery_released_behind_later_is_superseded_if_that_is_sent(fixture: Fixture) {
    for (status, expected) in [(Status::Sent, Status::Suppressed), (Status::Failed, Status::Pending)] {
        let record = fixture.new_subject();
        let early = fixture.accept_of(&record, InitialState::Held).await;
        let later = fixture.accept_and_claim_of(&record).await;
        let last = fixture.accept_of(&record, InitialState::Due).await;
        let release = ReleaseBatch { individual: vec![early], ..fixture.empty_release(NOW) };
        assert_eq!(fixture.release_held(release).await.due, 1);
        fixture.assert_blocked(early, last).await;
        fixture.settle_of(attempted(&later, NextState::Done(status)), after_ms(80)).await;
        assert_eq!(fixture.status(fixture.ours, early).await, expected);
        let last = fixture.claim_only(last).await;
        fixture.settle_of(attempted(&last, NextState::Done(Status::Failed)), after_ms(90)).await;
        if expected == Status::Pending {
            let early = fixture.claim_only(early).await;
            fixture.settle_of(attempted(&early, NextState::Done(Status::Sent)), after_ms(99)).await;
        }
    }
}

pub(super) async fn digest_is_in_the_chain_of_each_of_its_subjects(fixture: Fixture) {
    let (one, two) = (fixture.new_subject(), fixture.new_subject());
    let members = [&one, &two, &one];
    let mut ids = Vec::new();
    for record in members {
        ids.push(fixture.accept_of(record, InitialState::Held).await);
    }
    let [of_one, of_two] = [&one, &two].map(async |record| fixture.accept_and_claim_of(record).await);
    let (of_one, of_two) = (of_one.await, of_two.await);
    let digest = fixture.digest(ids);
    let digest_id = digest.new_event.deliveries[0].id;
    fixture.release_held(ReleaseBatch { digest: Some(digest), ..fixture.empty_release(NOW) }).await;
    fixture.assert_blocked(digest_id, of_two.id).await;
    let (after_one, after_two) =
        (fixture.accept_of(&one, InitialState::Due).await, fixture.accept_of(&two, InitialState::Due).await);
    fixture.settle_of(attempted(&of_two, NextState::Done(Status::Sent)), NOW).await;
    fixture.assert_blocked(digest_id, of_two.id).await;
    fixture.settle_of(attempted(&of_one, NextState::RetryAt(after_ms(240_000))), NOW).await;
    // What joins behind the digest expedites the head that the digest waits for in its other chain.
    let (_, answer) = fixture.accept_of_at(&two, fixture.ours, InitialState::Due, after_ms(3_000)).await;
    assert_eq!(answer.expedited, [(fixture.ours.channel_id, after_ms(3_000))]);
    let of_one = fixture.claim_only_at(of_one.id, after_ms(3_000)).await;
    fixture.settle_of(attempted(&of_one, NextState::Done(Status::Failed)), after_ms(3_100)).await;
    let claimed = fixture.claim_only_at(digest_id, after_ms(3_100)).await;
    for id in [after_one, after_two] {
        fixture.assert_blocked(id, digest_id).await;
    }
    let settlement = attempted(&claimed, NextState::Done(Status::Sent));
    fixture.store.settle(Settlement { follow_ups: FollowUps::Digest, ..settlement }).await.unwrap();
    let claimed = fixture.claim(fixture.ours, after_ms(60_000), lease(1, 600_000), 9).await;
    assert!(claimed.iter().map(|one| one.id).eq([after_one, after_two]));
}
