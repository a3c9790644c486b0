//! Summaries of checks: one for each hour of an endpoint that is over, added up to days.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tidings_domain::check::CheckStatus;
use tidings_domain::check::summary::Summary;
use tidings_domain::id::{EndpointId, WorkspaceId, sort_key_at};
use tidings_domain::time::Timestamp;

use super::check::Detail;
use crate::Result;
use crate::error::StoreError;
use crate::retention::{HOUR_OPEN_MS, SummaryFilter, SummaryGranularity, SummaryProgress, SummaryRecord};
use crate::sqlite::row::{json, to_json, word};
use crate::sqlite::settings::endpoint;

/// The first hour that is not over yet, or only just.
fn open_hour(now: Timestamp) -> i64 {
    SummaryGranularity::Hour.number(now.minus_ms(HOUR_OPEN_MS))
}

/// Summarises what is over, endpoint by endpoint, until about so many checks were read. Each endpoint says how far it
/// has come, so that nothing is counted twice or left out, whatever happens between two calls.
pub(in crate::sqlite) fn summarise(db: &Connection, now: Timestamp, limit: u32) -> Result<SummaryProgress> {
    let open_hour = open_hour(now);
    set_back(db, open_hour)?;
    let mut behind =
        db.prepare_cached("SELECT number, next_hour FROM endpoint WHERE next_hour < ? ORDER BY next_hour LIMIT 1")?;
    let mut summarised = SummaryProgress { has_more: true, ..SummaryProgress::default() };
    // An endpoint without checks costs something, too.
    let mut read = 0;
    while read < limit.max(1) {
        let next = behind.query_row([open_hour], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((endpoint, next_hour)) = next else {
            summarised.has_more = false;
            break;
        };
        let (checks, hours) = refresh(db, endpoint, next_hour, now)?;
        read = read.saturating_add(checks + 1);
        summarised.endpoints += 1;
        summarised.hours += hours;
    }
    Ok(summarised)
}

/// Endpoints at a time whose progress is [set back](set_back).
const SET_BACK_MAX: u32 = 256;

/// Endpoints that were summarised by a clock that was ahead go on from here, not only when time has caught up.
fn set_back(db: &Connection, open_hour: i64) -> Result<()> {
    db.prepare_cached(
        "UPDATE endpoint SET next_hour = ?1 WHERE number IN \
         (SELECT number FROM endpoint WHERE next_hour > ?1 + 1 LIMIT ?2)",
    )?
    .execute(params![open_hour, SET_BACK_MAX])?;
    Ok(())
}

/// Summarises the hours of one endpoint that are over, from this one on. Answers how many checks it read and how many
/// hours it wrote.
pub(in crate::sqlite) fn refresh(db: &Connection, endpoint: i64, next_hour: i64, now: Timestamp) -> Result<(u32, u32)> {
    let open_hour = open_hour(now);
    if next_hour >= open_hour {
        return Ok((0, 0));
    }
    let (read, hours) = read_hours(db, endpoint, next_hour, open_hour)?;
    let mut days: BTreeMap<i64, Summary> = BTreeMap::new();
    for (hour, summary) in &hours {
        put(db, SummaryGranularity::Hour, endpoint, *hour, summary)?;
        days.entry(SummaryGranularity::Day.number(SummaryGranularity::Hour.start(*hour))).or_default().merge(summary);
    }
    for (day, more) in &days {
        // One that cannot be read must not stop all that come after it.
        let so_far = get(db, SummaryGranularity::Day, endpoint, *day).or_else(|error| unreadable(error, "summary"))?;
        let mut summary = so_far.unwrap_or_default();
        summary.merge(more);
        put(db, SummaryGranularity::Day, endpoint, *day, &summary)?;
    }
    db.prepare_cached("UPDATE endpoint SET next_hour = ? WHERE number = ?")?.execute([open_hour, endpoint])?;
    Ok((read, hours.len() as u32))
}

/// The summaries of these hours, from one up to but not including the other, and how many checks were read for them.
fn read_hours(db: &Connection, endpoint: i64, from: i64, until: i64) -> Result<(u32, BTreeMap<i64, Summary>)> {
    // A check may have got its id a little before its hour, from a clock that is slow, and any time after it.
    let first = SummaryGranularity::Hour.start(from).minus_ms(HOUR_OPEN_MS).unix_ms().max(0);
    let mut statement = db.prepare_cached(
        "SELECT checked_at, status, total_ms, detail FROM endpoint_check WHERE endpoint = ? AND sort_key >= ?",
    )?;
    let mut rows = statement.query([endpoint, sort_key_at(first)])?;
    let (mut read, mut hours) = (0, BTreeMap::<i64, Summary>::new());
    while let Some(row) = rows.next()? {
        read += 1;
        let hour = SummaryGranularity::Hour.number(Timestamp::from_unix_ms(row.get("checked_at")?));
        if (from..until).contains(&hour) {
            let counted = count(row, hours.entry(hour).or_default()).map(Some);
            counted.or_else(|error| unreadable(error, "check"))?;
        }
    }
    Ok((read, hours))
}

fn count(row: &Row<'_>, summary: &mut Summary) -> Result<()> {
    let detail: Detail = json(row, "detail")?;
    let response_time_ms = detail.response_time_ms(row.get("total_ms")?);
    summary.add(word(row, "status", CheckStatus::parse)?, response_time_ms, detail.failure);
    Ok(())
}

/// Nothing, for a row that cannot be read: it would be in the way for ever.
fn unreadable<T>(error: StoreError, what: &str) -> Result<Option<T>> {
    match error {
        StoreError::Corrupt(why) => {
            tracing::error!(why, "a {what} cannot be read and is not counted");
            Ok(None)
        }
        error => Err(error),
    }
}

/// Table and column of the summaries of a span.
const fn table(span: SummaryGranularity) -> (&'static str, &'static str) {
    match span {
        SummaryGranularity::Hour => ("endpoint_hour", "hour"),
        SummaryGranularity::Day => ("endpoint_day", "day"),
    }
}

fn get(db: &Connection, span: SummaryGranularity, endpoint: i64, number: i64) -> Result<Option<Summary>> {
    let (table, column) = table(span);
    let mut statement =
        db.prepare_cached(&format!("SELECT summary FROM {table} WHERE endpoint = ? AND {column} = ?"))?;
    let mut rows = statement.query([endpoint, number])?;
    rows.next()?.map(|row| json(row, "summary")).transpose()
}

fn put(db: &Connection, span: SummaryGranularity, endpoint: i64, number: i64, summary: &Summary) -> Result<()> {
    let (table, column) = table(span);
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
    let (table, column) = table(filter.span);
    // The first that begins at this instant or after it.
    let number = |at: Timestamp| filter.span.number(at.plus_ms(filter.span.ms() - 1));
    let (since, until) = (filter.since.map_or(i64::MIN, number), filter.until.map_or(i64::MAX, number));
    let mut statement = db.prepare_cached(&format!(
        "SELECT {column} AS number, summary FROM {table} WHERE endpoint = ? AND {column} >= ? AND {column} < ? \
         ORDER BY {column} LIMIT ?"
    ))?;
    let mut rows = statement.query(params![endpoint, since, until, filter.limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let starts_at = filter.span.start(row.get("number")?);
        found.push(SummaryRecord { starts_at, summary: json(row, "summary")? });
    }
    Ok(found)
}
