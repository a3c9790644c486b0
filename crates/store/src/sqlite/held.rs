//! Held: what a gate holds back, and until when; read here, let go in [`super::let_go`].

use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use tidings_domain::gate::Walk;
use tidings_domain::id::{ChannelId, Id as _, WorkspaceId};
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

use super::claim::{Unreadable, first_of_each_channel};
use super::row::{EVENT_COLUMNS, corrupt, event, id, json, optional_id, word};
use crate::Result;
use crate::error::StoreError;
use crate::queue::{Due, HeldBack};

pub(super) fn held(db: &Connection) -> Result<Vec<Due>> {
    first_of_each_channel(db, "held_until")
}

/// What is held back, and what of it makes no sense.
pub(super) fn held_back(
    db: &Connection,
    workspace_id: WorkspaceId,
    channel_id: ChannelId,
    until: Timestamp,
    limit: u32,
) -> Result<(Vec<HeldBack>, Vec<Unreadable>)> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT d.workspace_id AS tenant, d.id, d.rule_id, d.rule_generation, d.severity, d.walks, {EVENT_COLUMNS} \
         FROM delivery d LEFT JOIN event e ON e.rank = d.event_rank WHERE d.rank = ?"
    ))?;
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    for rank in oldest(db, workspace_id, channel_id, until, limit)? {
        let mut rows = statement.query([rank])?;
        let Some(row) = rows.next()? else { continue };
        match read(row) {
            Ok(delivery) => found.push(delivery),
            Err(StoreError::Corrupt(why)) => {
                unreadable.push(Unreadable { workspace_id: id(row, "tenant")?, id: id(row, "id")?, why });
            }
            Err(error) => return Err(error),
        }
    }
    Ok((found, unreadable))
}

/// The ranks of those with the oldest events. The index has them by instant, so they are put in order here, before any of
/// them is read.
fn oldest(
    db: &Connection,
    workspace_id: WorkspaceId,
    channel_id: ChannelId,
    until: Timestamp,
    limit: u32,
) -> Result<impl Iterator<Item = i64>> {
    let mut places: Vec<(i64, i64)> = db
        .prepare_cached(
            "SELECT event_rank, rank FROM delivery WHERE channel_id = ? AND held_until <= ? AND workspace_id = ?",
        )?
        .query_map(params![channel_id.as_bytes(), until.unix_ms(), workspace_id.as_bytes()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    places.sort_unstable();
    Ok(places.into_iter().take(limit as usize).map(|(_, rank)| rank))
}

fn read(row: &Row<'_>) -> Result<HeldBack> {
    let walks: Vec<Walk> = json(row, "walks")?;
    Ok(HeldBack {
        id: id(row, "id")?,
        event: Arc::new(event(row)?),
        rule_id: optional_id(row, "rule_id")?,
        rule_generation: row.get("rule_generation")?,
        severity: word(row, "severity", Severity::parse)?,
        walk: walks.into_iter().next_back().ok_or_else(|| corrupt("walks", "none"))?,
    })
}
