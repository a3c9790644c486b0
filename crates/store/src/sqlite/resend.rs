//! Resend: make settled deliveries due again by hand, one of them or the failed ones of a channel.

use rusqlite::{Connection, OptionalExtension as _, params};
use tidings_domain::audit::AuditEntry;
use tidings_domain::delivery::Status;
use tidings_domain::id::{ChannelId, Id, WorkspaceId};
use tidings_domain::time::Timestamp;

use super::accounts::audit;
use super::index::mark_deliveries_stale;
use super::row::parsed;
use crate::Result;
use crate::error::StoreError;
use crate::queue::Resend;

pub(super) fn resend(db: &Connection, resend: &Resend, entry: Option<&AuditEntry>) -> Result<()> {
    let (sort_key, id) = (resend.delivery_id.sort_key(), resend.delivery_id.as_bytes());
    let (status, is_test) = db
        .prepare_cached(
            "SELECT d.status, e.kind = 'channel_test' AS is_test \
             FROM delivery d JOIN event e ON e.sort_key = d.event_sort_key \
             WHERE d.sort_key = ? AND d.id = ? AND d.workspace_id = ?",
        )?
        .query_row(params![sort_key, id, resend.workspace_id.as_bytes()], |row| {
            Ok((parsed(row, "status", Status::parse), row.get("is_test")?))
        })
        .optional()?
        .ok_or(StoreError::NotFound)?;
    // A delivery in progress is not made due a second time, and a suppressed or skipped one was not sent on purpose.
    if is_test || !status?.is_resendable() {
        return Err(StoreError::Conflict);
    }
    db.prepare_cached(MAKE_DUE)?.execute(params![resend.now.unix_ms(), resend.rule_generation, sort_key])?;
    mark_deliveries_stale(db, &[sort_key])?;
    entry.map_or(Ok(()), |entry| audit::record_of(db, resend.workspace_id, entry))
}

/// The retry policy starts over (`attempt_base`), attempts keep counting. A member of a digest leaves it, so that the
/// digest no longer settles it; `digest_id` stays for the history.
const MAKE_DUE: &str = "UPDATE delivery SET status = 'pending', reason = NULL, due_at = ?1, rule_generation = ?2, \
     attempt_base = attempt_count, attempt_trigger = 'resend', completed_at = NULL, \
     digest_sort_key = NULL WHERE sort_key = ?3";

/// Failed deliveries of enabled rules, without tests. CROSS JOIN fixes the order: through the partial index of failed
/// ones.
const FAILED: &str = "FROM delivery d \
     CROSS JOIN rule r ON r.workspace_id = d.workspace_id AND r.id = d.rule_id AND r.enabled AND NOT r.paused \
     CROSS JOIN event e ON e.sort_key = d.event_sort_key AND e.kind <> 'channel_test' \
     WHERE d.status = 'failed' AND d.workspace_id = ? AND d.channel_id = ? AND d.completed_at >= ?";

pub(super) fn count_failed(
    db: &Connection,
    workspace_id: WorkspaceId,
    channel_id: ChannelId,
    since: Timestamp,
) -> Result<u64> {
    let count: u32 = db
        .prepare_cached(&format!("SELECT count(*) {FAILED}"))?
        .query_row(params![workspace_id.as_bytes(), channel_id.as_bytes(), since.unix_ms()], |row| row.get(0))?;
    Ok(count.into())
}

pub(super) fn recover(
    db: &Connection,
    workspace_id: WorkspaceId,
    channel_id: ChannelId,
    since: Timestamp,
    now: Timestamp,
    limit: u32,
    entry: Option<&AuditEntry>,
) -> Result<u64> {
    let chosen: Vec<(i64, u32)> = db
        .prepare_cached(&format!("SELECT d.sort_key, r.generation {FAILED} ORDER BY d.completed_at LIMIT ?"))?
        .query_map(params![workspace_id.as_bytes(), channel_id.as_bytes(), since.unix_ms(), limit], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut update = db.prepare_cached(MAKE_DUE)?;
    for (sort_key, generation) in &chosen {
        update.execute(params![now.unix_ms(), generation, sort_key])?;
        mark_deliveries_stale(db, &[*sort_key])?;
    }
    if let Some(entry) = entry.filter(|_| !chosen.is_empty()) {
        audit::record_of(db, workspace_id, entry)?;
    }
    Ok(chosen.len() as u64)
}
