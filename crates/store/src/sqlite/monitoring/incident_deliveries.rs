//! The deliveries of an incident's events.

use rusqlite::{Connection, Row, params};
use tidings_domain::delivery::Status;
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{EventId, Id, IncidentId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;

use crate::Result;
use crate::monitoring::IncidentDelivery;
use crate::sqlite::row::{id, json, optional_id, parsed};

/// Finds the events through the idempotency keys, which begin with the incident's id (`run_id`), so that `event` needs
/// no index for it.
pub(in crate::sqlite) fn list(
    db: &Connection,
    workspace_id: WorkspaceId,
    incident_id: IncidentId,
) -> Result<Vec<IncidentDelivery>> {
    let mut events = db.prepare_cached(
        "SELECT event_id, trigger FROM idempotency_key WHERE run_id = ? AND workspace_id = ? \
         AND resource_type IN ('endpoint', 'alert')",
    )?;
    let mut deliveries = db.prepare_cached(
        "SELECT id, rule_id, channel_id, status, gate_evaluations, held_until, digest_id, sequence, replaces_id, \
         attempt_state FROM delivery WHERE event_sort_key = ? AND workspace_id = ?",
    )?;
    let mut rows = events.query(params![incident_id.to_string(), workspace_id.as_bytes()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let event_id: EventId = id(row, "event_id")?;
        let trigger = parsed(row, "trigger", Trigger::parse)?;
        let mut rows = deliveries.query(params![event_id.sort_key(), workspace_id.as_bytes()])?;
        while let Some(row) = rows.next()? {
            found.push(read(row, event_id, trigger)?);
        }
    }
    found.sort_unstable_by_key(|delivery| delivery.delivery_id);
    Ok(found)
}

fn read(row: &Row<'_>, event_id: EventId, trigger: Trigger) -> Result<IncidentDelivery> {
    let mut gate_evaluations: Vec<GateEvaluation> = json(row, "gate_evaluations")?;
    Ok(IncidentDelivery {
        delivery_id: id(row, "id")?,
        event_id,
        trigger,
        rule_id: optional_id(row, "rule_id")?,
        channel_id: id(row, "channel_id")?,
        status: parsed(row, "status", Status::parse)?,
        evaluation: gate_evaluations.pop(),
        held_until: row.get::<_, Option<i64>>("held_until")?.map(Timestamp::from_unix_ms),
        digest_id: optional_id(row, "digest_id")?,
        sequence: row.get("sequence")?,
        replaces_id: optional_id(row, "replaces_id")?,
        attempt_state: row.get("attempt_state")?,
    })
}
