//! Transitions: a check and the state after it are written together or not at all.

use std::sync::Arc;

use tidings_domain::check::CheckStatus;
use tidings_domain::incident::Subject;
use tidings_domain::incident::flapping::FlapHistory;
use tidings_domain::incident::streak::Streak;

use super::fixture::Fixture;
use super::monitoring_fixture::{assert_error, check_and_state, degraded, healthy, openings, timed_out, unknown_id};
use super::samples::{NOW, after_ms, assert_refused};
use crate::StoreError;
use crate::monitoring::{CheckFilter, CheckRecord, EndpointState, IncidentFilter, TransitionOutcome, TransitionRecord};
use crate::queue::InitialState;
use crate::retention::{PruneCursor, Retention, SummaryFilter};

pub(super) async fn transition_check_and_state_read_back(fixture: Fixture) {
    let ours = fixture.ours;
    let (id, other) = (fixture.new_endpoint(ours).await, fixture.new_endpoint(ours).await);
    assert!(fixture.store.endpoint_states(ours.id).await.unwrap().is_empty(), "no endpoint was checked");
    let full = EndpointState {
        streak: Streak { failing: 4, down: 1, worst: Some(CheckStatus::Down), healthy: 0, since: Some(after_ms(1)) },
        flap_history: FlapHistory { recent: vec![NOW, after_ms(7)], is_flapping: true },
        last_check: Some(degraded(NOW)),
        incident_id: Some(fixture.id()),
        last_openings: openings(ours.channel_id, NOW),
        ..fixture.state(id, 1)
    };
    let check = fixture.check(id, degraded(NOW));
    let outcome = fixture.record_transition(ours, check_and_state(check.clone(), full.clone())).await;
    assert_eq!(outcome, Ok(TransitionOutcome::Applied(vec![])));
    let plain = fixture.state(other, 1);
    fixture.record_transition(ours, check_and_state(fixture.check(other, healthy(NOW)), plain.clone())).await.unwrap();
    assert_eq!(fixture.store.endpoint_states(ours.id).await.unwrap(), [full, plain]);
    assert_eq!(fixture.checks(ours, id).await, [check]);
    let next = EndpointState { streak: Streak { healthy: 1, ..Streak::default() }, ..fixture.state(id, 2) };
    fixture
        .record_transition(ours, check_and_state(fixture.check(id, healthy(after_ms(9))), next.clone()))
        .await
        .unwrap();
    assert!(fixture.store.endpoint_states(ours.id).await.unwrap().contains(&next), "the state is replaced as a whole");
}

pub(super) async fn transition_every_kind_of_check_reads_back(fixture: Fixture) {
    let id = fixture.new_endpoint(fixture.ours).await;
    let mut all = vec![healthy(NOW), timed_out(after_ms(1)), degraded(after_ms(2))];
    for response_time_ms in [None, Some(0), Some(47), Some(u32::MAX)] {
        let mut check = healthy(after_ms(all.len() as u64));
        check.response_time_ms = response_time_ms;
        check.timings.total_ms = response_time_ms.map_or(48, |ms| ms.max(48));
        check.status = CheckStatus::Inconclusive;
        all.push(check);
    }
    let mut records = Vec::new();
    for check in all {
        records.push(fixture.record_check(fixture.ours, id, check).await);
    }
    records.reverse();
    assert_eq!(fixture.checks(fixture.ours, id).await, records);
}

pub(super) async fn transition_duplicate_check_changes_nothing(fixture: Fixture) {
    let (ours, id) = (fixture.ours, fixture.new_endpoint(fixture.ours).await);
    let check = fixture.check(id, healthy(NOW));
    fixture.record_transition(ours, check_and_state(check.clone(), fixture.state(id, 1))).await.unwrap();
    let mut other = check.clone();
    other.check = timed_out(NOW);
    let incident = fixture.incident_record(ours, Subject::Endpoint(id));
    for again in [
        check_and_state(check.clone(), fixture.state(id, 1)),
        check_and_state(other.clone(), fixture.state(id, 2)),
        TransitionRecord { incident: Some(incident), ..check_and_state(other, fixture.state(id, 2)) },
    ] {
        assert_eq!(fixture.record_transition(ours, again).await, Ok(TransitionOutcome::Duplicate));
    }
    fixture.assert_revision(ours, id, 1).await;
    assert_eq!(fixture.checks(ours, id).await, vec![check.clone()]);
    assert!(fixture.store.active_incidents().await.unwrap().is_empty());
    // With the same id, but of another endpoint, it is another check.
    let other = fixture.new_endpoint(ours).await;
    let elsewhere = CheckRecord { endpoint_id: other, ..check };
    fixture.record_transition(ours, check_and_state(elsewhere.clone(), fixture.state(other, 1))).await.unwrap();
    assert_eq!(fixture.checks(ours, other).await, [elsewhere]);
}

pub(super) async fn transition_other_state_revision_is_conflict(fixture: Fixture) {
    let (ours, id) = (fixture.ours, fixture.new_endpoint(fixture.ours).await);
    let steps = [(0, false), (2, false), (1, true), (1, false), (3, false), (2, true), (2, false), (u64::MAX, false)];
    let mut reached = 0;
    for (revision, is_next) in steps {
        let state = fixture.state(id, revision);
        let outcome =
            fixture.record_transition(ours, check_and_state(fixture.check(id, healthy(NOW)), state.clone())).await;
        if is_next {
            assert_eq!(outcome, Ok(TransitionOutcome::Applied(vec![])));
            reached = revision;
        } else {
            assert_error(outcome, &StoreError::Conflict);
            let alone = TransitionRecord { endpoint_state: Some(state), ..TransitionRecord::default() };
            assert_error(fixture.record_transition(ours, alone).await, &StoreError::Conflict);
        }
        fixture.assert_revision(ours, id, reached).await;
    }
    assert_eq!(fixture.checks(ours, id).await.len(), 2, "refused checks are not stored");
    let alone = TransitionRecord { endpoint_state: Some(fixture.state(id, 3)), ..TransitionRecord::default() };
    assert_eq!(fixture.record_transition(ours, alone).await, Ok(TransitionOutcome::Applied(vec![])));
}

pub(super) async fn transition_refused_does_not_affect_others(fixture: Fixture) {
    let ours = fixture.ours;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(fixture.new_endpoint(ours).await);
    }
    let refused = fixture.new_endpoint(ours).await;
    let mut tasks = Vec::new();
    for id in ids.clone() {
        let good = check_and_state(fixture.check(id, healthy(NOW)), fixture.state(id, 1));
        let bad = check_and_state(fixture.check(refused, healthy(NOW)), fixture.state(refused, 7));
        let store = Arc::clone(&fixture.store);
        tasks.push(tokio::spawn(async move {
            let (good, bad) =
                tokio::join!(store.record_transition(ours.id, good), store.record_transition(ours.id, bad));
            assert_eq!(good, Ok(TransitionOutcome::Applied(vec![])));
            assert_error(bad, &StoreError::Conflict);
        }));
        let (other, store) = (fixture.new_event(fixture.event(ours), vec![]), Arc::clone(&fixture.store));
        tasks.push(tokio::spawn(async move { assert!(!store.accept(vec![other]).await.unwrap()[0].duplicate) }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for id in ids {
        fixture.assert_revision(ours, id, 1).await;
        assert_eq!(fixture.checks(ours, id).await.len(), 1);
    }
    assert!(fixture.checks(ours, refused).await.is_empty());
}

pub(super) async fn checks_are_newest_first(fixture: Fixture) {
    let (ours, id) = (fixture.ours, fixture.new_endpoint(fixture.ours).await);
    let mut all = Vec::new();
    for number in 0..25 {
        let check = if number % 5 == 0 { timed_out(after_ms(number)) } else { healthy(after_ms(number)) };
        all.push(fixture.record_check(ours, id, check).await);
    }
    all.reverse();
    for status in [None, Some(CheckStatus::Down), Some(CheckStatus::Degraded)] {
        let expected: Vec<_> =
            all.iter().filter(|record| status.is_none_or(|status| record.check.status == status)).cloned().collect();
        let mut found = Vec::new();
        loop {
            let before = found.last().map(|record: &CheckRecord| record.id);
            let filter = CheckFilter { before, limit: 4, status };
            let page = fixture.store.checks(ours.id, id, filter).await.unwrap();
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected);
    }
}

pub(super) async fn transition_deleted_endpoint_is_not_found(fixture: Fixture) {
    let ours = fixture.ours;
    let check = fixture.check(unknown_id(), healthy(NOW));
    let check_only = TransitionRecord { check: Some(check.clone()), ..TransitionRecord::default() };
    let state_only =
        TransitionRecord { endpoint_state: Some(fixture.state(unknown_id(), 1)), ..TransitionRecord::default() };
    let incident = fixture.incident_record(ours, Subject::Endpoint(unknown_id()));
    let incident_only = TransitionRecord { incident: Some(incident), ..TransitionRecord::default() };
    let delivery = fixture.delivery(ours, InitialState::Due);
    let delivery_id = delivery.id;
    let event = fixture.new_event(fixture.event(ours), vec![delivery]);
    let with_event = TransitionRecord { events: vec![event], ..state_only.clone() };
    for transition in
        [check_and_state(check, fixture.state(unknown_id(), 1)), check_only, state_only, incident_only, with_event]
    {
        assert_refused!(fixture.record_transition(ours, transition).await, NotFound);
    }
    assert!(fixture.store.delivery(ours.id, delivery_id).await.unwrap().is_none());
    assert!(fixture.store.active_incidents().await.unwrap().is_empty());
}

pub(super) async fn transition_leaves_configuration_version(fixture: Fixture) {
    let (ours, id) = (fixture.ours, fixture.new_endpoint(fixture.ours).await);
    let before = fixture.store.versions().await.unwrap();
    for revision in 1..4 {
        fixture
            .record_transition(ours, check_and_state(fixture.check(id, healthy(NOW)), fixture.state(id, revision)))
            .await
            .unwrap();
    }
    assert_eq!(fixture.store.versions().await.unwrap(), before);
}

pub(super) async fn transition_survives_restart(fixture: Fixture) {
    let (ours, id) = (fixture.ours, fixture.new_endpoint(fixture.ours).await);
    let state = EndpointState { last_check: Some(degraded(NOW)), ..fixture.state(id, 1) };
    let check = fixture.check(id, degraded(NOW));
    fixture.record_transition(ours, check_and_state(check.clone(), state.clone())).await.unwrap();
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store.endpoint_states(ours.id).await.unwrap(), [state]);
    assert_eq!(fixture.checks(ours, id).await, vec![check.clone()]);
    assert_eq!(
        fixture.record_transition(ours, check_and_state(check, fixture.state(id, 2))).await,
        Ok(TransitionOutcome::Duplicate)
    );
}

pub(super) async fn transition_from_other_workspace_is_not_found(fixture: Fixture) {
    let (ours, theirs, id) = (fixture.ours, fixture.theirs, fixture.new_endpoint(fixture.ours).await);
    fixture
        .record_transition(ours, check_and_state(fixture.check(id, healthy(NOW)), fixture.state(id, 1)))
        .await
        .unwrap();
    let check = fixture.check(id, timed_out(NOW));
    let state = fixture.state(id, 2);
    let check_only = TransitionRecord { check: Some(check.clone()), ..TransitionRecord::default() };
    let state_only = TransitionRecord { endpoint_state: Some(state.clone()), ..TransitionRecord::default() };
    for transition in [check_and_state(check, state), check_only, state_only] {
        assert_refused!(fixture.record_transition(theirs, transition).await, NotFound);
    }
    // Nor can they record an event of our workspace.
    let events = vec![fixture.new_event(fixture.event(ours), vec![])];
    assert_refused!(
        fixture.record_transition(theirs, TransitionRecord { events, ..TransitionRecord::default() }).await,
        NotFound
    );
    assert!(fixture.store.endpoint_states(theirs.id).await.unwrap().is_empty());
    assert!(fixture.checks(theirs, id).await.is_empty());
    assert_eq!(fixture.checks(ours, id).await.len(), 1);
    fixture.assert_revision(ours, id, 1).await;
}

pub(super) async fn closed_store_refuses_monitoring(fixture: Fixture) {
    let (store, ours, id) = (Arc::clone(&fixture.store), fixture.ours, fixture.new_endpoint(fixture.ours).await);
    let plain = check_and_state(fixture.check(id, healthy(NOW)), fixture.state(id, 1));
    let alone = TransitionRecord { endpoint_state: plain.endpoint_state.clone(), ..TransitionRecord::default() };
    store.close().await;
    assert_refused!(store.record_transition(ours.id, plain).await, Closed);
    assert_refused!(store.record_transition(ours.id, alone).await, Closed);
    assert_refused!(store.endpoint_states(ours.id).await, Closed);
    assert_refused!(store.active_incidents().await, Closed);
    assert_refused!(store.incident_deliveries(ours.id, fixture.id()).await, Closed);
    assert_refused!(store.incidents(ours.id, IncidentFilter::default()).await, Closed);
    assert_refused!(store.incident(ours.id, fixture.id()).await, Closed);
    assert_refused!(store.checks(ours.id, id, CheckFilter::default()).await, Closed);
    assert_refused!(store.summaries(ours.id, id, SummaryFilter::default()).await, Closed);
    assert_refused!(store.summarise(NOW, 1).await, Closed);
    assert_refused!(store.prune(NOW, Retention::default(), PruneCursor::default(), 1).await, Closed);
}
