//! Channels with their sealed secrets.

use rusqlite::{Connection, Row, params};
use tidings_domain::channel::{Channel, ChannelType, Connectivity, DeliveryPriority, DisabledReason, Policies};
use tidings_domain::id::{ChannelId, Id, RuleId, WorkspaceId};
use tidings_domain::severity::SeverityFilter;

use super::{check_updated, expected_revision, mute, optional_json};
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
        policies: Policies {
            severity_filter: parsed(row, "severity_filter", SeverityFilter::parse)?,
            event_filters: json(row, "event_filters")?,
            delivery_priority: parsed(row, "delivery_priority", DeliveryPriority::parse)?,
            quiet_hours: optional_json(row, "quiet_hours")?,
            rate_limit: optional_json(row, "rate_limit")?,
            retry_on_failure: row.get("retry_on_failure")?,
            retry_delays_seconds: optional_json(row, "retry_delays_seconds")?,
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
    let policies = &channel.policies;
    let (settings, event_filters) = (to_json(&channel.settings)?, to_json(&policies.event_filters)?);
    let quiet_hours = policies.quiet_hours.as_ref().map(to_json).transpose()?;
    let rate_limit = policies.rate_limit.as_ref().map(to_json).transpose()?;
    let delays = policies.retry_delays_seconds.as_ref().map(to_json).transpose()?;
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
        policies.severity_filter.as_str(),
        event_filters,
        policies.delivery_priority.as_str(),
        quiet_hours,
        rate_limit,
        policies.retry_on_failure,
        delays,
        policies.timeout_ms,
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
                 enabled, disabled_reason, severity_filter, event_filters, delivery_priority, quiet_hours, rate_limit, \
                 retry_on_failure, retry_delays_seconds, timeout_ms, revision, created_at, updated_at) \
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21 \
                 WHERE ?22 IS NULL",
            )?
            .execute(values)?;
            Ok(())
        }
        Precondition::Revision(_) => {
            let changed = db
                .prepare_cached(
                    "UPDATE channel SET owner_rule_id = ?3, name = ?4, channel_type = ?5, settings = ?6, key_id = ?7, \
                     sealed = ?8, enabled = ?9, disabled_reason = ?10, severity_filter = ?11, event_filters = ?12, \
                     delivery_priority = ?13, quiet_hours = ?14, rate_limit = ?15, retry_on_failure = ?16, \
                     retry_delays_seconds = ?17, timeout_ms = ?18, revision = ?19, created_at = ?20, updated_at = ?21 \
                     WHERE workspace_id = ?1 AND id = ?2 AND revision = ?22",
                )?
                .execute(values)?;
            check_updated(db, "channel", workspace_id, &channel.id, changed)
        }
    }
}
