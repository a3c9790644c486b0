//! Resources: lists, edits, and the rows of endpoints.

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use tidings_domain::check::Check;
use tidings_domain::endpoint::Endpoint;
use tidings_domain::id::{EndpointId, Id as _, WorkspaceId};
use tidings_domain::resource::ResourceType;
use tidings_domain::time::Timestamp;

use super::recent;
use crate::Result;
use crate::error::StoreError;
use crate::insights::{
    LastOutcome, OutcomeStatus, ResourceEdit, ResourceFilter, ResourceKey, ResourceOrder, ResourceRecord, UPTIME_DAYS,
};
use crate::retention::SummaryGranularity;
use crate::sqlite::row::{instant, json, parsed, to_json};
use crate::sqlite::search::fold;
use crate::sqlite::settings::optional_json;

const SELECT: &str = "SELECT r.*, s.last_check FROM resource r \
     LEFT JOIN endpoint_state s ON s.endpoint = r.endpoint WHERE r.workspace_id = ?";

pub(in crate::sqlite) fn list(
    db: &Connection,
    workspace_id: WorkspaceId,
    filter: &ResourceFilter,
    now: Timestamp,
) -> Result<Vec<ResourceRecord>> {
    let mut sql = String::from(SELECT);
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(*workspace_id.as_bytes())];
    let mut and = |condition: &str, value: Box<dyn ToSql>| {
        sql.push_str(" AND ");
        sql.push_str(condition);
        values.push(value);
    };
    if let Some(resource_type) = filter.resource_type {
        // Without the plus SQLite takes the type for constant, and sorts by id after it.
        and("+r.resource_type = ?", Box::new(resource_type.as_str()));
    }
    if let Some(text) = &filter.text {
        and("holds_text(?, r.resource_id, r.title)", Box::new(fold(text)));
    }
    if let Some(tag) = &filter.tag {
        and("EXISTS (SELECT 1 FROM json_each(r.tags) t WHERE t.value = ?)", Box::new(tag.clone()));
    }
    if let Some(status) = filter.status {
        and("coalesce(r.last_status, s.last_check ->> '$.status') = ?", Box::new(status.as_str()));
    }
    if let Some(after) = filter.after.clone() {
        match filter.order {
            ResourceOrder::Name => {
                and("(r.title, r.resource_type, r.resource_id) > (?", Box::new(after.name));
            }
            ResourceOrder::LastOutcome => {
                and("(r.last_at, r.resource_type, r.resource_id) < (?", Box::new(after.last_at.unix_ms()));
            }
        }
        sql.push_str(", ?, ?)");
        values.push(Box::new(after.resource_type.as_str()));
        values.push(Box::new(after.resource_id));
    }
    sql.push_str(match filter.order {
        ResourceOrder::Name => " ORDER BY r.title, r.resource_type, r.resource_id LIMIT ?",
        ResourceOrder::LastOutcome => " ORDER BY r.last_at DESC, r.resource_type DESC, r.resource_id DESC LIMIT ?",
    });
    values.push(Box::new(filter.limit));
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(db, row, now)?);
    }
    Ok(found)
}

pub(in crate::sqlite) fn get(db: &Connection, key: &ResourceKey, now: Timestamp) -> Result<Option<ResourceRecord>> {
    let mut statement = db.prepare_cached(&format!("{SELECT} AND r.resource_type = ? AND r.resource_id = ?"))?;
    let mut rows =
        statement.query(params![key.workspace_id.as_bytes(), key.resource_type.as_str(), key.resource_id])?;
    rows.next()?.map(|row| read(db, row, now)).transpose()
}

fn read(db: &Connection, row: &Row<'_>, now: Timestamp) -> Result<ResourceRecord> {
    let endpoint: Option<i64> = row.get("endpoint")?;
    let last = match endpoint {
        Some(_) => optional_json::<Check>(row, "last_check")?.map(|check| LastOutcome {
            status: OutcomeStatus::Check(check.status),
            at: check.checked_at,
            duration_ms: check.response_time_ms.map(u64::from),
        }),
        None => match row.get_ref("last_status")?.as_str_or_null() {
            Ok(None) => None,
            _ => Some(LastOutcome {
                status: parsed(row, "last_status", OutcomeStatus::parse)?,
                at: instant(row, "last_at")?,
                duration_ms: row.get::<_, Option<i64>>("last_duration_ms")?.map(i64::unsigned_abs),
            }),
        },
    };
    Ok(ResourceRecord {
        resource_type: parsed(row, "resource_type", ResourceType::parse)?,
        resource_id: row.get("resource_id")?,
        own_name: row.get("name")?,
        reported_name: row.get("reported_name")?,
        link: row.get("link")?,
        tags: json(row, "tags")?,
        revision: row.get("revision")?,
        first_seen_at: instant(row, "first_seen_at")?,
        last_seen_at: instant(row, "last_seen_at")?,
        last,
        recent: recent::runs(row.get_ref("recent")?.as_blob().unwrap_or_default())?,
        checks: endpoint.map(|number| checks(db, number, now)).transpose()?,
    })
}

/// The conclusive checks of an endpoint in the last [`UPTIME_DAYS`], and those of them that were not down, as far as they
/// are summarised.
fn checks(db: &Connection, endpoint: i64, now: Timestamp) -> Result<(u64, u64)> {
    let since = SummaryGranularity::Day.number(now) - i64::from(UPTIME_DAYS) + 1;
    let (up, down) = db
        .prepare_cached(
            "SELECT coalesce(sum(healthy + degraded), 0), coalesce(sum(down), 0) FROM endpoint_day \
             WHERE endpoint = ? AND day >= ?",
        )?
        .query_row([endpoint, since], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    Ok(((up + down).unsigned_abs(), up.unsigned_abs()))
}

/// Writes what a person gave a resource, at the expected revision.
pub(in crate::sqlite) fn edit(db: &Connection, edit: &ResourceEdit, now: Timestamp) -> Result<ResourceRecord> {
    let before = get(db, &edit.key, now)?.ok_or(StoreError::NotFound)?;
    if before.checks.is_some() {
        return Err(StoreError::NotFound);
    }
    if before.revision != edit.expected_revision {
        return Err(StoreError::Conflict);
    }
    let title = edit.name.as_ref().or(before.reported_name.as_ref()).unwrap_or(&edit.key.resource_id);
    db.prepare_cached(
        "UPDATE resource SET title = ?, name = ?, link = ?, tags = ?, revision = revision + 1 \
         WHERE workspace_id = ? AND resource_type = ? AND resource_id = ?",
    )?
    .execute(params![
        fold(title),
        edit.name,
        edit.link,
        to_json(&edit.tags)?,
        edit.key.workspace_id.as_bytes(),
        edit.key.resource_type.as_str(),
        edit.key.resource_id,
    ])?;
    get(db, &edit.key, now)?.ok_or(StoreError::NotFound)
}

/// Writes the resource of an endpoint, with the endpoint itself.
pub(in crate::sqlite) fn put_endpoint(db: &Connection, endpoint: &Endpoint) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO resource (workspace_id, resource_type, resource_id, endpoint, title, reported_name, tags, \
         first_seen_at, last_seen_at) \
         SELECT ?1, 'endpoint', ?2, number, ?3, ?4, ?5, ?6, ?7 FROM endpoint WHERE id = ?8 \
         ON CONFLICT DO UPDATE SET endpoint = excluded.endpoint, title = ?3, reported_name = ?4, tags = ?5, \
         last_seen_at = ?7",
    )?
    .execute(params![
        endpoint.workspace_id.as_bytes(),
        endpoint.id.to_string(),
        fold(&endpoint.name),
        endpoint.name,
        to_json(&endpoint.definition.tags)?,
        endpoint.created_at.unix_ms(),
        endpoint.updated_at.unix_ms(),
        endpoint.id.as_bytes(),
    ])?;
    Ok(())
}

/// Deletes the resource of an endpoint, with the endpoint itself.
pub(in crate::sqlite) fn delete_endpoint(db: &Connection, workspace_id: WorkspaceId, id: EndpointId) -> Result<()> {
    db.prepare_cached(
        "DELETE FROM resource WHERE workspace_id = ? AND resource_type = 'endpoint' AND resource_id = ?",
    )?
    .execute(params![workspace_id.as_bytes(), id.to_string()])?;
    Ok(())
}

/// Deletes at most `limit` resources of a workspace of which nothing was seen since an instant, unless a person gave
/// them something. Those of endpoints have no `last_at`. Returns how many.
pub(in crate::sqlite) fn prune(db: &Connection, workspace_id: [u8; 16], before: Timestamp, limit: u32) -> Result<u32> {
    let old = db
        .prepare_cached(
            "SELECT resource_type, resource_id FROM resource WHERE workspace_id = ?1 AND last_at > 0 AND last_at < ?2 \
             AND last_seen_at < ?2 AND name IS NULL AND link IS NULL AND tags = '[]' LIMIT ?3",
        )?
        .query_map(params![workspace_id, before.unix_ms(), limit], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(String, String)>>>()?;
    let mut delete =
        db.prepare_cached("DELETE FROM resource WHERE workspace_id = ? AND resource_type = ? AND resource_id = ?")?;
    for (resource_type, resource_id) in &old {
        delete.execute(params![workspace_id, resource_type, resource_id])?;
    }
    Ok(old.len() as u32)
}

/// Whether the workspace has such a resource.
pub(super) fn delete(db: &Connection, key: &ResourceKey) -> Result<bool> {
    let deleted = db
        .prepare_cached("DELETE FROM resource WHERE workspace_id = ? AND resource_type = ? AND resource_id = ?")?
        .execute(params![key.workspace_id.as_bytes(), key.resource_type.as_str(), key.resource_id])?;
    Ok(deleted > 0)
}

/// Whether the workspace has this endpoint.
pub(super) fn is_endpoint(db: &Connection, key: &ResourceKey) -> Result<bool> {
    let endpoint: Option<Option<i64>> = db
        .prepare_cached(
            "SELECT endpoint FROM resource WHERE workspace_id = ? AND resource_type = ? AND resource_id = ?",
        )?
        .query_row(params![key.workspace_id.as_bytes(), key.resource_type.as_str(), key.resource_id], |row| row.get(0))
        .optional()?;
    Ok(endpoint.flatten().is_some())
}
