//! Accept: insert events with all of their deliveries, each event once.
//!
//! The events of all callers in a batch are written together, in statements of many rows.

use std::collections::HashSet;

use rusqlite::{Connection, params};
use tidings_domain::event::Event;
use tidings_domain::id::{ChannelId, DeliveryId, EventId, Id};
use tidings_domain::time::Timestamp;

use super::db::{Db, InsertSql};
use super::initial_state::{Overrides, count_initial_states, resolve};
use super::insert::{DeliveryRow, insert_deliveries, insert_events};
use super::row::{Json, JsonBuffer, corrupt};
use crate::Result;
use crate::queue::{Acceptance, Counts, InitialState, NewDelivery, NewEvent};

/// Enough for the JSON columns of nearly every event with its deliveries.
const JSON_BYTES: usize = 1024;

/// An event with its JSON columns encoded. The caller does that, so that the single writer thread need not.
pub(super) struct EncodedEvent {
    pub(super) new_event: NewEvent,
    /// The content, the gate evaluations of each delivery and, unless it is empty, `not_routed`.
    json: JsonBuffer,
    /// Of the requested initial states.
    counts: Counts,
}

impl EncodedEvent {
    pub(super) fn new(new_event: NewEvent) -> Result<Self> {
        let lacks_instant = |delivery: &&NewDelivery| {
            delivery.initial_state == InitialState::Held && delivery.evaluation.held().is_none()
        };
        if let Some(delivery) = new_event.deliveries.iter().find(lacks_instant) {
            return Err(corrupt("evaluation of a held delivery", delivery.id));
        }
        let NewEvent { event, not_routed, deliveries, .. } = &new_event;
        let mut json = JsonBuffer::with_capacity(2 + deliveries.len(), JSON_BYTES);
        json.push(&event.content)?;
        deliveries.iter().try_for_each(|delivery| json.push(&[&delivery.evaluation]))?;
        if !not_routed.is_empty() {
            json.push(not_routed)?;
        }
        let counts = count_initial_states(deliveries, &Overrides::new());
        Ok(Self { new_event, json, counts })
    }

    pub(super) fn content(&self) -> Option<Json<'_>> {
        self.json.iter().next()
    }

    pub(super) fn not_routed(&self) -> Option<Json<'_>> {
        self.json.iter().nth(1 + self.new_event.deliveries.len())
    }

    /// The rows of its deliveries, for the event that is stored under `event_id`.
    fn delivery_rows(&self, event_id: EventId) -> impl Iterator<Item = DeliveryRow<'_>> {
        let event = &*self.new_event.event;
        let with_evaluations = self.new_event.deliveries.iter().zip(self.json.iter().skip(1));
        with_evaluations.map(move |(delivery, gate_evaluations)| DeliveryRow {
            event,
            event_id,
            delivery,
            gate_evaluations,
            content: None,
        })
    }

    fn expedited(&self, overrides: &Overrides) -> Vec<(ChannelId, Timestamp)> {
        let expedited = |delivery: &NewDelivery| {
            Some((delivery.channel_id, overrides.get(&delivery.id).and_then(|columns| columns.expedited_at)?))
        };
        if overrides.is_empty() { Vec::new() } else { self.new_event.deliveries.iter().filter_map(expedited).collect() }
    }

    fn not_leased(&self, overrides: &Overrides) -> Vec<DeliveryId> {
        let ids = self.new_event.deliveries.iter().map(|delivery| delivery.id);
        if overrides.is_empty() { Vec::new() } else { ids.filter(|id| overrides.contains_key(id)).collect() }
    }
}

/// Accepts all events or none. A duplicate changes nothing.
pub(super) fn accept(db: &Db<'_>, batch: &[&EncodedEvent]) -> Result<Vec<Acceptance>> {
    // Inserting the keys first and checking the number of inserted rows makes the common batch, without duplicates,
    // one statement. Only if some key existed are they read one by one.
    let is_new =
        if insert_idempotency_keys(db, batch)? { vec![true; batch.len()] } else { split_duplicates(db, batch)? };
    let new = || batch.iter().zip(&is_new).filter(|(_, is_new)| **is_new).map(|(encoded, _)| *encoded);
    let rows: Vec<_> = new().flat_map(|encoded| encoded.delivery_rows(encoded.new_event.event.id)).collect();
    let overrides = resolve(db, &rows)?;
    let counts = |encoded: &EncodedEvent| match overrides.is_empty() {
        true => encoded.counts,
        false => count_initial_states(&encoded.new_event.deliveries, &overrides),
    };
    insert_events(db, &new().map(|encoded| (encoded, counts(encoded))).collect::<Vec<_>>())?;
    insert_deliveries(db, &rows, &overrides)?;
    // After the inserts, because the event that a duplicate repeats may be in this very batch.
    let answer = |(encoded, is_new): (&&EncodedEvent, &bool)| match is_new {
        true => Ok(Acceptance {
            event_id: encoded.new_event.event.id,
            duplicate: false,
            differs: false,
            counts: counts(encoded),
            not_leased: encoded.not_leased(&overrides),
            expedited: encoded.expedited(&overrides),
        }),
        false => original_acceptance(db, &encoded.new_event),
    };
    batch.iter().zip(&is_new).map(answer).collect()
}

/// Accepts all events or none. A duplicate gets those of its deliveries that are deferred notifications (a sequence after
/// the first) and were not inserted before; those that were are reported as not leased.
pub(super) fn accept_with_deferred(db: &Db<'_>, batch: &[&EncodedEvent]) -> Result<Vec<Acceptance>> {
    let mut acceptances = accept(db, batch)?;
    for (encoded, acceptance) in batch.iter().zip(&mut acceptances).filter(|(_, acceptance)| acceptance.duplicate) {
        let mut rows = Vec::new();
        for row in encoded.delivery_rows(acceptance.event_id).filter(|row| row.delivery.sequence > 1) {
            if exists(db, &row)? {
                acceptance.not_leased.push(row.delivery.id);
            } else {
                rows.push(DeliveryRow { content: encoded.content(), ..row });
            }
        }
        let overrides = resolve(db, &rows)?;
        insert_deliveries(db, &rows, &overrides)?;
        acceptance.not_leased.extend(encoded.not_leased(&overrides));
        acceptance.expedited.extend(encoded.expedited(&overrides));
    }
    Ok(acceptances)
}

/// Whether the event has a delivery of this sequence for this rule (or, without a rule, through this channel).
fn exists(db: &Connection, row: &DeliveryRow<'_>) -> Result<bool> {
    let delivery = row.delivery;
    let count: u32 = db
        .prepare_cached(
            "SELECT count(*) FROM delivery WHERE event_sort_key = ?1 AND workspace_id = ?2 AND sequence = ?3 \
             AND rule_id IS ?4 AND (?4 IS NOT NULL OR channel_id = ?5)",
        )?
        .query_row(
            params![
                row.event_id.sort_key(),
                row.event.workspace_id.as_bytes(),
                delivery.sequence,
                delivery.rule_id.as_ref().map(Id::as_bytes),
                delivery.channel_id.as_bytes(),
            ],
            |row| row.get(0),
        )?;
    Ok(count > 0)
}

/// Which events are new, after [`insert_idempotency_keys`] inserted the missing keys: those whose key names their own id. Two more
/// checks are needed because a caller may repeat an event with the same id, in this batch (`seen`) or in a later one.
fn split_duplicates(db: &Connection, batch: &[&EncodedEvent]) -> Result<Vec<bool>> {
    let mut seen = HashSet::new();
    let mut is_new = Vec::with_capacity(batch.len());
    for encoded in batch {
        let event = &*encoded.new_event.event;
        let is_first = recorded_event_id(db, event)? == event.id && seen.insert(event.id);
        is_new.push(is_first && stored_event(db, event.id)?.is_none());
    }
    Ok(is_new)
}

/// Inserts idempotency keys. `OR IGNORE` leaves an existing key with the id of the first event.
pub(super) fn idempotency_key_insert() -> InsertSql {
    let into =
        "INSERT OR IGNORE INTO idempotency_key (run_id, resource_id, workspace_id, resource_type, trigger, event_id)";
    InsertSql { into, row: "(?,?,?,?,?,?)".into() }
}

/// Inserts the events' idempotency keys, and returns whether all of them were new.
fn insert_idempotency_keys(db: &Db<'_>, batch: &[&EncodedEvent]) -> Result<bool> {
    let inserted = db.idempotency_keys.insert(batch, |encoded, row| {
        let event = &*encoded.new_event.event;
        row.bind(&[
            &event.run_id,
            &event.resource_id,
            event.workspace_id.as_bytes(),
            &event.resource_type.as_str(),
            &event.trigger.wire_name(),
            event.id.as_bytes(),
        ])
    })?;
    Ok(inserted == batch.len())
}

const KEY_MATCH: &str =
    "k.run_id = ? AND k.resource_id = ? AND k.workspace_id = ? AND k.resource_type = ? AND k.trigger = ?";

/// The id of the first event with this event's idempotency key.
fn recorded_event_id(db: &Connection, event: &Event) -> Result<EventId> {
    Ok(db.prepare_cached(&format!("SELECT k.event_id FROM idempotency_key k WHERE {KEY_MATCH}"))?.query_row(
        params![
            event.run_id,
            event.resource_id,
            event.workspace_id.as_bytes(),
            event.resource_type.as_str(),
            event.trigger.wire_name(),
        ],
        |row| row.get(0).map(EventId::from_bytes),
    )?)
}

/// The answer to a duplicate: that of the first event.
fn original_acceptance(db: &Connection, repeated: &NewEvent) -> Result<Acceptance> {
    let event_id = recorded_event_id(db, &repeated.event)?;
    let (counts, fingerprint) = stored_event(db, event_id)?.unwrap_or_default();
    let differs = fingerprint.zip(repeated.fingerprint).is_some_and(|(first, this)| first != this);
    Ok(Acceptance { event_id, duplicate: true, differs, counts, not_leased: Vec::new(), expedited: Vec::new() })
}

/// The counts and the fingerprint stored with an event; `None` if there is no such event.
fn stored_event(db: &Connection, id: EventId) -> Result<Option<(Counts, Option<i64>)>> {
    let mut statement = db.prepare_cached(
        "SELECT pending_count, held_count, suppressed_count, fingerprint FROM event WHERE sort_key = ? AND id = ?",
    )?;
    let mut rows = statement.query(params![id.sort_key(), id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some((Counts { pending: row.get(0)?, held: row.get(1)?, suppressed: row.get(2)? }, row.get(3)?)))
}
