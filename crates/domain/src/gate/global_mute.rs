//! Gate 4: everything is muted.

use super::{GateInput, Refusal, scoped_mute};
use crate::mute;
use crate::time::Timestamp;

pub(super) fn ask(facts: &GateInput<'_>, now: Timestamp) -> Option<Refusal> {
    mute::global(facts.mutes, now).map(|mute| scoped_mute::stop(mute, facts, now))
}
