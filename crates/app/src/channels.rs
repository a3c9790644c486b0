//! `/channels`: shared channels and their policies. A channel that a rule owns is not visible here.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_channels::{ChannelConfig, registry};
use tidings_domain::audit::{AuditTarget, AuditVerb, note_secret};
use tidings_domain::channel::{self, ChannelType, Connectivity, DisabledReason, Policies};
use tidings_domain::id::{ChannelId, EndpointId};
use tidings_domain::time::Timestamp;
use tidings_domain::violation::Violations;
use tidings_engine::clock::new_id;
use tidings_engine::queue::Health;
use tidings_engine::settings::channels::{
    changes_destination, name_violations, new_signing_secret, reenable, rotate_signing_secret,
};
use tidings_engine::settings::{self, ChannelUsers, ConfigPlan, OVERLAP_MS_MAX};
use tidings_engine::snapshot::{LoadedChannel, WorkspaceView};
use tidings_engine::{EngineError, TestSend};
use tidings_store::settings::{ConfigChange, Precondition};
use utoipa::ToSchema;

use crate::audit::Change;
use crate::contract::Input;
use crate::endpoints;
use crate::error::{AppError, Result};
use crate::principal::{Authorized, Configure, Read, SendNow};
use crate::quotas::{self, Quota, QuotaUse};
use crate::response::{Response, SecretOnce};
use crate::revision::Expected;
use crate::rules;

/// The editable part of a channel: the body of a creation, and what an edit is merged over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"name": "#data-alerts", "type": "slack", "config": {"webhookUrl": "https://hooks.slack.com/services/T0/B0/x"}}))]
pub struct ChannelDraft {
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 100)]
    pub name: String,
    /// Cannot be changed.
    #[serde(rename = "type")]
    pub channel_type: ChannelType,
    /// The fields of the channel type. In an edit they are merged over the stored ones: an absent or empty secret keeps its
    /// value.
    #[serde(default)]
    #[schema(required)]
    pub config: Map<String, Value>,
    #[serde(default = "yes")]
    pub enabled: bool,
    #[serde(flatten)]
    pub policies: Policies,
}

const fn yes() -> bool {
    true
}

/// A shared channel. Secrets in `config` are masked.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    pub id: ChannelId,
    #[serde(flatten)]
    pub draft: ChannelDraft,
    /// Set if Tidings disabled the channel, not a user.
    pub disabled_reason: Option<DisabledReason>,
    /// Whether the last test succeeded; null before the first.
    pub is_connected: Option<bool>,
    pub last_tested_at: Option<Timestamp>,
    pub last_success_at: Option<Timestamp>,
    pub last_failure_at: Option<Timestamp>,
    /// Until when the receiver wants no attempt, because it limits the rate.
    pub paused_until: Option<Timestamp>,
    pub health: ChannelHealth,
    pub uses: ChannelUses,
    pub revision: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// How recent attempts through a channel went; tests do not count.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelHealth {
    pub last_sent_at: Option<Timestamp>,
    pub last_failed_at: Option<Timestamp>,
    /// The first failure after the last success; null after a success.
    pub failing_since: Option<Timestamp>,
    /// Of the last 100 attempts, from 0 to 1.
    pub success_rate: Option<f64>,
}

/// How many rules and escalation steps use a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelUses {
    pub rules: u32,
    pub escalation_steps: u32,
}

/// The shared channels of a workspace, oldest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelList {
    pub data: Vec<Channel>,
    /// Always null: the list is complete.
    pub next_cursor: Option<String>,
    pub quota: QuotaUse,
}

/// A channel that was created or edited.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelSaved {
    pub channel: Channel,
    /// The signing secret of a webhook, if one was made: it is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_secret_once: Option<SecretOnce>,
}

/// What a deletion does to the uses of a channel.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ChannelDeletion {
    /// Delete its rules and escalation steps, too. Without it, a channel in use is not deleted.
    pub force: bool,
}

/// How a signing secret is rotated.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretRotation {
    /// How long the old secret signs as well, in seconds; 0 to end it at once.
    #[schema(minimum = 0, maximum = 2_592_000)]
    pub overlap_seconds: u64,
}

impl Default for SecretRotation {
    fn default() -> Self {
        Self { overlap_seconds: 86_400 }
    }
}

/// The result of a test.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    /// Whether the receiver accepted it.
    pub ok: bool,
    pub http_status: Option<u16>,
    pub error: Option<String>,
    pub duration_ms: u32,
    /// The throwaway signing secret of a webhook that is not saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_secret_once: Option<SecretOnce>,
}

impl Response for Channel {
    const IS_VERSIONED: bool = true;

    fn revision(&self) -> Option<u32> {
        Some(self.revision)
    }
}

impl Response for ChannelList {}

impl Response for ChannelSaved {
    const IS_VERSIONED: bool = true;

    fn revision(&self) -> Option<u32> {
        Some(self.channel.revision)
    }

    fn holds_secret(&self) -> bool {
        true
    }
}

impl Response for TestResult {
    fn holds_secret(&self) -> bool {
        self.signing_secret_once.is_some()
    }
}

impl From<TestSend> for TestResult {
    fn from(test: TestSend) -> Self {
        let TestSend { ok, http_status, error, duration_ms, signing_secret_once } = test;
        Self { ok, http_status, error, duration_ms, signing_secret_once: signing_secret_once.map(SecretOnce) }
    }
}

impl ChannelDraft {
    fn of(channel: &channel::Channel) -> Self {
        Self {
            name: channel.name.clone(),
            channel_type: channel.channel_type,
            config: channel.settings.clone(),
            enabled: channel.enabled,
            policies: channel.policies.clone(),
        }
    }
}

impl Channel {
    fn of(channel: &channel::Channel, health: Health, uses: settings::ChannelUses) -> Self {
        let settings::ChannelUses { rules, escalation_steps } = uses;
        let Health { last_sent_at, last_failed_at, failing_since, success_rate, paused_until } = health;
        let Connectivity { is_connected, last_tested_at, last_success_at, last_failure_at } = channel.connectivity;
        Self {
            id: channel.id,
            draft: ChannelDraft::of(channel),
            disabled_reason: channel.disabled_reason,
            is_connected,
            last_tested_at,
            last_success_at,
            last_failure_at,
            paused_until,
            health: ChannelHealth { last_sent_at, last_failed_at, failing_since, success_rate },
            uses: ChannelUses { rules, escalation_steps },
            revision: channel.revision,
            created_at: channel.created_at,
            updated_at: channel.updated_at,
        }
    }

    /// With its uses in the present configuration.
    fn in_use<P>(by: &Authorized<P>, channel: &channel::Channel) -> Result<Self> {
        let uses = settings::ChannelUses::count(&*by.view()?).remove(&channel.id).unwrap_or_default();
        Ok(Self::of(channel, by.engine().queue().health(channel.id), uses))
    }
}

/// The shared channels.
///
/// # Errors
/// If the workspace was deleted meanwhile.
pub fn list(by: &Authorized<Read>) -> Result<ChannelList> {
    let view = by.view()?;
    let mut shared: Vec<_> = view.channels().filter(|loaded| loaded.is_shared()).collect();
    shared.sort_by_key(|loaded| loaded.channel.id);
    let uses = settings::ChannelUses::count(&view);
    let channel = |channel: &channel::Channel| {
        let uses = uses.get(&channel.id).copied().unwrap_or_default();
        Channel::of(channel, by.engine().queue().health(channel.id), uses)
    };
    let data = shared.iter().map(|loaded| channel(&loaded.channel)).collect();
    Ok(ChannelList { data, next_cursor: None, quota: quotas::used(by, &view, Quota::SharedChannels) })
}

/// One shared channel.
///
/// # Errors
/// If there is no such channel.
pub fn one(by: &Authorized<Read>, id: ChannelId) -> Result<Channel> {
    Channel::in_use(by, &shared(&*by.view()?, id)?.channel)
}

/// What a new channel of this type begins with: the defaults of the workspace.
///
/// # Errors
/// If the workspace was deleted meanwhile.
pub fn new_draft(by: &Authorized<Configure>, channel_type: ChannelType) -> Result<ChannelDraft> {
    let preferences = &by.view()?.preferences;
    let policies = Policies {
        severity_filter: preferences.default_severity_filter,
        event_filters: preferences.default_event_filters,
        ..Policies::default()
    };
    Ok(ChannelDraft { name: String::new(), channel_type, config: Map::new(), enabled: true, policies })
}

/// Creates a channel.
///
/// # Errors
/// [`AppError::Invalid`], and [`AppError::Quota`].
pub async fn create(by: &Authorized<Configure>, input: Input<ChannelDraft>) -> Result<ChannelSaved> {
    let settings = by.engine().settings();
    let plan = |view: &WorkspaceView, now| {
        quotas::check(by, view, Quota::SharedChannels, 1)?;
        let (draft, mut config) = validated(by, input.clone(), None)?;
        let signing_secret = new_signing_secret(&mut config, draft.channel_type, settings.clock(), now);
        let channel = channel::Channel {
            id: new_id(settings.clock(), now),
            workspace_id: by.workspace_id(),
            owner_rule_id: None,
            name: draft.name,
            channel_type: draft.channel_type,
            settings: config.settings.clone(),
            enabled: draft.enabled,
            disabled_reason: None,
            policies: draft.policies,
            connectivity: Connectivity::default(),
            revision: 1,
            created_at: now,
            updated_at: now,
        };
        let put = ConfigChange::PutChannel(settings.channel_record(channel.clone(), &config), Precondition::Absent);
        let created = audit(by, AuditVerb::Created, None, Some(&channel), now, false);
        Ok::<_, AppError>(ConfigPlan { changes: vec![put, created], value: (channel, signing_secret) })
    };
    let (channel, signing_secret) = settings.update(by.workspace_id(), plan).await?;
    let signing_secret_once = signing_secret.map(SecretOnce);
    let channel = Channel::of(&channel, Health::default(), settings::ChannelUses::default());
    Ok(ChannelSaved { channel, signing_secret_once })
}

/// Edits a channel: `change` makes the new draft of the present one, again if another edit was faster.
///
/// # Errors
/// [`AppError::Invalid`], [`EngineError::RevisionMismatch`], and if there is no such channel.
pub async fn edit(
    by: &Authorized<Configure>,
    id: ChannelId,
    expected: &Expected,
    change: impl Fn(&ChannelDraft) -> std::result::Result<Input<ChannelDraft>, Violations>,
) -> Result<ChannelSaved> {
    let settings = by.engine().settings();
    let plan = |view: &WorkspaceView, now| {
        let loaded = shared(view, id)?;
        expected.check(loaded.channel.revision)?;
        let before = ChannelDraft::of(&loaded.channel);
        let (draft, config) = validated(by, change(&before)?, Some(loaded))?;
        let mut channel = loaded.channel.clone();
        if draft.enabled != before.enabled {
            channel.disabled_reason = None;
        } else if changes_destination(loaded, &config) {
            reenable(&mut channel);
        }
        if channel.disabled_reason.is_none() && draft.enabled != before.enabled {
            channel.enabled = draft.enabled;
        }
        (channel.name, channel.policies) = (draft.name, draft.policies);
        let put = edited(by, &mut channel, &config, now);
        let has_new_secrets = changes_destination(loaded, &config);
        let updated = audit(by, AuditVerb::Updated, Some(&loaded.channel), Some(&channel), now, has_new_secrets);
        let value = (channel, config != loaded.config);
        Ok::<_, AppError>(ConfigPlan { changes: vec![put, updated], value })
    };
    let (channel, receiver_changed) = settings.update(by.workspace_id(), plan).await?;
    if receiver_changed {
        by.engine().queue().forget_pause(id);
    }
    Ok(ChannelSaved { channel: Channel::in_use(by, &channel)?, signing_secret_once: None })
}

/// Gives a webhook a new signing secret. The old one signs as well for the overlap.
///
/// # Errors
/// [`AppError::Invalid`] for a channel that does not sign, and if there is no such channel.
pub async fn rotate_secret(
    by: &Authorized<Configure>,
    id: ChannelId,
    input: Input<SecretRotation>,
) -> Result<ChannelSaved> {
    let overlap_ms = input.finish()?.overlap_seconds.saturating_mul(1_000).min(OVERLAP_MS_MAX);
    let settings = by.engine().settings();
    let plan = |view: &WorkspaceView, now| {
        let loaded = shared(view, id)?;
        let (mut channel, mut config) = (loaded.channel.clone(), loaded.config.clone());
        let secret = rotate_signing_secret(&mut config, channel.channel_type, overlap_ms, settings.clock(), now)?;
        let put = edited(by, &mut channel, &config, now);
        let rotated = audit(by, AuditVerb::SecretRotated, Some(&loaded.channel), Some(&channel), now, true);
        Ok::<_, AppError>(ConfigPlan { changes: vec![put, rotated], value: (channel, secret) })
    };
    let (channel, secret) = settings.update(by.workspace_id(), plan).await?;
    let channel = Channel::in_use(by, &channel)?;
    Ok(ChannelSaved { channel, signing_secret_once: Some(SecretOnce(secret)) })
}

/// Deletes a channel.
///
/// # Errors
/// [`EngineError::ChannelInUse`] while rules or escalations use it and their removal is not asked for,
/// [`EngineError::RevisionMismatch`], and if there is no such channel.
pub async fn delete(
    by: &Authorized<Configure>,
    id: ChannelId,
    expected: &Expected,
    deletion: ChannelDeletion,
) -> Result<()> {
    let settings = by.engine().settings();
    let plan = |view: &WorkspaceView, now| {
        let loaded = shared(view, id)?;
        expected.check(loaded.channel.revision)?;
        let users = ChannelUsers::find(view, id);
        if !users.is_empty() && !deletion.force {
            return Err(AppError::Engine(EngineError::ChannelInUse(users)));
        }
        let mut changes = without_escalation_steps(by, view, &users.endpoints, id, now);
        let unwired = users.rules.iter().filter_map(|rule_id| view.rule(*rule_id));
        changes.extend(unwired.flat_map(|rule| rules::deletion(by, view, rule, now)));
        changes.push(ConfigChange::DeleteChannel(id));
        changes.push(audit(by, AuditVerb::Deleted, Some(&loaded.channel), None, now, false));
        Ok(ConfigPlan { changes, value: () })
    };
    settings.update(by.workspace_id(), plan).await?;
    by.engine().queue().forget_health(id);
    Ok(())
}

/// Sends a test through a channel, also through a disabled one. It is recorded in the log and in the channel's
/// connectivity.
///
/// # Errors
/// If there is no such channel, or if its stored configuration cannot be used.
pub async fn test(by: &Authorized<SendNow>, id: ChannelId) -> Result<TestResult> {
    shared(&*by.view()?, id)?;
    let _slot = by.channel_test_slot()?;
    Ok(by.engine().test_channel(by.workspace_id(), id).await?.into())
}

/// The channel, if it is shared: a private one is edited through its rule.
fn shared(view: &WorkspaceView, id: ChannelId) -> Result<&LoadedChannel> {
    let loaded = view.channel(id).filter(|loaded| loaded.is_shared());
    loaded.map(AsRef::as_ref).ok_or(AppError::not_found("channel"))
}

/// The draft with the configuration to store, if nothing is wrong with them.
fn validated(
    by: &Authorized<Configure>,
    mut input: Input<ChannelDraft>,
    current: Option<&LoadedChannel>,
) -> Result<(ChannelDraft, ChannelConfig)> {
    if current.is_some_and(|current| current.channel.channel_type != input.value.channel_type) {
        input.refuse_field("/type", "cannot be changed: create another channel");
    }
    input.refuse(name_violations(&input.value.name));
    input.refuse(input.value.policies.violations());
    // Without a type it is not known which fields there are.
    let is_known_type = input.violations.iter().all(|violation| violation.pointer != "/type");
    let config = if is_known_type {
        let plugin = registry::plugin(input.value.channel_type);
        let checked = plugin.check(
            &input.value.config,
            current.map(|loaded| &loaded.config),
            by.engine().settings().channel_context(),
        );
        checked.unwrap_or_else(|violations| {
            input.refuse(violations.into_iter().map(|violation| violation.under("/config")));
            ChannelConfig::default()
        })
    } else {
        ChannelConfig::default()
    };
    Ok((input.finish()?, config))
}

/// The audit entry of a change. New secrets are noted apart, as the views before and after mask them alike.
fn audit<P>(
    by: &Authorized<P>,
    verb: AuditVerb,
    before: Option<&channel::Channel>,
    after: Option<&channel::Channel>,
    now: Timestamp,
    has_new_secrets: bool,
) -> ConfigChange {
    let (old, new) = (before.map(ChannelDraft::of), after.map(ChannelDraft::of));
    let (id, name) =
        after.or(before).map(|channel| (channel.id.to_string(), channel.name.as_str())).unwrap_or_default();
    let change = Change { id, name, before: old.as_ref(), after: new.as_ref() };
    by.audit(AuditTarget::Channel.action(verb), &change, now, |changes| {
        if has_new_secrets {
            note_secret(changes, "secrets");
        }
    })
}

/// The change that stores an edited channel.
fn edited<P>(
    by: &Authorized<P>,
    channel: &mut channel::Channel,
    config: &ChannelConfig,
    now: Timestamp,
) -> ConfigChange {
    let before = channel.revision;
    (channel.revision, channel.updated_at) = (before + 1, now);
    channel.settings.clone_from(&config.settings);
    let record = by.engine().settings().channel_record(channel.clone(), config);
    ConfigChange::PutChannel(record, Precondition::Revision(before))
}

/// Changes that remove this channel's steps from the escalation of these endpoints.
fn without_escalation_steps<P>(
    by: &Authorized<P>,
    view: &WorkspaceView,
    endpoints: &[EndpointId],
    id: ChannelId,
    now: Timestamp,
) -> Vec<ConfigChange> {
    let loaded = endpoints.iter().filter_map(|endpoint_id| view.endpoint(*endpoint_id));
    let edited = loaded.flat_map(|loaded| {
        let mut endpoint = loaded.endpoint.clone();
        endpoint.definition.escalation.retain(|step| step.channel_id != id);
        endpoints::replacement(by, AuditVerb::Updated, &loaded.endpoint, endpoint, now).changes
    });
    edited.collect()
}
