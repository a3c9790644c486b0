//! The audit log. Entries are written in the transaction of what they record.

use rusqlite::types::ToSql;
use rusqlite::{Connection, Row, params, params_from_iter};
use tidings_domain::access::{Actor, ActorKind};
use tidings_domain::audit::{AuditAction, AuditEntry};
use tidings_domain::id::{Id, WorkspaceId};
use tidings_domain::time::Timestamp;

use crate::Result;
use crate::accounts::AuditFilter;
use crate::error::StoreError;
use crate::sqlite::row::{id, instant, json, optional_id, parsed, to_json};

/// In place of a workspace: the entries of the instance. No UUIDv7 is all zeros.
const INSTANCE: [u8; 16] = [0; 16];

fn owner(workspace_id: Option<WorkspaceId>) -> [u8; 16] {
    workspace_id.map_or(INSTANCE, |id| *id.as_bytes())
}

pub(in crate::sqlite) fn record(db: &Connection, entries: &[AuditEntry]) -> Result<()> {
    entries.iter().try_for_each(|entry| insert(db, entry))
}

/// Writes an entry about a thing of this workspace.
pub(in crate::sqlite) fn record_of(db: &Connection, workspace_id: WorkspaceId, entry: &AuditEntry) -> Result<()> {
    // In the log of another workspace the entry would be shown to strangers.
    if entry.workspace_id != Some(workspace_id) {
        return Err(StoreError::Defect("an audit entry of another workspace".into()));
    }
    insert(db, entry)
}

fn insert(db: &Connection, entry: &AuditEntry) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO audit_entry (workspace_id, id, at, actor_kind, actor_id, actor_name, action, target_kind, \
         target_id, target_name, changes, address, request_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        owner(entry.workspace_id),
        entry.id.as_bytes(),
        entry.at.unix_ms(),
        entry.actor.kind.as_str(),
        entry.actor.id,
        entry.actor.name,
        entry.action.to_string(),
        entry.action.target.as_str(),
        entry.target_id,
        entry.target_name,
        to_json(&entry.changes)?,
        entry.address,
        entry.request_id,
    ])?;
    Ok(())
}

/// The least id of an instant: ids begin with their millisecond.
fn least_id_at(at: Timestamp) -> [u8; 16] {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&at.unix_ms().clamp(0, (1 << 48) - 1).to_be_bytes()[2..]);
    id
}

/// Names the index of the narrowest filter. Each ends with the id, so that a page needs no sort, and instants are a range
/// of it.
pub(in crate::sqlite) fn list(
    db: &Connection,
    workspace_id: Option<WorkspaceId>,
    filter: &AuditFilter,
) -> Result<Vec<AuditEntry>> {
    let index = match filter {
        AuditFilter { target_id: Some(_), .. } => " INDEXED BY audit_entry_target",
        AuditFilter { actor_id: Some(_), .. } => " INDEXED BY audit_entry_actor",
        AuditFilter { action: Some(_), .. } => " INDEXED BY audit_entry_action",
        AuditFilter { target: Some(_), .. } => " INDEXED BY audit_entry_target_kind",
        _ => "",
    };
    let mut sql = format!("SELECT * FROM audit_entry{index} WHERE workspace_id = ?");
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(owner(workspace_id))];
    let mut and = |condition: &str, value: Box<dyn ToSql>| {
        sql.push_str(" AND ");
        sql.push_str(condition);
        values.push(value);
    };
    if let Some(actor_id) = &filter.actor_id {
        and("actor_id = ?", Box::new(actor_id.clone()));
    }
    if let Some(action) = filter.action {
        and("action = ?", Box::new(action.to_string()));
    }
    if let Some(target) = filter.target {
        and("target_kind = ?", Box::new(target.as_str()));
    }
    if let Some(target_id) = &filter.target_id {
        and("target_id = ?", Box::new(target_id.clone()));
    }
    if let Some(before) = filter.before {
        and("id < ?", Box::new(*before.as_bytes()));
    }
    if let Some(since) = filter.since {
        and("id >= ?", Box::new(least_id_at(since)));
    }
    if let Some(until) = filter.until {
        and("id < ?", Box::new(least_id_at(until)));
    }
    sql.push_str(" ORDER BY id DESC LIMIT ?");
    values.push(Box::new(filter.limit));
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> Result<AuditEntry> {
    let workspace_id = optional_id::<WorkspaceId>(row, "workspace_id")?.filter(|id| *id.as_bytes() != INSTANCE);
    Ok(AuditEntry {
        id: id(row, "id")?,
        workspace_id,
        at: instant(row, "at")?,
        actor: Actor {
            kind: parsed(row, "actor_kind", ActorKind::parse)?,
            id: row.get("actor_id")?,
            name: row.get("actor_name")?,
        },
        action: parsed(row, "action", AuditAction::parse)?,
        target_id: row.get("target_id")?,
        target_name: row.get("target_name")?,
        changes: json(row, "changes")?,
        address: row.get("address")?,
        request_id: row.get("request_id")?,
    })
}

/// Deletes at most `limit` entries from before this instant, and returns how many.
pub(in crate::sqlite) fn prune(db: &Connection, before: Timestamp, limit: u32) -> Result<u32> {
    let mut old = db.prepare_cached(
        "SELECT workspace_id, id FROM audit_entry INDEXED BY audit_entry_age WHERE at < ? ORDER BY at LIMIT ?",
    )?;
    let old = old
        .query_map(params![before.unix_ms(), limit], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<([u8; 16], [u8; 16])>>>()?;
    let mut delete = db.prepare_cached("DELETE FROM audit_entry WHERE workspace_id = ? AND id = ?")?;
    for (workspace_id, id) in &old {
        delete.execute(params![workspace_id, id])?;
    }
    Ok(old.len() as u32)
}
