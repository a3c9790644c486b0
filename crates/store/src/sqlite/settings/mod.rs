//! Configuration: reads and changes, with a module for each kind of row.

mod channel;
pub(super) mod endpoint;
mod inbound_webhook;
mod instance;
mod mute;
mod rule;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::de::DeserializeOwned;
use tidings_domain::id::{Id, WorkspaceId};

use super::accounts::{audit, workspace};
use super::row::{corrupt, id, json, to_json};
use crate::Result;
use crate::error::StoreError;
use crate::settings::{ConfigChange, Configuration, Precondition, Preferences, Version};

pub(super) use instance::{instance_key, set_instance_key};
pub(super) use mute::{end as end_mute, read as read_mute};

pub(super) fn versions(db: &Connection) -> Result<Vec<(WorkspaceId, Version)>> {
    let mut statement = db.prepare_cached("SELECT id, version FROM workspace WHERE deleted_at IS NULL ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((id(row, "id")?, row.get("version")?));
    }
    Ok(found)
}

pub(super) fn configuration(
    db: &Connection,
    workspace_id: WorkspaceId,
    endpoints_since: Version,
) -> Result<Configuration> {
    let mut statement = db.prepare_cached("SELECT * FROM workspace WHERE id = ? AND deleted_at IS NULL")?;
    let mut rows = statement.query([workspace_id.as_bytes()])?;
    let row = rows.next()?.ok_or(StoreError::NotFound)?;
    let (version, preferences) = (row.get("version")?, json(row, "preferences")?);
    let mut configuration = Configuration {
        workspace: workspace::read(row)?,
        version,
        preferences,
        mutes: mute::all(db, workspace_id)?,
        inbound_webhooks: inbound_webhook::all(db, workspace_id)?,
        endpoints: endpoint::since(db, workspace_id, endpoints_since)?,
        endpoint_count: endpoint::count(db, workspace_id)?,
        rules: Vec::new(),
        channels: Vec::new(),
    };
    let mut rules = db.prepare_cached("SELECT * FROM rule WHERE workspace_id = ? ORDER BY id")?;
    let mut rows = rules.query([workspace_id.as_bytes()])?;
    while let Some(row) = rows.next()? {
        configuration.rules.push(rule::read(row)?);
    }
    let mut channels = db.prepare_cached("SELECT * FROM channel WHERE workspace_id = ? ORDER BY id")?;
    let mut rows = channels.query([workspace_id.as_bytes()])?;
    while let Some(row) = rows.next()? {
        configuration.channels.push(channel::read(row)?);
    }
    Ok(configuration)
}

pub(super) fn apply_changes(db: &Connection, workspace_id: WorkspaceId, changes: &[ConfigChange]) -> Result<Version> {
    // First, because endpoint rows store the version that they are written with.
    let version = bump_version(db, workspace_id)?;
    for change in changes {
        match change {
            ConfigChange::PutRule(rule, expected) => rule::put(db, workspace_id, rule, *expected)?,
            ConfigChange::DeleteRule(id) => delete(db, "rule", workspace_id, id)?,
            ConfigChange::PutChannel(record, expected) => channel::put(db, workspace_id, record, *expected)?,
            ConfigChange::DeleteChannel(id) => channel::delete(db, workspace_id, *id)?,
            ConfigChange::PutEndpoint(record, expected) => endpoint::put(db, workspace_id, version, record, *expected)?,
            ConfigChange::DeleteEndpoint(id, now) => endpoint::delete(db, workspace_id, *id, *now)?,
            ConfigChange::PutMute(mute) => mute::put(db, workspace_id, mute)?,
            ConfigChange::EndMute(id, now) => mute::end(db, workspace_id, *id, *now)?,
            ConfigChange::PutInboundWebhook(webhook) => inbound_webhook::put(db, workspace_id, webhook)?,
            ConfigChange::DeleteInboundWebhook(id) => delete(db, "inbound_webhook", workspace_id, id)?,
            ConfigChange::SetPreferences(preferences) => set_preferences(db, workspace_id, preferences)?,
            ConfigChange::PutWorkspace(record, expected) => workspace::update(db, workspace_id, record, *expected)?,
            ConfigChange::Audit(entry) => audit::record_of(db, workspace_id, entry)?,
        }
    }
    Ok(version)
}

/// Increments the configuration version, by which caches notice a change.
pub(super) fn bump_version(db: &Connection, workspace_id: WorkspaceId) -> Result<Version> {
    db.prepare_cached(
        "UPDATE workspace SET version = version + 1 WHERE id = ? AND deleted_at IS NULL RETURNING version",
    )?
    .query_row([workspace_id.as_bytes()], |row| row.get(0))
    .optional()?
    .ok_or(StoreError::NotFound)
}

fn set_preferences(db: &Connection, workspace_id: WorkspaceId, preferences: &Preferences) -> Result<()> {
    db.prepare_cached("UPDATE workspace SET preferences = ? WHERE id = ?")?
        .execute(params![to_json(preferences)?, workspace_id.as_bytes()])?;
    Ok(())
}

/// Deletes one row by its key.
fn delete(db: &Connection, table: &str, workspace_id: WorkspaceId, id: &impl Id) -> Result<()> {
    let deleted = db
        .prepare_cached(&format!("DELETE FROM {table} WHERE workspace_id = ? AND id = ?"))?
        .execute(params![workspace_id.as_bytes(), id.as_bytes()])?;
    if deleted == 1 { Ok(()) } else { Err(StoreError::NotFound) }
}

/// Whether the workspace has a row with this id.
fn exists(db: &Connection, table: &str, workspace_id: WorkspaceId, id: &impl Id) -> Result<bool> {
    let count: u32 = db
        .prepare_cached(&format!("SELECT count(*) FROM {table} WHERE workspace_id = ? AND id = ?"))?
        .query_row(params![workspace_id.as_bytes(), id.as_bytes()], |row| row.get(0))?;
    Ok(count > 0)
}

fn expected_revision(expected: Precondition) -> Option<u32> {
    match expected {
        Precondition::Absent => None,
        Precondition::Revision(revision) => Some(revision),
    }
}

/// Turns an update that changed no row into the reason: another revision, or no such row.
fn check_updated(db: &Connection, table: &str, workspace_id: WorkspaceId, id: &impl Id, changed: usize) -> Result<()> {
    if changed == 1 {
        return Ok(());
    }
    Err(if exists(db, table, workspace_id, id)? { StoreError::Conflict } else { StoreError::NotFound })
}

/// A JSON column that may be null.
pub(super) fn optional_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<Option<T>> {
    let Some(text) = row.get_ref(column)?.as_str_or_null().map_err(|_| corrupt(column, "no text"))? else {
        return Ok(None);
    };
    serde_json::from_str(text).map(Some).map_err(|error| corrupt(column, error.to_string()))
}
