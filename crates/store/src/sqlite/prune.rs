//! Pruning: delete rows that are past their retention, a bounded number with each call.
//!
//! No index on age is needed: events are keyed by sort key, which is their age, and endpoints are visited one by one.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, params};
use tidings_domain::id::{Id as _, WorkspaceId, sort_key_at};
use tidings_domain::rate_limit::RateWindow;
use tidings_domain::time::Timestamp;

use super::accounts::{audit, invitation, purge, session};
use super::index::mark_stale;
use super::insights::{activity, erase, resource};
use super::monitoring::{episode, summary};
use super::row::json;
use super::settings::bump_version;
use crate::Result;
use crate::retention::{Position, PruneCursor, Pruned, Retention, SummaryGranularity};

/// Endpoints that one call visits at most. Each costs several statements, even if nothing of it is deleted.
const ENDPOINTS_MAX: u32 = 32;

/// One call of [`prune`].
struct PruneCall<'a> {
    db: &'a Connection,
    now: Timestamp,
    retention: &'a Retention,
    /// Rows that may still be visited or deleted.
    budget: u32,
    pruned: Pruned,
}

/// Deletes at most `limit` rows, starting at the cursor. The limit is at least one, or the caller would never finish.
pub(super) fn prune(
    db: &Connection,
    now: Timestamp,
    retention: &Retention,
    cursor: PruneCursor,
    limit: u32,
) -> Result<Pruned> {
    let mut call = PruneCall { db, now, retention, budget: limit.max(1), pruned: Pruned::default() };
    let mut position = Some(cursor.0);
    while let Some(at) = position
        && call.budget > 0
    {
        position = match at {
            Position::Events(sort_key) => Some(call.events(sort_key)?),
            Position::RateWindows(id) => Some(call.rate_windows(id)?),
            Position::Endpoints(number) => Some(call.endpoints(number)?),
            Position::Mutes => Some(call.mutes()?),
            Position::EndedMutes => Some(call.ended_mutes()?),
            Position::Episodes => Some(call.episodes()?),
            Position::Audit => Some(call.audit()?),
            Position::Accounts => Some(call.accounts()?),
            Position::Erasures => Some(call.erasures()?),
            Position::Insights(id) => Some(call.insights(id)?),
            Position::Workspaces => call.workspaces()?,
        };
    }
    Ok(Pruned { next: position.map(PruneCursor), ..call.pruned })
}

/// What [`delete_event`] deleted.
pub(super) struct DeletedEvent {
    deliveries: u32,
    /// Whether the event itself went, which is last.
    event: bool,
}

impl DeletedEvent {
    pub(super) fn rows(&self) -> u32 {
        self.deliveries + u32::from(self.event)
    }
}

/// Deletes an event, its deliveries first, at most `limit` rows.
pub(super) fn delete_event(db: &Connection, sort_key: i64, limit: u32) -> Result<DeletedEvent> {
    let deliveries = db
        .prepare_cached(
            "DELETE FROM delivery WHERE sort_key IN (SELECT sort_key FROM delivery WHERE event_sort_key = ? LIMIT ?)",
        )?
        .execute(params![sort_key, limit])?;
    let deliveries = deliveries as u32;
    if deliveries >= limit {
        return Ok(DeletedEvent { deliveries, event: false });
    }
    // With the event's id: the key may be missing (of a test) or belong to a later event.
    db.prepare_cached(
        "DELETE FROM idempotency_key \
         WHERE (run_id, resource_id, workspace_id, resource_type, trigger, event_id) = \
         (SELECT run_id, resource_id, workspace_id, resource_type, trigger, id FROM event WHERE sort_key = ?)",
    )?
    .execute([sort_key])?;
    let workspace_id = db
        .prepare_cached("DELETE FROM event WHERE sort_key = ? RETURNING workspace_id")?
        .query_row([sort_key], |row| row.get(0))
        .optional()?;
    if let Some(workspace_id) = workspace_id {
        mark_stale(db, WorkspaceId::from_bytes(workspace_id), sort_key)?;
    }
    Ok(DeletedEvent { deliveries, event: true })
}

impl PruneCall<'_> {
    /// The smallest sort key of what is not older than `ms`.
    fn sort_key_before(&self, ms: u64) -> i64 {
        sort_key_at(self.now.minus_ms(ms).unix_ms().max(0))
    }

    fn use_budget(&mut self, rows: u32) -> u32 {
        self.budget = self.budget.saturating_sub(rows);
        rows
    }

    /// Prunes old events after this sort key. Those with unsettled deliveries are kept.
    fn events(&mut self, after: i64) -> Result<Position> {
        let mut old = self.db.prepare_cached(
            "SELECT sort_key FROM event WHERE sort_key > ? AND sort_key < ? ORDER BY sort_key LIMIT ?",
        )?;
        let values = params![after, self.sort_key_before(self.retention.events_ms), self.budget];
        let old = old.query_map(values, |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
        let mut done = after;
        for sort_key in &old {
            if self.budget == 0 || !self.prune_event(*sort_key)? {
                return Ok(Position::Events(done));
            }
            done = *sort_key;
        }
        Ok(if old.is_empty() { Position::RateWindows([0; 16]) } else { Position::Events(done) })
    }

    /// Deletes an event, its deliveries first. Returns false if the budget ended in the middle, so that the event is
    /// visited again.
    fn prune_event(&mut self, sort_key: i64) -> Result<bool> {
        let unsettled: Option<i64> = self
            .db
            .prepare_cached(
                "SELECT sort_key FROM delivery WHERE event_sort_key = ? \
                 AND status NOT IN ('sent', 'failed', 'suppressed', 'skipped') LIMIT 1",
            )?
            .query_row([sort_key], |row| row.get(0))
            .optional()?;
        if unsettled.is_some() {
            // Costs budget as well, or a long backlog would be visited in one call.
            self.use_budget(1);
            return Ok(true);
        }
        let deleted = delete_event(self.db, sort_key, self.budget)?;
        self.use_budget(deleted.rows());
        self.pruned.deliveries += deleted.deliveries;
        self.pruned.events += u32::from(deleted.event);
        Ok(deleted.event)
    }

    /// Deletes rate windows, after this channel, in which no admission counts any more.
    fn rate_windows(&mut self, after: [u8; 16]) -> Result<Position> {
        let mut statement = self.db.prepare_cached(
            "SELECT channel_id, instants FROM rate_window WHERE channel_id > ? ORDER BY channel_id LIMIT ?",
        )?;
        let mut rows = statement.query(params![after, self.budget])?;
        let (mut last, mut expired) = (None, Vec::new());
        while let Some(row) = rows.next()? {
            last = Some(row.get("channel_id")?);
            // A window that cannot be decoded counts as empty, and is deleted.
            let mut window: RateWindow = json(row, "instants").unwrap_or_default();
            window.advance_to(self.now);
            if window.is_empty() {
                expired.extend(last);
            }
        }
        for channel_id in expired {
            self.db.prepare_cached("DELETE FROM rate_window WHERE channel_id = ?")?.execute([channel_id])?;
            self.pruned.rate_windows += self.use_budget(1);
        }
        Ok(last.map_or(Position::Endpoints(0), Position::RateWindows))
    }

    /// Prunes the endpoints after this number, at most [`ENDPOINTS_MAX`].
    fn endpoints(&mut self, after: i64) -> Result<Position> {
        let mut statement = self
            .db
            .prepare_cached("SELECT number, next_hour FROM endpoint WHERE number > ? ORDER BY number LIMIT ?")?;
        let endpoints = statement
            .query_map(params![after, ENDPOINTS_MAX], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<(i64, i64)>>>()?;
        let mut done = after;
        for (number, next_hour) in &endpoints {
            if self.budget == 0 || !self.prune_endpoint(*number, *next_hour)? {
                return Ok(Position::Endpoints(done));
            }
            done = *number;
        }
        if endpoints.is_empty() {
            return Ok(Position::Mutes);
        }
        // Ends the call, whatever it deleted.
        self.budget = 0;
        Ok(Position::Endpoints(done))
    }

    /// Deletes checks and hourly summaries of an endpoint that are too old or too many. Returns false if the budget
    /// ended.
    fn prune_endpoint(&mut self, number: i64, next_hour: i64) -> Result<bool> {
        // Summaries first: they are all that remains of the checks deleted below.
        summary::refresh(self.db, number, next_hour, self.now)?;
        // The newest check beyond the maximum, if there is one: it and all older ones go.
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
                 (SELECT sort_key FROM endpoint_check WHERE endpoint = ?1 AND sort_key < ?2 \
                 ORDER BY sort_key LIMIT ?3)",
            )?
            .execute(params![number, too_many.map_or(too_old, |sort_key| too_old.max(sort_key + 1)), self.budget])?;
        self.pruned.checks += self.use_budget(checks as u32);
        let hours = self
            .db
            .prepare_cached(
                "DELETE FROM endpoint_hour WHERE endpoint = ?1 AND hour IN \
                 (SELECT hour FROM endpoint_hour WHERE endpoint = ?1 AND hour < ?2 ORDER BY hour LIMIT ?3)",
            )?
            .execute(params![
                number,
                SummaryGranularity::Hour.number(self.now.minus_ms(self.retention.hours_ms)),
                self.budget
            ])?;
        self.pruned.hours += self.use_budget(hours as u32);
        Ok(self.budget > 0)
    }

    /// Retires expired mutes: they leave the configuration, whose version is incremented for the caches.
    fn mutes(&mut self) -> Result<Position> {
        let mut statement = self
            .db
            .prepare_cached("SELECT workspace_id, id FROM mute INDEXED BY mute_expiry WHERE ended_at IS NULL AND expires_at < ? LIMIT ?")?;
        let before = self.now.minus_ms(self.retention.mutes_ms).unix_ms();
        let expired = statement
            .query_map(params![before, self.budget], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<([u8; 16], [u8; 16])>>>()?;
        for (workspace_id, id) in &expired {
            self.db
                .prepare_cached("UPDATE mute SET ended_at = expires_at WHERE workspace_id = ? AND id = ?")?
                .execute(params![workspace_id, id])?;
            self.pruned.mutes += self.use_budget(1);
        }
        let workspaces: BTreeSet<_> = expired.iter().map(|(workspace_id, _)| workspace_id).collect();
        for id in workspaces {
            bump_version(self.db, WorkspaceId::from_bytes(*id))?;
        }
        // A budget that was used up leaves open whether there are more.
        Ok(if self.budget == 0 { Position::Mutes } else { Position::EndedMutes })
    }

    /// Deletes mutes that ended long ago.
    fn ended_mutes(&mut self) -> Result<Position> {
        let deleted = self
            .db
            .prepare_cached(
                "DELETE FROM mute WHERE (workspace_id, id) IN \
                 (SELECT workspace_id, id FROM mute INDEXED BY mute_ended WHERE ended_at < ? LIMIT ?)",
            )?
            .execute(params![self.now.minus_ms(self.retention.ended_mutes_ms).unix_ms(), self.budget])?;
        self.pruned.ended_mutes += self.use_budget(deleted as u32);
        Ok(if self.budget == 0 { Position::EndedMutes } else { Position::Episodes })
    }

    /// Deletes ends of alerts' episodes that are as old as events that are pruned.
    fn episodes(&mut self) -> Result<Position> {
        let deleted = episode::prune(self.db, self.now.minus_ms(self.retention.events_ms), self.budget)?;
        self.pruned.episodes += self.use_budget(deleted);
        Ok(if self.budget == 0 { Position::Episodes } else { Position::Audit })
    }

    fn audit(&mut self) -> Result<Position> {
        let deleted = audit::prune(self.db, self.now.minus_ms(self.retention.audit_ms), self.budget)?;
        self.pruned.audit_entries += self.use_budget(deleted);
        Ok(if self.budget == 0 { Position::Audit } else { Position::Accounts })
    }

    /// Deletes sessions and invitations that have expired.
    fn accounts(&mut self) -> Result<Position> {
        let deleted = session::prune(self.db, self.now, self.budget)?;
        self.pruned.sessions += self.use_budget(deleted);
        let deleted = invitation::prune(self.db, self.now, self.budget)?;
        self.pruned.invitations += self.use_budget(deleted);
        Ok(if self.budget == 0 { Position::Accounts } else { Position::Erasures })
    }

    /// Deletes records of erasures, once the events that they are about are pruned.
    fn erasures(&mut self) -> Result<Position> {
        let deleted = erase::prune(self.db, self.now.minus_ms(self.retention.events_ms), self.budget)?;
        self.pruned.insights += self.use_budget(deleted);
        Ok(if self.budget == 0 { Position::Erasures } else { Position::Insights([0; 16]) })
    }

    /// Prunes the resources and the counts by minute of this workspace, or of the one after it.
    fn insights(&mut self, from: [u8; 16]) -> Result<Position> {
        let next: Option<[u8; 16]> = self
            .db
            .prepare_cached("SELECT id FROM workspace WHERE id >= ? ORDER BY id LIMIT 1")?
            .query_row([from], |row| row.get(0))
            .optional()?;
        let Some(id) = next else { return Ok(Position::Workspaces) };
        let before = self.now.minus_ms(self.retention.events_ms);
        let resources = resource::prune(self.db, id, before, self.budget)?;
        self.pruned.resources += self.use_budget(resources);
        let minutes = activity::prune(self.db, id, before, self.budget)?;
        self.pruned.insights += self.use_budget(minutes);
        if self.budget == 0 {
            return Ok(Position::Insights(id));
        }
        // Costs budget as well, or all workspaces would be visited in one call.
        self.use_budget(1);
        let after = u128::from_be_bytes(id).checked_add(1).map(u128::to_be_bytes);
        Ok(after.map_or(Position::Workspaces, Position::Insights))
    }

    /// Deletes the rows of deleted workspaces.
    fn workspaces(&mut self) -> Result<Option<Position>> {
        while self.budget > 0 {
            let Some(id) = purge::next(self.db, self.now)? else { return Ok(None) };
            let deleted = purge::purge(self.db, id, self.budget)?;
            self.pruned.workspace_rows += self.use_budget(deleted);
        }
        Ok(Some(Position::Workspaces))
    }
}
