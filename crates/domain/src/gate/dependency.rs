//! Gate 9: the endpoint's parent has an active incident, which says enough.

use super::{GateInput, Refusal};

pub(super) fn ask(facts: &GateInput<'_>) -> Option<Refusal> {
    let endpoint = facts.endpoint?;
    let parent = endpoint.parent_down?;
    Some(Refusal::suppress(format!("{} depends on {parent}, which has an active incident", endpoint.name)))
}
