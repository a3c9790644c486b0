//! Creation, edits and deletion of rules, each with the private channel of its inline fields.

use std::sync::Arc;

use serde_json::Value;
use tidings_channels::{ChannelConfig, registry};
use tidings_domain::channel::{Channel, ChannelType, Connectivity, Policies};
use tidings_domain::id::{RuleId, WorkspaceId};
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::rule::Rule;
use tidings_domain::secret::Secret;
use tidings_domain::text::{is_blank, truncate_chars};
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::{RuleTrigger, TriggerType};
use tidings_store::settings::{ConfigChange, Precondition};

use super::channels::{changes_destination, new_signing_secret, reenable, rotate_signing_secret};
use super::{
    CommitError, Committed, EDIT_ATTEMPTS, NAME_CHARS_MAX, NewRule, OVERLAP_MS_DEFAULT, RuleChannel, RuleEdit,
    RuleView, Settings, check_revision,
};
use crate::Result;
use crate::clock::new_id;
use crate::error::EngineError;
use crate::snapshot::{LoadedChannel, WorkspaceView};

/// The channel of a rule that is about to be written, and the changes to write with the rule.
struct ChannelPart {
    channel: Channel,
    changes: Vec<ConfigChange>,
    signing_secret_once: Option<Secret>,
}

impl Settings {
    pub(crate) async fn create_rule(&self, workspace_id: WorkspaceId, new: NewRule) -> Result<Committed<RuleView>> {
        let view = self.view(workspace_id)?;
        let now = self.clock.now();
        let id: RuleId = new_id(self.clock.as_ref(), now);
        validate_triggers(new.resource_type, &new.triggers, &new.trigger_types)?;
        validate_endpoint(&view, new.resource_type, &new.resource)?;
        let part = self.channel_part(&view, id, &new.channel, now)?;
        let rule = Rule {
            id,
            workspace_id,
            resource_type: new.resource_type,
            resource: new.resource,
            channel_id: part.channel.id,
            triggers: new.triggers,
            trigger_types: new.trigger_types,
            enabled: new.enabled,
            paused: new.paused,
            failure_severity: new.failure_severity,
            generation: 1,
            revision: 1,
            created_at: now,
            updated_at: now,
        };
        reject_identical(&view, &rule)?;
        let mut changes = part.changes;
        changes.push(ConfigChange::PutRule(rule.clone(), Precondition::Absent));
        match self.commit(workspace_id, changes).await {
            Ok(()) => Ok(Committed {
                value: RuleView { rule: Arc::new(rule), channel: part.channel },
                signing_secret_once: part.signing_secret_once,
            }),
            Err(CommitError::Failed(error)) => Err(error),
            Err(_) => Err(EngineError::invalid("/channelId", "there is no such channel in this workspace")),
        }
    }

    pub(crate) async fn edit_rule(
        &self,
        workspace_id: WorkspaceId,
        id: RuleId,
        edit: RuleEdit,
        expected_revision: Option<u32>,
    ) -> Result<Committed<RuleView>> {
        for _ in 0..EDIT_ATTEMPTS {
            let view = self.view(workspace_id)?;
            let before = view.rule(id).ok_or(EngineError::NotFound("rule"))?;
            check_revision(expected_revision, before.revision)?;
            let now = self.clock.now();
            let part = self.edited_channel(&view, before, &edit, now)?;
            let rule = edited_rule(before, &edit, &part.channel, now);
            validate_triggers(rule.resource_type, &rule.triggers, &rule.trigger_types)?;
            if !is_identical(before, &rule) {
                reject_identical(&view, &rule)?;
            }
            let mut changes = vec![ConfigChange::PutRule(rule.clone(), Precondition::Revision(before.revision))];
            // Before the rule, which refers to its channel; an abandoned private channel goes after it.
            changes.splice(0..0, part.changes);
            if rule.channel_id != before.channel_id && private_channel(&view, before).is_some() {
                changes.push(ConfigChange::DeleteChannel(before.channel_id));
            }
            match self.commit(workspace_id, changes).await {
                Ok(()) => {
                    let value = RuleView { rule: Arc::new(rule), channel: part.channel };
                    return Ok(Committed { value, signing_secret_once: part.signing_secret_once });
                }
                Err(CommitError::Failed(error)) => return Err(error),
                Err(CommitError::InUse) => {
                    return Err(EngineError::invalid("/channelId", "there is no such channel in this workspace"));
                }
                // The rule or its channel was edited or deleted meanwhile: read again.
                Err(CommitError::Changed | CommitError::NotFound) => {}
            }
        }
        Err(EngineError::RevisionMismatch)
    }

    pub(crate) async fn delete_rule(
        &self,
        workspace_id: WorkspaceId,
        id: RuleId,
        expected_revision: Option<u32>,
    ) -> Result<()> {
        for _ in 0..EDIT_ATTEMPTS {
            let view = self.view(workspace_id)?;
            let rule = view.rule(id).ok_or(EngineError::NotFound("rule"))?;
            check_revision(expected_revision, rule.revision)?;
            let mut changes = vec![ConfigChange::DeleteRule(id)];
            changes.extend(private_channel(&view, rule).map(|loaded| ConfigChange::DeleteChannel(loaded.channel.id)));
            match self.commit(workspace_id, changes).await {
                Ok(()) => return Ok(()),
                Err(CommitError::Failed(error)) => return Err(error),
                Err(_) => {}
            }
        }
        Err(EngineError::RevisionMismatch)
    }

    /// The channel of a new rule, or another channel of an edited one.
    fn channel_part(
        &self,
        view: &WorkspaceView,
        rule_id: RuleId,
        channel: &RuleChannel,
        now: Timestamp,
    ) -> Result<ChannelPart> {
        match channel {
            RuleChannel::Shared(id) => {
                let loaded = view.channel(*id).filter(|loaded| loaded.is_shared());
                let loaded = loaded
                    .ok_or_else(|| EngineError::invalid("/channelId", "there is no such channel in this workspace"))?;
                Ok(ChannelPart { channel: loaded.channel.clone(), changes: Vec::new(), signing_secret_once: None })
            }
            RuleChannel::Inline { channel_type, config: fields } => {
                let plugin = registry::plugin(*channel_type);
                let context = self.config.channel_context();
                let mut config = plugin.check(fields, None, context).map_err(EngineError::Invalid)?;
                let signing_secret_once = new_signing_secret(&mut config, *channel_type, self.clock.as_ref(), now);
                let channel = Channel {
                    id: new_id(self.clock.as_ref(), now),
                    workspace_id: view.workspace.id,
                    owner_rule_id: Some(rule_id),
                    name: private_name(&config, *channel_type, rule_id),
                    channel_type: *channel_type,
                    settings: config.settings.clone(),
                    enabled: true,
                    disabled_reason: None,
                    policies: Policies::default(),
                    connectivity: Connectivity::default(),
                    revision: 1,
                    created_at: now,
                    updated_at: now,
                };
                let put = ConfigChange::PutChannel(self.channel_record(channel.clone(), &config), Precondition::Absent);
                Ok(ChannelPart { channel, changes: vec![put], signing_secret_once })
            }
        }
    }

    /// The channel of an edited rule: another one, or its private one with the changes of the edit.
    fn edited_channel(
        &self,
        view: &WorkspaceView,
        rule: &Rule,
        edit: &RuleEdit,
        now: Timestamp,
    ) -> Result<ChannelPart> {
        let private = private_channel(view, rule);
        let part = match (&edit.channel, private) {
            (Some(RuleChannel::Inline { channel_type, config: fields }), Some(loaded))
                if *channel_type == loaded.channel.channel_type =>
            {
                let plugin = registry::plugin(*channel_type);
                let context = self.config.channel_context();
                let config = plugin.check(fields, Some(&loaded.config), context).map_err(EngineError::Invalid)?;
                return self.updated_private_channel(rule.id, loaded, config, edit, now);
            }
            (Some(channel), _) => self.channel_part(view, rule.id, channel, now)?,
            (None, Some(loaded)) if changes_private_channel(loaded, edit) => {
                return self.updated_private_channel(rule.id, loaded, loaded.config.clone(), edit, now);
            }
            (None, _) => {
                let loaded = view.channel(rule.channel_id).ok_or(EngineError::NotFound("channel"))?;
                ChannelPart { channel: loaded.channel.clone(), changes: Vec::new(), signing_secret_once: None }
            }
        };
        // A private webhook that was just created has a new secret anyway.
        let is_new = part.channel.owner_rule_id.is_some() && part.signing_secret_once.is_some();
        if edit.rotate_secret && !is_new {
            let message = if part.channel.owner_rule_id.is_some() {
                "only webhooks have a signing secret"
            } else {
                "this rule uses a shared channel: rotate the channel's secret instead"
            };
            return Err(EngineError::invalid("/rotateWebhookSecret", message));
        }
        Ok(part)
    }

    /// A rule's private channel with a new configuration, and a new signing secret if the edit asks for one. A channel that
    /// Tidings has disabled is enabled again when the rule is enabled or the destination changes.
    fn updated_private_channel(
        &self,
        rule_id: RuleId,
        loaded: &LoadedChannel,
        mut config: ChannelConfig,
        edit: &RuleEdit,
        now: Timestamp,
    ) -> Result<ChannelPart> {
        let mut channel = loaded.channel.clone();
        if edit.enabled.is_none() && changes_destination(loaded, &config) {
            reenable(&mut channel);
        }
        let mut signing_secret_once = None;
        if edit.rotate_secret {
            let overlap_ms = OVERLAP_MS_DEFAULT;
            let secret = rotate_signing_secret(&mut config, channel.channel_type, overlap_ms, self.clock.as_ref(), now)
                .map_err(|_| EngineError::invalid("/rotateWebhookSecret", "only webhooks have a signing secret"))?;
            signing_secret_once = Some(secret);
        }
        if edit.enabled == Some(true) {
            (channel.enabled, channel.disabled_reason) = (true, None);
        }
        let before = channel.revision;
        (channel.revision, channel.updated_at) = (before + 1, now);
        channel.settings.clone_from(&config.settings);
        channel.name = private_name(&config, channel.channel_type, rule_id);
        let put =
            ConfigChange::PutChannel(self.channel_record(channel.clone(), &config), Precondition::Revision(before));
        Ok(ChannelPart { channel, changes: vec![put], signing_secret_once })
    }
}

/// The name of a rule's private channel, as explanations and simulations show it: the label that its rule gives it, or
/// what it is.
fn private_name(config: &ChannelConfig, channel_type: ChannelType, rule_id: RuleId) -> String {
    let label = config.settings.get("displayLabel").and_then(Value::as_str).filter(|label| !is_blank(label));
    label.map_or_else(
        || format!("{} of {rule_id}", channel_type.as_str()),
        |label| truncate_chars(label, NAME_CHARS_MAX),
    )
}

/// Whether an edit without channel fields changes the rule's private channel all the same.
fn changes_private_channel(loaded: &LoadedChannel, edit: &RuleEdit) -> bool {
    edit.rotate_secret || (edit.enabled == Some(true) && loaded.channel.disabled_reason.is_some())
}

/// The rule's private channel, if it has one.
fn private_channel<'a>(view: &'a WorkspaceView, rule: &Rule) -> Option<&'a Arc<LoadedChannel>> {
    view.channel(rule.channel_id).filter(|loaded| loaded.channel.owner_rule_id == Some(rule.id))
}

/// Fails if another rule matches exactly what this one does and sends it through the same channel: of the two, one would
/// never notify. (A private channel belongs to one rule, so that only rules with a shared one can be identical.)
fn reject_identical(view: &WorkspaceView, rule: &Rule) -> Result<()> {
    let mut others = view.rules_of(rule.resource_type, rule.resource.as_str());
    match others.find(|other| other.id != rule.id && is_identical(other, rule)) {
        Some(other) => Err(EngineError::RuleExists(other.id)),
        None => Ok(()),
    }
}

/// Whether two rules match the same events and use the same channel.
fn is_identical(one: &Rule, other: &Rule) -> bool {
    one.resource == other.resource
        && one.channel_id == other.channel_id
        && is_same_set(&one.triggers, &other.triggers)
        && is_same_set(&one.trigger_types, &other.trigger_types)
}

/// Both lists are free of duplicates.
fn is_same_set<T: PartialEq>(one: &[T], other: &[T]) -> bool {
    one.len() == other.len() && one.iter().all(|item| other.contains(item))
}

fn edited_rule(before: &Rule, edit: &RuleEdit, channel: &Channel, now: Timestamp) -> Rule {
    let mut rule = before.clone();
    rule.channel_id = channel.id;
    rule.triggers = edit.triggers.clone().unwrap_or(rule.triggers);
    rule.trigger_types = edit.trigger_types.clone().unwrap_or(rule.trigger_types);
    rule.paused = edit.paused.unwrap_or(rule.paused);
    rule.failure_severity = edit.failure_severity.unwrap_or(rule.failure_severity);
    rule.enabled = edit.enabled.unwrap_or(rule.enabled);
    // A new generation skips pending and held deliveries of the old one: they must not come back when the rule is enabled
    // again, nor go to another channel.
    let is_disabled_now = before.enabled && !rule.enabled;
    if is_disabled_now || rule.channel_id != before.channel_id {
        rule.generation += 1;
    }
    (rule.revision, rule.updated_at) = (before.revision + 1, now);
    rule
}

/// The endpoint of a rule must exist. (Other resources have ids of the caller, which are not known here.)
fn validate_endpoint(view: &WorkspaceView, resource_type: ResourceType, resource: &ResourceSelector) -> Result<()> {
    let (ResourceType::Endpoint, ResourceSelector::One(id)) = (resource_type, resource) else { return Ok(()) };
    match id.parse().ok().and_then(|id| view.endpoint(id)) {
        Some(_) => Ok(()),
        None => Err(EngineError::invalid("/resourceId", "there is no such endpoint in this workspace")),
    }
}

fn validate_triggers(
    resource_type: ResourceType,
    triggers: &[RuleTrigger],
    trigger_types: &[TriggerType],
) -> Result<()> {
    let possible = RuleTrigger::allowed_for(resource_type);
    let invalid = triggers.iter().position(|trigger| !possible.contains(trigger));
    if triggers.is_empty() {
        return Err(EngineError::invalid("/triggers", "must list at least one trigger"));
    }
    if let Some(index) = invalid {
        let names: Vec<_> = possible.iter().map(|trigger| trigger.as_str()).collect();
        let message = format!("must be one of {} for {}", names.join(", "), resource_type.as_str());
        return Err(EngineError::invalid(&format!("/triggers/{index}"), message));
    }
    if resource_type.has_incidents() && !trigger_types.is_empty() {
        let message = "must be empty: it applies to runs only";
        return Err(EngineError::invalid("/triggerTypes", message));
    }
    Ok(())
}
