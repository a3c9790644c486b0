//! Acknowledgement of incidents by a person.

use tidings_domain::access::Actor;
use tidings_domain::audit::AuditEntry;
use tidings_domain::id::{IncidentId, WorkspaceId};
use tidings_domain::incident::{TimelineEntry, TimelineKind};
use tidings_store::monitoring::IncidentRecord;

use super::transition::IncidentTransition;
use super::{Incidents, SubjectKey};
use crate::Result;
use crate::detach::detach_on_drop;
use crate::error::EngineError;
use crate::sync::retry_on_conflict;

/// Who acknowledges, with a note for people.
#[derive(Debug)]
pub(crate) struct Acknowledgement {
    pub(crate) by: Actor,
    pub(crate) note: Option<String>,
    pub(crate) audit: Option<AuditEntry>,
}

impl Incidents {
    /// Acknowledges an incident: its escalation and reminders stop. The first acknowledgement counts; a later one returns
    /// the incident unchanged.
    pub(crate) async fn acknowledge(
        &self,
        workspace_id: WorkspaceId,
        id: IncidentId,
        acknowledgement: Acknowledgement,
    ) -> Result<IncidentRecord> {
        let incidents = self.clone();
        detach_on_drop(async move {
            let found = incidents.0.store.incident(workspace_id, id).await?;
            let (found, _) = found.ok_or(EngineError::NotFound("incident"))?;
            if found.incident.resolved_at.is_some() {
                return Err(EngineError::IncidentResolved);
            }
            let key: SubjectKey = (workspace_id, found.incident.subject);
            retry_on_conflict(|| incidents.try_acknowledge(&key, id, &acknowledgement)).await
        })
        .await
    }

    async fn try_acknowledge(
        &self,
        key: &SubjectKey,
        id: IncidentId,
        Acknowledgement { by, note, audit }: &Acknowledgement,
    ) -> Result<IncidentRecord> {
        let state = self.state(key);
        let mut state = state.lock().await;
        let snapshot = self.0.config.snapshot();
        let view = snapshot.workspace(key.0).ok_or(EngineError::NotFound("workspace"))?;
        let now = self.0.clock.now();
        let active = state.active.as_ref().filter(|active| active.record.incident.id == id);
        let record = active.map(|active| active.record.clone()).ok_or(EngineError::IncidentResolved)?;
        let Some(incident) = record.incident.acknowledged(by, now) else { return Ok(record) };
        let kind = TimelineKind::Acknowledged { by: by.name.clone(), note: note.clone() };
        let mut audit = audit.clone();
        if let Some(entry) = &mut audit {
            entry.target_name.get_or_insert_with(|| record.subject_info.name.clone());
        }
        let transition = IncidentTransition {
            audit,
            incident: Some(IncidentRecord { incident, ..record }),
            timeline: vec![TimelineEntry { at: now, kind }],
            ..IncidentTransition::default()
        };
        self.write_transition(key, view, &mut state, None, transition, now).await?;
        // Read back: settlements count sent notifications in the store only.
        let (record, _) = self.0.store.incident(key.0, id).await?.ok_or(EngineError::NotFound("incident"))?;
        Ok(record)
    }
}
