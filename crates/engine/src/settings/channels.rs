//! Channels: made, edited, given fresh signing secrets.

use std::sync::Arc;

use tidings_channels::{ChannelConfig, registry, webhook};
use tidings_domain::channel::{Channel, ChannelType, Connectivity, DisabledReason, Policies};
use tidings_domain::id::{ChannelId, WorkspaceId};
use tidings_domain::quiet_hours::QuietHours;
use tidings_domain::rate_limit::RateLimit;
use tidings_domain::retry::{RETRY_DELAY_SECONDS_MAX, RETRY_DELAYS_MAX};
use tidings_domain::secret::Secret;
use tidings_domain::signature::new_secret;
use tidings_domain::text::has_control;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::{Violation, Violations};
use tidings_store::settings::{ChannelRecord, ConfigChange, Precondition};

use super::{
    ChannelEdit, CommitError, Committed, NAME_CHARS_MAX, NewChannel, OVERLAP_MS_MAX, Settings, check_revision,
};
use crate::Result;
use crate::clock::{Clock, new_id};
use crate::error::EngineError;
use crate::snapshot::LoadedChannel;
use crate::vault::Owner;

/// The least and the most that a channel may give one attempt, in milliseconds.
pub const TIMEOUT_MS_RANGE: std::ops::RangeInclusive<u32> = 1_000..=60_000;
/// How often an edit without a revision is tried again when somebody else was faster.
pub(super) const TRIES: u32 = 5;

impl Settings {
    pub(crate) async fn create_channel(
        &self,
        workspace_id: WorkspaceId,
        new: NewChannel,
    ) -> Result<Committed<Channel>> {
        let view = self.view(workspace_id)?;
        let max = self.limits.channels_max;
        let shared = view.channels().filter(|live| live.channel.owner_rule_id.is_none()).count();
        if shared >= max as usize {
            return Err(EngineError::Quota { what: "shared channels", max });
        }
        let now = self.clock.now();
        let mut violations = name_violations(&new.name);
        violations.extend(policy_violations(&new.policies));
        let environment = self.live.environment();
        let mut stored = match registry::plugin(new.channel_type).check(&new.config, None, environment) {
            Ok(stored) => stored,
            Err(of_config) => {
                violations.extend(under_config(of_config));
                ChannelConfig::default()
            }
        };
        if !violations.is_empty() {
            return Err(EngineError::Invalid(violations));
        }
        let signing_secret_once = with_signing_secret(&mut stored, new.channel_type, self.clock.as_ref(), now);
        let channel = Channel {
            id: new_id(self.clock.as_ref(), now),
            workspace_id,
            owner_rule_id: None,
            name: new.name,
            channel_type: new.channel_type,
            settings: stored.settings.clone(),
            enabled: new.enabled,
            disabled_reason: None,
            policies: new.policies,
            connectivity: Connectivity::default(),
            revision: 1,
            created_at: now,
            updated_at: now,
        };
        let put = ConfigChange::PutChannel(self.record(channel.clone(), &stored), Precondition::Absent);
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
        seen: Option<u32>,
    ) -> Result<Committed<Channel>> {
        self.rewrite_channel(workspace_id, id, seen, |live, _| {
            let mut channel = live.channel.clone();
            let mut stored = live.stored.clone();
            let mut violations = edit.name.as_deref().map(name_violations).unwrap_or_default();
            apply(&edit, &mut channel);
            violations.extend(policy_violations(&channel.policies));
            if let Some(config) = &edit.config {
                match registry::plugin(channel.channel_type).check(config, Some(&live.stored), self.live.environment())
                {
                    Ok(checked) => {
                        if edit.enabled.is_none() && leads_elsewhere(live, &checked) {
                            revive(&mut channel);
                        }
                        stored = checked;
                    }
                    Err(of_config) => violations.extend(under_config(of_config)),
                }
            }
            if violations.is_empty() { Ok((channel, stored, None)) } else { Err(EngineError::Invalid(violations)) }
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
        self.rewrite_channel(workspace_id, id, None, |live, now| {
            let mut stored = live.stored.clone();
            let secret = rotated(&mut stored, live.channel.channel_type, overlap_ms, self.clock.as_ref(), now)?;
            Ok((live.channel.clone(), stored, Some(secret)))
        })
        .await
    }

    /// Disables a channel whose receiver said that it is gone for good, unless the channel is another by now than the
    /// one that was `tried`.
    pub(crate) async fn disable_gone(&self, tried: &LoadedChannel) {
        let (workspace_id, id) = (tried.channel.workspace_id, tried.channel.id);
        let outcome = self
            .rewrite(
                workspace_id,
                id,
                None,
                |live| live.filter(|live| live.stored == tried.stored).ok_or(EngineError::NotFound("channel")),
                |live, _| {
                    let mut channel = live.channel.clone();
                    channel.enabled = false;
                    channel.disabled_reason = Some(DisabledReason::Gone);
                    Ok((channel, live.stored.clone(), None))
                },
            )
            .await;
        match outcome {
            Ok(_) => {
                tracing::warn!(channel = %id, "the receiver answered 410 to the last attempt: the channel is disabled")
            }
            Err(EngineError::NotFound(_)) => {}
            Err(error) => {
                tracing::error!(channel = %id, %error, "a channel whose receiver is gone could not be disabled")
            }
        }
    }

    async fn rewrite_channel(
        &self,
        workspace_id: WorkspaceId,
        id: ChannelId,
        seen: Option<u32>,
        edit: impl Fn(&LoadedChannel, Timestamp) -> Result<(Channel, ChannelConfig, Option<Secret>)>,
    ) -> Result<Committed<Channel>> {
        self.rewrite(workspace_id, id, seen, shared, edit).await
    }

    /// Edits a channel over what it is now, again if somebody else was faster and the caller named no revision.
    async fn rewrite(
        &self,
        workspace_id: WorkspaceId,
        id: ChannelId,
        seen: Option<u32>,
        pick: impl Fn(Option<&Arc<LoadedChannel>>) -> Result<&Arc<LoadedChannel>>,
        edit: impl Fn(&LoadedChannel, Timestamp) -> Result<(Channel, ChannelConfig, Option<Secret>)>,
    ) -> Result<Committed<Channel>> {
        for _ in 0..TRIES {
            let view = self.view(workspace_id)?;
            let live = pick(view.channel(id))?;
            check_revision(seen, live.channel.revision)?;
            let now = self.clock.now();
            let (mut channel, stored, signing_secret_once) = edit(live, now)?;
            let before = channel.revision;
            (channel.revision, channel.updated_at) = (before + 1, now);
            channel.settings.clone_from(&stored.settings);
            let put = ConfigChange::PutChannel(self.record(channel.clone(), &stored), Precondition::Revision(before));
            match self.commit(workspace_id, vec![put]).await {
                Ok(()) => return Ok(Committed { value: channel, signing_secret_once }),
                Err(CommitError::Failed(error)) => return Err(error),
                Err(CommitError::Gone | CommitError::InUse) => return Err(EngineError::NotFound("channel")),
                Err(CommitError::Changed) => {}
            }
        }
        Err(EngineError::RevisionMismatch)
    }

    /// The channel's row, its secrets sealed.
    pub(super) fn record(&self, channel: Channel, stored: &ChannelConfig) -> ChannelRecord {
        let owner = Owner::Channel(channel.workspace_id, channel.id);
        let sealed = self.vault.seal_secrets(&stored.secrets, owner, self.clock.as_ref());
        ChannelRecord { channel, key_id: self.vault.key_id().to_owned(), sealed }
    }
}

/// A channel that may be edited by itself: a private one is edited through its rule.
pub(super) fn shared(live: Option<&Arc<LoadedChannel>>) -> Result<&Arc<LoadedChannel>> {
    live.filter(|live| live.channel.owner_rule_id.is_none()).ok_or(EngineError::NotFound("channel"))
}

/// Whether what is to be kept leads elsewhere, or in by another key, than what the channel keeps now.
pub(super) fn leads_elsewhere(live: &LoadedChannel, stored: &ChannelConfig) -> bool {
    live.stored.secrets != stored.secrets
}

/// Enables a channel again that Tidings had disabled, not one that somebody had.
pub(super) fn revive(channel: &mut Channel) {
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
    let wrong = if name.trim().is_empty() {
        "must not be empty"
    } else if name.chars().count() > NAME_CHARS_MAX {
        "must be at most 100 characters"
    } else if has_control(name) {
        "must not hold control characters"
    } else {
        return Vec::new();
    };
    vec![Violation::new("/name", wrong)]
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
    let odd = delays.iter().enumerate().filter(|(_, delay)| !(1..=RETRY_DELAY_SECONDS_MAX).contains(*delay));
    violations.extend(
        odd.map(|(index, _)| Violation::new(format!("/retryDelaysSeconds/{index}"), "must be from 1 to 86400 seconds")),
    );
    violations
}

/// Violations within `config`, seen from the whole.
fn under_config(violations: Violations) -> Violations {
    violations.into_iter().map(|violation| violation.under("/config")).collect()
}

/// Gives a new webhook its first signing secret; other channels sign nothing.
pub(crate) fn with_signing_secret(
    stored: &mut ChannelConfig,
    channel_type: ChannelType,
    clock: &dyn Clock,
    now: Timestamp,
) -> Option<Secret> {
    rotated(stored, channel_type, 0, clock, now).ok()
}

/// Gives a webhook a fresh signing secret.
pub(super) fn rotated(
    stored: &mut ChannelConfig,
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
    webhook::rotate(stored, secret.clone(), overlap_ms, now);
    Ok(secret)
}
