//! The log: events and deliveries as they are shown. Every query is scoped by workspace and reads newest first.

use rusqlite::types::ToSql;
use rusqlite::{Connection, Row};
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::Status;
use tidings_domain::id::{DeliveryId, EventId, Id, WorkspaceId, uuid_v7};
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

use super::attempts;
use super::row::{EVENT_COLUMNS, event as read_event, id, json, optional_id, optional_instant, word};
use super::search::fold;
use crate::Result;
use crate::log::{DeliveryFilter, DeliveryRecord, EventFilter, EventRecord};
use crate::queue::Counts;

/// A `WHERE` clause that grows condition by condition, with its values.
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

    fn values(&self) -> Vec<&dyn ToSql> {
        self.values.iter().map(AsRef::as_ref).collect()
    }
}

pub(super) fn events(db: &Connection, workspace_id: WorkspaceId, filter: &EventFilter) -> Result<Vec<EventRecord>> {
    let mut which = Conditions::new("e.workspace_id = ?", *workspace_id.as_bytes());
    which.and("e.id < ?", filter.before.map(|id| *id.as_bytes()));
    which.and("e.kind <> ?", filter.runs_only.then_some("channel_test"));
    which.and("e.kind = ?", filter.kind.map(|kind| kind.as_str()));
    which.and("e.resource_type = ?", filter.resource_type.map(|kind| kind.as_str()));
    which.and("e.resource_id = ?", filter.resource_id.clone());
    which.and("e.trigger = ?", filter.trigger.map(|trigger| trigger.as_str()));
    select_events(db, &which, filter.limit)
}

pub(super) fn event(db: &Connection, workspace_id: WorkspaceId, id: EventId) -> Result<Option<EventRecord>> {
    let mut which = Conditions::new("e.workspace_id = ?", *workspace_id.as_bytes());
    which.and("e.id = ?", Some(*id.as_bytes()));
    Ok(select_events(db, &which, 1)?.pop())
}

fn select_events(db: &Connection, which: &Conditions, limit: u32) -> Result<Vec<EventRecord>> {
    let sql = format!(
        "SELECT {EVENT_COLUMNS}, e.not_routed, e.pending_count, e.held_count, e.suppressed_count \
         FROM event e {} ORDER BY e.id DESC LIMIT {limit}",
        which.sql
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(which.values().as_slice())?;
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
    // About one resource, its events lead the way through their index; else the deliveries, newest first.
    let events_lead = filter.resource_id.is_some() && filter.resource_type.is_some();
    let (from, order, mut which) = if events_lead {
        (
            "event e CROSS JOIN delivery d ON d.workspace_id = e.workspace_id AND d.event_id = e.id",
            "e.id DESC, d.id DESC",
            Conditions::new("e.workspace_id = ?1", *workspace_id.as_bytes()),
        )
    } else {
        (DELIVERIES_LEAD, "d.id DESC", Conditions::new("d.workspace_id = ?1", *workspace_id.as_bytes()))
    };
    // What comes before must say so in the order of the list, or pages have gaps.
    let before = if events_lead {
        "(e.id, d.id) < (SELECT event_id, id FROM delivery WHERE workspace_id = ?1 AND id = ?)"
    } else {
        "d.id < ?"
    };
    which.and(before, filter.before.map(|id| *id.as_bytes()));
    which.and("e.kind <> ?", filter.runs_only.then_some("channel_test"));
    which.and("d.event_id = ?", filter.event_id.map(|id| *id.as_bytes()));
    which.and("d.rule_id = ?", filter.rule_id.map(|id| *id.as_bytes()));
    which.and("d.channel_id = ?", filter.channel_id.map(|id| *id.as_bytes()));
    which.and("d.status = ?", filter.status.map(Status::as_str));
    which.and("d.suppressed_reason = ?", filter.reason.clone());
    which.and("d.id >= ?", filter.since.map(first_id_at));
    which.and("d.id < ?", filter.until.map(first_id_at));
    which.and("e.kind = ?", filter.kind.map(|kind| kind.as_str()));
    which.and("e.resource_type = ?", filter.resource_type.map(|kind| kind.as_str()));
    which.and("e.resource_id = ?", filter.resource_id.clone());
    which.and(
        "holds_text(?, e.resource_id, e.run_id, e.run ->> '$.resourceName', d.last_error)",
        filter.text.as_deref().map(fold),
    );
    select_deliveries(db, from, &which, order, filter.limit, filter.with_attempts)
}

const DELIVERIES_LEAD: &str = "delivery d CROSS JOIN event e ON e.workspace_id = d.workspace_id AND e.id = d.event_id";

/// The smallest id that can have been made at or after this instant.
fn first_id_at(instant: Timestamp) -> [u8; 16] {
    *uuid_v7(instant.unix_ms().max(0).unsigned_abs(), &[0; 10]).as_bytes()
}

pub(super) fn delivery(db: &Connection, workspace_id: WorkspaceId, id: DeliveryId) -> Result<Option<DeliveryRecord>> {
    let mut which = Conditions::new("d.workspace_id = ?", *workspace_id.as_bytes());
    which.and("d.id = ?", Some(*id.as_bytes()));
    Ok(select_deliveries(db, DELIVERIES_LEAD, &which, "d.id", 1, true)?.pop())
}

fn select_deliveries(
    db: &Connection,
    from: &str,
    which: &Conditions,
    order: &str,
    limit: u32,
    with_attempts: bool,
) -> Result<Vec<DeliveryRecord>> {
    let attempts = if with_attempts { "d.attempts" } else { "''" };
    let sql = format!(
        "SELECT {attempts} AS attempts, d.id, d.rule_id, d.channel_id, d.channel_type, d.severity, d.status, d.suppressed_reason, d.walks, \
         d.due_at, d.attempt_count, d.http_status, d.last_error, d.sent_at, d.completed_at, {EVENT_COLUMNS} \
         FROM {from} {} ORDER BY {order} LIMIT {limit}",
        which.sql
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(which.values().as_slice())?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read_delivery(row)?);
    }
    Ok(found)
}

fn read_delivery(row: &Row<'_>) -> Result<DeliveryRecord> {
    let status = word(row, "status", Status::parse)?;
    Ok(DeliveryRecord {
        id: id(row, "id")?,
        event: read_event(row)?,
        rule_id: optional_id(row, "rule_id")?,
        channel_id: id(row, "channel_id")?,
        channel_type: word(row, "channel_type", ChannelType::parse)?,
        severity: word(row, "severity", Severity::parse)?,
        status,
        suppressed_reason: row.get("suppressed_reason")?,
        walks: json(row, "walks")?,
        attempt_count: row.get("attempt_count")?,
        attempts: attempts::from_text(row.get_ref("attempts")?.as_str().unwrap_or_default())?,
        http_status: row.get("http_status")?,
        last_error: row.get("last_error")?,
        next_attempt_at: optional_instant(row, "due_at")?.filter(|_| status == Status::Pending),
        sent_at: optional_instant(row, "sent_at")?,
        completed_at: optional_instant(row, "completed_at")?,
    })
}
