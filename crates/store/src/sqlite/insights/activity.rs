//! Counts of settled deliveries and reported runs by period.

use rusqlite::{Connection, params};
use tidings_domain::id::{Id as _, WorkspaceId};
use tidings_domain::time::Timestamp;

use crate::Result;
use crate::insights::{Activity, ActivityFilter};

const MINUTE_MS: i64 = 60_000;

pub(in crate::sqlite) fn list(
    db: &Connection,
    workspace_id: WorkspaceId,
    filter: &ActivityFilter,
) -> Result<Vec<(Timestamp, Activity)>> {
    let minutes = i64::from(filter.minutes.max(1));
    let since = filter.since.unix_ms().div_euclid(MINUTE_MS);
    let until = filter.until.unix_ms().saturating_add(MINUTE_MS - 1).div_euclid(MINUTE_MS);
    let mut statement = db.prepare_cached(
        "SELECT minute, sent, failed, suppressed, skipped, runs_succeeded, runs_failed FROM activity_minute \
         WHERE workspace_id = ? AND minute >= ? AND minute < ? ORDER BY minute",
    )?;
    let mut rows = statement.query(params![workspace_id.as_bytes(), since, until])?;
    // Every period of the span, also those in which nothing happened.
    let first = since.div_euclid(minutes);
    let last = until.saturating_sub(1).div_euclid(minutes);
    let starts_at = |period: i64| Timestamp::from_unix_ms(period.saturating_mul(minutes * MINUTE_MS));
    let mut found: Vec<_> = if since < until {
        (first..=last).map(|period| (starts_at(period), Activity::default())).collect()
    } else {
        Vec::new()
    };
    while let Some(row) = rows.next()? {
        // By position: a long span has a hundred thousand rows.
        let count = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
        let minute: i64 = row.get(0)?;
        let index = usize::try_from(minute.div_euclid(minutes) - first).unwrap_or(usize::MAX);
        let Some((_, activity)) = found.get_mut(index) else { continue };
        activity.sent += count(1)?;
        activity.failed += count(2)?;
        activity.suppressed += count(3)?;
        activity.skipped += count(4)?;
        activity.runs_succeeded += count(5)?;
        activity.runs_failed += count(6)?;
    }
    Ok(found)
}

/// Deletes at most `limit` minutes of a workspace before an instant. Returns how many.
pub(in crate::sqlite) fn prune(db: &Connection, workspace_id: [u8; 16], before: Timestamp, limit: u32) -> Result<u32> {
    let deleted = db
        .prepare_cached(
            "DELETE FROM activity_minute WHERE workspace_id = ?1 AND minute IN (SELECT minute FROM activity_minute \
             WHERE workspace_id = ?1 AND minute < ?2 ORDER BY minute LIMIT ?3)",
        )?
        .execute(params![workspace_id, before.unix_ms().div_euclid(MINUTE_MS), limit])?;
    Ok(deleted as u32)
}
