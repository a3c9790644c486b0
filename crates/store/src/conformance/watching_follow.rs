//! What follows from a check: it and the state after it are written together, or neither.

use std::sync::Arc;

use tidings_domain::check::CheckStatus;
use tidings_domain::incident::Subject;
use tidings_domain::incident::flapping::FlapHistory;
use tidings_domain::incident::streak::Streak;

use super::samples::{NOW, after_ms, assert_refused};
use super::watching_world::{assert_not, degraded, healthy, nobody, openings, seen, timed_out};
use super::world::World;
use crate::StoreError;
use crate::monitoring::{CheckFilter, CheckRecord, EndpointState, IncidentFilter, TransitionOutcome, TransitionRecord};
use crate::queue::InitialState;
use crate::retention::{PruneCursor, Retention, SummaryFilter};

pub(super) async fn a_check_and_a_state_read_back(world: World) {
    let ours = world.ours;
    let (id, other) = (world.watched(ours).await, world.watched(ours).await);
    assert!(world.store.endpoint_states(ours.id).await.unwrap().is_empty(), "nothing was checked");
    let full = EndpointState {
        streak: Streak { failing: 4, down: 1, worst: Some(CheckStatus::Down), healthy: 0, since: Some(after_ms(1)) },
        flap_history: FlapHistory { recent: vec![NOW, after_ms(7)], is_flapping: true },
        last_check: Some(degraded(NOW)),
        incident_id: Some(world.id()),
        openings: openings(ours.channel_id, NOW),
        ..world.state(id, 1)
    };
    let check = world.check(id, degraded(NOW));
    let outcome = world.follow(ours, seen(check.clone(), full.clone())).await;
    assert_eq!(outcome, Ok(TransitionOutcome::Applied(vec![])));
    let plain = world.state(other, 1);
    world.follow(ours, seen(world.check(other, healthy(NOW)), plain.clone())).await.unwrap();
    assert_eq!(world.store.endpoint_states(ours.id).await.unwrap(), [full, plain]);
    assert_eq!(world.checks(ours, id).await, [check]);
    let next = EndpointState { streak: Streak { healthy: 1, ..Streak::default() }, ..world.state(id, 2) };
    world.follow(ours, seen(world.check(id, healthy(after_ms(9))), next.clone())).await.unwrap();
    assert!(world.store.endpoint_states(ours.id).await.unwrap().contains(&next), "all of it is replaced");
}

pub(super) async fn every_kind_of_check_reads_back(world: World) {
    let id = world.watched(world.ours).await;
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
        records.push(world.checked(world.ours, id, check).await);
    }
    records.reverse();
    assert_eq!(world.checks(world.ours, id).await, records);
}

pub(super) async fn a_check_told_again_changes_nothing(world: World) {
    let (ours, id) = (world.ours, world.watched(world.ours).await);
    let check = world.check(id, healthy(NOW));
    world.follow(ours, seen(check.clone(), world.state(id, 1))).await.unwrap();
    let mut other = check.clone();
    other.check = timed_out(NOW);
    let incident = world.opened(ours, Subject::Endpoint(id));
    for again in [
        seen(check.clone(), world.state(id, 1)),
        seen(other.clone(), world.state(id, 2)),
        TransitionRecord { incident: Some(incident), ..seen(other, world.state(id, 2)) },
    ] {
        assert_eq!(world.follow(ours, again).await, Ok(TransitionOutcome::Duplicate));
    }
    world.assert_revision(ours, id, 1).await;
    assert_eq!(world.checks(ours, id).await, vec![check.clone()]);
    assert!(world.store.active_incidents().await.unwrap().is_empty());
    // Of another endpoint it is another check.
    let other = world.watched(ours).await;
    let elsewhere = CheckRecord { endpoint_id: other, ..check };
    world.follow(ours, seen(elsewhere.clone(), world.state(other, 1))).await.unwrap();
    assert_eq!(world.checks(ours, other).await, [elsewhere]);
}

pub(super) async fn a_state_needs_the_revision_before(world: World) {
    let (ours, id) = (world.ours, world.watched(world.ours).await);
    let steps = [(0, false), (2, false), (1, true), (1, false), (3, false), (2, true), (2, false), (u64::MAX, false)];
    let mut reached = 0;
    for (revision, is_next) in steps {
        let state = world.state(id, revision);
        let outcome = world.follow(ours, seen(world.check(id, healthy(NOW)), state.clone())).await;
        if is_next {
            assert_eq!(outcome, Ok(TransitionOutcome::Applied(vec![])));
            reached = revision;
        } else {
            assert_not(outcome, &StoreError::Conflict);
            let alone = TransitionRecord { state: Some(state), ..TransitionRecord::default() };
            assert_not(world.follow(ours, alone).await, &StoreError::Conflict);
        }
        world.assert_revision(ours, id, reached).await;
    }
    assert_eq!(world.checks(ours, id).await.len(), 2, "a refused check is not there");
    let alone = TransitionRecord { state: Some(world.state(id, 3)), ..TransitionRecord::default() };
    assert_eq!(world.follow(ours, alone).await, Ok(TransitionOutcome::Applied(vec![])));
}

pub(super) async fn a_refused_check_takes_nobody_with_it(world: World) {
    let ours = world.ours;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(world.watched(ours).await);
    }
    let refused = world.watched(ours).await;
    let mut tasks = Vec::new();
    for id in ids.clone() {
        let good = seen(world.check(id, healthy(NOW)), world.state(id, 1));
        let bad = seen(world.check(refused, healthy(NOW)), world.state(refused, 7));
        let store = Arc::clone(&world.store);
        tasks.push(tokio::spawn(async move {
            let (good, bad) =
                tokio::join!(store.record_transition(ours.id, good), store.record_transition(ours.id, bad));
            assert_eq!(good, Ok(TransitionOutcome::Applied(vec![])));
            assert_not(bad, &StoreError::Conflict);
        }));
        let (beside, store) = (world.new_event(world.event(ours), vec![]), Arc::clone(&world.store));
        tasks.push(tokio::spawn(async move { assert!(!store.accept(vec![beside]).await.unwrap()[0].duplicate) }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for id in ids {
        world.assert_revision(ours, id, 1).await;
        assert_eq!(world.checks(ours, id).await.len(), 1);
    }
    assert!(world.checks(ours, refused).await.is_empty());
}

pub(super) async fn checks_come_newest_first(world: World) {
    let (ours, id) = (world.ours, world.watched(world.ours).await);
    let mut all = Vec::new();
    for number in 0..25 {
        let check = if number % 5 == 0 { timed_out(after_ms(number)) } else { healthy(after_ms(number)) };
        all.push(world.checked(ours, id, check).await);
    }
    all.reverse();
    for status in [None, Some(CheckStatus::Down), Some(CheckStatus::Degraded)] {
        let expected: Vec<_> =
            all.iter().filter(|record| status.is_none_or(|status| record.check.status == status)).cloned().collect();
        let mut found = Vec::new();
        loop {
            let before = found.last().map(|record: &CheckRecord| record.id);
            let filter = CheckFilter { before, limit: 4, status };
            let page = world.store.checks(ours.id, id, filter).await.unwrap();
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected);
    }
}

pub(super) async fn nothing_follows_for_an_endpoint_that_is_gone(world: World) {
    let ours = world.ours;
    let check = world.check(nobody(), healthy(NOW));
    let check_only = TransitionRecord { check: Some(check.clone()), ..TransitionRecord::default() };
    let state_only = TransitionRecord { state: Some(world.state(nobody(), 1)), ..TransitionRecord::default() };
    let incident = world.opened(ours, Subject::Endpoint(nobody()));
    let incident_only = TransitionRecord { incident: Some(incident), ..TransitionRecord::default() };
    let delivery = world.delivery(ours, InitialState::Due);
    let delivery_id = delivery.id;
    let event = world.new_event(world.event(ours), vec![delivery]);
    let with_event = TransitionRecord { events: vec![event], ..state_only.clone() };
    for following in [seen(check, world.state(nobody(), 1)), check_only, state_only, incident_only, with_event] {
        assert_refused!(world.follow(ours, following).await, NotFound);
    }
    assert!(world.store.delivery(ours.id, delivery_id).await.unwrap().is_none());
    assert!(world.store.active_incidents().await.unwrap().is_empty());
}

pub(super) async fn a_check_leaves_the_version(world: World) {
    let (ours, id) = (world.ours, world.watched(world.ours).await);
    let before = world.store.versions().await.unwrap();
    for revision in 1..4 {
        world.follow(ours, seen(world.check(id, healthy(NOW)), world.state(id, revision))).await.unwrap();
    }
    assert_eq!(world.store.versions().await.unwrap(), before);
}

pub(super) async fn checks_and_states_survive(world: World) {
    let (ours, id) = (world.ours, world.watched(world.ours).await);
    let state = EndpointState { last_check: Some(degraded(NOW)), ..world.state(id, 1) };
    let check = world.check(id, degraded(NOW));
    world.follow(ours, seen(check.clone(), state.clone())).await.unwrap();
    let world = world.reopen().await;
    assert_eq!(world.store.endpoint_states(ours.id).await.unwrap(), [state]);
    assert_eq!(world.checks(ours, id).await, vec![check.clone()]);
    assert_eq!(world.follow(ours, seen(check, world.state(id, 2))).await, Ok(TransitionOutcome::Duplicate));
}

pub(super) async fn a_stranger_follows_nothing(world: World) {
    let (ours, theirs, id) = (world.ours, world.theirs, world.watched(world.ours).await);
    world.follow(ours, seen(world.check(id, healthy(NOW)), world.state(id, 1))).await.unwrap();
    let check = world.check(id, timed_out(NOW));
    let state = world.state(id, 2);
    let check_only = TransitionRecord { check: Some(check.clone()), ..TransitionRecord::default() };
    let state_only = TransitionRecord { state: Some(state.clone()), ..TransitionRecord::default() };
    for following in [seen(check, state), check_only, state_only] {
        assert_refused!(world.follow(theirs, following).await, NotFound);
    }
    // Nor does an event of ours come in through them.
    let events = vec![world.new_event(world.event(ours), vec![])];
    assert_refused!(world.follow(theirs, TransitionRecord { events, ..TransitionRecord::default() }).await, NotFound);
    assert!(world.store.endpoint_states(theirs.id).await.unwrap().is_empty());
    assert!(world.checks(theirs, id).await.is_empty());
    assert_eq!(world.checks(ours, id).await.len(), 1);
    world.assert_revision(ours, id, 1).await;
}

pub(super) async fn a_closed_store_refuses_to_watch(world: World) {
    let (store, ours, id) = (Arc::clone(&world.store), world.ours, world.watched(world.ours).await);
    let plain = seen(world.check(id, healthy(NOW)), world.state(id, 1));
    let alone = TransitionRecord { state: plain.state.clone(), ..TransitionRecord::default() };
    store.close().await;
    assert_refused!(store.record_transition(ours.id, plain).await, Closed);
    assert_refused!(store.record_transition(ours.id, alone).await, Closed);
    assert_refused!(store.endpoint_states(ours.id).await, Closed);
    assert_refused!(store.active_incidents().await, Closed);
    assert_refused!(store.incident_deliveries(ours.id, world.id()).await, Closed);
    assert_refused!(store.incidents(ours.id, IncidentFilter::default()).await, Closed);
    assert_refused!(store.incident(ours.id, world.id()).await, Closed);
    assert_refused!(store.checks(ours.id, id, CheckFilter::default()).await, Closed);
    assert_refused!(store.summaries(ours.id, id, SummaryFilter::default()).await, Closed);
    assert_refused!(store.summarise(NOW, 1).await, Closed);
    assert_refused!(store.prune(NOW, Retention::default(), PruneCursor::default(), 1).await, Closed);
}
