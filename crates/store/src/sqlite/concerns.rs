//! What else the end of a delivery concerns: its incident, what waits for it, what a digest carries.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use tidings_domain::delivery::Status;
use tidings_domain::event::EventKind;
use tidings_domain::id::{Id, IncidentId, WorkspaceId};
use tidings_domain::time::Timestamp;

use super::settle::Stopped;
use crate::Result;
use crate::queue::{FollowUps, Settlement};

/// Whether an incident is to count this one: it will be sent now, and never was. To be asked before it is written.
pub(super) fn is_first_sent(db: &Connection, settlement: &Settlement, status: Status) -> Result<bool> {
    if status != Status::Sent || !matches!(settlement.follow_ups, FollowUps::Incident(_)) {
        return Ok(false);
    }
    let (sort_key, id) = (settlement.delivery_id.sort_key(), settlement.delivery_id.as_bytes());
    let never: u32 = db
        .prepare_cached("SELECT count(*) FROM delivery WHERE sort_key = ? AND id = ? AND sent_at IS NULL")?
        .query_row(params![sort_key, id], |row| row.get(0))?;
    Ok(never == 1)
}

/// Does what follows from a settlement that counted.
pub(super) fn follow(
    db: &Connection,
    settlement: &Settlement,
    status: Status,
    stopped: Option<&Stopped>,
    is_first_sent: bool,
) -> Result<()> {
    let (sort_key, now) = (settlement.delivery_id.sort_key(), settlement.now);
    match settlement.follow_ups {
        FollowUps::None => return Ok(()),
        FollowUps::Incident(id) if is_first_sent => count(db, settlement.workspace_id, id, 1)?,
        FollowUps::Incident(_) => {}
        FollowUps::Digest if status.is_settled() => settle_carried(db, sort_key, now, status, stopped)?,
        FollowUps::Digest => {}
    }
    // Nobody waits for what is held back: that may take all night.
    if status.is_settled() || status == Status::Held { free(db, sort_key, now) } else { Ok(()) }
}

/// Makes due what waited for the delivery of this sort key.
pub(super) fn free(db: &Connection, sort_key: i64, now: Timestamp) -> Result<()> {
    db.prepare_cached("UPDATE delivery SET due_at = ?, blocked_by_sort_key = NULL WHERE blocked_by_sort_key = ?")?
        .execute(params![now.unix_ms(), sort_key])?;
    Ok(())
}

/// What a digest carries ends as it does. What failed with it before and was not resent by itself does so again, when
/// the digest is sent again by hand.
pub(super) fn settle_carried(
    db: &Connection,
    sort_key: i64,
    now: Timestamp,
    status: Status,
    stopped: Option<&Stopped>,
) -> Result<()> {
    if status == Status::Sent {
        count_carried(db, sort_key)?;
    }
    db.prepare_cached(
        "UPDATE delivery SET status = ?1, reason = ?2, held_until = NULL, completed_at = ?3, \
         sent_at = iif(?1 = 'sent', ?3, sent_at), \
         gate_evaluations = iif(?4 IS NULL, gate_evaluations, json_insert(gate_evaluations, '$[#]', json(?4))) \
         WHERE digest_sort_key = ?5 AND status IN ('held', 'failed')",
    )?
    .execute(params![
        status.as_str(),
        stopped.map(|stopped| stopped.reason),
        now.unix_ms(),
        stopped.and_then(|stopped| stopped.evaluation.as_ref()),
        sort_key,
    ])?;
    Ok(())
}

/// Counts what is sent for the first time with this digest, each for its incident.
fn count_carried(db: &Connection, sort_key: i64) -> Result<()> {
    let kinds = EventKind::ALL.into_iter().filter(|kind| kind.is_of_incident());
    let kinds: Vec<_> = kinds.map(|kind| format!("'{}'", kind.as_str())).collect();
    let mut statement = db.prepare_cached(&format!(
        "SELECT e.workspace_id, e.run_id FROM delivery d CROSS JOIN event e ON e.sort_key = d.event_sort_key \
         WHERE d.digest_sort_key = ? AND d.status IN ('held', 'failed') AND d.sent_at IS NULL AND e.kind IN ({})",
        kinds.join(", ")
    ))?;
    let mut rows = statement.query([sort_key])?;
    let mut sent = BTreeMap::new();
    while let Some(row) = rows.next()? {
        if let Ok(incident_id) = row.get_ref("run_id")?.as_str().unwrap_or_default().parse::<IncidentId>() {
            let workspace_id = WorkspaceId::from_bytes(row.get("workspace_id")?);
            *sent.entry((workspace_id, incident_id)).or_default() += 1;
        }
    }
    sent.into_iter().try_for_each(|((workspace_id, id), sent)| count(db, workspace_id, id, sent))
}

fn count(db: &Connection, workspace_id: WorkspaceId, id: IncidentId, sent: u32) -> Result<()> {
    db.prepare_cached(
        "UPDATE incident SET notifications_sent = notifications_sent + ? WHERE sort_key = ? AND id = ? AND workspace_id = ?",
    )?
    .execute(params![sent, id.sort_key(), id.as_bytes(), workspace_id.as_bytes()])?;
    Ok(())
}
