//! Settle: record an attempt and the state it leads to. Also channel tests, which are inserted already settled.

use std::sync::Arc;

use rusqlite::{Connection, params};
use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{Id, MuteId, WorkspaceId};
use tidings_domain::time::Timestamp;

use super::accept::EncodedEvent;
use super::db::Db;
use super::initial_state::stop_reason;
use super::insert::insert_events;
use super::row::{corrupt, to_json};
use super::{activity, attempts, chain, follow_ups};
use crate::Result;
use crate::error::StoreError;
use crate::queue::{Attempt, Counts, FollowUps, NewEvent, NextState, Settled, Settlement, TestRecord};

pub(super) fn settle(db: &Db<'_>, settlement: &Settlement) -> Result<Settled> {
    // The attempt becomes the row's attempt count, which fences the next settlement: it must be the next number.
    if let Some(attempt) = settlement.attempt.as_ref().filter(|it| it.number != settlement.attempt_count + 1) {
        return Err(corrupt("attempt number", attempt.number));
    }
    let is_digest = settlement.follow_ups == FollowUps::Digest;
    let (status, due_at) = match &settlement.next {
        NextState::RetryAt(at) => (Status::Pending, Some(retry_at(db, settlement, *at)?)),
        NextState::Done(status) if status.is_resendable() => (*status, None),
        NextState::Done(status) => return Err(corrupt("settled status", status)),
        NextState::Suppressed(_) | NextState::Outdated(_) => (Status::Suppressed, None),
        // Its members are held instead: see `follow_ups`.
        NextState::Held(_) if is_digest => (Status::Suppressed, None),
        NextState::Held(_) => (Status::Held, None),
        NextState::Skipped(_) => (Status::Skipped, None),
        NextState::GivenUp(_) => (Status::Failed, None),
    };
    let stop = StopColumns::from_next(&settlement.next)?;
    let own_stop = stop.as_ref().map(|stop| stop.with_status(status));
    let is_first_sent = follow_ups::is_first_sent(db, settlement, status)?;
    // Fenced and written first: a stale settlement must have no follow-ups.
    if !update(db, settlement, status, due_at)? {
        return Ok(Settled::Stale);
    }
    db.notes.settled(settlement.workspace_id, status, settlement.now, 1);
    if let Some(stop) = &own_stop {
        update_stop(db, settlement, stop)?;
        stop.count_stopped(db, settlement.workspace_id, 1)?;
    }
    follow_ups::apply(db, settlement, status, stop.as_ref(), is_first_sent)?;
    Ok(Settled::Written)
}

/// When a delivery that waits for a retry is due. After an expedited attempt, which uses up no retry, that is when the
/// retry was due that it preceded.
fn retry_at(db: &Db<'_>, settlement: &Settlement, at: Timestamp) -> Result<i64> {
    let is_expedited = settlement.attempt.as_ref().is_some_and(|attempt| attempt.trigger == AttemptTrigger::NewerEvent);
    let preceded = if is_expedited { chain::retry_at(db, settlement.delivery_id.sort_key())? } else { None };
    Ok(preceded.unwrap_or(0).max(at.unix_ms()))
}

/// The columns of a delivery that is suppressed, held, skipped or given up.
#[derive(Clone)]
pub(super) struct StopColumns {
    pub(super) status: Status,
    pub(super) reason: &'static str,
    pub(super) held_until: Option<i64>,
    /// The evaluation that stopped it, as JSON; `None` if it was skipped.
    pub(super) evaluation: Option<String>,
    /// The last error, of a delivery that was given up.
    pub(super) error: Option<&'static str>,
    /// The mute that stopped it.
    mute_id: Option<MuteId>,
}

impl StopColumns {
    const fn without_gate(status: Status, reason: &'static str, error: Option<&'static str>) -> Self {
        Self { status, reason, held_until: None, evaluation: None, error, mute_id: None }
    }

    /// The same with another status; only a held delivery has an instant.
    fn with_status(&self, status: Status) -> Self {
        Self { status, held_until: self.held_until.filter(|_| status == Status::Held), ..self.clone() }
    }

    /// Counts deliveries that it suppressed for the mute that did so, if it was one.
    pub(super) fn count_stopped(&self, db: &Connection, workspace_id: WorkspaceId, stopped: usize) -> Result<()> {
        match self.mute_id.filter(|_| self.status == Status::Suppressed && stopped > 0) {
            Some(id) => activity::count_stopped(db, workspace_id, id, stopped),
            None => Ok(()),
        }
    }

    /// `None` if the next state is another.
    pub(super) fn from_next(next: &NextState) -> Result<Option<Self>> {
        let by_gate = |evaluation: &GateEvaluation, status, held_until| {
            let reason = stop_reason(evaluation).ok_or_else(|| corrupt("evaluation that stops", evaluation))?;
            let mute_id = evaluation.stopped.as_ref().and_then(|(_, refusal)| refusal.mute_id);
            Ok(Some(Self { status, reason, held_until, evaluation: Some(to_json(evaluation)?), error: None, mute_id }))
        };
        match next {
            NextState::RetryAt(_) | NextState::Done(_) => Ok(None),
            NextState::Suppressed(evaluation) => by_gate(evaluation, Status::Suppressed, None),
            NextState::Held(evaluation) => {
                let (_, until) = evaluation.held().ok_or_else(|| corrupt("evaluation that holds", evaluation))?;
                by_gate(evaluation, Status::Held, Some(until.unix_ms()))
            }
            NextState::Skipped(reason) => Ok(Some(Self::without_gate(Status::Skipped, reason.as_str(), None))),
            NextState::Outdated(reason) => Ok(Some(Self::without_gate(Status::Suppressed, reason.as_str(), None))),
            NextState::GivenUp(reason) => {
                Ok(Some(Self::without_gate(Status::Failed, reason.as_str(), Some(reason.describe()))))
            }
        }
    }
}

/// The settlement of nearly all deliveries: sent with the first attempt. Constants are part of the statement, which
/// saves binding them, and the general statement's lookup in the cache.
pub(super) const FIRST_SENT: &str = "UPDATE delivery SET status = 'sent', due_at = NULL, lease_owner = NULL, \
     attempt_state = NULL, attempt_count = 1, attempt_trigger = 'scheduled', attempts = ?1, http_status = ?2, \
     last_error = NULL, sent_at = ?3, completed_at = ?3 \
     WHERE sort_key = ?4 AND id = ?5 AND workspace_id = ?6 AND lease_owner = ?7 AND attempt_count = 0";

/// The attempt, if [`FIRST_SENT`] covers the settlement.
fn first_sent(settlement: &Settlement) -> Option<&Attempt> {
    let is_sent = settlement.next == NextState::Done(Status::Sent) && settlement.attempt_state.is_none();
    settlement.attempt.as_ref().filter(|attempt| is_sent && attempt.number == 1 && attempt.error.is_none())
}

/// Writes the state and the attempt, if lease owner and attempt count are still the same, and returns whether they
/// were. The count fences a second settlement by the same owner, who may have claimed the delivery again meanwhile.
///
/// `reason` is not reset: a leased delivery has none.
fn update(db: &Db<'_>, settlement: &Settlement, status: Status, due_at: Option<i64>) -> Result<bool> {
    let now = settlement.now.unix_ms();
    let completed_at = status.is_settled().then_some(now);
    let (sort_key, id) = (settlement.delivery_id.sort_key(), settlement.delivery_id.as_bytes());
    let workspace_id = settlement.workspace_id.as_bytes();
    let (owner, count) = (settlement.owner, settlement.attempt_count);
    if let Some(attempt) = first_sent(settlement) {
        let text = attempts::encode_first(attempt)?;
        let changed =
            db.settle_first_sent.execute(params![text, attempt.http_status, now, sort_key, id, workspace_id, owner])?;
        return Ok(changed == 1);
    }
    let changed = match &settlement.attempt {
        Some(attempt) => {
            // The first attempt replaces the padding, later ones are appended.
            let is_first = attempt.number == 1;
            let text = if is_first { attempts::encode_first(attempt)? } else { attempts::encode(attempt)? };
            db.prepare_cached(
                "UPDATE delivery SET status = ?, due_at = ?, lease_owner = NULL, attempt_state = ?, \
                 attempt_base = attempt_base + (attempt_trigger = 'newer_event'), \
                 attempt_count = ?, attempt_trigger = 'scheduled', \
                 attempts = iif(?, '', attempts) || ?, http_status = ?, last_error = ?, \
                 sent_at = coalesce(?, sent_at), completed_at = ? \
                 WHERE sort_key = ? AND id = ? AND workspace_id = ? AND lease_owner = ? AND attempt_count = ?",
            )?
            .execute(params![
                status.as_str(),
                due_at,
                settlement.attempt_state,
                attempt.number,
                is_first,
                text,
                attempt.http_status,
                attempt.error,
                (status == Status::Sent).then_some(now),
                completed_at,
                sort_key,
                id,
                workspace_id,
                owner,
                count,
            ])?
        }
        None => db
            .prepare_cached(
                "UPDATE delivery SET status = ?, due_at = ?, lease_owner = NULL, attempt_state = ?, completed_at = ?, \
                 attempt_trigger = iif(? AND attempt_trigger = 'newer_event', 'scheduled', attempt_trigger) \
                 WHERE sort_key = ? AND id = ? AND workspace_id = ? AND lease_owner = ? AND attempt_count = ?",
            )?
            .execute(params![
                status.as_str(),
                due_at,
                settlement.attempt_state,
                completed_at,
                // Held, it leaves the chain whose head it was.
                status != Status::Pending,
                sort_key,
                id,
                workspace_id,
                owner,
                count,
            ])?,
    };
    Ok(changed == 1)
}

fn update_stop(db: &Connection, settlement: &Settlement, stop: &StopColumns) -> Result<()> {
    db.prepare_cached(
        "UPDATE delivery SET reason = ?1, held_until = ?2, last_error = coalesce(?7, last_error), \
         gate_evaluations = iif(?3 IS NULL, gate_evaluations, json_insert(gate_evaluations, '$[#]', json(?3))) \
         WHERE sort_key = ?4 AND id = ?5 AND workspace_id = ?6",
    )?
    .execute(params![
        stop.reason,
        stop.held_until,
        stop.evaluation,
        settlement.delivery_id.sort_key(),
        settlement.delivery_id.as_bytes(),
        settlement.workspace_id.as_bytes(),
        stop.error,
    ])?;
    Ok(())
}

pub(super) fn record_test(db: &Db<'_>, test: &TestRecord) -> Result<()> {
    let event = &*test.event;
    if !test.status.is_resendable() {
        return Err(corrupt("test status", test.status));
    }
    let new_event =
        NewEvent { event: Arc::clone(&test.event), fingerprint: None, not_routed: Vec::new(), deliveries: Vec::new() };
    insert_events(db, &[(&EncodedEvent::new(new_event)?, Counts::default())])?;
    let now = event.received_at.unix_ms();
    let ok = test.status == Status::Sent;
    // No idempotency key: every test is a new event.
    db.prepare_cached(
        "INSERT INTO delivery (sort_key, id, workspace_id, event_sort_key, rule_id, rule_generation, channel_id, \
         channel_type, severity, status, gate_evaluations, attempt_count, attempts, http_status, last_error, sent_at, \
         completed_at) \
         VALUES (?, ?, ?, ?, ?, 0, ?, ?, 'info', ?, '[]', 1, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        test.delivery_id.sort_key(),
        test.delivery_id.as_bytes(),
        event.workspace_id.as_bytes(),
        event.id.sort_key(),
        test.rule_id.as_ref().map(Id::as_bytes),
        test.channel_id.as_bytes(),
        test.channel_type.as_str(),
        test.status.as_str(),
        attempts::encode(&test.attempt)?,
        test.attempt.http_status,
        test.attempt.error,
        ok.then_some(now),
        now,
    ])?;
    let changed = db
        .prepare_cached(
            "UPDATE channel SET is_connected = ?1, last_tested_at = ?2, \
             last_success_at = CASE WHEN ?1 THEN ?2 ELSE last_success_at END, \
             last_failure_at = CASE WHEN ?1 THEN last_failure_at ELSE ?2 END WHERE workspace_id = ?3 AND id = ?4",
        )?
        .execute(params![ok, now, event.workspace_id.as_bytes(), test.channel_id.as_bytes()])?;
    if changed == 0 {
        return Err(StoreError::NotFound);
    }
    db.prepare_cached("UPDATE workspace SET version = version + 1 WHERE id = ?")?
        .execute([event.workspace_id.as_bytes()])?;
    Ok(())
}
