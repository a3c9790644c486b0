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

pub(super) fn deliveries(
    db: &Connection,
    workspace_id: WorkspaceId,
    filter: &DeliveryFilter,
) -> Result<Vec<DeliveryRecord>> {
    let mut conditions = Conditions::new("e.workspace_id = ?1", *workspace_id.as_bytes());
    conditions.and("e.sort_key >= ?", filter.since.map(|since| sort_key_at(since.unix_ms())));
    conditions.and("e.sort_key < ?", filter.until.map(|until| sort_key_at(until.unix_ms())));
    conditions.and("e.sort_key = ?", filter.event_id.map(|id| id.sort_key()));
    conditions.and("e.id = ?", filter.event_id.map(|id| *id.as_bytes()));
    // The page begins after this delivery in (event, delivery) order. The second condition is exact; the first follows
    // from it, but SQLite can use it to start at that event in the index.
    let before = filter.before.map(|id| id.sort_key());
    conditions
        .and("e.sort_key <= (SELECT event_sort_key FROM delivery WHERE sort_key = ? AND workspace_id = ?1)", before);
    conditions.and(
        "(e.sort_key, d.sort_key) < (SELECT event_sort_key, sort_key FROM delivery \
         WHERE sort_key = ? AND workspace_id = ?1)",
        before,
    );
    conditions.and_where(filter.runs_only, IS_RUN);
    conditions.and("d.rule_id = ?", filter.rule_id.map(|id| *id.as_bytes()));
    conditions.and("d.channel_id = ?", filter.channel_id.map(|id| *id.as_bytes()));
    conditions.and("d.status = ?", filter.status.map(Status::as_str));
    conditions.and("d.reason = ?", filter.reason.clone());
    conditions.and("e.kind = ?", filter.kind.map(|kind| kind.as_str()));
    conditions.and("e.resource_type = ?", filter.resource_type.map(|kind| kind.as_str()));
    conditions.and("e.resource_id = ?", filter.resource_id.clone());
    conditions.and(
        "e.sort_key IN (SELECT value FROM json_each(?))",
        event_keys_of_run(db, workspace_id, filter.run_id.as_deref())?,
    );
    conditions.and("d.digest_sort_key = ?", filter.digest_id.map(|id| id.sort_key()));
    conditions.and("d.digest_id = ?", filter.digest_id.map(|id| *id.as_bytes()));
    conditions.and(
        // The resource's name is at `resourceName` in runs and at `name` in incidents.
        "holds_text(?, e.resource_id, e.run_id, e.content ->> '$.resourceName', e.content ->> '$.name', d.last_error)",
        filter.text.as_deref().map(fold),
    );
    // CROSS JOIN fixes the order of the joins: through the events, newest first, so that a page needs no sort; only the
    // few members of a digest are found through their own index.
    let from = match filter.digest_id {
        None => "event e CROSS JOIN delivery d ON d.event_sort_key = e.sort_key",
        Some(_) => "delivery d CROSS JOIN event e ON e.sort_key = d.event_sort_key",
    };
    select_deliveries(db, from, &conditions, "e.sort_key DESC, d.sort_key DESC", filter.limit, filter.with_attempts)
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
