//! Accept: an event and all of its deliveries, once.

use rusqlite::{Connection, params};
use tidings_domain::delivery::Status;
use tidings_domain::event::Event;
use tidings_domain::gate::Walk;
use tidings_domain::id::{EventId, Id};
use tidings_domain::routing::NotRouted;

use super::attempts;
use super::row::to_json;
use crate::Result;
use crate::queue::{Acceptance, Counts, Incoming, NewDelivery, Start};

pub(super) fn accept(db: &Connection, batch: &[Incoming]) -> Result<Vec<Acceptance>> {
    batch.iter().map(|incoming| accept_one(db, incoming)).collect()
}

fn accept_one(db: &Connection, incoming: &Incoming) -> Result<Acceptance> {
    let event = &*incoming.event;
    if !remember(db, event)? {
        return first_time(db, event);
    }
    let counts = counts(&incoming.deliveries);
    insert_event(db, event, &incoming.not_routed, counts)?;
    for delivery in &incoming.deliveries {
        insert_delivery(db, event, delivery)?;
    }
    Ok(Acceptance { event_id: event.id, duplicate: false, counts })
}

/// Keeps what the event is recognised by; false if it was there.
fn remember(db: &Connection, event: &Event) -> Result<bool> {
    let inserted = db
        .prepare_cached(
            "INSERT INTO event_key (workspace_id, resource_type, resource_id, run_id, trigger, event_id) \
             VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            event.workspace_id.as_bytes(),
            event.resource_type.as_str(),
            event.resource_id,
            event.run_id,
            event.trigger.as_str(),
            event.id.as_bytes(),
        ])?;
    Ok(inserted == 1)
}

/// The answer that the event got the first time.
fn first_time(db: &Connection, event: &Event) -> Result<Acceptance> {
    let (event_id, counts) = db
        .prepare_cached(
            "SELECT k.event_id, e.pending_count, e.held_count, e.suppressed_count \
             FROM event_key k LEFT JOIN event e ON e.workspace_id = k.workspace_id AND e.id = k.event_id \
             WHERE k.workspace_id = ? AND k.resource_type = ? AND k.resource_id = ? AND k.run_id = ? AND k.trigger = ?",
        )?
        .query_row(
            params![
                event.workspace_id.as_bytes(),
                event.resource_type.as_str(),
                event.resource_id,
                event.run_id,
                event.trigger.as_str(),
            ],
            |row| {
                let count = |index| row.get::<_, Option<u32>>(index).map(Option::unwrap_or_default);
                let counts = Counts { pending: count(1)?, held: count(2)?, suppressed: count(3)? };
                Ok((row.get::<_, [u8; 16]>(0)?, counts))
            },
        )?;
    Ok(Acceptance { event_id: EventId::from_bytes(event_id), duplicate: true, counts })
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

pub(super) fn insert_event(db: &Connection, event: &Event, not_routed: &[NotRouted], counts: Counts) -> Result<()> {
    let not_routed = if not_routed.is_empty() { None } else { Some(to_json(&not_routed)?) };
    db.prepare_cached(
        "INSERT INTO event (workspace_id, id, kind, resource_type, resource_id, run_id, trigger, received_at, run, \
         not_routed, pending_count, held_count, suppressed_count) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        event.workspace_id.as_bytes(),
        event.id.as_bytes(),
        event.kind.as_str(),
        event.resource_type.as_str(),
        event.resource_id,
        event.run_id,
        event.trigger.as_str(),
        event.received_at.unix_ms(),
        to_json(&event.run)?,
        not_routed,
        counts.pending,
        counts.held,
        counts.suppressed,
    ])?;
    Ok(())
}

fn insert_delivery(db: &Connection, event: &Event, delivery: &NewDelivery) -> Result<()> {
    let now = event.received_at.unix_ms();
    let (status, due_at, lease_owner) = match delivery.start {
        Start::Leased(lease) => (Status::Sending, Some(lease.until.unix_ms()), Some(lease.owner)),
        Start::Due => (Status::Pending, Some(now), None),
        Start::Suppressed => (Status::Suppressed, None, None),
    };
    db.prepare_cached(
        "INSERT INTO delivery (workspace_id, id, event_id, rule_id, rule_generation, channel_id, channel_type, \
         severity, status, suppressed_reason, walks, due_at, lease_owner, completed_at, attempts) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        event.workspace_id.as_bytes(),
        delivery.id.as_bytes(),
        event.id.as_bytes(),
        delivery.rule_id.as_bytes(),
        delivery.rule_generation,
        delivery.channel_id.as_bytes(),
        delivery.channel_type.as_str(),
        delivery.severity.as_str(),
        status.as_str(),
        stopped_by(&delivery.walk),
        to_json(&[&delivery.walk])?,
        due_at,
        lease_owner,
        status.is_settled().then_some(now),
        if status.is_settled() { "" } else { attempts::ROOM },
    ])?;
    Ok(())
}

/// The reason id of the gate that stopped this walk.
pub(super) fn stopped_by(walk: &Walk) -> Option<&'static str> {
    walk.stopped.as_ref().map(|(gate, _)| gate.as_str())
}
