//! Gate 7: the endpoint or the channel is muted.

use super::{Facts, Stop};
use crate::mute::{self, Mute};
use crate::time::Timestamp;

pub(super) fn ask(facts: &Facts<'_>, now: Timestamp) -> Option<Stop> {
    let endpoint_id = facts.endpoint.map(|endpoint| endpoint.id);
    mute::scoped(facts.mutes, endpoint_id, facts.channel.id, now).map(|mute| stop(mute, facts, now))
}

/// The refusal of this mute.
pub(super) fn stop(mute: &Mute, facts: &Facts<'_>, now: Timestamp) -> Stop {
    Stop { until: mute.expires_at, mute_id: Some(mute.id), ..Stop::suppress(mute.words(now, facts.zone)) }
}
