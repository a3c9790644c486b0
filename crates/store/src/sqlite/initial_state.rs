//! The initial state of new deliveries: the requested one, unless the channel's rate limit refuses the delivery or
//! it is not the head of its chain. Both can only be decided within the transaction that inserts it.

use std::collections::HashMap;

use rusqlite::Connection;
use tidings_domain::delivery::Status;
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::DeliveryId;
use tidings_domain::time::Timestamp;

use super::chain::{self, Joined, Link};
use super::insert::DeliveryRow;
use super::rate_limit::RateLimiter;
use super::row::to_json;
use crate::Result;
use crate::queue::{Counts, InitialState, NewDelivery};

/// The columns of a delivery's initial state.
pub(super) struct InitialColumns {
    pub(super) status: Status,
    pub(super) reason: Option<&'static str>,
    pub(super) due_at: Option<i64>,
    pub(super) lease_owner: Option<i64>,
    pub(super) held_until: Option<i64>,
    /// The delivery before it in its chain.
    pub(super) blocked_by: Option<DeliveryId>,
    /// When the head of its chain is attempted earlier than it would be.
    pub(super) expedited_at: Option<Timestamp>,
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
            blocked_by: None,
            expedited_at: None,
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
fn needs_resolution(row: &DeliveryRow<'_>) -> bool {
    let is_to_be_sent = matches!(row.delivery.initial_state, InitialState::Leased(_) | InitialState::Due);
    is_to_be_sent && (row.delivery.rate_limit.is_some() || row.event.kind.is_incident())
}

/// Applies rate limits and appends deliveries to their chains, in the order of the rows. Costs nothing if no delivery
/// needs it.
pub(super) fn resolve(db: &Connection, rows: &[DeliveryRow<'_>]) -> Result<Overrides> {
    let mut overrides = Overrides::new();
    let mut limiter = RateLimiter::new(db);
    for row in rows.iter().filter(|row| needs_resolution(row)) {
        if let Some(columns) = resolve_one(db, &mut limiter, row)? {
            overrides.insert(row.delivery.id, columns);
        }
    }
    limiter.persist()?;
    Ok(overrides)
}

/// The initial state, if it is not the requested one.
fn resolve_one(
    db: &Connection,
    limiter: &mut RateLimiter<'_>,
    row: &DeliveryRow<'_>,
) -> Result<Option<InitialColumns>> {
    let (&DeliveryRow { event, delivery, .. }, now) = (row, row.now());
    if let Some(request) = &delivery.rate_limit
        && let Some(refused) = limiter.admit(delivery.channel_id, request, &delivery.evaluation, now)?
    {
        let gate_evaluations = Some(to_json(&[&refused])?);
        return Ok(Some(InitialColumns { gate_evaluations, ..InitialColumns::stopped(&refused) }));
    }
    let Some(subject) = chain::subject_of_event(event) else { return Ok(None) };
    let link = Link { channel_id: delivery.channel_id, delivery_id: delivery.id, is_released: false, now };
    let Joined { blocked_by, expedited_at } = chain::join(db, link, &[subject])?;
    Ok(blocked_by.map(|blocked_by| InitialColumns {
        blocked_by: Some(blocked_by),
        expedited_at,
        ..InitialColumns::with_status(Status::Pending)
    }))
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
