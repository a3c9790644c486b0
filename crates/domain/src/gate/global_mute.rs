//! Gate 4: everything is muted.

use super::{Facts, Stop, scoped_mute};
use crate::mute;
use crate::time::Timestamp;

pub(super) fn ask(facts: &Facts<'_>, now: Timestamp) -> Option<Stop> {
    mute::global(facts.mutes, now).map(|mute| scoped_mute::stop(mute, facts, now))
}
