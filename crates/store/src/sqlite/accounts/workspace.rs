//! Workspaces.

use rusqlite::{Connection, Row, params};
use tidings_domain::access::Role;
use tidings_domain::id::{Id, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_domain::workspace::Workspace;

use super::{api_key, member, user};
use crate::Result;
use crate::accounts::{NewOwner, WorkspaceCounts};
use crate::error::StoreError;
use crate::settings::WorkspaceRecord;
use crate::sqlite::row::{id, instant, json, optional_instant, to_json};

/// Reads the columns of `workspace`.
pub(in crate::sqlite) fn read(row: &Row<'_>) -> Result<Workspace> {
    Ok(Workspace {
        id: id(row, "id")?,
        slug: row.get("slug")?,
        name: row.get("name")?,
        locale: row.get("locale")?,
        plan: row.get("plan")?,
        created_at: instant(row, "created_at")?,
        suspended_at: optional_instant(row, "suspended_at")?,
        revision: row.get("revision")?,
    })
}

pub(in crate::sqlite) fn all(db: &Connection) -> Result<Vec<WorkspaceRecord>> {
    let mut statement = db.prepare_cached("SELECT * FROM workspace WHERE deleted_at IS NULL ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let workspace = read(row)?;
        let api_keys = api_key::all(db, workspace.id)?.into_iter().map(|record| record.key).collect();
        found.push(WorkspaceRecord { workspace, preferences: json(row, "preferences")?, api_keys });
    }
    Ok(found)
}

pub(in crate::sqlite) fn counts(db: &Connection) -> Result<Vec<WorkspaceCounts>> {
    let mut statement = db.prepare_cached(
        "SELECT id, \
         (SELECT count(*) FROM membership m WHERE m.workspace_id = w.id) AS members, \
         (SELECT count(*) FROM api_key k WHERE k.workspace_id = w.id) AS api_keys, \
         (SELECT count(*) FROM channel c WHERE c.workspace_id = w.id AND c.owner_rule_id IS NULL) AS channels \
         FROM workspace w WHERE deleted_at IS NULL ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(WorkspaceCounts {
            workspace_id: id(row, "id")?,
            members: row.get("members")?,
            api_keys: row.get("api_keys")?,
            channels: row.get("channels")?,
        });
    }
    Ok(found)
}

pub(in crate::sqlite) fn create(db: &Connection, record: &WorkspaceRecord, owner: Option<&NewOwner>) -> Result<()> {
    let workspace = &record.workspace;
    db.prepare_cached(
        "INSERT INTO workspace (id, slug, name, locale, plan, created_at, suspended_at, revision, preferences) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        workspace.id.as_bytes(),
        workspace.slug,
        workspace.name,
        workspace.locale,
        workspace.plan,
        workspace.created_at.unix_ms(),
        workspace.suspended_at.map(Timestamp::unix_ms),
        workspace.revision,
        to_json(&record.preferences)?,
    ])?;
    record.api_keys.iter().try_for_each(|key| api_key::insert(db, key))?;
    let owner = match owner {
        None => return Ok(()),
        Some(NewOwner::Existing(id)) => *id,
        Some(NewOwner::New(record)) => {
            user::insert(db, record)?;
            record.user.id
        }
    };
    member::add(db, workspace.id, owner, Role::Owner, workspace.created_at)
}

/// Writes a workspace that is at the expected revision.
pub(in crate::sqlite) fn update(
    db: &Connection,
    workspace_id: WorkspaceId,
    workspace: &Workspace,
    expected: u32,
) -> Result<()> {
    if workspace.id != workspace_id {
        return Err(StoreError::NotFound);
    }
    let changed = db
        .prepare_cached(
            "UPDATE workspace SET slug = ?, name = ?, locale = ?, plan = ?, suspended_at = ?, revision = ? \
             WHERE id = ? AND revision = ? AND deleted_at IS NULL",
        )?
        .execute(params![
            workspace.slug,
            workspace.name,
            workspace.locale,
            workspace.plan,
            workspace.suspended_at.map(Timestamp::unix_ms),
            workspace.revision,
            workspace_id.as_bytes(),
            expected,
        ])?;
    // `apply_changes` found the workspace when it incremented the version.
    if changed == 1 { Ok(()) } else { Err(StoreError::Conflict) }
}

/// Whether there is such a workspace. A foreign key would find a deleted one, too.
pub(in crate::sqlite) fn check_exists(db: &Connection, id: WorkspaceId) -> Result<()> {
    let count: u32 = db
        .prepare_cached("SELECT count(*) FROM workspace WHERE id = ? AND deleted_at IS NULL")?
        .query_row([id.as_bytes()], |row| row.get(0))?;
    if count == 1 { Ok(()) } else { Err(StoreError::NotFound) }
}

/// Marks a workspace as deleted, and deletes what gives access to it. The rest is left to [`super::purge`].
pub(in crate::sqlite) fn delete(db: &Connection, id: WorkspaceId, at: Timestamp) -> Result<()> {
    // An id is no slug, so it cannot be taken.
    let deleted = db
        .prepare_cached("UPDATE workspace SET deleted_at = ?, slug = ? WHERE id = ? AND deleted_at IS NULL")?
        .execute(params![at.unix_ms(), id.to_string(), id.as_bytes()])?;
    if deleted == 0 {
        return Err(StoreError::NotFound);
    }
    for table in ["api_key", "membership", "invitation", "inbound_webhook"] {
        db.prepare_cached(&format!("DELETE FROM {table} WHERE workspace_id = ?"))?.execute([id.as_bytes()])?;
    }
    Ok(())
}
