//! Incidents as the doors ask for them, and what a person does to them.

use tidings_domain::id::{IncidentId, WorkspaceId};
use tidings_domain::incident::{TimelineEntry, TimelineKind};
use tidings_store::StoreError;
use tidings_store::monitoring::IncidentRecord;

use super::transition::Change;
use super::{Incidents, Key};
use crate::Result;
use crate::detach::unbroken;
use crate::error::EngineError;

/// How often an acknowledgement is tried again when somebody else was faster.
const TRIES: u32 = 5;

impl Incidents {
    /// Somebody takes an incident on: its escalation and its reminders stop. Acknowledged before, it stays as it is.
    pub(crate) async fn acknowledge(
        &self,
        workspace_id: WorkspaceId,
        id: IncidentId,
        by: String,
        note: Option<String>,
    ) -> Result<IncidentRecord> {
        let incidents = self.clone();
        unbroken(async move { incidents.take_on(workspace_id, id, &by, note.as_ref()).await }).await
    }

    async fn take_on(
        &self,
        workspace_id: WorkspaceId,
        id: IncidentId,
        by: &str,
        note: Option<&String>,
    ) -> Result<IncidentRecord> {
        let found = self.0.store.incident(workspace_id, id).await?;
        let (found, _) = found.ok_or(EngineError::NotFound("incident"))?;
        if found.incident.resolved_at.is_some() {
            return Err(EngineError::IncidentResolved);
        }
        let key: Key = (workspace_id, found.incident.subject);
        for _ in 0..TRIES {
            let case = self.case(&key);
            let mut case = case.lock().await;
            let snapshot = self.0.live.now();
            let view = snapshot.workspace(workspace_id).ok_or(EngineError::NotFound("workspace"))?;
            let now = self.0.clock.now();
            let open = case.open.as_ref().filter(|open| open.record.incident.id == id);
            let record = open.map(|open| open.record.clone()).ok_or(EngineError::IncidentResolved)?;
            let Some(incident) = record.incident.acknowledged(by, now) else { return Ok(record) };
            let kind = TimelineKind::Acknowledged { by: by.to_owned(), note: note.cloned() };
            let change = Change {
                incident: Some(IncidentRecord { incident, ..record }),
                timeline: vec![TimelineEntry { at: now, kind }],
                ..Change::default()
            };
            match self.write(&key, view, &mut case, None, change, now).await {
                Ok(_) => {
                    let (record, _) =
                        self.0.store.incident(workspace_id, id).await?.ok_or(EngineError::NotFound("incident"))?;
                    return Ok(record);
                }
                Err(StoreError::Conflict | StoreError::Exists) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(EngineError::Store(StoreError::Conflict))
    }
}
