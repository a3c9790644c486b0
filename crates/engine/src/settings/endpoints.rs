//! Creation, edits, copies and deletion of endpoints, and their wiring to channels.

use std::collections::HashSet;
use std::sync::Arc;

use tidings_domain::endpoint::{Definition, Endpoint, insecure_tls_violation, violations as definition_violations};
use tidings_domain::id::{ChannelId, EndpointId, RuleId, WorkspaceId};
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::rule::Rule;
use tidings_domain::secret::Secret;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::RuleTrigger;
use tidings_domain::violation::{Violation, Violations};
use tidings_store::settings::{ConfigChange, EndpointRecord, Precondition};

use super::channels::name_violations;
use super::{CommitError, EDIT_ATTEMPTS, Settings, check_revision};
use crate::Result;
use crate::clock::new_id;
use crate::error::EngineError;
use crate::snapshot::{LoadedEndpoint, WorkspaceView};
use crate::vault::Owner;

/// The operator's setting that allows endpoints to send secrets without verifying the server.
const INSECURE_TLS_SETTING: &str = "TIDINGS_ALLOW_INSECURE_TLS";
/// The longest chain of parents.
const PARENTS_MAX: usize = 20;

/// The editable part of an endpoint.
#[derive(Debug, Clone)]
pub struct EndpointDraft {
    pub name: String,
    /// Whether it is probed.
    pub enabled: bool,
    pub definition: Definition,
    /// The password or token of its `auth`.
    pub secret: Option<Secret>,
}

impl EndpointDraft {
    /// The endpoint as it is now.
    pub fn of(loaded: &LoadedEndpoint) -> Self {
        let Endpoint { name, enabled, definition, .. } = loaded.endpoint.clone();
        Self { name, enabled, definition, secret: loaded.secret.clone() }
    }
}

/// Whether a shared channel is notified of an endpoint's incidents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointWiring {
    pub channel_id: ChannelId,
    pub wired: bool,
    /// Kept independently of `wired`.
    pub paused: bool,
}

impl Settings {
    pub(crate) async fn create_endpoint(&self, workspace_id: WorkspaceId, draft: EndpointDraft) -> Result<Endpoint> {
        let view = self.view(workspace_id)?;
        let now = self.clock.now();
        let id = new_id(self.clock.as_ref(), now);
        let violations = self.endpoint_violations(&view, &draft, None);
        if !violations.is_empty() {
            return Err(EngineError::Invalid(violations));
        }
        let endpoint = self.new_endpoint(&draft, id, workspace_id, now);
        let put = ConfigChange::PutEndpoint(
            self.endpoint_record(endpoint.clone(), draft.secret.as_ref()),
            Precondition::Absent,
        );
        self.commit(workspace_id, vec![put]).await.map_err(endpoint_error)?;
        Ok(endpoint)
    }

    fn new_endpoint(
        &self,
        draft: &EndpointDraft,
        id: EndpointId,
        workspace_id: WorkspaceId,
        now: Timestamp,
    ) -> Endpoint {
        Endpoint {
            id,
            workspace_id,
            name: draft.name.clone(),
            enabled: draft.enabled,
            definition: draft.definition.clone(),
            revision: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// Applies an edit to the current endpoint, again if another writer was faster and the caller expects no revision.
    pub(crate) async fn edit_endpoint(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        expected_revision: Option<u32>,
        edit: impl Fn(EndpointDraft) -> Result<EndpointDraft>,
    ) -> Result<Endpoint> {
        for _ in 0..EDIT_ATTEMPTS {
            let view = self.view(workspace_id)?;
            let loaded = view.endpoint(id).ok_or(EngineError::NotFound("endpoint"))?;
            let before = loaded.endpoint.revision;
            check_revision(expected_revision, before)?;
            let draft = edit(EndpointDraft::of(loaded))?;
            let violations = self.endpoint_violations(&view, &draft, Some(id));
            if !violations.is_empty() {
                return Err(EngineError::Invalid(violations));
            }
            let now = self.clock.now();
            let endpoint = Endpoint {
                revision: before + 1,
                created_at: loaded.endpoint.created_at,
                ..self.new_endpoint(&draft, id, workspace_id, now)
            };
            let record = self.endpoint_record(endpoint.clone(), draft.secret.as_ref());
            match self
                .commit(workspace_id, vec![ConfigChange::PutEndpoint(record, Precondition::Revision(before))])
                .await
            {
                Ok(()) => return Ok(endpoint),
                Err(CommitError::Changed) => {}
                Err(error) => return Err(endpoint_error(error)),
            }
        }
        Err(EngineError::RevisionMismatch)
    }

    /// Creates a copy of an endpoint with the same wiring to shared channels. Rules with a private channel are not copied.
    pub(crate) async fn clone_endpoint(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        name: Option<String>,
    ) -> Result<Endpoint> {
        let view = self.view(workspace_id)?;
        let loaded = view.endpoint(id).ok_or(EngineError::NotFound("endpoint"))?;
        let mut draft = EndpointDraft::of(loaded);
        draft.name = name.unwrap_or_else(|| copy_name(&draft.name));
        let violations = self.endpoint_violations(&view, &draft, None);
        if !violations.is_empty() {
            return Err(EngineError::Invalid(violations));
        }
        let now = self.clock.now();
        let copy_id = new_id(self.clock.as_ref(), now);
        let endpoint = self.new_endpoint(&draft, copy_id, workspace_id, now);
        let record = self.endpoint_record(endpoint.clone(), draft.secret.as_ref());
        let mut changes = vec![ConfigChange::PutEndpoint(record, Precondition::Absent)];
        let is_shared = |rule: &&Arc<Rule>| view.channel(rule.channel_id).is_some_and(|loaded| loaded.is_shared());
        for rule in rules_for(&view, id).filter(is_shared) {
            let rule = Rule {
                id: new_id(self.clock.as_ref(), now),
                resource: ResourceSelector::One(copy_id.to_string()),
                generation: 1,
                revision: 1,
                created_at: now,
                updated_at: now,
                ..Rule::clone(rule)
            };
            changes.push(ConfigChange::PutRule(rule, Precondition::Absent));
        }
        self.commit(workspace_id, changes).await.map_err(endpoint_error)?;
        Ok(endpoint)
    }

    /// Deletes an endpoint and its rules. Its children have no parent afterwards.
    pub(crate) async fn delete_endpoint(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        expected_revision: Option<u32>,
    ) -> Result<()> {
        for _ in 0..EDIT_ATTEMPTS {
            let view = self.view(workspace_id)?;
            let loaded = view.endpoint(id).ok_or(EngineError::NotFound("endpoint"))?;
            check_revision(expected_revision, loaded.endpoint.revision)?;
            let now = self.clock.now();
            let mut changes = Vec::new();
            for rule in rules_for(&view, id) {
                changes.push(ConfigChange::DeleteRule(rule.id));
                let private =
                    view.channel(rule.channel_id).filter(|loaded| loaded.channel.owner_rule_id == Some(rule.id));
                changes.extend(private.map(|loaded| ConfigChange::DeleteChannel(loaded.channel.id)));
            }
            for child in view.endpoints().filter(|loaded| loaded.endpoint.definition.parent_id == Some(id)) {
                let before = child.endpoint.revision;
                let mut endpoint = child.endpoint.clone();
                endpoint.definition.parent_id = None;
                (endpoint.revision, endpoint.updated_at) = (before + 1, now);
                let record = self.endpoint_record(endpoint, child.secret.as_ref());
                changes.push(ConfigChange::PutEndpoint(record, Precondition::Revision(before)));
            }
            changes.push(ConfigChange::DeleteEndpoint(id, now));
            match self.commit(workspace_id, changes).await {
                Ok(()) => return Ok(()),
                Err(CommitError::Failed(error)) => return Err(error),
                // A rule or a child was created or deleted meanwhile: read again.
                Err(_) => self.config.reload(workspace_id).await?,
            }
        }
        Err(EngineError::RevisionMismatch)
    }

    /// Changes which shared channels are notified of an endpoint, all or nothing. Channels that are not listed keep their
    /// wiring.
    pub(crate) async fn wire(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        wiring: &[EndpointWiring],
    ) -> Result<()> {
        for _ in 0..EDIT_ATTEMPTS {
            let view = self.view(workspace_id)?;
            view.endpoint(id).ok_or(EngineError::NotFound("endpoint"))?;
            let now = self.clock.now();
            let mut changes = Vec::new();
            let mut violations = Violations::new();
            let mut seen = HashSet::new();
            for (index, wire) in wiring.iter().enumerate() {
                let at = format!("/channels/{index}/channelId");
                let shared = view.channel(wire.channel_id).filter(|loaded| loaded.is_shared());
                if shared.is_none() {
                    violations.push(Violation::new(at, "there is no such channel in this workspace"));
                } else if !seen.insert(wire.channel_id) {
                    violations.push(Violation::new(at, "is listed twice"));
                } else {
                    changes.extend(self.wiring_change(&view, id, *wire, now));
                }
            }
            if !violations.is_empty() {
                return Err(EngineError::Invalid(violations));
            }
            if changes.is_empty() {
                return Ok(());
            }
            match self.commit(workspace_id, changes).await {
                Ok(()) => return Ok(()),
                Err(CommitError::Failed(error)) => return Err(error),
                Err(_) => self.config.reload(workspace_id).await?,
            }
        }
        Err(EngineError::RevisionMismatch)
    }

    /// The change that brings about this wiring; none if it is in place.
    fn wiring_change(
        &self,
        view: &WorkspaceView,
        id: EndpointId,
        wire: EndpointWiring,
        now: Timestamp,
    ) -> Option<ConfigChange> {
        let EndpointWiring { channel_id, wired, paused } = wire;
        let Some(rule) = rules_for(view, id).find(|rule| rule.channel_id == channel_id) else {
            let rule = Rule {
                id: new_id::<RuleId>(self.clock.as_ref(), now),
                workspace_id: view.workspace.id,
                resource_type: ResourceType::Endpoint,
                resource: ResourceSelector::One(id.to_string()),
                channel_id,
                triggers: RuleTrigger::OF_INCIDENTS.to_vec(),
                trigger_types: Vec::new(),
                enabled: true,
                paused,
                failure_severity: Severity::Warning,
                generation: 1,
                revision: 1,
                created_at: now,
                updated_at: now,
            };
            return wired.then_some(ConfigChange::PutRule(rule, Precondition::Absent));
        };
        if (rule.enabled, rule.paused) == (wired, paused) {
            return None;
        }
        let mut edited = Rule::clone(rule);
        // A new generation skips pending deliveries of the old one, even if the rule is enabled again.
        edited.generation += u32::from(rule.enabled && !wired);
        (edited.enabled, edited.paused) = (wired, paused);
        (edited.revision, edited.updated_at) = (rule.revision + 1, now);
        Some(ConfigChange::PutRule(edited, Precondition::Revision(rule.revision)))
    }

    /// The endpoint's row, its secret sealed.
    pub fn endpoint_record(&self, endpoint: Endpoint, secret: Option<&Secret>) -> EndpointRecord {
        let owner = Owner::Endpoint(endpoint.workspace_id, endpoint.id);
        let sealed = self.vault.seal_endpoint(secret, owner, self.clock.as_ref());
        EndpointRecord { endpoint, key_id: self.vault.key_id().to_owned(), sealed }
    }

    /// The violation of an endpoint that sends secrets to servers that it does not verify.
    pub(crate) fn insecure_tls(&self, definition: &Definition) -> Option<Violation> {
        if self.limits.allow_insecure_tls { None } else { insecure_tls_violation(definition, INSECURE_TLS_SETTING) }
    }

    /// All violations of a draft that can be found without probing.
    fn endpoint_violations(&self, view: &WorkspaceView, draft: &EndpointDraft, own: Option<EndpointId>) -> Violations {
        let mut found = name_violations(&draft.name);
        found.extend(definition_violations(&draft.definition, own, self.limits.interval_seconds_min));
        found.extend(self.insecure_tls(&draft.definition));
        if let Some(parent_id) = draft.definition.parent_id {
            found.extend(parent_violation(view, parent_id, own));
        }
        for (index, step) in draft.definition.escalation.iter().enumerate() {
            let shared = view.channel(step.channel_id).filter(|loaded| loaded.is_shared());
            if shared.is_none() {
                let at = format!("/escalation/{index}/channelId");
                found.push(Violation::new(at, "there is no such channel in this workspace"));
            }
        }
        found
    }
}

/// The rules of this endpoint, oldest first, without those of every endpoint.
pub(crate) fn rules_for(view: &WorkspaceView, id: EndpointId) -> impl Iterator<Item = &Arc<Rule>> {
    let rules = view.rules_of(ResourceType::Endpoint, &id.to_string());
    rules.filter(|rule| rule.resource != ResourceSelector::All)
}

/// A parent that does not exist, or that depends on the endpoint itself, or a chain of parents that is too long.
fn parent_violation(view: &WorkspaceView, parent_id: EndpointId, own: Option<EndpointId>) -> Option<Violation> {
    if view.endpoint(parent_id).is_none() {
        return Some(Violation::new("/parentId", "there is no such endpoint in this workspace"));
    }
    let mut next = Some(parent_id);
    for _ in 0..PARENTS_MAX {
        match next {
            None => return None,
            Some(id) if Some(id) == own => {
                return Some(Violation::new("/parentId", "must not depend on this endpoint itself"));
            }
            Some(id) => next = view.endpoint(id).and_then(|loaded| loaded.endpoint.definition.parent_id),
        }
    }
    next.map(|_| Violation::new("/parentId", format!("must have fewer than {PARENTS_MAX} endpoints above it")))
}

fn copy_name(name: &str) -> String {
    const SUFFIX: &str = " (copy)";
    let kept: String = name.chars().take(super::NAME_CHARS_MAX - SUFFIX.len()).collect();
    format!("{kept}{SUFFIX}")
}

fn endpoint_error(error: CommitError) -> EngineError {
    match error {
        CommitError::Failed(error) => error,
        CommitError::Changed | CommitError::NotFound | CommitError::InUse => EngineError::NotFound("endpoint"),
    }
}
