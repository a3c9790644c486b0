//! Which channels were notified of an incident. The incident keeps it: the deliveries that prove it are pruned, and their
//! rules may be deleted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::IncidentTrigger;
use crate::id::ChannelId;

/// The channels that were notified of an incident.
pub type Notified = BTreeMap<ChannelId, NotifiedBy>;

/// What notified a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifiedBy {
    /// A rule only: without any rule to the channel there is no one to notify of the end.
    Rule,
    /// An escalation step without a rule, perhaps rules as well. The end needs no rule, either.
    Step,
}

impl NotifiedBy {
    /// The wire name: store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Step => "step",
        }
    }
}

impl IncidentTrigger {
    /// Whether the receiver of the event learns from it that there is an incident.
    pub const fn notifies(self) -> bool {
        match self {
            Self::Opened | Self::Worsened | Self::Escalated { .. } | Self::Reminder { .. } | Self::Flapping => true,
            Self::Stable | Self::Resolved => false,
        }
    }
}
