//! Erasure of a resource: payloads go, rows stay, and what waits is sent first.

use tidings_domain::delivery::Status;
use tidings_domain::incident::{IncidentTrigger, Subject};
use tidings_domain::resource::ResourceType;
use tidings_domain::time::Timestamp;

use super::fixture::Fixture;
use super::insights_resources::{flow, key};
use super::monitoring_fixture::incident_only;
use super::samples::{NOW, after_ms, assert_refused, attempted, lease};
use crate::insights::ErasureRecord;
use crate::queue::{InitialState, NextState};

/// After the events of `NOW`.
const LATER: Timestamp = after_ms(1_000);

impl Fixture {
    /// Erases what can be erased, in steps of `limit` events. Returns how many were.
    async fn erase_all(&self, now: Timestamp, limit: u32) -> u32 {
        let mut events = 0;
        loop {
            let step = self.store.erase(now, limit).await.unwrap();
            events += step.events;
            if !step.has_more {
                return events;
            }
        }
    }
}

pub(super) async fn erase_resource_erases_payloads_and_keeps_rows(fixture: Fixture) {
    let ours = fixture.ours;
    let mut ids = Vec::new();
    for number in 0..5 {
        let claimed = fixture.accept_and_claim(ours).await;
        fixture.store.settle(attempted(&claimed, NextState::Done(Status::Failed))).await.unwrap();
        ids.push((claimed.id, claimed.event.id, number));
    }
    let mut other = fixture.run(ours, "other", NOW, true);
    other.run_mut().error_message = Some("kept".into());
    let other_id = other.id;
    fixture.report(other).await;
    fixture.store.fold(99).await.unwrap();
    let resource = flow(ours, "daily-revenue");
    assert!(fixture.resource(resource.clone()).await.is_some());
    assert_eq!(fixture.store.erasure(resource.clone()).await.unwrap(), None);

    fixture.store.erase_resource(resource.clone(), LATER, None).await.unwrap();
    assert_eq!(fixture.resource(resource.clone()).await, None, "at once");
    let requested = ErasureRecord { requested_at: LATER, finished_at: None };
    assert_eq!(fixture.store.erasure(resource.clone()).await.unwrap(), Some(requested));
    assert_eq!(fixture.erase_all(LATER, 2).await, 5);
    let finished = ErasureRecord { finished_at: Some(LATER), ..requested };
    assert_eq!(fixture.store.erasure(resource.clone()).await.unwrap(), Some(finished));

    for (delivery_id, event_id, _) in ids {
        let delivery = fixture.read(ours, delivery_id).await;
        let text = format!("{delivery:?} {:?}", fixture.store.event(ours.id, event_id).await.unwrap().unwrap());
        for payload in ["revenue\\\\\\\" rollup", "orders", "1.50", "app.example.com", "Gateway"] {
            assert!(!text.contains(payload), "{payload} in {text}");
        }
        assert_eq!((delivery.status, delivery.attempts.len(), delivery.http_status), (Status::Failed, 1, Some(502)));
        assert_eq!(delivery.event.run().unwrap().completed_at, NOW.minus_ms(3));
    }
    let kept = fixture.store.event(ours.id, other_id).await.unwrap().unwrap();
    assert_eq!(kept.event.run().unwrap().error_message.as_deref(), Some("kept"));
    assert!(fixture.resource(flow(ours, "other")).await.is_some());
    // A start folds events again, but not erased ones.
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.resource(resource).await, None);
}

pub(super) async fn erase_resource_waits_for_unsettled_deliveries(fixture: Fixture) {
    let ours = fixture.ours;
    let id = fixture.accept_one(ours, InitialState::Due).await;
    fixture.store.fold(99).await.unwrap();
    let resource = flow(ours, "daily-revenue");
    fixture.store.erase_resource(resource.clone(), LATER, None).await.unwrap();
    assert_eq!(fixture.erase_all(LATER, 9).await, 0);
    let claimed = fixture.claim(ours, LATER, lease(1, 60_000), 1).await.pop().unwrap();
    assert!(claimed.event.run().unwrap().error_message.is_some(), "it is sent with its content");
    fixture.store.settle(attempted(&claimed, NextState::Done(Status::Sent))).await.unwrap();
    assert_eq!(fixture.erase_all(LATER, 9).await, 0, "the next pass is later");
    let later = LATER.plus_ms(60_000);
    assert_eq!(fixture.erase_all(later, 9).await, 1);
    assert_eq!(fixture.read(ours, id).await.event.run().unwrap().error_message, None);
    assert_eq!(fixture.store.erasure(resource).await.unwrap().unwrap().finished_at, Some(later));
}

pub(super) async fn erased_resource_that_is_reported_again_is_new(fixture: Fixture) {
    let ours = fixture.ours;
    fixture.report(fixture.run(ours, "f1", NOW, true)).await;
    fixture.store.erase_resource(flow(ours, "f1"), LATER, None).await.unwrap();
    let mut again = fixture.event_at(ours, LATER.plus_ms(1));
    again.resource_id = "f1".into();
    let id = again.id;
    fixture.report(again).await;
    fixture.erase_all(LATER.plus_ms(5), 9).await;
    let found = fixture.resource(flow(ours, "f1")).await.unwrap();
    assert_eq!((found.recent.len(), found.first_seen_at), (1, LATER.plus_ms(1)));
    let kept = fixture.store.event(ours.id, id).await.unwrap().unwrap();
    assert!(kept.event.run().unwrap().error_message.is_some());
    // It may be erased again.
    fixture.store.erase_resource(flow(ours, "f1"), LATER.plus_ms(9), None).await.unwrap();
    assert_eq!(fixture.erase_all(LATER.plus_ms(9), 9).await, 2);
    assert_eq!(fixture.resource(flow(ours, "f1")).await, None);
}

pub(super) async fn erase_resource_unknown_foreign_or_in_use_is_refused(fixture: Fixture) {
    let ours = fixture.ours;
    fixture.report(fixture.run(ours, "f1", NOW, true)).await;
    assert_refused!(fixture.store.erase_resource(flow(fixture.theirs, "f1"), LATER, None).await, NotFound);
    assert_refused!(fixture.store.erase_resource(flow(ours, "f2"), LATER, None).await, NotFound);
    assert_refused!(fixture.store.erase_resource(key(ours, ResourceType::Job, "f1"), LATER, None).await, NotFound);
    let active = fixture.incident_record(ours, Subject::Alert("a1".into()));
    fixture.record_transition(ours, incident_only(active)).await.unwrap();
    assert_refused!(fixture.store.erase_resource(key(ours, ResourceType::Alert, "a1"), LATER, None).await, InUse);
    assert_eq!(fixture.erase_all(LATER, 9).await, 0);
    let kept = fixture.resource(flow(ours, "f1")).await;
    assert!(kept.is_some());
}

pub(super) async fn erase_resource_erases_resolved_incidents(fixture: Fixture) {
    let ours = fixture.ours;
    let mut record = fixture.incident_record(ours, Subject::Alert("a1".into()));
    fixture.record_transition(ours, incident_only(record.clone())).await.unwrap();
    fixture.accept(fixture.incident_event(&record, IncidentTrigger::Opened, NOW, vec![])).await;
    (record.revision, record.incident.resolved_at) = (2, Some(after_ms(9)));
    // Not all are notified of its end yet.
    fixture.record_transition(ours, incident_only(record.clone())).await.unwrap();
    let alert = key(ours, ResourceType::Alert, "a1");
    fixture.store.erase_resource(alert.clone(), LATER, None).await.unwrap();
    assert_eq!(fixture.erase_all(LATER, 9).await, 1);
    let id = record.incident.id;
    assert_eq!(fixture.stored_incident(ours, id).await.subject_info.name, "Production API");
    (record.revision, record.wake_at) = (3, None);
    fixture.record_transition(ours, incident_only(record)).await.unwrap();
    fixture.erase_all(LATER.plus_ms(60_000), 9).await;
    let (erased, timeline) = fixture.store.incident(ours.id, id).await.unwrap().unwrap();
    assert_eq!((erased.subject_info.name.as_str(), erased.incident.cause_detail), ("(erased)", None));
    assert_eq!((erased.subject_info.url, erased.subject_info.fields, timeline.len()), (None, vec![], 0));
    assert!(fixture.store.erasure(alert).await.unwrap().unwrap().finished_at.is_some());
}
