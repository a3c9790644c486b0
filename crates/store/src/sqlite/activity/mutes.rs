//! Mutes with the number of deliveries that each stopped.

use std::cmp::Reverse;

use rusqlite::{Connection, Params, params};
use tidings_domain::id::{Id as _, MuteId, WorkspaceId};
use tidings_domain::time::Timestamp;

use crate::Result;
use crate::activity::{MuteFilter, MuteRecord};
use crate::sqlite::row::optional_instant;
use crate::sqlite::settings::read_mute;

pub(in crate::sqlite) fn list(
    db: &Connection,
    workspace_id: WorkspaceId,
    now: Timestamp,
    filter: MuteFilter,
) -> Result<Vec<MuteRecord>> {
    let workspace_id = *workspace_id.as_bytes();
    // Ended by hand or by a recovery, or retired by pruning; and those that expired since.
    let current = "ended_at IS NULL AND (expires_at IS NULL OR expires_at > ?2) ORDER BY id";
    let ended = "ended_at >= ?2 ORDER BY ended_at DESC LIMIT ?3";
    let expired = "ended_at IS NULL AND expires_at BETWEEN ?2 AND ?3";
    let now_ms = now.unix_ms();
    match filter {
        MuteFilter::InForce => select(db, current, params![workspace_id, now_ms]),
        MuteFilter::Ended { since, limit } => {
            let since = since.unix_ms();
            let mut found = select(db, ended, params![workspace_id, since, limit])?;
            // The column is not set until pruning retires them.
            let set_end = |record: MuteRecord| MuteRecord { ended_at: record.mute.expires_at, ..record };
            let expired = select(db, expired, params![workspace_id, since, now_ms])?;
            found.extend(expired.into_iter().map(set_end));
            found.sort_by_key(|record| (Reverse(record.ended_at), Reverse(record.mute.id)));
            found.truncate(limit as usize);
            Ok(found)
        }
    }
}

fn select(db: &Connection, conditions: &str, values: impl Params) -> Result<Vec<MuteRecord>> {
    let sql = format!("SELECT * FROM mute INDEXED BY mute_end WHERE workspace_id = ?1 AND {conditions}");
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let mute = read_mute(row)?;
        let ended_at = optional_instant(row, "ended_at")?;
        found.push(MuteRecord { mute, ended_at, stopped_count: row.get("stopped_count")? });
    }
    Ok(found)
}

/// Counts deliveries that the mute suppressed, in the transaction that does so. A mute that was deleted is ignored.
pub(in crate::sqlite) fn count_stopped(
    db: &Connection,
    workspace_id: WorkspaceId,
    id: MuteId,
    stopped: usize,
) -> Result<()> {
    let stopped = i64::try_from(stopped).unwrap_or(i64::MAX);
    db.prepare_cached("UPDATE mute SET stopped_count = stopped_count + ? WHERE workspace_id = ? AND id = ?")?
        .execute(params![stopped, workspace_id.as_bytes(), id.as_bytes()])?;
    Ok(())
}
