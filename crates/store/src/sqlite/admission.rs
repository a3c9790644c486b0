//! The rate limits of channels, within one transaction: what they admitted, and who waits before them.

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

/// The channels that were asked, each read once and written back once.
pub(super) struct Admitting<'db> {
    db: &'db Connection,
    channels: HashMap<ChannelId, Counted>,
}

struct Counted {
    admissions: RateWindow,
    /// When the first may go of what the limit holds back.
    waiting_until: Option<Timestamp>,
    has_admitted: bool,
}

impl<'db> Admitting<'db> {
    pub(super) fn new(db: &'db Connection) -> Self {
        Self { db, channels: HashMap::new() }
    }

    /// Admits a first attempt, or answers its evaluation with the refusal. While something waits, nothing overtakes it: what
    /// comes then waits, too, even if there is room and even if the limit would rather drop.
    pub(super) fn ask(
        &mut self,
        channel_id: ChannelId,
        admission: &RateLimitRequest,
        evaluation: &GateEvaluation,
        now: Timestamp,
    ) -> Result<Option<GateEvaluation>> {
        let counted = self.counted(channel_id)?;
        let mut limit = admission.limit;
        let until = match counted.waiting_until {
            None => match counted.admit(&limit, now) {
                Ok(()) => return Ok(None),
                Err(next_slot_at) => next_slot_at,
            },
            Some(waiting_until) => {
                let next_slot_at = counted.admissions.next_slot_at(&limit, now);
                if next_slot_at.is_none() {
                    limit.action = RateAction::Digest;
                }
                next_slot_at.unwrap_or(now).max(waiting_until)
            }
        };
        if limit.action == RateAction::Digest {
            counted.waiting_until.get_or_insert(until);
        }
        let RateLimitRequest { channel_name, zone, .. } = admission;
        Ok(Some(rate_limit::refusal(evaluation.clone(), &limit, channel_name, until, now, zone)))
    }

    /// Admits one of those that wait, or answers when there will be room.
    pub(super) fn ask_again(
        &mut self,
        channel_id: ChannelId,
        limit: &RateLimit,
        now: Timestamp,
    ) -> Result<std::result::Result<(), Timestamp>> {
        Ok(self.counted(channel_id)?.admit(limit, now))
    }

    /// Writes down what was admitted.
    pub(super) fn keep(self) -> Result<()> {
        for (channel_id, counted) in self.channels.into_iter().filter(|(_, counted)| counted.has_admitted) {
            self.db
                .prepare_cached("INSERT OR REPLACE INTO rate_window (channel_id, instants) VALUES (?, ?)")?
                .execute(params![channel_id.as_bytes(), to_json(&counted.admissions)?])?;
        }
        Ok(())
    }

    fn counted(&mut self, channel_id: ChannelId) -> Result<&mut Counted> {
        Ok(match self.channels.entry(channel_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(Counted {
                admissions: admissions(self.db, channel_id)?,
                waiting_until: waiting_until(self.db, channel_id)?,
                has_admitted: false,
            }),
        })
    }
}

impl Counted {
    fn admit(&mut self, limit: &RateLimit, now: Timestamp) -> std::result::Result<(), Timestamp> {
        self.admissions.admit(limit, now)?;
        self.has_admitted = true;
        Ok(())
    }
}

/// What the limit would say of a first attempt; nothing is admitted.
pub(super) fn foresee(
    db: &Connection,
    channel_id: ChannelId,
    admission: &RateLimitRequest,
    evaluation: GateEvaluation,
    at: Timestamp,
) -> Result<GateEvaluation> {
    Ok(Admitting::new(db).ask(channel_id, admission, &evaluation, at)?.unwrap_or(evaluation))
}

fn admissions(db: &Connection, channel_id: ChannelId) -> Result<RateWindow> {
    let kept: Option<String> = db
        .prepare_cached("SELECT instants FROM rate_window WHERE channel_id = ?")?
        .query_row([channel_id.as_bytes()], |row| row.get(0))
        .optional()?;
    let Some(text) = kept else { return Ok(RateWindow::default()) };
    serde_json::from_str(&text).map_err(|error| corrupt("instants", error.to_string()))
}

/// Of what is held back and not carried, when the first may go that the rate limit holds.
fn waiting_until(db: &Connection, channel_id: ChannelId) -> Result<Option<Timestamp>> {
    let until: Option<i64> = db
        .prepare_cached(
            "SELECT held_until FROM delivery WHERE held_until IS NOT NULL AND channel_id = ? AND reason = ? \
             ORDER BY held_until LIMIT 1",
        )?
        .query_row(params![channel_id.as_bytes(), Gate::RateLimit.reason()], |row| row.get(0))
        .optional()?;
    Ok(until.map(Timestamp::from_unix_ms))
}

/// What the log says of one that waits longer because the limit refuses it: this evaluation asked nothing else.
pub(super) fn still_refused(admission: &RateLimitRequest, next_slot_at: Timestamp, now: Timestamp) -> GateEvaluation {
    let limit = RateLimit { action: RateAction::Digest, ..admission.limit };
    let evaluation = GateEvaluation { evaluated_at: now, passed: 0, stopped: None };
    rate_limit::refusal(evaluation, &limit, &admission.channel_name, next_slot_at, now, &admission.zone)
}
