//! Accept: events with all of their deliveries, each once, all or nothing.

use std::sync::Arc;

use tidings_domain::delivery::Status;
use tidings_domain::event::{Event, EventKind};
use tidings_domain::gate::Gate;
use tidings_domain::id::EventId;
use tidings_domain::resource::ResourceType;
use tidings_domain::routing::{NotRouted, NotRoutedReason};
use tidings_domain::severity::Severity;
use tidings_domain::trigger::Trigger;

use super::fixture::Fixture;
use super::samples::{NOW, assert_refused, assert_same_event, lease, passed, stopped};
use crate::history::{DeliveryFilter, EventFilter, EventRecord};
use crate::queue::{Acceptance, Counts, InitialState, NewEvent};

const ALL_EVENTS: EventFilter = EventFilter {
    before: None,
    searched_until: None,
    limit: 100,
    runs_only: false,
    kind: None,
    resource_type: None,
    resource_id: None,
    trigger: None,
};

impl Fixture {
    async fn our_event(&self, id: EventId) -> Option<EventRecord> {
        self.store.event(self.ours.id, id).await.unwrap()
    }

    async fn count_events(&self) -> usize {
        self.store.events(self.ours.id, ALL_EVENTS).await.unwrap().records.len()
    }
}

pub(super) async fn accept_all_fields_read_back(fixture: Fixture) {
    let event = fixture.event(fixture.ours);
    let mut new_event = fixture.new_event(event.clone(), vec![fixture.delivery(fixture.ours, InitialState::Due)]);
    new_event.not_routed =
        NotRoutedReason::ALL.iter().map(|&reason| NotRouted { rule_id: fixture.id(), reason }).collect();
    let not_routed = new_event.not_routed.clone();
    let answer = fixture.accept(new_event).await;
    let counts = Counts { pending: 1, ..Counts::default() };
    assert_eq!(
        answer,
        Acceptance {
            event_id: event.id,
            duplicate: false,
            differs: false,
            counts,
            not_leased: vec![],
            expedited: vec![]
        }
    );

    let found = fixture.our_event(event.id).await.expect("it was accepted");
    assert_same_event(&found.event, &event);
    assert_eq!((found.not_routed, found.counts), (not_routed, counts));
}

pub(super) async fn accept_minimal_event_reads_back(fixture: Fixture) {
    let id = fixture.id();
    let mut event = Event::sample(id, fixture.ours.id, ResourceType::UseCase, "%_\\ 'ü'", NOW);
    (event.kind, event.run_id, event.trigger) = (EventKind::WorkflowCompleted, "1".into(), Trigger::Success);
    fixture.accept(fixture.new_event(event.clone(), vec![])).await;
    assert_same_event(&fixture.our_event(id).await.expect("it was accepted").event, &event);
}

pub(super) async fn accept_deliveries_have_requested_initial_state(fixture: Fixture) {
    let ours = fixture.ours;
    let event = fixture.event(ours);
    let mut critical = fixture.delivery(ours, InitialState::Leased(lease(1, 60_000)));
    critical.severity = Severity::Critical;
    let deliveries =
        vec![critical, fixture.delivery(ours, InitialState::Due), fixture.delivery(ours, InitialState::Suppressed)];
    let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.id).collect();
    let answer = fixture.accept(fixture.new_event(event.clone(), deliveries)).await;
    assert_eq!(answer.counts, Counts { pending: 2, held: 0, suppressed: 1 });

    let [leased, due, suppressed] =
        [fixture.read(ours, ids[0]), fixture.read(ours, ids[1]), fixture.read(ours, ids[2])];
    let (leased, due, suppressed) = (leased.await, due.await, suppressed.await);
    assert_eq!((leased.status, leased.next_attempt_at), (Status::Sending, None));
    assert_eq!((leased.severity, leased.gate_evaluations.as_slice()), (Severity::Critical, &[passed(NOW)][..]));
    assert_eq!((due.status, due.next_attempt_at), (Status::Pending, Some(NOW)));
    assert_eq!((due.rule_id, due.channel_id), (Some(ours.rule_id), ours.channel_id));
    assert_eq!((suppressed.status, suppressed.completed_at), (Status::Suppressed, Some(NOW)));
    assert_eq!(suppressed.reason.as_deref(), Some("severity_filter"));
    assert_eq!(suppressed.gate_evaluations, [stopped(Gate::SeverityFilter, NOW)]);
    for delivery in [leased, due, suppressed] {
        assert_same_event(&delivery.event, &event);
        assert_eq!((delivery.attempt_count, delivery.attempts.len(), delivery.sent_at), (0, 0, None));
    }
}

pub(super) async fn accept_duplicate_gets_first_answer(fixture: Fixture) {
    let first = fixture.event(fixture.ours);
    let states = [InitialState::Due, InitialState::Suppressed];
    let deliveries = states.map(|state| fixture.delivery(fixture.ours, state)).into();
    let answer = fixture.accept(fixture.new_event(first.clone(), deliveries)).await;

    let mut again = first.clone();
    again.id = fixture.id();
    again.run_mut().error_message = Some("another error".into());
    let repeated = fixture.new_event(again.clone(), vec![fixture.delivery(fixture.ours, InitialState::Due)]);
    assert_eq!(fixture.accept(repeated).await, Acceptance { duplicate: true, ..answer });
    assert_same_event(&fixture.our_event(first.id).await.expect("the first is stored").event, &first);
    assert!(fixture.our_event(again.id).await.is_none());
    let filter = DeliveryFilter { limit: 10, ..DeliveryFilter::default() };
    assert_eq!(fixture.delivery_ids(fixture.ours, filter).await.len(), 2, "those of the first event");
}

pub(super) async fn accept_duplicate_with_another_fingerprint_differs(fixture: Fixture) {
    let first = fixture.event(fixture.ours);
    let with_fingerprint = |fingerprint| {
        let mut event = first.clone();
        event.id = fixture.id();
        NewEvent { fingerprint, ..fixture.new_event(event, vec![]) }
    };
    // The first of a batch wins, also against the rest of that batch.
    let batch = vec![with_fingerprint(Some(-7)), with_fingerprint(Some(7)), with_fingerprint(Some(-7))];
    let answers = fixture.store.accept(batch).await.unwrap();
    let answers: Vec<_> = answers.iter().map(|answer| (answer.duplicate, answer.differs)).collect();
    assert_eq!(answers, [(false, false), (true, true), (true, false)]);
    for (fingerprint, differs) in [(Some(-7), false), (Some(i64::MAX), true), (None, false)] {
        let answer = fixture.accept(with_fingerprint(fingerprint)).await;
        assert_eq!((answer.duplicate, answer.differs), (true, differs), "{fingerprint:?}");
    }
}

pub(super) async fn accept_duplicate_in_same_batch_is_inserted_once(fixture: Fixture) {
    let first = fixture.event(fixture.ours);
    let mut second = first.clone();
    second.id = fixture.id();
    let batch = [first.clone(), second]
        .map(|event| fixture.new_event(event, vec![fixture.delivery(fixture.ours, InitialState::Due)]));
    let answers = fixture.store.accept(batch.into()).await.unwrap();
    assert_eq!(answers[0].event_id, first.id);
    assert!(!answers[0].duplicate);
    assert_eq!(answers[1], Acceptance { duplicate: true, ..answers[0].clone() });
    assert_eq!(fixture.count_events().await, 1);
}

pub(super) async fn accept_one_event_refused_inserts_none(fixture: Fixture) {
    let good = fixture.new_event(fixture.event(fixture.ours), vec![fixture.delivery(fixture.ours, InitialState::Due)]);
    let twice = fixture.delivery(fixture.ours, InitialState::Due);
    let bad = fixture.new_event(fixture.event(fixture.ours), vec![twice.clone(), twice]);
    let batch = vec![good.clone(), bad];
    assert_refused!(fixture.store.accept(batch).await, Exists);
    assert_eq!(fixture.count_events().await, 0);
    assert!(!fixture.accept(good).await.duplicate, "its idempotency key was not stored either");
}

pub(super) async fn accept_refused_batch_does_not_affect_others(fixture: Fixture) {
    let fixture = Arc::new(fixture);
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let delivery = fixture.delivery(fixture.ours, InitialState::Due);
            let copies = if number % 4 == 0 { 2 } else { 1 };
            let new_event = fixture.new_event(fixture.event(fixture.ours), vec![delivery; copies]);
            let store = Arc::clone(&fixture.store);
            tokio::spawn(async move { (number, store.accept(vec![new_event]).await) })
        })
        .collect();
    for task in tasks {
        let (number, outcome) = task.await.unwrap();
        assert_eq!(outcome.is_ok(), number % 4 != 0, "{number}: {outcome:?}");
    }
    assert_eq!(fixture.count_events().await, 30);
}

pub(super) async fn accept_any_key_part_different_is_new_event(fixture: Fixture) {
    let first = fixture.event(fixture.ours);
    fixture.accept(fixture.new_event(first.clone(), vec![])).await;
    for change in [
        |event: &mut Event| event.resource_type = ResourceType::Job,
        |event: &mut Event| event.resource_id.push('1'),
        |event: &mut Event| event.resource_id.make_ascii_uppercase(),
        |event: &mut Event| event.run_id.push(' '),
        |event: &mut Event| event.run_id.make_ascii_uppercase(),
        |event: &mut Event| event.trigger = Trigger::Success,
    ] {
        let mut other = first.clone();
        other.id = fixture.id();
        change(&mut other);
        let new_event = fixture.new_event(other, vec![]);
        assert!(!fixture.accept(new_event.clone()).await.duplicate);
        assert!(fixture.accept(new_event).await.duplicate);
    }
}

pub(super) async fn accept_same_key_in_two_workspaces_is_two_events(fixture: Fixture) {
    let event = fixture.event(fixture.ours);
    let mut other = event.clone();
    (other.id, other.workspace_id) = (fixture.id(), fixture.theirs.id);
    assert!(!fixture.accept(fixture.new_event(event, vec![])).await.duplicate);
    assert!(!fixture.accept(fixture.new_event(other, vec![])).await.duplicate);
}

pub(super) async fn accept_concurrent_duplicates_insert_one_event(fixture: Fixture) {
    let first = fixture.event(fixture.ours);
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let mut event = first.clone();
            event.id = fixture.id();
            let new_event = fixture.new_event(event, vec![fixture.delivery(fixture.ours, InitialState::Due)]);
            let store = Arc::clone(&fixture.store);
            tokio::spawn(async move { store.accept(vec![new_event]).await.unwrap().remove(0) })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), 1);
    let counts = Counts { pending: 1, ..Counts::default() };
    assert!(answers.iter().all(|answer| answer.event_id == answers[0].event_id && answer.counts == counts));
    assert_eq!(fixture.count_events().await, 1);
    let filter = DeliveryFilter { limit: 100, ..DeliveryFilter::default() };
    assert_eq!(fixture.delivery_ids(fixture.ours, filter).await.len(), 1);
}

pub(super) async fn accept_event_without_deliveries_is_stored(fixture: Fixture) {
    let event = fixture.event(fixture.ours);
    let answer = fixture.accept(fixture.new_event(event.clone(), vec![])).await;
    assert_eq!(answer.counts, Counts::default());
    assert!(fixture.our_event(event.id).await.is_some());
}

pub(super) async fn accept_empty_batch_returns_nothing(fixture: Fixture) {
    assert_eq!(fixture.store.accept(vec![]).await.unwrap(), []);
}
