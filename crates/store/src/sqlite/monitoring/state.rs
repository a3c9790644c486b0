//! Endpoint states, written with every check.

use rusqlite::{Connection, Row, params};
use tidings_domain::id::{EndpointId, Id, IncidentId, WorkspaceId};

use crate::Result;
use crate::monitoring::EndpointState;
use crate::sqlite::row::{id, json, optional_id, to_json};
use crate::sqlite::settings::optional_json;

/// The states of a workspace's endpoints, oldest endpoint first.
pub(in crate::sqlite) fn all(db: &Connection, workspace_id: WorkspaceId) -> Result<Vec<EndpointState>> {
    let mut statement = db.prepare_cached(
        "SELECT e.id, s.streak, s.flap_history, s.last_check, s.incident_id, s.openings, s.revision \
         FROM endpoint e CROSS JOIN endpoint_state s ON s.endpoint = e.number WHERE e.workspace_id = ?",
    )?;
    let mut rows = statement.query([workspace_id.as_bytes()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    // Sorted here: the index of `endpoint` that finds them is ordered by version.
    found.sort_unstable_by_key(|state| state.endpoint_id);
    Ok(found)
}

fn read(row: &Row<'_>) -> Result<EndpointState> {
    Ok(EndpointState {
        endpoint_id: id(row, "id")?,
        streak: json(row, "streak")?,
        flap_history: json(row, "flap_history")?,
        last_check: optional_json(row, "last_check")?,
        incident_id: optional_id(row, "incident_id")?,
        last_openings: json(row, "openings")?,
        revision: row.get::<_, i64>("revision")?.unsigned_abs(),
    })
}

/// A state with its JSON columns encoded by the caller.
pub(super) struct EncodedState {
    pub(super) endpoint_id: EndpointId,
    pub(super) incident_id: Option<IncidentId>,
    streak: String,
    flap_history: String,
    last_check: Option<String>,
    openings: String,
    revision: u64,
}

impl EncodedState {
    pub(super) fn new(state: &EndpointState) -> Result<Self> {
        Ok(Self {
            endpoint_id: state.endpoint_id,
            incident_id: state.incident_id,
            streak: to_json(&state.streak)?,
            flap_history: to_json(&state.flap_history)?,
            last_check: state.last_check.as_ref().map(to_json).transpose()?,
            openings: to_json(&state.last_openings)?,
            revision: state.revision,
        })
    }
}

/// Writes the state of the endpoint with this number, unless its revision is not the next one. Returns whether it was.
pub(super) fn put(db: &Connection, endpoint: i64, state: &EncodedState) -> Result<bool> {
    let sql = match state.revision {
        0 => return Ok(false),
        1 => {
            "INSERT INTO endpoint_state (endpoint, streak, flap_history, last_check, incident_id, openings, revision) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING"
        }
        _ => {
            "UPDATE endpoint_state SET streak = ?2, flap_history = ?3, last_check = ?4, incident_id = ?5, \
             openings = ?6, revision = ?7 WHERE endpoint = ?1 AND revision = ?7 - 1"
        }
    };
    let written = db.prepare_cached(sql)?.execute(params![
        endpoint,
        state.streak,
        state.flap_history,
        state.last_check,
        state.incident_id.as_ref().map(Id::as_bytes),
        state.openings,
        // One that does not fit follows no stored revision, so it is refused like any other wrong one.
        i64::try_from(state.revision).unwrap_or(i64::MAX),
    ])?;
    Ok(written == 1)
}
