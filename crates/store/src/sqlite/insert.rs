//! Inserts of event and delivery rows.

use std::collections::BTreeMap;

use tidings_domain::delivery::Status;
use tidings_domain::event::Event;
use tidings_domain::id::{EventId, Id, MuteId, WorkspaceId};
use tidings_domain::time::Timestamp;

use super::accept::EncodedEvent;
use super::activity;
use super::attempts;
use super::db::{Binder, Db, InsertSql};
use super::index::mark_stale;
use super::initial_state::{InitialColumns, Overrides};
use super::row::Json;
use crate::Result;
use crate::queue::{Counts, InitialState, NewDelivery};

pub(super) fn event_insert() -> InsertSql {
    let into = "INSERT INTO event (sort_key, id, workspace_id, kind, resource_type, resource_id, run_id, trigger, \
         received_at, content, not_routed, pending_count, held_count, suppressed_count, fingerprint)";
    InsertSql { into, row: "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)".into() }
}

/// Inserts events with the final counts of their deliveries.
pub(super) fn insert_events(db: &Db<'_>, events: &[(&EncodedEvent, Counts)]) -> Result<()> {
    events.iter().for_each(|(encoded, _)| db.notes.event(&encoded.new_event.event));
    db.events.insert(events, |(encoded, counts), row| {
        let event = &*encoded.new_event.event;
        row.bind(&[
            &event.id.sort_key(),
            event.id.as_bytes(),
            event.workspace_id.as_bytes(),
            &event.kind.as_str(),
            &event.resource_type.as_str(),
            &event.resource_id,
            &event.run_id,
            &event.trigger.wire_name(),
            &event.received_at.unix_ms(),
            &encoded.content(),
            &encoded.not_routed(),
            &counts.pending,
            &counts.held,
            &counts.suppressed,
            &encoded.new_event.fingerprint,
        ])
    })?;
    for (encoded, _) in events {
        let EncodedEvent { new_event, .. } = encoded;
        mark_if_indexed(db, new_event.event.workspace_id, new_event.event.id.sort_key())?;
    }
    Ok(())
}

/// Ids are made before the rows are inserted, and clocks may be set back: what is inserted into a range that is indexed
/// already would be missing in lists.
fn mark_if_indexed(db: &Db<'_>, workspace_id: WorkspaceId, sort_key: i64) -> Result<()> {
    if sort_key <= db.indexed_until.get() {
        mark_stale(db, workspace_id, sort_key)?;
    }
    Ok(())
}

/// A delivery to insert.
pub(super) struct DeliveryRow<'a> {
    pub(super) event: &'a Event,
    /// The id under which the event is stored, which for a deferred opening is that of an earlier event.
    pub(super) event_id: EventId,
    pub(super) delivery: &'a NewDelivery,
    /// Its one evaluation, as a JSON list.
    pub(super) gate_evaluations: Json<'a>,
    /// Its own content, if it is that of an event accepted earlier.
    pub(super) content: Option<Json<'a>>,
}

impl DeliveryRow<'_> {
    /// When it is created: with its event, or long after that if it is a deferred opening.
    pub(super) fn now(&self) -> Timestamp {
        self.event.received_at.max(self.delivery.evaluation.evaluated_at)
    }
}

/// The insert for nearly all deliveries: leased, with defaults in all other columns. Constants are part of the
/// statement, which saves binding them for each row.
pub(super) fn leased_delivery_insert() -> InsertSql {
    let into = "INSERT INTO delivery (sort_key, id, workspace_id, event_sort_key, rule_id, rule_generation, \
         channel_id, channel_type, severity, status, gate_evaluations, due_at, lease_owner, attempts)";
    let row = format!("(?,?,?,?,?,?,?,?,?,'{}',?,?,?,'{}')", Status::Sending.as_str(), attempts::PADDING);
    InsertSql { into, row }
}

/// The insert for any delivery.
pub(super) fn delivery_insert() -> InsertSql {
    let into = "INSERT INTO delivery (sort_key, id, workspace_id, event_sort_key, rule_id, rule_generation, \
         channel_id, channel_type, severity, status, gate_evaluations, due_at, lease_owner, attempts, reason, \
         completed_at, held_until, blocked_by_id, sequence, replaces_id, content)";
    InsertSql { into, row: "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)".into() }
}

/// Inserts deliveries in their initial states.
pub(super) fn insert_deliveries(db: &Db<'_>, rows: &[DeliveryRow<'_>], overrides: &Overrides) -> Result<()> {
    if overrides.is_empty() && rows.iter().all(|row| fits_leased_insert(row.delivery)) {
        db.leased_deliveries.insert(rows, |row, binder| {
            let columns = InitialColumns::requested(row.delivery, row.now());
            bind_identity(row, binder)?;
            binder.bind(&[&row.gate_evaluations, &columns.due_at, &columns.lease_owner])
        })?;
        return Ok(());
    }
    db.deliveries.insert(rows, |row, binder| {
        let requested = InitialColumns::requested(row.delivery, row.now());
        let columns = overrides.get(&row.delivery.id).unwrap_or(&requested);
        let is_settled = columns.status.is_settled();
        db.notes.settled(row.event.workspace_id, columns.status, row.now(), 1);
        bind_identity(row, binder)?;
        binder.bind(&[
            &columns.status.as_str(),
            &columns.gate_evaluations.as_deref().map_or(row.gate_evaluations, Json::new),
            &columns.due_at,
            &columns.lease_owner,
            // A settled delivery will have no attempt to reserve space for.
            &if is_settled { "" } else { attempts::PADDING },
            &columns.reason,
            &is_settled.then_some(row.now().unix_ms()),
            &columns.held_until,
            &columns.blocked_by.as_ref().map(Id::as_bytes),
            &row.delivery.sequence,
            &row.delivery.replaces_id.as_ref().map(Id::as_bytes),
            &row.content,
        ])
    })?;
    for row in rows.iter().filter(|row| row.delivery.sequence > 1) {
        mark_if_indexed(db, row.event.workspace_id, row.delivery.id.sort_key())?;
    }
    count_stopped_by_mutes(db, rows)
}

/// One statement for each mute that suppressed any of the deliveries.
fn count_stopped_by_mutes(db: &Db<'_>, rows: &[DeliveryRow<'_>]) -> Result<()> {
    let mut stopped: BTreeMap<(WorkspaceId, MuteId), usize> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.delivery.initial_state == InitialState::Suppressed) {
        if let Some(id) = row.delivery.evaluation.stopped.as_ref().and_then(|(_, refusal)| refusal.mute_id) {
            *stopped.entry((row.event.workspace_id, id)).or_default() += 1;
        }
    }
    stopped.into_iter().try_for_each(|((workspace_id, id), count)| activity::count_stopped(db, workspace_id, id, count))
}

/// Whether [`leased_delivery_insert`] covers the delivery.
fn fits_leased_insert(delivery: &NewDelivery) -> bool {
    let is_leased = matches!(delivery.initial_state, InitialState::Leased(_));
    is_leased && delivery.sequence == 1 && delivery.replaces_id.is_none()
}

/// Binds the columns that both inserts begin with, up to `severity`.
fn bind_identity(row: &DeliveryRow<'_>, binder: &mut Binder<'_, '_>) -> Result<()> {
    let DeliveryRow { event, event_id, delivery, .. } = row;
    binder.bind(&[
        &delivery.id.sort_key(),
        delivery.id.as_bytes(),
        event.workspace_id.as_bytes(),
        &event_id.sort_key(),
        &delivery.rule_id.as_ref().map(Id::as_bytes),
        &delivery.rule_generation,
        delivery.channel_id.as_bytes(),
        &delivery.channel_type.as_str(),
        &delivery.severity.as_str(),
    ])
}
