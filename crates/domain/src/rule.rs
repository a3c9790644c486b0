//! Rules: connect resources to a channel and select which events to send.

use crate::id::{ChannelId, RuleId, WorkspaceId};
use crate::resource::{ResourceSelector, ResourceType};
use crate::severity::Severity;
use crate::time::Timestamp;
use crate::trigger::{RuleTrigger, TriggerType};

/// A rule, also known as a notification rule or subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub id: RuleId,
    pub workspace_id: WorkspaceId,
    pub resource_type: ResourceType,
    pub resource: ResourceSelector,
    pub channel_id: ChannelId,
    /// The classes of events to send; at least one of [`RuleTrigger::of`] the resource type.
    pub triggers: Vec<RuleTrigger>,
    /// Restricts runs to these trigger types; empty for all.
    pub trigger_types: Vec<TriggerType>,
    /// A disabled rule gets no deliveries.
    pub enabled: bool,
    /// A paused rule gets suppressed deliveries (gate 1). Independent of `enabled`.
    pub paused: bool,
    /// The severity of a failed run.
    pub failure_severity: Severity,
    /// Incremented when the rule is disabled; deliveries of an older generation are skipped.
    pub generation: u32,
    /// Incremented by every edit.
    pub revision: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::event::Event;
    use crate::id::Id;

    /// A rule for all events of the event's resource.
    pub(crate) fn rule_for(event: &Event) -> Rule {
        Rule {
            id: RuleId::from_bytes([3; 16]),
            workspace_id: event.workspace_id,
            resource_type: event.resource_type,
            resource: ResourceSelector::One(event.resource_id.clone()),
            channel_id: ChannelId::from_bytes([4; 16]),
            triggers: RuleTrigger::allowed_for(event.resource_type).to_vec(),
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
