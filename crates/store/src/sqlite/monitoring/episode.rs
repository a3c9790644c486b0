//! The ends of alerts' episodes.

use rusqlite::{Connection, OptionalExtension as _, params};
use tidings_domain::id::{Id as _, WorkspaceId};
use tidings_domain::time::Timestamp;

use crate::Result;
use crate::monitoring::EpisodeEnd;

pub(in crate::sqlite) fn last_end(
    db: &Connection,
    workspace_id: WorkspaceId,
    resource_id: &str,
) -> Result<Option<Timestamp>> {
    let end: Option<i64> = db
        .prepare_cached("SELECT ended_at FROM alert_episode WHERE workspace_id = ? AND resource_id = ?")?
        .query_row(params![workspace_id.as_bytes(), resource_id], |row| row.get(0))
        .optional()?;
    Ok(end.map(Timestamp::from_unix_ms))
}

/// Records an end, unless a later one is known.
pub(super) fn put(db: &Connection, workspace_id: WorkspaceId, end: &EpisodeEnd) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO alert_episode (workspace_id, resource_id, ended_at) VALUES (?, ?, ?) \
         ON CONFLICT DO UPDATE SET ended_at = max(ended_at, excluded.ended_at)",
    )?
    .execute(params![workspace_id.as_bytes(), end.resource_id, end.at.unix_ms()])?;
    Ok(())
}

/// Deletes at most `limit` ends before this instant, and returns how many.
pub(in crate::sqlite) fn prune(db: &Connection, before: Timestamp, limit: u32) -> Result<u32> {
    let deleted = db
        .prepare_cached(
            "DELETE FROM alert_episode WHERE (workspace_id, resource_id) IN \
             (SELECT workspace_id, resource_id FROM alert_episode INDEXED BY alert_episode_age \
             WHERE ended_at < ? ORDER BY ended_at LIMIT ?)",
        )?
        .execute(params![before.unix_ms(), limit])?;
    Ok(deleted as u32)
}
