//! Configuration: workspaces, API keys, rules and channels.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tidings_domain::channel::{Channel, ChannelType, Connectivity, DisabledReason, Policies};
use tidings_domain::id::{ApiKeyId, ChannelId, Id, RuleId, WorkspaceId};
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::rule::Rule;
use tidings_domain::severity::{Severity, SeverityFilter};
use tidings_domain::workspace::Workspace;

use super::row::{corrupt, id, instant, json, optional_id, optional_instant, to_json, word};
use crate::Result;
use crate::error::StoreError;
use crate::settings::{ApiKey, Change, ChannelRecord, Configuration, Expect, InstanceKey, Version, WorkspaceRecord};

pub(super) fn instance_key(db: &Connection) -> Result<Option<InstanceKey>> {
    Ok(db
        .query_row("SELECT key_id, canary FROM instance", [], |row| {
            Ok(InstanceKey { key_id: row.get(0)?, canary: row.get(1)? })
        })
        .optional()?)
}

pub(super) fn set_instance_key(db: &Connection, key: &InstanceKey) -> Result<()> {
    db.execute("INSERT INTO instance (one, key_id, canary) VALUES (1, ?, ?)", params![key.key_id, key.canary])?;
    Ok(())
}

pub(super) fn workspaces(db: &Connection) -> Result<Vec<WorkspaceRecord>> {
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

pub(super) fn create_workspace(db: &Connection, record: &WorkspaceRecord) -> Result<()> {
    let workspace = &record.workspace;
    db.execute(
        "INSERT INTO workspace (id, slug, created_at) VALUES (?, ?, ?)",
        params![workspace.id.as_bytes(), workspace.slug, workspace.created_at.unix_ms()],
    )?;
    record.api_keys.iter().try_for_each(|key| insert_api_key(db, key))
}

pub(super) fn add_api_key(db: &Connection, key: &ApiKey) -> Result<()> {
    let there = db.query_row("SELECT count(*) FROM api_key WHERE hash = ?", [key.hash], |row| row.get::<_, u32>(0))?;
    if there == 0 { insert_api_key(db, key) } else { Ok(()) }
}

pub(super) fn delete_api_key(db: &Connection, workspace_id: WorkspaceId, id: ApiKeyId) -> Result<()> {
    let deleted = db.execute(
        "DELETE FROM api_key WHERE workspace_id = ? AND id = ?",
        params![workspace_id.as_bytes(), id.as_bytes()],
    )?;
    if deleted == 0 { Err(StoreError::NotFound) } else { Ok(()) }
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

pub(super) fn versions(db: &Connection) -> Result<Vec<(WorkspaceId, Version)>> {
    let mut statement = db.prepare_cached("SELECT id, version FROM workspace ORDER BY id")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((id(row, "id")?, row.get("version")?));
    }
    Ok(found)
}

pub(super) fn configuration(db: &Connection, workspace_id: WorkspaceId) -> Result<Configuration> {
    let version = db
        .prepare_cached("SELECT version FROM workspace WHERE id = ?")?
        .query_row([workspace_id.as_bytes()], |row| row.get(0))
        .optional()?
        .ok_or(StoreError::NotFound)?;
    let mut configuration = Configuration { version, ..Configuration::default() };
    let mut rules = db.prepare_cached("SELECT * FROM rule WHERE workspace_id = ? ORDER BY id")?;
    let mut rows = rules.query([workspace_id.as_bytes()])?;
    while let Some(row) = rows.next()? {
        configuration.rules.push(read_rule(row)?);
    }
    let mut channels = db.prepare_cached("SELECT * FROM channel WHERE workspace_id = ? ORDER BY id")?;
    let mut rows = channels.query([workspace_id.as_bytes()])?;
    while let Some(row) = rows.next()? {
        configuration.channels.push(read_channel(row)?);
    }
    Ok(configuration)
}

fn read_rule(row: &Row<'_>) -> Result<Rule> {
    Ok(Rule {
        id: id(row, "id")?,
        workspace_id: id(row, "workspace_id")?,
        resource_type: word(row, "resource_type", ResourceType::parse)?,
        resource: ResourceSelector::parse(&row.get::<_, String>("resource_id")?),
        channel_id: id(row, "channel_id")?,
        triggers: json(row, "triggers")?,
        trigger_types: json(row, "trigger_types")?,
        enabled: row.get("enabled")?,
        paused: row.get("paused")?,
        failure_severity: word(row, "failure_severity", Severity::parse)?,
        generation: row.get("generation")?,
        revision: row.get("revision")?,
        created_at: instant(row, "created_at")?,
        updated_at: instant(row, "updated_at")?,
    })
}

fn read_channel(row: &Row<'_>) -> Result<ChannelRecord> {
    let disabled_reason: Option<String> = row.get("disabled_reason")?;
    let delays: Option<String> = row.get("retry_delays_seconds")?;
    let channel = Channel {
        id: id(row, "id")?,
        workspace_id: id(row, "workspace_id")?,
        owner_rule_id: optional_id::<RuleId>(row, "owner_rule_id")?,
        name: row.get("name")?,
        channel_type: word(row, "channel_type", ChannelType::parse)?,
        settings: json(row, "settings")?,
        enabled: row.get("enabled")?,
        disabled_reason: disabled_reason
            .map(|word| DisabledReason::parse(&word).ok_or_else(|| corrupt("disabled_reason", word)))
            .transpose()?,
        policies: Policies {
            severity_filter: word(row, "severity_filter", SeverityFilter::parse)?,
            retry_on_failure: row.get("retry_on_failure")?,
            retry_delays_seconds: delays
                .map(|text| serde_json::from_str(&text).map_err(|_| corrupt("retry_delays_seconds", text)))
                .transpose()?,
            timeout_ms: row.get("timeout_ms")?,
        },
        connectivity: Connectivity {
            is_connected: row.get("is_connected")?,
            last_tested_at: optional_instant(row, "last_tested_at")?,
            last_success_at: optional_instant(row, "last_success_at")?,
            last_failure_at: optional_instant(row, "last_failure_at")?,
        },
        revision: row.get("revision")?,
        created_at: instant(row, "created_at")?,
        updated_at: instant(row, "updated_at")?,
    };
    Ok(ChannelRecord { channel, key_id: row.get("key_id")?, sealed: row.get("sealed")? })
}

pub(super) fn change(db: &Connection, workspace_id: WorkspaceId, changes: &[Change]) -> Result<Version> {
    for change in changes {
        match change {
            Change::PutRule(rule, expect) => put_rule(db, workspace_id, rule, *expect)?,
            Change::DeleteRule(id) => delete(db, "rule", workspace_id, id)?,
            Change::PutChannel(record, expect) => put_channel(db, workspace_id, record, *expect)?,
            Change::DeleteChannel(id) => delete_channel(db, workspace_id, *id)?,
        }
    }
    db.prepare_cached("UPDATE workspace SET version = version + 1 WHERE id = ? RETURNING version")?
        .query_row([workspace_id.as_bytes()], |row| row.get(0))
        .optional()?
        .ok_or(StoreError::NotFound)
}

/// Deletes one row by its key.
fn delete(db: &Connection, table: &str, workspace_id: WorkspaceId, id: &impl Id) -> Result<()> {
    let deleted = db
        .prepare_cached(&format!("DELETE FROM {table} WHERE workspace_id = ? AND id = ?"))?
        .execute(params![workspace_id.as_bytes(), id.as_bytes()])?;
    if deleted == 1 { Ok(()) } else { Err(StoreError::NotFound) }
}

/// A failing foreign key would say only that something is missing, so the rules that still use the channel are looked
/// for here.
fn delete_channel(db: &Connection, workspace_id: WorkspaceId, id: ChannelId) -> Result<()> {
    let used: u32 = db
        .prepare_cached("SELECT count(*) FROM rule WHERE workspace_id = ? AND channel_id = ?")?
        .query_row(params![workspace_id.as_bytes(), id.as_bytes()], |row| row.get(0))?;
    if used > 0 { Err(StoreError::InUse) } else { delete(db, "channel", workspace_id, &id) }
}

/// Whether an edited row was as expected: nothing changed means that it is gone or has another revision.
fn edited(db: &Connection, table: &str, workspace_id: WorkspaceId, id: &impl Id, changed: usize) -> Result<()> {
    if changed == 1 {
        return Ok(());
    }
    let there: u32 = db
        .prepare_cached(&format!("SELECT count(*) FROM {table} WHERE workspace_id = ? AND id = ?"))?
        .query_row(params![workspace_id.as_bytes(), id.as_bytes()], |row| row.get(0))?;
    Err(if there == 0 { StoreError::NotFound } else { StoreError::Conflict })
}

fn put_rule(db: &Connection, workspace_id: WorkspaceId, rule: &Rule, expect: Expect) -> Result<()> {
    let (triggers, trigger_types) = (to_json(&rule.triggers)?, to_json(&rule.trigger_types)?);
    let values = params![
        workspace_id.as_bytes(),
        rule.id.as_bytes(),
        rule.resource_type.as_str(),
        rule.resource.as_str(),
        rule.channel_id.as_bytes(),
        triggers,
        trigger_types,
        rule.enabled,
        rule.paused,
        rule.failure_severity.as_str(),
        rule.generation,
        rule.revision,
        rule.created_at.unix_ms(),
        rule.updated_at.unix_ms(),
        match expect {
            Expect::Absent => None,
            Expect::Revision(revision) => Some(revision),
        },
    ];
    match expect {
        Expect::Absent => {
            db.prepare_cached(
                "INSERT INTO rule (workspace_id, id, resource_type, resource_id, channel_id, triggers, trigger_types, \
                 enabled, paused, failure_severity, generation, revision, created_at, updated_at) \
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14 WHERE ?15 IS NULL",
            )?
            .execute(values)?;
            Ok(())
        }
        Expect::Revision(_) => {
            let changed = db
                .prepare_cached(
                    "UPDATE rule SET resource_type = ?3, resource_id = ?4, channel_id = ?5, triggers = ?6, \
                     trigger_types = ?7, enabled = ?8, paused = ?9, failure_severity = ?10, generation = ?11, \
                     revision = ?12, created_at = ?13, updated_at = ?14 \
                     WHERE workspace_id = ?1 AND id = ?2 AND revision = ?15",
                )?
                .execute(values)?;
            edited(db, "rule", workspace_id, &rule.id, changed)
        }
    }
}

fn put_channel(db: &Connection, workspace_id: WorkspaceId, record: &ChannelRecord, expect: Expect) -> Result<()> {
    let channel = &record.channel;
    let settings = to_json(&channel.settings)?;
    let delays = channel.policies.retry_delays_seconds.as_ref().map(to_json).transpose()?;
    let values = params![
        workspace_id.as_bytes(),
        channel.id.as_bytes(),
        channel.owner_rule_id.as_ref().map(Id::as_bytes),
        channel.name,
        channel.channel_type.as_str(),
        settings,
        record.key_id,
        record.sealed,
        channel.enabled,
        channel.disabled_reason.map(DisabledReason::as_str),
        channel.policies.severity_filter.as_str(),
        channel.policies.retry_on_failure,
        delays,
        channel.policies.timeout_ms,
        channel.revision,
        channel.created_at.unix_ms(),
        channel.updated_at.unix_ms(),
        match expect {
            Expect::Absent => None,
            Expect::Revision(revision) => Some(revision),
        },
    ];
    match expect {
        Expect::Absent => {
            db.prepare_cached(
                "INSERT INTO channel (workspace_id, id, owner_rule_id, name, channel_type, settings, key_id, sealed, \
                 enabled, disabled_reason, severity_filter, retry_on_failure, retry_delays_seconds, timeout_ms, \
                 revision, created_at, updated_at) \
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17 WHERE ?18 IS NULL",
            )?
            .execute(values)?;
            Ok(())
        }
        Expect::Revision(_) => {
            let changed = db
                .prepare_cached(
                    "UPDATE channel SET owner_rule_id = ?3, name = ?4, channel_type = ?5, settings = ?6, key_id = ?7, \
                     sealed = ?8, enabled = ?9, disabled_reason = ?10, severity_filter = ?11, retry_on_failure = ?12, \
                     retry_delays_seconds = ?13, timeout_ms = ?14, revision = ?15, created_at = ?16, updated_at = ?17 \
                     WHERE workspace_id = ?1 AND id = ?2 AND revision = ?18",
                )?
                .execute(values)?;
            edited(db, "channel", workspace_id, &channel.id, changed)
        }
    }
}
