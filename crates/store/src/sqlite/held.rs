//! Reads of held deliveries. [`super::release`] writes them.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{ChannelId, Id as _, WorkspaceId};
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

use super::claim::{Unreadable, earliest_per_channel};
use super::row::{DELIVERY_EVENT_COLUMNS, corrupt, event, id, json, optional_id, parsed};
use crate::Result;
use crate::error::StoreError;
use crate::queue::{Due, HeldDelivery};

pub(super) fn next_releases(db: &Connection) -> Result<Vec<Due>> {
    earliest_per_channel(db, "held_until")
}

/// Held deliveries, and the rows among them that cannot be decoded. This is a read; the caller has those settled by the
/// writer.
pub(super) fn list(
    db: &Connection,
    workspace_id: WorkspaceId,
    channel_id: ChannelId,
    until: Timestamp,
    limit: u32,
) -> Result<(Vec<HeldDelivery>, Vec<Unreadable>)> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT d.workspace_id AS tenant, d.id, d.rule_id, d.rule_generation, d.severity, d.gate_evaluations, \
         {DELIVERY_EVENT_COLUMNS} \
         FROM delivery d LEFT JOIN event e ON e.sort_key = d.event_sort_key WHERE d.sort_key = ?"
    ))?;
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    for sort_key in oldest(db, workspace_id, channel_id, until, limit)? {
        let mut rows = statement.query([sort_key])?;
        let Some(row) = rows.next()? else { continue };
        match read(row) {
            Ok(delivery) => found.push(delivery),
            Err(StoreError::Corrupt(cause)) => {
                unreadable.push(Unreadable { workspace_id: id(row, "tenant")?, id: id(row, "id")?, cause });
            }
            Err(error) => return Err(error),
        }
    }
    Ok((found, unreadable))
}

/// The sort keys of the deliveries with the oldest events. The index is ordered by `held_until`, so all of them are
/// sorted here by their keys alone, and only then `limit` rows are read.
fn oldest(
    db: &Connection,
    workspace_id: WorkspaceId,
    channel_id: ChannelId,
    until: Timestamp,
    limit: u32,
) -> Result<impl Iterator<Item = i64>> {
    let mut keys: Vec<(i64, i64)> = db
        .prepare_cached(
            "SELECT event_sort_key, sort_key FROM delivery WHERE channel_id = ? AND held_until <= ? \
             AND workspace_id = ?",
        )?
        .query_map(params![channel_id.as_bytes(), until.unix_ms(), workspace_id.as_bytes()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    keys.sort_unstable();
    Ok(keys.into_iter().take(limit as usize).map(|(_, sort_key)| sort_key))
}

fn read(row: &Row<'_>) -> Result<HeldDelivery> {
    let gate_evaluations: Vec<GateEvaluation> = json(row, "gate_evaluations")?;
    Ok(HeldDelivery {
        id: id(row, "id")?,
        event: Arc::new(event(row)?),
        rule_id: optional_id(row, "rule_id")?,
        rule_generation: row.get("rule_generation")?,
        severity: parsed(row, "severity", Severity::parse)?,
        evaluation: gate_evaluations.into_iter().next_back().ok_or_else(|| corrupt("gate_evaluations", "none"))?,
    })
}
