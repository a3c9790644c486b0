//! Rules.

use rusqlite::{Connection, Row, params};
use tidings_domain::id::{Id, WorkspaceId};
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::rule::Rule;

use super::{check_updated, expected_revision};
use crate::Result;
use crate::settings::Precondition;
use crate::sqlite::row::{id, instant, json, parsed, to_json};

pub(super) fn read(row: &Row<'_>) -> Result<Rule> {
    Ok(Rule {
        id: id(row, "id")?,
        workspace_id: id(row, "workspace_id")?,
        resource_type: parsed(row, "resource_type", ResourceType::parse)?,
        resource: ResourceSelector::parse(&row.get::<_, String>("resource_id")?),
        channel_id: id(row, "channel_id")?,
        enabled: row.get("enabled")?,
        paused: row.get("paused")?,
        settings: json(row, "settings")?,
        generation: row.get("generation")?,
        revision: row.get("revision")?,
        created_at: instant(row, "created_at")?,
        updated_at: instant(row, "updated_at")?,
    })
}

pub(super) fn put(db: &Connection, workspace_id: WorkspaceId, rule: &Rule, expected: Precondition) -> Result<()> {
    let settings = to_json(&rule.settings)?;
    let values = params![
        workspace_id.as_bytes(),
        rule.id.as_bytes(),
        rule.resource_type.as_str(),
        rule.resource.as_str(),
        rule.channel_id.as_bytes(),
        rule.enabled,
        rule.paused,
        settings,
        rule.generation,
        rule.revision,
        rule.created_at.unix_ms(),
        rule.updated_at.unix_ms(),
        expected_revision(expected),
    ];
    match expected {
        Precondition::Absent => {
            // Both statements get the same parameters, so this one must use the last one, too, which is NULL here.
            db.prepare_cached(
                "INSERT INTO rule (workspace_id, id, resource_type, resource_id, channel_id, enabled, paused, settings, \
                 generation, revision, created_at, updated_at) \
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 WHERE ?13 IS NULL",
            )?
            .execute(values)?;
            Ok(())
        }
        Precondition::Revision(_) => {
            let changed = db
                .prepare_cached(
                    "UPDATE rule SET resource_type = ?3, resource_id = ?4, channel_id = ?5, enabled = ?6, paused = ?7, \
                     settings = ?8, generation = ?9, revision = ?10, created_at = ?11, updated_at = ?12 \
                     WHERE workspace_id = ?1 AND id = ?2 AND revision = ?13",
                )?
                .execute(values)?;
            check_updated(db, "rule", workspace_id, &rule.id, changed)
        }
    }
}
