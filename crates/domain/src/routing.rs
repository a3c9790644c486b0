//! Routing: which of a resource's rules an event concerns, and why not the others.

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::id::RuleId;
use crate::rule::Rule;

/// Why a rule of the resource was passed over. It leaves no delivery, only this note on the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotRoutedReason {
    /// The rule is disabled.
    RuleDisabled,
    /// The rule does not list this trigger.
    Trigger,
    /// The rule does not list the way this run was started.
    TriggerType,
    /// The endpoint does not want its recoveries to be said: gate 3, which leaves no delivery.
    RecoveryDisabled,
}

impl NotRoutedReason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::RuleDisabled, Self::Trigger, Self::TriggerType, Self::RecoveryDisabled];

    /// The word for it in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RuleDisabled => "rule_disabled",
            Self::Trigger => "trigger",
            Self::TriggerType => "trigger_type",
            Self::RecoveryDisabled => "recovery_disabled",
        }
    }

    /// The reason that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// A rule that was passed over, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotRouted {
    /// The rule.
    pub rule_id: RuleId,
    /// Why.
    pub reason: NotRoutedReason,
}

/// Whether the rule, one of the event's own resource, wants the event. A run whose start is unknown does not match a
/// rule that filters by trigger type.
pub fn route(event: &Event, rule: &Rule) -> Result<(), NotRoutedReason> {
    if !rule.enabled {
        return Err(NotRoutedReason::RuleDisabled);
    }
    if !rule.triggers.contains(&event.trigger.class()) {
        return Err(NotRoutedReason::Trigger);
    }
    let trigger_type = event.run().and_then(|run| run.trigger_type.as_ref());
    let started_right =
        rule.trigger_types.is_empty() || trigger_type.is_some_and(|how| rule.trigger_types.contains(how));
    if started_right { Ok(()) } else { Err(NotRoutedReason::TriggerType) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::failed_flow;
    use crate::rule::tests::rule_for;
    use crate::trigger::{RuleTrigger, TriggerType};

    #[test]
    fn each_mismatch_has_its_reason_in_order() {
        let event = failed_flow();
        let matching = rule_for(&event);
        assert_eq!(route(&event, &matching), Ok(()));

        let mut rule = matching.clone();
        rule.trigger_types = vec![TriggerType::parse("manual").unwrap()];
        assert_eq!(route(&event, &rule), Err(NotRoutedReason::TriggerType));
        rule.triggers = vec![RuleTrigger::Success];
        assert_eq!(route(&event, &rule), Err(NotRoutedReason::Trigger));
        rule.enabled = false;
        assert_eq!(route(&event, &rule), Err(NotRoutedReason::RuleDisabled));
    }

    #[test]
    fn a_filter_by_trigger_type_wants_to_know() {
        let mut event = failed_flow();
        let mut rule = rule_for(&event);
        rule.trigger_types = vec![TriggerType::parse("scheduled").unwrap()];
        assert_eq!(route(&event, &rule), Ok(()), "the event said `schedule`");
        event.run_mut().trigger_type = None;
        assert_eq!(route(&event, &rule), Err(NotRoutedReason::TriggerType));
    }
}
