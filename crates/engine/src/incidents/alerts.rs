//! Alerts: incidents that somebody else opens and resolves, without checks of ours.

use tidings_domain::id::{IncidentId, WorkspaceId};
use tidings_domain::incident::{
    Cause, Incident, IncidentStart, IncidentTrigger, Subject, SubjectInfo, TimelineEntry, TimelineKind,
};
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_store::StoreError;

use super::transition::{Change, Happening, new_record};
use super::{Incidents, Key};
use crate::Result;
use crate::clock::new_id;
use crate::detach::unbroken;
use crate::error::EngineError;

/// How often an alert is looked at anew when somebody else was faster.
const TRIES: u32 = 5;

/// An alert as somebody else tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// What recognises it: the resource's id.
    pub resource_id: String,
    /// Whether it goes on.
    pub is_firing: bool,
    /// How bad it is.
    pub severity: Severity,
    /// Since when it fires.
    pub starts_at: Timestamp,
    /// Why, in words.
    pub detail: Option<String>,
    /// What messages say of it.
    pub about: SubjectInfo,
}

impl Incidents {
    /// Takes an alert in: one that fires opens an incident unless one is open, one that does not resolves it. Answers the
    /// incident that it opened or resolved.
    pub(crate) async fn alert(&self, workspace_id: WorkspaceId, alert: Alert) -> Result<Option<IncidentId>> {
        let incidents = self.clone();
        unbroken(async move { incidents.take_in(workspace_id, &alert).await }).await
    }

    async fn take_in(&self, workspace_id: WorkspaceId, alert: &Alert) -> Result<Option<IncidentId>> {
        let key: Key = (workspace_id, Subject::Alert(alert.resource_id.clone()));
        for _ in 0..TRIES {
            let case = self.case(&key);
            let mut case = case.lock().await;
            let snapshot = self.0.live.now();
            let view = snapshot.workspace(workspace_id).ok_or(EngineError::NotFound("workspace"))?;
            let now = self.0.clock.now();
            let mut change = Change::default();
            let incident_id = match (&case.open, alert.is_firing) {
                (None, true) => {
                    let id = new_id(self.0.clock.as_ref(), now);
                    open(&mut change, id, &key, alert, now);
                    id
                }
                (Some(open), false) => {
                    change.resolve(&open.record, alert.detail.clone(), now);
                    open.record.incident.id
                }
                (open, _) => {
                    if open.is_none() {
                        // Nothing is remembered of an alert that does not fire.
                        self.cases().remove(&key);
                    }
                    return Ok(None);
                }
            };
            match self.write(&key, view, &mut case, None, change, now).await {
                Ok(_) => {
                    if case.open.is_none() {
                        self.cases().remove(&key);
                    }
                    return Ok(Some(incident_id));
                }
                Err(StoreError::Conflict | StoreError::Exists) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(EngineError::Store(StoreError::Conflict))
    }
}

fn open(change: &mut Change, id: IncidentId, key: &Key, alert: &Alert, now: Timestamp) {
    let (cause, detail) = (Cause::Alert, alert.detail.clone());
    let opening = IncidentStart {
        subject: key.1.clone(),
        cause,
        detail: detail.clone(),
        failing_since: alert.starts_at,
        at: now,
    };
    let incident = Incident { opening_severity: alert.severity, ..Incident::open(id, key.0, opening) };
    change.timeline.push(TimelineEntry { at: now, kind: TimelineKind::Opened { cause, detail } });
    change.happenings.push(Happening::of(IncidentTrigger::Opened));
    change.incident = Some(new_record(incident, alert.about.clone()));
}
