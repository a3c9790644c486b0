//! Timelines of incidents, which are append-only.

use rusqlite::{Connection, params};
use tidings_domain::incident::{TimelineEntry, TimelineKind};

use crate::Result;
use crate::sqlite::row::{json, to_json};

/// From this many entries on, an incident's timeline takes no more entries of checks. An incident of months would
/// otherwise have one for every check.
const ENTRIES_MAX: i64 = 10_000;
/// The most entries that a read returns, the newest ones.
const READ_MAX: i64 = 1_000;

/// An entry, encoded by the caller.
pub(super) struct EncodedEntry {
    is_check: bool,
    entry: String,
}

impl EncodedEntry {
    pub(super) fn new(entry: &TimelineEntry) -> Result<Self> {
        Ok(Self { is_check: matches!(entry.kind, TimelineKind::Check { .. }), entry: to_json(entry)? })
    }
}

/// Appends entries to the timeline of the incident with this sort key.
pub(super) fn append(db: &Connection, incident: i64, entries: &[EncodedEntry]) -> Result<()> {
    let mut last: i64 = db
        .prepare_cached("SELECT coalesce(max(number), 0) FROM incident_timeline WHERE incident = ?")?
        .query_row([incident], |row| row.get(0))?;
    let mut insert = db.prepare_cached("INSERT INTO incident_timeline (incident, number, entry) VALUES (?, ?, ?)")?;
    for entry in entries {
        if !entry.is_check || last < ENTRIES_MAX {
            last += 1;
            insert.execute(params![incident, last, entry.entry])?;
        }
    }
    Ok(())
}

/// The newest entries, oldest first.
pub(super) fn newest(db: &Connection, incident: i64) -> Result<Vec<TimelineEntry>> {
    let mut statement =
        db.prepare_cached("SELECT entry FROM incident_timeline WHERE incident = ? ORDER BY number DESC LIMIT ?")?;
    let mut rows = statement.query([incident, READ_MAX])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(json(row, "entry")?);
    }
    found.reverse();
    Ok(found)
}
