//! Rate limits of channels, applied within the transaction that accepts or releases deliveries: two concurrent callers
//! must not both get the last slot.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::{Connection, OptionalExtension as _, params};
use tidings_domain::gate::{Gate, GateEvaluation, rate_limit};
use tidings_domain::id::{ChannelId, Id};
use tidings_domain::rate_limit::{RateAction, RateLimit, RateWindow};
use tidings_domain::time::Timestamp;

use super::row::{corrupt, to_json};
use crate::Result;
use crate::queue::RateLimitRequest;

/// The rate windows of the channels in one transaction, each read once and written back once.
pub(super) struct RateLimiter<'db> {
    db: &'db Connection,
    channels: HashMap<ChannelId, ChannelWindow>,
}

struct ChannelWindow {
    window: RateWindow,
    /// When the first delivery that this limit holds may be released, if it holds one.
    held_until: Option<Timestamp>,
    has_admitted: bool,
}

impl<'db> RateLimiter<'db> {
    pub(super) fn new(db: &'db Connection) -> Self {
        Self { db, channels: HashMap::new() }
    }

    /// Admits the first attempt of a new delivery, or returns the evaluation with the refusal.
    ///
    /// As long as the limit holds a delivery of the channel, a new one is refused even if there is a free slot, so that
    /// it does not overtake. It is then held whatever the limit's action is; only for want of a slot may it be dropped.
    pub(super) fn admit(
        &mut self,
        channel_id: ChannelId,
        request: &RateLimitRequest,
        evaluation: &GateEvaluation,
        now: Timestamp,
    ) -> Result<Option<GateEvaluation>> {
        let channel = self.channel(channel_id)?;
        let mut limit = request.limit;
        let until = match channel.held_until {
            None => match channel.admit(&limit, now) {
                Ok(()) => return Ok(None),
                Err(next_slot_at) => next_slot_at,
            },
            Some(held_until) => {
                let next_slot_at = channel.window.next_slot_at(&limit, now);
                if next_slot_at.is_none() {
                    limit.action = RateAction::Digest;
                }
                next_slot_at.unwrap_or(now).max(held_until)
            }
        };
        // The next delivery of this transaction must see that this one is held: it is not in the table yet.
        if limit.action == RateAction::Digest {
            channel.held_until.get_or_insert(until);
        }
        let RateLimitRequest { channel_name, zone, .. } = request;
        Ok(Some(rate_limit::refusal(evaluation.clone(), &limit, channel_name, until, now, zone)))
    }

    /// Admits the first attempt of a held delivery, or returns when the next slot is free. Held deliveries are released
    /// in order, so this one waits for no other.
    pub(super) fn admit_held(
        &mut self,
        channel_id: ChannelId,
        limit: &RateLimit,
        now: Timestamp,
    ) -> Result<std::result::Result<(), Timestamp>> {
        Ok(self.channel(channel_id)?.admit(limit, now))
    }

    /// Writes the windows that changed.
    pub(super) fn persist(self) -> Result<()> {
        for (channel_id, channel) in self.channels.into_iter().filter(|(_, channel)| channel.has_admitted) {
            self.db
                .prepare_cached("INSERT OR REPLACE INTO rate_window (channel_id, instants) VALUES (?, ?)")?
                .execute(params![channel_id.as_bytes(), to_json(&channel.window)?])?;
        }
        Ok(())
    }

    fn channel(&mut self, channel_id: ChannelId) -> Result<&mut ChannelWindow> {
        Ok(match self.channels.entry(channel_id) {
            Entry::Occupied(loaded) => loaded.into_mut(),
            Entry::Vacant(missing) => missing.insert(ChannelWindow {
                window: load_window(self.db, channel_id)?,
                held_until: load_held_until(self.db, channel_id)?,
                has_admitted: false,
            }),
        })
    }
}

impl ChannelWindow {
    fn admit(&mut self, limit: &RateLimit, now: Timestamp) -> std::result::Result<(), Timestamp> {
        self.window.admit(limit, now)?;
        self.has_admitted = true;
        Ok(())
    }
}

/// What the limit would decide about a first attempt. Nothing is written, because the limiter is not persisted.
pub(super) fn preview(
    db: &Connection,
    channel_id: ChannelId,
    request: &RateLimitRequest,
    evaluation: GateEvaluation,
    at: Timestamp,
) -> Result<GateEvaluation> {
    Ok(RateLimiter::new(db).admit(channel_id, request, &evaluation, at)?.unwrap_or(evaluation))
}

fn load_window(db: &Connection, channel_id: ChannelId) -> Result<RateWindow> {
    let instants: Option<String> = db
        .prepare_cached("SELECT instants FROM rate_window WHERE channel_id = ?")?
        .query_row([channel_id.as_bytes()], |row| row.get(0))
        .optional()?;
    let Some(text) = instants else { return Ok(RateWindow::default()) };
    serde_json::from_str(&text).map_err(|error| corrupt("instants", error.to_string()))
}

fn load_held_until(db: &Connection, channel_id: ChannelId) -> Result<Option<Timestamp>> {
    let until: Option<i64> = db
        .prepare_cached(
            "SELECT held_until FROM delivery WHERE held_until IS NOT NULL AND channel_id = ? AND reason = ? \
             ORDER BY held_until LIMIT 1",
        )?
        .query_row(params![channel_id.as_bytes(), Gate::RateLimit.reason()], |row| row.get(0))
        .optional()?;
    Ok(until.map(Timestamp::from_unix_ms))
}

/// The evaluation recorded for a held delivery that the limit refuses when it is released. It lists no passed gates,
/// because none was evaluated in this transaction. It stays held even if the limit's action is to drop, which applies
/// to new deliveries.
pub(super) fn refusal_of_held(request: &RateLimitRequest, next_slot_at: Timestamp, now: Timestamp) -> GateEvaluation {
    let limit = RateLimit { action: RateAction::Digest, ..request.limit };
    let evaluation = GateEvaluation { evaluated_at: now, passed: 0, stopped: None };
    rate_limit::refusal(evaluation, &limit, &request.channel_name, next_slot_at, now, &request.zone)
}
