//! How a new delivery begins: as was asked for, unless its channel's rate limit refuses it or it has to wait for another.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use tidings_domain::delivery::Status;
use tidings_domain::event::Event;
use tidings_domain::gate::Walk;
use tidings_domain::id::{ChannelId, DeliveryId, EventId, Id, WorkspaceId};
use tidings_domain::time::Timestamp;

use super::admission::Admitting;
use super::insert::Arriving;
use super::row::{to_json, word};
use crate::Result;
use crate::queue::{Counts, NewDelivery, Start};

/// The columns of a delivery that say where it begins.
pub(super) struct Beginning {
    pub(super) status: Status,
    pub(super) reason: Option<&'static str>,
    pub(super) due_at: Option<i64>,
    pub(super) lease_owner: Option<i64>,
    pub(super) held_until: Option<i64>,
    pub(super) after_rank: Option<i64>,
    /// The walks, if they are others than the caller's.
    pub(super) walks: Option<String>,
}

/// Those that begin otherwise than was asked for.
pub(super) type Changed = HashMap<DeliveryId, Beginning>;

impl Beginning {
    /// As was asked for.
    pub(super) fn asked(delivery: &NewDelivery, now: Timestamp) -> Self {
        match delivery.start {
            Start::Leased(lease) => {
                let (due_at, lease_owner) = (Some(lease.until.unix_ms()), Some(lease.owner));
                Self { due_at, lease_owner, ..Self::of(Status::Sending) }
            }
            Start::Due => Self { due_at: Some(now.unix_ms()), ..Self::of(Status::Pending) },
            Start::Held | Start::Suppressed => Self::stopped(&delivery.walk),
        }
    }

    const fn of(status: Status) -> Self {
        Self { status, reason: None, due_at: None, lease_owner: None, held_until: None, after_rank: None, walks: None }
    }

    /// Held or suppressed, as the walk says.
    fn stopped(walk: &Walk) -> Self {
        let held_until = walk.held().map(|(_, until)| until.unix_ms());
        let status = if held_until.is_some() { Status::Held } else { Status::Suppressed };
        Self { reason: stopped_by(walk), held_until, ..Self::of(status) }
    }
}

/// The reason id of the gate that stopped this walk.
pub(super) fn stopped_by(walk: &Walk) -> Option<&'static str> {
    walk.stopped.as_ref().map(|(gate, _)| gate.reason())
}

/// Whether its beginning can only be told within the commit.
pub(super) fn is_open(delivery: &NewDelivery) -> bool {
    let is_to_be_sent = matches!(delivery.start, Start::Leased(_) | Start::Due);
    is_to_be_sent && (delivery.admission.is_some() || delivery.after.is_some())
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
    if let Some(admission) = &delivery.admission
        && let Some(refused) = admitting.ask(delivery.channel_id, admission, &delivery.walk, now)?
    {
        return Ok(Some(Beginning { walks: Some(to_json(&[&refused])?), ..Beginning::stopped(&refused) }));
    }
    let Some(after) = delivery.after else { return Ok(None) };
    let waits_for = match begun.get(&after) {
        Some(status) if is_under_way(*status) => Some(after.rank()),
        _ => match last_under_way(db, event.workspace_id, delivery.channel_id, &event.run_id)? {
            Some((rank, _)) => Some(rank),
            None => waits_for(db, event.workspace_id, after)?,
        },
    };
    Ok(waits_for.map(|rank| Beginning { after_rank: Some(rank), ..Beginning::of(Status::Pending) }))
}

const fn is_under_way(status: Status) -> bool {
    matches!(status, Status::Pending | Status::Sending)
}

/// The rank of the delivery whose end what comes after this one waits for, if there is one: itself, or the digest that
/// carries it. Nobody waits for what is held back otherwise.
pub(super) fn waits_for(db: &Connection, workspace_id: WorkspaceId, after: DeliveryId) -> Result<Option<i64>> {
    let mut statement =
        db.prepare_cached("SELECT status, digest_rank FROM delivery WHERE rank = ? AND id = ? AND workspace_id = ?")?;
    let mut rows = statement.query(params![after.rank(), after.as_bytes(), workspace_id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(match word(row, "status", Status::parse)? {
        status if is_under_way(status) => Some(after.rank()),
        Status::Held => row.get("digest_rank")?,
        _ => None,
    })
}

/// The last delivery of this incident through this channel that is under way, and that no other one waits for: the rank
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
        "SELECT event_id FROM event_key WHERE run_id = ? AND workspace_id = ? AND resource_type IN ('endpoint', 'alert')",
    )?;
    let mut deliveries = db.prepare_cached(
        "SELECT iif(d.status = 'held', d.digest_rank, d.rank), d.id FROM delivery d \
         WHERE d.event_rank = ? AND d.channel_id = ? AND d.workspace_id = ? \
         AND (d.status IN ('pending', 'sending') OR d.status = 'held' AND d.digest_rank IS NOT NULL) \
         AND NOT EXISTS (SELECT 1 FROM delivery w WHERE w.after_rank = d.rank) ORDER BY d.rank DESC LIMIT 1",
    )?;
    let mut last: Option<(i64, DeliveryId)> = None;
    let mut rows = events.query(params![incident_id, workspace_id.as_bytes()])?;
    while let Some(row) = rows.next()? {
        let event_id = EventId::from_bytes(row.get(0)?);
        let of_event = params![event_id.rank(), channel_id.as_bytes(), workspace_id.as_bytes()];
        let found =
            deliveries.query_row(of_event, |row| Ok((row.get(0)?, DeliveryId::from_bytes(row.get(1)?)))).optional()?;
        last = last.into_iter().chain(found).max_by_key(|(_, id)| id.rank());
    }
    Ok(last)
}

/// The incident of which this delivery tells, if it tells of one.
pub(super) fn incident_of(db: &Connection, workspace_id: WorkspaceId, id: DeliveryId) -> Result<Option<String>> {
    Ok(db
        .prepare_cached(
            "SELECT e.run_id FROM delivery d JOIN event e ON e.rank = d.event_rank \
             WHERE d.rank = ? AND d.id = ? AND d.workspace_id = ? AND e.resource_type IN ('endpoint', 'alert')",
        )?
        .query_row(params![id.rank(), id.as_bytes(), workspace_id.as_bytes()], |row| row.get(0))
        .optional()?)
}

/// How many of these begin where.
pub(super) fn counts<'a>(deliveries: impl IntoIterator<Item = &'a NewDelivery>, changed: &Changed) -> Counts {
    let mut counts = Counts::default();
    for delivery in deliveries {
        match (changed.get(&delivery.id).map(|begun| begun.status), delivery.start) {
            (Some(Status::Held), _) | (None, Start::Held) => counts.held += 1,
            (Some(Status::Suppressed), _) | (None, Start::Suppressed) => counts.suppressed += 1,
            _ => counts.pending += 1,
        }
    }
    counts
}
