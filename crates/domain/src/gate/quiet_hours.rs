//! Gate 10: the channel's quiet hours. What is critical passes unless they include it.

use super::{GateInput, Refusal};
use crate::quiet_hours::QuietAction;
use crate::time::Timestamp;

pub(super) fn ask(facts: &GateInput<'_>, now: Timestamp) -> Option<Refusal> {
    let channel = facts.channel;
    let hours = channel.policies.quiet_hours.as_ref().filter(|hours| hours.covers(facts.severity))?;
    let ends_at = hours.ends_at(now)?;
    let detail = hours.describe(&channel.name, ends_at, now);
    Some(match hours.action {
        QuietAction::Hold => Refusal::hold(detail, ends_at),
        QuietAction::Drop => Refusal::suppress(detail).until(ends_at),
    })
}
