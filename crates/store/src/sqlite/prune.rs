//! Pruning: what is older than it has to be kept is deleted, a little with each call.
//!
//! Nothing is looked for: events lie in the order of their age, and endpoints are gone through one after the other.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, params};
use tidings_domain::id::{Id as _, WorkspaceId, sort_key_at};
use tidings_domain::rate_limit::RateWindow;
use tidings_domain::time::Timestamp;

use super::row::json;
use super::settings::raise_version;
use super::watching::summary;
use crate::Result;
use crate::retention::{Position, PruneCursor, Pruned, Retention, SummaryGranularity};

/// Endpoints that one call goes through at most: it counts the checks of each.
const ENDPOINTS_MAX: u32 = 32;

/// One call: what it may still delete and look at, and what it did.
struct Call<'a> {
    db: &'a Connection,
    now: Timestamp,
    retention: &'a Retention,
    left: u32,
    pruned: Pruned,
}

/// Deletes at most so many rows (never fewer than one, or it would not come to an end), from where the cursor stands.
pub(super) fn prune(
    db: &Connection,
    now: Timestamp,
    retention: &Retention,
    cursor: PruneCursor,
    limit: u32,
) -> Result<Pruned> {
    let mut call = Call { db, now, retention, left: limit.max(1), pruned: Pruned::default() };
    let mut position = Some(cursor.0);
    while let Some(at) = position
        && call.left > 0
    {
        position = match at {
            Position::Events(sort_key) => Some(call.events(sort_key)?),
            Position::RateWindow(id) => Some(call.admissions(id)?),
            Position::Endpoints(number) => Some(call.endpoints(number)?),
            Position::Mutes => call.mutes()?,
        };
    }
    Ok(Pruned { next: position.map(PruneCursor), ..call.pruned })
}

impl Call<'_> {
    /// The sort key that everything older than so long lies below.
    fn sort_key_before(&self, ms: u64) -> i64 {
        sort_key_at(self.now.minus_ms(ms).unix_ms().max(0))
    }

    fn spend(&mut self, rows: u32) -> u32 {
        self.left = self.left.saturating_sub(rows);
        rows
    }

    /// Looks at old events after this sort key; one that has something unsettled is passed over.
    fn events(&mut self, after: i64) -> Result<Position> {
        let mut old = self.db.prepare_cached(
            "SELECT sort_key FROM event WHERE sort_key > ? AND sort_key < ? ORDER BY sort_key LIMIT ?",
        )?;
        let values = params![after, self.sort_key_before(self.retention.log_ms), self.left];
        let old = old.query_map(values, |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
        let mut done = after;
        for sort_key in &old {
            if self.left == 0 || !self.event(*sort_key)? {
                return Ok(Position::Events(done));
            }
            done = *sort_key;
        }
        Ok(if old.is_empty() { Position::RateWindow([0; 16]) } else { Position::Events(done) })
    }

    /// Deletes one event, its deliveries first; whether it is done with.
    fn event(&mut self, sort_key: i64) -> Result<bool> {
        let unsettled: Option<i64> = self
            .db
            .prepare_cached(
                "SELECT sort_key FROM delivery WHERE event_sort_key = ? \
                 AND status NOT IN ('sent', 'failed', 'suppressed', 'skipped') LIMIT 1",
            )?
            .query_row([sort_key], |row| row.get(0))
            .optional()?;
        if unsettled.is_some() {
            self.spend(1);
            return Ok(true);
        }
        let deliveries = self
            .db
            .prepare_cached(
                "DELETE FROM delivery WHERE sort_key IN (SELECT sort_key FROM delivery WHERE event_sort_key = ? LIMIT ?)",
            )?
            .execute(params![sort_key, self.left])?;
        self.pruned.deliveries += self.spend(deliveries as u32);
        if self.left == 0 {
            return Ok(false);
        }
        // A test was never remembered; what was told again since has another event's id.
        self.db
            .prepare_cached(
                "DELETE FROM idempotency_key WHERE (run_id, resource_id, workspace_id, resource_type, trigger, event_id) = \
                 (SELECT run_id, resource_id, workspace_id, resource_type, trigger, id FROM event WHERE sort_key = ?)",
            )?
            .execute([sort_key])?;
        self.db.prepare_cached("DELETE FROM event WHERE sort_key = ?")?.execute([sort_key])?;
        self.pruned.events += self.spend(1);
        Ok(true)
    }

    /// Forgets channels whose limits admitted nothing of late. There are no more of them than channels.
    fn admissions(&mut self, after: [u8; 16]) -> Result<Position> {
        let mut statement = self.db.prepare_cached(
            "SELECT channel_id, instants FROM rate_window WHERE channel_id > ? ORDER BY channel_id LIMIT ?",
        )?;
        let mut rows = statement.query(params![after, self.left])?;
        let (mut last, mut over) = (None, Vec::new());
        while let Some(row) = rows.next()? {
            last = Some(row.get("channel_id")?);
            // What cannot be read counts for nothing.
            let mut admissions: RateWindow = json(row, "instants").unwrap_or_default();
            admissions.advance_to(self.now);
            if admissions.is_empty() {
                over.extend(last);
            }
        }
        for channel_id in over {
            self.db.prepare_cached("DELETE FROM rate_window WHERE channel_id = ?")?.execute([channel_id])?;
            self.pruned.admissions += self.spend(1);
        }
        Ok(last.map_or(Position::Endpoints(0), Position::RateWindow))
    }

    /// Goes through the endpoints after this one, as far as one call does.
    fn endpoints(&mut self, after: i64) -> Result<Position> {
        let mut some = self
            .db
            .prepare_cached("SELECT number, next_hour FROM endpoint WHERE number > ? ORDER BY number LIMIT ?")?;
        let some = some
            .query_map(params![after, ENDPOINTS_MAX], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<(i64, i64)>>>()?;
        let mut done = after;
        for (number, next_hour) in &some {
            if self.left == 0 || !self.endpoint(*number, *next_hour)? {
                return Ok(Position::Endpoints(done));
            }
            done = *number;
        }
        if some.is_empty() {
            return Ok(Position::Mutes);
        }
        // Enough for one call, whatever it deleted.
        self.left = 0;
        Ok(Position::Endpoints(done))
    }

    /// Deletes what is too old or too much of one endpoint; whether it is done with.
    fn endpoint(&mut self, number: i64, next_hour: i64) -> Result<bool> {
        // What is to be deleted has to be counted before.
        summary::refresh(self.db, number, next_hour, self.now)?;
        let too_many: Option<i64> = self
            .db
            .prepare_cached(
                "SELECT sort_key FROM endpoint_check WHERE endpoint = ? ORDER BY sort_key DESC LIMIT 1 OFFSET ?",
            )?
            .query_row(params![number, self.retention.checks_max], |row| row.get(0))
            .optional()?;
        let too_old = self.sort_key_before(self.retention.checks_ms);
        let checks = self
            .db
            .prepare_cached(
                "DELETE FROM endpoint_check WHERE endpoint = ?1 AND sort_key IN \
                 (SELECT sort_key FROM endpoint_check WHERE endpoint = ?1 AND sort_key < ?2 ORDER BY sort_key LIMIT ?3)",
            )?
            .execute(params![number, too_many.map_or(too_old, |sort_key| too_old.max(sort_key + 1)), self.left])?;
        self.pruned.checks += self.spend(checks as u32);
        let hours = self
            .db
            .prepare_cached(
                "DELETE FROM endpoint_hour WHERE endpoint = ?1 AND hour IN \
                 (SELECT hour FROM endpoint_hour WHERE endpoint = ?1 AND hour < ?2 ORDER BY hour LIMIT ?3)",
            )?
            .execute(params![
                number,
                SummaryGranularity::Hour.number(self.now.minus_ms(self.retention.hours_ms)),
                self.left
            ])?;
        self.pruned.hours += self.spend(hours as u32);
        Ok(self.left > 0)
    }

    /// Deletes mutes that are over. They are configuration, so whoever keeps a copy of that has to hear of it.
    fn mutes(&mut self) -> Result<Option<Position>> {
        let mut over = self
            .db
            .prepare_cached("SELECT workspace_id, id FROM mute INDEXED BY mute_expiry WHERE expires_at < ? LIMIT ?")?;
        let before = self.now.minus_ms(self.retention.mutes_ms).unix_ms();
        let over = over
            .query_map(params![before, self.left], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<([u8; 16], [u8; 16])>>>()?;
        for (workspace_id, id) in &over {
            self.db
                .prepare_cached("DELETE FROM mute WHERE workspace_id = ? AND id = ?")?
                .execute(params![workspace_id, id])?;
            self.pruned.mutes += self.spend(1);
        }
        let workspaces: BTreeSet<_> = over.iter().map(|(workspace_id, _)| workspace_id).collect();
        for id in workspaces {
            raise_version(self.db, WorkspaceId::from_bytes(*id))?;
        }
        Ok((self.left == 0).then_some(Position::Mutes))
    }
}
