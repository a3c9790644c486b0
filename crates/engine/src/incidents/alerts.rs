//! Alerts: incidents that another monitoring system opens and resolves, without checks of this one.

use tidings_domain::id::{IncidentId, WorkspaceId};
use tidings_domain::incident::episode::{self, Known, Report, Step};
use tidings_domain::incident::{
    Cause, Incident, IncidentStart, IncidentTrigger, Subject, SubjectInfo, TimelineEntry, TimelineKind,
};
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_store::monitoring::{EpisodeEnd, IncidentRecord};

use super::state::IncidentState;
use super::transition::{IncidentNotification, IncidentTransition, new_record};
use super::{Incidents, SubjectKey};
use crate::Result;
use crate::clock::new_id;
use crate::detach::detach_on_drop;
use crate::error::EngineError;
use crate::sync::retry_on_conflict;

/// The detail of a resolution whose report was lost.
const REPLACED: &str = "a later episode of the alert began";

/// An alert as another monitoring system reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Identifies the alert across reports.
    pub resource_id: String,
    /// Whether it fires or is over, and since when.
    pub report: Report,
    pub severity: Severity,
    /// The cause, for people; of a resolution how it was resolved.
    pub detail: Option<String>,
    /// What messages show about it.
    pub subject_info: SubjectInfo,
}

/// What an alert did. Both, if it began a later episode than the active one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AlertOutcome {
    pub opened: Option<IncidentId>,
    pub resolved: Option<IncidentId>,
}

impl Incidents {
    /// Ingests an alert, unless it is late or repeated: see [`episode`].
    pub(crate) async fn alert(&self, workspace_id: WorkspaceId, alert: Alert) -> Result<AlertOutcome> {
        let incidents = self.clone();
        detach_on_drop(async move {
            let key: SubjectKey = (workspace_id, Subject::Alert(alert.resource_id.clone()));
            retry_on_conflict(|| incidents.ingest_alert(&key, &alert)).await
        })
        .await
    }

    async fn ingest_alert(&self, key: &SubjectKey, alert: &Alert) -> Result<AlertOutcome> {
        let state = self.state(key);
        let mut state = state.lock().await;
        let outcome = self.try_ingest_alert(key, alert, &mut state).await;
        if state.is_idle() {
            // An alert that does not fire needs no state.
            self.drop_idle(key);
        }
        outcome
    }

    async fn try_ingest_alert(
        &self,
        key: &SubjectKey,
        alert: &Alert,
        state: &mut IncidentState,
    ) -> Result<AlertOutcome> {
        let now = self.0.clock.now();
        let mut outcome = AlertOutcome::default();
        let step = episode::step(self.known(key, alert, state).await?, alert.report, now);
        match step {
            Step::Unchanged => {}
            Step::Open { since } => outcome.opened = Some(self.open_alert(key, alert, state, since, now).await?),
            Step::Antedate { since } => self.antedate(key, state, since, now).await?,
            Step::Resolve { end } => {
                outcome.resolved = self.end_episode(key, state, end, alert.detail.clone(), now).await?;
            }
            Step::Replace { end, since } => {
                outcome.resolved = self.end_episode(key, state, end, Some(REPLACED.to_owned()), now).await?;
                outcome.opened = Some(self.open_alert(key, alert, state, since, now).await?);
            }
            Step::NoteEnd { end } => _ = self.end_episode(key, state, end, None, now).await?,
        }
        Ok(outcome)
    }

    /// What is known of the alert. The end of its last episode is read only if the report may be late.
    async fn known(&self, key: &SubjectKey, alert: &Alert, state: &IncidentState) -> Result<Known> {
        let record = state.active.as_ref().map(|active| &active.record);
        let active_since = record.map(|it| it.episode_started_at.unwrap_or(it.incident.failing_since));
        let may_be_late = match (alert.report, active_since) {
            (_, None) => true,
            (Report::Firing { since }, Some(active_since)) => since.is_some_and(|since| since < active_since),
            (Report::Resolved { .. }, Some(_)) => false,
        };
        let last_end = match may_be_late {
            true => self.0.store.last_episode_end(key.0, &alert.resource_id).await?,
            false => None,
        };
        Ok(Known { active_since, last_end })
    }

    async fn open_alert(
        &self,
        key: &SubjectKey,
        alert: &Alert,
        state: &mut IncidentState,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<IncidentId> {
        let id = new_id(self.0.clock.as_ref(), now);
        let (cause, detail) = (Cause::Alert, alert.detail.clone());
        let start =
            IncidentStart { subject: key.1.clone(), cause, detail: detail.clone(), failing_since: since, at: now };
        let incident = Incident { severity: alert.severity, ..Incident::open(id, key.0, start) };
        let record = new_record(incident, alert.subject_info.clone());
        let transition = IncidentTransition {
            incident: Some(IncidentRecord { episode_started_at: Some(since), ..record }),
            timeline: vec![TimelineEntry { at: now, kind: TimelineKind::Opened { cause, detail } }],
            notifications: vec![IncidentNotification::of(IncidentTrigger::Opened)],
            ..IncidentTransition::default()
        };
        self.write_alert(key, state, transition, now).await?;
        Ok(id)
    }

    /// The active incident began earlier than was known.
    async fn antedate(
        &self,
        key: &SubjectKey,
        state: &mut IncidentState,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        let Some(active) = &state.active else { return Ok(()) };
        let mut record = active.record.clone();
        record.episode_started_at = Some(since);
        record.incident.failing_since = record.incident.failing_since.min(since);
        let transition = IncidentTransition { incident: Some(record), ..IncidentTransition::default() };
        self.write_alert(key, state, transition, now).await
    }

    /// Records the end of an episode, and resolves the incident if one is active.
    async fn end_episode(
        &self,
        key: &SubjectKey,
        state: &mut IncidentState,
        end: Timestamp,
        detail: Option<String>,
        now: Timestamp,
    ) -> Result<Option<IncidentId>> {
        let episode_end = Some(EpisodeEnd { resource_id: key.1.resource_id(), at: end });
        let mut transition = IncidentTransition { episode_end, ..IncidentTransition::default() };
        let active = state.active.as_ref().map(|active| &active.record);
        let resolved = active.map(|record| record.incident.id);
        active.into_iter().for_each(|record| transition.resolve(record, detail.clone(), now));
        self.write_alert(key, state, transition, now).await?;
        Ok(resolved)
    }

    async fn write_alert(
        &self,
        key: &SubjectKey,
        state: &mut IncidentState,
        transition: IncidentTransition,
        now: Timestamp,
    ) -> Result<()> {
        let snapshot = self.0.config.snapshot();
        let view = snapshot.workspace(key.0).ok_or(EngineError::NotFound("workspace"))?;
        self.write_transition(key, view, state, None, transition, now).await?;
        Ok(())
    }
}
