//! The initial state of new deliveries: the requested one, unless the channel's rate limit refuses the delivery or
//! another one blocks it. Both can only be decided within the transaction that inserts it.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use tidings_domain::delivery::Status;
use tidings_domain::event::Event;
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{ChannelId, DeliveryId, EventId, Id, WorkspaceId};
use tidings_domain::time::Timestamp;

use super::insert::DeliveryRow;
use super::rate_limit::RateLimiter;
use super::row::{parsed, to_json};
use crate::Result;
use crate::queue::{Counts, InitialState, NewDelivery};

/// The columns of a delivery's initial state.
pub(super) struct InitialColumns {
    pub(super) status: Status,
    pub(super) reason: Option<&'static str>,
    pub(super) due_at: Option<i64>,
    pub(super) lease_owner: Option<i64>,
    pub(super) held_until: Option<i64>,
    pub(super) blocked_by_sort_key: Option<i64>,
    /// Set if they differ from those of the request.
    pub(super) gate_evaluations: Option<String>,
}

/// The deliveries whose initial state is not the requested one.
pub(super) type Overrides = HashMap<DeliveryId, InitialColumns>;

impl InitialColumns {
    /// The requested initial state.
    pub(super) fn requested(delivery: &NewDelivery, now: Timestamp) -> Self {
        match delivery.initial_state {
            InitialState::Leased(lease) => {
                let (due_at, lease_owner) = (Some(lease.until.unix_ms()), Some(lease.owner));
                Self { due_at, lease_owner, ..Self::with_status(Status::Sending) }
            }
            InitialState::Due => Self { due_at: Some(now.unix_ms()), ..Self::with_status(Status::Pending) },
            InitialState::Held | InitialState::Suppressed => Self::stopped(&delivery.evaluation),
        }
    }

    const fn with_status(status: Status) -> Self {
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

    /// Held or suppressed, according to the evaluation.
    fn stopped(evaluation: &GateEvaluation) -> Self {
        let held_until = evaluation.held().map(|(_, until)| until.unix_ms());
        let status = if held_until.is_some() { Status::Held } else { Status::Suppressed };
        Self { reason: stop_reason(evaluation), held_until, ..Self::with_status(status) }
    }
}

/// The reason id of the gate that stopped the evaluation.
pub(super) fn stop_reason(evaluation: &GateEvaluation) -> Option<&'static str> {
    evaluation.stopped.as_ref().map(|(gate, _)| gate.reason())
}

/// Whether the initial state depends on what is in the database.
fn needs_resolution(delivery: &NewDelivery) -> bool {
    let is_to_be_sent = matches!(delivery.initial_state, InitialState::Leased(_) | InitialState::Due);
    is_to_be_sent && (delivery.rate_limit.is_some() || delivery.blocked_by.is_some())
}

/// Applies rate limits and finds blocking deliveries, in the order of the rows. Costs nothing if no delivery needs it.
pub(super) fn resolve(db: &Connection, rows: &[DeliveryRow<'_>]) -> Result<Overrides> {
    let mut overrides = Overrides::new();
    if !rows.iter().any(|row| needs_resolution(row.delivery)) {
        return Ok(overrides);
    }
    let mut limiter = RateLimiter::new(db);
    // A delivery may be blocked by one of this batch, which is not in the table yet.
    let mut batch_statuses: HashMap<DeliveryId, Status> = HashMap::new();
    for row in rows {
        let (&DeliveryRow { event, delivery, .. }, now) = (row, row.now());
        let mut status = InitialColumns::requested(delivery, now).status;
        if let Some(columns) = resolve_one(db, &mut limiter, &batch_statuses, event, delivery, now)? {
            status = columns.status;
            overrides.insert(delivery.id, columns);
        }
        batch_statuses.insert(delivery.id, status);
    }
    limiter.persist()?;
    Ok(overrides)
}

/// The initial state, if it is not the requested one.
fn resolve_one(
    db: &Connection,
    limiter: &mut RateLimiter<'_>,
    batch_statuses: &HashMap<DeliveryId, Status>,
    event: &Event,
    delivery: &NewDelivery,
    now: Timestamp,
) -> Result<Option<InitialColumns>> {
    if !needs_resolution(delivery) {
        return Ok(None);
    }
    if let Some(request) = &delivery.rate_limit
        && let Some(refused) = limiter.admit(delivery.channel_id, request, &delivery.evaluation, now)?
    {
        let gate_evaluations = Some(to_json(&[&refused])?);
        return Ok(Some(InitialColumns { gate_evaluations, ..InitialColumns::stopped(&refused) }));
    }
    let Some(blocked_by) = delivery.blocked_by else { return Ok(None) };
    let blocking = match batch_statuses.get(&blocked_by) {
        Some(status) if is_in_progress(*status) => Some(blocked_by.sort_key()),
        // Not simply `blocked_by`: a held delivery of the incident may have been released since the caller looked, and
        // then comes after it in the chain.
        _ => match last_in_progress(db, event.workspace_id, delivery.channel_id, &event.run_id)? {
            Some((sort_key, _)) => Some(sort_key),
            None => blocking_sort_key(db, event.workspace_id, blocked_by)?,
        },
    };
    Ok(blocking.map(|sort_key| InitialColumns {
        blocked_by_sort_key: Some(sort_key),
        ..InitialColumns::with_status(Status::Pending)
    }))
}

const fn is_in_progress(status: Status) -> bool {
    matches!(status, Status::Pending | Status::Sending)
}

/// The sort key of the delivery whose settlement unblocks what comes after `blocked_by`: its own, or that of the digest
/// that it is a member of. `None` if it is settled, or held without a digest, which blocks nothing.
pub(super) fn blocking_sort_key(
    db: &Connection,
    workspace_id: WorkspaceId,
    blocked_by: DeliveryId,
) -> Result<Option<i64>> {
    let mut statement = db.prepare_cached(
        "SELECT status, digest_sort_key FROM delivery WHERE sort_key = ? AND id = ? AND workspace_id = ?",
    )?;
    let mut rows = statement.query(params![blocked_by.sort_key(), blocked_by.as_bytes(), workspace_id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(match parsed(row, "status", Status::parse)? {
        status if is_in_progress(status) => Some(blocked_by.sort_key()),
        Status::Held => row.get("digest_sort_key")?,
        _ => None,
    })
}

/// The end of the chain of this incident's deliveries through this channel: the last one in progress that blocks no
/// other. Returns the sort key that unblocks what comes after it (its own, or that of its digest) and its id.
///
/// The order of ids alone does not show it: a delivery that was held is queued behind those that were created after it.
pub(super) fn last_in_progress(
    db: &Connection,
    workspace_id: WorkspaceId,
    channel_id: ChannelId,
    incident_id: &str,
) -> Result<Option<(i64, DeliveryId)>> {
    // The primary key of `idempotency_key` begins with `run_id`, which for an incident's events is the incident's id.
    let mut events = db.prepare_cached(
        "SELECT event_id FROM idempotency_key WHERE run_id = ? AND workspace_id = ? \
         AND resource_type IN ('endpoint', 'alert')",
    )?;
    let mut deliveries = db.prepare_cached(
        "SELECT iif(d.status = 'held', d.digest_sort_key, d.sort_key), d.id FROM delivery d \
         WHERE d.event_sort_key = ? AND d.channel_id = ? AND d.workspace_id = ? \
         AND (d.status IN ('pending', 'sending') OR d.status = 'held' AND d.digest_sort_key IS NOT NULL) \
         AND NOT EXISTS (SELECT 1 FROM delivery w WHERE w.blocked_by_sort_key = d.sort_key) \
         ORDER BY d.sort_key DESC LIMIT 1",
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

/// The id of the incident that the delivery notifies of, if it does.
pub(super) fn incident_id_of(db: &Connection, workspace_id: WorkspaceId, id: DeliveryId) -> Result<Option<String>> {
    Ok(db
        .prepare_cached(
            "SELECT e.run_id FROM delivery d JOIN event e ON e.sort_key = d.event_sort_key \
             WHERE d.sort_key = ? AND d.id = ? AND d.workspace_id = ? AND e.resource_type IN ('endpoint', 'alert')",
        )?
        .query_row(params![id.sort_key(), id.as_bytes(), workspace_id.as_bytes()], |row| row.get(0))
        .optional()?)
}

pub(super) fn count_initial_states<'a>(
    deliveries: impl IntoIterator<Item = &'a NewDelivery>,
    overrides: &Overrides,
) -> Counts {
    let mut counts = Counts::default();
    for delivery in deliveries {
        match (overrides.get(&delivery.id).map(|columns| columns.status), delivery.initial_state) {
            (Some(Status::Held), _) | (None, InitialState::Held) => counts.held += 1,
            (Some(Status::Suppressed), _) | (None, InitialState::Suppressed) => counts.suppressed += 1,
            _ => counts.pending += 1,
        }
    }
    counts
}
