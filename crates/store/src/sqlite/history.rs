//! History: events and deliveries for the API. Every query is scoped by workspace and reads newest first.

use rusqlite::types::ToSql;
use rusqlite::{Connection, Row, params};
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::Status;
use tidings_domain::id::{DeliveryId, EventId, Id, WorkspaceId, sort_key_at};
use tidings_domain::severity::Severity;

use super::attempts;
use super::row::{
    DELIVERY_EVENT_COLUMNS, EVENT_COLUMNS, event as read_event, id, json, optional_id, optional_instant, parsed,
    to_json,
};
use super::search::fold;
use crate::Result;
use crate::history::{DeliveryFilter, DeliveryRecord, EventFilter, EventRecord};
use crate::queue::Counts;

/// The kinds of events of runs.
const IS_RUN: &str = "e.kind IN ('flow.run.terminal', 'workflow.completed', 'workflow.failed')";

/// A `WHERE` clause built from conditions, with their values.
struct Conditions {
    sql: String,
    values: Vec<Box<dyn ToSql>>,
}

impl Conditions {
    fn new(sql: &str, value: impl ToSql + 'static) -> Self {
        Self { sql: format!("WHERE {sql}"), values: vec![Box::new(value)] }
    }

    fn and(&mut self, sql: &str, value: Option<impl ToSql + 'static>) {
        if let Some(value) = value {
            self.sql.push_str(" AND ");
            self.sql.push_str(sql);
            self.values.push(Box::new(value));
        }
    }

    /// Continues the last condition with a further value.
    fn and_value(&mut self, sql: &str, value: Option<impl ToSql + 'static>) {
        if let Some(value) = value {
            self.sql.push_str(sql);
            self.values.push(Box::new(value));
        }
    }

    fn and_where(&mut self, is_wanted: bool, sql: &str) {
        if is_wanted {
            self.sql.push_str(" AND ");
            self.sql.push_str(sql);
        }
    }

    fn values(&self) -> Vec<&dyn ToSql> {
        self.values.iter().map(AsRef::as_ref).collect()
    }
}

pub(super) fn events(db: &Connection, workspace_id: WorkspaceId, filter: &EventFilter) -> Result<Vec<EventRecord>> {
    let mut conditions = Conditions::new("e.workspace_id = ?", *workspace_id.as_bytes());
    conditions.and("e.sort_key < ?", filter.before.map(|id| id.sort_key()));
    conditions.and_where(filter.runs_only, IS_RUN);
    conditions.and("e.kind = ?", filter.kind.map(|kind| kind.as_str()));
    conditions.and("e.resource_type = ?", filter.resource_type.map(|kind| kind.as_str()));
    conditions.and("e.resource_id = ?", filter.resource_id.clone());
    conditions.and("e.trigger = ?", filter.trigger.map(|trigger| trigger.wire_name()));
    select_events(db, &conditions, filter.limit)
}

pub(super) fn event(db: &Connection, workspace_id: WorkspaceId, id: EventId) -> Result<Option<EventRecord>> {
    let mut conditions = Conditions::new("e.workspace_id = ?", *workspace_id.as_bytes());
    conditions.and("e.sort_key = ?", Some(id.sort_key()));
    conditions.and("e.id = ?", Some(*id.as_bytes()));
    Ok(select_events(db, &conditions, 1)?.pop())
}

fn select_events(db: &Connection, conditions: &Conditions, limit: u32) -> Result<Vec<EventRecord>> {
    let sql = format!(
        "SELECT {EVENT_COLUMNS}, e.not_routed, e.pending_count, e.held_count, e.suppressed_count \
         FROM event e {} ORDER BY e.sort_key DESC LIMIT {limit}",
        conditions.sql
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(conditions.values().as_slice())?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let has_not_routed = row.get_ref("not_routed")? != rusqlite::types::ValueRef::Null;
        found.push(EventRecord {
            event: read_event(row)?,
            not_routed: if has_not_routed { json(row, "not_routed")? } else { Vec::new() },
            counts: Counts {
                pending: row.get("pending_count")?,
                held: row.get("held_count")?,
                suppressed: row.get("suppressed_count")?,
            },
        });
    }
    Ok(found)
}

/// Deliveries in the order of their own time, newest first: that of their event, except for a deferred delivery, which is
/// made when its gate opens.
pub(super) fn deliveries(
    db: &Connection,
    workspace_id: WorkspaceId,
    filter: &DeliveryFilter,
) -> Result<Vec<DeliveryRecord>> {
    let before = match filter.before {
        None => None,
        Some(id) => match position(db, workspace_id, id)? {
            None => return Ok(Vec::new()),
            some => some,
        },
    };
    let run_events = event_keys_of_run(db, workspace_id, filter.run_id.as_deref())?;
    let select = |order: ListOrder| -> Result<Vec<DeliveryRecord>> {
        let mut conditions = conditions(workspace_id, filter, run_events.clone());
        order.within(&mut conditions, filter);
        order.continue_after(&mut conditions, *workspace_id.as_bytes(), before);
        let (limit, with_attempts) = (filter.limit, filter.with_attempts);
        select_deliveries(db, order.from(), &conditions, order.order_by(), limit, with_attempts)
    };
    if filter.digest_id.is_some() {
        return select(ListOrder::MembersOfDigest);
    }
    if filter.event_id.is_some() {
        return select(ListOrder::OneEvent);
    }
    if filter.run_id.is_some() {
        return select(ListOrder::OneRun);
    }
    let (firsts, deferred) = (select(ListOrder::Firsts)?, select(ListOrder::Deferred)?);
    if deferred.is_empty() {
        return Ok(firsts);
    }
    let mut merged: Vec<_> = firsts.into_iter().chain(deferred).collect();
    merged.sort_by_key(|delivery| {
        let event_key = delivery.event.id.sort_key();
        std::cmp::Reverse(Position::of(event_key, delivery.id.sort_key(), delivery.sequence))
    });
    merged.truncate(filter.limit as usize);
    Ok(merged)
}

/// The place of a delivery in lists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    /// The sort key of its event, or its own if it is deferred.
    time: i64,
    /// Its own sort key.
    own: i64,
}

impl Position {
    fn of(event_key: i64, own: i64, sequence: u32) -> Self {
        Self { time: if sequence > 1 { own } else { event_key }, own }
    }
}

/// `None` if the workspace has no such delivery.
fn position(db: &Connection, workspace_id: WorkspaceId, id: DeliveryId) -> Result<Option<Position>> {
    let mut statement =
        db.prepare_cached("SELECT event_sort_key, sequence FROM delivery WHERE sort_key = ? AND workspace_id = ?")?;
    let mut rows = statement.query(params![id.sort_key(), workspace_id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(Position::of(row.get(0)?, id.sort_key(), row.get(1)?)))
}

/// How a list is read, so that a page needs neither a scan nor a sort of more than a few rows. Nearly all deliveries have
/// the order of their events; an index over the few others spares the table one over all of them.
#[derive(Clone, Copy)]
enum ListOrder {
    /// First deliveries, through the events.
    Firsts,
    /// Deferred ones, through their index.
    Deferred,
    /// All deliveries of one event: deferred ones were made after the others.
    OneEvent,
    /// All deliveries of the events of one run or incident, sorted.
    OneRun,
    /// The members of a digest, through their index, sorted.
    MembersOfDigest,
}

impl ListOrder {
    const fn from(self) -> &'static str {
        // CROSS JOIN fixes the order of the joins.
        match self {
            Self::Firsts | Self::OneEvent | Self::OneRun => {
                "event e CROSS JOIN delivery d ON d.event_sort_key = e.sort_key"
            }
            Self::Deferred => {
                "delivery d INDEXED BY delivery_deferred CROSS JOIN event e ON e.sort_key = d.event_sort_key"
            }
            Self::MembersOfDigest => "delivery d CROSS JOIN event e ON e.sort_key = d.event_sort_key",
        }
    }

    /// The time of a delivery in this list, as a sort key.
    const fn time(self) -> &'static str {
        match self {
            Self::Firsts => "e.sort_key",
            Self::Deferred => "d.sort_key",
            Self::OneEvent | Self::OneRun | Self::MembersOfDigest => {
                "CASE WHEN d.sequence > 1 THEN d.sort_key ELSE e.sort_key END"
            }
        }
    }

    /// Only deliveries of the filter's time.
    fn within(self, conditions: &mut Conditions, filter: &DeliveryFilter) {
        let time = self.time();
        conditions.and(&format!("{time} >= ?"), filter.since.map(|since| sort_key_at(since.unix_ms())));
        conditions.and(&format!("{time} < ?"), filter.until.map(|until| sort_key_at(until.unix_ms())));
    }

    const fn order_by(self) -> &'static str {
        match self {
            Self::Firsts => "e.sort_key DESC, d.sort_key DESC",
            Self::Deferred | Self::OneEvent => "d.sort_key DESC",
            Self::OneRun | Self::MembersOfDigest => {
                "CASE WHEN d.sequence > 1 THEN d.sort_key ELSE e.sort_key END DESC, d.sort_key DESC"
            }
        }
    }

    /// The page begins after the delivery at this position.
    fn continue_after(self, conditions: &mut Conditions, workspace_id: [u8; 16], before: Option<Position>) {
        match self {
            Self::Firsts => {
                // The second condition is exact; the first follows from it, but SQLite can use it to start at that event
                // in the index.
                conditions.and("e.sort_key <= ?", before.map(|before| before.time));
                conditions.and("(e.sort_key, d.sort_key) < (?", before.map(|before| before.time));
                conditions.and_value(", ?)", before.map(|before| before.own));
                conditions.and_where(true, "d.sequence = 1");
            }
            Self::Deferred => {
                conditions.and("d.workspace_id = ?", Some(workspace_id));
                conditions.and("d.sort_key < ?", before.map(|before| before.time));
                conditions.and_where(true, "d.sequence > 1");
            }
            Self::OneEvent => conditions.and("d.sort_key < ?", before.map(|before| before.own)),
            Self::OneRun | Self::MembersOfDigest => {
                let time = "(CASE WHEN d.sequence > 1 THEN d.sort_key ELSE e.sort_key END, d.sort_key) < (?";
                conditions.and(time, before.map(|before| before.time));
                conditions.and_value(", ?)", before.map(|before| before.own));
            }
        }
    }
}

fn conditions(workspace_id: WorkspaceId, filter: &DeliveryFilter, run_events: Option<String>) -> Conditions {
    let mut conditions = Conditions::new("e.workspace_id = ?", *workspace_id.as_bytes());
    conditions.and("e.sort_key = ?", filter.event_id.map(|id| id.sort_key()));
    conditions.and("e.id = ?", filter.event_id.map(|id| *id.as_bytes()));
    conditions.and_where(filter.runs_only, IS_RUN);
    conditions.and("d.rule_id = ?", filter.rule_id.map(|id| *id.as_bytes()));
    conditions.and("d.channel_id = ?", filter.channel_id.map(|id| *id.as_bytes()));
    conditions.and("d.status = ?", filter.status.map(Status::as_str));
    conditions.and("d.reason = ?", filter.reason.clone());
    conditions.and("e.kind = ?", filter.kind.map(|kind| kind.as_str()));
    conditions.and("e.resource_type = ?", filter.resource_type.map(|kind| kind.as_str()));
    conditions.and("e.resource_id = ?", filter.resource_id.clone());
    conditions.and("e.sort_key IN (SELECT value FROM json_each(?))", run_events);
    conditions.and("d.digest_sort_key = ?", filter.digest_id.map(|id| id.sort_key()));
    conditions.and("d.digest_id = ?", filter.digest_id.map(|id| *id.as_bytes()));
    conditions.and(
        // The resource's name is at `resourceName` in runs and at `name` in incidents.
        "holds_text(?, e.resource_id, e.run_id, e.content ->> '$.resourceName', e.content ->> '$.name', d.last_error)",
        filter.text.as_deref().map(fold),
    );
    conditions
}

/// The sort keys of the events of a run or incident, as a JSON list. Found through the idempotency keys, which begin
/// with `run_id`, so that `event` needs no index for it.
fn event_keys_of_run(db: &Connection, workspace_id: WorkspaceId, run_id: Option<&str>) -> Result<Option<String>> {
    let Some(run_id) = run_id else { return Ok(None) };
    let mut statement =
        db.prepare_cached("SELECT event_id FROM idempotency_key WHERE run_id = ? AND workspace_id = ?")?;
    let mut rows = statement.query(params![run_id, workspace_id.as_bytes()])?;
    let mut sort_keys = Vec::new();
    while let Some(row) = rows.next()? {
        sort_keys.push(id::<EventId>(row, "event_id")?.sort_key());
    }
    to_json(&sort_keys).map(Some)
}

pub(super) fn delivery(db: &Connection, workspace_id: WorkspaceId, id: DeliveryId) -> Result<Option<DeliveryRecord>> {
    let mut conditions = Conditions::new("d.workspace_id = ?", *workspace_id.as_bytes());
    conditions.and("d.sort_key = ?", Some(id.sort_key()));
    conditions.and("d.id = ?", Some(*id.as_bytes()));
    let from = "delivery d CROSS JOIN event e ON e.sort_key = d.event_sort_key";
    Ok(select_deliveries(db, from, &conditions, "d.sort_key", 1, true)?.pop())
}

fn select_deliveries(
    db: &Connection,
    from: &str,
    conditions: &Conditions,
    order: &str,
    limit: u32,
    with_attempts: bool,
) -> Result<Vec<DeliveryRecord>> {
    let attempts = if with_attempts { "d.attempts" } else { "''" };
    let sql = format!(
        "SELECT {attempts} AS attempts, d.id, d.rule_id, d.channel_id, d.channel_type, d.severity, d.status, d.reason, \
         d.held_until, d.sequence, d.replaces_id, d.digest_id, d.blocked_by_id, d.gate_evaluations, d.due_at, \
         d.attempt_count, d.http_status, d.last_error, d.sent_at, d.completed_at, {DELIVERY_EVENT_COLUMNS} \
         FROM {from} {} ORDER BY {order} LIMIT {limit}",
        conditions.sql
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(conditions.values().as_slice())?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read_delivery(row)?);
    }
    Ok(found)
}

fn read_delivery(row: &Row<'_>) -> Result<DeliveryRecord> {
    let status = parsed(row, "status", Status::parse)?;
    Ok(DeliveryRecord {
        id: id(row, "id")?,
        event: read_event(row)?,
        rule_id: optional_id(row, "rule_id")?,
        channel_id: id(row, "channel_id")?,
        channel_type: parsed(row, "channel_type", ChannelType::parse)?,
        severity: parsed(row, "severity", Severity::parse)?,
        status,
        reason: row.get("reason")?,
        held_until: optional_instant(row, "held_until")?,
        sequence: row.get("sequence")?,
        replaces_id: optional_id(row, "replaces_id")?,
        digest_id: optional_id(row, "digest_id")?,
        blocked_by: optional_id(row, "blocked_by_id")?,
        gate_evaluations: json(row, "gate_evaluations")?,
        attempt_count: row.get("attempt_count")?,
        attempts: attempts::decode_all(row.get_ref("attempts")?.as_str().unwrap_or_default())?,
        http_status: row.get("http_status")?,
        last_error: row.get("last_error")?,
        next_attempt_at: optional_instant(row, "due_at")?.filter(|_| status == Status::Pending),
        sent_at: optional_instant(row, "sent_at")?,
        completed_at: optional_instant(row, "completed_at")?,
    })
}
