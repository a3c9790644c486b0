//! Workspaces with their API keys, and the fingerprint of the sealing key.

use rusqlite::{Connection, OptionalExtension as _, params};
use tidings_domain::id::{ApiKeyId, Id, WorkspaceId};
use tidings_domain::workspace::Workspace;

use crate::Result;
use crate::settings::{ApiKey, InstanceKey, WorkspaceRecord};
use crate::sqlite::row::{id, instant};

pub(in crate::sqlite) fn instance_key(db: &Connection) -> Result<Option<InstanceKey>> {
    Ok(db
        .query_row("SELECT key_id, canary FROM instance", [], |row| {
            Ok(InstanceKey { key_id: row.get(0)?, canary: row.get(1)? })
        })
        .optional()?)
}

pub(in crate::sqlite) fn set_instance_key(db: &Connection, key: &InstanceKey) -> Result<()> {
    db.execute("INSERT INTO instance (one, key_id, canary) VALUES (1, ?, ?)", params![key.key_id, key.canary])?;
    Ok(())
}

pub(in crate::sqlite) fn workspaces(db: &Connection) -> Result<Vec<WorkspaceRecord>> {
    let mut statement = db.prepare_cached("SELECT id, slug, created_at FROM workspace ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let workspace =
            Workspace { id: id(row, "id")?, slug: row.get("slug")?, created_at: instant(row, "created_at")? };
        let api_keys = api_keys(db, workspace.id)?;
        found.push(WorkspaceRecord { workspace, api_keys });
    }
    Ok(found)
}

fn api_keys(db: &Connection, workspace_id: WorkspaceId) -> Result<Vec<ApiKey>> {
    let mut statement = db.prepare_cached(
        "SELECT id, name, hash, read_only, created_at FROM api_key WHERE workspace_id = ? ORDER BY id",
    )?;
    let mut rows = statement.query([workspace_id.as_bytes()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(ApiKey {
            id: id(row, "id")?,
            workspace_id,
            name: row.get("name")?,
            hash: row.get("hash")?,
            read_only: row.get("read_only")?,
            created_at: instant(row, "created_at")?,
        });
    }
    Ok(found)
}

pub(in crate::sqlite) fn create_workspace(db: &Connection, record: &WorkspaceRecord) -> Result<()> {
    let workspace = &record.workspace;
    db.execute(
        "INSERT INTO workspace (id, slug, created_at) VALUES (?, ?, ?)",
        params![workspace.id.as_bytes(), workspace.slug, workspace.created_at.unix_ms()],
    )?;
    record.api_keys.iter().try_for_each(|key| insert_api_key(db, key))
}

pub(in crate::sqlite) fn add_api_key(db: &Connection, key: &ApiKey) -> Result<()> {
    let count = db.query_row("SELECT count(*) FROM api_key WHERE hash = ?", [key.hash], |row| row.get::<_, u32>(0))?;
    if count == 0 { insert_api_key(db, key) } else { Ok(()) }
}

pub(in crate::sqlite) fn delete_api_key(db: &Connection, workspace_id: WorkspaceId, id: ApiKeyId) -> Result<()> {
    super::delete(db, "api_key", workspace_id, &id)
}

fn insert_api_key(db: &Connection, key: &ApiKey) -> Result<()> {
    db.execute(
        "INSERT INTO api_key (workspace_id, id, name, hash, read_only, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        params![
            key.workspace_id.as_bytes(),
            key.id.as_bytes(),
            key.name,
            key.hash,
            key.read_only,
            key.created_at.unix_ms()
        ],
    )?;
    Ok(())
}
