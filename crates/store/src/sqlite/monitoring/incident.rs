//! Incidents, keyed by the sort key of their ids.

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use tidings_domain::id::{EndpointId, Id, IncidentId, WorkspaceId};
use tidings_domain::incident::{Cause, Incident, IncidentStatus, Notified, Subject, TimelineEntry, TimelineKind};
use tidings_domain::resource::ResourceType;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

use super::timeline;
use crate::Result;
use crate::error::StoreError;
use crate::monitoring::{IncidentFilter, IncidentRecord};
use crate::sqlite::row::{corrupt, id, instant, json, optional_instant, parsed, to_json};
use crate::sqlite::settings::optional_json;

/// Leaves out those of deleted workspaces, which are deleted later.
const OF_EXISTING: &str =
    "AND EXISTS (SELECT 1 FROM workspace w WHERE w.id = incident.workspace_id AND w.deleted_at IS NULL)";

/// The active incidents of all workspaces, oldest first.
pub(in crate::sqlite) fn active(db: &Connection) -> Result<Vec<IncidentRecord>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT * FROM incident INDEXED BY incident_open WHERE resolved_at IS NULL {OF_EXISTING}"
    ))?;
    let mut rows = statement.query([])?;
    let mut found = collect(&mut rows)?;
    // Sorted here: the index is ordered by workspace first.
    found.sort_unstable_by_key(|record| record.incident.id);
    Ok(found)
}

/// The resolved incidents of all workspaces that have a wake-up, oldest first.
pub(in crate::sqlite) fn unfinished(db: &Connection) -> Result<Vec<IncidentRecord>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT * FROM incident INDEXED BY incident_unfinished \
         WHERE resolved_at IS NOT NULL AND wake_at IS NOT NULL {OF_EXISTING}"
    ))?;
    let mut rows = statement.query([])?;
    let mut found = collect(&mut rows)?;
    found.sort_unstable_by_key(|record| record.incident.id);
    Ok(found)
}

/// The channels that were notified of an incident.
pub(in crate::sqlite) fn notified(db: &Connection, workspace_id: WorkspaceId, id: IncidentId) -> Result<Notified> {
    let mut statement =
        db.prepare_cached("SELECT notified_channels FROM incident WHERE sort_key = ? AND id = ? AND workspace_id = ?")?;
    let mut rows = statement.query(params![id.sort_key(), id.as_bytes(), workspace_id.as_bytes()])?;
    rows.next()?.map_or_else(|| Ok(Notified::new()), |row| json(row, "notified_channels"))
}

/// Names the narrowest index that yields the rows in order, so that a page needs no sort.
pub(in crate::sqlite) fn list(
    db: &Connection,
    workspace_id: WorkspaceId,
    filter: &IncidentFilter,
) -> Result<Vec<IncidentRecord>> {
    let index = match (&filter.subject, filter.status) {
        // A subject may have years of incidents; the unfinished ones are few.
        (_, Some(IncidentStatus::Resolved)) if filter.has_wake_up => "incident_unfinished",
        (Some(_), _) => "incident_resource",
        (None, Some(IncidentStatus::Active)) => "incident_open",
        (None, _) => "incident_workspace",
    };
    let mut sql = format!("SELECT * FROM incident INDEXED BY {index} WHERE workspace_id = ?");
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(*workspace_id.as_bytes())];
    let mut and = |condition: &str, value: Box<dyn ToSql>| {
        sql.push_str(" AND ");
        sql.push_str(condition);
        values.push(value);
    };
    if let Some(subject) = &filter.subject {
        and("resource_id = ?", Box::new(subject.resource_id()));
        and("resource_type = ?", Box::new(subject.resource_type().as_str()));
    }
    if let Some(before) = filter.before {
        and("sort_key < ?", Box::new(before.sort_key()));
    }
    if let Some(since) = filter.since {
        and("started_at >= ?", Box::new(since.unix_ms()));
    }
    if let Some(until) = filter.until {
        and("started_at < ?", Box::new(until.unix_ms()));
    }
    sql.push_str(match filter.status {
        None => "",
        Some(IncidentStatus::Active) => " AND resolved_at IS NULL",
        Some(IncidentStatus::Resolved) => " AND resolved_at IS NOT NULL",
    });
    if filter.has_wake_up {
        sql.push_str(" AND wake_at IS NOT NULL");
    }
    sql.push_str(" ORDER BY sort_key DESC LIMIT ?");
    values.push(Box::new(filter.limit));
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    collect(&mut rows)
}

/// An incident with the newest entries of its timeline.
pub(in crate::sqlite) fn get(
    db: &Connection,
    workspace_id: WorkspaceId,
    id: IncidentId,
) -> Result<Option<(IncidentRecord, Vec<TimelineEntry>)>> {
    let mut statement =
        db.prepare_cached("SELECT * FROM incident WHERE sort_key = ? AND id = ? AND workspace_id = ?")?;
    let mut rows = statement.query(params![id.sort_key(), id.as_bytes(), workspace_id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some((read(row)?, timeline::newest(db, id.sort_key())?)))
}

fn collect(rows: &mut rusqlite::Rows<'_>) -> Result<Vec<IncidentRecord>> {
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> Result<IncidentRecord> {
    let resource_id: String = row.get("resource_id")?;
    let subject = Subject::parse(parsed(row, "resource_type", ResourceType::parse)?, &resource_id);
    let incident = Incident {
        id: id(row, "id")?,
        workspace_id: id(row, "workspace_id")?,
        subject: subject.ok_or_else(|| corrupt("resource_id", resource_id))?,
        cause: parsed(row, "cause", Cause::parse)?,
        cause_detail: row.get("cause_detail")?,
        severity: parsed(row, "severity", Severity::parse)?,
        started_at: instant(row, "started_at")?,
        failing_since: instant(row, "failing_since")?,
        resolved_at: optional_instant(row, "resolved_at")?,
        acknowledged_at: optional_instant(row, "acknowledged_at")?,
        acknowledged_by: optional_json(row, "acknowledged_by")?,
        notifications_sent: row.get::<_, i64>("notifications_sent")?.unsigned_abs(),
    };
    Ok(IncidentRecord {
        incident,
        subject_info: json(row, "subject_info")?,
        escalations_done: json(row, "escalations_done")?,
        reminders: json(row, "reminders")?,
        wake_at: optional_instant(row, "wake_at")?,
        notified: json(row, "notified_channels")?,
        episode_started_at: optional_instant(row, "episode_started_at")?,
        revision: row.get("revision")?,
    })
}

/// An incident with its JSON columns encoded by the caller.
pub(super) struct EncodedIncident {
    pub(super) incident: Incident,
    acknowledged_by: Option<String>,
    subject_info: String,
    escalations_done: String,
    reminders: String,
    wake_at: Option<i64>,
    episode_started_at: Option<i64>,
    revision: u32,
}

impl EncodedIncident {
    pub(super) fn new(record: IncidentRecord) -> Result<Self> {
        Ok(Self {
            acknowledged_by: record.incident.acknowledged_by.as_ref().map(to_json).transpose()?,
            subject_info: to_json(&record.subject_info)?,
            escalations_done: to_json(&record.escalations_done)?,
            reminders: to_json(&record.reminders)?,
            wake_at: record.wake_at.map(Timestamp::unix_ms),
            episode_started_at: record.episode_started_at.map(Timestamp::unix_ms),
            revision: record.revision,
            incident: record.incident,
        })
    }
}

/// Inserts the incident at revision 1, or updates it to its next revision. `notifications_sent` and
/// `notified_channels` are written by settlements only, which do not change the revision.
pub(super) fn put(db: &Connection, workspace_id: WorkspaceId, record: &EncodedIncident) -> Result<()> {
    let incident = &record.incident;
    let resource_id = incident.subject.resource_id();
    let values = params![
        incident.id.sort_key(),
        incident.id.as_bytes(),
        workspace_id.as_bytes(),
        incident.subject.resource_type().as_str(),
        resource_id,
        incident.cause.as_str(),
        incident.cause_detail,
        incident.severity.as_str(),
        incident.started_at.unix_ms(),
        incident.failing_since.unix_ms(),
        incident.resolved_at.map(Timestamp::unix_ms),
        incident.acknowledged_at.map(Timestamp::unix_ms),
        record.acknowledged_by,
        record.subject_info,
        record.escalations_done,
        record.reminders,
        record.wake_at,
        record.revision,
        record.episode_started_at,
    ];
    if record.revision == 1 {
        // The unique index `incident_active` refuses a second active incident of the subject (`Exists`).
        db.prepare_cached(
            "INSERT INTO incident (sort_key, id, workspace_id, resource_type, resource_id, cause, cause_detail, \
             severity, started_at, failing_since, resolved_at, acknowledged_at, acknowledged_by, subject_info, \
             escalations_done, reminders, wake_at, revision, episode_started_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
        )?
        .execute(values)?;
        return Ok(());
    }
    let changed = db
        .prepare_cached(
            "UPDATE incident SET cause = ?6, cause_detail = ?7, severity = ?8, started_at = ?9, \
             failing_since = ?10, resolved_at = ?11, acknowledged_at = ?12, acknowledged_by = ?13, subject_info = ?14, \
             escalations_done = ?15, reminders = ?16, wake_at = ?17, revision = ?18, episode_started_at = ?19 WHERE sort_key = ?1 AND id = ?2 \
             AND workspace_id = ?3 AND resource_type = ?4 AND resource_id = ?5 AND revision = ?18 - 1",
        )?
        .execute(values)?;
    if changed == 1 {
        return Ok(());
    }
    Err(if exists(db, workspace_id, incident.id)? { StoreError::Conflict } else { StoreError::NotFound })
}

pub(super) fn exists(db: &Connection, workspace_id: WorkspaceId, id: IncidentId) -> Result<bool> {
    let count: u32 = db
        .prepare_cached("SELECT count(*) FROM incident WHERE sort_key = ? AND id = ? AND workspace_id = ?")?
        .query_row(params![id.sort_key(), id.as_bytes(), workspace_id.as_bytes()], |row| row.get(0))?;
    Ok(count > 0)
}

/// Resolves the active incident of an endpoint that is being deleted.
pub(in crate::sqlite) fn resolve_for_deleted_endpoint(
    db: &Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    now: Timestamp,
) -> Result<()> {
    // `max`, so that a clock that was set back does not produce a negative duration.
    let resolved: Option<i64> = db
        .prepare_cached(
            "UPDATE incident INDEXED BY incident_active \
             SET resolved_at = max(started_at, ?3), wake_at = NULL, revision = revision + 1 \
             WHERE workspace_id = ?1 AND resource_type = 'endpoint' AND resource_id = ?2 AND resolved_at IS NULL \
             RETURNING sort_key",
        )?
        .query_row(params![workspace_id.as_bytes(), endpoint_id.to_string(), now.unix_ms()], |row| row.get(0))
        .optional()?;
    let Some(sort_key) = resolved else { return Ok(()) };
    let kind = TimelineKind::Resolved { detail: Some("endpoint deleted".into()) };
    timeline::append(db, sort_key, &[timeline::EncodedEntry::new(&TimelineEntry { at: now, kind })?])
}
