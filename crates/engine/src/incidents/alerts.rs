//! Alerts: incidents that another monitoring system opens and resolves, without checks of this one.

use tidings_domain::id::{IncidentId, WorkspaceId};
use tidings_domain::incident::{
    Cause, Incident, IncidentStart, IncidentTrigger, Subject, SubjectInfo, TimelineEntry, TimelineKind,
};
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

use super::transition::{IncidentNotification, IncidentTransition, new_record};
use super::{Incidents, SubjectKey};
use crate::Result;
use crate::clock::new_id;
use crate::detach::detach_on_drop;
use crate::error::EngineError;
use crate::sync::retry_on_conflict;

/// An alert as another monitoring system reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Identifies the alert across reports.
    pub resource_id: String,
    pub is_firing: bool,
    pub severity: Severity,
    /// Since when it fires.
    pub starts_at: Timestamp,
    /// The cause, for people.
    pub detail: Option<String>,
    /// What messages show about it.
    pub subject_info: SubjectInfo,
}

impl Incidents {
    /// Ingests an alert: a firing one opens an incident unless one is active, a resolved one resolves it. Returns the
    /// incident that it opened or resolved.
    pub(crate) async fn alert(&self, workspace_id: WorkspaceId, alert: Alert) -> Result<Option<IncidentId>> {
        let incidents = self.clone();
        detach_on_drop(async move {
            let key: SubjectKey = (workspace_id, Subject::Alert(alert.resource_id.clone()));
            retry_on_conflict(|| incidents.ingest_alert(&key, &alert)).await
        })
        .await
    }

    async fn ingest_alert(&self, key: &SubjectKey, alert: &Alert) -> Result<Option<IncidentId>> {
        let state = self.state(key);
        let mut state = state.lock().await;
        let snapshot = self.0.config.snapshot();
        let view = snapshot.workspace(key.0).ok_or(EngineError::NotFound("workspace"))?;
        let now = self.0.clock.now();
        let mut transition = IncidentTransition::default();
        let incident_id = match (&state.active, alert.is_firing) {
            // A firing alert without an active incident: open one.
            (None, true) => {
                let id = new_id(self.0.clock.as_ref(), now);
                open_alert_incident(&mut transition, id, key, alert, now);
                id
            }
            (Some(active), false) => {
                transition.resolve(&active.record, alert.detail.clone(), now);
                active.record.incident.id
            }
            (active, _) => {
                if active.is_none() {
                    // An alert that does not fire needs no state.
                    self.states().remove(key);
                }
                return Ok(None);
            }
        };
        self.write_transition(key, view, &mut state, None, transition, now).await?;
        if state.active.is_none() {
            self.states().remove(key);
        }
        Ok(Some(incident_id))
    }
}

fn open_alert_incident(
    transition: &mut IncidentTransition,
    id: IncidentId,
    key: &SubjectKey,
    alert: &Alert,
    now: Timestamp,
) {
    let (cause, detail) = (Cause::Alert, alert.detail.clone());
    let start = IncidentStart {
        subject: key.1.clone(),
        cause,
        detail: detail.clone(),
        failing_since: alert.starts_at,
        at: now,
    };
    let incident = Incident { severity: alert.severity, ..Incident::open(id, key.0, start) };
    transition.timeline.push(TimelineEntry { at: now, kind: TimelineKind::Opened { cause, detail } });
    transition.notifications.push(IncidentNotification::of(IncidentTrigger::Opened));
    transition.incident = Some(new_record(incident, alert.subject_info.clone()));
}
