//! Incidents: recorded with transitions, fenced by revision, with timelines; lists and filters.

use std::sync::Arc;

use tidings_domain::access::Actor;
use tidings_domain::check::CheckStatus;
use tidings_domain::id::IncidentId;
use tidings_domain::incident::{Cause, IncidentStatus, IncidentTrigger, Subject, TimelineEntry, TimelineKind};
use tidings_domain::mute::MuteScope;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

use super::fixture::Fixture;
use super::monitoring_fixture::{assert_error, check_and_state, healthy, incident_only, timed_out};
use super::samples::{NOW, after_ms, assert_refused};
use crate::StoreError;
use crate::monitoring::{EndpointState, IncidentFilter, IncidentRecord, TransitionOutcome, TransitionRecord};
use crate::queue::InitialState;
use crate::settings::ConfigChange;

fn entry(at: Timestamp, kind: TimelineKind) -> TimelineEntry {
    TimelineEntry { at, kind }
}

fn check_entry(at: Timestamp) -> TimelineEntry {
    TimelineEntry::from_check(&timed_out(at))
}

/// The next revision of the incident, resolved.
fn resolved(record: &IncidentRecord, at: Timestamp) -> IncidentRecord {
    let incident = record.incident.resolved(at).expect("it is active");
    IncidentRecord { incident, wake_at: None, revision: record.revision + 1, ..record.clone() }
}

async fn timeline(fixture: &Fixture, id: IncidentId) -> Vec<TimelineEntry> {
    fixture.store.incident(fixture.ours.id, id).await.unwrap().expect("it is there").1
}

pub(super) async fn incident_reads_back_with_timeline(fixture: Fixture) {
    let ours = fixture.ours;
    let endpoint_id = fixture.new_endpoint(ours).await;
    let mut record = fixture.incident_record(ours, Subject::Endpoint(endpoint_id));
    let opened = TimelineKind::Opened { cause: Cause::EndpointDegraded, detail: Some("slow — 6 s".into()) };
    let entries = vec![check_entry(NOW), entry(NOW, opened)];
    let state = EndpointState { incident_id: Some(record.incident.id), ..fixture.state(endpoint_id, 1) };
    let transition = TransitionRecord {
        incident: Some(record.clone()),
        timeline: entries.clone(),
        ..check_and_state(fixture.check(endpoint_id, timed_out(NOW)), state)
    };
    assert_eq!(fixture.record_transition(ours, transition).await, Ok(TransitionOutcome::Applied(vec![])));
    let id = record.incident.id;
    assert_eq!(fixture.store.incident(ours.id, id).await.unwrap(), Some((record.clone(), entries.clone())));

    record.incident = record
        .incident
        .worsened(Severity::Info, None)
        .unwrap()
        .acknowledged(&Actor::api_key(fixture.id(), "CI \"ü\""), after_ms(9))
        .unwrap();
    (record.escalations_done, record.wake_at, record.revision) = (vec![], None, 2);
    (record.reminders, record.subject_info.name) = (record.reminders.recorded(after_ms(9)), "renamed".into());
    fixture.record_transition(ours, incident_only(record.clone())).await.unwrap();
    assert_eq!(fixture.stored_incident(ours, id).await, record);
    let record = resolved(&record, after_ms(10));
    fixture.record_transition(ours, incident_only(record.clone())).await.unwrap();

    let alert = fixture.incident_record(ours, Subject::Alert("disk:/var \"a\"".into()));
    fixture.record_transition(ours, incident_only(alert.clone())).await.unwrap();
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store.incident(ours.id, id).await.unwrap(), Some((record, entries)));
    assert_eq!(fixture.stored_incident(ours, alert.incident.id).await, alert);
    assert_eq!(fixture.store.incident(ours.id, fixture.id()).await.unwrap(), None);
}

pub(super) async fn incident_second_active_of_subject_is_refused(fixture: Fixture) {
    let ours = fixture.ours;
    let first = fixture.open_incident(ours).await;
    let second = fixture.incident_record(ours, first.incident.subject.clone());
    assert_refused!(fixture.record_transition(ours, incident_only(second.clone())).await, Exists);
    assert_refused!(fixture.record_transition(ours, incident_only(first.clone())).await, Exists);
    fixture.record_transition(ours, incident_only(resolved(&first, after_ms(5)))).await.unwrap();
    fixture.record_transition(ours, incident_only(second.clone())).await.unwrap();
    let reopened = IncidentRecord { revision: 3, ..first.clone() };
    assert_refused!(fixture.record_transition(ours, incident_only(reopened)).await, Exists);
    // An alert with the endpoint's id is another subject, and so is one of another workspace.
    for tenant in [ours, fixture.theirs] {
        let alert = fixture.incident_record(tenant, Subject::Alert(first.incident.subject.resource_id()));
        fixture.record_transition(tenant, incident_only(alert)).await.unwrap();
    }
}

pub(super) async fn incident_other_revision_is_conflict(fixture: Fixture) {
    let ours = fixture.ours;
    let record = fixture.open_incident(ours).await;
    let at = |revision| IncidentRecord { wake_at: Some(after_ms(1)), revision, ..record.clone() };
    for (revision, is_next) in [(0, false), (3, false), (2, true), (2, false), (4, false), (3, true)] {
        let outcome = fixture.record_transition(ours, incident_only(at(revision))).await;
        if is_next {
            assert_eq!(outcome, Ok(TransitionOutcome::Applied(vec![])));
            assert_eq!(fixture.stored_incident(ours, record.incident.id).await, at(revision));
        } else {
            assert_error(outcome, &StoreError::Conflict);
        }
    }
    let unknown = fixture.incident_record(ours, record.incident.subject.clone());
    assert_refused!(
        fixture.record_transition(ours, incident_only(IncidentRecord { revision: 2, ..unknown })).await,
        NotFound
    );
}

pub(super) async fn incident_update_leaves_notifications_sent(fixture: Fixture) {
    let mut record = fixture.open_incident(fixture.ours).await;
    for revision in 2..4 {
        (record.incident.notifications_sent, record.revision) = (7, revision);
        fixture.record_transition(fixture.ours, incident_only(record.clone())).await.unwrap();
        assert_eq!(fixture.stored_incident(fixture.ours, record.incident.id).await.incident.notifications_sent, 0);
    }
}

pub(super) async fn transition_refused_writes_nothing(fixture: Fixture) {
    let ours = fixture.ours;
    let record = fixture.open_incident(ours).await;
    let Subject::Endpoint(endpoint_id) = record.incident.subject else { panic!("it is an endpoint's") };
    let mute = fixture.mute(ours, MuteScope::Endpoint(endpoint_id));
    fixture.apply_change(ours, ConfigChange::PutMute(mute.clone())).await.unwrap();
    let version = fixture.configuration_since(ours, 0).await.version;
    let delivery = fixture.delivery(ours, InitialState::Due);
    let delivery_id = delivery.id;
    let stale = IncidentRecord { revision: 9, ..record.clone() };
    let transition = TransitionRecord {
        incident: Some(stale),
        timeline: vec![check_entry(NOW)],
        ended_mutes: vec![(mute.id, NOW)],
        events: vec![fixture.incident_event(&record, IncidentTrigger::Worsened, NOW, vec![delivery])],
        ..check_and_state(fixture.check(endpoint_id, timed_out(NOW)), fixture.state(endpoint_id, 1))
    };
    let other = fixture.new_event(fixture.event(ours), vec![]);
    let (refused, accepted) =
        tokio::join!(fixture.record_transition(ours, transition.clone()), fixture.store.accept(vec![other]));
    assert_error(refused, &StoreError::Conflict);
    assert!(accepted.is_ok(), "others in the batch are not affected");
    assert!(fixture.checks(ours, endpoint_id).await.is_empty());
    fixture.assert_revision(ours, endpoint_id, 0).await;
    assert!(timeline(&fixture, record.incident.id).await.is_empty());
    assert!(fixture.store.delivery(ours.id, delivery_id).await.unwrap().is_none());
    let found = fixture.configuration_since(ours, 0).await;
    assert_eq!((found.version, found.mutes), (version, vec![mute]));
    // The events, which are written last, are refused: what was written before is rolled back as well.
    let twice = fixture.delivery(ours, InitialState::Due);
    let event = fixture.incident_event(&record, IncidentTrigger::Worsened, NOW, vec![twice.clone(), twice]);
    let transition = TransitionRecord { incident: Some(resolved(&record, NOW)), events: vec![event], ..transition };
    assert_error(fixture.record_transition(ours, transition).await, &StoreError::Exists);
    assert_eq!(fixture.stored_incident(ours, record.incident.id).await, record);
    assert!(fixture.checks(ours, endpoint_id).await.is_empty());
}

pub(super) async fn timeline_keeps_order_of_recording(fixture: Fixture) {
    let ours = fixture.ours;
    let record = fixture.open_incident(ours).await;
    let Subject::Endpoint(endpoint_id) = record.incident.subject else { panic!("it is an endpoint's") };
    let mut expected = Vec::new();
    for revision in 1..=4 {
        // The instants run backwards: the timeline is in the order of recording.
        let at = after_ms(10 - revision);
        let entries = vec![check_entry(at), entry(at, TimelineKind::Worsened { detail: None })];
        let state = EndpointState { incident_id: Some(record.incident.id), ..fixture.state(endpoint_id, revision) };
        let check = fixture.check(endpoint_id, timed_out(at));
        fixture
            .record_transition(ours, TransitionRecord { timeline: entries.clone(), ..check_and_state(check, state) })
            .await
            .unwrap();
        expected.extend(entries);
    }
    assert_eq!(timeline(&fixture, record.incident.id).await, expected);
    assert_eq!(
        fixture.stored_incident(ours, record.incident.id).await.revision,
        1,
        "the incident itself was not written"
    );
    let of_none = TransitionRecord { timeline: expected, ..TransitionRecord::default() };
    assert!(matches!(fixture.record_transition(ours, of_none).await, Err(StoreError::Defect(_))));
}

pub(super) async fn timeline_full_takes_no_more_checks(fixture: Fixture) {
    let ours = fixture.ours;
    let record = fixture.open_incident(ours).await;
    let id = record.incident.id;
    let checks = (0..10_050).map(|number| check_entry(after_ms(number))).collect();
    let next = |revision| IncidentRecord { revision, ..record.clone() };
    let transition = TransitionRecord { timeline: checks, ..incident_only(next(2)) };
    fixture.record_transition(ours, transition).await.unwrap();
    let shown = timeline(&fixture, id).await;
    let expected: Vec<_> = (9_000..10_000).map(|number| check_entry(after_ms(number))).collect();
    assert_eq!(shown, expected, "the newest 1,000 of those that were stored");
    let worsened = entry(NOW, TimelineKind::Worsened { detail: None });
    let more = vec![check_entry(NOW), worsened.clone(), check_entry(NOW)];
    fixture.record_transition(ours, TransitionRecord { timeline: more, ..incident_only(next(3)) }).await.unwrap();
    let shown = timeline(&fixture, id).await;
    assert_eq!((shown.len(), &shown[998], &shown[999]), (1_000, &expected[999], &worsened));
}

/// Inserts incidents of our workspace: alternately resolved ones of one endpoint, and active ones of alerts. Returns
/// them newest first.
async fn insert_incidents(fixture: &Fixture) -> Vec<IncidentRecord> {
    let ours = fixture.ours;
    let endpoint_id = fixture.new_endpoint(ours).await;
    let mut all = Vec::new();
    for number in 0..10 {
        let subject = match number % 2 {
            0 => Subject::Endpoint(endpoint_id),
            _ => Subject::Alert(format!("alert {number}")),
        };
        let mut record = fixture.incident_record_at(ours, subject, after_ms(number));
        fixture.record_transition(ours, incident_only(record.clone())).await.unwrap();
        if number % 2 == 0 {
            record = resolved(&record, after_ms(number));
            fixture.record_transition(ours, incident_only(record.clone())).await.unwrap();
        }
        all.push(record);
    }
    let theirs = fixture.incident_record(fixture.theirs, Subject::Alert("alert 1".into()));
    fixture.record_transition(fixture.theirs, incident_only(theirs)).await.unwrap();
    all.reverse();
    all
}

async fn pages(fixture: &Fixture, filter: &IncidentFilter) -> Vec<IncidentRecord> {
    let mut found: Vec<IncidentRecord> = Vec::new();
    loop {
        let before = found.last().map(|record| record.incident.id);
        let filter = IncidentFilter { before, limit: 3, ..filter.clone() };
        let page = fixture.store.incidents(fixture.ours.id, filter).await.unwrap();
        assert!(page.len() <= 3);
        if page.is_empty() {
            return found;
        }
        found.extend(page);
    }
}

pub(super) async fn incidents_are_newest_first(fixture: Fixture) {
    let all = insert_incidents(&fixture).await;
    assert_eq!(pages(&fixture, &IncidentFilter::default()).await, all);
}

pub(super) async fn incidents_every_filter_applies(fixture: Fixture) {
    let all = insert_incidents(&fixture).await;
    let subjects = [None, Some(all[0].incident.subject.clone()), Some(all[1].incident.subject.clone())];
    for status in [None, Some(IncidentStatus::Active), Some(IncidentStatus::Resolved)] {
        for subject in &subjects {
            for (since, until) in [(None, None), (Some(after_ms(3)), None), (Some(after_ms(2)), Some(after_ms(7)))] {
                let matches = |record: &&IncidentRecord| {
                    let incident = &record.incident;
                    status.is_none_or(|status| incident.status() == status)
                        && subject.as_ref().is_none_or(|subject| incident.subject == *subject)
                        && since.is_none_or(|since| incident.started_at >= since)
                        && until.is_none_or(|until| incident.started_at < until)
                };
                let expected: Vec<_> = all.iter().filter(matches).cloned().collect();
                let filter = IncidentFilter { status, subject: subject.clone(), since, until, ..Default::default() };
                assert_eq!(pages(&fixture, &filter).await, expected, "{filter:?}");
            }
        }
    }
}

pub(super) async fn active_incidents_covers_all_workspaces(fixture: Fixture) {
    assert!(fixture.store.active_incidents().await.unwrap().is_empty());
    let (ours, theirs) = (fixture.open_incident(fixture.ours).await, fixture.open_incident(fixture.theirs).await);
    assert_eq!(fixture.store.active_incidents().await.unwrap(), [ours.clone(), theirs.clone()]);
    fixture.record_transition(fixture.ours, incident_only(resolved(&ours, NOW))).await.unwrap();
    assert_eq!(fixture.store.active_incidents().await.unwrap(), [theirs]);
}

pub(super) async fn transition_ended_mutes_increments_version(fixture: Fixture) {
    let ours = fixture.ours;
    let record = fixture.open_incident(ours).await;
    let (ended, kept) = (fixture.mute(ours, MuteScope::Global), fixture.mute(ours, MuteScope::Global));
    let theirs = fixture.mute(fixture.theirs, MuteScope::Global);
    for mute in [&ended, &kept] {
        fixture.apply_change(ours, ConfigChange::PutMute(mute.clone())).await.unwrap();
    }
    fixture.apply_change(fixture.theirs, ConfigChange::PutMute(theirs.clone())).await.unwrap();
    let version = fixture.configuration_since(ours, 0).await.version;
    let ended_mutes = vec![(ended.id, NOW), (theirs.id, NOW), (fixture.id(), NOW)];
    let transition = |revision| TransitionRecord {
        ended_mutes: ended_mutes.clone(),
        ..incident_only(IncidentRecord { revision, ..record.clone() })
    };
    fixture.record_transition(ours, transition(2)).await.unwrap();
    let found = fixture.configuration_since(ours, 0).await;
    assert_eq!((found.mutes, found.version), (vec![kept], version + 1));
    assert_eq!(fixture.configuration_since(fixture.theirs, 0).await.mutes, [theirs]);
    fixture.record_transition(ours, transition(3)).await.unwrap();
    assert_eq!(fixture.configuration_since(ours, 0).await.version, version + 1, "no mute ended");
}

pub(super) async fn incident_of_other_workspace_is_not_found(fixture: Fixture) {
    let (ours, theirs) = (fixture.ours, fixture.theirs);
    let record = fixture.open_incident(ours).await;
    let Subject::Endpoint(endpoint_id) = record.incident.subject else { panic!("it is an endpoint's") };
    let id = record.incident.id;
    let opened =
        fixture.incident_event(&record, IncidentTrigger::Opened, NOW, vec![fixture.delivery(ours, InitialState::Due)]);
    fixture
        .record_transition(ours, TransitionRecord { events: vec![opened], ..TransitionRecord::default() })
        .await
        .unwrap();
    assert_eq!(fixture.store.incident(theirs.id, id).await.unwrap(), None);
    assert!(fixture.store.incident_deliveries(theirs.id, id).await.unwrap().is_empty());
    let filter = IncidentFilter { limit: 9, ..IncidentFilter::default() };
    assert!(fixture.store.incidents(theirs.id, filter).await.unwrap().is_empty());

    let alert = IncidentRecord { revision: 2, ..fixture.incident_record(theirs, Subject::Alert("a".into())) };
    let mut moved = IncidentRecord { revision: 2, ..record.clone() };
    moved.incident.subject = alert.incident.subject.clone();
    assert_refused!(fixture.record_transition(theirs, incident_only(resolved(&record, NOW))).await, NotFound);
    assert_refused!(fixture.record_transition(theirs, incident_only(moved)).await, NotFound);
    // A state of theirs that names our incident does not write to its timeline.
    let their_endpoint = fixture.new_endpoint(theirs).await;
    let state = EndpointState { incident_id: Some(id), ..fixture.state(their_endpoint, 1) };
    let transition = TransitionRecord {
        timeline: vec![check_entry(NOW)],
        ..check_and_state(fixture.check(their_endpoint, healthy(NOW)), state)
    };
    assert_refused!(fixture.record_transition(theirs, transition).await, NotFound);
    let incident = fixture.incident_record(theirs, Subject::Endpoint(endpoint_id));
    assert_refused!(fixture.record_transition(theirs, incident_only(incident)).await, NotFound);
    assert_eq!(fixture.store.incident(ours.id, id).await.unwrap(), Some((record, vec![])));
}

pub(super) async fn incident_concurrent_openings_create_one(fixture: Fixture) {
    let (ours, endpoint_id) = (fixture.ours, fixture.new_endpoint(fixture.ours).await);
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let record = fixture.incident_record(ours, Subject::Endpoint(endpoint_id));
        let transition =
            TransitionRecord { endpoint_state: Some(fixture.state(endpoint_id, 1)), ..incident_only(record) };
        let store = Arc::clone(&fixture.store);
        tasks.push(tokio::spawn(async move { store.record_transition(ours.id, transition).await }));
    }
    let mut written = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(outcome) => written += u32::from(outcome == TransitionOutcome::Applied(vec![])),
            refused => assert_error(refused, &StoreError::Conflict),
        }
    }
    assert_eq!((written, fixture.store.active_incidents().await.unwrap().len()), (1, 1));
    let state = fixture.store.endpoint_states(ours.id).await.unwrap();
    assert_eq!((state.len(), state[0].streak.worst), (1, None::<CheckStatus>));
}
