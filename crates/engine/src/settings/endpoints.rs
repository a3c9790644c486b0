//! Endpoints: made, edited, cloned, deleted, and wired to channels.

use std::collections::HashSet;
use std::sync::Arc;

use tidings_domain::endpoint::{Definition, Endpoint, violations};
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
use super::{CommitError, Settings, check_revision};
use crate::Result;
use crate::clock::new_id;
use crate::error::EngineError;
use crate::snapshot::{LoadedEndpoint, WorkspaceView};
use crate::vault::Owner;

/// How often an edit without a revision is tried again when somebody else was faster.
const TRIES: u32 = 5;
/// The longest chain of parents.
const PARENTS_MAX: usize = 20;

/// An endpoint as somebody wants it.
#[derive(Debug, Clone)]
pub struct EndpointDraft {
    /// Its name.
    pub name: String,
    /// Whether it is watched.
    pub enabled: bool,
    /// What is watched, and how it is judged.
    pub definition: Definition,
    /// The password or token of its `auth`.
    pub secret: Option<Secret>,
}

impl EndpointDraft {
    /// The endpoint as it is.
    pub fn of(live: &LoadedEndpoint) -> Self {
        let Endpoint { name, enabled, definition, .. } = live.endpoint.clone();
        Self { name, enabled, definition, secret: live.secret.clone() }
    }
}

/// Whether a channel tells of an endpoint's incidents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointWiring {
    /// The channel, a shared one.
    pub channel_id: ChannelId,
    /// Whether it tells of them.
    pub wired: bool,
    /// Whether it is silenced for now, remembered beside that.
    pub paused: bool,
}

impl Settings {
    pub(crate) async fn create_endpoint(&self, workspace_id: WorkspaceId, draft: EndpointDraft) -> Result<Endpoint> {
        let view = self.view(workspace_id)?;
        let now = self.clock.now();
        let id = new_id(self.clock.as_ref(), now);
        let found = self.endpoint_violations(&view, &draft, None);
        if !found.is_empty() {
            return Err(EngineError::Invalid(found));
        }
        let endpoint = self.new_endpoint(&draft, id, workspace_id, now);
        let put = ConfigChange::PutEndpoint(
            self.endpoint_record(endpoint.clone(), draft.secret.as_ref()),
            Precondition::Absent,
        );
        self.commit(workspace_id, vec![put]).await.map_err(of_endpoint)?;
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

    /// Edits an endpoint over what it is now, again if somebody else was faster and the caller named no revision.
    pub(crate) async fn edit_endpoint(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        seen: Option<u32>,
        edit: impl Fn(EndpointDraft) -> Result<EndpointDraft>,
    ) -> Result<Endpoint> {
        for _ in 0..TRIES {
            let view = self.view(workspace_id)?;
            let live = view.endpoint(id).ok_or(EngineError::NotFound("endpoint"))?;
            let before = live.endpoint.revision;
            check_revision(seen, before)?;
            let draft = edit(EndpointDraft::of(live))?;
            let found = self.endpoint_violations(&view, &draft, Some(id));
            if !found.is_empty() {
                return Err(EngineError::Invalid(found));
            }
            let now = self.clock.now();
            let endpoint = Endpoint {
                revision: before + 1,
                created_at: live.endpoint.created_at,
                ..self.new_endpoint(&draft, id, workspace_id, now)
            };
            let record = self.endpoint_record(endpoint.clone(), draft.secret.as_ref());
            match self
                .commit(workspace_id, vec![ConfigChange::PutEndpoint(record, Precondition::Revision(before))])
                .await
            {
                Ok(()) => return Ok(endpoint),
                Err(CommitError::Changed) => {}
                Err(error) => return Err(of_endpoint(error)),
            }
        }
        Err(EngineError::RevisionMismatch)
    }

    /// Makes another endpoint like this one, with the same wiring to shared channels.
    pub(crate) async fn clone_endpoint(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        name: Option<String>,
    ) -> Result<Endpoint> {
        let view = self.view(workspace_id)?;
        let live = view.endpoint(id).ok_or(EngineError::NotFound("endpoint"))?;
        let mut draft = EndpointDraft::of(live);
        draft.name = name.unwrap_or_else(|| copy_name(&draft.name));
        let found = self.endpoint_violations(&view, &draft, None);
        if !found.is_empty() {
            return Err(EngineError::Invalid(found));
        }
        let now = self.clock.now();
        let copy_id = new_id(self.clock.as_ref(), now);
        let endpoint = self.new_endpoint(&draft, copy_id, workspace_id, now);
        let record = self.endpoint_record(endpoint.clone(), draft.secret.as_ref());
        let mut changes = vec![ConfigChange::PutEndpoint(record, Precondition::Absent)];
        let shared =
            |rule: &&Arc<Rule>| view.channel(rule.channel_id).is_some_and(|live| live.channel.owner_rule_id.is_none());
        for rule in rules_about(&view, id).filter(shared) {
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
        self.commit(workspace_id, changes).await.map_err(of_endpoint)?;
        Ok(endpoint)
    }

    /// Deletes an endpoint and the rules about it; endpoints whose parent it was have none then.
    pub(crate) async fn delete_endpoint(
        &self,
        workspace_id: WorkspaceId,
        id: EndpointId,
        seen: Option<u32>,
    ) -> Result<()> {
        for _ in 0..TRIES {
            let view = self.view(workspace_id)?;
            let live = view.endpoint(id).ok_or(EngineError::NotFound("endpoint"))?;
            check_revision(seen, live.endpoint.revision)?;
            let now = self.clock.now();
            let mut changes = Vec::new();
            for rule in rules_about(&view, id) {
                changes.push(ConfigChange::DeleteRule(rule.id));
                let own = view.channel(rule.channel_id).filter(|live| live.channel.owner_rule_id == Some(rule.id));
                changes.extend(own.map(|live| ConfigChange::DeleteChannel(live.channel.id)));
            }
            for child in view.endpoints().filter(|live| live.endpoint.definition.parent_id == Some(id)) {
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
                // A rule or a child came or went meanwhile: look again.
                Err(_) => self.live.reload(workspace_id).await?,
            }
        }
        Err(EngineError::RevisionMismatch)
    }

    /// Wires an endpoint to shared channels, all of them or none; channels that are not listed stay as they are.
    pub(crate) async fn wire(&self, workspace_id: WorkspaceId, id: EndpointId, wires: &[EndpointWiring]) -> Result<()> {
        for _ in 0..TRIES {
            let view = self.view(workspace_id)?;
            view.endpoint(id).ok_or(EngineError::NotFound("endpoint"))?;
            let now = self.clock.now();
            let mut changes = Vec::new();
            let mut found = Violations::new();
            let mut seen = HashSet::new();
            for (index, wire) in wires.iter().enumerate() {
                let at = format!("/channels/{index}/channelId");
                let shared = view.channel(wire.channel_id).filter(|live| live.channel.owner_rule_id.is_none());
                if shared.is_none() {
                    found.push(Violation::new(at, "there is no such channel in this workspace"));
                } else if !seen.insert(wire.channel_id) {
                    found.push(Violation::new(at, "is listed twice"));
                } else {
                    changes.extend(self.wiring(&view, id, *wire, now));
                }
            }
            if !found.is_empty() {
                return Err(EngineError::Invalid(found));
            }
            if changes.is_empty() {
                return Ok(());
            }
            match self.commit(workspace_id, changes).await {
                Ok(()) => return Ok(()),
                Err(CommitError::Failed(error)) => return Err(error),
                Err(_) => self.live.reload(workspace_id).await?,
            }
        }
        Err(EngineError::RevisionMismatch)
    }

    /// What brings one wire about; nothing if it is so already.
    fn wiring(
        &self,
        view: &WorkspaceView,
        id: EndpointId,
        wire: EndpointWiring,
        now: Timestamp,
    ) -> Option<ConfigChange> {
        let EndpointWiring { channel_id, wired, paused } = wire;
        let Some(rule) = rules_about(view, id).find(|rule| rule.channel_id == channel_id) else {
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
        // What waits was made for the rule as it was: it is not to be revived.
        edited.generation += u32::from(rule.enabled && !wired);
        (edited.enabled, edited.paused) = (wired, paused);
        (edited.revision, edited.updated_at) = (rule.revision + 1, now);
        Some(ConfigChange::PutRule(edited, Precondition::Revision(rule.revision)))
    }

    pub(super) fn endpoint_record(&self, endpoint: Endpoint, secret: Option<&Secret>) -> EndpointRecord {
        let owner = Owner::Endpoint(endpoint.workspace_id, endpoint.id);
        let sealed = self.vault.seal_endpoint(secret, owner, self.clock.as_ref());
        EndpointRecord { endpoint, key_id: self.vault.key_id().to_owned(), sealed }
    }

    /// Everything wrong with the draft, as far as it can be told without looking at what is watched.
    fn endpoint_violations(&self, view: &WorkspaceView, draft: &EndpointDraft, own: Option<EndpointId>) -> Violations {
        let mut found = name_violations(&draft.name);
        found.extend(violations(&draft.definition, own, self.limits.interval_seconds_min));
        if let Some(parent_id) = draft.definition.parent_id {
            found.extend(parent_violation(view, parent_id, own));
        }
        for (index, step) in draft.definition.escalation.iter().enumerate() {
            let shared = view.channel(step.channel_id).filter(|live| live.channel.owner_rule_id.is_none());
            if shared.is_none() {
                let at = format!("/escalation/{index}/channelId");
                found.push(Violation::new(at, "there is no such channel in this workspace"));
            }
        }
        found
    }
}

/// The rules about this one endpoint.
pub(crate) fn rules_about(view: &WorkspaceView, id: EndpointId) -> impl Iterator<Item = &Arc<Rule>> {
    let name = id.to_string();
    let about = move |rule: &&Arc<Rule>| rule.resource_type == ResourceType::Endpoint && rule.resource.as_str() == name;
    view.rules().filter(about)
}

/// What is wrong with the parent: it is not there, or depends on the endpoint itself.
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
            Some(id) => next = view.endpoint(id).and_then(|live| live.endpoint.definition.parent_id),
        }
    }
    next.map(|_| Violation::new("/parentId", format!("must have fewer than {PARENTS_MAX} endpoints above it")))
}

fn copy_name(name: &str) -> String {
    const SUFFIX: &str = " (copy)";
    let kept: String = name.chars().take(super::NAME_CHARS_MAX - SUFFIX.len()).collect();
    format!("{kept}{SUFFIX}")
}

fn of_endpoint(error: CommitError) -> EngineError {
    match error {
        CommitError::Failed(error) => error,
        CommitError::Changed | CommitError::Gone | CommitError::InUse => EngineError::NotFound("endpoint"),
    }
}
