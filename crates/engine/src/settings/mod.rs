//! Changes of the configuration: validate against the snapshot, seal secrets, commit, reload the snapshot.

mod channel_use;
pub mod channels;
pub mod endpoints;
pub mod instance;

pub use channel_use::{ChannelUsers, ChannelUses};

use std::sync::Arc;

use tidings_channels::ChannelContext;
use tidings_domain::endpoint::INTERVAL_SECONDS_MIN_DEFAULT;
use tidings_domain::id::WorkspaceId;
use tidings_domain::time::Timestamp;
use tidings_store::settings::ConfigChange;
use tidings_store::{Store, StoreError};

use crate::Result;
use crate::clock::Clock;
use crate::error::EngineError;
use crate::snapshot::{ConfigCache, WorkspaceView};
use crate::vault::Vault;

/// How often an edit without an expected revision is attempted while other writers are faster.
const EDIT_ATTEMPTS: u32 = 5;

/// How long an old signing secret signs as well after a rotation that does not specify it, in milliseconds (a day).
pub const OVERLAP_MS_DEFAULT: u64 = 86_400_000;
/// The longest overlap, in milliseconds (thirty days).
pub const OVERLAP_MS_MAX: u64 = 30 * 86_400_000;
/// Longest name of a channel or endpoint, in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// What an update of the configuration comes to.
#[derive(Debug)]
pub struct ConfigPlan<T> {
    /// Committed together, in this order; none if there is nothing to do.
    pub changes: Vec<ConfigChange>,
    /// The result of the update once they are committed.
    pub value: T,
}

/// The service that changes the configuration.
pub struct Settings {
    store: Arc<dyn Store>,
    config: Arc<ConfigCache>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    limits: SettingsLimits,
    /// Held during a change: it is validated against the snapshot, which must not change before the commit. (Changes of two
    /// processes at once are fenced by revisions, row by row.)
    update_lock: tokio::sync::Mutex<()>,
}

/// Limits that the operator sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingsLimits {
    /// The most shared channels of a workspace.
    pub channels_max: u32,
    /// The most active mutes of a workspace. Every gate evaluation scans them.
    pub mutes_max: u32,
    /// The most inbound webhooks of a workspace.
    pub inbound_webhooks_max: u32,
    /// The most endpoints of a workspace.
    pub endpoints_max: u32,
    /// The most members of a workspace, with those who are invited.
    pub members_max: u32,
    /// The most API keys of a workspace.
    pub api_keys_max: u32,
    /// The most channels of a workspace that belong to one rule each.
    pub private_channels_max: u32,
    /// The most rules of a workspace.
    pub rules_max: u32,
    /// The most rules of a workspace that can match one event, so that an event and its deliveries stay one transaction.
    pub matching_rules_max: u32,
    /// The shortest interval between two checks of an endpoint, in seconds.
    pub interval_seconds_min: u32,
    /// Whether endpoints may send secrets to servers whose certificate is not verified.
    pub allow_insecure_tls: bool,
}

impl Default for SettingsLimits {
    fn default() -> Self {
        Self {
            channels_max: 100,
            mutes_max: 1_000,
            inbound_webhooks_max: 100,
            endpoints_max: 10_000,
            members_max: 100,
            api_keys_max: 100,
            private_channels_max: 1_000,
            rules_max: 10_000,
            matching_rules_max: 1_000,
            interval_seconds_min: INTERVAL_SECONDS_MIN_DEFAULT,
            allow_insecure_tls: false,
        }
    }
}

impl Settings {
    pub fn new(
        store: Arc<dyn Store>,
        config: Arc<ConfigCache>,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        limits: SettingsLimits,
    ) -> Self {
        Self { store, config, vault, clock, limits, update_lock: tokio::sync::Mutex::default() }
    }

    /// The limits that the operator sets.
    pub const fn limits(&self) -> SettingsLimits {
        self.limits
    }

    /// Changes the configuration as `plan` decides from the snapshot: commits, and reloads the snapshot. If another writer was
    /// faster, it is planned again from what that one has left.
    ///
    /// # Errors
    /// Those of `plan`, [`EngineError::RevisionMismatch`] if other writers were faster each time, and those of the store.
    pub async fn update<T, E: From<EngineError>>(
        &self,
        workspace_id: WorkspaceId,
        plan: impl Fn(&WorkspaceView, Timestamp) -> std::result::Result<ConfigPlan<T>, E>,
    ) -> std::result::Result<T, E> {
        let _lock = self.update_lock.lock().await;
        for _ in 0..EDIT_ATTEMPTS {
            let view = self.view(workspace_id)?;
            let ConfigPlan { changes, value } = plan(&view, self.clock.now())?;
            if changes.is_empty() {
                return Ok(value);
            }
            match self.commit(workspace_id, changes).await {
                Ok(()) => return Ok(value),
                Err(CommitError::Failed(error)) => return Err(error.into()),
                // What refers to a row, or is referred to by one, was written meanwhile: the snapshot may be as it was.
                Err(CommitError::InUse) => self.config.reload(workspace_id).await?,
                Err(CommitError::Changed | CommitError::NotFound) => {}
            }
        }
        Err(EngineError::RevisionMismatch.into())
    }

    /// The source of time and randomness.
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// What channels are validated and opened with.
    pub fn channel_context(&self) -> &ChannelContext {
        self.config.channel_context()
    }

    fn view(&self, workspace_id: WorkspaceId) -> Result<Arc<WorkspaceView>> {
        self.config.load().workspace(workspace_id).cloned().ok_or(EngineError::NotFound("workspace"))
    }

    /// Commits the changes and reloads the snapshot.
    async fn commit(
        &self,
        workspace_id: WorkspaceId,
        changes: Vec<ConfigChange>,
    ) -> std::result::Result<(), CommitError> {
        match self.store.apply_changes(workspace_id, changes).await {
            Ok(_) => {
                // The change is committed, so this is no failure; the claimer's next refresh reloads the snapshot.
                if let Err(error) = self.config.reload(workspace_id).await {
                    tracing::error!(%error, workspace = %workspace_id, "configuration change committed, but reloading it failed, will retry");
                }
                Ok(())
            }
            Err(StoreError::Conflict) => {
                self.config.reload(workspace_id).await.map_err(CommitError::Failed)?;
                Err(CommitError::Changed)
            }
            Err(StoreError::NotFound) => {
                self.config.reload(workspace_id).await.map_err(CommitError::Failed)?;
                Err(CommitError::NotFound)
            }
            Err(StoreError::InUse) => Err(CommitError::InUse),
            Err(error) => Err(CommitError::Failed(error.into())),
        }
    }
}

/// Why a change was not committed.
enum CommitError {
    /// Another writer was faster: read again and repeat.
    Changed,
    /// What it edits or refers to does not exist any more.
    NotFound,
    /// What it deletes is in use, or what it refers to does not exist.
    InUse,
    Failed(EngineError),
}
