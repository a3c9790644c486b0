//! Changes of configuration, as the doors ask for them: checked, sealed, committed, and then seen by everybody.

mod channel_use;
pub(crate) mod channels;
pub mod endpoints;
pub mod inbound_webhooks;
pub mod instance;
pub mod mutes;
mod rules;

pub use channel_use::ChannelUsers;

use std::sync::Arc;

use serde_json::{Map, Value};
use tidings_domain::channel::{Channel, ChannelType, DeliveryPriority, EventFilters, Policies};
use tidings_domain::endpoint::INTERVAL_SECONDS_MIN_DEFAULT;
use tidings_domain::id::{ChannelId, WorkspaceId};
use tidings_domain::quiet_hours::QuietHours;
use tidings_domain::rate_limit::RateLimit;
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::rule::Rule;
use tidings_domain::secret::Secret;
use tidings_domain::severity::{Severity, SeverityFilter};
use tidings_domain::trigger::{RuleTrigger, TriggerType};
use tidings_store::settings::ConfigChange;
use tidings_store::{Store, StoreError};

use crate::Result;
use crate::clock::Clock;
use crate::error::EngineError;
use crate::snapshot::{ConfigCache, WorkspaceView};
use crate::vault::Vault;

/// How long an old signing secret goes on signing where a rotation does not say, in milliseconds (a day).
pub const OVERLAP_MS_DEFAULT: u64 = 86_400_000;
/// The longest overlap, in milliseconds (thirty days).
pub const OVERLAP_MS_MAX: u64 = 30 * 86_400_000;
/// Longest name of a channel, in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// What was written, and the signing secret that is shown this once.
#[derive(Debug)]
pub struct Committed<T> {
    /// What was written, as it is now.
    pub value: T,
    /// The secret, if one was made.
    pub signing_secret_once: Option<Secret>,
}

/// A channel to be made.
#[derive(Debug, Clone)]
pub struct NewChannel {
    /// Its name.
    pub name: String,
    /// What kind of destination it is.
    pub channel_type: ChannelType,
    /// The destination's own fields.
    pub config: Map<String, Value>,
    /// Whether it is on.
    pub enabled: bool,
    /// How it is used.
    pub policies: Policies,
}

/// An edit of a channel: what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct ChannelEdit {
    /// Its name.
    pub name: Option<String>,
    /// The destination's own fields, merged over those it has.
    pub config: Option<Map<String, Value>>,
    /// Whether it is on.
    pub enabled: Option<bool>,
    /// The least severity it lets through.
    pub severity_filter: Option<SeverityFilter>,
    /// Which events of incidents it lets through.
    pub event_filters: Option<EventFilters>,
    /// How much it matters.
    pub delivery_priority: Option<DeliveryPriority>,
    /// When it is left in peace; `Some(None)` for never.
    pub quiet_hours: Option<Option<QuietHours>>,
    /// How much it takes in a minute; `Some(None)` for any number.
    pub rate_limit: Option<Option<RateLimit>>,
    /// Whether failures are tried again.
    pub retry_on_failure: Option<bool>,
    /// Its own delays; `Some(None)` goes back to those of the kind of event.
    pub retry_delays_seconds: Option<Option<Vec<u32>>>,
    /// How long one attempt may take, in milliseconds.
    pub timeout_ms: Option<u32>,
}

/// The channel that a rule speaks through.
#[derive(Debug, Clone)]
pub enum RuleChannel {
    /// A shared one.
    Shared(ChannelId),
    /// One of its own, made from inline fields.
    Inline {
        /// What kind of destination it is.
        channel_type: ChannelType,
        /// The destination's own fields; on an edit merged over those it has.
        config: Map<String, Value>,
    },
}

/// A rule to be made.
#[derive(Debug, Clone)]
pub struct NewRule {
    /// The type of resource it is about.
    pub resource_type: ResourceType,
    /// Which of them.
    pub resource: ResourceSelector,
    /// The channel it speaks through.
    pub channel: RuleChannel,
    /// What it speaks of.
    pub triggers: Vec<RuleTrigger>,
    /// The ways runs were started that it speaks of; empty for all.
    pub trigger_types: Vec<TriggerType>,
    /// Whether it is on.
    pub enabled: bool,
    /// Whether it is silenced for now.
    pub paused: bool,
    /// How bad a failed run is to it.
    pub failure_severity: Severity,
}

/// An edit of a rule: what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct RuleEdit {
    /// The channel it speaks through.
    pub channel: Option<RuleChannel>,
    /// What it speaks of.
    pub triggers: Option<Vec<RuleTrigger>>,
    /// The ways runs were started that it speaks of.
    pub trigger_types: Option<Vec<TriggerType>>,
    /// Whether it is on.
    pub enabled: Option<bool>,
    /// Whether it is silenced for now.
    pub paused: Option<bool>,
    /// How bad a failed run is to it.
    pub failure_severity: Option<Severity>,
    /// Whether its own webhook gets a fresh signing secret.
    pub rotate_secret: bool,
}

/// A rule with the channel it speaks through.
#[derive(Debug, Clone)]
pub struct RuleView {
    /// The rule.
    pub rule: Arc<Rule>,
    /// The channel; its own if its `owner_rule_id` is the rule.
    pub channel: Channel,
}

/// Changes configuration.
pub struct Settings {
    store: Arc<dyn Store>,
    live: Arc<ConfigCache>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    limits: SettingsLimits,
    /// Held by whoever changes something: a change is checked over the snapshot, which must not become another meanwhile.
    /// (What two processes change at once is fenced by revisions, row by row.)
    turn: tokio::sync::Mutex<()>,
}

/// What the operator allows of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingsLimits {
    /// Shared channels of one workspace.
    pub channels_max: u32,
    /// The shortest interval between two checks of an endpoint, in seconds.
    pub interval_seconds_min: u32,
}

impl Default for SettingsLimits {
    fn default() -> Self {
        Self { channels_max: 100, interval_seconds_min: INTERVAL_SECONDS_MIN_DEFAULT }
    }
}

impl Settings {
    /// The way to change what `live` shows.
    pub fn new(
        store: Arc<dyn Store>,
        live: Arc<ConfigCache>,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        limits: SettingsLimits,
    ) -> Self {
        Self { store, live, vault, clock, limits, turn: tokio::sync::Mutex::default() }
    }

    /// What the operator allows.
    pub(crate) const fn limits(&self) -> SettingsLimits {
        self.limits
    }

    /// Waits for one's turn to change something.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    fn view(&self, workspace_id: WorkspaceId) -> Result<Arc<WorkspaceView>> {
        self.live.load().workspace(workspace_id).cloned().ok_or(EngineError::NotFound("workspace"))
    }

    /// Commits the changes and makes them seen.
    async fn commit(
        &self,
        workspace_id: WorkspaceId,
        changes: Vec<ConfigChange>,
    ) -> std::result::Result<(), CommitError> {
        match self.store.apply_changes(workspace_id, changes).await {
            Ok(_) => {
                // It is committed: that it cannot be read back now does not undo it, and the next look at versions will.
                if let Err(error) = self.live.reload(workspace_id).await {
                    tracing::error!(%error, workspace = %workspace_id, "a change is committed but not seen yet");
                }
                Ok(())
            }
            Err(StoreError::Conflict) => {
                self.live.reload(workspace_id).await.map_err(CommitError::Failed)?;
                Err(CommitError::Changed)
            }
            Err(StoreError::NotFound) => {
                self.live.reload(workspace_id).await.map_err(CommitError::Failed)?;
                Err(CommitError::Gone)
            }
            Err(StoreError::InUse) => Err(CommitError::InUse),
            Err(error) => Err(CommitError::Failed(error.into())),
        }
    }
}

/// Why a change was not committed.
enum CommitError {
    /// What it edits was edited by somebody else: read again and repeat.
    Changed,
    /// What it edits is gone, or what it refers to.
    Gone,
    /// What it deletes, or deletes the owner of, is in use (or what it refers to is not there).
    InUse,
    /// Anything else.
    Failed(EngineError),
}

/// Whether an edit made by hand names the revision that it saw, and it is another now.
fn check_revision(seen: Option<u32>, now: u32) -> Result<()> {
    match seen {
        Some(seen) if seen != now => Err(EngineError::RevisionMismatch),
        _ => Ok(()),
    }
}
