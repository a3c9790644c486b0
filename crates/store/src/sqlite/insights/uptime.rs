//! Uptime by day, of many endpoints at once: daily counts, the checks that are not summarised yet, and incidents.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use tidings_domain::check::CheckStatus;
use tidings_domain::id::{EndpointId, Id as _, WorkspaceId, sort_key_at};
use tidings_domain::incident::Cause;
use tidings_domain::time::Timestamp;

use crate::Result;
use crate::insights::{EndpointUptime, UptimeDay};
use crate::retention::{HOUR_GRACE_MS, SummaryGranularity};
use crate::sqlite::row::parsed;

const DAY_MS: i64 = SummaryGranularity::Day.ms() as i64;

/// A span of days.
#[derive(Clone, Copy)]
struct Span {
    first_day: i64,
    now: Timestamp,
}

pub(in crate::sqlite) fn list(
    db: &Connection,
    workspace_id: WorkspaceId,
    endpoints: &[EndpointId],
    now: Timestamp,
    days: u32,
) -> Result<Vec<EndpointUptime>> {
    let span = Span { first_day: SummaryGranularity::Day.number(now) - i64::from(days.max(1)) + 1, now };
    let mut found = Vec::with_capacity(endpoints.len());
    for endpoint_id in endpoints {
        let endpoint = db
            .prepare_cached("SELECT number, next_hour FROM endpoint WHERE id = ? AND workspace_id = ?")?
            .query_row(params![endpoint_id.as_bytes(), workspace_id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((number, next_hour)) = endpoint else { continue };
        let mut days = BTreeMap::new();
        summarised(db, number, span, &mut days)?;
        not_summarised(db, number, next_hour, span, &mut days)?;
        incidents(db, workspace_id, *endpoint_id, span, &mut days)?;
        found.push(EndpointUptime { endpoint_id: *endpoint_id, days: days.into_values().collect() });
    }
    Ok(found)
}

type Days = BTreeMap<i64, UptimeDay>;

fn day(days: &mut Days, day: i64) -> &mut UptimeDay {
    days.entry(day).or_insert_with(|| UptimeDay { day, ..UptimeDay::default() })
}

fn summarised(db: &Connection, endpoint: i64, span: Span, days: &mut Days) -> Result<()> {
    let mut statement = db.prepare_cached(
        "SELECT day, healthy, degraded, down, inconclusive FROM endpoint_day WHERE endpoint = ? AND day >= ?",
    )?;
    let mut rows = statement.query([endpoint, span.first_day])?;
    while let Some(row) = rows.next()? {
        let day = day(days, row.get(0)?);
        (day.healthy, day.degraded) = (row.get(1)?, row.get(2)?);
        (day.down, day.inconclusive) = (row.get(3)?, row.get(4)?);
    }
    Ok(())
}

/// The checks of hours that are not summarised: at most the last hour and the current one.
fn not_summarised(db: &Connection, endpoint: i64, next_hour: i64, span: Span, days: &mut Days) -> Result<()> {
    let first = SummaryGranularity::Hour.start(next_hour).unix_ms().max(span.first_day.saturating_mul(DAY_MS));
    // A check's key may be a little before its instant: see `monitoring::summary`.
    let first_key = sort_key_at(Timestamp::from_unix_ms(first).minus_ms(HOUR_GRACE_MS).unix_ms().max(0));
    let mut statement =
        db.prepare_cached("SELECT checked_at, status FROM endpoint_check WHERE endpoint = ? AND sort_key >= ?")?;
    let mut rows = statement.query([endpoint, first_key])?;
    while let Some(row) = rows.next()? {
        let checked_at: i64 = row.get(0)?;
        if checked_at < first {
            continue;
        }
        let day = day(days, checked_at.div_euclid(DAY_MS));
        let count = match parsed(row, "status", CheckStatus::parse)? {
            CheckStatus::Healthy => &mut day.healthy,
            CheckStatus::Degraded => &mut day.degraded,
            CheckStatus::Down => &mut day.down,
            CheckStatus::Inconclusive => &mut day.inconclusive,
        };
        *count = count.saturating_add(1);
    }
    Ok(())
}

/// Incidents of one subject do not overlap, so that at most one that began earlier lasts into the span.
fn incidents(
    db: &Connection,
    workspace_id: WorkspaceId,
    endpoint_id: EndpointId,
    span: Span,
    days: &mut Days,
) -> Result<()> {
    let first = span.first_day.saturating_mul(DAY_MS);
    let columns = "SELECT started_at, resolved_at, cause FROM incident INDEXED BY incident_resource \
         WHERE workspace_id = ? AND resource_id = ? AND resource_type = 'endpoint' AND sort_key";
    let mut within = db.prepare_cached(&format!("{columns} >= ?"))?;
    let mut before = db.prepare_cached(&format!("{columns} < ? ORDER BY sort_key DESC LIMIT 1"))?;
    let id = endpoint_id.to_string();
    for statement in [&mut within, &mut before] {
        let mut rows = statement.query(params![workspace_id.as_bytes(), id, sort_key_at(first.max(0))])?;
        while let Some(row) = rows.next()? {
            let started_at: i64 = row.get(0)?;
            let ended_at = row.get::<_, Option<i64>>(1)?.unwrap_or(span.now.unix_ms());
            if started_at >= first {
                day(days, started_at.div_euclid(DAY_MS)).incidents += 1;
            }
            if parsed(row, "cause", Cause::parse)? == Cause::EndpointDown {
                add_down_time(days, started_at.max(first), ended_at);
            }
        }
    }
    Ok(())
}

fn add_down_time(days: &mut Days, from: i64, until: i64) {
    let mut at = from;
    while at < until {
        let number = at.div_euclid(DAY_MS);
        let end = until.min((number + 1).saturating_mul(DAY_MS));
        day(days, number).down_ms += end.abs_diff(at);
        at = end;
    }
}
