//! Gate 3: it is over, and the endpoint does not want that to be said. Leaves no delivery, only a note on the event.

use super::{Effect, Facts, Stop};
use crate::incident::IncidentTrigger;

pub(super) fn ask(facts: &Facts<'_>) -> Option<Stop> {
    let endpoint = facts.endpoint.filter(|endpoint| !endpoint.definition.recovery_alert)?;
    (facts.of_incident() == Some(IncidentTrigger::Resolved)).then(|| Stop {
        effect: Effect::PassOver,
        ..Stop::suppress(format!("{} does not want its recoveries to be said", endpoint.name))
    })
}
