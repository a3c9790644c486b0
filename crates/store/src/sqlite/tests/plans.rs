//! Query plans: no query of the hot path or of the log walks a whole table, or sorts one.
//!
//! The SQL is what the store really runs, heard by SQLite's trace.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use tidings_domain::calendar::Zone;
use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::event::EventKind;
use tidings_domain::gate::{Effect, Gate, GateEvaluation, Refusal};
use tidings_domain::rate_limit::{RateAction, RateLimit};
use tidings_domain::resource::ResourceType;
use tidings_domain::trigger::Trigger;

use super::{NOW, channel_id, id, new_event, take_in, workspace_id};
use crate::Result;
use crate::history::{DeliveryFilter, EventFilter};
use crate::queue::{
    Attempt, FollowUps, InitialState, Lease, LeaseRef, NewDelivery, NewDigest, NewEvent, NextState, RateLimitRequest,
    ReleaseBatch, Resend, Settled, Settlement,
};
use crate::sqlite::claim::Unreadable;
use crate::sqlite::db::Db;
use crate::sqlite::{accept, claim, held, let_go, log, migrate, resend, search, settle};

/// A database whose statements are written down.
pub(super) struct Heard {
    pub(super) db: Connection,
    statements: Arc<Mutex<BTreeSet<String>>>,
}

impl Heard {
    pub(super) fn new() -> Self {
        let mut db = Connection::open_in_memory().unwrap();
        migrate::up(&mut db, std::path::Path::new("data")).unwrap();
        search::register(&db).unwrap();
        let statements = Arc::new(Mutex::new(BTreeSet::new()));
        let heard = Arc::clone(&statements);
        db.trace_v2(
            TraceEventCodes::SQLITE_TRACE_STMT,
            Some(move |event: TraceEvent<'_>| {
                if let TraceEvent::Stmt(statement, _) = event {
                    heard.lock().unwrap_or_else(PoisonError::into_inner).insert(statement.sql().into_owned());
                }
            }),
        )
        .unwrap();
        Self { db, statements }
    }

    /// Forgets what was heard, does this, and answers the plans of what was heard then.
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

/// That each statement finds its rows through a key.
pub(super) fn assert_direct(plans: &[(String, Vec<String>)]) {
    for (sql, plan) in plans {
        for step in plan {
            let is_small = step.contains("INDEX delivery_due") || step.ends_with("-ROW VALUES CLAUSE");
            let walks_all = step.starts_with("SCAN") && !is_small;
            let sorts = step.contains("TEMP B-TREE") || step.contains("AUTOMATIC");
            assert!(!walks_all && !sorts, "{step}\nin {plan:#?}\nof {sql}");
        }
    }
}

fn lease() -> Lease {
    Lease { owner: 1, until: NOW.plus_ms(1) }
}

fn lease_ref(number: u64) -> LeaseRef {
    LeaseRef { workspace_id: workspace_id(), delivery_id: id(number), owner: 1 }
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
        response_body: None,
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
        follow_ups: FollowUps::None,
    }
}

#[test]
fn the_hot_path_walks_no_table() {
    let heard = Heard::new();
    assert_direct(&heard.plans(|db| take_in(db, vec![new_event(1), new_event(1), new_event(2), new_event(3)])));
    assert_direct(&heard.plans(|db| claim::claim(db, NOW, lease(), &[(channel_id(), 3)])));
    assert_direct(&heard.plans(|db| settle::settle(db, &settlement(1, NextState::Done(Status::Failed)))));
    assert_direct(&heard.plans(|db| settle::settle(db, &settlement(2, NextState::Suppressed(held_walk())))));
    assert_direct(&heard.plans(|db| claim::due(db)));
    assert_direct(&heard.plans(|db| claim::return_leases(db, NOW, &[lease_ref(3)])));
    assert_direct(&heard.plans(|db| claim::reclaim_leases(db, NOW, 2)));
}

/// What only some deliveries need costs the others no statement.
#[test]
fn the_hot_path_is_four_statements() {
    let heard = Heard::new();
    let leased = odd(1, |delivery| delivery.start = InitialState::Leased(lease()));
    assert_eq!(heard.plans(|db| take_in(db, vec![leased])).len(), 3, "key, event, delivery");
    assert_eq!(heard.plans(|db| settle::settle(db, &settlement(1, NextState::Done(Status::Sent)))).len(), 1);
}

/// A evaluation that holds until now.
fn held_walk() -> GateEvaluation {
    let stop = Refusal { effect: Effect::Hold, detail: String::new(), until: Some(NOW), mute_id: None };
    GateEvaluation { evaluated_at: NOW, passed: 0, stopped: Some((Gate::QuietHours, stop)) }
}

/// The event with this number, whose delivery asks a limit, comes after another, or is held.
fn odd(number: u64, odd: impl Fn(&mut NewDelivery)) -> NewEvent {
    let mut new_event = new_event(number);
    new_event.deliveries.iter_mut().for_each(odd);
    new_event
}

fn at_most(max_per_minute: u32) -> RateLimitRequest {
    let limit = RateLimit { max_per_minute, action: RateAction::Digest };
    RateLimitRequest { limit, channel_name: "ops".into(), zone: Zone::UTC }
}

#[test]
fn holding_waiting_and_letting_go_walk_no_table() {
    let heard = Heard::new();
    let asks = |number| odd(number, |delivery| delivery.rate_limit = Some(at_most(1)));
    let holds =
        |number| odd(number, |delivery| (delivery.start, delivery.evaluation) = (InitialState::Held, held_walk()));
    let after = |number, before| odd(number, move |delivery| delivery.blocked_by = Some(id(before)));
    let late = |number, sequence| odd(number, move |delivery| delivery.sequence = sequence);
    assert_direct(&heard.plans(|db| take_in(db, vec![asks(1), asks(2), after(3, 1), holds(4), holds(5), holds(6)])));
    heard.plans(|db| take_in(db, vec![late(7, 1)]));
    let mut said_late = late(7, 2);
    said_late.deliveries[0].id = id(8);
    let said_late = accept::Prepared::new(said_late).unwrap();
    assert_direct(&heard.plans(|db| accept::accept_with_late(db, &[&said_late])));
    assert_direct(&heard.plans(|db| held::held(db)));
    assert_direct(&heard.plans(|db| held::held_back(db, workspace_id(), channel_id(), NOW, 9)));

    let stopped = [(id(4), NextState::Suppressed(held_walk()))];
    let release = ReleaseBatch {
        workspace_id: workspace_id(),
        channel_id: channel_id(),
        now: NOW,
        stopped: stopped.into(),
        individual: vec![id(5)],
        digest: Some(NewDigest { new_event: new_event(9), carried: vec![id(6)] }),
        rate_limit: None,
    };
    let refused = ReleaseBatch { stopped: vec![], rate_limit: Some(at_most(1)), ..release.clone() };
    for release in [refused, release] {
        let prepared = let_go::Prepared::new(release).unwrap();
        assert_direct(&heard.plans(|db| let_go::let_go(db, &prepared)));
    }
    heard.plans(|db| claim::claim(db, NOW, lease(), &[(channel_id(), 9)]));
    for (number, concerns, next) in [
        (1, FollowUps::Incident(id(1)), NextState::Done(Status::Sent)),
        (5, FollowUps::Incident(id(1)), NextState::Held(held_walk())),
        (9, FollowUps::Digest, NextState::Done(Status::Sent)),
    ] {
        let settlement = Settlement { follow_ups: concerns, ..settlement(number, next) };
        let plans = heard.plans(|db| {
            let settled = settle::settle(db, &settlement)?;
            assert_eq!(settled, Settled::Written);
            Ok(())
        });
        assert_direct(&plans);
    }
    let unreadable = Unreadable { workspace_id: workspace_id(), id: id(3), why: String::new() };
    assert_direct(&heard.plans(|db| claim::give_up_all(db, &[unreadable], NOW)));
}

#[test]
fn resending_walks_no_table() {
    let heard = Heard::new();
    heard.plans(|db| {
        take_in(db, vec![new_event(1)])?;
        claim::claim(db, NOW, lease(), &[(channel_id(), 3)])?;
        settle::settle(db, &settlement(1, NextState::Done(Status::Failed)))
    });
    assert_direct(&heard.plans(|db| resend::count_failed(db, workspace_id(), channel_id(), NOW)));
    assert_direct(&heard.plans(|db| resend::recover(db, workspace_id(), channel_id(), NOW, NOW, 9)));
    let by_hand = Resend { workspace_id: workspace_id(), delivery_id: id(2), rule_generation: 1, now: NOW };
    heard.db.execute("UPDATE delivery SET status = 'failed'", []).unwrap();
    let by_hand = Resend { delivery_id: id(1), ..by_hand };
    assert_direct(&heard.plans(|db| resend::resend(db, &by_hand)));
}

#[test]
fn lists_of_events_walk_no_table() {
    let heard = Heard::new();
    heard.plans(|db| take_in(db, vec![new_event(1)]));
    assert_direct(&heard.plans(|db| log::event(db, workspace_id(), id(1))));
    let narrow: [fn(&mut EventFilter); 6] = [
        |filter| filter.before = Some(id(9)),
        |filter| filter.runs_only = true,
        |filter| filter.kind = Some(EventKind::RunTerminal),
        |filter| filter.resource_type = Some(ResourceType::Flow),
        |filter| filter.resource_id = Some("f1".into()),
        |filter| filter.trigger = Some(Trigger::Failure),
    ];
    for narrowed in combinations(&narrow) {
        assert_direct(&heard.plans(|db| log::events(db, workspace_id(), &narrowed)));
    }
}

#[test]
fn lists_of_deliveries_walk_no_table() {
    let heard = Heard::new();
    heard.plans(|db| take_in(db, vec![new_event(1)]));
    assert_direct(&heard.plans(|db| log::delivery(db, workspace_id(), id(1))));
    let narrow: [fn(&mut DeliveryFilter); 12] = [
        |filter| filter.before = Some(id(9)),
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
    for narrowed in combinations(&narrow) {
        assert_direct(&heard.plans(|db| log::deliveries(db, workspace_id(), &narrowed)));
    }
}

/// Every combination of these wishes.
fn combinations<F: Default>(wishes: &[fn(&mut F)]) -> Vec<F> {
    (0u32..1 << wishes.len())
        .map(|chosen| {
            let mut filter = F::default();
            let wanted = wishes.iter().enumerate().filter(|(index, _)| chosen & 1 << index != 0);
            wanted.for_each(|(_, wish)| wish(&mut filter));
            filter
        })
        .collect()
}
