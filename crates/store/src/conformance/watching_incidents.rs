//! Incidents: written with what follows from a check, fenced, with their timelines, and listed.

use std::sync::Arc;

use tidings_domain::check::CheckStatus;
use tidings_domain::id::IncidentId;
use tidings_domain::incident::{Cause, IncidentStatus, IncidentTrigger, Subject, TimelineEntry, TimelineKind};
use tidings_domain::mute::MuteScope;
use tidings_domain::time::Timestamp;

use super::samples::{NOW, after_ms, assert_refused};
use super::watching_world::{assert_not, changed, healthy, seen, timed_out};
use super::world::World;
use crate::StoreError;
use crate::monitoring::{EndpointState, IncidentFilter, IncidentRecord, TransitionOutcome, TransitionRecord};
use crate::queue::InitialState;
use crate::settings::ConfigChange;

fn entry(at: Timestamp, kind: TimelineKind) -> TimelineEntry {
    TimelineEntry { at, kind }
}

fn check_entry(at: Timestamp) -> TimelineEntry {
    TimelineEntry::of_check(&timed_out(at))
}

/// The next revision of the incident, resolved.
fn resolved(record: &IncidentRecord, at: Timestamp) -> IncidentRecord {
    let incident = record.incident.resolved(at).expect("it is active");
    IncidentRecord { incident, wake_at: None, revision: record.revision + 1, ..record.clone() }
}

async fn timeline(world: &World, id: IncidentId) -> Vec<TimelineEntry> {
    world.store.incident(world.ours.id, id).await.unwrap().expect("it is there").1
}

pub(super) async fn an_incident_reads_back_with_its_timeline(world: World) {
    let ours = world.ours;
    let endpoint_id = world.watched(ours).await;
    let mut record = world.opened(ours, Subject::Endpoint(endpoint_id));
    let opened = TimelineKind::Opened { cause: Cause::EndpointDegraded, detail: Some("slow — 6 s".into()) };
    let entries = vec![check_entry(NOW), entry(NOW, opened)];
    let state = EndpointState { incident_id: Some(record.incident.id), ..world.state(endpoint_id, 1) };
    let following = TransitionRecord {
        incident: Some(record.clone()),
        timeline: entries.clone(),
        ..seen(world.check(endpoint_id, timed_out(NOW)), state)
    };
    assert_eq!(world.follow(ours, following).await, Ok(TransitionOutcome::Applied(vec![])));
    let id = record.incident.id;
    assert_eq!(world.store.incident(ours.id, id).await.unwrap(), Some((record.clone(), entries.clone())));

    record.incident = record.incident.worsened(None).unwrap().acknowledged("key_1 \"ü\"", after_ms(9)).unwrap();
    (record.escalations_done, record.wake_at, record.revision) = (vec![], None, 2);
    (record.reminders, record.subject_info.name) = (record.reminders.recorded(after_ms(9)), "renamed".into());
    world.follow(ours, changed(record.clone())).await.unwrap();
    assert_eq!(world.kept(ours, id).await, record);
    let record = resolved(&record, after_ms(10));
    world.follow(ours, changed(record.clone())).await.unwrap();

    let alert = world.opened(ours, Subject::Alert("disk:/var \"a\"".into()));
    world.follow(ours, changed(alert.clone())).await.unwrap();
    let world = world.reopen().await;
    assert_eq!(world.store.incident(ours.id, id).await.unwrap(), Some((record, entries)));
    assert_eq!(world.kept(ours, alert.incident.id).await, alert);
    assert_eq!(world.store.incident(ours.id, world.id()).await.unwrap(), None);
}

pub(super) async fn a_subject_has_one_active_incident(world: World) {
    let ours = world.ours;
    let first = world.failing(ours).await;
    let second = world.opened(ours, first.incident.subject.clone());
    assert_refused!(world.follow(ours, changed(second.clone())).await, Exists);
    assert_refused!(world.follow(ours, changed(first.clone())).await, Exists);
    world.follow(ours, changed(resolved(&first, after_ms(5)))).await.unwrap();
    world.follow(ours, changed(second.clone())).await.unwrap();
    let reopened = IncidentRecord { revision: 3, ..first.clone() };
    assert_refused!(world.follow(ours, changed(reopened)).await, Exists);
    // Another's alert of the same id is another subject.
    for tenant in [ours, world.theirs] {
        let alert = world.opened(tenant, Subject::Alert(first.incident.subject.resource_id()));
        world.follow(tenant, changed(alert)).await.unwrap();
    }
}

pub(super) async fn an_incident_needs_the_revision_before(world: World) {
    let ours = world.ours;
    let record = world.failing(ours).await;
    let at = |revision| IncidentRecord { wake_at: Some(after_ms(1)), revision, ..record.clone() };
    for (revision, is_next) in [(0, false), (3, false), (2, true), (2, false), (4, false), (3, true)] {
        let outcome = world.follow(ours, changed(at(revision))).await;
        if is_next {
            assert_eq!(outcome, Ok(TransitionOutcome::Applied(vec![])));
            assert_eq!(world.kept(ours, record.incident.id).await, at(revision));
        } else {
            assert_not(outcome, &StoreError::Conflict);
        }
    }
    let unknown = world.opened(ours, record.incident.subject.clone());
    assert_refused!(world.follow(ours, changed(IncidentRecord { revision: 2, ..unknown })).await, NotFound);
}

pub(super) async fn what_was_sent_is_left_alone(world: World) {
    let mut record = world.failing(world.ours).await;
    for revision in 2..4 {
        (record.incident.notifications_sent, record.revision) = (7, revision);
        world.follow(world.ours, changed(record.clone())).await.unwrap();
        assert_eq!(world.kept(world.ours, record.incident.id).await.incident.notifications_sent, 0);
    }
}

pub(super) async fn a_refused_following_leaves_nothing(world: World) {
    let ours = world.ours;
    let record = world.failing(ours).await;
    let Subject::Endpoint(endpoint_id) = record.incident.subject else { panic!("an endpoint") };
    let mute = world.mute(ours, MuteScope::Endpoint(endpoint_id));
    world.change(ours, ConfigChange::PutMute(mute.clone())).await.unwrap();
    let version = world.configured(ours, 0).await.version;
    let delivery = world.delivery(ours, InitialState::Due);
    let delivery_id = delivery.id;
    let stale = IncidentRecord { revision: 9, ..record.clone() };
    let following = TransitionRecord {
        incident: Some(stale),
        timeline: vec![check_entry(NOW)],
        ended_mutes: vec![mute.id],
        events: vec![world.tells(&record, IncidentTrigger::Worsened, NOW, vec![delivery])],
        ..seen(world.check(endpoint_id, timed_out(NOW)), world.state(endpoint_id, 1))
    };
    let beside = world.new_event(world.event(ours), vec![]);
    let (refused, accepted) = tokio::join!(world.follow(ours, following.clone()), world.store.accept(vec![beside]));
    assert_not(refused, &StoreError::Conflict);
    assert!(accepted.is_ok(), "nobody else is taken with it");
    assert!(world.checks(ours, endpoint_id).await.is_empty());
    world.assert_revision(ours, endpoint_id, 0).await;
    assert!(timeline(&world, record.incident.id).await.is_empty());
    assert!(world.store.delivery(ours.id, delivery_id).await.unwrap().is_none());
    let found = world.configured(ours, 0).await;
    assert_eq!((found.version, found.mutes), (version, vec![mute]));
    // The last thing that it brings is refused: what came before is undone as well.
    let twice = world.delivery(ours, InitialState::Due);
    let event = world.tells(&record, IncidentTrigger::Worsened, NOW, vec![twice.clone(), twice]);
    let following = TransitionRecord { incident: Some(resolved(&record, NOW)), events: vec![event], ..following };
    assert_not(world.follow(ours, following).await, &StoreError::Exists);
    assert_eq!(world.kept(ours, record.incident.id).await, record);
    assert!(world.checks(ours, endpoint_id).await.is_empty());
}

pub(super) async fn a_timeline_goes_on_in_its_order(world: World) {
    let ours = world.ours;
    let record = world.failing(ours).await;
    let Subject::Endpoint(endpoint_id) = record.incident.subject else { panic!("an endpoint") };
    let mut expected = Vec::new();
    for revision in 1..=4 {
        // IncidentDelivery out of order, it stays in the order in which it was told.
        let at = after_ms(10 - revision);
        let entries = vec![check_entry(at), entry(at, TimelineKind::Worsened { detail: None })];
        let state = EndpointState { incident_id: Some(record.incident.id), ..world.state(endpoint_id, revision) };
        let check = world.check(endpoint_id, timed_out(at));
        world.follow(ours, TransitionRecord { timeline: entries.clone(), ..seen(check, state) }).await.unwrap();
        expected.extend(entries);
    }
    assert_eq!(timeline(&world, record.incident.id).await, expected);
    assert_eq!(world.kept(ours, record.incident.id).await.revision, 1, "it did not change by itself");
    let of_none = TransitionRecord { timeline: expected, ..TransitionRecord::default() };
    assert!(matches!(world.follow(ours, of_none).await, Err(StoreError::Defect(_))));
}

pub(super) async fn a_long_timeline_keeps_what_matters(world: World) {
    let ours = world.ours;
    let record = world.failing(ours).await;
    let id = record.incident.id;
    let checks = (0..10_050).map(|number| check_entry(after_ms(number))).collect();
    let next = |revision| IncidentRecord { revision, ..record.clone() };
    let following = TransitionRecord { timeline: checks, ..changed(next(2)) };
    world.follow(ours, following).await.unwrap();
    let shown = timeline(&world, id).await;
    let expected: Vec<_> = (9_000..10_000).map(|number| check_entry(after_ms(number))).collect();
    assert_eq!(shown, expected, "the newest thousand of those that were kept");
    let worsened = entry(NOW, TimelineKind::Worsened { detail: None });
    let more = vec![check_entry(NOW), worsened.clone(), check_entry(NOW)];
    world.follow(ours, TransitionRecord { timeline: more, ..changed(next(3)) }).await.unwrap();
    let shown = timeline(&world, id).await;
    assert_eq!((shown.len(), &shown[998], &shown[999]), (1_000, &expected[999], &worsened));
}

/// Incidents of ours, newest first, in turns resolved and about the same endpoint.
async fn many(world: &World) -> Vec<IncidentRecord> {
    let ours = world.ours;
    let endpoint_id = world.watched(ours).await;
    let mut all = Vec::new();
    for number in 0..10 {
        let subject = match number % 2 {
            0 => Subject::Endpoint(endpoint_id),
            _ => Subject::Alert(format!("alert {number}")),
        };
        let mut record = world.opened_at(ours, subject, after_ms(number));
        world.follow(ours, changed(record.clone())).await.unwrap();
        if number % 2 == 0 {
            record = resolved(&record, after_ms(number));
            world.follow(ours, changed(record.clone())).await.unwrap();
        }
        all.push(record);
    }
    let theirs = world.opened(world.theirs, Subject::Alert("alert 1".into()));
    world.follow(world.theirs, changed(theirs)).await.unwrap();
    all.reverse();
    all
}

async fn pages(world: &World, filter: &IncidentFilter) -> Vec<IncidentRecord> {
    let mut found: Vec<IncidentRecord> = Vec::new();
    loop {
        let before = found.last().map(|record| record.incident.id);
        let filter = IncidentFilter { before, limit: 3, ..filter.clone() };
        let page = world.store.incidents(world.ours.id, filter).await.unwrap();
        assert!(page.len() <= 3);
        if page.is_empty() {
            return found;
        }
        found.extend(page);
    }
}

pub(super) async fn incidents_come_newest_first(world: World) {
    let all = many(&world).await;
    assert_eq!(pages(&world, &IncidentFilter::default()).await, all);
}

pub(super) async fn every_incident_filter_filters(world: World) {
    let all = many(&world).await;
    let subjects = [None, Some(all[0].incident.subject.clone()), Some(all[1].incident.subject.clone())];
    for status in [None, Some(IncidentStatus::Active), Some(IncidentStatus::Resolved)] {
        for subject in &subjects {
            for (since, until) in [(None, None), (Some(after_ms(3)), None), (Some(after_ms(2)), Some(after_ms(7)))] {
                let fits = |record: &&IncidentRecord| {
                    let incident = &record.incident;
                    status.is_none_or(|status| incident.status() == status)
                        && subject.as_ref().is_none_or(|subject| incident.subject == *subject)
                        && since.is_none_or(|since| incident.started_at >= since)
                        && until.is_none_or(|until| incident.started_at < until)
                };
                let expected: Vec<_> = all.iter().filter(fits).cloned().collect();
                let filter = IncidentFilter { status, subject: subject.clone(), since, until, ..Default::default() };
                assert_eq!(pages(&world, &filter).await, expected, "{filter:?}");
            }
        }
    }
}

pub(super) async fn active_incidents_are_those_of_everybody(world: World) {
    assert!(world.store.active_incidents().await.unwrap().is_empty());
    let (ours, theirs) = (world.failing(world.ours).await, world.failing(world.theirs).await);
    assert_eq!(world.store.active_incidents().await.unwrap(), [ours.clone(), theirs.clone()]);
    world.follow(world.ours, changed(resolved(&ours, NOW))).await.unwrap();
    assert_eq!(world.store.active_incidents().await.unwrap(), [theirs]);
}

pub(super) async fn ended_mutes_are_gone_and_everybody_hears_of_it(world: World) {
    let ours = world.ours;
    let record = world.failing(ours).await;
    let (gone, stays) = (world.mute(ours, MuteScope::Global), world.mute(ours, MuteScope::Global));
    let theirs = world.mute(world.theirs, MuteScope::Global);
    for mute in [&gone, &stays] {
        world.change(ours, ConfigChange::PutMute(mute.clone())).await.unwrap();
    }
    world.change(world.theirs, ConfigChange::PutMute(theirs.clone())).await.unwrap();
    let version = world.configured(ours, 0).await.version;
    let ended_mutes = vec![gone.id, theirs.id, world.id()];
    let following = |revision| TransitionRecord {
        ended_mutes: ended_mutes.clone(),
        ..changed(IncidentRecord { revision, ..record.clone() })
    };
    world.follow(ours, following(2)).await.unwrap();
    let found = world.configured(ours, 0).await;
    assert_eq!((found.mutes, found.version), (vec![stays], version + 1));
    assert_eq!(world.configured(world.theirs, 0).await.mutes, [theirs]);
    world.follow(ours, following(3)).await.unwrap();
    assert_eq!(world.configured(ours, 0).await.version, version + 1, "nothing ended");
}

pub(super) async fn a_stranger_sees_and_changes_no_incident(world: World) {
    let (ours, theirs) = (world.ours, world.theirs);
    let record = world.failing(ours).await;
    let Subject::Endpoint(endpoint_id) = record.incident.subject else { panic!("an endpoint") };
    let id = record.incident.id;
    let opened = world.tells(&record, IncidentTrigger::Opened, NOW, vec![world.delivery(ours, InitialState::Due)]);
    world.follow(ours, TransitionRecord { events: vec![opened], ..TransitionRecord::default() }).await.unwrap();
    assert_eq!(world.store.incident(theirs.id, id).await.unwrap(), None);
    assert!(world.store.incident_deliveries(theirs.id, id).await.unwrap().is_empty());
    let filter = IncidentFilter { limit: 9, ..IncidentFilter::default() };
    assert!(world.store.incidents(theirs.id, filter).await.unwrap().is_empty());

    let alert = IncidentRecord { revision: 2, ..world.opened(theirs, Subject::Alert("a".into())) };
    let mut taken = IncidentRecord { revision: 2, ..record.clone() };
    taken.incident.subject = alert.incident.subject.clone();
    assert_refused!(world.follow(theirs, changed(resolved(&record, NOW))).await, NotFound);
    assert_refused!(world.follow(theirs, changed(taken)).await, NotFound);
    // Nor does a state of theirs lead to a timeline of ours.
    let their_endpoint = world.watched(theirs).await;
    let state = EndpointState { incident_id: Some(id), ..world.state(their_endpoint, 1) };
    let following =
        TransitionRecord { timeline: vec![check_entry(NOW)], ..seen(world.check(their_endpoint, healthy(NOW)), state) };
    assert_refused!(world.follow(theirs, following).await, NotFound);
    let incident = world.opened(theirs, Subject::Endpoint(endpoint_id));
    assert_refused!(world.follow(theirs, changed(incident)).await, NotFound);
    assert_eq!(world.store.incident(ours.id, id).await.unwrap(), Some((record, vec![])));
}

pub(super) async fn of_two_that_open_at_once_one_does(world: World) {
    let (ours, endpoint_id) = (world.ours, world.watched(world.ours).await);
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let record = world.opened(ours, Subject::Endpoint(endpoint_id));
        let following = TransitionRecord { state: Some(world.state(endpoint_id, 1)), ..changed(record) };
        let store = Arc::clone(&world.store);
        tasks.push(tokio::spawn(async move { store.record_transition(ours.id, following).await }));
    }
    let mut written = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(outcome) => written += u32::from(outcome == TransitionOutcome::Applied(vec![])),
            refused => assert_not(refused, &StoreError::Conflict),
        }
    }
    assert_eq!((written, world.store.active_incidents().await.unwrap().len()), (1, 1));
    let state = world.store.endpoint_states(ours.id).await.unwrap();
    assert_eq!((state.len(), state[0].streak.worst), (1, None::<CheckStatus>));
}
