//! Accept: an event and all of its deliveries, once.
//!
//! What many callers bring is written together, in statements of many rows: a statement costs about as much as a row.

use std::collections::HashSet;

use rusqlite::{Connection, Statement, ToSql, params};
use tidings_domain::delivery::Status;
use tidings_domain::event::Event;
use tidings_domain::gate::Walk;
use tidings_domain::id::{EventId, Id};

use super::attempts;
use super::row::to_json;
use crate::Result;
use crate::queue::{Acceptance, Counts, Incoming, NewDelivery, Start};

/// An event on its way in, with its columns that cost most to make: made by the caller, not by the writer that
/// everybody waits for.
pub(super) struct Prepared {
    incoming: Incoming,
    counts: Counts,
    run: String,
    not_routed: Option<String>,
    walks: Vec<String>,
}

impl Prepared {
    pub(super) fn new(incoming: Incoming) -> Result<Self> {
        let walks = incoming.deliveries.iter().map(|delivery| to_json(&[&delivery.walk])).collect::<Result<_>>()?;
        let not_routed = if incoming.not_routed.is_empty() { None } else { Some(to_json(&incoming.not_routed)?) };
        let run = to_json(&incoming.event.run)?;
        Ok(Self { counts: counts(&incoming.deliveries), run, not_routed, walks, incoming })
    }
}

/// Takes all of them in, or none.
pub(super) fn accept(db: &Connection, batch: &[&Prepared]) -> Result<Vec<Acceptance>> {
    let is_new = if remember(db, batch)? { vec![true; batch.len()] } else { tell_apart(db, batch)? };
    let new: Vec<&Prepared> = batch.iter().zip(&is_new).filter(|(_, is_new)| **is_new).map(|(it, _)| *it).collect();
    insert_events(db, &new)?;
    insert_deliveries(db, &new)?;
    // Only now: the first of two that are the same may stand in this very batch.
    let answer = |(prepared, is_new): (&&Prepared, bool)| match is_new {
        true => Ok(Acceptance { event_id: prepared.incoming.event.id, duplicate: false, counts: prepared.counts }),
        false => first_time(db, &prepared.incoming.event),
    };
    batch.iter().zip(is_new).map(answer).collect()
}

/// Which of these are told for the first time, now that all of them are remembered.
fn tell_apart(db: &Connection, batch: &[&Prepared]) -> Result<Vec<bool>> {
    let mut seen = HashSet::new();
    let mut is_new = Vec::with_capacity(batch.len());
    for prepared in batch {
        let event = &*prepared.incoming.event;
        let is_first = remembered_as(db, event)? == event.id && seen.insert(event.id);
        is_new.push(is_first && counts_of(db, event.id)?.is_none());
    }
    Ok(is_new)
}

/// Rows of the largest statement; smaller ones take the rest, each half as many.
const ROWS_MAX: usize = 32;

/// Inserts all rows with as few statements as there are, each prepared once. Answers how many were inserted. What fails is
/// undone with its whole operation: `OR FAIL` spares SQLite the copies with which it would undo the statement alone.
fn insert<R>(
    db: &Connection,
    into: &str,
    row: &str,
    rows: &[R],
    bind: impl Fn(&R, &mut Binder<'_, '_>) -> Result<()>,
) -> Result<usize> {
    let mut inserted = 0;
    let mut rest = rows;
    let mut size = ROWS_MAX;
    while !rest.is_empty() {
        while size > rest.len() {
            size /= 2;
        }
        let (now, later) = rest.split_at(size);
        rest = later;
        let mut sql = String::with_capacity(into.len() + size * (row.len() + 1));
        sql.push_str(into);
        for index in 0..size {
            sql.push_str(if index == 0 { "" } else { "," });
            sql.push_str(row);
        }
        let mut statement = db.prepare_cached(&sql)?;
        let mut binder = Binder { statement: &mut statement, bound: 0 };
        now.iter().try_for_each(|row| bind(row, &mut binder))?;
        inserted += statement.raw_execute()?;
    }
    Ok(inserted)
}

/// Binds one value after the other.
struct Binder<'a, 'db> {
    statement: &'a mut Statement<'db>,
    bound: usize,
}

impl Binder<'_, '_> {
    fn bind(&mut self, values: &[&dyn ToSql]) -> Result<()> {
        for value in values {
            self.bound += 1;
            self.statement.raw_bind_parameter(self.bound, value)?;
        }
        Ok(())
    }
}

/// Keeps what the events are recognised by; whether none of them was there.
fn remember(db: &Connection, batch: &[&Prepared]) -> Result<bool> {
    const INTO: &str =
        "INSERT OR IGNORE INTO event_key (run_id, resource_id, workspace_id, resource_type, trigger, event_id) VALUES ";
    let inserted = insert(db, INTO, "(?,?,?,?,?,?)", batch, |prepared, row| {
        let event = &*prepared.incoming.event;
        row.bind(&[
            &event.run_id,
            &event.resource_id,
            event.workspace_id.as_bytes(),
            &event.resource_type.as_str(),
            &event.trigger.as_str(),
            event.id.as_bytes(),
        ])
    })?;
    Ok(inserted == batch.len())
}

const RECOGNISED: &str =
    "k.run_id = ? AND k.resource_id = ? AND k.workspace_id = ? AND k.resource_type = ? AND k.trigger = ?";

/// The id under which this event was told first.
fn remembered_as(db: &Connection, event: &Event) -> Result<EventId> {
    Ok(db.prepare_cached(&format!("SELECT k.event_id FROM event_key k WHERE {RECOGNISED}"))?.query_row(
        params![
            event.run_id,
            event.resource_id,
            event.workspace_id.as_bytes(),
            event.resource_type.as_str(),
            event.trigger.as_str(),
        ],
        |row| row.get(0).map(EventId::from_bytes),
    )?)
}

/// The answer that the event got the first time.
fn first_time(db: &Connection, event: &Event) -> Result<Acceptance> {
    let event_id = remembered_as(db, event)?;
    Ok(Acceptance { event_id, duplicate: true, counts: counts_of(db, event_id)?.unwrap_or_default() })
}

/// What an event began with, if it is kept.
fn counts_of(db: &Connection, id: EventId) -> Result<Option<Counts>> {
    let mut statement =
        db.prepare_cached("SELECT pending_count, held_count, suppressed_count FROM event WHERE rank = ? AND id = ?")?;
    let mut rows = statement.query(params![id.rank(), id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(Counts { pending: row.get(0)?, held: row.get(1)?, suppressed: row.get(2)? }))
}

fn counts(deliveries: &[NewDelivery]) -> Counts {
    let mut counts = Counts::default();
    for delivery in deliveries {
        match delivery.start {
            Start::Leased(_) | Start::Due => counts.pending += 1,
            Start::Suppressed => counts.suppressed += 1,
        }
    }
    counts
}

/// Writes the events themselves.
pub(super) fn insert_events(db: &Connection, batch: &[&Prepared]) -> Result<()> {
    const INTO: &str = "INSERT OR FAIL INTO event (rank, id, workspace_id, kind, resource_type, resource_id, run_id, trigger, \
         received_at, run, not_routed, pending_count, held_count, suppressed_count) VALUES ";
    insert(db, INTO, "(?,?,?,?,?,?,?,?,?,?,?,?,?,?)", batch, |prepared, row| {
        let event = &*prepared.incoming.event;
        row.bind(&[
            &event.id.rank(),
            event.id.as_bytes(),
            event.workspace_id.as_bytes(),
            &event.kind.as_str(),
            &event.resource_type.as_str(),
            &event.resource_id,
            &event.run_id,
            &event.trigger.as_str(),
            &event.received_at.unix_ms(),
            &prepared.run,
            &prepared.not_routed,
            &prepared.counts.pending,
            &prepared.counts.held,
            &prepared.counts.suppressed,
        ])
    })?;
    Ok(())
}

fn insert_deliveries(db: &Connection, batch: &[&Prepared]) -> Result<()> {
    const INTO: &str = "INSERT OR FAIL INTO delivery (rank, id, workspace_id, event_rank, rule_id, rule_generation, channel_id, \
         channel_type, severity, status, suppressed_reason, walks, due_at, lease_owner, completed_at, attempts) VALUES ";
    let deliveries: Vec<_> = batch
        .iter()
        .flat_map(|prepared| {
            let with_walks = prepared.incoming.deliveries.iter().zip(&prepared.walks);
            with_walks.map(|(delivery, walk)| (&*prepared.incoming.event, delivery, walk))
        })
        .collect();
    insert(db, INTO, "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", &deliveries, |(event, delivery, walks), row| {
        let now = event.received_at.unix_ms();
        let (status, due_at, lease_owner) = match delivery.start {
            Start::Leased(lease) => (Status::Sending, Some(lease.until.unix_ms()), Some(lease.owner)),
            Start::Due => (Status::Pending, Some(now), None),
            Start::Suppressed => (Status::Suppressed, None, None),
        };
        row.bind(&[
            &delivery.id.rank(),
            delivery.id.as_bytes(),
            event.workspace_id.as_bytes(),
            &event.id.rank(),
            delivery.rule_id.as_bytes(),
            &delivery.rule_generation,
            delivery.channel_id.as_bytes(),
            &delivery.channel_type.as_str(),
            &delivery.severity.as_str(),
            &status.as_str(),
            &stopped_by(&delivery.walk),
            walks,
            &due_at,
            &lease_owner,
            &status.is_settled().then_some(now),
            &if status.is_settled() { "" } else { attempts::ROOM },
        ])
    })?;
    Ok(())
}

/// The reason id of the gate that stopped this walk.
pub(super) fn stopped_by(walk: &Walk) -> Option<&'static str> {
    walk.stopped.as_ref().map(|(gate, _)| gate.as_str())
}
