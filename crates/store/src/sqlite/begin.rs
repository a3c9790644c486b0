//! How a new delivery begins: as was asked for, unless its channel's rate limit refuses it or it has to wait for another.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use tidings_domain::delivery::Status;
use tidings_domain::event::Event;
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{ChannelId, DeliveryId, EventId, Id, WorkspaceId};
use tidings_domain::time::Timestamp;

use super::admission::Admitting;
use super::insert::Arriving;
use super::row::{to_json, word};
use crate::Result;
use crate::queue::{Counts, InitialState, NewDelivery};

/// The columns of a delivery that say where it begins.
pub(super) struct Beginning {
    pub(super) status: Status,
    pub(super) reason: Option<&'static str>,
    pub(super) due_at: Option<i64>,
    pub(super) lease_owner: Option<i64>,
    pub(super) held_until: Option<i64>,
    pub(super) blocked_by_sort_key: Option<i64>,
    /// The walks, if they are others than the caller's.
    pub(super) gate_evaluations: Option<String>,
}

/// Those that begin otherwise than was asked for.
pub(super) type Changed = HashMap<DeliveryId, Beginning>;

impl Beginning {
    /// As was asked for.
    pub(super) fn asked(delivery: &NewDelivery, now: Timestamp) -> Self {
        match delivery.start {
            InitialState::Leased(lease) => {
                let (due_at, lease_owner) = (Some(lease.until.unix_ms()), Some(lease.owner));
                Self { due_at, lease_owner, ..Self::of(Status::Sending) }
            }
            InitialState::Due => Self { due_at: Some(now.unix_ms()), ..Self::of(Status::Pending) },
            InitialState::Held | InitialState::Suppressed => Self::stopped(&delivery.evaluation),
        }
    }

    const fn of(status: Status) -> Self {
        Self {
            status,
            reason: None,
            due_at: None,
            lease_owner: None,
            held_until: None,
            blocked_by_sort_key: None,
            gate_evaluations: None,
        }
    }

    /// Held or suppressed, as the evaluation says.
    fn stopped(evaluation: &GateEvaluation) -> Self {
        let held_until = evaluation.held().map(|(_, until)| until.unix_ms());
        let status = if held_until.is_some() { Status::Held } else { Status::Suppressed };
        Self { reason: stopped_by(evaluation), held_until, ..Self::of(status) }
    }
}

/// The reason id of the gate that stopped this evaluation.
pub(super) fn stopped_by(evaluation: &GateEvaluation) -> Option<&'static str> {
    evaluation.stopped.as_ref().map(|(gate, _)| gate.reason())
}

/// Whether its beginning can only be told within the commit.
pub(super) fn is_open(delivery: &NewDelivery) -> bool {
    let is_to_be_sent = matches!(delivery.start, InitialState::Leased(_) | InitialState::Due);
    is_to_be_sent && (delivery.rate_limit.is_some() || delivery.blocked_by.is_some())
}

/// Asks the rate limits, and looks after what goes before. Reads and writes nothing if none of these is open.
pub(super) fn decide(db: &Connection, arriving: &[Arriving<'_>]) -> Result<Changed> {
    let mut changed = Changed::new();
    if !arriving.iter().any(|it| is_open(it.delivery)) {
        return Ok(changed);
    }
    let mut admitting = Admitting::new(db);
    // Those of this very batch are not in the table yet.
    let mut begun: HashMap<DeliveryId, Status> = HashMap::new();
    for it in arriving {
        let (&Arriving { event, delivery, .. }, now) = (it, it.now());
        let asked = Beginning::asked(delivery, now);
        let mut begins = asked.status;
        if let Some(other) = begin(db, &mut admitting, &begun, event, delivery, now)? {
            begins = other.status;
            changed.insert(delivery.id, other);
        }
        begun.insert(delivery.id, begins);
    }
    admitting.keep()?;
    Ok(changed)
}

/// How one begins, if otherwise than was asked for.
fn begin(
    db: &Connection,
    admitting: &mut Admitting<'_>,
    begun: &HashMap<DeliveryId, Status>,
    event: &Event,
    delivery: &NewDelivery,
    now: Timestamp,
) -> Result<Option<Beginning>> {
    if !is_open(delivery) {
        return Ok(None);
    }
    if let Some(admission) = &delivery.rate_limit
        && let Some(refused) = admitting.ask(delivery.channel_id, admission, &delivery.evaluation, now)?
    {
        return Ok(Some(Beginning { gate_evaluations: Some(to_json(&[&refused])?), ..Beginning::stopped(&refused) }));
    }
    let Some(after) = delivery.blocked_by else { return Ok(None) };
    let waits_for = match begun.get(&after) {
        Some(status) if is_under_way(*status) => Some(after.sort_key()),
        _ => match last_under_way(db, event.workspace_id, delivery.channel_id, &event.run_id)? {
            Some((sort_key, _)) => Some(sort_key),
            None => waits_for(db, event.workspace_id, after)?,
        },
    };
    Ok(waits_for.map(|sort_key| Beginning { blocked_by_sort_key: Some(sort_key), ..Beginning::of(Status::Pending) }))
}

const fn is_under_way(status: Status) -> bool {
    matches!(status, Status::Pending | Status::Sending)
}

/// The sort key of the delivery whose end what comes after this one waits for, if there is one: itself, or the digest that
/// carries it. Nobody waits for what is held back otherwise.
pub(super) fn waits_for(db: &Connection, workspace_id: WorkspaceId, after: DeliveryId) -> Result<Option<i64>> {
    let mut statement = db.prepare_cached(
        "SELECT status, digest_sort_key FROM delivery WHERE sort_key = ? AND id = ? AND workspace_id = ?",
    )?;
    let mut rows = statement.query(params![after.sort_key(), after.as_bytes(), workspace_id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(match word(row, "status", Status::parse)? {
        status if is_under_way(status) => Some(after.sort_key()),
        Status::Held => row.get("digest_sort_key")?,
        _ => None,
    })
}

/// The last delivery of this incident through this channel that is under way, and that no other one waits for: the sort key
/// that is waited for (its own, or that of the digest that carries it), and its id. What was held back comes under way
/// later than what was made after it, so the order of ids does not tell.
pub(super) fn last_under_way(
    db: &Connection,
    workspace_id: WorkspaceId,
    channel_id: ChannelId,
    incident_id: &str,
) -> Result<Option<(i64, DeliveryId)>> {
    // The events of an incident are found by what they are recognised by, which begins with its id.
    let mut events = db.prepare_cached(
        "SELECT event_id FROM idempotency_key WHERE run_id = ? AND workspace_id = ? AND resource_type IN ('endpoint', 'alert')",
    )?;
    let mut deliveries = db.prepare_cached(
        "SELECT iif(d.status = 'held', d.digest_sort_key, d.sort_key), d.id FROM delivery d \
         WHERE d.event_sort_key = ? AND d.channel_id = ? AND d.workspace_id = ? \
         AND (d.status IN ('pending', 'sending') OR d.status = 'held' AND d.digest_sort_key IS NOT NULL) \
         AND NOT EXISTS (SELECT 1 FROM delivery w WHERE w.blocked_by_sort_key = d.sort_key) ORDER BY d.sort_key DESC LIMIT 1",
    )?;
    let mut last: Option<(i64, DeliveryId)> = None;
    let mut rows = events.query(params![incident_id, workspace_id.as_bytes()])?;
    while let Some(row) = rows.next()? {
        let event_id = EventId::from_bytes(row.get(0)?);
        let of_event = params![event_id.sort_key(), channel_id.as_bytes(), workspace_id.as_bytes()];
        let found =
            deliveries.query_row(of_event, |row| Ok((row.get(0)?, DeliveryId::from_bytes(row.get(1)?)))).optional()?;
        last = last.into_iter().chain(found).max_by_key(|(_, id)| id.sort_key());
    }
    Ok(last)
}

/// The incident of which this delivery tells, if it tells of one.
pub(super) fn incident_of(db: &Connection, workspace_id: WorkspaceId, id: DeliveryId) -> Result<Option<String>> {
    Ok(db
        .prepare_cached(
            "SELECT e.run_id FROM delivery d JOIN event e ON e.sort_key = d.event_sort_key \
             WHERE d.sort_key = ? AND d.id = ? AND d.workspace_id = ? AND e.resource_type IN ('endpoint', 'alert')",
        )?
        .query_row(params![id.sort_key(), id.as_bytes(), workspace_id.as_bytes()], |row| row.get(0))
        .optional()?)
}

/// How many of these begin where.
pub(super) fn counts<'a>(deliveries: impl IntoIterator<Item = &'a NewDelivery>, changed: &Changed) -> Counts {
    let mut counts = Counts::default();
    for delivery in deliveries {
        match (changed.get(&delivery.id).map(|begun| begun.status), delivery.start) {
            (Some(Status::Held), _) | (None, InitialState::Held) => counts.held += 1,
            (Some(Status::Suppressed), _) | (None, InitialState::Suppressed) => counts.suppressed += 1,
            _ => counts.pending += 1,
        }
    }
    counts
}
