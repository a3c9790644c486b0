//! What edits of channels and rules share: sealing, signing secrets, and the end of a channel whose receiver is gone.

use tidings_channels::{ChannelConfig, webhook};
use tidings_domain::channel::{Channel, ChannelType, DisabledReason};
use tidings_domain::secret::Secret;
use tidings_domain::signature::new_secret;
use tidings_domain::text::{has_control, is_blank};
use tidings_domain::time::Timestamp;
use tidings_domain::violation::{Violation, Violations};
use tidings_store::settings::{ChannelRecord, ConfigChange, Precondition};

use super::{ConfigPlan, NAME_CHARS_MAX, Settings};
use crate::Result;
use crate::clock::Clock;
use crate::error::EngineError;
use crate::snapshot::{LoadedChannel, WorkspaceView};
use crate::vault::Owner;

impl Settings {
    /// Disables a channel whose receiver responded 410, unless its configuration is not the `attempted` one any more.
    pub(crate) async fn disable_on_410(&self, attempted: &LoadedChannel) {
        let (workspace_id, id) = (attempted.channel.workspace_id, attempted.channel.id);
        let plan = |view: &WorkspaceView, now| {
            let Some(loaded) = view.channel(id).filter(|loaded| loaded.config == attempted.config) else {
                return Ok::<_, EngineError>(ConfigPlan { changes: Vec::new(), value: false });
            };
            let before = loaded.channel.revision;
            let channel = Channel {
                enabled: false,
                disabled_reason: Some(DisabledReason::ReceiverGone),
                revision: before + 1,
                updated_at: now,
                ..loaded.channel.clone()
            };
            let record = self.channel_record(channel, &loaded.config);
            let changes = vec![ConfigChange::PutChannel(record, Precondition::Revision(before))];
            Ok(ConfigPlan { changes, value: true })
        };
        match self.update(workspace_id, plan).await {
            Ok(true) => tracing::warn!(channel = %id, "receiver responded 410 Gone, channel disabled"),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(channel = %id, %error, "failed to disable a channel whose receiver responded 410 Gone")
            }
        }
    }

    /// The channel's row, secrets sealed.
    pub fn channel_record(&self, channel: Channel, config: &ChannelConfig) -> ChannelRecord {
        let owner = Owner::Channel(channel.workspace_id, channel.id);
        let sealed = self.vault.seal_secrets(&config.secrets, owner, self.clock.as_ref());
        ChannelRecord { channel, key_id: self.vault.key_id().to_owned(), sealed }
    }
}

/// Whether the new configuration has another address or other credentials. Both are among the secrets.
pub fn changes_destination(loaded: &LoadedChannel, config: &ChannelConfig) -> bool {
    loaded.config.secrets != config.secrets
}

/// Enables a channel that Tidings has disabled. One that a person has disabled stays so.
pub fn reenable(channel: &mut Channel) {
    if channel.disabled_reason.take().is_some() {
        channel.enabled = true;
    }
}

/// What is wrong with a name of a channel or endpoint.
pub fn name_violations(name: &str) -> Violations {
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

/// Gives a new webhook its first signing secret; other channels do not sign.
pub fn new_signing_secret(
    config: &mut ChannelConfig,
    channel_type: ChannelType,
    clock: &dyn Clock,
    now: Timestamp,
) -> Option<Secret> {
    rotate_signing_secret(config, channel_type, 0, clock, now).ok()
}

/// Gives a webhook a new signing secret. The old one signs as well for `overlap_ms`.
///
/// # Errors
/// [`EngineError::Invalid`] for a channel that does not sign.
pub fn rotate_signing_secret(
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
