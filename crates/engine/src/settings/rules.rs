//! Rules: made, edited, deleted, each with the private channel that its inline fields make.

use std::sync::Arc;

use tidings_channels::{ChannelConfig, registry};
use tidings_domain::channel::{Channel, Connectivity, Policies};
use tidings_domain::id::{RuleId, WorkspaceId};
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::rule::Rule;
use tidings_domain::secret::Secret;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::RuleTrigger;
use tidings_store::settings::{ConfigChange, Precondition};

use super::channels::{leads_elsewhere, revive, rotated, with_signing_secret};
use super::{
    CommitError, Committed, NewRule, OVERLAP_MS_DEFAULT, RuleChannel, RuleEdit, RuleView, Settings, check_revision,
};
use crate::Result;
use crate::clock::new_id;
use crate::error::EngineError;
use crate::snapshot::{LoadedChannel, WorkspaceView};

/// How often an edit without a revision is tried again when somebody else was faster.
const TRIES: u32 = 5;

/// The channel of a rule that is about to be written: what must be written with it.
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
        check_triggers(new.resource_type, &new.triggers, &new.trigger_types)?;
        check_endpoint(&view, new.resource_type, &new.resource)?;
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
        seen: Option<u32>,
    ) -> Result<Committed<RuleView>> {
        for _ in 0..TRIES {
            let view = self.view(workspace_id)?;
            let before = view.rule(id).ok_or(EngineError::NotFound("rule"))?;
            check_revision(seen, before.revision)?;
            let now = self.clock.now();
            let part = self.edited_channel(&view, before, &edit, now)?;
            let rule = edited(before, &edit, &part.channel, now);
            check_triggers(rule.resource_type, &rule.triggers, &rule.trigger_types)?;
            let mut changes = vec![ConfigChange::PutRule(rule.clone(), Precondition::Revision(before.revision))];
            changes.splice(0..0, part.changes);
            if rule.channel_id != before.channel_id && owned(&view, before).is_some() {
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
                // Somebody else edited or deleted the rule or its channel: look again.
                Err(CommitError::Changed | CommitError::Gone) => {}
            }
        }
        Err(EngineError::RevisionMismatch)
    }

    pub(crate) async fn delete_rule(&self, workspace_id: WorkspaceId, id: RuleId, seen: Option<u32>) -> Result<()> {
        for _ in 0..TRIES {
            let view = self.view(workspace_id)?;
            let rule = view.rule(id).ok_or(EngineError::NotFound("rule"))?;
            check_revision(seen, rule.revision)?;
            let mut changes = vec![ConfigChange::DeleteRule(id)];
            changes.extend(owned(&view, rule).map(|live| ConfigChange::DeleteChannel(live.channel.id)));
            match self.commit(workspace_id, changes).await {
                Ok(()) => return Ok(()),
                Err(CommitError::Failed(error)) => return Err(error),
                Err(_) => {}
            }
        }
        Err(EngineError::RevisionMismatch)
    }

    /// The channel of a new rule, or the new channel of an edited one.
    fn channel_part(
        &self,
        view: &WorkspaceView,
        rule_id: RuleId,
        wanted: &RuleChannel,
        now: Timestamp,
    ) -> Result<ChannelPart> {
        match wanted {
            RuleChannel::Shared(id) => {
                let live = view.channel(*id).filter(|live| live.channel.owner_rule_id.is_none());
                let live = live
                    .ok_or_else(|| EngineError::invalid("/channelId", "there is no such channel in this workspace"))?;
                Ok(ChannelPart { channel: live.channel.clone(), changes: Vec::new(), signing_secret_once: None })
            }
            RuleChannel::Inline { channel_type, config } => {
                let kind = registry::plugin(*channel_type);
                let mut stored = kind.check(config, None, self.live.environment()).map_err(EngineError::Invalid)?;
                let signing_secret_once = with_signing_secret(&mut stored, *channel_type, self.clock.as_ref(), now);
                let channel = Channel {
                    id: new_id(self.clock.as_ref(), now),
                    workspace_id: view.workspace.id,
                    owner_rule_id: Some(rule_id),
                    name: format!("{} of {rule_id}", channel_type.as_str()),
                    channel_type: *channel_type,
                    settings: stored.settings.clone(),
                    enabled: true,
                    disabled_reason: None,
                    policies: Policies::default(),
                    connectivity: Connectivity::default(),
                    revision: 1,
                    created_at: now,
                    updated_at: now,
                };
                let put = ConfigChange::PutChannel(self.record(channel.clone(), &stored), Precondition::Absent);
                Ok(ChannelPart { channel, changes: vec![put], signing_secret_once })
            }
        }
    }

    /// The channel of an edited rule: another, or its own with what the edit changes in it.
    fn edited_channel(
        &self,
        view: &WorkspaceView,
        rule: &Rule,
        edit: &RuleEdit,
        now: Timestamp,
    ) -> Result<ChannelPart> {
        let own = owned(view, rule);
        let part = match (&edit.channel, own) {
            (Some(RuleChannel::Inline { channel_type, config }), Some(live))
                if *channel_type == live.channel.channel_type =>
            {
                let kind = registry::plugin(*channel_type);
                let environment = self.live.environment();
                let stored = kind.check(config, Some(&live.stored), environment).map_err(EngineError::Invalid)?;
                return self.rewritten_own(live, stored, edit, now);
            }
            (Some(wanted), _) => self.channel_part(view, rule.id, wanted, now)?,
            (None, Some(live)) if needs_rewrite(live, edit) => {
                return self.rewritten_own(live, live.stored.clone(), edit, now);
            }
            (None, _) => {
                let live = view.channel(rule.channel_id).ok_or(EngineError::NotFound("channel"))?;
                ChannelPart { channel: live.channel.clone(), changes: Vec::new(), signing_secret_once: None }
            }
        };
        let made_now = part.channel.owner_rule_id.is_some() && part.signing_secret_once.is_some();
        if edit.rotate_secret && !made_now {
            let why = if part.channel.owner_rule_id.is_some() {
                "only webhooks have a signing secret"
            } else {
                "this rule uses a shared channel: rotate the channel's secret instead"
            };
            return Err(EngineError::invalid("/rotateWebhookSecret", why));
        }
        Ok(part)
    }

    /// A rule's own channel with a new configuration, and a fresh signing secret if the edit asks for one. Enabling the
    /// rule also enables a channel that Tidings had disabled; so does another destination.
    fn rewritten_own(
        &self,
        live: &LoadedChannel,
        mut stored: ChannelConfig,
        edit: &RuleEdit,
        now: Timestamp,
    ) -> Result<ChannelPart> {
        let mut channel = live.channel.clone();
        if edit.enabled.is_none() && leads_elsewhere(live, &stored) {
            revive(&mut channel);
        }
        let mut signing_secret_once = None;
        if edit.rotate_secret {
            let overlap_ms = OVERLAP_MS_DEFAULT;
            let fresh = rotated(&mut stored, channel.channel_type, overlap_ms, self.clock.as_ref(), now)
                .map_err(|_| EngineError::invalid("/rotateWebhookSecret", "only webhooks have a signing secret"))?;
            signing_secret_once = Some(fresh);
        }
        if edit.enabled == Some(true) {
            (channel.enabled, channel.disabled_reason) = (true, None);
        }
        let before = channel.revision;
        (channel.revision, channel.updated_at) = (before + 1, now);
        channel.settings.clone_from(&stored.settings);
        let put = ConfigChange::PutChannel(self.record(channel.clone(), &stored), Precondition::Revision(before));
        Ok(ChannelPart { channel, changes: vec![put], signing_secret_once })
    }
}

/// Whether an edit that names no channel changes the rule's own one all the same.
fn needs_rewrite(live: &LoadedChannel, edit: &RuleEdit) -> bool {
    edit.rotate_secret || (edit.enabled == Some(true) && live.channel.disabled_reason.is_some())
}

/// The rule's private channel, if it has one.
fn owned<'a>(view: &'a WorkspaceView, rule: &Rule) -> Option<&'a Arc<LoadedChannel>> {
    view.channel(rule.channel_id).filter(|live| live.channel.owner_rule_id == Some(rule.id))
}

fn edited(before: &Rule, edit: &RuleEdit, channel: &Channel, now: Timestamp) -> Rule {
    let mut rule = before.clone();
    rule.channel_id = channel.id;
    rule.triggers = edit.triggers.clone().unwrap_or(rule.triggers);
    rule.trigger_types = edit.trigger_types.clone().unwrap_or(rule.trigger_types);
    rule.paused = edit.paused.unwrap_or(rule.paused);
    rule.failure_severity = edit.failure_severity.unwrap_or(rule.failure_severity);
    rule.enabled = edit.enabled.unwrap_or(rule.enabled);
    // What waits was made for the rule as it was: it is not to be revived, nor sent elsewhere.
    let turned_off = before.enabled && !rule.enabled;
    if turned_off || rule.channel_id != before.channel_id {
        rule.generation += 1;
    }
    (rule.revision, rule.updated_at) = (before.revision + 1, now);
    rule
}

/// A rule about one endpoint needs it to be there: unlike the caller's own ids, those of endpoints are ours.
fn check_endpoint(view: &WorkspaceView, resource_type: ResourceType, resource: &ResourceSelector) -> Result<()> {
    let (ResourceType::Endpoint, ResourceSelector::One(id)) = (resource_type, resource) else { return Ok(()) };
    match id.parse().ok().and_then(|id| view.endpoint(id)) {
        Some(_) => Ok(()),
        None => Err(EngineError::invalid("/resourceId", "there is no such endpoint in this workspace")),
    }
}

fn check_triggers(
    resource_type: ResourceType,
    triggers: &[RuleTrigger],
    trigger_types: &[tidings_domain::trigger::TriggerType],
) -> Result<()> {
    let possible = RuleTrigger::of(resource_type);
    let wrong = triggers.iter().position(|trigger| !possible.contains(trigger));
    if triggers.is_empty() {
        return Err(EngineError::invalid("/triggers", "must list at least one trigger"));
    }
    if let Some(index) = wrong {
        let words: Vec<_> = possible.iter().map(|trigger| trigger.as_str()).collect();
        let message = format!("must be one of {} for {}", words.join(", "), resource_type.as_str());
        return Err(EngineError::invalid(&format!("/triggers/{index}"), message));
    }
    if resource_type.has_incidents() && !trigger_types.is_empty() {
        let message = "must be empty: only runs know how they were started";
        return Err(EngineError::invalid("/triggerTypes", message));
    }
    Ok(())
}
