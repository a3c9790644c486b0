//! Accept: an event with all of its deliveries, once, or nothing of it.

use std::sync::Arc;

use tidings_domain::delivery::Status;
use tidings_domain::event::{Event, EventKind};
use tidings_domain::gate::Gate;
use tidings_domain::id::EventId;
use tidings_domain::resource::ResourceType;
use tidings_domain::routing::{NotRouted, NotRoutedReason};
use tidings_domain::severity::Severity;
use tidings_domain::trigger::Trigger;

use super::samples::{NOW, assert_refused, assert_same_event, lease, passed, stopped};
use super::world::World;
use crate::history::{DeliveryFilter, EventFilter, EventRecord};
use crate::queue::{Acceptance, Counts, InitialState};

const ALL_EVENTS: EventFilter = EventFilter {
    before: None,
    limit: 100,
    runs_only: false,
    kind: None,
    resource_type: None,
    resource_id: None,
    trigger: None,
};

impl World {
    async fn our_event(&self, id: EventId) -> Option<EventRecord> {
        self.store.event(self.ours.id, id).await.unwrap()
    }

    async fn count_events(&self) -> usize {
        self.store.events(self.ours.id, ALL_EVENTS).await.unwrap().len()
    }
}

pub(super) async fn every_fact_reads_back(world: World) {
    let event = world.event(world.ours);
    let mut new_event = world.new_event(event.clone(), vec![world.delivery(world.ours, InitialState::Due)]);
    new_event.not_routed =
        NotRoutedReason::ALL.iter().map(|&reason| NotRouted { rule_id: world.id(), reason }).collect();
    let not_routed = new_event.not_routed.clone();
    let answer = world.accept(new_event).await;
    let counts = Counts { pending: 1, ..Counts::default() };
    assert_eq!(answer, Acceptance { event_id: event.id, duplicate: false, counts, not_leased: vec![] });

    let found = world.our_event(event.id).await.expect("it was accepted");
    assert_same_event(&found.event, &event);
    assert_eq!((found.not_routed, found.counts), (not_routed, counts));
}

pub(super) async fn an_event_of_few_facts_reads_back(world: World) {
    let id = world.id();
    let mut event = Event::sample(id, world.ours.id, ResourceType::UseCase, "%_\\ 'ü'", NOW);
    (event.kind, event.run_id, event.trigger) = (EventKind::WorkflowCompleted, "1".into(), Trigger::Success);
    world.accept(world.new_event(event.clone(), vec![])).await;
    assert_same_event(&world.our_event(id).await.expect("it was accepted").event, &event);
}

pub(super) async fn deliveries_begin_as_told(world: World) {
    let ours = world.ours;
    let event = world.event(ours);
    let mut critical = world.delivery(ours, InitialState::Leased(lease(1, 60_000)));
    critical.severity = Severity::Critical;
    let deliveries =
        vec![critical, world.delivery(ours, InitialState::Due), world.delivery(ours, InitialState::Suppressed)];
    let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.id).collect();
    let answer = world.accept(world.new_event(event.clone(), deliveries)).await;
    assert_eq!(answer.counts, Counts { pending: 2, held: 0, suppressed: 1 });

    let [leased, due, suppressed] = [world.read(ours, ids[0]), world.read(ours, ids[1]), world.read(ours, ids[2])];
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

pub(super) async fn a_duplicate_answers_what_the_first_did(world: World) {
    let first = world.event(world.ours);
    let starts = [InitialState::Due, InitialState::Suppressed];
    let deliveries = starts.map(|start| world.delivery(world.ours, start)).into();
    let answer = world.accept(world.new_event(first.clone(), deliveries)).await;

    let mut again = first.clone();
    again.id = world.id();
    again.run_mut().error_message = Some("told otherwise".into());
    let repeated = world.new_event(again.clone(), vec![world.delivery(world.ours, InitialState::Due)]);
    assert_eq!(world.accept(repeated).await, Acceptance { duplicate: true, ..answer });
    assert_same_event(&world.our_event(first.id).await.expect("the first is kept").event, &first);
    assert!(world.our_event(again.id).await.is_none());
    let filter = DeliveryFilter { limit: 10, ..DeliveryFilter::default() };
    assert_eq!(world.listed(world.ours, filter).await.len(), 2, "those of the first time");
}

pub(super) async fn a_duplicate_within_one_batch_counts_once(world: World) {
    let first = world.event(world.ours);
    let mut second = first.clone();
    second.id = world.id();
    let batch = [first.clone(), second]
        .map(|event| world.new_event(event, vec![world.delivery(world.ours, InitialState::Due)]));
    let answers = world.store.accept(batch.into()).await.unwrap();
    assert_eq!(answers[0].event_id, first.id);
    assert!(!answers[0].duplicate);
    assert_eq!(answers[1], Acceptance { duplicate: true, ..answers[0].clone() });
    assert_eq!(world.count_events().await, 1);
}

pub(super) async fn a_batch_is_all_or_nothing(world: World) {
    let good = world.new_event(world.event(world.ours), vec![world.delivery(world.ours, InitialState::Due)]);
    let twice = world.delivery(world.ours, InitialState::Due);
    let bad = world.new_event(world.event(world.ours), vec![twice.clone(), twice]);
    let batch = vec![good.clone(), bad];
    assert_refused!(world.store.accept(batch).await, Exists);
    assert_eq!(world.count_events().await, 0);
    assert!(!world.accept(good).await.duplicate, "its key was not kept either");
}

pub(super) async fn a_refused_batch_costs_nobody_else(world: World) {
    let world = Arc::new(world);
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let delivery = world.delivery(world.ours, InitialState::Due);
            let copies = if number % 4 == 0 { 2 } else { 1 };
            let new_event = world.new_event(world.event(world.ours), vec![delivery; copies]);
            let store = Arc::clone(&world.store);
            tokio::spawn(async move { (number, store.accept(vec![new_event]).await) })
        })
        .collect();
    for task in tasks {
        let (number, outcome) = task.await.unwrap();
        assert_eq!(outcome.is_ok(), number % 4 != 0, "{number}: {outcome:?}");
    }
    assert_eq!(world.count_events().await, 30);
}

pub(super) async fn every_part_of_the_key_tells_events_apart(world: World) {
    let told = world.event(world.ours);
    world.accept(world.new_event(told.clone(), vec![])).await;
    for change in [
        |event: &mut Event| event.resource_type = ResourceType::Job,
        |event: &mut Event| event.resource_id.push('1'),
        |event: &mut Event| event.resource_id.make_ascii_uppercase(),
        |event: &mut Event| event.run_id.push(' '),
        |event: &mut Event| event.run_id.make_ascii_uppercase(),
        |event: &mut Event| event.trigger = Trigger::Success,
    ] {
        let mut other = told.clone();
        other.id = world.id();
        change(&mut other);
        let new_event = world.new_event(other, vec![]);
        assert!(!world.accept(new_event.clone()).await.duplicate);
        assert!(world.accept(new_event).await.duplicate);
    }
}

pub(super) async fn the_same_key_in_two_workspaces_is_two_events(world: World) {
    let event = world.event(world.ours);
    let mut other = event.clone();
    (other.id, other.workspace_id) = (world.id(), world.theirs.id);
    assert!(!world.accept(world.new_event(event, vec![])).await.duplicate);
    assert!(!world.accept(world.new_event(other, vec![])).await.duplicate);
}

pub(super) async fn fifty_at_once_make_one_event(world: World) {
    let told = world.event(world.ours);
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let mut event = told.clone();
            event.id = world.id();
            let new_event = world.new_event(event, vec![world.delivery(world.ours, InitialState::Due)]);
            let store = Arc::clone(&world.store);
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
    assert_eq!(world.count_events().await, 1);
    let filter = DeliveryFilter { limit: 100, ..DeliveryFilter::default() };
    assert_eq!(world.listed(world.ours, filter).await.len(), 1);
}

pub(super) async fn an_event_without_deliveries_is_kept(world: World) {
    let event = world.event(world.ours);
    let answer = world.accept(world.new_event(event.clone(), vec![])).await;
    assert_eq!(answer.counts, Counts::default());
    assert!(world.our_event(event.id).await.is_some());
}

pub(super) async fn an_empty_batch_is_nothing(world: World) {
    assert_eq!(world.store.accept(vec![]).await.unwrap(), []);
}
