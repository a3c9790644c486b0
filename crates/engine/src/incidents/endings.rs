//! What configuration changes of an endpoint do to its incident: deletion ends it, resumption makes its checks start over.

use std::time::Duration;

use tidings_domain::channel::Channel;
use tidings_domain::id::{EndpointId, IncidentId, WorkspaceId};
use tidings_domain::incident::Subject;
use tidings_domain::incident::streak::Streak;
use tidings_store::StoreError;
use tidings_store::monitoring::EndpointState;

use super::transition::IncidentTransition;
use super::{Incidents, SubjectKey};
use crate::Result;
use crate::detach::detach_on_drop;
use crate::error::EngineError;
use crate::fanout::is_in_progress;
use crate::sync::retry_on_conflict;

/// The detail of the resolution.
const ENDPOINT_DELETED: &str = "endpoint deleted";
/// How long a deletion waits for channels that are deleted with it. Their receivers get one attempt.
const PRIVATE_CHANNELS_WAIT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How often a deletion ends an incident that a check has opened again during the wait.
const ENDINGS_MAX: usize = 3;

impl Incidents {
    /// Resolves the incident of an endpoint that is about to be deleted, while its rules still say who is notified.
    /// Returns when the notifications are committed, and those through channels that are deleted as well have been
    /// attempted, as far as that does not take long.
    pub(crate) async fn end_for_deletion(&self, workspace_id: WorkspaceId, endpoint_id: EndpointId) -> Result<()> {
        let incidents = self.clone();
        detach_on_drop(async move {
            let key: SubjectKey = (workspace_id, Subject::Endpoint(endpoint_id));
            for _ in 0..ENDINGS_MAX {
                let ended = retry_on_conflict(|| incidents.try_end(&key)).await?;
                let Some(incident_id) = ended else { break };
                incidents.wait_for_private_channels(workspace_id, incident_id).await;
            }
            Ok(())
        })
        .await
    }

    async fn try_end(&self, key: &SubjectKey) -> Result<Option<IncidentId>> {
        let state = self.state(key);
        let mut state = state.lock().await;
        let snapshot = self.0.config.snapshot();
        let view = snapshot.workspace(key.0).ok_or(EngineError::NotFound("workspace"))?;
        let Some(active) = &state.active else { return Ok(None) };
        let incident_id = active.record.incident.id;
        let now = self.0.clock.now();
        let mut transition = IncidentTransition::default();
        transition.resolve(&active.record, Some(ENDPOINT_DELETED.to_owned()), now);
        for notification in &mut transition.notifications {
            notification.resolution = Some(ENDPOINT_DELETED.to_owned());
        }
        transition.endpoint =
            Some(EndpointState { incident_id: None, streak: Streak::default(), ..state.endpoint.clone() });
        self.write_transition(key, view, &mut state, None, transition, now).await?;
        Ok(Some(incident_id))
    }

    /// Waits, but not long, until no delivery of the incident through a private channel is in progress: such a channel is
    /// deleted together with its rule, and nothing can be sent through it afterwards.
    async fn wait_for_private_channels(&self, workspace_id: WorkspaceId, incident_id: IncidentId) {
        let is_in_flight = async || {
            let snapshot = self.0.config.snapshot();
            let Some(view) = snapshot.workspace(workspace_id) else { return false };
            let deliveries = self.0.store.incident_deliveries(workspace_id, incident_id).await.unwrap_or_default();
            let is_private = |channel: &Channel| channel.owner_rule_id.is_some();
            deliveries.iter().any(|it| {
                is_in_progress(it) && view.channel(it.channel_id).is_some_and(|loaded| is_private(&loaded.channel))
            })
        };
        let wait = async {
            while is_in_flight().await {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        // Too late for those that are left: they are skipped, with the reason.
        let _ = tokio::time::timeout(PRIVATE_CHANNELS_WAIT, wait).await;
    }

    /// Forgets the streak of an endpoint that was resumed, or that is probed in another way now: the checks from now on
    /// decide. An active incident stays, and waits for them.
    pub(crate) async fn restart_streak(&self, workspace_id: WorkspaceId, endpoint_id: EndpointId) -> Result<()> {
        let incidents = self.clone();
        detach_on_drop(async move {
            let key: SubjectKey = (workspace_id, Subject::Endpoint(endpoint_id));
            retry_on_conflict(|| incidents.try_restart_streak(&key)).await
        })
        .await
    }

    async fn try_restart_streak(&self, key: &SubjectKey) -> Result<()> {
        let state = self.state(key);
        let mut state = state.lock().await;
        if state.endpoint.streak == Streak::default() {
            return Ok(());
        }
        let snapshot = self.0.config.snapshot();
        let view = snapshot.workspace(key.0).ok_or(EngineError::NotFound("workspace"))?;
        let endpoint = EndpointState { streak: Streak::default(), ..state.endpoint.clone() };
        let transition = IncidentTransition { endpoint: Some(endpoint), ..IncidentTransition::default() };
        match self.write_transition(key, view, &mut state, None, transition, self.0.clock.now()).await {
            // Deleted meanwhile.
            Err(StoreError::NotFound) => Ok(()),
            outcome => Ok(outcome.map(drop)?),
        }
    }
}
