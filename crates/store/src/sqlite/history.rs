//! History: events and deliveries for the API. Every query is scoped by workspace and reads newest first.

use std::ops::RangeInclusive;
use std::time::Duration;

use memchr::memmem;
use rusqlite::types::ToSql;
use rusqlite::{Connection, Row, params};
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::Status;
use tidings_domain::event::EventKind;
use tidings_domain::id::{DeliveryId, EventId, Id, WorkspaceId, sort_key_at};
use tidings_domain::severity::Severity;

use super::attempts;
use super::index::build::{OPEN, OPEN_TEXT, TEXT_COLUMNS, delivery_column, event_column};
use super::index::columns::{Selection, Wanted, hash, search as search_texts, selected_keys};
use super::row::{
    DELIVERY_EVENT_COLUMNS, EVENT_COLUMNS, event as read_event, id, json, optional_id, optional_instant, parsed,
    to_json,
};
use super::scan::{Keys, List, Scan};
use super::search::fold;
use crate::Result;
use crate::history::{DeliveryFilter, DeliveryRecord, EventFilter, EventRecord, Page};
use crate::queue::Counts;

/// The kinds of events of runs.
const IS_RUN: &str = "e.kind IN ('flow.run.terminal', 'workflow.completed', 'workflow.failed')";

/// Deliveries first, then their events.
const FROM_DELIVERY: &str = "delivery d CROSS JOIN event e ON e.sort_key = d.event_sort_key";

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

/// Events, newest first. A search with conditions ends after about this time.
pub(super) fn events(
    db: &Connection,
    workspace_id: WorkspaceId,
    filter: &EventFilter,
    time_limit: Duration,
) -> Result<Page<EventRecord>> {
    let list = EventList::new(workspace_id, filter);
    let before = filter.before.map(|id| id.sort_key()).into_iter().chain(filter.searched_until.map(|it| it.sort_key()));
    let times = 0..=before.min().map_or(i64::MAX, |before| before - 1);
    if list.wanted.iter().all(Option::is_none) {
        return list.read_range(db, times, filter.limit).map(Page::complete);
    }
    Scan { workspace_id, times, before: None, limit: filter.limit, time_limit }.run(db, &list)
}

/// Events that match a filter.
struct EventList<'a> {
    workspace_id: WorkspaceId,
    filter: &'a EventFilter,
    wanted: Wanted<{ event_column::COUNT }>,
}

impl<'a> EventList<'a> {
    fn new(workspace_id: WorkspaceId, filter: &'a EventFilter) -> Self {
        let mut wanted = [const { None }; event_column::COUNT];
        wanted[event_column::KIND] = kinds(filter.kind, filter.runs_only);
        wanted[event_column::RESOURCE_TYPE] = filter.resource_type.map(|kind| vec![hash(kind.as_str().as_bytes())]);
        wanted[event_column::RESOURCE_ID] = filter.resource_id.as_ref().map(|id| vec![hash(id.as_bytes())]);
        wanted[event_column::TRIGGER] = filter.trigger.map(|trigger| vec![hash(trigger.wire_name().as_bytes())]);
        Self { workspace_id, filter, wanted }
    }

    fn conditions(&self) -> Conditions {
        let filter = self.filter;
        let mut conditions = Conditions::new("e.workspace_id = ?", *self.workspace_id.as_bytes());
        conditions.and_where(filter.runs_only, IS_RUN);
        conditions.and("e.kind = ?", filter.kind.map(|kind| kind.as_str()));
        conditions.and("e.resource_type = ?", filter.resource_type.map(|kind| kind.as_str()));
        conditions.and("e.resource_id = ?", filter.resource_id.clone());
        conditions.and("e.trigger = ?", filter.trigger.map(|trigger| trigger.wire_name()));
        conditions
    }
}

impl List for EventList<'_> {
    type Record = EventRecord;

    const VALUES: &'static str = "event_values";

    fn read_range(&self, db: &Connection, times: RangeInclusive<i64>, limit: u32) -> Result<Vec<EventRecord>> {
        let mut conditions = self.conditions();
        conditions.and("e.sort_key >= ?", Some(*times.start()));
        conditions.and("e.sort_key <= ?", Some(*times.end()));
        select_events(db, &conditions, limit)
    }

    fn candidates(&self, db: &Connection, row_id: i64, values: &[u8]) -> Result<Vec<Keys>> {
        let Some(selection) = Selection::of(values, &self.wanted)? else { return Ok(Vec::new()) };
        match read_column(db, "event_codes", row_id, |codes| selection.rows(codes, None))? {
            None => Ok(Vec::new()),
            Some(selected) => read_column(db, "event_keys", row_id, |keys| selected_keys(keys, &selected)),
        }
    }

    fn read_one(&self, db: &Connection, own: i64) -> Result<Option<EventRecord>> {
        let mut conditions = self.conditions();
        conditions.and("e.sort_key = ?", Some(own));
        Ok(select_events(db, &conditions, 1)?.pop())
    }
}

/// The hashes of the kinds of events that are wanted.
fn kinds(kind: Option<EventKind>, runs_only: bool) -> Option<Vec<u64>> {
    let wanted = |it: &EventKind| kind.is_none_or(|kind| kind == *it) && (!runs_only || it.is_run());
    let is_limited = kind.is_some() || runs_only;
    is_limited.then(|| EventKind::ALL.iter().filter(|it| wanted(it)).map(|it| hash(it.as_str().as_bytes())).collect())
}

/// Reads a column of a block of the history index.
fn read_column<T>(db: &Connection, column: &str, row_id: i64, read: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
    let mut statement = db.prepare_cached(&format!("SELECT {column} FROM history_block WHERE rowid = ?"))?;
    let mut rows = statement.query([row_id])?;
    read(rows.next()?.map(|row| row.get_ref(0)).transpose()?.and_then(|value| value.as_blob().ok()).unwrap_or_default())
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
/// made when its gate opens. A search with conditions ends after about this time.
pub(super) fn deliveries(
    db: &Connection,
    workspace_id: WorkspaceId,
    filter: &DeliveryFilter,
    time_limit: Duration,
) -> Result<Page<DeliveryRecord>> {
    let before = match filter.before {
        None => None,
        Some(id) => match position(db, workspace_id, id)? {
            None => return Ok(Page::complete(Vec::new())),
            some => some,
        },
    };
    let list = DeliveryList {
        workspace_id,
        filter,
        before,
        run_events: event_keys_of_run(db, workspace_id, filter.run_id.as_deref())?,
        wanted: wanted(filter),
        text: filter.text.as_deref().map(fold),
    };
    let times = times(filter, before);
    let one_order = if filter.digest_id.is_some() {
        Some(ListOrder::MembersOfDigest)
    } else if filter.event_id.is_some() {
        Some(ListOrder::OneEvent)
    } else {
        filter.run_id.is_some().then_some(ListOrder::OneRun)
    };
    if let Some(order) = one_order {
        return list.select(db, order, &times, filter.limit).map(Page::complete);
    }
    if list.text.is_none() && list.wanted.iter().all(Option::is_none) {
        return list.read_range(db, times, filter.limit).map(Page::complete);
    }
    let before = before.map(|before| (before.time, before.own));
    Scan { workspace_id, times, before, limit: filter.limit, time_limit }.run(db, &list)
}

/// The times of the deliveries that the filter may find.
fn times(filter: &DeliveryFilter, before: Option<Position>) -> RangeInclusive<i64> {
    let first = filter.since.map_or(0, |since| sort_key_at(since.unix_ms()));
    let ends = [
        filter.until.map(|until| sort_key_at(until.unix_ms()) - 1),
        filter.searched_until.map(|until| until.sort_key() - 1),
        before.map(|before| before.time),
    ];
    first..=ends.into_iter().flatten().min().unwrap_or(i64::MAX)
}

/// The values that the columns of the history index may have.
fn wanted(filter: &DeliveryFilter) -> Wanted<{ delivery_column::COUNT }> {
    let mut wanted = [const { None }; delivery_column::COUNT];
    wanted[delivery_column::KIND] = kinds(filter.kind, filter.runs_only);
    wanted[delivery_column::RESOURCE_TYPE] = filter.resource_type.map(|kind| vec![hash(kind.as_str().as_bytes())]);
    wanted[delivery_column::RESOURCE_ID] = filter.resource_id.as_ref().map(|id| vec![hash(id.as_bytes())]);
    wanted[delivery_column::CHANNEL] = filter.channel_id.map(|id| vec![hash(id.as_bytes())]);
    wanted[delivery_column::RULE] = filter.rule_id.map(|id| vec![hash(id.as_bytes())]);
    let or_open = |value: &str| vec![hash(value.as_bytes()), OPEN];
    wanted[delivery_column::STATUS] = filter.status.map(|status| match status.is_settled() {
        true => or_open(status.as_str()),
        false => vec![OPEN],
    });
    wanted[delivery_column::REASON] = filter.reason.as_deref().map(or_open);
    wanted
}

/// Deliveries that match a filter.
struct DeliveryList<'a> {
    workspace_id: WorkspaceId,
    filter: &'a DeliveryFilter,
    before: Option<Position>,
    /// The events of the filter's run, as [`event_keys_of_run`] found them.
    run_events: Option<String>,
    wanted: Wanted<{ delivery_column::COUNT }>,
    /// The folded text that is searched.
    text: Option<String>,
}

impl DeliveryList<'_> {
    fn select(
        &self,
        db: &Connection,
        order: ListOrder,
        times: &RangeInclusive<i64>,
        limit: u32,
    ) -> Result<Vec<DeliveryRecord>> {
        let mut conditions = conditions(self.workspace_id, self.filter, self.run_events.clone());
        order.within(&mut conditions, times);
        order.continue_after(&mut conditions, *self.workspace_id.as_bytes(), self.before);
        select_deliveries(db, order.from(), &conditions, order.order_by(), limit, self.filter.with_attempts)
    }
}

impl List for DeliveryList<'_> {
    type Record = DeliveryRecord;

    const VALUES: &'static str = "delivery_values";

    fn read_range(&self, db: &Connection, times: RangeInclusive<i64>, limit: u32) -> Result<Vec<DeliveryRecord>> {
        let firsts = self.select(db, ListOrder::Firsts, &times, limit)?;
        let deferred = self.select(db, ListOrder::Deferred, &times, limit)?;
        if deferred.is_empty() {
            return Ok(firsts);
        }
        let mut merged: Vec<_> = firsts.into_iter().chain(deferred).collect();
        merged.sort_by_key(|delivery| {
            let event_key = delivery.event.id.sort_key();
            std::cmp::Reverse(Position::of(event_key, delivery.id.sort_key(), delivery.sequence))
        });
        merged.truncate(limit as usize);
        Ok(merged)
    }

    fn candidates(&self, db: &Connection, row_id: i64, values: &[u8]) -> Result<Vec<Keys>> {
        let Some(selection) = Selection::of(values, &self.wanted)? else { return Ok(Vec::new()) };
        let Some(mut selected) = read_column(db, "delivery_codes", row_id, |codes| selection.rows(codes, None))? else {
            return Ok(Vec::new());
        };
        if let Some(text) = &self.text {
            let needle = memmem::Finder::new(text);
            let search = |texts: &[u8]| search_texts::<TEXT_COLUMNS>(texts, &needle, &OPEN_TEXT, &mut selected);
            if !read_column(db, "texts", row_id, search)? {
                return Ok(Vec::new());
            }
        }
        read_column(db, "delivery_keys", row_id, |keys| selected_keys(keys, &selected))
    }

    fn read_one(&self, db: &Connection, own: i64) -> Result<Option<DeliveryRecord>> {
        let mut conditions = conditions(self.workspace_id, self.filter, None);
        conditions.and("d.workspace_id = ?", Some(*self.workspace_id.as_bytes()));
        conditions.and("d.sort_key = ?", Some(own));
        Ok(select_deliveries(db, FROM_DELIVERY, &conditions, "d.sort_key", 1, self.filter.with_attempts)?.pop())
    }
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
            Self::MembersOfDigest => FROM_DELIVERY,
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

    /// Only deliveries of these times.
    fn within(self, conditions: &mut Conditions, times: &RangeInclusive<i64>) {
        let time = self.time();
        conditions.and(&format!("{time} >= ?"), Some(*times.start()));
        conditions.and(&format!("{time} <= ?"), Some(*times.end()));
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
                // SQLite starts at that event in the index by the condition on the times, which follows from this one.
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
    Ok(select_deliveries(db, FROM_DELIVERY, &conditions, "d.sort_key", 1, true)?.pop())
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
