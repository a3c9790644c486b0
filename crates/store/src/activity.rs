//! What became of configuration in use: how channels fare, what mutes stopped. Written beside the event pipeline, read by
//! pages.

use async_trait::async_trait;
use tidings_domain::audit::AuditEntry;
use tidings_domain::id::{ChannelId, WorkspaceId};
use tidings_domain::mute::Mute;
use tidings_domain::time::Timestamp;

use crate::Result;
use crate::queue::Resend;

/// The operations of a store for the activity of channels and mutes, and resends of many deliveries. The contract is that
/// of [`crate::Store`].
#[async_trait]
pub trait ActivityStore: Send + Sync {
    /// The health of all channels of all workspaces. Read at the start.
    async fn channel_health(&self) -> Result<Vec<ChannelHealthRecord>>;

    /// Writes the health of channels, each as a whole. Channels that do not exist are ignored. Called every few seconds
    /// with those whose health changed.
    async fn save_channel_health(&self, records: Vec<ChannelHealthRecord>) -> Result<()>;

    /// Mutes of a workspace with what they stopped: those in force, oldest first, or those that ended, the last ended
    /// first. A history read.
    async fn mutes(&self, workspace_id: WorkspaceId, now: Timestamp, filter: MuteFilter) -> Result<Vec<MuteRecord>>;

    /// [`crate::Store::resend`] of several deliveries in one transaction. Returns for each, in order, whether it is due
    /// now; a refusal of one does not affect the others.
    async fn resend_all(&self, resends: Vec<(Resend, Option<AuditEntry>)>) -> Result<Vec<ResendOutcome>>;
}

/// How recent attempts through a channel went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelHealthRecord {
    pub workspace_id: WorkspaceId,
    pub channel_id: ChannelId,
    pub last_sent_at: Option<Timestamp>,
    pub last_failed_at: Option<Timestamp>,
    /// The first failure after the last success.
    pub failing_since: Option<Timestamp>,
    /// The results of the last attempts, 1 for success, the newest in the lowest bit.
    pub outcomes: u128,
    /// How many bits of `outcomes` are in use.
    pub count: u32,
}

/// Which mutes to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MuteFilter {
    /// Those that have not ended.
    InForce,
    /// Those that ended at or after `since`: they expired, were ended by hand, or with the recovery of their endpoint. The
    /// last `limit` of them.
    Ended { since: Timestamp, limit: u32 },
}

/// A mute with what it stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MuteRecord {
    pub mute: Mute,
    /// `None` while it is in force.
    pub ended_at: Option<Timestamp>,
    /// Deliveries that it suppressed.
    pub stopped_count: u32,
}

/// The result of one resend among several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResendOutcome {
    /// It is due.
    Due,
    /// There is no such delivery.
    NotFound,
    /// It is neither sent nor failed, or a channel test.
    NotResendable,
}
