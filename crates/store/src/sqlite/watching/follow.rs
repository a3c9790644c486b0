//! What follows from something that was seen, in one transaction: check, state, incident, timeline, ended mutes, events.
//!
//! Nearly always it is a check and a state and nothing else, many times a second: that way is two statements, and what it
//! refuses it takes back by itself, so that it needs no savepoint.

use rusqlite::{Connection, params};
use tidings_domain::id::{EndpointId, Id, IncidentId, MuteId, WorkspaceId};
use tidings_domain::incident::Subject;

use super::check::Inserted;
use super::{Decided, check, incident, state, timeline};
use crate::Result;
use crate::error::StoreError;
use crate::monitoring::{TransitionOutcome, TransitionRecord};
use crate::queue::Acceptance;
use crate::sqlite::accept;
use crate::sqlite::db::Db;
use crate::sqlite::settings::{endpoint, raise_version};

/// What follows, with the columns that cost most to make.
pub(in crate::sqlite) struct Prepared {
    check: Option<check::Prepared>,
    state: Option<state::Prepared>,
    incident: Option<incident::Prepared>,
    timeline: Vec<timeline::Prepared>,
    ended_mutes: Vec<MuteId>,
    events: Vec<accept::Prepared>,
}

impl Prepared {
    pub(in crate::sqlite) fn new(following: TransitionRecord) -> Result<Self> {
        Ok(Self {
            check: following.check.as_ref().map(check::Prepared::new).transpose()?,
            state: following.state.as_ref().map(state::Prepared::new).transpose()?,
            incident: following.incident.map(incident::Prepared::new).transpose()?,
            timeline: following.timeline.iter().map(timeline::Prepared::new).collect::<Result<_>>()?,
            ended_mutes: following.ended_mutes,
            events: following.events.into_iter().map(accept::Prepared::new).collect::<Result<_>>()?,
        })
    }

    /// Whether it is a check with the state of its endpoint, and nothing else: what [`plain`] writes.
    pub(in crate::sqlite) fn is_plain(&self) -> bool {
        let is_alone = self.incident.is_none()
            && self.timeline.is_empty()
            && self.ended_mutes.is_empty()
            && self.events.is_empty();
        let is_of_one = |check: &check::Prepared, state: &state::Prepared| check.endpoint_id == state.endpoint_id;
        is_alone && self.check.as_ref().zip(self.state.as_ref()).is_some_and(|(check, state)| is_of_one(check, state))
    }
}

/// Writes a check and the state after it. Refused, nothing is written.
pub(in crate::sqlite) fn plain(
    db: &Connection,
    workspace_id: WorkspaceId,
    prepared: &Prepared,
) -> Result<Decided<TransitionOutcome>> {
    let Some((check, state)) = prepared.check.as_ref().zip(prepared.state.as_ref()) else {
        return Ok(Err(StoreError::Defect("a plain check without its state".into())));
    };
    let endpoint = match check::insert(db, workspace_id, check)? {
        Ok(Inserted::Written(endpoint)) => endpoint,
        Ok(Inserted::Known) => return Ok(Ok(TransitionOutcome::Duplicate)),
        Err(refusal) => return Ok(Err(refusal)),
    };
    if state::put(db, endpoint, state)? {
        return Ok(Ok(TransitionOutcome::Applied(Vec::new())));
    }
    check::take_back(db, endpoint, check)?;
    Ok(Err(StoreError::Conflict))
}

/// Writes all of it. Refused, it may have written a part: the caller's transaction must not keep that.
pub(in crate::sqlite) fn follow(
    db: &Db<'_>,
    workspace_id: WorkspaceId,
    prepared: &Prepared,
) -> Result<TransitionOutcome> {
    let mut endpoint = None;
    if let Some(check) = &prepared.check {
        match check::insert(db, workspace_id, check)?? {
            Inserted::Written(number) => endpoint = Some((check.endpoint_id, number)),
            Inserted::Known => return Ok(TransitionOutcome::Duplicate),
        }
    }
    let number_of = |id: EndpointId| match endpoint {
        Some((known, number)) if known == id => Ok(number),
        _ => endpoint::number(db, workspace_id, id)?.ok_or(StoreError::NotFound),
    };
    if let Some(state) = &prepared.state
        && !state::put(db, number_of(state.endpoint_id)?, state)?
    {
        return Err(StoreError::Conflict);
    }
    if let Some(record) = &prepared.incident {
        if let Subject::Endpoint(id) = record.incident.subject {
            number_of(id)?;
        }
        incident::put(db, workspace_id, record)?;
    }
    if !prepared.timeline.is_empty() {
        timeline::append(db, incident_of(db, workspace_id, prepared)?.sort_key(), &prepared.timeline)?;
    }
    end_mutes(db, workspace_id, &prepared.ended_mutes)?;
    tell(db, workspace_id, &prepared.events).map(TransitionOutcome::Applied)
}

/// The incident whose timeline is meant: the one that is written, else the one that the state names.
fn incident_of(db: &Connection, workspace_id: WorkspaceId, prepared: &Prepared) -> Result<IncidentId> {
    if let Some(record) = &prepared.incident {
        return Ok(record.incident.id);
    }
    let id = prepared.state.as_ref().and_then(|state| state.incident_id);
    let id = id.ok_or_else(|| StoreError::Defect("a timeline of no incident".into()))?;
    if incident::is_there(db, workspace_id, id)? { Ok(id) } else { Err(StoreError::NotFound) }
}

/// Deletes those that are still there. They are configuration, so whoever keeps a copy of that has to hear of it.
fn end_mutes(db: &Connection, workspace_id: WorkspaceId, mutes: &[MuteId]) -> Result<()> {
    let mut ended = 0;
    for id in mutes {
        ended += db
            .prepare_cached("DELETE FROM mute WHERE workspace_id = ? AND id = ?")?
            .execute(params![workspace_id.as_bytes(), id.as_bytes()])?;
    }
    if ended > 0 {
        raise_version(db, workspace_id)?;
    }
    Ok(())
}

/// Takes in the events that tell of it; one that was told before may be told late.
fn tell(db: &Db<'_>, workspace_id: WorkspaceId, events: &[accept::Prepared]) -> Result<Vec<Acceptance>> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    if events.iter().any(|prepared| prepared.new_event.event.workspace_id != workspace_id) {
        return Err(StoreError::NotFound);
    }
    accept::accept_with_late(db, &events.iter().collect::<Vec<_>>())
}
