//! Accept: an event and all of its deliveries, once.
//!
//! What many callers bring is written together, in statements of many rows.

use std::collections::HashSet;

use rusqlite::{Connection, params};
use tidings_domain::event::Event;
use tidings_domain::id::{DeliveryId, EventId, Id};

use super::begin::{Changed, counts, decide};
use super::db::{Db, Insert};
use super::insert::{Arriving, insert_deliveries, insert_events};
use super::row::{Json, Pieces, corrupt};
use crate::Result;
use crate::queue::{Acceptance, Counts, InitialState, NewDelivery, NewEvent};

/// So many bytes does nearly all that is written of an event take up.
const JSON_BYTES: usize = 1024;

/// An event on its way in, with its columns that cost most to make: made by the caller, not by the writer that
/// everybody waits for.
pub(super) struct Prepared {
    pub(super) new_event: NewEvent,
    /// Its content, the walks of its deliveries, the rules passed over if there are any.
    json: Pieces,
    /// As was asked for.
    counts: Counts,
}

impl Prepared {
    pub(super) fn new(new_event: NewEvent) -> Result<Self> {
        let not_held =
            |delivery: &&NewDelivery| delivery.start == InitialState::Held && delivery.evaluation.held().is_none();
        if let Some(delivery) = new_event.deliveries.iter().find(not_held) {
            return Err(corrupt("evaluation of a held delivery", delivery.id));
        }
        let NewEvent { event, not_routed, deliveries } = &new_event;
        let mut json = Pieces::with_capacity(2 + deliveries.len(), JSON_BYTES);
        json.push(&event.content)?;
        deliveries.iter().try_for_each(|delivery| json.push(&[&delivery.evaluation]))?;
        if !not_routed.is_empty() {
            json.push(not_routed)?;
        }
        let counts = counts(deliveries, &Changed::new());
        Ok(Self { new_event, json, counts })
    }

    pub(super) fn content(&self) -> Option<Json<'_>> {
        self.json.iter().next()
    }

    pub(super) fn not_routed(&self) -> Option<Json<'_>> {
        self.json.iter().nth(1 + self.new_event.deliveries.len())
    }

    /// Its deliveries, on their way to the event that is kept under this id.
    fn arriving(&self, event_id: EventId) -> impl Iterator<Item = Arriving<'_>> {
        let event = &*self.new_event.event;
        let with_walks = self.new_event.deliveries.iter().zip(self.json.iter().skip(1));
        with_walks.map(move |(delivery, gate_evaluations)| Arriving { event, event_id, delivery, gate_evaluations })
    }

    fn not_leased(&self, changed: &Changed) -> Vec<DeliveryId> {
        let ids = self.new_event.deliveries.iter().map(|delivery| delivery.id);
        if changed.is_empty() { Vec::new() } else { ids.filter(|id| changed.contains_key(id)).collect() }
    }
}

/// Takes all of them in, or none. An event that was told before changes nothing.
pub(super) fn accept(db: &Db<'_>, batch: &[&Prepared]) -> Result<Vec<Acceptance>> {
    let is_new = if remember(db, batch)? { vec![true; batch.len()] } else { tell_apart(db, batch)? };
    let new = || batch.iter().zip(&is_new).filter(|(_, is_new)| **is_new).map(|(prepared, _)| *prepared);
    let arriving: Vec<_> = new().flat_map(|prepared| prepared.arriving(prepared.new_event.event.id)).collect();
    let changed = decide(db, &arriving)?;
    let counts = |prepared: &Prepared| match changed.is_empty() {
        true => prepared.counts,
        false => counts(&prepared.new_event.deliveries, &changed),
    };
    insert_events(db, &new().map(|prepared| (prepared, counts(prepared))).collect::<Vec<_>>())?;
    insert_deliveries(db, &arriving, &changed)?;
    // Only now: the first of two that are the same may stand in this very batch.
    let answer = |(prepared, is_new): (&&Prepared, &bool)| match is_new {
        true => Ok(Acceptance {
            event_id: prepared.new_event.event.id,
            duplicate: false,
            counts: counts(prepared),
            not_leased: prepared.not_leased(&changed),
        }),
        false => first_time(db, &prepared.new_event.event),
    };
    batch.iter().zip(&is_new).map(answer).collect()
}

/// Takes all of them in, or none. An event that was told before gets those of its deliveries that say it late (an
/// sequence after the first) and are not there yet; those that are there count as not_leased.
pub(super) fn accept_with_late(db: &Db<'_>, batch: &[&Prepared]) -> Result<Vec<Acceptance>> {
    let mut acceptances = accept(db, batch)?;
    for (prepared, acceptance) in batch.iter().zip(&mut acceptances).filter(|(_, acceptance)| acceptance.duplicate) {
        let mut arriving = Vec::new();
        for late in prepared.arriving(acceptance.event_id).filter(|it| it.delivery.sequence > 1) {
            if is_there(db, &late)? {
                acceptance.not_leased.push(late.delivery.id);
            } else {
                arriving.push(late);
            }
        }
        let changed = decide(db, &arriving)?;
        insert_deliveries(db, &arriving, &changed)?;
        acceptance.not_leased.extend(prepared.not_leased(&changed));
    }
    Ok(acceptances)
}

/// Whether the event was told to this rule (or, without one, through this channel) on this sequence.
fn is_there(db: &Connection, arriving: &Arriving<'_>) -> Result<bool> {
    let delivery = arriving.delivery;
    let there: u32 = db
        .prepare_cached(
            "SELECT count(*) FROM delivery WHERE event_sort_key = ?1 AND workspace_id = ?2 AND sequence = ?3 \
             AND rule_id IS ?4 AND (?4 IS NOT NULL OR channel_id = ?5)",
        )?
        .query_row(
            params![
                arriving.event_id.sort_key(),
                arriving.event.workspace_id.as_bytes(),
                delivery.sequence,
                delivery.rule_id.as_ref().map(Id::as_bytes),
                delivery.channel_id.as_bytes(),
            ],
            |row| row.get(0),
        )?;
    Ok(there > 0)
}

/// Which of these are told for the first time, now that all of them are remembered.
fn tell_apart(db: &Connection, batch: &[&Prepared]) -> Result<Vec<bool>> {
    let mut seen = HashSet::new();
    let mut is_new = Vec::with_capacity(batch.len());
    for prepared in batch {
        let event = &*prepared.new_event.event;
        let is_first = remembered_as(db, event)? == event.id && seen.insert(event.id);
        is_new.push(is_first && counts_of(db, event.id)?.is_none());
    }
    Ok(is_new)
}

/// What events are recognised by.
pub(super) fn into_keys() -> Insert {
    let into =
        "INSERT OR IGNORE INTO idempotency_key (run_id, resource_id, workspace_id, resource_type, trigger, event_id)";
    Insert { into, row: "(?,?,?,?,?,?)".into() }
}

/// Keeps what the events are recognised by; whether none of them was there.
fn remember(db: &Db<'_>, batch: &[&Prepared]) -> Result<bool> {
    let inserted = db.keys.insert(batch, |prepared, row| {
        let event = &*prepared.new_event.event;
        row.bind(&[
            &event.run_id,
            &event.resource_id,
            event.workspace_id.as_bytes(),
            &event.resource_type.as_str(),
            &event.trigger.word(),
            event.id.as_bytes(),
        ])
    })?;
    Ok(inserted == batch.len())
}

const RECOGNISED: &str =
    "k.run_id = ? AND k.resource_id = ? AND k.workspace_id = ? AND k.resource_type = ? AND k.trigger = ?";

/// The id under which this event was told first.
fn remembered_as(db: &Connection, event: &Event) -> Result<EventId> {
    Ok(db.prepare_cached(&format!("SELECT k.event_id FROM idempotency_key k WHERE {RECOGNISED}"))?.query_row(
        params![
            event.run_id,
            event.resource_id,
            event.workspace_id.as_bytes(),
            event.resource_type.as_str(),
            event.trigger.word(),
        ],
        |row| row.get(0).map(EventId::from_bytes),
    )?)
}

/// The answer that the event got the first time.
fn first_time(db: &Connection, event: &Event) -> Result<Acceptance> {
    let event_id = remembered_as(db, event)?;
    let counts = counts_of(db, event_id)?.unwrap_or_default();
    Ok(Acceptance { event_id, duplicate: true, counts, not_leased: Vec::new() })
}

/// What an event began with, if it is kept.
fn counts_of(db: &Connection, id: EventId) -> Result<Option<Counts>> {
    let mut statement = db.prepare_cached(
        "SELECT pending_count, held_count, suppressed_count FROM event WHERE sort_key = ? AND id = ?",
    )?;
    let mut rows = statement.query(params![id.sort_key(), id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(Counts { pending: row.get(0)?, held: row.get(1)?, suppressed: row.get(2)? }))
}
