//! Operations on endpoints, their checks, incidents, mutes, preferences and inbound webhooks.

use std::collections::HashMap;
use std::sync::Arc;

use tidings_domain::access::Actor;
use tidings_domain::audit::AuditEntry;
use tidings_domain::check::{Check, Observation};
use tidings_domain::endpoint::Probe;
use tidings_domain::id::{CheckId, EndpointId, IncidentId, WorkspaceId};
use tidings_domain::incident::TimelineEntry;
use tidings_domain::time::Timestamp;
use tidings_store::activity::{MuteFilter, MuteRecord};
use tidings_store::monitoring::{CheckFilter, CheckRecord, EndpointState, IncidentFilter, IncidentRecord};
use tidings_store::retention::{SummaryFilter, SummaryRecord};
use tokio::sync::watch;

use crate::Result;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::incidents::{Acknowledgement, Alert, AlertOutcome, CheckOutcome};
use crate::snapshot::{InboundWebhookMatch, LoadedEndpoint, SharedEndpoints};

impl Engine {
    // Endpoints --------------------------------------------------------------------------------------------------------

    /// One endpoint.
    pub fn endpoint(&self, workspace_id: WorkspaceId, id: EndpointId) -> Result<Arc<LoadedEndpoint>> {
        self.view(workspace_id)?.endpoint(id).cloned().ok_or(EngineError::NotFound("endpoint"))
    }

    /// The state of an endpoint: its last check, streak, flap history and active incident.
    pub async fn endpoint_state(&self, workspace_id: WorkspaceId, id: EndpointId) -> EndpointState {
        self.incidents().endpoint_state(workspace_id, id).await
    }

    /// The states of these endpoints, in their order.
    pub async fn endpoint_states(&self, workspace_id: WorkspaceId, ids: &[EndpointId]) -> Vec<EndpointState> {
        self.incidents().endpoint_states(workspace_id, ids).await
    }

    /// Forgets the checks in a row of an endpoint that is probed in another way now, or was paused: they prove nothing
    /// about what is checked from now on.
    pub async fn restart_streak(&self, workspace_id: WorkspaceId, id: EndpointId) -> Result<()> {
        self.incidents().restart_streak(workspace_id, id).await
    }

    /// Resolves the active incident of an endpoint that is about to be deleted, and waits until channels that are deleted
    /// with it were notified of that.
    pub async fn end_incident_of_deleted(&self, workspace_id: WorkspaceId, id: EndpointId) -> Result<()> {
        self.incidents().end_for_deletion(workspace_id, id).await
    }

    /// The endpoints of every workspace. A workspace's pointer is the same as long as none of its endpoints changes.
    pub fn endpoints_by_workspace(&self) -> Vec<(WorkspaceId, SharedEndpoints)> {
        let snapshot = self.snapshot();
        let active = snapshot.workspaces().filter(|view| view.workspace.suspended_at.is_none());
        let shared = active.map(|view| (view.workspace.id, Arc::clone(view.endpoints_shared())));
        let mut endpoints: Vec<_> = shared.collect();
        endpoints.sort_by_key(|(id, _)| *id);
        endpoints
    }

    /// Notified whenever any part of the configuration may have changed.
    pub fn configuration_changes(&self) -> watch::Receiver<u64> {
        self.config_changes()
    }

    /// For each endpoint ever checked, when its last check began.
    pub async fn last_checks(&self) -> HashMap<EndpointId, Timestamp> {
        self.incidents().last_checks().await
    }

    // Checks and incidents ---------------------------------------------------------------------------------------------

    /// Ingests a probe's observation, made with this probe definition. The check and all that follows from it are
    /// committed when this returns. None if the endpoint was paused or deleted meanwhile, or is probed in another way now.
    pub async fn observe(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        probed: &Probe,
        observation: Observation,
    ) -> Result<Option<CheckOutcome>> {
        self.incidents().observe(workspace_id, id, probed, observation).await
    }

    /// Ingests a check of an external prober. Reported again under the same id it changes nothing.
    pub async fn report_check(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        check_id: Option<CheckId>,
        check: Check,
    ) -> Result<CheckOutcome> {
        self.incidents().report(workspace_id, id, check_id, check).await
    }

    /// Checks of an endpoint, newest first.
    pub async fn checks(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        filter: CheckFilter,
    ) -> Result<Vec<CheckRecord>> {
        self.endpoint(workspace_id, id)?;
        Ok(self.store().checks(workspace_id, id, filter).await?)
    }

    /// Summaries of the hours or days of an endpoint, oldest first.
    pub async fn summaries(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        filter: SummaryFilter,
    ) -> Result<Vec<SummaryRecord>> {
        self.endpoint(workspace_id, id)?;
        Ok(self.store().summaries(workspace_id, id, filter).await?)
    }

    /// Ingests an alert of another monitoring system. Returns the incidents that it opened or resolved, if any.
    pub async fn alert(&self, workspace_id: WorkspaceId, alert: Alert) -> Result<AlertOutcome> {
        self.incidents().alert(workspace_id, alert).await
    }

    /// Incidents, newest first.
    pub async fn list_incidents(
        &self,
        workspace_id: WorkspaceId,
        filter: IncidentFilter,
    ) -> Result<Vec<IncidentRecord>> {
        Ok(self.store().incidents(workspace_id, filter).await?)
    }

    /// One incident with its timeline.
    pub async fn incident(
        &self,
        workspace_id: WorkspaceId,
        id: IncidentId,
    ) -> Result<(IncidentRecord, Vec<TimelineEntry>)> {
        self.store().incident(workspace_id, id).await?.ok_or(EngineError::NotFound("incident"))
    }

    /// Acknowledges an incident: escalation and reminders stop. The entry of the audit log is written if it was not
    /// acknowledged before; the engine adds the name of the incident's subject.
    pub async fn acknowledge(
        &self,
        workspace_id: WorkspaceId,
        id: IncidentId,
        by: Actor,
        note: Option<String>,
        audit: Option<AuditEntry>,
    ) -> Result<IncidentRecord> {
        self.incidents().acknowledge(workspace_id, id, Acknowledgement { by, note, audit }).await
    }

    // Mutes ------------------------------------------------------------------------------------------------------------

    /// Mutes with the number of deliveries that each stopped.
    pub async fn mute_records(&self, workspace_id: WorkspaceId, filter: MuteFilter) -> Result<Vec<MuteRecord>> {
        Ok(self.store().mutes(workspace_id, self.clock().now(), filter).await?)
    }

    // Inbound webhooks --------------------------------------------------------------------------------------------------

    /// The inbound webhook that this secret belongs to.
    pub fn find_inbound_webhook(&self, secret: &str) -> Option<InboundWebhookMatch> {
        self.snapshot().inbound_webhook(secret)
    }
}
