//! Transitions: check, state, incident, timeline, ended mutes and events in one transaction.
//!
//! Nearly all transitions are a check with a state, and there are many per second. [`record_check`] writes those with
//! two statements. It undoes what it wrote when it refuses, so it needs no savepoint in the batch.

use rusqlite::Connection;
use tidings_domain::audit::AuditEntry;
use tidings_domain::id::{EndpointId, Id, IncidentId, MuteId, WorkspaceId};
use tidings_domain::incident::Subject;
use tidings_domain::time::Timestamp;

use super::Refusable;
use super::check::{self, EncodedCheck, Inserted};
use super::episode;
use super::incident::{self, EncodedIncident};
use super::state::{self, EncodedState};
use super::timeline::{self, EncodedEntry};
use crate::Result;
use crate::error::StoreError;
use crate::monitoring::{EpisodeEnd, TransitionOutcome, TransitionRecord};
use crate::queue::Acceptance;
use crate::sqlite::accept::{EncodedEvent, accept_with_deferred};
use crate::sqlite::accounts::audit;
use crate::sqlite::db::Db;
use crate::sqlite::settings::{bump_version, end_mute, endpoint};

/// A transition with its JSON columns encoded by the caller.
pub(in crate::sqlite) struct EncodedTransition {
    check: Option<EncodedCheck>,
    state: Option<EncodedState>,
    incident: Option<EncodedIncident>,
    timeline: Vec<EncodedEntry>,
    ended_mutes: Vec<(MuteId, Timestamp)>,
    episode_end: Option<EpisodeEnd>,
    events: Vec<EncodedEvent>,
    audit: Vec<AuditEntry>,
}

impl EncodedTransition {
    pub(in crate::sqlite) fn new(transition: TransitionRecord) -> Result<Self> {
        Ok(Self {
            check: transition.check.as_ref().map(EncodedCheck::new).transpose()?,
            state: transition.endpoint_state.as_ref().map(EncodedState::new).transpose()?,
            incident: transition.incident.map(EncodedIncident::new).transpose()?,
            timeline: transition.timeline.iter().map(EncodedEntry::new).collect::<Result<_>>()?,
            ended_mutes: transition.ended_mutes,
            episode_end: transition.episode_end,
            events: transition.events.into_iter().map(EncodedEvent::new).collect::<Result<_>>()?,
            audit: transition.audit,
        })
    }

    /// Whether it is a check with the state of its endpoint and nothing else, which [`record_check`] can write.
    pub(in crate::sqlite) fn is_check_only(&self) -> bool {
        let has_nothing_else = self.incident.is_none()
            && self.timeline.is_empty()
            && self.ended_mutes.is_empty()
            && self.episode_end.is_none()
            && self.events.is_empty()
            && self.audit.is_empty();
        let same_endpoint = |check: &EncodedCheck, state: &EncodedState| check.endpoint_id == state.endpoint_id;
        has_nothing_else
            && self.check.as_ref().zip(self.state.as_ref()).is_some_and(|(check, state)| same_endpoint(check, state))
    }
}

/// Records a check and the state after it. A refusal leaves nothing written.
pub(in crate::sqlite) fn record_check(
    db: &Connection,
    workspace_id: WorkspaceId,
    encoded: &EncodedTransition,
) -> Result<Refusable<TransitionOutcome>> {
    let Some((check, state)) = encoded.check.as_ref().zip(encoded.state.as_ref()) else {
        return Ok(Err(StoreError::Defect("a check without its state".into())));
    };
    let endpoint = match check::insert(db, workspace_id, check)? {
        Ok(Inserted::New(endpoint)) => endpoint,
        Ok(Inserted::Duplicate) => return Ok(Ok(TransitionOutcome::Duplicate)),
        Err(refusal) => return Ok(Err(refusal)),
    };
    if state::put(db, endpoint, state)? {
        return Ok(Ok(TransitionOutcome::Applied(Vec::new())));
    }
    check::undo_insert(db, endpoint, check)?;
    Ok(Err(StoreError::Conflict))
}

/// Records any transition. A refusal may leave a part written, so it must run behind a savepoint.
pub(in crate::sqlite) fn record(
    db: &Db<'_>,
    workspace_id: WorkspaceId,
    encoded: &EncodedTransition,
) -> Result<TransitionOutcome> {
    // The check first: a duplicate must change nothing else.
    let mut endpoint = None;
    if let Some(check) = &encoded.check {
        match check::insert(db, workspace_id, check)?? {
            Inserted::New(number) => endpoint = Some((check.endpoint_id, number)),
            Inserted::Duplicate => return Ok(TransitionOutcome::Duplicate),
        }
    }
    let number_of = |id: EndpointId| match endpoint {
        Some((cached, number)) if cached == id => Ok(number),
        _ => endpoint::number(db, workspace_id, id)?.ok_or(StoreError::NotFound),
    };
    if let Some(state) = &encoded.state
        && !state::put(db, number_of(state.endpoint_id)?, state)?
    {
        return Err(StoreError::Conflict);
    }
    if let Some(record) = &encoded.incident {
        // An active incident needs its endpoint; the end of one may be notified after the endpoint was deleted.
        if let Subject::Endpoint(id) = record.incident.subject
            && record.incident.resolved_at.is_none()
        {
            number_of(id)?;
        }
        incident::put(db, workspace_id, record)?;
    }
    if !encoded.timeline.is_empty() {
        timeline::append(db, incident_of(db, workspace_id, encoded)?.sort_key(), &encoded.timeline)?;
    }
    if let Some(end) = &encoded.episode_end {
        episode::put(db, workspace_id, end)?;
    }
    end_mutes(db, workspace_id, &encoded.ended_mutes)?;
    encoded.audit.iter().try_for_each(|entry| audit::record_of(db, workspace_id, entry))?;
    insert_events(db, workspace_id, &encoded.events).map(TransitionOutcome::Applied)
}

/// The incident that the timeline entries belong to: the one of the transition, else the one that the state names.
fn incident_of(db: &Connection, workspace_id: WorkspaceId, encoded: &EncodedTransition) -> Result<IncidentId> {
    if let Some(record) = &encoded.incident {
        return Ok(record.incident.id);
    }
    let id = encoded.state.as_ref().and_then(|state| state.incident_id);
    let id = id.ok_or_else(|| StoreError::Defect("timeline entries without an incident".into()))?;
    if incident::exists(db, workspace_id, id)? { Ok(id) } else { Err(StoreError::NotFound) }
}

/// Ends the mutes that are still in force. They are configuration, so the version is incremented for the caches.
fn end_mutes(db: &Connection, workspace_id: WorkspaceId, mutes: &[(MuteId, Timestamp)]) -> Result<()> {
    let mut ended = 0;
    for (id, at) in mutes {
        match end_mute(db, workspace_id, *id, *at) {
            Ok(()) => ended += 1,
            Err(StoreError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    if ended > 0 {
        bump_version(db, workspace_id)?;
    }
    Ok(())
}

/// Accepts the incident's events; a duplicate may bring deferred openings.
fn insert_events(db: &Db<'_>, workspace_id: WorkspaceId, events: &[EncodedEvent]) -> Result<Vec<Acceptance>> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    if events.iter().any(|event| event.new_event.event.workspace_id != workspace_id) {
        return Err(StoreError::NotFound);
    }
    accept_with_deferred(db, &events.iter().collect::<Vec<_>>())
}
