//! Gate 11: the endpoint's last opening was said through this channel a short while ago. Openings only; channels of
//! critical priority pass.

use super::{GateInput, Refusal};
use crate::incident::IncidentTrigger;
use crate::text::format_duration;
use crate::time::Timestamp;

pub(super) fn ask(facts: &GateInput<'_>, now: Timestamp) -> Option<Refusal> {
    let endpoint = facts.endpoint.filter(|_| facts.of_incident() == Some(IncidentTrigger::Opened))?;
    let cooldown_ms = u64::from(endpoint.definition.cooldown_seconds) * 1_000;
    let last = endpoint.last_opening_at.filter(|_| !facts.has_priority())?;
    // An opening that lies ahead was made before the clock was set back: it counts from here.
    let ends_at = last.min(now).plus_ms(cooldown_ms);
    (now < ends_at).then(|| {
        let words = format_duration(cooldown_ms);
        let until = facts.zone.describe(ends_at, now);
        Refusal::suppress(format!(
            "{} cools down until {until}: its last outage was said less than {words} ago",
            endpoint.name
        ))
        .until(ends_at)
    })
}
