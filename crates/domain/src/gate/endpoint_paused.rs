//! Gate 1: the rule is paused.

use super::{GateInput, Refusal};

pub(super) fn ask(facts: &GateInput<'_>) -> Option<Refusal> {
    facts.rule.is_some_and(|rule| rule.paused).then(|| Refusal::suppress("the rule is paused".to_owned()))
}
