//! Deliveries of incidents: accepted with transitions, extended by deferred openings, and listed by incident.

use tidings_domain::delivery::Status;
use tidings_domain::incident::{IncidentTrigger, Subject};
use tidings_domain::trigger::Trigger;

use super::fixture::{Fixture, Tenant};
use super::monitoring_fixture::incident_only;
use super::samples::{NOW, after_ms, passed};
use crate::monitoring::{TransitionOutcome, TransitionRecord};
use crate::queue::{InitialState, NewDelivery, ReleaseBatch};

/// A deferred opening that replaces the delivery.
fn deferred_opening(fixture: &Fixture, tenant: Tenant, of: &NewDelivery) -> NewDelivery {
    NewDelivery { sequence: 2, replaces_id: Some(of.id), ..fixture.delivery_at(tenant, InitialState::Due, after_ms(5)) }
}

pub(super) async fn transition_events_are_accepted_and_deferred_openings_added(fixture: Fixture) {
    let ours = fixture.ours;
    let endpoint_id = fixture.new_endpoint(ours).await;
    let record = fixture.incident_record(ours, Subject::Endpoint(endpoint_id));
    let first = fixture.delivery(ours, InitialState::Suppressed);
    let opened = fixture.incident_event(&record, IncidentTrigger::Opened, NOW, vec![first.clone()]);
    let worsened = fixture.incident_event(&record, IncidentTrigger::Worsened, after_ms(1), vec![]);
    let event_id = opened.event.id;
    let events = vec![opened, worsened.clone()];
    let outcome = fixture.record_transition(ours, TransitionRecord { events, ..incident_only(record.clone()) }).await;
    let Ok(TransitionOutcome::Applied(answers)) = outcome else { panic!("{outcome:?}") };
    assert!(answers.iter().map(|one| one.event_id).eq([event_id, worsened.event.id]), "in order");
    assert!(answers.iter().all(|one| !one.duplicate));
    assert_eq!(answers[0].counts.suppressed, 1);

    // A duplicate under another id: only the deferred opening is inserted.
    let (repeated, deferred) = (fixture.delivery(ours, InitialState::Due), deferred_opening(&fixture, ours, &first));
    let opened =
        fixture.incident_event(&record, IncidentTrigger::Opened, after_ms(5), vec![repeated.clone(), deferred.clone()]);
    let transition = TransitionRecord { events: vec![opened], ..TransitionRecord::default() };
    for _ in 0..2 {
        let outcome = fixture.record_transition(ours, transition.clone()).await;
        let Ok(TransitionOutcome::Applied(answers)) = outcome else { panic!("{outcome:?}") };
        assert!(answers[0].duplicate && answers[0].event_id == event_id);
        assert!(fixture.store.delivery(ours.id, repeated.id).await.unwrap().is_none());
        let found = fixture.read(ours, deferred.id).await;
        assert_eq!((found.event.id, found.sequence, found.replaces_id), (event_id, 2, Some(first.id)));
    }
    assert_eq!(fixture.status(ours, first.id).await, Status::Suppressed);
}

pub(super) async fn incident_deliveries_returns_all_of_incident(fixture: Fixture) {
    let ours = fixture.ours;
    let (record, other) = (fixture.open_incident(ours).await, fixture.open_incident(ours).await);
    assert!(fixture.store.incident_deliveries(ours.id, record.incident.id).await.unwrap().is_empty());
    let first = fixture.delivery(ours, InitialState::Suppressed);
    let step = NewDelivery { rule_id: None, ..fixture.delivery_at(ours, InitialState::Due, after_ms(2)) };
    let deferred = deferred_opening(&fixture, ours, &first);
    let escalated = IncidentTrigger::Escalated { after_seconds: 900 };
    let events = vec![
        fixture.incident_event(&record, IncidentTrigger::Opened, NOW, vec![first.clone()]),
        fixture.incident_event(&record, escalated, after_ms(2), vec![step.clone()]),
        fixture.incident_event(&other, IncidentTrigger::Opened, NOW, vec![fixture.delivery(ours, InitialState::Due)]),
    ];
    let repeated = fixture.incident_event(&record, IncidentTrigger::Opened, after_ms(5), vec![deferred.clone()]);
    fixture.record_transition(ours, TransitionRecord { events, ..TransitionRecord::default() }).await.unwrap();
    fixture
        .record_transition(ours, TransitionRecord { events: vec![repeated], ..TransitionRecord::default() })
        .await
        .unwrap();
    // An event of a run whose id equals the incident's is none of the incident.
    let mut run = fixture.event(ours);
    run.run_id = record.incident.id.to_string();
    fixture.accept(fixture.new_event(run, vec![fixture.delivery(ours, InitialState::Due)])).await;

    let deliveries = fixture.store.incident_deliveries(ours.id, record.incident.id).await.unwrap();
    assert!(deliveries.iter().map(|one| one.delivery_id).eq([first.id, step.id, deferred.id]), "oldest first");
    let triggers = [IncidentTrigger::Opened, escalated, IncidentTrigger::Opened].map(Trigger::Incident);
    assert!(deliveries.iter().map(|one| one.trigger).eq(triggers));
    assert_eq!(deliveries[0].event_id, deliveries[2].event_id);
    assert_eq!(
        (deliveries[0].status, deliveries[0].rule_id, deliveries[0].sequence),
        (Status::Suppressed, Some(ours.rule_id), 1)
    );
    assert_eq!(
        (deliveries[0].evaluation.as_ref(), deliveries[2].evaluation.as_ref()),
        (Some(&first.evaluation), Some(&passed(after_ms(5))))
    );
    assert_eq!(
        (deliveries[1].status, deliveries[1].rule_id, deliveries[1].channel_id),
        (Status::Pending, None, ours.channel_id)
    );
    assert_eq!((deliveries[2].sequence, deliveries[2].replaces_id), (2, Some(first.id)));
}

pub(super) async fn incident_deliveries_returns_held_until_and_digest(fixture: Fixture) {
    let ours = fixture.ours;
    let record = fixture.open_incident(ours).await;
    let held = fixture.delivery(ours, InitialState::Held);
    let opened = fixture.incident_event(&record, IncidentTrigger::Opened, NOW, vec![held.clone()]);
    fixture
        .record_transition(ours, TransitionRecord { events: vec![opened], ..TransitionRecord::default() })
        .await
        .unwrap();
    let deliveries =
        || async { fixture.store.incident_deliveries(ours.id, record.incident.id).await.unwrap().pop().unwrap() };
    let waiting = deliveries().await;
    assert_eq!((waiting.held_until, waiting.digest_id), (held.evaluation.held().map(|(_, until)| until), None));
    let digest = fixture.digest(vec![held.id]);
    let digest_id = digest.new_event.deliveries[0].id;
    fixture.release_held(ReleaseBatch { digest: Some(digest), ..fixture.empty_release(after_ms(6_000)) }).await;
    let member = deliveries().await;
    assert_eq!((member.status, member.held_until, member.digest_id), (Status::Held, None, Some(digest_id)));
}
