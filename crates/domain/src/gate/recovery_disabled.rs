//! Gate 3: it is over, and the endpoint does not want that to be said. Leaves no delivery, only a note on the event.

use super::{Effect, GateInput, Refusal};
use crate::incident::IncidentTrigger;

pub(super) fn ask(facts: &GateInput<'_>) -> Option<Refusal> {
    let endpoint = facts.endpoint.filter(|endpoint| !endpoint.definition.recovery_alert)?;
    (facts.of_incident() == Some(IncidentTrigger::Resolved)).then(|| Refusal {
        effect: Effect::Unroute,
        ..Refusal::suppress(format!("{} does not want its recoveries to be said", endpoint.name))
    })
}
