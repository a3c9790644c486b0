//! Gate 10: the channel's quiet hours. What is critical passes unless they include it.

use super::{Facts, Stop};
use crate::quiet_hours::QuietAction;
use crate::time::Timestamp;

pub(super) fn ask(facts: &Facts<'_>, now: Timestamp) -> Option<Stop> {
    let channel = facts.channel;
    let hours = channel.policies.quiet_hours.as_ref().filter(|hours| hours.covers(facts.severity))?;
    let ends_at = hours.ends_at(now)?;
    let detail = hours.words(&channel.name, ends_at, now);
    Some(match hours.action {
        QuietAction::Hold => Stop::hold(detail, ends_at),
        QuietAction::Drop => Stop::suppress(detail).until(ends_at),
    })
}
