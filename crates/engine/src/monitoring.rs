//! What the doors may ask of the engine about what is watched: endpoints, their checks, incidents, mutes, inbound doors.

use std::collections::HashMap;
use std::sync::Arc;

use tidings_domain::check::{Check, Observation};
use tidings_domain::endpoint::{Endpoint, Probe};
use tidings_domain::id::{ChannelId, CheckId, EndpointId, InboundWebhookId, IncidentId, MuteId, WorkspaceId};
use tidings_domain::incident::TimelineEntry;
use tidings_domain::mute::{self, Mute};
use tidings_domain::rule::Rule;
use tidings_domain::secret::Secret;
use tidings_domain::time::Timestamp;
use tidings_store::monitoring::{CheckFilter, CheckRecord, EndpointState, IncidentFilter, IncidentRecord};
use tidings_store::retention::{SummaryFilter, SummaryRecord};
use tidings_store::settings::{InboundWebhook, Preferences};
use tokio::sync::watch;

use crate::Result;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::incidents::{Alert, CheckOutcome};
use crate::settings::endpoints::{EndpointDraft, EndpointWiring, rules_about};
use crate::settings::mutes::{NewMute, PreferencesEdit};
use crate::snapshot::{InboundWebhookMatch, LoadedEndpoint, SharedEndpoints};

impl Engine {
    // Endpoints --------------------------------------------------------------------------------------------------------

    /// The endpoints of a workspace, oldest first.
    pub fn endpoints(&self, workspace_id: WorkspaceId) -> Result<Vec<Arc<LoadedEndpoint>>> {
        let mut endpoints: Vec<_> = self.view(workspace_id)?.endpoints().cloned().collect();
        endpoints.sort_by_key(|live| live.endpoint.id);
        Ok(endpoints)
    }

    /// One endpoint.
    pub fn endpoint(&self, workspace_id: WorkspaceId, id: EndpointId) -> Result<Arc<LoadedEndpoint>> {
        self.view(workspace_id)?.endpoint(id).cloned().ok_or(EngineError::NotFound("endpoint"))
    }

    /// What is remembered of an endpoint: its last check, its checks in a row, its active incident.
    pub async fn endpoint_state(&self, workspace_id: WorkspaceId, id: EndpointId) -> EndpointState {
        self.incidents().state(workspace_id, id).await
    }

    /// Makes an endpoint.
    pub async fn create_endpoint(&self, workspace_id: WorkspaceId, draft: EndpointDraft) -> Result<Endpoint> {
        self.turn().await.create_endpoint(workspace_id, draft).await
    }

    /// Edits an endpoint: `edit` turns it as it is into what it is to be, and may be called more than once. `seen` is the
    /// revision that the caller has seen, if it says so.
    pub async fn edit_endpoint(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        seen: Option<u32>,
        edit: impl Fn(EndpointDraft) -> Result<EndpointDraft>,
    ) -> Result<Endpoint> {
        self.turn().await.edit_endpoint(workspace_id, id, seen, edit).await
    }

    /// Makes another endpoint like this one, wired to the same shared channels.
    pub async fn clone_endpoint(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        name: Option<String>,
    ) -> Result<Endpoint> {
        self.turn().await.clone_endpoint(workspace_id, id, name).await
    }

    /// Deletes an endpoint, its checks and the rules about it. An active incident of it is resolved, without a word.
    pub async fn delete_endpoint(&self, workspace_id: WorkspaceId, id: EndpointId, seen: Option<u32>) -> Result<()> {
        self.turn().await.delete_endpoint(workspace_id, id, seen).await
    }

    /// The shared channels of a workspace, each with the rule that tells it of this endpoint, if there is one.
    pub fn wiring(&self, workspace_id: WorkspaceId, id: EndpointId) -> Result<Vec<(ChannelId, Option<Arc<Rule>>)>> {
        let view = self.view(workspace_id)?;
        view.endpoint(id).ok_or(EngineError::NotFound("endpoint"))?;
        let shared = view.channels().filter(|live| live.channel.owner_rule_id.is_none());
        let rule_of = |id: ChannelId, rules: &[&Arc<Rule>]| {
            rules.iter().find(|rule| rule.channel_id == id).map(|rule| Arc::clone(rule))
        };
        let rules: Vec<_> = rules_about(&view, id).collect();
        let mut wiring: Vec<_> = shared.map(|live| (live.channel.id, rule_of(live.channel.id, &rules))).collect();
        wiring.sort_by_key(|(id, _)| *id);
        Ok(wiring)
    }

    /// Wires an endpoint to shared channels, all of them or none; channels that are not listed stay as they are.
    pub async fn wire(&self, workspace_id: WorkspaceId, id: EndpointId, wires: &[EndpointWiring]) -> Result<()> {
        self.turn().await.wire(workspace_id, id, wires).await
    }

    /// The endpoints of every workspace, each workspace's behind the same pointer for as long as none of them changes.
    pub fn watched(&self) -> Vec<(WorkspaceId, SharedEndpoints)> {
        let snapshot = self.snapshot();
        let shared = snapshot.workspaces().map(|view| (view.workspace.id, Arc::clone(view.endpoints_shared())));
        let mut watched: Vec<_> = shared.collect();
        watched.sort_by_key(|(id, _)| *id);
        watched
    }

    /// Hears whenever the configuration, or any part of it, may have changed.
    pub fn configuration_changes(&self) -> watch::Receiver<u64> {
        self.changes()
    }

    /// When the last check of each endpoint began, of those that were ever checked.
    pub async fn last_checks(&self) -> HashMap<EndpointId, Timestamp> {
        self.incidents().last_checks().await
    }

    // Checks and incidents ---------------------------------------------------------------------------------------------

    /// Takes in what a prober saw of an endpoint when it looked at this, showing itself by this secret: the check, and all
    /// that follows from it, are committed when this answers. None if the endpoint was paused or deleted meanwhile, or is to
    /// be looked at otherwise now.
    pub async fn observe(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        looked_at: (&Probe, Option<&Secret>),
        observation: Observation,
    ) -> Result<Option<CheckOutcome>> {
        self.incidents().observe(workspace_id, id, looked_at, observation).await
    }

    /// Takes in a check that a prober elsewhere made. Told again under the same id it changes nothing.
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

    /// Takes in an alert of somebody else: it opens or resolves an incident, whose id is answered, or changes nothing.
    pub async fn alert(&self, workspace_id: WorkspaceId, alert: Alert) -> Result<Option<IncidentId>> {
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

    /// Somebody takes an incident on: escalation and reminders stop.
    pub async fn acknowledge(
        &self,
        workspace_id: WorkspaceId,
        id: IncidentId,
        by: String,
        note: Option<String>,
    ) -> Result<IncidentRecord> {
        self.incidents().acknowledge(workspace_id, id, by, note).await
    }

    // Mutes and preferences --------------------------------------------------------------------------------------------

    /// The mutes that are not over, oldest first.
    pub fn mutes(&self, workspace_id: WorkspaceId) -> Result<Vec<Mute>> {
        let (view, now) = (self.view(workspace_id)?, self.clock().now());
        Ok(view.mutes.iter().filter(|mute| mute.is_active(now)).cloned().collect())
    }

    /// Makes a mute.
    pub async fn create_mute(&self, workspace_id: WorkspaceId, new: NewMute) -> Result<Mute> {
        self.turn().await.create_mute(workspace_id, new).await
    }

    /// Deletes a mute.
    pub async fn delete_mute(&self, workspace_id: WorkspaceId, id: MuteId) -> Result<()> {
        self.turn().await.delete_mute(workspace_id, id).await
    }

    /// What a workspace prefers, and until when everything is muted (the end of time if until it is ended by hand).
    pub fn preferences(&self, workspace_id: WorkspaceId) -> Result<(Preferences, Option<Timestamp>)> {
        let (view, now) = (self.view(workspace_id)?, self.clock().now());
        let mute = mute::global(&view.mutes, now);
        let until = mute.map(|mute| mute.expires_at.unwrap_or(Timestamp::from_unix_ms(i64::MAX)));
        Ok((view.preferences.clone(), until))
    }

    /// Edits what a workspace prefers.
    pub async fn edit_preferences(&self, workspace_id: WorkspaceId, edit: PreferencesEdit, by: &str) -> Result<()> {
        self.turn().await.edit_preferences(workspace_id, edit, by).await
    }

    // Inbound doors ----------------------------------------------------------------------------------------------------

    /// The inbound doors of a workspace, oldest first.
    pub fn inbound_webhooks(&self, workspace_id: WorkspaceId) -> Result<Vec<InboundWebhook>> {
        Ok(self.view(workspace_id)?.inbound_webhooks.clone())
    }

    /// Makes an inbound webhook that reads this form. The secret part of its URL is answered this once.
    pub async fn create_inbound_webhook(
        &self,
        workspace_id: WorkspaceId,
        kind: &'static str,
        name: String,
    ) -> Result<(InboundWebhook, Secret)> {
        self.turn().await.create_inbound_webhook(workspace_id, kind, name).await
    }

    /// Deletes an inbound webhook.
    pub async fn delete_inbound_webhook(&self, workspace_id: WorkspaceId, id: InboundWebhookId) -> Result<()> {
        self.turn().await.delete_inbound_webhook(workspace_id, id).await
    }

    /// Where the inbound webhook of this secret leads.
    pub fn find_inbound_webhook(&self, secret: &str) -> Option<InboundWebhookMatch> {
        self.snapshot().inbound_webhook(secret)
    }
}
