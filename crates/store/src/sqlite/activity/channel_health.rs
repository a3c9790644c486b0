//! The health of channels, a row each.

use rusqlite::{Connection, params};
use tidings_domain::id::{ChannelId, Id as _, WorkspaceId};

use crate::Result;
use crate::activity::ChannelHealthRecord;
use crate::sqlite::row::{id, optional_instant};

pub(in crate::sqlite) fn all(db: &Connection) -> Result<Vec<ChannelHealthRecord>> {
    let mut statement = db.prepare_cached("SELECT * FROM channel_health")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(ChannelHealthRecord {
            workspace_id: id(row, "workspace_id")?,
            channel_id: id(row, "channel_id")?,
            last_sent_at: optional_instant(row, "last_sent_at")?,
            last_failed_at: optional_instant(row, "last_failed_at")?,
            failing_since: optional_instant(row, "failing_since")?,
            outcomes: u128::from_le_bytes(row.get("outcomes")?),
            count: row.get("outcome_count")?,
        });
    }
    Ok(found)
}

pub(in crate::sqlite) fn save(db: &Connection, records: &[ChannelHealthRecord]) -> Result<()> {
    // The channel may have been deleted since its last attempt.
    let mut statement = db.prepare_cached(
        "INSERT OR REPLACE INTO channel_health \
         (channel_id, workspace_id, last_sent_at, last_failed_at, failing_since, outcomes, outcome_count) \
         SELECT id, workspace_id, ?3, ?4, ?5, ?6, ?7 FROM channel WHERE workspace_id = ?1 AND id = ?2",
    )?;
    for record in records {
        statement.execute(params![
            record.workspace_id.as_bytes(),
            record.channel_id.as_bytes(),
            record.last_sent_at.map(|at| at.unix_ms()),
            record.last_failed_at.map(|at| at.unix_ms()),
            record.failing_since.map(|at| at.unix_ms()),
            record.outcomes.to_le_bytes(),
            record.count,
        ])?;
    }
    Ok(())
}

/// Deletes that of a channel that is being deleted.
pub(in crate::sqlite) fn delete(db: &Connection, workspace_id: WorkspaceId, id: ChannelId) -> Result<()> {
    db.prepare_cached("DELETE FROM channel_health WHERE workspace_id = ? AND channel_id = ?")?
        .execute([workspace_id.as_bytes(), id.as_bytes()])?;
    Ok(())
}
