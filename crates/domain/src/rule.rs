//! The rule: joins a resource to a channel, and says which of its events matter.

use crate::id::{ChannelId, RuleId, WorkspaceId};
use crate::resource::{ResourceSelector, ResourceType};
use crate::severity::Severity;
use crate::time::Timestamp;
use crate::trigger::{RuleTrigger, TriggerType};

/// A rule. The seeds call it notification rule or subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its id.
    pub id: RuleId,
    /// The workspace it belongs to.
    pub workspace_id: WorkspaceId,
    /// The type of resource it is about.
    pub resource_type: ResourceType,
    /// Which of them.
    pub resource: ResourceSelector,
    /// The channel it speaks through.
    pub channel_id: ChannelId,
    /// What it speaks of; at least one, of those that resources of this type have.
    pub triggers: Vec<RuleTrigger>,
    /// The ways runs were started that it speaks of; empty for all.
    pub trigger_types: Vec<TriggerType>,
    /// Whether it is on.
    pub enabled: bool,
    /// Whether it is silenced for now, remembered beside `enabled`.
    pub paused: bool,
    /// How bad a failed run is to this rule.
    pub failure_severity: Severity,
    /// Rises when the rule is disabled; what waited under an older generation is skipped.
    pub generation: u32,
    /// Rises with every edit.
    pub revision: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::event::Event;
    use crate::id::Id;

    /// A rule that wants everything of the event's resource.
    pub(crate) fn rule_for(event: &Event) -> Rule {
        Rule {
            id: RuleId::from_bytes([3; 16]),
            workspace_id: event.workspace_id,
            resource_type: event.resource_type,
            resource: ResourceSelector::One(event.resource_id.clone()),
            channel_id: ChannelId::from_bytes([4; 16]),
            triggers: RuleTrigger::of(event.resource_type).to_vec(),
            trigger_types: Vec::new(),
            enabled: true,
            paused: false,
            failure_severity: Severity::Warning,
            generation: 1,
            revision: 1,
            created_at: event.received_at,
            updated_at: event.received_at,
        }
    }
}
