//! Gate 2: the channel is disabled.

use super::{Facts, Stop};
use crate::channel::DisabledReason;

pub(super) fn ask(facts: &Facts<'_>) -> Option<Stop> {
    let channel = facts.channel;
    (!channel.enabled).then(|| {
        Stop::suppress(match channel.disabled_reason {
            Some(DisabledReason::Gone) => {
                format!("{} was disabled because its receiver answered 410 Gone", channel.name)
            }
            None => format!("{} is disabled", channel.name),
        })
    })
}
