//! Gate 11: the endpoint's last opening was said through this channel a short while ago. Openings only; channels of
//! critical priority pass.

use super::{Facts, Stop};
use crate::incident::IncidentTrigger;
use crate::text::duration_words;
use crate::time::Timestamp;

pub(super) fn ask(facts: &Facts<'_>, now: Timestamp) -> Option<Stop> {
    let endpoint = facts.endpoint.filter(|_| facts.of_incident() == Some(IncidentTrigger::Opened))?;
    let cooldown_ms = u64::from(endpoint.definition.cooldown_seconds) * 1_000;
    let last = endpoint.last_opening_at.filter(|_| !facts.has_priority())?;
    // An opening that lies ahead was made before the clock was set back: it counts from here.
    let ends_at = last.min(now).plus_ms(cooldown_ms);
    (now < ends_at).then(|| {
        let words = duration_words(cooldown_ms);
        let until = facts.zone.words(ends_at, now);
        Stop::suppress(format!(
            "{} cools down until {until}: its last outage was said less than {words} ago",
            endpoint.name
        ))
        .until(ends_at)
    })
}
