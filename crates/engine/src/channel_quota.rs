//! How the channels of a workspace stand: how live sends go, and how many channels there may be.

use tidings_domain::id::{ChannelId, WorkspaceId};

use crate::Result;
use crate::engine::Engine;
use crate::queue::Health;

/// How many shared channels a workspace has and may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelQuota {
    /// How many there are.
    pub used: u32,
    /// How many there may be.
    pub max: u32,
}

impl Engine {
    /// How live sends through a channel go, as far as this process has seen any since it started.
    pub fn channel_health(&self, id: ChannelId) -> Health {
        self.queue().health(id)
    }

    /// How many shared channels a workspace has and may have.
    pub fn channel_quota(&self, workspace_id: WorkspaceId) -> Result<ChannelQuota> {
        let view = self.view(workspace_id)?;
        let shared = view.channels().filter(|live| live.channel.owner_rule_id.is_none());
        let used = u32::try_from(shared.count()).unwrap_or(u32::MAX);
        Ok(ChannelQuota { used, max: self.settings().limits().channels_max })
    }
}
