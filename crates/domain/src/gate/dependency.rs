//! Gate 9: the endpoint's parent has an active incident, which says enough.

use super::{Facts, Stop};

pub(super) fn ask(facts: &Facts<'_>) -> Option<Stop> {
    let endpoint = facts.endpoint?;
    let parent = endpoint.parent_down?;
    Some(Stop::suppress(format!("{} depends on {parent}, which has an active incident", endpoint.name)))
}
