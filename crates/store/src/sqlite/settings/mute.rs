//! Mutes.

use rusqlite::{Connection, Row, params};
use tidings_domain::id::{Id, MuteId, WorkspaceId};
use tidings_domain::mute::{Mute, MuteScope};
use tidings_domain::time::Timestamp;

use crate::Result;
use crate::error::StoreError;
use crate::sqlite::row::{corrupt, id, instant, json, optional_instant, to_json};

pub(super) fn all(db: &Connection, workspace_id: WorkspaceId) -> Result<Vec<Mute>> {
    let sql = "SELECT * FROM mute INDEXED BY mute_end WHERE workspace_id = ? AND ended_at IS NULL ORDER BY id";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([workspace_id.as_bytes()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

pub(in crate::sqlite) fn read(row: &Row<'_>) -> Result<Mute> {
    let scope: String = row.get("scope")?;
    let scope = match &*scope {
        "global" => MuteScope::Global,
        "endpoint" => MuteScope::Endpoint(id(row, "target_id")?),
        "channel" => MuteScope::Channel(id(row, "target_id")?),
        _ => return Err(corrupt("scope", scope)),
    };
    Ok(Mute {
        id: id(row, "id")?,
        workspace_id: id(row, "workspace_id")?,
        scope,
        expires_at: optional_instant(row, "expires_at")?,
        reason: row.get("reason")?,
        created_by: json(row, "created_by")?,
        created_at: instant(row, "created_at")?,
        ends_on_recovery: row.get("ends_on_recovery")?,
    })
}

/// Inserts a mute, if the workspace has its target.
pub(super) fn put(db: &Connection, workspace_id: WorkspaceId, mute: &Mute) -> Result<()> {
    let target = match &mute.scope {
        MuteScope::Global => None,
        MuteScope::Endpoint(id) => Some(existing(db, "endpoint", workspace_id, id)?),
        MuteScope::Channel(id) => Some(existing(db, "channel", workspace_id, id)?),
    };
    db.prepare_cached(
        "INSERT INTO mute (workspace_id, id, scope, target_id, expires_at, reason, created_by, created_at, \
         ends_on_recovery) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        workspace_id.as_bytes(),
        mute.id.as_bytes(),
        mute.scope.as_str(),
        target,
        mute.expires_at.map(|at| at.unix_ms()),
        mute.reason,
        to_json(&mute.created_by)?,
        mute.created_at.unix_ms(),
        mute.ends_on_recovery,
    ])?;
    Ok(())
}

/// The id, if the workspace has a row with it.
fn existing<'a>(db: &Connection, table: &str, workspace_id: WorkspaceId, id: &'a impl Id) -> Result<&'a [u8; 16]> {
    if super::exists(db, table, workspace_id, id)? { Ok(id.as_bytes()) } else { Err(StoreError::NotFound) }
}

/// Ends a mute at this instant, or when it expired if that was before. One that was ended counts as missing.
pub(in crate::sqlite) fn end(db: &Connection, workspace_id: WorkspaceId, id: MuteId, now: Timestamp) -> Result<()> {
    let ended = db
        .prepare_cached(
            "UPDATE mute SET ended_at = min(?1, coalesce(expires_at, ?1)) \
             WHERE workspace_id = ?2 AND id = ?3 AND ended_at IS NULL",
        )?
        .execute(params![now.unix_ms(), workspace_id.as_bytes(), id.as_bytes()])?;
    if ended == 1 { Ok(()) } else { Err(StoreError::NotFound) }
}

/// Deletes the mutes of a channel or endpoint that is being deleted.
pub(super) fn delete_for_target(
    db: &Connection,
    workspace_id: WorkspaceId,
    scope: &str,
    target: &impl Id,
) -> Result<()> {
    db.prepare_cached("DELETE FROM mute WHERE workspace_id = ? AND scope = ? AND target_id = ?")?.execute(params![
        workspace_id.as_bytes(),
        scope,
        target.as_bytes()
    ])?;
    Ok(())
}
