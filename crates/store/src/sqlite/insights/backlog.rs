//! What waits, and what deserves attention: counted in partial indices, which hold the queue, what is held and what
//! failed, and nothing else.

use rusqlite::{Connection, params};
use tidings_domain::id::{ChannelId, DeliveryId, Id as _, WorkspaceId};
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

use crate::Result;
use crate::insights::{AttentionCounts, Backlog, Upcoming, UpcomingDelivery};
use crate::sqlite::row::parsed;

/// Bits of a sort key below its millisecond.
const NUMBER_BITS: u32 = 21;

/// Pending deliveries behind an earlier one of their subject, which have no `due_at`.
const BLOCKED: &str = "SELECT DISTINCT c.delivery_sort_key FROM chain c WHERE c.channel_id = ?1 AND EXISTS \
     (SELECT 1 FROM chain b WHERE b.channel_id = c.channel_id AND b.subject = c.subject AND b.position < c.position)";

pub(in crate::sqlite) fn backlog(db: &Connection, channels: &[ChannelId]) -> Result<Vec<Backlog>> {
    channels.iter().map(|channel| of_channel(db, *channel)).collect()
}

fn of_channel(db: &Connection, channel_id: ChannelId) -> Result<Backlog> {
    let channel = channel_id.as_bytes();
    let (queued, leased, oldest, next_due_at) = db
        .prepare_cached(
            "SELECT count(*), count(lease_owner), min(iif(lease_owner IS NULL, sort_key, NULL)), \
             min(iif(lease_owner IS NULL, due_at, NULL)) FROM delivery INDEXED BY delivery_due \
             WHERE channel_id = ? AND due_at IS NOT NULL",
        )?
        .query_row([channel], |row| {
            Ok((
                row.get::<_, u32>(0)?,
                row.get::<_, u32>(1)?,
                row.get::<_, Option<i64>>(2)?,
                row.get::<_, Option<i64>>(3)?,
            ))
        })?;
    let (blocked, oldest_blocked) = db
        .prepare_cached(&format!("SELECT count(*), min(delivery_sort_key) FROM ({BLOCKED})"))?
        .query_row([channel], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    let (held, next_release_at) = db
        .prepare_cached(
            "SELECT count(*), min(held_until) FROM delivery INDEXED BY delivery_held \
             WHERE channel_id = ? AND held_until IS NOT NULL",
        )?
        .query_row([channel], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    let oldest = [oldest, oldest_blocked].into_iter().flatten().min();
    Ok(Backlog {
        channel_id,
        pending: u64::from(queued - leased) + u64::from(blocked),
        sending: leased.into(),
        held: held.into(),
        oldest_made_at: oldest.map(|sort_key| Timestamp::from_unix_ms(sort_key >> NUMBER_BITS)),
        next_due_at: next_due_at.map(Timestamp::from_unix_ms),
        next_release_at: next_release_at.map(Timestamp::from_unix_ms),
    })
}

pub(in crate::sqlite) fn upcoming(
    db: &Connection,
    channels: &[ChannelId],
    now: Timestamp,
    limit: u32,
) -> Result<Upcoming> {
    let retries = "SELECT id, due_at FROM delivery INDEXED BY delivery_due \
         WHERE channel_id = ? AND due_at > ? AND lease_owner IS NULL ORDER BY due_at LIMIT ?";
    let held = "SELECT id, held_until FROM delivery INDEXED BY delivery_held \
         WHERE channel_id = ? AND held_until > ? ORDER BY held_until LIMIT ?";
    let next = |sql: &str, after: i64| -> Result<Vec<UpcomingDelivery>> {
        let mut statement = db.prepare_cached(sql)?;
        let mut found = Vec::new();
        for channel_id in channels {
            let mut rows = statement.query(params![channel_id.as_bytes(), after, limit])?;
            while let Some(row) = rows.next()? {
                found.push(UpcomingDelivery {
                    delivery_id: DeliveryId::from_bytes(row.get(0)?),
                    channel_id: *channel_id,
                    at: Timestamp::from_unix_ms(row.get(1)?),
                });
            }
        }
        found.sort_by_key(|delivery| (delivery.at, delivery.delivery_id));
        found.truncate(limit as usize);
        Ok(found)
    };
    // What may be released already is still held, until the release loop comes.
    Ok(Upcoming { retries: next(retries, now.unix_ms())?, held: next(held, i64::MIN)? })
}

pub(in crate::sqlite) fn attention(
    db: &Connection,
    workspace_id: WorkspaceId,
    channels: &[ChannelId],
    since: Timestamp,
    limit: u32,
) -> Result<AttentionCounts> {
    // Tests have no generation of a rule, so that the events of nearly all others need not be read.
    let mut failed = db.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM delivery d \
         WHERE d.status = 'failed' AND d.workspace_id = ? AND d.channel_id = ? AND d.completed_at >= ? \
         AND (d.rule_generation > 0 OR \
         (SELECT e.kind FROM event e WHERE e.sort_key = d.event_sort_key) IS NOT 'channel_test') LIMIT ?)",
    )?;
    let mut pending = db.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM delivery INDEXED BY delivery_due \
         WHERE channel_id = ? AND due_at IS NOT NULL AND lease_owner IS NULL LIMIT ?)",
    )?;
    let mut blocked = db.prepare_cached(&format!("SELECT count(*) FROM ({BLOCKED} LIMIT ?2)"))?;
    let mut held = db.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM delivery INDEXED BY delivery_held \
         WHERE channel_id = ? AND held_until IS NOT NULL LIMIT ?)",
    )?;
    let mut counts = AttentionCounts { incidents: active_incidents(db, workspace_id, limit)?, ..Default::default() };
    for channel_id in channels {
        let channel = channel_id.as_bytes();
        let values = params![workspace_id.as_bytes(), channel, since.unix_ms(), limit - counts.failed];
        counts.failed += failed.query_row(values, |row| row.get::<_, u32>(0))?;
        counts.pending += pending.query_row(params![channel, limit - counts.pending], |row| row.get::<_, u32>(0))?;
        counts.pending += blocked.query_row(params![channel, limit - counts.pending], |row| row.get::<_, u32>(0))?;
        counts.held += held.query_row(params![channel, limit - counts.held], |row| row.get::<_, u32>(0))?;
    }
    Ok(counts)
}

fn active_incidents(db: &Connection, workspace_id: WorkspaceId, limit: u32) -> Result<Vec<(Severity, bool, u32)>> {
    let mut statement = db.prepare_cached(
        "SELECT severity, acknowledged_at IS NOT NULL FROM incident INDEXED BY incident_open \
         WHERE workspace_id = ? AND resolved_at IS NULL LIMIT ?",
    )?;
    let mut rows = statement.query(params![workspace_id.as_bytes(), limit])?;
    let mut counts: Vec<(Severity, bool, u32)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (severity, is_acknowledged) = (parsed(row, "severity", Severity::parse)?, row.get(1)?);
        match counts.iter_mut().find(|(one, other, _)| (*one, *other) == (severity, is_acknowledged)) {
            Some((.., count)) => *count += 1,
            None => counts.push((severity, is_acknowledged, 1)),
        }
    }
    Ok(counts)
}
