//! What was told of an incident: every delivery of its events.

use rusqlite::{Connection, Row, params};
use tidings_domain::delivery::Status;
use tidings_domain::gate::Walk;
use tidings_domain::id::{EventId, Id, IncidentId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;

use crate::Result;
use crate::sqlite::row::{id, json, optional_id, word};
use crate::watching::Told;

/// The events are found by what they are recognised by, which begins with the incident's id; no index of their own has to
/// be kept for it.
pub(in crate::sqlite) fn told(
    db: &Connection,
    workspace_id: WorkspaceId,
    incident_id: IncidentId,
) -> Result<Vec<Told>> {
    let mut events = db.prepare_cached(
        "SELECT event_id, trigger FROM event_key WHERE run_id = ? AND workspace_id = ? \
         AND resource_type IN ('endpoint', 'alert')",
    )?;
    let mut deliveries = db.prepare_cached(
        "SELECT id, rule_id, channel_id, status, walks, held_until, digest_id, occasion, late_of, carry FROM delivery \
         WHERE event_rank = ? AND workspace_id = ?",
    )?;
    let mut rows = events.query(params![incident_id.to_string(), workspace_id.as_bytes()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let event_id: EventId = id(row, "event_id")?;
        let trigger = word(row, "trigger", Trigger::parse)?;
        let mut rows = deliveries.query(params![event_id.rank(), workspace_id.as_bytes()])?;
        while let Some(row) = rows.next()? {
            found.push(read(row, event_id, trigger)?);
        }
    }
    found.sort_unstable_by_key(|told| told.delivery_id);
    Ok(found)
}

fn read(row: &Row<'_>, event_id: EventId, trigger: Trigger) -> Result<Told> {
    let mut walks: Vec<Walk> = json(row, "walks")?;
    Ok(Told {
        delivery_id: id(row, "id")?,
        event_id,
        trigger,
        rule_id: optional_id(row, "rule_id")?,
        channel_id: id(row, "channel_id")?,
        status: word(row, "status", Status::parse)?,
        walk: walks.pop(),
        held_until: row.get::<_, Option<i64>>("held_until")?.map(Timestamp::from_unix_ms),
        digest_id: optional_id(row, "digest_id")?,
        occasion: row.get("occasion")?,
        late_of: optional_id(row, "late_of")?,
        carry: row.get("carry")?,
    })
}
