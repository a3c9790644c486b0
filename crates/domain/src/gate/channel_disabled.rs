//! Gate 2: the channel is disabled.

use super::{GateInput, Refusal};
use crate::channel::DisabledReason;

pub(super) fn ask(facts: &GateInput<'_>) -> Option<Refusal> {
    let channel = facts.channel;
    (!channel.enabled).then(|| {
        Refusal::suppress(match channel.disabled_reason {
            Some(DisabledReason::Gone) => {
                format!("{} was disabled because its receiver answered 410 Gone", channel.name)
            }
            None => format!("{} is disabled", channel.name),
        })
    })
}
