//! API keys.

use rusqlite::{Connection, params};
use tidings_domain::id::{ApiKeyId, Id, WorkspaceId};
use tidings_domain::time::Timestamp;

use crate::Result;
use crate::accounts::{ApiKeyRecord, Use};
use crate::error::StoreError;
use crate::settings::ApiKey;
use crate::sqlite::row::{id, instant, json, optional_instant, to_json};
use crate::sqlite::settings::bump_version;

pub(in crate::sqlite) fn all(db: &Connection, workspace_id: WorkspaceId) -> Result<Vec<ApiKeyRecord>> {
    let mut statement = db.prepare_cached("SELECT * FROM api_key WHERE workspace_id = ? ORDER BY id")?;
    let mut rows = statement.query([workspace_id.as_bytes()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let key = ApiKey {
            id: id(row, "id")?,
            workspace_id,
            name: row.get("name")?,
            hash: row.get("hash")?,
            read_only: row.get("read_only")?,
            created_by: json(row, "created_by")?,
            created_at: instant(row, "created_at")?,
            expires_at: optional_instant(row, "expires_at")?,
        };
        let (last_used_at, last_used_address) = (optional_instant(row, "last_used_at")?, row.get("last_used_address")?);
        found.push(ApiKeyRecord { key, last_used_at, last_used_address });
    }
    Ok(found)
}

/// Returns false if a key with this hash exists.
pub(in crate::sqlite) fn add(db: &Connection, key: &ApiKey) -> Result<bool> {
    let count: u32 =
        db.prepare_cached("SELECT count(*) FROM api_key WHERE hash = ?")?.query_row([key.hash], |row| row.get(0))?;
    if count > 0 {
        return Ok(false);
    }
    // Caches find keys by the version of their workspace.
    bump_version(db, key.workspace_id)?;
    insert(db, key)?;
    Ok(true)
}

pub(in crate::sqlite) fn insert(db: &Connection, key: &ApiKey) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO api_key (workspace_id, id, name, hash, read_only, created_by, created_at, expires_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        key.workspace_id.as_bytes(),
        key.id.as_bytes(),
        key.name,
        key.hash,
        key.read_only,
        to_json(&key.created_by)?,
        key.created_at.unix_ms(),
        key.expires_at.map(Timestamp::unix_ms),
    ])?;
    Ok(())
}

pub(in crate::sqlite) fn delete(db: &Connection, workspace_id: WorkspaceId, id: ApiKeyId) -> Result<()> {
    bump_version(db, workspace_id)?;
    let deleted = db
        .prepare_cached("DELETE FROM api_key WHERE workspace_id = ? AND id = ?")?
        .execute(params![workspace_id.as_bytes(), id.as_bytes()])?;
    if deleted == 1 { Ok(()) } else { Err(StoreError::NotFound) }
}

/// Leaves the configuration version, or every use would reload the caches.
pub(in crate::sqlite) fn record_uses(db: &Connection, uses: &[Use<ApiKeyId>]) -> Result<()> {
    let mut update = db.prepare_cached(
        "UPDATE api_key INDEXED BY api_key_id SET last_used_at = ?2, last_used_address = ?3 \
         WHERE id = ?1 AND coalesce(last_used_at, 0) <= ?2",
    )?;
    for Use { id, at, address } in uses {
        update.execute(params![id.as_bytes(), at.unix_ms(), address])?;
    }
    Ok(())
}
