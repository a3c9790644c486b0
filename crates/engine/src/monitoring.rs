//! Operations on endpoints, their checks, incidents, mutes, preferences and inbound webhooks.

use std::collections::HashMap;
use std::sync::Arc;

use tidings_domain::access::Actor;
use tidings_domain::audit::AuditEntry;
use tidings_domain::check::{Check, Observation};
use tidings_domain::endpoint::{Definition, Endpoint, Probe};
use tidings_domain::id::{ChannelId, CheckId, EndpointId, InboundWebhookId, IncidentId, MuteId, WorkspaceId};
use tidings_domain::incident::TimelineEntry;
use tidings_domain::mute::{self, Mute};
use tidings_domain::resource::ResourceType;
use tidings_domain::rule::Rule;
use tidings_domain::secret::Secret;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::Violation;
use tidings_store::monitoring::{CheckFilter, CheckRecord, EndpointState, IncidentFilter, IncidentRecord};
use tidings_store::retention::{SummaryFilter, SummaryRecord};
use tidings_store::settings::{InboundWebhook, Preferences};
use tokio::sync::watch;

use crate::Result;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::incidents::{Acknowledgement, Alert, AlertOutcome, CheckOutcome};
use crate::settings::RuleView;
use crate::settings::check_revision;
use crate::settings::endpoints::{EndpointDraft, EndpointWiring, rules_for};
use crate::settings::mutes::{NewMute, PreferencesEdit};
use crate::snapshot::{InboundWebhookMatch, LoadedEndpoint, SharedEndpoints};

impl Engine {
    // Endpoints --------------------------------------------------------------------------------------------------------

    /// The endpoints of a workspace, oldest first.
    pub fn endpoints(&self, workspace_id: WorkspaceId) -> Result<Vec<Arc<LoadedEndpoint>>> {
        let mut endpoints: Vec<_> = self.view(workspace_id)?.endpoints().cloned().collect();
        endpoints.sort_by_key(|loaded| loaded.endpoint.id);
        Ok(endpoints)
    }

    /// One endpoint.
    pub fn endpoint(&self, workspace_id: WorkspaceId, id: EndpointId) -> Result<Arc<LoadedEndpoint>> {
        self.view(workspace_id)?.endpoint(id).cloned().ok_or(EngineError::NotFound("endpoint"))
    }

    /// The state of an endpoint: its last check, streak, flap history and active incident.
    pub async fn endpoint_state(&self, workspace_id: WorkspaceId, id: EndpointId) -> EndpointState {
        self.incidents().endpoint_state(workspace_id, id).await
    }

    /// What is wrong with a definition by the operator's settings, apart from its addresses. For tests of definitions that
    /// are not stored.
    pub fn policy_violation(&self, definition: &Definition) -> Option<Violation> {
        self.settings().insecure_tls(definition)
    }

    /// Creates an endpoint.
    pub async fn create_endpoint(&self, workspace_id: WorkspaceId, draft: EndpointDraft) -> Result<Endpoint> {
        self.lock_for_update().await.create_endpoint(workspace_id, draft).await
    }

    /// Edits an endpoint. `edit` maps its current definition to the new one, and may be called more than once. With
    /// `expected_revision` it fails if the endpoint is at another one.
    pub async fn edit_endpoint(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        expected_revision: Option<u32>,
        edit: impl Fn(EndpointDraft) -> Result<EndpointDraft>,
    ) -> Result<Endpoint> {
        let before = self.endpoint(workspace_id, id)?;
        let edited = self.lock_for_update().await.edit_endpoint(workspace_id, id, expected_revision, edit).await?;
        let was_resumed = edited.enabled && !before.endpoint.enabled;
        // Checks from before a pause, or of another target, prove nothing about what is checked from now on.
        if was_resumed || edited.definition.probe != before.endpoint.definition.probe {
            self.incidents().restart_streak(workspace_id, id).await?;
        }
        Ok(edited)
    }

    /// Creates a copy of an endpoint, wired to the same shared channels.
    pub async fn clone_endpoint(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        name: Option<String>,
    ) -> Result<Endpoint> {
        self.lock_for_update().await.clone_endpoint(workspace_id, id, name).await
    }

    /// Deletes an endpoint, its checks and its rules. An active incident is resolved before, and the channels that were
    /// notified of it are notified of that.
    pub async fn delete_endpoint(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        expected_revision: Option<u32>,
    ) -> Result<()> {
        let loaded = self.endpoint(workspace_id, id)?;
        check_revision(expected_revision, loaded.endpoint.revision)?;
        self.incidents().end_for_deletion(workspace_id, id).await?;
        self.lock_for_update().await.delete_endpoint(workspace_id, id, expected_revision).await
    }

    /// The shared channels of a workspace, each with the rule that notifies it of this endpoint, if there is one.
    pub fn wiring(&self, workspace_id: WorkspaceId, id: EndpointId) -> Result<Vec<(ChannelId, Option<Arc<Rule>>)>> {
        let view = self.view(workspace_id)?;
        view.endpoint(id).ok_or(EngineError::NotFound("endpoint"))?;
        let shared = view.channels().filter(|loaded| loaded.is_shared());
        let rule_of = |id: ChannelId, rules: &[&Arc<Rule>]| {
            rules.iter().find(|rule| rule.channel_id == id).map(|rule| Arc::clone(rule))
        };
        let rules: Vec<_> = rules_for(&view, id).collect();
        let mut wiring: Vec<_> = shared.map(|loaded| (loaded.channel.id, rule_of(loaded.channel.id, &rules))).collect();
        wiring.sort_by_key(|(id, _)| *id);
        Ok(wiring)
    }

    /// The rules that notify of this endpoint and are not in its [`Self::wiring`]: those of every endpoint, its own with
    /// private channels, and further ones through a wired channel.
    pub fn other_rules(&self, workspace_id: WorkspaceId, id: EndpointId) -> Result<Vec<RuleView>> {
        let view = self.view(workspace_id)?;
        let wired: Vec<_> = self.wiring(workspace_id, id)?.into_iter().filter_map(|(_, rule)| rule).collect();
        let rules = view.rules_of(ResourceType::Endpoint, &id.to_string());
        let others = rules.filter(|rule| wired.iter().all(|wired| wired.id != rule.id));
        let with_channel = others.filter_map(|rule| {
            let channel = view.channel(rule.channel_id)?.channel.clone();
            Some(RuleView { rule: Arc::clone(rule), channel })
        });
        Ok(with_channel.collect())
    }

    /// Changes which shared channels are notified of an endpoint, all or nothing. Channels that are not listed keep their
    /// wiring.
    pub async fn set_wiring(&self, workspace_id: WorkspaceId, id: EndpointId, wires: &[EndpointWiring]) -> Result<()> {
        self.lock_for_update().await.wire(workspace_id, id, wires).await
    }

    /// The endpoints of every workspace. A workspace's pointer is the same as long as none of its endpoints changes.
    pub fn endpoints_by_workspace(&self) -> Vec<(WorkspaceId, SharedEndpoints)> {
        let snapshot = self.snapshot();
        let shared = snapshot.workspaces().map(|view| (view.workspace.id, Arc::clone(view.endpoints_shared())));
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

    /// Ingests a probe's observation, made with this probe definition and secret. The check and all that follows from it are
    /// committed when this returns. None if the endpoint was paused or deleted meanwhile, or is probed in another way now.
    pub async fn observe(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        probed: (&Probe, Option<&Secret>),
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

    // Mutes and preferences --------------------------------------------------------------------------------------------

    /// The mutes that have not ended, oldest first.
    pub fn mutes(&self, workspace_id: WorkspaceId) -> Result<Vec<Mute>> {
        let (view, now) = (self.view(workspace_id)?, self.clock().now());
        Ok(view.mutes.iter().filter(|mute| mute.is_active(now)).cloned().collect())
    }

    /// Creates a mute.
    pub async fn create_mute(&self, workspace_id: WorkspaceId, new: NewMute) -> Result<Mute> {
        self.lock_for_update().await.create_mute(workspace_id, new).await
    }

    /// Deletes a mute.
    pub async fn delete_mute(&self, workspace_id: WorkspaceId, id: MuteId) -> Result<()> {
        self.lock_for_update().await.delete_mute(workspace_id, id).await
    }

    /// The preferences of a workspace, and until when everything is muted (`i64::MAX` milliseconds for a mute without an
    /// end).
    pub fn preferences(&self, workspace_id: WorkspaceId) -> Result<(Preferences, Option<Timestamp>)> {
        let (view, now) = (self.view(workspace_id)?, self.clock().now());
        let mute = mute::global(&view.mutes, now);
        let until = mute.map(|mute| mute.expires_at.unwrap_or(Timestamp::from_unix_ms(i64::MAX)));
        Ok((view.preferences.clone(), until))
    }

    /// Edits the preferences of a workspace.
    pub async fn edit_preferences(&self, workspace_id: WorkspaceId, edit: PreferencesEdit, by: &Actor) -> Result<()> {
        self.lock_for_update().await.edit_preferences(workspace_id, edit, by).await
    }

    // Inbound webhooks -------------------------------------------------------------------------------------------------

    /// The inbound webhooks of a workspace, oldest first.
    pub fn inbound_webhooks(&self, workspace_id: WorkspaceId) -> Result<Vec<InboundWebhook>> {
        Ok(self.view(workspace_id)?.inbound_webhooks.clone())
    }

    /// Creates an inbound webhook for this payload format. The secret part of its URL is returned only now.
    pub async fn create_inbound_webhook(
        &self,
        workspace_id: WorkspaceId,
        kind: &'static str,
        name: String,
    ) -> Result<(InboundWebhook, Secret)> {
        self.lock_for_update().await.create_inbound_webhook(workspace_id, kind, name).await
    }

    /// Deletes an inbound webhook.
    pub async fn delete_inbound_webhook(&self, workspace_id: WorkspaceId, id: InboundWebhookId) -> Result<()> {
        self.lock_for_update().await.delete_inbound_webhook(workspace_id, id).await
    }

    /// The inbound webhook that this secret belongs to.
    pub fn find_inbound_webhook(&self, secret: &str) -> Option<InboundWebhookMatch> {
        self.snapshot().inbound_webhook(secret)
    }
}
