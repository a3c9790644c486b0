//! Settle: an attempt and the state it leads to, in one write; and tests, which are settled as they are made.

use rusqlite::{Connection, params};
use tidings_domain::delivery::Status;
use tidings_domain::gate::Walk;
use tidings_domain::id::{DeliveryId, Id, WorkspaceId};

use super::accept::{insert_event, stopped_by};
use super::row::{corrupt, to_json};
use crate::Result;
use crate::error::StoreError;
use crate::queue::{Attempt, Counts, NextState, Settled, Settlement, TestRecord};

pub(super) fn settle(db: &Connection, settlement: &Settlement) -> Result<Settled> {
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
        NextState::Skipped => write(db, settlement, Status::Skipped, None, Some("rule_disabled"))?,
    };
    if !written {
        return Ok(Settled::Stale);
    }
    if let Some(attempt) = &settlement.attempt {
        insert_attempt(db, settlement.workspace_id, settlement.delivery_id, attempt)?;
    }
    Ok(Settled::Written)
}

fn write(
    db: &Connection,
    settlement: &Settlement,
    status: Status,
    due_at: Option<i64>,
    reason: Option<&'static str>,
) -> Result<bool> {
    let now = settlement.now.unix_ms();
    let attempt = settlement.attempt.as_ref();
    let changed = db
        .prepare_cached(
            "UPDATE delivery SET status = ?1, due_at = ?2, lease_owner = NULL, suppressed_reason = ?3, carry = ?4, \
             attempt_count = attempt_count + ?5, http_status = CASE WHEN ?5 THEN ?6 ELSE http_status END, \
             last_error = CASE WHEN ?5 THEN ?7 ELSE last_error END, sent_at = CASE WHEN ?8 THEN ?9 ELSE sent_at END, \
             completed_at = ?10, attempt_trigger = CASE WHEN ?5 THEN 'scheduled' ELSE attempt_trigger END \
             WHERE workspace_id = ?11 AND id = ?12 AND lease_owner = ?13 AND attempt_count = ?14",
        )?
        .execute(params![
            status.as_str(),
            due_at,
            reason,
            settlement.carry,
            u32::from(attempt.is_some()),
            attempt.and_then(|attempt| attempt.http_status),
            attempt.and_then(|attempt| attempt.error.as_deref()),
            status == Status::Sent,
            now,
            status.is_settled().then_some(now),
            settlement.workspace_id.as_bytes(),
            settlement.delivery_id.as_bytes(),
            settlement.owner,
            settlement.attempt_count,
        ])?;
    Ok(changed == 1)
}

fn append_walk(db: &Connection, settlement: &Settlement, walk: &Walk) -> Result<()> {
    db.prepare_cached(
        "UPDATE delivery SET walks = json_insert(walks, '$[#]', json(?)) WHERE workspace_id = ? AND id = ?",
    )?
    .execute(params![to_json(walk)?, settlement.workspace_id.as_bytes(), settlement.delivery_id.as_bytes()])?;
    Ok(())
}

fn insert_attempt(db: &Connection, workspace_id: WorkspaceId, id: DeliveryId, attempt: &Attempt) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO attempt (workspace_id, delivery_id, number, trigger, started_at, duration_ms, http_status, \
         error_class, error, response_body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        workspace_id.as_bytes(),
        id.as_bytes(),
        attempt.number,
        attempt.trigger.as_str(),
        attempt.started_at.unix_ms(),
        attempt.duration_ms,
        attempt.http_status,
        attempt.error_class,
        attempt.error,
        attempt.response_body,
    ])?;
    Ok(())
}

pub(super) fn record_test(db: &Connection, test: &TestRecord) -> Result<()> {
    let event = &*test.event;
    if !test.status.is_resendable() {
        return Err(corrupt("test status", test.status));
    }
    insert_event(db, event, &[], Counts::default())?;
    let now = event.received_at.unix_ms();
    let ok = test.status == Status::Sent;
    db.prepare_cached(
        "INSERT INTO delivery (workspace_id, id, event_id, rule_id, rule_generation, channel_id, channel_type, \
         severity, status, walks, attempt_count, http_status, last_error, sent_at, completed_at) \
         VALUES (?, ?, ?, ?, 0, ?, ?, 'info', ?, '[]', 1, ?, ?, ?, ?)",
    )?
    .execute(params![
        event.workspace_id.as_bytes(),
        test.delivery_id.as_bytes(),
        event.id.as_bytes(),
        test.rule_id.as_ref().map(Id::as_bytes),
        test.channel_id.as_bytes(),
        test.channel_type.as_str(),
        test.status.as_str(),
        test.attempt.http_status,
        test.attempt.error,
        ok.then_some(now),
        now,
    ])?;
    insert_attempt(db, event.workspace_id, test.delivery_id, &test.attempt)?;
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
