//! Let go: what was held back is stopped after all, sent each by itself, or carried by a digest.

use rusqlite::params;
use rusqlite::types::ToSql;
use tidings_domain::gate::Gate;
use tidings_domain::id::{DeliveryId, Id};
use tidings_domain::time::Timestamp;

use super::accept;
use super::admission::{Admitting, still_refused};
use super::begin::{incident_of, last_under_way, waits_for};
use super::db::Db;
use super::row::{corrupt, optional_id, to_json};
use super::settle::Stopped;
use crate::Result;
use crate::error::StoreError;
use crate::queue::{ReleaseBatch, ReleaseOutcome};

/// A release with its columns that cost most to make.
pub(super) struct Prepared {
    release: ReleaseBatch,
    stopped: Vec<(DeliveryId, Stopped)>,
    digest: Option<Digest>,
}

struct Digest {
    prepared: accept::Prepared,
    id: DeliveryId,
    carried: Vec<DeliveryId>,
}

impl Prepared {
    pub(super) fn new(mut release: ReleaseBatch) -> Result<Self> {
        let stop = |(id, next)| match Stopped::by(&next)? {
            Some(stopped) => Ok((id, stopped)),
            None => Err(corrupt("next state of what is held", next)),
        };
        let stopped = std::mem::take(&mut release.stopped).into_iter().map(stop).collect::<Result<_>>()?;
        let digest = release.digest.take().map(|mut digest| {
            let [delivery] = digest.new_event.deliveries.as_mut_slice() else {
                return Err(corrupt("deliveries of a digest", digest.new_event.deliveries.len()));
            };
            // It is asked for with the release.
            delivery.rate_limit = None;
            let id = delivery.id;
            Ok(Digest { prepared: accept::Prepared::new(digest.new_event)?, id, carried: digest.carried })
        });
        Ok(Self { release, stopped, digest: digest.transpose()? })
    }
}

pub(super) fn let_go(db: &Db<'_>, prepared: &Prepared) -> Result<ReleaseOutcome> {
    let mut releasing = Releasing { db, release: &prepared.release, admitting: Admitting::new(db) };
    for (id, stopped) in &prepared.stopped {
        releasing.stop(*id, stopped)?;
    }
    let mut gone = releasing.singles()?;
    if let Some(digest) = &prepared.digest {
        releasing.digest(digest, &mut gone)?;
    }
    releasing.admitting.keep()?;
    Ok(gone)
}

/// A release on its way.
struct Releasing<'a, 'c> {
    db: &'a Db<'c>,
    release: &'a ReleaseBatch,
    admitting: Admitting<'a>,
}

/// The rate limit has no room before this instant.
struct Refused {
    next_slot_at: Timestamp,
    evaluation: String,
}

/// The row with this id, if it is still held and not carried.
const WHERE_HELD: &str = "WHERE sort_key = ? AND id = ? AND workspace_id = ? AND channel_id = ? AND status = 'held' AND held_until IS NOT NULL";

impl Releasing<'_, '_> {
    /// Changes a row that is still held and not carried; whether it was.
    fn update(&self, id: DeliveryId, set: &str, values: &[&dyn ToSql]) -> Result<bool> {
        let ReleaseBatch { workspace_id, channel_id, .. } = self.release;
        let sort_key = id.sort_key();
        let which: [&dyn ToSql; 4] = [&sort_key, id.as_bytes(), workspace_id.as_bytes(), channel_id.as_bytes()];
        let sql = format!("UPDATE delivery SET {set} {WHERE_HELD}");
        Ok(self.db.prepare_cached(&sql)?.execute([values, &which].concat().as_slice())? == 1)
    }

    fn stop(&self, id: DeliveryId, stopped: &Stopped) -> Result<()> {
        const SET: &str = "status = ?1, reason = ?2, held_until = ?3, completed_at = ?4, \
             gate_evaluations = iif(?5 IS NULL, gate_evaluations, json_insert(gate_evaluations, '$[#]', json(?5)))";
        let completed_at = stopped.status.is_settled().then_some(self.release.now.unix_ms());
        let Stopped { status, reason, held_until, evaluation } = stopped;
        self.update(id, SET, &[&status.as_str(), reason, held_until, &completed_at, evaluation]).map(drop)
    }

    /// Lets them go one by one, until one is refused: that one and all behind it stay.
    fn singles(&mut self) -> Result<ReleaseOutcome> {
        let mut gone = ReleaseOutcome::default();
        let mut refused = None;
        for &id in &self.release.individual {
            let Some(after) = self.held(id)? else { continue };
            if refused.is_none() {
                refused = self.refused()?;
            }
            match &refused {
                Some(refused) => gone.held += u32::from(self.hold(id, refused)?),
                None => gone.due += u32::from(self.send(id, after)?),
            }
        }
        Ok(gone)
    }

    /// If it is still held and not carried: what was to go before it when it was made, if something was.
    fn held(&self, id: DeliveryId) -> Result<Option<Option<DeliveryId>>> {
        let ReleaseBatch { workspace_id, channel_id, .. } = self.release;
        let mut statement = self.db.prepare_cached(&format!("SELECT blocked_by_id FROM delivery {WHERE_HELD}"))?;
        let mut rows =
            statement.query(params![id.sort_key(), id.as_bytes(), workspace_id.as_bytes(), channel_id.as_bytes()])?;
        rows.next()?.map(|row| optional_id(row, "blocked_by_id")).transpose()
    }

    /// Asks the rate limit once.
    fn refused(&mut self) -> Result<Option<Refused>> {
        let ReleaseBatch { channel_id, now, rate_limit: admission, .. } = self.release;
        let Some(admission) = admission else { return Ok(None) };
        match self.admitting.ask_again(*channel_id, &admission.limit, *now)? {
            Ok(()) => Ok(None),
            Err(next_slot_at) => {
                let evaluation = to_json(&still_refused(admission, next_slot_at, *now))?;
                Ok(Some(Refused { next_slot_at, evaluation }))
            }
        }
    }

    /// What is under way of the incident that it tells of, if it tells of one.
    fn last_under_way(&self, id: DeliveryId) -> Result<Option<(i64, DeliveryId)>> {
        let ReleaseBatch { workspace_id, channel_id, .. } = self.release;
        match incident_of(self.db, *workspace_id, id)? {
            Some(incident_id) => last_under_way(self.db, *workspace_id, *channel_id, &incident_id),
            None => Ok(None),
        }
    }

    /// Makes it due, or lets it wait for what goes before it: that may have been let go just now, or have come up while
    /// this one was held.
    fn send(&self, id: DeliveryId, after: Option<DeliveryId>) -> Result<bool> {
        const SET: &str = "status = 'pending', due_at = ?1, blocked_by_sort_key = ?2, blocked_by_id = ?3, held_until = NULL, reason = NULL";
        let workspace_id = self.release.workspace_id;
        let (blocked_by_sort_key, blocked_by_id) = match (self.last_under_way(id)?, after) {
            (Some((sort_key, before)), _) => (Some(sort_key), Some(before)),
            (None, Some(after)) => (waits_for(self.db, workspace_id, after)?, Some(after)),
            (None, None) => (None, None),
        };
        let due_at = blocked_by_sort_key.is_none().then_some(self.release.now.unix_ms());
        self.update(id, SET, &[&due_at, &blocked_by_sort_key, &blocked_by_id.as_ref().map(Id::as_bytes)])
    }

    /// Keeps it back until there is room, now for the limit's sake, so that nothing overtakes it. The log says so once,
    /// however often it is refused again.
    fn hold(&self, id: DeliveryId, refused: &Refused) -> Result<bool> {
        const SET: &str = "held_until = ?1, reason = ?2, \
             gate_evaluations = iif(reason = ?2, gate_evaluations, json_insert(gate_evaluations, '$[#]', json(?3)))";
        self.update(id, SET, &[&refused.next_slot_at.unix_ms(), &Gate::RateLimit.reason(), &refused.evaluation])
    }

    /// Makes the digest and has it carry what is still held, if there is anything and the limit admits it.
    fn digest(&mut self, digest: &Digest, gone: &mut ReleaseOutcome) -> Result<()> {
        const CARRY: &str = "digest_sort_key = ?1, digest_id = ?2, held_until = NULL";
        let mut still_held = Vec::with_capacity(digest.carried.len());
        for &id in &digest.carried {
            still_held.extend(self.held(id)?.map(|_| id));
        }
        if still_held.is_empty() {
            return Ok(());
        }
        if let Some(refused) = self.refused()? {
            for id in still_held {
                gone.held += u32::from(self.hold(id, &refused)?);
            }
            return Ok(());
        }
        if accept::accept(self.db, &[&digest.prepared])?.iter().any(|acceptance| acceptance.duplicate) {
            return Err(StoreError::Exists);
        }
        gone.due += 1;
        for id in still_held {
            gone.carried += u32::from(self.update(id, CARRY, &[&digest.id.sort_key(), digest.id.as_bytes()])?);
        }
        Ok(())
    }
}
