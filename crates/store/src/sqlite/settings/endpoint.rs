//! Endpoints with their sealed secrets.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tidings_domain::endpoint::Endpoint;
use tidings_domain::id::{EndpointId, Id, WorkspaceId};
use tidings_domain::time::Timestamp;

use super::{check_updated, expected_revision, mute};
use crate::Result;
use crate::error::StoreError;
use crate::settings::{EndpointRecord, Precondition, Version};
use crate::sqlite::insights::resource;
use crate::sqlite::monitoring::incident;
use crate::sqlite::row::{id, instant, json, to_json};

/// The endpoints written after this version, oldest first.
pub(super) fn since(db: &Connection, workspace_id: WorkspaceId, version: Version) -> Result<Vec<EndpointRecord>> {
    let mut statement = db.prepare_cached(
        "SELECT id, workspace_id, name, enabled, definition, key_id, sealed, revision, created_at, updated_at \
         FROM endpoint WHERE workspace_id = ? AND version > ?",
    )?;
    let mut rows = statement.query(params![workspace_id.as_bytes(), version])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    // Sorted here: the index that finds them is ordered by version.
    found.sort_unstable_by_key(|record| record.endpoint.id);
    Ok(found)
}

pub(super) fn count(db: &Connection, workspace_id: WorkspaceId) -> Result<u32> {
    let mut statement = db.prepare_cached("SELECT count(*) FROM endpoint WHERE workspace_id = ?")?;
    Ok(statement.query_row([workspace_id.as_bytes()], |row| row.get(0))?)
}

fn read(row: &Row<'_>) -> Result<EndpointRecord> {
    let endpoint = Endpoint {
        id: id(row, "id")?,
        workspace_id: id(row, "workspace_id")?,
        name: row.get("name")?,
        enabled: row.get("enabled")?,
        definition: json(row, "definition")?,
        revision: row.get("revision")?,
        created_at: instant(row, "created_at")?,
        updated_at: instant(row, "updated_at")?,
    };
    Ok(EndpointRecord { endpoint, key_id: row.get("key_id")?, sealed: row.get("sealed")? })
}

/// The endpoint's key in the tables of its checks; `None` if the workspace has no such endpoint.
pub(in crate::sqlite) fn number(db: &Connection, workspace_id: WorkspaceId, id: EndpointId) -> Result<Option<i64>> {
    let mut statement = db.prepare_cached("SELECT number FROM endpoint WHERE id = ? AND workspace_id = ?")?;
    let number = statement.query_row(params![id.as_bytes(), workspace_id.as_bytes()], |row| row.get(0));
    Ok(number.optional()?)
}

/// Inserts or updates an endpoint, which then belongs to this version.
pub(super) fn put(
    db: &Connection,
    workspace_id: WorkspaceId,
    version: Version,
    record: &EndpointRecord,
    expected: Precondition,
) -> Result<()> {
    let endpoint = &record.endpoint;
    let definition = to_json(&endpoint.definition)?;
    let values = params![
        workspace_id.as_bytes(),
        endpoint.id.as_bytes(),
        version,
        endpoint.name,
        endpoint.enabled,
        definition,
        record.key_id,
        record.sealed,
        endpoint.revision,
        endpoint.created_at.unix_ms(),
        endpoint.updated_at.unix_ms(),
        expected_revision(expected),
    ];
    match expected {
        Precondition::Absent => {
            // Both statements get the same parameters, so this one must use the last one, too, which is NULL here.
            db.prepare_cached(
                "INSERT INTO endpoint (workspace_id, id, version, name, enabled, definition, key_id, sealed, revision, \
                 created_at, updated_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 WHERE ?12 IS NULL",
            )?
            .execute(values)?;
        }
        Precondition::Revision(_) => {
            let changed = db
                .prepare_cached(
                    "UPDATE endpoint SET version = ?3, name = ?4, enabled = ?5, definition = ?6, key_id = ?7, \
                     sealed = ?8, revision = ?9, created_at = ?10, updated_at = ?11 \
                     WHERE workspace_id = ?1 AND id = ?2 AND revision = ?12",
                )?
                .execute(values)?;
            check_updated(db, "endpoint", workspace_id, &endpoint.id, changed)?;
        }
    }
    resource::put_endpoint(db, endpoint)
}

/// Deletes an endpoint with its state, checks and summaries (by cascade) and its mutes. Resolves its active incident,
/// which could never recover any more.
pub(super) fn delete(db: &Connection, workspace_id: WorkspaceId, id: EndpointId, now: Timestamp) -> Result<()> {
    let number = number(db, workspace_id, id)?.ok_or(StoreError::NotFound)?;
    let used: u32 = db
        .prepare_cached(
            "SELECT count(*) FROM rule WHERE workspace_id = ? AND resource_type = 'endpoint' AND resource_id = ?",
        )?
        .query_row(params![workspace_id.as_bytes(), id.to_string()], |row| row.get(0))?;
    if used > 0 {
        return Err(StoreError::InUse);
    }
    mute::delete_for_target(db, workspace_id, "endpoint", &id)?;
    incident::resolve_for_deleted_endpoint(db, workspace_id, id, now)?;
    db.prepare_cached("DELETE FROM endpoint WHERE number = ?")?.execute([number])?;
    resource::delete_endpoint(db, workspace_id, id)
}
