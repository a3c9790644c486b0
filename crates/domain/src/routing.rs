//! Routing: which of a resource's rules match an event, and why the others do not.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::Event;
use crate::id::RuleId;
use crate::rule::Rule;

/// Why a rule of the resource was not routed. There is no delivery then, only this note on the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotRoutedReason {
    RuleDisabled,
    /// The rule does not list the event's trigger.
    Trigger,
    /// The rule does not list the run's trigger type.
    TriggerType,
    /// Another rule that matched sends the event through the same shared channel.
    SameChannel,
    /// The endpoint has recovery alerts turned off: gate 3, the only gate that leaves no delivery.
    RecoveryDisabled,
}

impl NotRoutedReason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::RuleDisabled, Self::Trigger, Self::TriggerType, Self::SameChannel, Self::RecoveryDisabled];

    /// The wire name: API and store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RuleDisabled => "rule_disabled",
            Self::Trigger => "trigger",
            Self::TriggerType => "trigger_type",
            Self::SameChannel => "same_channel",
            Self::RecoveryDisabled => "recovery_disabled",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// A rule that was not routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotRouted {
    pub rule_id: RuleId,
    pub reason: NotRoutedReason,
}

/// Whether the rule matches the event; the caller has matched the resource already. A run without a trigger type does not
/// match a rule that filters by it.
pub fn route(event: &Event, rule: &Rule) -> Result<(), NotRoutedReason> {
    if !rule.enabled {
        return Err(NotRoutedReason::RuleDisabled);
    }
    if !rule.settings.triggers.contains(&event.trigger.class()) {
        return Err(NotRoutedReason::Trigger);
    }
    let trigger_type = event.run().and_then(|run| run.trigger_type.as_ref());
    let matches_trigger_type = rule.settings.trigger_types.is_empty()
        || trigger_type.is_some_and(|how| rule.settings.trigger_types.contains(how));
    if matches_trigger_type { Ok(()) } else { Err(NotRoutedReason::TriggerType) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::failed_flow;
    use crate::rule::tests::rule_for;
    use crate::trigger::{RuleTrigger, TriggerType};

    #[test]
    fn unmatched_rule_has_the_first_reason() {
        let event = failed_flow();
        let matching = rule_for(&event);
        assert_eq!(route(&event, &matching), Ok(()));

        let mut rule = matching.clone();
        rule.settings.trigger_types = vec![TriggerType::parse("manual").unwrap()];
        assert_eq!(route(&event, &rule), Err(NotRoutedReason::TriggerType));
        rule.settings.triggers = vec![RuleTrigger::Success];
        assert_eq!(route(&event, &rule), Err(NotRoutedReason::Trigger));
        rule.enabled = false;
        assert_eq!(route(&event, &rule), Err(NotRoutedReason::RuleDisabled));
    }

    #[test]
    fn run_without_trigger_type_does_not_match_a_filter() {
        let mut event = failed_flow();
        let mut rule = rule_for(&event);
        rule.settings.trigger_types = vec![TriggerType::parse("scheduled").unwrap()];
        assert_eq!(route(&event, &rule), Ok(()), "the event has `schedule`, a synonym");
        event.run_mut().trigger_type = None;
        assert_eq!(route(&event, &rule), Err(NotRoutedReason::TriggerType));
    }
}
