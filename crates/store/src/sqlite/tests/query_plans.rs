//! Query plans: no statement of the hot path or of history reads scans a table or sorts.
//!
//! The statements are those that the store really runs, recorded through SQLite's trace.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use tidings_domain::calendar::Zone;
use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::event::EventKind;
use tidings_domain::gate::{Effect, Gate, GateEvaluation, Refusal};
use tidings_domain::id::{DeliveryId, EventId, Id as _};
use tidings_domain::rate_limit::{RateAction, RateLimit};
use tidings_domain::resource::ResourceType;
use tidings_domain::trigger::Trigger;

use super::{NOW, accept_events, channel_id, id, new_event, new_incident_event, workspace_id};
use crate::Result;
use crate::activity::{ChannelHealthRecord, MuteFilter};
use crate::history::{DeliveryFilter, EventFilter};
use crate::queue::{
    Attempt, FollowUps, InitialState, Lease, LeaseRef, NewDelivery, NewDigest, NewEvent, NextState, RateLimitRequest,
    ReleaseBatch, Resend, Settled, Settlement,
};
use crate::sqlite::claim::Unreadable;
use crate::sqlite::db::Db;
use crate::sqlite::{
    SEARCH_MAX, accept, activity, claim, held, history, index, migrate, release, resend, search, settle,
};

/// A database that records its statements.
pub(super) struct TracedDb {
    pub(super) db: Connection,
    statements: Arc<Mutex<BTreeSet<String>>>,
}

impl TracedDb {
    pub(super) fn new() -> Self {
        let mut db = Connection::open_in_memory().unwrap();
        migrate::up(&mut db, std::path::Path::new("data")).unwrap();
        search::register(&db).unwrap();
        let statements = Arc::new(Mutex::new(BTreeSet::new()));
        let recorded = Arc::clone(&statements);
        db.trace_v2(
            TraceEventCodes::SQLITE_TRACE_STMT,
            Some(move |event: TraceEvent<'_>| {
                if let TraceEvent::Stmt(statement, _) = event {
                    recorded.lock().unwrap_or_else(PoisonError::into_inner).insert(statement.sql().into_owned());
                }
            }),
        )
        .unwrap();
        Self { db, statements }
    }

    /// Does the work, and returns the statements that it ran with their plans.
    pub(super) fn plans<T>(&self, work: impl FnOnce(&Db<'_>) -> Result<T>) -> Vec<(String, Vec<String>)> {
        self.statements.lock().unwrap().clear();
        work(&Db::new(&self.db)).unwrap();
        let statements = std::mem::take(&mut *self.statements.lock().unwrap());
        assert!(!statements.is_empty());
        statements.into_iter().map(|sql| (sql.clone(), self.plan(&sql))).collect()
    }

    fn plan(&self, sql: &str) -> Vec<String> {
        let mut statement = self.db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = statement.raw_query().mapped(|row| row.get("detail")).collect::<rusqlite::Result<_>>();
        rows.unwrap()
    }
}

/// Asserts that each statement finds its rows through an index. A scan of `delivery_due` is allowed: it holds only the
/// queue.
pub(super) fn assert_no_scan(plans: &[(String, Vec<String>)]) {
    for (sql, plan) in plans {
        for step in plan {
            let is_small = step.contains("INDEX delivery_due") || step.ends_with("-ROW VALUES CLAUSE");
            let scans = step.starts_with("SCAN") && !is_small;
            let sorts = step.contains("TEMP B-TREE") || step.contains("AUTOMATIC");
            assert!(!scans && !sorts, "{step}\nin {plan:#?}\nof {sql}");
        }
    }
}

fn lease() -> Lease {
    Lease { owner: 1, until: NOW.plus_ms(1) }
}

fn lease_ref(number: u64) -> LeaseRef {
    LeaseRef { workspace_id: workspace_id(), delivery_id: id(number), owner: 1, due_at: NOW }
}

fn settlement(number: u64, next: NextState) -> Settlement {
    let attempt = Attempt {
        number: 1,
        trigger: AttemptTrigger::Scheduled,
        started_at: NOW,
        duration_ms: 1,
        http_status: None,
        error_class: None,
        error: None,
        response_headers: None,
        response_body: None,
        channel_revision: None,
        note: None,
    };
    Settlement {
        workspace_id: workspace_id(),
        delivery_id: id(number),
        owner: 1,
        attempt_count: 0,
        now: NOW,
        attempt: Some(attempt),
        next,
        attempt_state: None,
        not_before: None,
        follow_ups: FollowUps::None,
    }
}

#[test]
fn plans_of_hot_path_scan_no_table() {
    let traced = TracedDb::new();
    assert_no_scan(&traced.plans(|db| accept_events(db, vec![new_event(1), new_event(1), new_event(2), new_event(3)])));
    assert_no_scan(&traced.plans(|db| claim::claim(db, NOW, lease(), &[(channel_id(), 3)])));
    assert_no_scan(&traced.plans(|db| settle::settle(db, &settlement(1, NextState::Done(Status::Failed)))));
    assert_no_scan(&traced.plans(|db| settle::settle(db, &settlement(2, NextState::Suppressed(held_evaluation())))));
    assert_no_scan(&traced.plans(|db| claim::due(db)));
    assert_no_scan(&traced.plans(|db| claim::return_leases(db, &[lease_ref(3)])));
    assert_no_scan(&traced.plans(|db| claim::reclaim_leases(db, NOW, 2)));
}

/// What only some deliveries need must cost the others no statement.
#[test]
fn hot_path_is_four_statements() {
    let traced = TracedDb::new();
    let leased = with_delivery(1, |delivery| delivery.initial_state = InitialState::Leased(lease()));
    assert_eq!(traced.plans(|db| accept_events(db, vec![leased])).len(), 3, "key, event, delivery");
    assert_eq!(traced.plans(|db| settle::settle(db, &settlement(1, NextState::Done(Status::Sent)))).len(), 1);
}

/// An evaluation that holds until now.
fn held_evaluation() -> GateEvaluation {
    let stop = Refusal { effect: Effect::Hold, detail: String::new(), until: Some(NOW), mute_id: None };
    GateEvaluation { evaluated_at: NOW, passed: 0, stopped: Some((Gate::QuietHours, stop)) }
}

/// The event with this number, its deliveries modified.
fn with_delivery(number: u64, modify: impl Fn(&mut NewDelivery)) -> NewEvent {
    let mut new_event = new_event(number);
    new_event.deliveries.iter_mut().for_each(modify);
    new_event
}

fn at_most(max_per_minute: u32) -> RateLimitRequest {
    let limit = RateLimit { max_per_minute, action: RateAction::Digest };
    RateLimitRequest { limit, channel_name: "ops".into(), zone: Zone::UTC }
}

#[test]
fn plans_of_held_and_blocked_deliveries_scan_no_table() {
    let traced = TracedDb::new();
    let limited = |number| with_delivery(number, |delivery| delivery.rate_limit = Some(at_most(1)));
    let held_event = |number| {
        with_delivery(number, |delivery| {
            (delivery.initial_state, delivery.evaluation) = (InitialState::Held, held_evaluation())
        })
    };
    let held_of_incident = |number| {
        let mut new_event = new_incident_event(number, &format!("alert-{number}"));
        (new_event.deliveries[0].initial_state, new_event.deliveries[0].evaluation) =
            (InitialState::Held, held_evaluation());
        new_event
    };
    let of_sequence = |number, sequence| with_delivery(number, move |delivery| delivery.sequence = sequence);
    assert_no_scan(&traced.plans(|db| {
        let held = [held_event(4), held_of_incident(5), held_of_incident(6)];
        accept_events(db, [vec![limited(1), limited(2), new_incident_event(3, "a1")], held.into()].concat())
    }));
    // The head of the chain waits for its retry, so that what joins expedites it.
    traced
        .db
        .execute(
            "UPDATE delivery SET attempt_count = 1, due_at = due_at + 900000 WHERE id = ?",
            [id::<DeliveryId>(3).as_bytes()],
        )
        .unwrap();
    assert_no_scan(&traced.plans(|db| {
        let batch = [(10, "a1"), (11, "a2"), (12, "a2")].map(|(number, alert)| new_incident_event(number, alert));
        assert_eq!(accept_events(db, batch.into())?[0].expedited.len(), 1);
        Ok(())
    }));
    traced.plans(|db| accept_events(db, vec![of_sequence(7, 1)]));
    let mut deferred = of_sequence(7, 2);
    deferred.deliveries[0].id = id(8);
    let deferred = accept::EncodedEvent::new(deferred).unwrap();
    assert_no_scan(&traced.plans(|db| accept::accept_with_deferred(db, &[&deferred])));
    assert_no_scan(&traced.plans(|db| held::next_releases(db)));
    assert_no_scan(&traced.plans(|db| held::list(db, workspace_id(), channel_id(), NOW, 9)));

    let stopped = [(id(4), NextState::Suppressed(held_evaluation()))];
    let release = ReleaseBatch {
        workspace_id: workspace_id(),
        channel_id: channel_id(),
        now: NOW,
        not_sent: stopped.into(),
        individual: vec![id(5)],
        digest: Some(NewDigest { new_event: new_event(9), members: vec![id(6)] }),
        rate_limit: None,
    };
    let refused = ReleaseBatch { not_sent: vec![], rate_limit: Some(at_most(1)), ..release.clone() };
    for release in [refused, release] {
        let encoded = release::EncodedRelease::new(release).unwrap();
        assert_no_scan(&traced.plans(|db| release::release(db, &encoded)));
    }
    traced.plans(|db| claim::claim(db, NOW, lease(), &[(channel_id(), 9)]));
    for (number, follow_ups, next) in [
        (1, FollowUps::Incident(id(1)), NextState::Done(Status::Sent)),
        (11, FollowUps::Incident(id(1)), NextState::Done(Status::Sent)),
        (5, FollowUps::Incident(id(1)), NextState::Held(held_evaluation())),
        (9, FollowUps::Digest, NextState::Done(Status::Sent)),
    ] {
        let settlement = Settlement { follow_ups, ..settlement(number, next) };
        let plans = traced.plans(|db| {
            let settled = settle::settle(db, &settlement)?;
            assert_eq!(settled, Settled::Written);
            Ok(())
        });
        assert_no_scan(&plans);
    }
    let mut expedited = settlement(3, NextState::RetryAt(NOW));
    (expedited.attempt_count, expedited.follow_ups) = (1, FollowUps::Incident(id(1)));
    let attempt = expedited.attempt.as_mut().unwrap();
    (attempt.number, attempt.trigger) = (2, AttemptTrigger::NewerEvent);
    assert_no_scan(&traced.plans(|db| {
        assert_eq!(settle::settle(db, &expedited)?, Settled::Written);
        Ok(())
    }));
    let unreadable = Unreadable { workspace_id: workspace_id(), id: id(3), cause: String::new() };
    assert_no_scan(&traced.plans(|db| claim::fail_unreadable(db, &[unreadable], NOW)));
}

#[test]
fn plans_of_resends_scan_no_table() {
    let traced = TracedDb::new();
    traced.plans(|db| {
        accept_events(db, vec![new_event(1)])?;
        claim::claim(db, NOW, lease(), &[(channel_id(), 3)])?;
        settle::settle(db, &settlement(1, NextState::Done(Status::Failed)))
    });
    assert_no_scan(&traced.plans(|db| resend::count_failed(db, workspace_id(), channel_id(), NOW)));
    assert_no_scan(&traced.plans(|db| resend::recover(db, workspace_id(), channel_id(), NOW, NOW, 9, None)));
    let by_hand = Resend { workspace_id: workspace_id(), delivery_id: id(2), rule_generation: 1, now: NOW };
    traced.db.execute("UPDATE delivery SET status = 'failed'", []).unwrap();
    let by_hand = Resend { delivery_id: id(1), ..by_hand };
    assert_no_scan(&traced.plans(|db| resend::resend(db, &by_hand, None)));
    traced.db.execute("UPDATE delivery SET status = 'failed'", []).unwrap();
    assert_no_scan(&traced.plans(|db| activity::resend_all(db, &[(by_hand, None)])));
}

#[test]
fn plans_of_mutes_and_channel_health_scan_no_table() {
    let traced = TracedDb::new();
    let filters = [MuteFilter::InForce, MuteFilter::Ended { since: NOW, limit: 9 }];
    for filter in filters {
        assert_no_scan(&traced.plans(|db| activity::list_mutes(db, workspace_id(), NOW, filter)));
    }
    assert_no_scan(&traced.plans(|db| activity::count_stopped(db, workspace_id(), id(1), 1)));
    let health = ChannelHealthRecord {
        workspace_id: workspace_id(),
        channel_id: channel_id(),
        last_sent_at: None,
        last_failed_at: None,
        failing_since: None,
        outcomes: 1,
        count: 1,
    };
    assert_no_scan(&traced.plans(|db| activity::save_channel_health(db, &[health])));
    assert_no_scan(&traced.plans(|db| activity::delete_channel_health(db, workspace_id(), channel_id())));
}

/// A history whose first blocks are indexed, one of them stale, and the last events not.
fn indexed_history() -> TracedDb {
    let traced = TracedDb::new();
    traced.plans(|db| accept_events(db, (1..40).map(new_event).collect()));
    let now = NOW.plus_ms(10_000);
    assert_no_scan(&traced.plans(|db| {
        let (ranges, _) = index::Indexer::default().next_ranges(db, now)?;
        index::insert_ranges(db, &ranges)
    }));
    traced.plans(|db| accept_events(db, vec![new_event(100)]));
    assert_no_scan(&traced.plans(|db| {
        let (outdated, _) = index::outdated(db, now)?;
        assert!(!outdated.is_empty());
        let rebuilt = outdated.into_iter().map(|block| index::Rebuilt::of(db, block));
        index::replace(db, &rebuilt.collect::<Result<Vec<_>>>()?, now)
    }));
    assert_no_scan(&traced.plans(|db| {
        index::mark_stale(db, workspace_id(), id::<EventId>(9).sort_key())?;
        index::mark_deliveries_stale(db, &[id::<DeliveryId>(20).sort_key()])
    }));
    assert_no_scan(&traced.plans(|db| index::indexed_until_of_all(db)));
    traced
}

#[test]
fn plans_of_event_lists_scan_no_table() {
    let traced = indexed_history();
    assert_no_scan(&traced.plans(|db| history::event(db, workspace_id(), id(1))));
    let conditions: [fn(&mut EventFilter); 6] = [
        |filter| filter.before = Some(id(9)),
        |filter| filter.runs_only = true,
        |filter| filter.kind = Some(EventKind::RunTerminal),
        |filter| filter.resource_type = Some(ResourceType::Flow),
        |filter| filter.resource_id = Some("f1".into()),
        |filter| filter.trigger = Some(Trigger::Failure),
    ];
    for filter in combinations(&conditions) {
        let filter = EventFilter { limit: 50, ..filter };
        assert_no_scan(&traced.plans(|db| history::events(db, workspace_id(), &filter, SEARCH_MAX)));
    }
}

#[test]
fn plans_of_delivery_lists_scan_no_table() {
    let traced = indexed_history();
    assert_no_scan(&traced.plans(|db| history::delivery(db, workspace_id(), id(1))));
    let conditions: [fn(&mut DeliveryFilter); 12] = [
        |filter| filter.before = Some(id(1)),
        |filter| filter.event_id = Some(id(1)),
        |filter| filter.rule_id = Some(id(1)),
        |filter| filter.channel_id = Some(channel_id()),
        |filter| filter.resource_type = Some(ResourceType::Flow),
        |filter| filter.resource_id = Some("f1".into()),
        |filter| filter.status = Some(Status::Failed),
        |filter| filter.reason = Some("severity_filter".into()),
        |filter| filter.kind = Some(EventKind::RunTerminal),
        |filter| filter.since = Some(NOW),
        |filter| filter.until = Some(NOW.plus_ms(1)),
        |filter| (filter.text, filter.with_attempts) = (Some("f".into()), true),
    ];
    for filter in combinations(&conditions) {
        let filter = DeliveryFilter { limit: 50, ..filter };
        assert_no_scan(&traced.plans(|db| history::deliveries(db, workspace_id(), &filter, SEARCH_MAX)));
    }
}

/// A filter for each combination of these conditions.
pub(super) fn combinations<F: Default>(conditions: &[fn(&mut F)]) -> Vec<F> {
    (0u32..1 << conditions.len())
        .map(|chosen| {
            let mut filter = F::default();
            let set = conditions.iter().enumerate().filter(|(index, _)| chosen & 1 << index != 0);
            set.for_each(|(_, condition)| condition(&mut filter));
            filter
        })
        .collect()
}
