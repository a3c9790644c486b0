//! Claim: lease due deliveries, return leases, reclaim those of dead nodes.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::id::{ChannelId, DeliveryId, Id, WorkspaceId};
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

use super::db::Db;
use super::row::{DELIVERY_EVENT_COLUMNS, event, id, instant, optional_id, parsed};
use super::{chain, follow_ups};
use crate::Result;
use crate::error::StoreError;
use crate::queue::{Claimed, Due, Lease, LeaseRef};

pub(super) fn claim(db: &Db<'_>, now: Timestamp, lease: Lease, wanted: &[(ChannelId, u32)]) -> Result<Vec<Claimed>> {
    let mut claimed = Vec::new();
    for &(channel_id, slots) in wanted {
        let first = claimed.len();
        let unreadable = due_of_channel(db, channel_id, now, slots, lease, &mut claimed)?;
        // No condition on the old state is needed: this is the writer's transaction, so nothing changed since the
        // select.
        let mut update = db
            .prepare_cached("UPDATE delivery SET status = 'sending', due_at = ?, lease_owner = ? WHERE sort_key = ?")?;
        for delivery in &claimed[first..] {
            update.execute(params![lease.until.unix_ms(), lease.owner, delivery.id.sort_key()])?;
        }
        fail_unreadable(db, &unreadable, now)?;
    }
    Ok(claimed)
}

/// A delivery whose row cannot be decoded, or whose event is missing.
pub(super) struct Unreadable {
    pub(super) workspace_id: WorkspaceId,
    pub(super) id: DeliveryId,
    pub(super) cause: String,
}

/// Appends due deliveries of a channel to `claimed`, and returns those that cannot be decoded.
fn due_of_channel(
    db: &Connection,
    channel_id: ChannelId,
    now: Timestamp,
    slots: u32,
    lease: Lease,
    claimed: &mut Vec<Claimed>,
) -> Result<Vec<Unreadable>> {
    // An expired lease is due like a retry: `due_at` of a leased row is the end of its lease. A LEFT JOIN, so that a
    // delivery without its event is found and settled instead of being skipped for ever.
    let sql = format!(
        "SELECT d.workspace_id AS tenant, d.id, d.rule_id, d.rule_generation, d.severity, d.due_at, \
         d.attempt_count, \
         d.attempt_base, d.attempt_trigger, d.attempt_state, d.channel_type, {DELIVERY_EVENT_COLUMNS} \
         FROM delivery d LEFT JOIN event e ON e.sort_key = d.event_sort_key \
         WHERE d.channel_id = ? AND d.due_at <= ? ORDER BY d.due_at, d.lease_owner, d.sort_key LIMIT ?"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params![channel_id.as_bytes(), now.unix_ms(), slots])?;
    let mut unreadable = Vec::new();
    while let Some(row) = rows.next()? {
        match read(row, channel_id, lease) {
            Ok(delivery) => claimed.push(delivery),
            Err(StoreError::Corrupt(cause)) => {
                unreadable.push(Unreadable { workspace_id: id(row, "tenant")?, id: id(row, "id")?, cause });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(unreadable)
}

/// Settles unreadable deliveries as failed. Otherwise they would stay due for ever, and occupy the claims of their
/// channel.
pub(super) fn fail_unreadable(db: &Db<'_>, unreadable: &[Unreadable], now: Timestamp) -> Result<()> {
    unreadable.iter().try_for_each(|delivery| fail_one(db, delivery, now))
}

fn fail_one(db: &Db<'_>, delivery: &Unreadable, now: Timestamp) -> Result<()> {
    let Unreadable { workspace_id, id, cause } = delivery;
    tracing::error!(delivery = %id, workspace = %workspace_id, cause, "failed to decode a delivery, marking it failed");
    db.execute(
        "UPDATE delivery SET status = 'failed', due_at = NULL, lease_owner = NULL, reason = NULL, held_until = NULL, \
         last_error = ?, completed_at = ? WHERE sort_key = ?",
        params![format!("cannot be read: {cause}"), now.unix_ms(), id.sort_key()],
    )?;
    // It may be a digest, or block others; its event, which would show that, may be what is missing.
    db.notes.settled(*workspace_id, Status::Failed, now, 1);
    follow_ups::settle_digest_members(db, *workspace_id, id.sort_key(), now, Status::Failed, None)?;
    chain::leave(db, *workspace_id, id.sort_key(), Status::Failed, now)
}

fn read(row: &Row<'_>, channel_id: ChannelId, lease: Lease) -> Result<Claimed> {
    Ok(Claimed {
        id: id(row, "id")?,
        event: Arc::new(event(row)?),
        rule_id: optional_id(row, "rule_id")?,
        rule_generation: row.get("rule_generation")?,
        channel_id,
        channel_type: parsed(row, "channel_type", ChannelType::parse)?,
        severity: parsed(row, "severity", Severity::parse)?,
        due_at: instant(row, "due_at")?,
        attempt_count: row.get("attempt_count")?,
        attempt_base: row.get("attempt_base")?,
        attempt_trigger: parsed(row, "attempt_trigger", AttemptTrigger::parse)?,
        attempt_state: row.get("attempt_state")?,
        lease,
    })
}

/// Every lease but those of `owner` belongs to a dead process, because this one has the directory's lock.
pub(super) fn reclaim_leases(db: &Connection, now: Timestamp, owner: i64) -> Result<u64> {
    // Names the index, which holds only the queue; without it the planner may scan the whole history.
    let reclaimed = db.execute(
        "UPDATE delivery INDEXED BY delivery_due SET status = 'pending', due_at = ?, lease_owner = NULL \
         WHERE due_at IS NOT NULL AND status = 'sending' AND lease_owner IS NOT ?",
        params![now.unix_ms(), owner],
    )?;
    Ok(reclaimed as u64)
}

pub(super) fn return_leases(db: &Connection, leases: &[LeaseRef]) -> Result<u64> {
    // Fenced by the owner: the lease may have expired and passed to another node meanwhile.
    let mut update = db.prepare_cached(
        "UPDATE delivery SET status = 'pending', due_at = ?, lease_owner = NULL \
         WHERE sort_key = ? AND id = ? AND workspace_id = ? AND lease_owner = ? AND status = 'sending'",
    )?;
    let mut returned = 0;
    for LeaseRef { workspace_id, delivery_id, owner, due_at } in leases {
        let (sort_key, id) = (delivery_id.sort_key(), delivery_id.as_bytes());
        returned += update.execute(params![due_at.unix_ms(), sort_key, id, workspace_id.as_bytes(), owner])?;
    }
    Ok(returned as u64)
}

pub(super) fn due(db: &Connection) -> Result<Vec<Due>> {
    earliest_per_channel(db, "due_at")
}

/// For every channel the earliest instant in `column`, which must have a partial index that begins with the channel.
/// Skips from channel to channel through that index, so the cost grows with the number of channels in it, not with its
/// size.
pub(super) fn earliest_per_channel(db: &Connection, column: &'static str) -> Result<Vec<Due>> {
    let mut next = db.prepare_cached(&format!(
        "SELECT channel_id, {column}, workspace_id FROM delivery \
         WHERE {column} IS NOT NULL AND channel_id > ? ORDER BY channel_id, {column} LIMIT 1"
    ))?;
    let mut found = Vec::new();
    // The empty blob sorts before every channel id.
    let mut after = Vec::new();
    loop {
        let mut rows = next.query([&after])?;
        let Some(row) = rows.next()? else { return Ok(found) };
        let due = Due {
            workspace_id: id(row, "workspace_id")?,
            channel_id: id(row, "channel_id")?,
            at: instant(row, column)?,
        };
        after = due.channel_id.as_bytes().to_vec();
        found.push(due);
    }
}
