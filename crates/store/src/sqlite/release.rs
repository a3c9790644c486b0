//! Release: held deliveries are stopped after all, made due one by one, or become members of a digest.

use rusqlite::params;
use rusqlite::types::ToSql;
use tidings_domain::delivery::{OutdatedReason, Status};
use tidings_domain::gate::Gate;
use tidings_domain::id::{DeliveryId, Id};
use tidings_domain::time::Timestamp;

use super::accept::{EncodedEvent, accept};
use super::chain::{self, Link};
use super::db::Db;
use super::follow_ups::{Of, apply_to_incidents};
use super::rate_limit::{RateLimiter, refusal_of_held};
use super::row::{corrupt, to_json};
use super::settle::StopColumns;
use crate::Result;
use crate::error::StoreError;
use crate::queue::{ReleaseBatch, ReleaseOutcome};

/// A release with its JSON columns encoded by the caller.
pub(super) struct EncodedRelease {
    /// Without `stopped` and `digest`, which are encoded below.
    batch: ReleaseBatch,
    stopped: Vec<(DeliveryId, StopColumns)>,
    digest: Option<EncodedDigest>,
}

struct EncodedDigest {
    event: EncodedEvent,
    id: DeliveryId,
    members: Vec<DeliveryId>,
}

impl EncodedRelease {
    pub(super) fn new(mut batch: ReleaseBatch) -> Result<Self> {
        let encode_stop = |(id, next)| match StopColumns::from_next(&next)? {
            Some(stop) => Ok((id, stop)),
            None => Err(corrupt("next state of a held delivery", next)),
        };
        let stopped = std::mem::take(&mut batch.not_sent).into_iter().map(encode_stop).collect::<Result<_>>()?;
        let digest = batch.digest.take().map(|mut digest| {
            let [delivery] = digest.new_event.deliveries.as_mut_slice() else {
                return Err(corrupt("deliveries of a digest", digest.new_event.deliveries.len()));
            };
            // `release_digest` asks the limit before it accepts the event; asking again there would take a second slot.
            delivery.rate_limit = None;
            let id = delivery.id;
            Ok(EncodedDigest { event: EncodedEvent::new(digest.new_event)?, id, members: digest.members })
        });
        Ok(Self { batch, stopped, digest: digest.transpose()? })
    }
}

pub(super) fn release(db: &Db<'_>, encoded: &EncodedRelease) -> Result<ReleaseOutcome> {
    let mut release = Release { db, batch: &encoded.batch, limiter: RateLimiter::new(db) };
    for (id, stop) in &encoded.stopped {
        release.stop(*id, stop)?;
    }
    let mut outcome = release.release_individual()?;
    if let Some(digest) = &encoded.digest {
        release.release_digest(digest, &mut outcome)?;
    }
    release.limiter.persist()?;
    Ok(outcome)
}

/// A release in progress.
struct Release<'a, 'c> {
    db: &'a Db<'c>,
    batch: &'a ReleaseBatch,
    limiter: RateLimiter<'a>,
}

/// A refusal by the rate limit.
struct Refused {
    next_slot_at: Timestamp,
    /// As JSON.
    evaluation: String,
}

/// A delivery that is still held and in no digest. Each statement has this condition, because the caller read the held
/// deliveries in an earlier transaction.
const WHERE_HELD: &str = "WHERE sort_key = ? AND id = ? AND workspace_id = ? AND channel_id = ? AND status = 'held' \
     AND held_until IS NOT NULL";

impl Release<'_, '_> {
    /// Updates a delivery that is still held and in no digest, and returns whether it was.
    fn update(&self, id: DeliveryId, set: &str, values: &[&dyn ToSql]) -> Result<bool> {
        let ReleaseBatch { workspace_id, channel_id, .. } = self.batch;
        let sort_key = id.sort_key();
        let which: [&dyn ToSql; 4] = [&sort_key, id.as_bytes(), workspace_id.as_bytes(), channel_id.as_bytes()];
        let sql = format!("UPDATE delivery SET {set} {WHERE_HELD}");
        Ok(self.db.prepare_cached(&sql)?.execute([values, &which].concat().as_slice())? == 1)
    }

    fn stop(&self, id: DeliveryId, stop: &StopColumns) -> Result<()> {
        const SET: &str = "status = ?1, reason = ?2, held_until = ?3, completed_at = ?4, \
             last_error = coalesce(?6, last_error), \
             gate_evaluations = iif(?5 IS NULL, gate_evaluations, json_insert(gate_evaluations, '$[#]', json(?5)))";
        let completed_at = stop.status.is_settled().then_some(self.batch.now.unix_ms());
        let StopColumns { status, reason, held_until, evaluation, error, .. } = stop;
        if self.update(id, SET, &[&status.as_str(), reason, held_until, &completed_at, evaluation, error])? {
            self.db.notes.settled(self.batch.workspace_id, *status, self.batch.now, 1);
            apply_to_incidents(self.db, Of::Delivery(id.sort_key()), self.batch.now, *status, Some(stop))?;
            stop.count_stopped(self.db, self.batch.workspace_id, 1)?;
        }
        Ok(())
    }

    /// Releases deliveries one by one until the rate limit refuses one. That one and all after it stay held: a later
    /// delivery must not take a slot that the refused one waits for.
    fn release_individual(&mut self) -> Result<ReleaseOutcome> {
        let mut outcome = ReleaseOutcome::default();
        let mut refused = None;
        for &id in &self.batch.individual {
            // Checked before the limit, so that a delivery that is not sent takes no slot.
            if !self.is_held(id)? {
                continue;
            }
            if chain::is_superseded(self.db, self.batch.workspace_id, id)? {
                self.supersede(id)?;
                continue;
            }
            if refused.is_none() {
                refused = self.admit()?;
            }
            match &refused {
                Some(refused) => outcome.held += u32::from(self.keep_held(id, refused)?),
                None => outcome.due += u32::from(self.make_due(id)?),
            }
        }
        Ok(outcome)
    }

    /// Whether the delivery is still held and in no digest.
    fn is_held(&self, id: DeliveryId) -> Result<bool> {
        let ReleaseBatch { workspace_id, channel_id, .. } = self.batch;
        let mut statement = self.db.prepare_cached(&format!("SELECT 1 FROM delivery {WHERE_HELD}"))?;
        Ok(statement.exists(params![id.sort_key(), id.as_bytes(), workspace_id.as_bytes(), channel_id.as_bytes()])?)
    }

    /// Takes a slot of the rate limit, if there is a limit, or returns the refusal.
    fn admit(&mut self) -> Result<Option<Refused>> {
        let ReleaseBatch { channel_id, now, rate_limit: request, .. } = self.batch;
        let Some(request) = request else { return Ok(None) };
        match self.limiter.admit_held(*channel_id, &request.limit, *now)? {
            Ok(()) => Ok(None),
            Err(next_slot_at) => {
                let evaluation = to_json(&refusal_of_held(request, next_slot_at, *now))?;
                Ok(Some(Refused { next_slot_at, evaluation }))
            }
        }
    }

    /// Makes the delivery due, at the end of its chain. Those that joined it while this one was held are attempted
    /// first.
    fn make_due(&self, id: DeliveryId) -> Result<bool> {
        const SET: &str = "status = 'pending', due_at = ?1, blocked_by_id = coalesce(?2, blocked_by_id), held_until = NULL, \
             reason = NULL";
        let blocked_by = self.join_chains(id)?;
        let due_at = blocked_by.is_none().then_some(self.batch.now.unix_ms());
        self.update(id, SET, &[&due_at, &blocked_by.as_ref().map(Id::as_bytes)])
    }

    /// Appends the delivery to its chains. Returns the delivery before it, if it is not the head of all of them.
    fn join_chains(&self, id: DeliveryId) -> Result<Option<DeliveryId>> {
        let ReleaseBatch { channel_id, now, .. } = *self.batch;
        let subjects = chain::subjects(self.db, id.sort_key())?;
        let link = Link { channel_id, delivery_id: id, is_released: true, now };
        Ok(chain::join(self.db, link, &subjects)?.blocked_by)
    }

    fn supersede(&self, id: DeliveryId) -> Result<()> {
        const SET: &str = "status = 'suppressed', reason = ?1, held_until = NULL, completed_at = ?2";
        let reason = OutdatedReason::Superseded.as_str();
        if self.update(id, SET, &[&reason, &self.batch.now.unix_ms()])? {
            self.db.notes.settled(self.batch.workspace_id, Status::Suppressed, self.batch.now, 1);
        }
        Ok(())
    }

    /// Keeps the delivery held until the next slot. Its reason becomes the rate limit, by which the limiter knows that
    /// later deliveries must not overtake it. The evaluation is recorded once, however often the limit refuses it.
    fn keep_held(&self, id: DeliveryId, refused: &Refused) -> Result<bool> {
        const SET: &str = "held_until = ?1, reason = ?2, \
             gate_evaluations = iif(reason = ?2, gate_evaluations, json_insert(gate_evaluations, '$[#]', json(?3)))";
        self.update(id, SET, &[&refused.next_slot_at.unix_ms(), &Gate::RateLimit.reason(), &refused.evaluation])
    }

    /// Creates the digest of those members that are still held, if there are any and the rate limit admits it.
    fn release_digest(&mut self, digest: &EncodedDigest, outcome: &mut ReleaseOutcome) -> Result<()> {
        const JOIN: &str = "digest_sort_key = ?1, digest_id = ?2, held_until = NULL";
        let mut members = Vec::with_capacity(digest.members.len());
        for &id in &digest.members {
            if self.is_held(id)? {
                members.push(id);
            }
        }
        if members.is_empty() {
            return Ok(());
        }
        if let Some(refused) = self.admit()? {
            for id in members {
                outcome.held += u32::from(self.keep_held(id, &refused)?);
            }
            return Ok(());
        }
        // A duplicate inserts no delivery, and its members would wait for one that does not exist.
        if accept(self.db, &[&digest.event])?.iter().any(|acceptance| acceptance.duplicate) {
            return Err(StoreError::Exists);
        }
        outcome.due += 1;
        for id in members {
            outcome.members += u32::from(self.update(id, JOIN, &[&digest.id.sort_key(), digest.id.as_bytes()])?);
        }
        // After its members joined it: a digest is in the chain of every subject that it carries.
        if let Some(blocked_by) = self.join_chains(digest.id)? {
            self.db
                .prepare_cached("UPDATE delivery SET due_at = NULL, blocked_by_id = ? WHERE sort_key = ?")?
                .execute(params![blocked_by.as_bytes(), digest.id.sort_key()])?;
        }
        Ok(())
    }
}
