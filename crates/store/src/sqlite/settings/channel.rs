//! Channels with their sealed secrets.

use rusqlite::{Connection, Row, params};
use tidings_domain::channel::{Channel, ChannelType, Connectivity, DisabledReason};
use tidings_domain::id::{ChannelId, Id, RuleId, WorkspaceId};

use super::{check_updated, expected_revision, mute};
use crate::Result;
use crate::error::StoreError;
use crate::settings::{ChannelRecord, Precondition};
use crate::sqlite::activity;
use crate::sqlite::row::{corrupt, id, instant, json, optional_id, optional_instant, parsed, to_json};

pub(super) fn read(row: &Row<'_>) -> Result<ChannelRecord> {
    let disabled_reason: Option<String> = row.get("disabled_reason")?;
    let channel = Channel {
        id: id(row, "id")?,
        workspace_id: id(row, "workspace_id")?,
        owner_rule_id: optional_id::<RuleId>(row, "owner_rule_id")?,
        name: row.get("name")?,
        channel_type: parsed(row, "channel_type", ChannelType::parse)?,
        settings: json(row, "settings")?,
        enabled: row.get("enabled")?,
        disabled_reason: disabled_reason
            .map(|text| DisabledReason::parse(&text).ok_or_else(|| corrupt("disabled_reason", text)))
            .transpose()?,
        policies: json(row, "policies")?,
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

/// Deletes a channel with its mutes, its health, its rate window and when it was last expedited. Looks for rules that use
/// it first, because a failing foreign key would be taken for a missing row.
pub(super) fn delete(db: &Connection, workspace_id: WorkspaceId, id: ChannelId) -> Result<()> {
    let used: u32 = db
        .prepare_cached("SELECT count(*) FROM rule WHERE workspace_id = ? AND channel_id = ?")?
        .query_row(params![workspace_id.as_bytes(), id.as_bytes()], |row| row.get(0))?;
    if used > 0 {
        return Err(StoreError::InUse);
    }
    mute::delete_for_target(db, workspace_id, "channel", &id)?;
    super::delete(db, "channel", workspace_id, &id)?;
    db.prepare_cached("DELETE FROM rate_window WHERE channel_id = ?")?.execute([id.as_bytes()])?;
    db.prepare_cached("DELETE FROM expedited WHERE channel_id = ?")?.execute([id.as_bytes()])?;
    activity::delete_channel_health(db, workspace_id, id)
}

pub(super) fn put(
    db: &Connection,
    workspace_id: WorkspaceId,
    record: &ChannelRecord,
    expected: Precondition,
) -> Result<()> {
    let channel = &record.channel;
    let (settings, policies) = (to_json(&channel.settings)?, to_json(&channel.policies)?);
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
        policies,
        channel.revision,
        channel.created_at.unix_ms(),
        channel.updated_at.unix_ms(),
        expected_revision(expected),
    ];
    match expected {
        Precondition::Absent => {
            // Both statements get the same parameters, so this one must use the last one, too, which is NULL here.
            db.prepare_cached(
                "INSERT INTO channel (workspace_id, id, owner_rule_id, name, channel_type, settings, key_id, sealed, \
                 enabled, disabled_reason, policies, revision, created_at, updated_at) \
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14 WHERE ?15 IS NULL",
            )?
            .execute(values)?;
            Ok(())
        }
        Precondition::Revision(_) => {
            let changed = db
                .prepare_cached(
                    "UPDATE channel SET owner_rule_id = ?3, name = ?4, channel_type = ?5, settings = ?6, key_id = ?7, \
                     sealed = ?8, enabled = ?9, disabled_reason = ?10, policies = ?11, revision = ?12, \
                     created_at = ?13, updated_at = ?14 WHERE workspace_id = ?1 AND id = ?2 AND revision = ?15",
                )?
                .execute(values)?;
            check_updated(db, "channel", workspace_id, &channel.id, changed)
        }
    }
}
