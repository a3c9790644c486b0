//! Creation and edits of channels, and rotation of their signing secrets.

use std::sync::Arc;

use tidings_channels::{ChannelConfig, registry, webhook};
use tidings_domain::channel::{Channel, ChannelType, Connectivity, DisabledReason, Policies};
use tidings_domain::id::{ChannelId, WorkspaceId};
use tidings_domain::quiet_hours::QuietHours;
use tidings_domain::rate_limit::RateLimit;
use tidings_domain::retry::{RETRY_DELAY_SECONDS_MAX, RETRY_DELAYS_MAX};
use tidings_domain::secret::Secret;
use tidings_domain::signature::new_secret;
use tidings_domain::text::{has_control, is_blank};
use tidings_domain::time::Timestamp;
use tidings_domain::violation::{Violation, Violations};
use tidings_store::settings::{ChannelRecord, ConfigChange, Precondition};

use super::{
    ChannelEdit, CommitError, Committed, EDIT_ATTEMPTS, NAME_CHARS_MAX, NewChannel, OVERLAP_MS_MAX, Settings,
    check_revision,
};
use crate::Result;
use crate::clock::{Clock, new_id};
use crate::error::EngineError;
use crate::snapshot::LoadedChannel;
use crate::vault::Owner;

/// Allowed timeouts of an attempt, in milliseconds.
pub const TIMEOUT_MS_RANGE: std::ops::RangeInclusive<u32> = 1_000..=60_000;

impl Settings {
    pub(crate) async fn create_channel(
        &self,
        workspace_id: WorkspaceId,
        new: NewChannel,
    ) -> Result<Committed<Channel>> {
        let view = self.view(workspace_id)?;
        let max = self.limits.channels_max;
        let shared = view.channels().filter(|loaded| loaded.is_shared()).count();
        if shared >= max as usize {
            return Err(EngineError::Quota { what: "shared channels", max });
        }
        let now = self.clock.now();
        let mut violations = name_violations(&new.name);
        violations.extend(policy_violations(&new.policies));
        let context = self.config.channel_context();
        let mut config = match registry::plugin(new.channel_type).check(&new.config, None, context) {
            Ok(config) => config,
            Err(config_violations) => {
                violations.extend(with_config_prefix(config_violations));
                ChannelConfig::default()
            }
        };
        if !violations.is_empty() {
            return Err(EngineError::Invalid(violations));
        }
        let signing_secret_once = new_signing_secret(&mut config, new.channel_type, self.clock.as_ref(), now);
        let channel = Channel {
            id: new_id(self.clock.as_ref(), now),
            workspace_id,
            owner_rule_id: None,
            name: new.name,
            channel_type: new.channel_type,
            settings: config.settings.clone(),
            enabled: new.enabled,
            disabled_reason: None,
            policies: new.policies,
            connectivity: Connectivity::default(),
            revision: 1,
            created_at: now,
            updated_at: now,
        };
        let put = ConfigChange::PutChannel(self.channel_record(channel.clone(), &config), Precondition::Absent);
        match self.commit(workspace_id, vec![put]).await {
            Ok(()) => Ok(Committed { value: channel, signing_secret_once }),
            Err(CommitError::Failed(error)) => Err(error),
            Err(_) => Err(EngineError::NotFound("workspace")),
        }
    }

    pub(crate) async fn edit_channel(
        &self,
        workspace_id: WorkspaceId,
        id: ChannelId,
        edit: ChannelEdit,
        expected_revision: Option<u32>,
    ) -> Result<Committed<Channel>> {
        self.update_shared(workspace_id, id, expected_revision, |loaded, _| {
            let mut channel = loaded.channel.clone();
            let mut config = loaded.config.clone();
            let mut violations = edit.name.as_deref().map(name_violations).unwrap_or_default();
            apply(&edit, &mut channel);
            violations.extend(policy_violations(&channel.policies));
            if let Some(fields) = &edit.config {
                let context = self.config.channel_context();
                match registry::plugin(channel.channel_type).check(fields, Some(&loaded.config), context) {
                    Ok(checked) => {
                        if edit.enabled.is_none() && changes_destination(loaded, &checked) {
                            reenable(&mut channel);
                        }
                        config = checked;
                    }
                    Err(config_violations) => violations.extend(with_config_prefix(config_violations)),
                }
            }
            if violations.is_empty() { Ok((channel, config, None)) } else { Err(EngineError::Invalid(violations)) }
        })
        .await
    }

    pub(crate) async fn rotate_secret(
        &self,
        workspace_id: WorkspaceId,
        id: ChannelId,
        overlap_ms: u64,
    ) -> Result<Committed<Channel>> {
        if overlap_ms > OVERLAP_MS_MAX {
            return Err(EngineError::invalid("/overlapSeconds", "must be at most 2592000 (thirty days)"));
        }
        self.update_shared(workspace_id, id, None, |loaded, now| {
            let mut config = loaded.config.clone();
            let channel_type = loaded.channel.channel_type;
            let secret = rotate_signing_secret(&mut config, channel_type, overlap_ms, self.clock.as_ref(), now)?;
            Ok((loaded.channel.clone(), config, Some(secret)))
        })
        .await
    }

    /// Disables a channel whose receiver responded 410, unless its configuration is not the `attempted` one any more.
    pub(crate) async fn disable_on_410(&self, attempted: &LoadedChannel) {
        let (workspace_id, id) = (attempted.channel.workspace_id, attempted.channel.id);
        let outcome = self
            .update_channel(
                workspace_id,
                id,
                None,
                |loaded| {
                    let is_same = |loaded: &&Arc<LoadedChannel>| loaded.config == attempted.config;
                    loaded.filter(is_same).ok_or(EngineError::NotFound("channel"))
                },
                |loaded, _| {
                    let mut channel = loaded.channel.clone();
                    channel.enabled = false;
                    channel.disabled_reason = Some(DisabledReason::ReceiverGone);
                    Ok((channel, loaded.config.clone(), None))
                },
            )
            .await;
        match outcome {
            Ok(_) => {
                tracing::warn!(channel = %id, "receiver responded 410 Gone, channel disabled")
            }
            Err(EngineError::NotFound(_)) => {}
            Err(error) => {
                tracing::error!(channel = %id, %error, "failed to disable a channel whose receiver responded 410 Gone")
            }
        }
    }

    async fn update_shared(
        &self,
        workspace_id: WorkspaceId,
        id: ChannelId,
        expected_revision: Option<u32>,
        edit: impl Fn(&LoadedChannel, Timestamp) -> Result<(Channel, ChannelConfig, Option<Secret>)>,
    ) -> Result<Committed<Channel>> {
        self.update_channel(workspace_id, id, expected_revision, require_shared, edit).await
    }

    /// Applies an edit to the current channel, again if another writer was faster and the caller expects no revision.
    async fn update_channel(
        &self,
        workspace_id: WorkspaceId,
        id: ChannelId,
        expected_revision: Option<u32>,
        pick: impl Fn(Option<&Arc<LoadedChannel>>) -> Result<&Arc<LoadedChannel>>,
        edit: impl Fn(&LoadedChannel, Timestamp) -> Result<(Channel, ChannelConfig, Option<Secret>)>,
    ) -> Result<Committed<Channel>> {
        for _ in 0..EDIT_ATTEMPTS {
            let view = self.view(workspace_id)?;
            let loaded = pick(view.channel(id))?;
            check_revision(expected_revision, loaded.channel.revision)?;
            let now = self.clock.now();
            let (mut channel, config, signing_secret_once) = edit(loaded, now)?;
            let before = channel.revision;
            (channel.revision, channel.updated_at) = (before + 1, now);
            channel.settings.clone_from(&config.settings);
            let put =
                ConfigChange::PutChannel(self.channel_record(channel.clone(), &config), Precondition::Revision(before));
            match self.commit(workspace_id, vec![put]).await {
                Ok(()) => return Ok(Committed { value: channel, signing_secret_once }),
                Err(CommitError::Failed(error)) => return Err(error),
                Err(CommitError::NotFound | CommitError::InUse) => return Err(EngineError::NotFound("channel")),
                Err(CommitError::Changed) => {}
            }
        }
        Err(EngineError::RevisionMismatch)
    }

    /// The channel's row, secrets sealed.
    pub(super) fn channel_record(&self, channel: Channel, config: &ChannelConfig) -> ChannelRecord {
        let owner = Owner::Channel(channel.workspace_id, channel.id);
        let sealed = self.vault.seal_secrets(&config.secrets, owner, self.clock.as_ref());
        ChannelRecord { channel, key_id: self.vault.key_id().to_owned(), sealed }
    }
}

/// A private channel is edited through its rule; by itself it is not found.
pub(super) fn require_shared(loaded: Option<&Arc<LoadedChannel>>) -> Result<&Arc<LoadedChannel>> {
    loaded.filter(|loaded| loaded.is_shared()).ok_or(EngineError::NotFound("channel"))
}

/// Whether the new configuration has another address or other credentials. Both are among the secrets.
pub(super) fn changes_destination(loaded: &LoadedChannel, config: &ChannelConfig) -> bool {
    loaded.config.secrets != config.secrets
}

/// Enables a channel that Tidings has disabled. One that a person has disabled stays so.
pub(super) fn reenable(channel: &mut Channel) {
    if channel.disabled_reason.take().is_some() {
        channel.enabled = true;
    }
}

fn apply(edit: &ChannelEdit, channel: &mut Channel) {
    if let Some(name) = &edit.name {
        channel.name.clone_from(name);
    }
    if let Some(enabled) = edit.enabled {
        channel.enabled = enabled;
        channel.disabled_reason = None;
    }
    let policies = &mut channel.policies;
    policies.severity_filter = edit.severity_filter.unwrap_or(policies.severity_filter);
    policies.event_filters = edit.event_filters.unwrap_or(policies.event_filters);
    policies.delivery_priority = edit.delivery_priority.unwrap_or(policies.delivery_priority);
    policies.rate_limit = edit.rate_limit.unwrap_or(policies.rate_limit);
    if let Some(hours) = &edit.quiet_hours {
        policies.quiet_hours.clone_from(hours);
    }
    policies.retry_on_failure = edit.retry_on_failure.unwrap_or(policies.retry_on_failure);
    policies.timeout_ms = edit.timeout_ms.unwrap_or(policies.timeout_ms);
    if let Some(delays) = &edit.retry_delays_seconds {
        policies.retry_delays_seconds.clone_from(delays);
    }
}

pub(crate) fn name_violations(name: &str) -> Violations {
    let message = if is_blank(name) {
        "must not be empty"
    } else if name.chars().count() > NAME_CHARS_MAX {
        "must be at most 100 characters"
    } else if has_control(name) {
        "must not contain control characters"
    } else {
        return Vec::new();
    };
    vec![Violation::new("/name", message)]
}

fn policy_violations(policies: &Policies) -> Violations {
    let under = |pointer: &'static str| move |violation: Violation| violation.under(pointer);
    let mut violations = Vec::new();
    violations.extend(policies.quiet_hours.iter().flat_map(QuietHours::violations).map(under("/quietHours")));
    violations.extend(policies.rate_limit.iter().flat_map(RateLimit::violations).map(under("/rateLimit")));
    if !TIMEOUT_MS_RANGE.contains(&policies.timeout_ms) {
        violations.push(Violation::new("/timeoutMs", "must be from 1000 to 60000"));
    }
    let delays = policies.retry_delays_seconds.as_deref().unwrap_or_default();
    if delays.len() > RETRY_DELAYS_MAX {
        violations.push(Violation::new("/retryDelaysSeconds", "must list at most 20 delays"));
    }
    let invalid = delays.iter().enumerate().filter(|(_, delay)| !(1..=RETRY_DELAY_SECONDS_MAX).contains(*delay));
    violations.extend(
        invalid.map(|(index, _)| {
            Violation::new(format!("/retryDelaysSeconds/{index}"), "must be from 1 to 86400 seconds")
        }),
    );
    violations
}

/// Violations of channel fields, with their pointers under `/config`.
fn with_config_prefix(violations: Violations) -> Violations {
    violations.into_iter().map(|violation| violation.under("/config")).collect()
}

/// Gives a new webhook its first signing secret; other channels do not sign.
pub(crate) fn new_signing_secret(
    config: &mut ChannelConfig,
    channel_type: ChannelType,
    clock: &dyn Clock,
    now: Timestamp,
) -> Option<Secret> {
    rotate_signing_secret(config, channel_type, 0, clock, now).ok()
}

/// Gives a webhook a new signing secret. The old one signs as well for `overlap_ms`.
pub(super) fn rotate_signing_secret(
    config: &mut ChannelConfig,
    channel_type: ChannelType,
    overlap_ms: u64,
    clock: &dyn Clock,
    now: Timestamp,
) -> Result<Secret> {
    if channel_type != ChannelType::Webhook {
        return Err(EngineError::invalid("", "only webhooks have a signing secret"));
    }
    let mut random = [0; 32];
    clock.random(&mut random);
    let secret = new_secret(&random);
    webhook::rotate(config, secret.clone(), overlap_ms, now);
    Ok(secret)
}
