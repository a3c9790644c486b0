//! Rows of events and deliveries, as they are first written.

use tidings_domain::delivery::Status;
use tidings_domain::event::Event;
use tidings_domain::id::{EventId, Id};
use tidings_domain::time::Timestamp;

use super::accept::Prepared;
use super::attempts;
use super::begin::{Beginning, Changed};
use super::db::{Binder, Db, Insert};
use super::row::Json;
use crate::Result;
use crate::queue::{Counts, InitialState, NewDelivery};

/// Events with what they began with.
pub(super) fn into_events() -> Insert {
    let into = "INSERT INTO event (sort_key, id, workspace_id, kind, resource_type, resource_id, run_id, trigger, received_at, \
         content, not_routed, pending_count, held_count, suppressed_count)";
    Insert { into, row: "(?,?,?,?,?,?,?,?,?,?,?,?,?,?)".into() }
}

/// Writes the events themselves.
pub(super) fn insert_events(db: &Db<'_>, events: &[(&Prepared, Counts)]) -> Result<()> {
    db.events.insert(events, |(prepared, counts), row| {
        let event = &*prepared.new_event.event;
        row.bind(&[
            &event.id.sort_key(),
            event.id.as_bytes(),
            event.workspace_id.as_bytes(),
            &event.kind.as_str(),
            &event.resource_type.as_str(),
            &event.resource_id,
            &event.run_id,
            &event.trigger.word(),
            &event.received_at.unix_ms(),
            &prepared.content(),
            &prepared.not_routed(),
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
    /// Its one evaluation, as JSON.
    pub(super) gate_evaluations: Json<'a>,
}

impl Arriving<'_> {
    /// When it begins: with its event, or long after that if it is said late.
    pub(super) fn now(&self) -> Timestamp {
        self.event.received_at.max(self.delivery.evaluation.evaluated_at)
    }
}

/// Leased deliveries of which there is nothing more to say are nearly all: what is the same for each of them stands in the
/// statement.
pub(super) fn into_leased() -> Insert {
    let into = "INSERT INTO delivery (sort_key, id, workspace_id, event_sort_key, rule_id, rule_generation, channel_id, \
         channel_type, severity, status, gate_evaluations, due_at, lease_owner, attempts)";
    let row = format!("(?,?,?,?,?,?,?,?,?,'{}',?,?,?,'{}')", Status::Sending.as_str(), attempts::ROOM);
    Insert { into, row }
}

/// Deliveries with all that there may be to say of them.
pub(super) fn into_deliveries() -> Insert {
    let into = "INSERT INTO delivery (sort_key, id, workspace_id, event_sort_key, rule_id, rule_generation, channel_id, \
         channel_type, severity, status, gate_evaluations, due_at, lease_owner, attempts, reason, completed_at, held_until, \
         blocked_by_sort_key, blocked_by_id, sequence, replaces_id)";
    Insert { into, row: "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)".into() }
}

/// Writes deliveries, each as it begins.
pub(super) fn insert_deliveries(db: &Db<'_>, arriving: &[Arriving<'_>], changed: &Changed) -> Result<()> {
    let leased = |it: &Arriving<'_>| is_just_leased(it.delivery);
    if changed.is_empty() && arriving.iter().all(leased) {
        db.leased.insert(arriving, |it, row| {
            let begun = Beginning::asked(it.delivery, it.now());
            bind_what_it_is(it, row)?;
            row.bind(&[&it.gate_evaluations, &begun.due_at, &begun.lease_owner])
        })?;
        return Ok(());
    }
    db.deliveries.insert(arriving, |it, row| {
        let asked = Beginning::asked(it.delivery, it.now());
        let begun = changed.get(&it.delivery.id).unwrap_or(&asked);
        let is_settled = begun.status.is_settled();
        bind_what_it_is(it, row)?;
        row.bind(&[
            &begun.status.as_str(),
            &begun.gate_evaluations.as_deref().map_or(it.gate_evaluations, Json::of),
            &begun.due_at,
            &begun.lease_owner,
            &if is_settled { "" } else { attempts::ROOM },
            &begun.reason,
            &is_settled.then_some(it.now().unix_ms()),
            &begun.held_until,
            &begun.blocked_by_sort_key,
            &it.delivery.blocked_by.as_ref().map(Id::as_bytes),
            &it.delivery.sequence,
            &it.delivery.replaces_id.as_ref().map(Id::as_bytes),
        ])
    })?;
    Ok(())
}

/// Whether [`into_leased`] says all that is to be said of it.
fn is_just_leased(delivery: &NewDelivery) -> bool {
    let is_leased = matches!(delivery.start, InitialState::Leased(_));
    is_leased && delivery.blocked_by.is_none() && delivery.sequence == 1 && delivery.replaces_id.is_none()
}

/// Binds the columns before its status.
fn bind_what_it_is(arriving: &Arriving<'_>, row: &mut Binder<'_, '_>) -> Result<()> {
    let Arriving { event, event_id, delivery, .. } = arriving;
    row.bind(&[
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
