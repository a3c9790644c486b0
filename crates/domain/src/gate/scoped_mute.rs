//! Gate 7: the endpoint or the channel is muted.

use super::{GateInput, Refusal};
use crate::mute::{self, Mute};
use crate::time::Timestamp;

pub(super) fn ask(facts: &GateInput<'_>, now: Timestamp) -> Option<Refusal> {
    let endpoint_id = facts.endpoint.map(|endpoint| endpoint.id);
    mute::scoped(facts.mutes, endpoint_id, facts.channel.id, now).map(|mute| stop(mute, facts, now))
}

/// The refusal of this mute.
pub(super) fn stop(mute: &Mute, facts: &GateInput<'_>, now: Timestamp) -> Refusal {
    Refusal { until: mute.expires_at, mute_id: Some(mute.id), ..Refusal::suppress(mute.describe(now, facts.zone)) }
}
