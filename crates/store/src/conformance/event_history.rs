//! Event history: order, pagination and filters.

use tidings_domain::event::{Event, EventKind};
use tidings_domain::id::EventId;
use tidings_domain::incident::{IncidentTrigger, Subject};
use tidings_domain::resource::ResourceType;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;

use super::fixture::Fixture;
use super::samples::after_ms;
use crate::history::EventFilter;

const ALL: EventFilter = EventFilter {
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
    async fn events(&self, filter: EventFilter) -> Vec<EventId> {
        self.store.events(self.ours.id, filter).await.unwrap().records.iter().map(|record| record.event.id).collect()
    }

    /// An event of our workspace: an incident was opened.
    pub(super) fn opened_incident_event(&self, at: Timestamp) -> Event {
        let record = self.incident_record_at(self.ours, Subject::Alert("disk:/var".into()), at);
        Event::clone(&self.incident_event(&record, IncidentTrigger::Opened, at, vec![]).event)
    }

    /// An event of our workspace: a digest.
    pub(super) fn digest_event(&self, at: Timestamp) -> Event {
        Event { id: self.id_at(at), received_at: at, ..Event::clone(&self.digest(vec![]).new_event.event) }
    }

    /// Accepts events of all kinds, resource types and triggers about three resources, not in the order of their ids.
    /// Returns them newest first.
    async fn insert_events_of_all_kinds(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for number in 0..24u64 {
            let mut event = self.event_at(self.ours, after_ms(number * 7 % 24 / 2));
            event.resource_type = ResourceType::OF_RUNS[number as usize % 4];
            event.resource_id = format!("r{}", number % 3);
            event.trigger = Trigger::OF_RUNS[number as usize / 4 % 2];
            event.kind = EventKind::for_run(event.resource_type, event.trigger);
            if number == 5 {
                event.kind = EventKind::ChannelTest;
            }
            events.push(event);
        }
        events.extend([self.opened_incident_event(after_ms(4)), self.digest_event(after_ms(6))]);
        for event in &events {
            self.accept(self.new_event(event.clone(), vec![])).await;
        }
        events.sort_by_key(|event| std::cmp::Reverse(event.id));
        events
    }
}

pub(super) async fn events_are_newest_first(fixture: Fixture) {
    let expected: Vec<_> = fixture.insert_events_of_all_kinds().await.iter().map(|event| event.id).collect();
    assert_eq!(fixture.events(ALL).await, expected);
    assert_eq!(fixture.events(EventFilter { limit: 0, ..ALL }).await, []);
}

pub(super) async fn events_pages_have_no_gaps(fixture: Fixture) {
    let all = fixture.insert_events_of_all_kinds().await;
    let about_one = EventFilter { resource_type: Some(ResourceType::Flow), resource_id: Some("r1".into()), ..ALL };
    for filter in [ALL, about_one, EventFilter { trigger: Some(Trigger::Failure), ..ALL }] {
        let expected: Vec<_> = all.iter().filter(|event| matches(&filter, event)).map(|event| event.id).collect();
        assert!(!expected.is_empty());
        for limit in [1, 5] {
            let (mut found, mut before) = (Vec::new(), None);
            loop {
                let page = fixture.events(EventFilter { before, limit, ..filter.clone() }).await;
                assert!(page.len() <= limit as usize);
                let Some(last) = page.last() else { break };
                before = Some(*last);
                found.extend(page);
            }
            assert_eq!(found, expected);
        }
    }
}

/// A reference implementation of the filter.
fn matches(filter: &EventFilter, event: &Event) -> bool {
    filter.before.is_none_or(|before| event.id < before)
        && (!filter.runs_only || event.kind.is_run())
        && filter.kind.is_none_or(|kind| event.kind == kind)
        && filter.resource_type.is_none_or(|kind| event.resource_type == kind)
        && filter.resource_id.as_ref().is_none_or(|id| event.resource_id == *id)
        && filter.trigger.is_none_or(|trigger| event.trigger == trigger)
}

pub(super) async fn events_every_filter_applies(fixture: Fixture) {
    let all = fixture.insert_events_of_all_kinds().await;
    let mut filters = vec![
        EventFilter { before: Some(all[7].id), ..ALL },
        EventFilter { runs_only: true, ..ALL },
        EventFilter { resource_id: Some("r1".into()), ..ALL },
        EventFilter { resource_id: Some("R1".into()), ..ALL },
        EventFilter { resource_type: Some(ResourceType::Job), resource_id: Some("r2".into()), ..ALL },
        EventFilter { runs_only: true, before: Some(all[3].id), trigger: Some(Trigger::Success), ..ALL },
    ];
    filters.extend(EventKind::ALL.map(|kind| EventFilter { kind: Some(kind), ..ALL }));
    filters.extend(ResourceType::ALL.map(|kind| EventFilter { resource_type: Some(kind), ..ALL }));
    filters.extend(Trigger::OF_RUNS.map(|trigger| EventFilter { trigger: Some(trigger), ..ALL }));
    for filter in filters {
        let expected: Vec<_> = all.iter().filter(|event| matches(&filter, event)).map(|event| event.id).collect();
        assert_eq!(fixture.events(filter.clone()).await, expected, "{filter:?}");
    }
}
