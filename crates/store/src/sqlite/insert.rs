//! Rows of events and deliveries, many in one statement: a statement costs about as much as a row.

use rusqlite::{Connection, Statement, ToSql};
use tidings_domain::event::Event;
use tidings_domain::id::{EventId, Id};
use tidings_domain::time::Timestamp;

use super::accept::Prepared;
use super::attempts;
use super::begin::{Beginning, Changed};
use crate::Result;
use crate::queue::{Counts, NewDelivery};

/// Rows of the largest statement; smaller ones take the rest, each half as many.
const ROWS_MAX: usize = 32;

/// Inserts all rows with as few statements as there are, each prepared once. Answers how many were inserted. What fails is
/// undone with its whole operation: `OR FAIL` spares SQLite the copies with which it would undo the statement alone.
pub(super) fn insert<R>(
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
pub(super) struct Binder<'a, 'db> {
    statement: &'a mut Statement<'db>,
    bound: usize,
}

impl Binder<'_, '_> {
    pub(super) fn bind(&mut self, values: &[&dyn ToSql]) -> Result<()> {
        for value in values {
            self.bound += 1;
            self.statement.raw_bind_parameter(self.bound, value)?;
        }
        Ok(())
    }
}

/// Writes the events themselves.
pub(super) fn insert_events(db: &Connection, events: &[(&Prepared, Counts)]) -> Result<()> {
    const INTO: &str = "INSERT OR FAIL INTO event (rank, id, workspace_id, kind, resource_type, resource_id, run_id, trigger, \
         received_at, content, not_routed, pending_count, held_count, suppressed_count) VALUES ";
    insert(db, INTO, "(?,?,?,?,?,?,?,?,?,?,?,?,?,?)", events, |(prepared, counts), row| {
        let event = &*prepared.incoming.event;
        row.bind(&[
            &event.id.rank(),
            event.id.as_bytes(),
            event.workspace_id.as_bytes(),
            &event.kind.as_str(),
            &event.resource_type.as_str(),
            &event.resource_id,
            &event.run_id,
            &event.trigger.word(),
            &event.received_at.unix_ms(),
            &prepared.content,
            &prepared.not_routed,
            &counts.pending,
            &counts.held,
            &counts.suppressed,
        ])
    })?;
    Ok(())
}

/// A delivery on its way in.
pub(super) struct Arriving<'a> {
    pub(super) event: &'a Event,
    /// The id under which the event is kept.
    pub(super) event_id: EventId,
    pub(super) delivery: &'a NewDelivery,
    /// Its one walk, as JSON.
    pub(super) walks: &'a str,
}

impl Arriving<'_> {
    /// When it begins: with its event, or long after that if it is said late.
    pub(super) fn now(&self) -> Timestamp {
        self.event.received_at.max(self.delivery.walk.evaluated_at)
    }
}

/// Writes deliveries, each as it begins.
pub(super) fn insert_deliveries(db: &Connection, arriving: &[Arriving<'_>], changed: &Changed) -> Result<()> {
    // Those of which there is nothing more to say are nearly all: the columns that they do not need cost them nothing.
    if changed.is_empty() && arriving.iter().all(|it| is_plain(it.delivery)) {
        insert(db, PLAIN, "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", arriving, |it, row| {
            bind(it, &Beginning::asked(it.delivery, it.now()), row)
        })?;
        return Ok(());
    }
    insert(db, FULL, "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", arriving, |it, row| {
        let asked = Beginning::asked(it.delivery, it.now());
        let begun = changed.get(&it.delivery.id).unwrap_or(&asked);
        bind(it, begun, row)?;
        row.bind(&[
            &begun.held_until,
            &begun.after_rank,
            &it.delivery.after.as_ref().map(Id::as_bytes),
            &it.delivery.occasion,
            &it.delivery.late_of.as_ref().map(Id::as_bytes),
        ])
    })?;
    Ok(())
}

const PLAIN: &str = "INSERT OR FAIL INTO delivery (rank, id, workspace_id, event_rank, rule_id, rule_generation, \
     channel_id, channel_type, severity, status, reason, walks, due_at, lease_owner, completed_at, attempts) VALUES ";

const FULL: &str = "INSERT OR FAIL INTO delivery (rank, id, workspace_id, event_rank, rule_id, rule_generation, \
     channel_id, channel_type, severity, status, reason, walks, due_at, lease_owner, completed_at, attempts, \
     held_until, after_rank, after_id, occasion, late_of) VALUES ";

/// Whether it needs none of the columns that only [`FULL`] has.
fn is_plain(delivery: &NewDelivery) -> bool {
    delivery.after.is_none()
        && delivery.occasion == 1
        && delivery.late_of.is_none()
        && delivery.start != crate::queue::Start::Held
}

/// Binds what every delivery has.
fn bind(arriving: &Arriving<'_>, begun: &Beginning, row: &mut Binder<'_, '_>) -> Result<()> {
    let Arriving { event, event_id, delivery, walks } = arriving;
    let is_settled = begun.status.is_settled();
    row.bind(&[
        &delivery.id.rank(),
        delivery.id.as_bytes(),
        event.workspace_id.as_bytes(),
        &event_id.rank(),
        &delivery.rule_id.as_ref().map(Id::as_bytes),
        &delivery.rule_generation,
        delivery.channel_id.as_bytes(),
        &delivery.channel_type.as_str(),
        &delivery.severity.as_str(),
        &begun.status.as_str(),
        &begun.reason,
        &begun.walks.as_deref().unwrap_or(walks),
        &begun.due_at,
        &begun.lease_owner,
        &is_settled.then_some(arriving.now().unix_ms()),
        &if is_settled { "" } else { attempts::ROOM },
    ])
}
