//! Gate 6: the channel does not take this kind of an incident's events.

use super::{GateInput, Refusal};
use crate::trigger::RuleTrigger;

pub(super) fn ask(facts: &GateInput<'_>) -> Option<Refusal> {
    let filters = facts.channel.policies.event_filters;
    let (is_sent, what) = match facts.trigger.class() {
        RuleTrigger::Success | RuleTrigger::Failure => return None,
        RuleTrigger::Opened => (filters.send_open, "openings"),
        RuleTrigger::Resolved => (filters.send_resolved, "resolutions"),
        RuleTrigger::Escalated => (filters.send_escalated, "escalations"),
    };
    (!is_sent).then(|| Refusal::suppress(format!("{} takes no {what} of incidents", facts.channel.name)))
}
