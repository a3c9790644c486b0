//! Gate 1: the rule is paused.

use super::{Facts, Stop};

pub(super) fn ask(facts: &Facts<'_>) -> Option<Stop> {
    facts.rule.is_some_and(|rule| rule.paused).then(|| Stop::suppress("the rule is paused".to_owned()))
}
