//! Settle: an attempt and the state it leads to, in one write; and tests, which are settled as they are made.

use std::sync::Arc;

use rusqlite::{Connection, params};
use tidings_domain::delivery::Status;
use tidings_domain::gate::Walk;
use tidings_domain::id::Id;

use super::accept::{Prepared, insert_events, stopped_by};
use super::attempts;
use super::row::{corrupt, to_json};
use crate::Result;
use crate::error::StoreError;
use crate::queue::{Incoming, NextState, Settled, Settlement, TestRecord};

pub(super) fn settle(db: &Connection, settlement: &Settlement) -> Result<Settled> {
    if let Some(attempt) = settlement.attempt.as_ref().filter(|it| it.number != settlement.attempt_count + 1) {
        return Err(corrupt("attempt number", attempt.number));
    }
    let written = match &settlement.next {
        NextState::RetryAt(at) => write(db, settlement, Status::Pending, Some(at.unix_ms()), None)?,
        NextState::Done(status) if status.is_resendable() => write(db, settlement, *status, None, None)?,
        NextState::Done(status) => return Err(corrupt("settled status", status)),
        NextState::Suppressed(walk) => {
            let written = write(db, settlement, Status::Suppressed, None, stopped_by(walk))?;
            if written {
                append_walk(db, settlement, walk)?;
            }
            written
        }
        NextState::Skipped(reason) => write(db, settlement, Status::Skipped, None, Some(reason.as_str()))?,
    };
    Ok(if written { Settled::Written } else { Settled::Stale })
}

/// Writes the state and the attempt that led to it, if the lease still holds; whether it did.
fn write(
    db: &Connection,
    settlement: &Settlement,
    status: Status,
    due_at: Option<i64>,
    reason: Option<&'static str>,
) -> Result<bool> {
    let now = settlement.now.unix_ms();
    let completed_at = status.is_settled().then_some(now);
    let (rank, id) = (settlement.delivery_id.rank(), settlement.delivery_id.as_bytes());
    let workspace_id = settlement.workspace_id.as_bytes();
    let (owner, count) = (settlement.owner, settlement.attempt_count);
    let changed = match &settlement.attempt {
        Some(attempt) => {
            let is_first = attempt.number == 1;
            let text = if is_first { attempts::first_to_text(attempt)? } else { attempts::to_text(attempt)? };
            db.prepare_cached(
                "UPDATE delivery SET status = ?, due_at = ?, lease_owner = NULL, suppressed_reason = ?, carry = ?, \
                 attempt_count = ?, attempt_trigger = 'scheduled', \
                 attempts = iif(?, '', attempts) || ?, http_status = ?, last_error = ?, \
                 sent_at = coalesce(?, sent_at), completed_at = ? \
                 WHERE rank = ? AND id = ? AND workspace_id = ? AND lease_owner = ? AND attempt_count = ?",
            )?
            .execute(params![
                status.as_str(),
                due_at,
                reason,
                settlement.carry,
                attempt.number,
                is_first,
                text,
                attempt.http_status,
                attempt.error,
                (status == Status::Sent).then_some(now),
                completed_at,
                rank,
                id,
                workspace_id,
                owner,
                count,
            ])?
        }
        None => db
            .prepare_cached(
                "UPDATE delivery SET status = ?, due_at = ?, lease_owner = NULL, suppressed_reason = ?, carry = ?, \
                 completed_at = ? WHERE rank = ? AND id = ? AND workspace_id = ? AND lease_owner = ? AND attempt_count = ?",
            )?
            .execute(params![
                status.as_str(),
                due_at,
                reason,
                settlement.carry,
                completed_at,
                rank,
                id,
                workspace_id,
                owner,
                count,
            ])?,
    };
    Ok(changed == 1)
}

fn append_walk(db: &Connection, settlement: &Settlement, walk: &Walk) -> Result<()> {
    db.prepare_cached(
        "UPDATE delivery SET walks = json_insert(walks, '$[#]', json(?)) \
         WHERE rank = ? AND id = ? AND workspace_id = ?",
    )?
    .execute(params![
        to_json(walk)?,
        settlement.delivery_id.rank(),
        settlement.delivery_id.as_bytes(),
        settlement.workspace_id.as_bytes()
    ])?;
    Ok(())
}

pub(super) fn record_test(db: &Connection, test: &TestRecord) -> Result<()> {
    let event = &*test.event;
    if !test.status.is_resendable() {
        return Err(corrupt("test status", test.status));
    }
    let incoming = Incoming { event: Arc::clone(&test.event), not_routed: Vec::new(), deliveries: Vec::new() };
    insert_events(db, &[&Prepared::new(incoming)?])?;
    let now = event.received_at.unix_ms();
    let ok = test.status == Status::Sent;
    db.prepare_cached(
        "INSERT INTO delivery (rank, id, workspace_id, event_rank, rule_id, rule_generation, channel_id, channel_type, \
         severity, status, walks, attempt_count, attempts, http_status, last_error, sent_at, completed_at) \
         VALUES (?, ?, ?, ?, ?, 0, ?, ?, 'info', ?, '[]', 1, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        test.delivery_id.rank(),
        test.delivery_id.as_bytes(),
        event.workspace_id.as_bytes(),
        event.id.rank(),
        test.rule_id.as_ref().map(Id::as_bytes),
        test.channel_id.as_bytes(),
        test.channel_type.as_str(),
        test.status.as_str(),
        attempts::to_text(&test.attempt)?,
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
