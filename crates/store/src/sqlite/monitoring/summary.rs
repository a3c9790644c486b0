//! Summaries of checks: one for each completed hour of an endpoint, merged into days.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tidings_domain::check::CheckStatus;
use tidings_domain::check::summary::Summary;
use tidings_domain::id::{EndpointId, WorkspaceId, sort_key_at};
use tidings_domain::time::Timestamp;

use super::check::Detail;
use crate::Result;
use crate::error::StoreError;
use crate::retention::{HOUR_GRACE_MS, SummaryFilter, SummaryGranularity, SummaryProgress, SummaryRecord};
use crate::sqlite::row::{json, parsed, to_json};
use crate::sqlite::settings::endpoint;

/// The first hour that may not be summarised yet.
fn first_open_hour(now: Timestamp) -> i64 {
    SummaryGranularity::Hour.number(now.minus_ms(HOUR_GRACE_MS))
}

/// Summarises completed hours, endpoint by endpoint, until `limit` checks were read. The progress is a column of the
/// endpoint, written in the same transaction, so nothing is counted twice or left out if the process ends between two
/// calls.
pub(in crate::sqlite) fn summarise(db: &Connection, now: Timestamp, limit: u32) -> Result<SummaryProgress> {
    let open_hour = first_open_hour(now);
    rewind_future_progress(db, open_hour)?;
    let mut next_endpoint =
        db.prepare_cached("SELECT number, next_hour FROM endpoint WHERE next_hour < ? ORDER BY next_hour LIMIT 1")?;
    let mut progress = SummaryProgress { has_more: true, ..SummaryProgress::default() };
    // Each endpoint counts as one more, because one without checks has a cost, too.
    let mut read = 0;
    while read < limit.max(1) {
        let next = next_endpoint.query_row([open_hour], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((endpoint, next_hour)) = next else {
            progress.has_more = false;
            break;
        };
        let (checks, hours) = refresh(db, endpoint, next_hour, now)?;
        read = read.saturating_add(checks + 1);
        progress.endpoints += 1;
        progress.hours += hours;
    }
    Ok(progress)
}

/// Endpoints that one call of [`rewind_future_progress`] updates at most.
const REWIND_MAX: u32 = 256;

/// Rewinds endpoints whose progress is in the future, because the clock was ahead when they were summarised. Otherwise
/// they would not be summarised before that time is reached. One hour ahead (`+ 1`) is tolerated.
fn rewind_future_progress(db: &Connection, open_hour: i64) -> Result<()> {
    db.prepare_cached(
        "UPDATE endpoint SET next_hour = ?1 WHERE number IN \
         (SELECT number FROM endpoint WHERE next_hour > ?1 + 1 LIMIT ?2)",
    )?
    .execute(params![open_hour, REWIND_MAX])?;
    Ok(())
}

/// Summarises the completed hours of an endpoint from `next_hour` on. Returns the number of checks read and of hours
/// written.
pub(in crate::sqlite) fn refresh(db: &Connection, endpoint: i64, next_hour: i64, now: Timestamp) -> Result<(u32, u32)> {
    let open_hour = first_open_hour(now);
    if next_hour >= open_hour {
        return Ok((0, 0));
    }
    let (read, hours) = read_hours(db, endpoint, next_hour, open_hour)?;
    let mut days: BTreeMap<i64, Summary> = BTreeMap::new();
    for (hour, summary) in &hours {
        put(db, SummaryGranularity::Hour, endpoint, *hour, summary)?;
        days.entry(SummaryGranularity::Day.number(SummaryGranularity::Hour.start(*hour))).or_default().merge(summary);
    }
    // A day is merged from its hours as they complete; its checks may be pruned before the day ends.
    for (day, more) in &days {
        // A summary that cannot be decoded is replaced; failing would stop this endpoint's summaries for ever.
        let so_far =
            get(db, SummaryGranularity::Day, endpoint, *day).or_else(|error| skip_corrupt(error, "summary"))?;
        let mut summary = so_far.unwrap_or_default();
        summary.merge(more);
        put(db, SummaryGranularity::Day, endpoint, *day, &summary)?;
    }
    db.prepare_cached("UPDATE endpoint SET next_hour = ? WHERE number = ?")?.execute([open_hour, endpoint])?;
    Ok((read, hours.len() as u32))
}

/// The summaries of the hours in `from..until`, and the number of checks read for them.
fn read_hours(db: &Connection, endpoint: i64, from: i64, until: i64) -> Result<(u32, BTreeMap<i64, Summary>)> {
    // Checks are keyed by the time in their id, which may be a little before `checked_at` (two clocks) or any time
    // after it.
    let first = SummaryGranularity::Hour.start(from).minus_ms(HOUR_GRACE_MS).unix_ms().max(0);
    let mut statement = db.prepare_cached(
        "SELECT checked_at, status, total_ms, detail FROM endpoint_check WHERE endpoint = ? AND sort_key >= ?",
    )?;
    let mut rows = statement.query([endpoint, sort_key_at(first)])?;
    let (mut read, mut hours) = (0, BTreeMap::<i64, Summary>::new());
    while let Some(row) = rows.next()? {
        read += 1;
        let hour = SummaryGranularity::Hour.number(Timestamp::from_unix_ms(row.get("checked_at")?));
        // Keys give only a lower bound; the hour that counts is that of `checked_at`.
        if (from..until).contains(&hour) {
            let added = add(row, hours.entry(hour).or_default()).map(Some);
            added.or_else(|error| skip_corrupt(error, "check"))?;
        }
    }
    Ok((read, hours))
}

fn add(row: &Row<'_>, summary: &mut Summary) -> Result<()> {
    let detail: Detail = json(row, "detail")?;
    let response_time_ms = detail.response_time_ms(row.get("total_ms")?);
    summary.add(parsed(row, "status", CheckStatus::parse)?, response_time_ms, detail.failure);
    Ok(())
}

/// Logs and skips a row that cannot be decoded.
fn skip_corrupt<T>(error: StoreError, what: &str) -> Result<Option<T>> {
    match error {
        StoreError::Corrupt(cause) => {
            tracing::error!(cause, "failed to decode a {what}, not counting it");
            Ok(None)
        }
        error => Err(error),
    }
}

/// The table of these summaries, and its column for the period's number.
const fn table(granularity: SummaryGranularity) -> (&'static str, &'static str) {
    match granularity {
        SummaryGranularity::Hour => ("endpoint_hour", "hour"),
        SummaryGranularity::Day => ("endpoint_day", "day"),
    }
}

fn get(db: &Connection, granularity: SummaryGranularity, endpoint: i64, number: i64) -> Result<Option<Summary>> {
    let (table, column) = table(granularity);
    let mut statement =
        db.prepare_cached(&format!("SELECT summary FROM {table} WHERE endpoint = ? AND {column} = ?"))?;
    let mut rows = statement.query([endpoint, number])?;
    rows.next()?.map(|row| json(row, "summary")).transpose()
}

fn put(db: &Connection, granularity: SummaryGranularity, endpoint: i64, number: i64, summary: &Summary) -> Result<()> {
    let (table, column) = table(granularity);
    db.prepare_cached(&format!(
        "INSERT INTO {table} (endpoint, {column}, summary) VALUES (?, ?, ?) \
         ON CONFLICT DO UPDATE SET summary = excluded.summary"
    ))?
    .execute(params![endpoint, number, to_json(summary)?])?;
    Ok(())
}

pub(in crate::sqlite) fn list(
    db: &Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    filter: &SummaryFilter,
) -> Result<Vec<SummaryRecord>> {
    let Some(endpoint) = endpoint::number(db, workspace_id, endpoint_id)? else { return Ok(Vec::new()) };
    let (table, column) = table(filter.granularity);
    // The first period that begins at this instant or after it.
    let number = |at: Timestamp| filter.granularity.number(at.plus_ms(filter.granularity.ms() - 1));
    let (since, until) = (filter.since.map_or(i64::MIN, number), filter.until.map_or(i64::MAX, number));
    let mut statement = db.prepare_cached(&format!(
        "SELECT {column} AS number, summary FROM {table} WHERE endpoint = ? AND {column} >= ? AND {column} < ? \
         ORDER BY {column} LIMIT ?"
    ))?;
    let mut rows = statement.query(params![endpoint, since, until, filter.limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let starts_at = filter.granularity.start(row.get("number")?);
        found.push(SummaryRecord { starts_at, summary: json(row, "summary")? });
    }
    Ok(found)
}
