//! The index changes no list: random histories with blocks of eight rows, compared with what the rows alone say.

use std::time::Duration;

use proptest::prelude::*;
use rusqlite::Connection;
use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::event::{Event, EventKind};
use tidings_domain::gate::{Effect, Gate, GateEvaluation, Refusal};
use tidings_domain::id::{ChannelId, DeliveryId, EventId, Id as _, RuleId};
use tidings_domain::resource::ResourceType;
use tidings_domain::trigger::Trigger;

use super::{NOW, accept_events, channel_id, id, new_event, new_incident_event, workspace_id};
use crate::history::{DeliveryFilter, EventFilter};
use crate::queue::{
    Attempt, Claimed, FollowUps, InitialState, Lease, NewDigest, NewEvent, NextState, ReleaseBatch, Resend, Settlement,
};
use crate::retention::{PruneCursor, Retention};
use crate::sqlite::db::Db;
use crate::sqlite::index::{Indexer, Rebuilt, insert_ranges, outdated, replace};
use crate::sqlite::{accept, claim, held, history, migrate, prune, release, resend, search, settle};

/// Long after all events, so that they are indexed.
const LATER_MS: u64 = 60_000;

/// What happens in a history. A `pick` selects modulo the number of candidates.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// This many events in one transaction.
    Accept {
        events: u64,
        variant: u64,
        is_late: bool,
    },
    /// A deferred delivery of an event.
    Defer {
        pick: u64,
        variant: u64,
    },
    /// Claims what is due and settles it.
    Settle {
        outcome: u64,
    },
    Resend {
        pick: u64,
    },
    Recover,
    /// Releases what is held as a digest.
    Digest,
    /// Deletes old events.
    Prune {
        limit: u32,
    },
    /// The four steps of the index; before the last one, some other step may happen.
    Index {
        meanwhile: Option<u64>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..7u64, any::<u64>(), prop::bool::weighted(0.2))
            .prop_map(|(events, variant, is_late)| Step::Accept { events, variant, is_late }),
        2 => (any::<u64>(), any::<u64>()).prop_map(|(pick, variant)| Step::Defer { pick, variant }),
        4 => any::<u64>().prop_map(|outcome| Step::Settle { outcome }),
        2 => any::<u64>().prop_map(|pick| Step::Resend { pick }),
        1 => Just(Step::Recover),
        2 => Just(Step::Digest),
        1 => (1..20u32).prop_map(|limit| Step::Prune { limit }),
        6 => prop::option::weighted(0.4, any::<u64>()).prop_map(|meanwhile| Step::Index { meanwhile }),
    ]
}

/// A history in progress.
struct World<'c> {
    db: Db<'c>,
    indexer: Indexer,
    /// Of the next event; those in between are for late ones.
    number: u64,
    late: u64,
    accepted: Vec<u64>,
}

fn open() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    migrate::up(&mut connection, std::path::Path::new("data")).unwrap();
    search::register(&connection).unwrap();
    connection
}

fn other_channel() -> ChannelId {
    ChannelId::from_bytes([4; 16])
}

fn other_rule() -> RuleId {
    RuleId::from_bytes([5; 16])
}

fn stopped(effect: Effect) -> GateEvaluation {
    let gate = if effect == Effect::Hold { Gate::QuietHours } else { Gate::SeverityFilter };
    let until = (effect == Effect::Hold).then(|| NOW.plus_ms(1));
    let stop = Refusal { effect, detail: String::new(), until, mute_id: None };
    GateEvaluation { evaluated_at: NOW, passed: 0, stopped: Some((gate, stop)) }
}

impl<'c> World<'c> {
    fn new(connection: &'c Connection) -> Self {
        Self { db: Db::new(connection), indexer: Indexer::default(), number: 100, late: 0, accepted: vec![] }
    }

    fn next_number(&mut self, is_late: bool) -> u64 {
        if is_late {
            // Even numbers below those of other events.
            self.late += 2;
            return self.late;
        }
        self.number += 3;
        self.number
    }

    fn event(&mut self, variant: u64, is_late: bool) -> NewEvent {
        let number = self.next_number(is_late);
        self.accepted.push(number);
        let mut new_event = match variant % 5 {
            0 => new_incident_event(number, if variant.is_multiple_of(2) { "disk" } else { "load" }),
            _ => new_event(number),
        };
        let mut event = Event::clone(&new_event.event);
        if event.kind.is_run() {
            event.resource_id = format!("Flöw-{}", variant / 5 % 3);
            event.run_mut().resource_name = (variant / 15).is_multiple_of(2).then(|| "Große Übersicht".into());
            if (variant / 7).is_multiple_of(2) {
                (event.kind, event.resource_type) = (EventKind::WorkflowFailed, ResourceType::UseCase);
                event.trigger = Trigger::Failure;
            }
        }
        new_event.event = event.into();
        let delivery = &mut new_event.deliveries[0];
        match variant / 3 % 6 {
            0 => (delivery.initial_state, delivery.evaluation) = (InitialState::Held, stopped(Effect::Hold)),
            1 => (delivery.initial_state, delivery.evaluation) = (InitialState::Suppressed, stopped(Effect::Suppress)),
            2 => (delivery.channel_id, delivery.rule_id) = (other_channel(), Some(other_rule())),
            3 => new_event.deliveries.clear(),
            4 => {
                let second = NewDeliveryIds { channel: other_channel(), id: number + 1 };
                new_event.deliveries.push(second.of(&new_event));
            }
            _ => {}
        }
        new_event
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Accept { events, variant, is_late } => {
                let batch =
                    (0..events).map(|number| self.event(variant.rotate_right(number as u32 * 5), is_late)).collect();
                accept_events(&self.db, batch).unwrap();
            }
            Step::Defer { pick, variant } => self.defer(pick, variant),
            Step::Settle { outcome } => self.settle(outcome),
            Step::Resend { pick } => self.resend(pick),
            Step::Recover => {
                resend::recover(&self.db, workspace_id(), channel_id(), NOW, NOW, 9, None).unwrap();
            }
            Step::Digest => self.digest(),
            Step::Prune { limit } => self.prune(limit),
            Step::Index { meanwhile } => self.index(meanwhile),
        }
    }

    fn defer(&mut self, pick: u64, variant: u64) {
        let Some(number) = pick_of(&self.accepted, pick) else { return };
        let own = self.next_number(false);
        let mut new_event = new_event(number);
        let mut event = Event::clone(&new_event.event);
        let stored = history::event(&self.db, workspace_id(), event.id).unwrap();
        let Some(stored) = stored else { return };
        event.clone_from(&stored.event);
        new_event.event = event.into();
        let delivery = &mut new_event.deliveries[0];
        (delivery.id, delivery.sequence) = (id(own), 2 + (variant % 2) as u32);
        delivery.evaluation.evaluated_at = NOW.plus_ms(1);
        let encoded = accept::EncodedEvent::new(new_event).unwrap();
        accept::accept_with_deferred(&self.db, &[&encoded]).unwrap();
    }

    fn settle(&self, outcome: u64) {
        let lease = Lease { owner: 1, until: NOW.plus_ms(LATER_MS) };
        let wanted = [(channel_id(), 4), (other_channel(), 2)];
        let claimed = claim::claim(&self.db, NOW.plus_ms(2_000), lease, &wanted).unwrap();
        for (index, claimed) in claimed.iter().enumerate() {
            let next = match outcome.rotate_right(index as u32 * 3) % 7 {
                0 | 1 => NextState::Done(Status::Failed),
                2 => NextState::RetryAt(NOW.plus_ms(1_000)),
                3 => NextState::Suppressed(stopped(Effect::Suppress)),
                4 => NextState::Held(stopped(Effect::Hold)),
                _ => NextState::Done(Status::Sent),
            };
            settle::settle(&self.db, &settlement(claimed, next)).unwrap();
        }
    }

    fn of_status(&self, statuses: &str) -> Vec<DeliveryId> {
        let sql = format!("SELECT id FROM delivery WHERE status IN ({statuses}) ORDER BY sort_key");
        let mut statement = self.db.prepare(&sql).unwrap();
        let ids = statement.query_map([], |row| row.get(0).map(DeliveryId::from_bytes)).unwrap();
        ids.collect::<rusqlite::Result<_>>().unwrap()
    }

    fn resend(&self, pick: u64) {
        if let Some(delivery_id) = pick_of(&self.of_status("'sent', 'failed'"), pick) {
            let by_hand = Resend { workspace_id: workspace_id(), delivery_id, rule_generation: 1, now: NOW };
            resend::resend(&self.db, &by_hand, None).unwrap();
        }
    }

    fn digest(&mut self) {
        let (found, _) = held::list(&self.db, workspace_id(), channel_id(), NOW.plus_ms(9), 9).unwrap();
        let mut new_event = new_event(self.next_number(false));
        let mut event = Event::clone(&new_event.event);
        event.kind = EventKind::Digest;
        event.content = tidings_domain::event::Content::Digest(Box::new(tidings_domain::digest::Digest::new(
            "quiet hours".into(),
            vec![],
            NOW,
        )));
        new_event.event = event.into();
        let release = ReleaseBatch {
            workspace_id: workspace_id(),
            channel_id: channel_id(),
            now: NOW,
            not_sent: vec![],
            individual: found.iter().take(1).map(|held| held.id).collect(),
            digest: Some(NewDigest { new_event, members: found.iter().skip(1).map(|held| held.id).collect() }),
            rate_limit: None,
        };
        release::release(&self.db, &release::EncodedRelease::new(release).unwrap()).unwrap();
    }

    /// All events are of one millisecond, so this deletes the oldest ones, as many as one call may.
    fn prune(&self, limit: u32) {
        let retention = Retention::default();
        let now = NOW.plus_ms(retention.events_ms + 1);
        prune::prune(&self.db, now, &retention, PruneCursor::default(), limit).unwrap();
    }

    fn index(&mut self, meanwhile: Option<u64>) {
        let now = NOW.plus_ms(LATER_MS);
        let (ranges, _) = self.indexer.next_ranges(&self.db, now).unwrap();
        self.db.execute_batch("BEGIN").unwrap();
        insert_ranges(&self.db, &ranges).unwrap();
        self.db.execute_batch("COMMIT").unwrap();
        let (blocks, _) = outdated(&self.db, now.plus_ms(LATER_MS)).unwrap();
        let rebuilt: Vec<_> = blocks.into_iter().map(|block| Rebuilt::of(&self.db, block).unwrap()).collect();
        match meanwhile {
            Some(choice) if choice.is_multiple_of(4) => self.resend(choice / 4),
            Some(choice) if choice % 4 == 1 => self.apply(Step::Accept { events: 2, variant: choice, is_late: true }),
            Some(choice) if choice % 4 == 2 => self.settle(choice / 4),
            Some(choice) => self.defer(choice / 4, choice),
            None => {}
        }
        replace(&self.db, &rebuilt, now).unwrap();
    }

    /// Lists the deliveries in pages, each of which ends as early as a search can.
    fn list(&self, filter: &DeliveryFilter) -> Vec<DeliveryId> {
        let (mut found, mut filter) = (Vec::new(), DeliveryFilter { limit: 3, ..filter.clone() });
        loop {
            let page = history::deliveries(&self.db, workspace_id(), &filter, Duration::ZERO).unwrap();
            found.extend(page.records.iter().map(|record| record.id));
            match (page.searched_until, page.records.last()) {
                (Some(until), _) => (filter.before, filter.searched_until) = (None, Some(until)),
                (None, Some(last)) if page.records.len() == 3 => {
                    (filter.before, filter.searched_until) = (Some(last.id), None);
                }
                _ => return found,
            }
        }
    }

    fn list_events(&self, filter: &EventFilter) -> Vec<EventId> {
        let (mut found, mut filter) = (Vec::new(), EventFilter { limit: 3, ..filter.clone() });
        loop {
            let page = history::events(&self.db, workspace_id(), &filter, Duration::ZERO).unwrap();
            found.extend(page.records.iter().map(|record| record.event.id));
            match (page.searched_until, page.records.last()) {
                (Some(until), _) => (filter.before, filter.searched_until) = (None, Some(until)),
                (None, Some(last)) if page.records.len() == 3 => {
                    (filter.before, filter.searched_until) = (Some(last.event.id), None);
                }
                _ => return found,
            }
        }
    }

    /// What the lists hold, as text.
    fn lists(&self) -> Vec<String> {
        let deliveries = delivery_filters().into_iter().map(|filter| format!("{filter:?}: {:?}", self.list(&filter)));
        let events = event_filters().into_iter().map(|filter| format!("{filter:?}: {:?}", self.list_events(&filter)));
        deliveries.chain(events).collect()
    }

    /// The lists are the same without any block.
    fn check(&self) {
        let indexed = self.lists();
        self.db.execute_batch("SAVEPOINT unindexed; DELETE FROM history_block").unwrap();
        let unindexed = self.lists();
        self.db.execute_batch("ROLLBACK TO unindexed; RELEASE unindexed").unwrap();
        for (indexed, unindexed) in indexed.iter().zip(&unindexed) {
            assert_eq!(indexed, unindexed);
        }
    }
}

/// A further delivery of an event.
struct NewDeliveryIds {
    channel: ChannelId,
    id: u64,
}

impl NewDeliveryIds {
    fn of(&self, new_event: &NewEvent) -> crate::queue::NewDelivery {
        let first = new_event.deliveries[0].clone();
        crate::queue::NewDelivery { id: id(self.id), channel_id: self.channel, rule_id: Some(other_rule()), ..first }
    }
}

fn pick_of<T: Copy>(candidates: &[T], pick: u64) -> Option<T> {
    candidates.get((pick % candidates.len().max(1) as u64) as usize).copied()
}

fn settlement(claimed: &Claimed, next: NextState) -> Settlement {
    let attempt = Attempt {
        number: claimed.attempt_count + 1,
        trigger: AttemptTrigger::Scheduled,
        started_at: NOW,
        duration_ms: 1,
        http_status: None,
        error_class: None,
        error: (next != NextState::Done(Status::Sent)).then(|| format!("Zeitüberschreitung {}", claimed.attempt_count)),
        response_body: None,
        response_headers: None,
        note: None,
        channel_revision: None,
    };
    let is_digest = claimed.event.kind == EventKind::Digest;
    let is_attempted = matches!(next, NextState::Done(_) | NextState::RetryAt(_));
    Settlement {
        workspace_id: workspace_id(),
        delivery_id: claimed.id,
        owner: 1,
        attempt_count: claimed.attempt_count,
        now: NOW,
        attempt: is_attempted.then_some(attempt),
        next,
        attempt_state: None,
        not_before: None,
        follow_ups: if is_digest { FollowUps::Digest } else { FollowUps::Incident(id(1)) },
    }
}

fn delivery_filters() -> Vec<DeliveryFilter> {
    let all = DeliveryFilter::default;
    let mut filters: Vec<_> =
        Status::ALL.into_iter().map(|status| DeliveryFilter { status: Some(status), ..all() }).collect();
    filters.extend(
        ["severity_filter", "quiet_hours", "superseded", "none"]
            .map(|reason| DeliveryFilter { reason: Some(reason.into()), ..all() }),
    );
    filters.extend(
        ["FLÖW-1", "grosse ÜBER", "schreitung 1", "disk", "API", "a", "run-1", "nowhere"]
            .map(|text| DeliveryFilter { text: Some(text.into()), ..all() }),
    );
    filters.extend([
        all(),
        DeliveryFilter { runs_only: true, ..all() },
        DeliveryFilter { kind: Some(EventKind::WorkflowFailed), ..all() },
        DeliveryFilter { kind: Some(EventKind::Digest), status: Some(Status::Sent), ..all() },
        DeliveryFilter { channel_id: Some(other_channel()), ..all() },
        DeliveryFilter { rule_id: Some(other_rule()), status: Some(Status::Failed), ..all() },
        DeliveryFilter { resource_type: Some(ResourceType::Alert), channel_id: Some(channel_id()), ..all() },
        DeliveryFilter { resource_id: Some("Flöw-2".into()), text: Some("übersicht".into()), ..all() },
        DeliveryFilter { status: Some(Status::Failed), since: Some(NOW), until: Some(NOW.plus_ms(1)), ..all() },
        DeliveryFilter { status: Some(Status::Failed), until: Some(NOW), ..all() },
        DeliveryFilter { status: Some(Status::Sent), text: Some("f".into()), channel_id: Some(channel_id()), ..all() },
    ]);
    filters
}

fn event_filters() -> Vec<EventFilter> {
    let all = EventFilter::default;
    vec![
        all(),
        EventFilter { runs_only: true, ..all() },
        EventFilter { kind: Some(EventKind::Digest), ..all() },
        EventFilter { kind: Some(EventKind::Digest), runs_only: true, ..all() },
        EventFilter { resource_type: Some(ResourceType::UseCase), ..all() },
        EventFilter { resource_id: Some("Flöw-1".into()), trigger: Some(Trigger::Failure), ..all() },
        EventFilter { trigger: Some(Trigger::Success), ..all() },
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn lists_are_the_same_with_and_without_index(steps in prop::collection::vec(step(), 1..40)) {
        let connection = open();
        let mut world = World::new(&connection);
        for (number, step) in steps.into_iter().enumerate() {
            world.apply(step);
            if number % 8 == 7 {
                world.check();
            }
        }
        world.check();
    }
}
