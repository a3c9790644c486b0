//! Gate 12: the channel takes no more in this minute. Channels of critical priority pass.
//!
//! It is asked last, and not by the walk but where admissions are counted: in the transaction that accepts.

use super::{Facts, Gate, Opening, Stop, Walk};
use crate::calendar::Zone;
use crate::rate_limit::{RateAction, RateLimit};
use crate::time::Timestamp;

/// The limit that a delivery which passed all other gates must ask, if there is one.
pub fn is_asked(facts: &Facts<'_>) -> Option<RateLimit> {
    let limit = facts.channel.policies.rate_limit?;
    (!facts.has_priority() && *facts.opening != Opening::Said).then_some(limit)
}

/// The walk of a delivery that the limit refuses until `free_at`.
pub fn refused(
    walk: Walk,
    limit: &RateLimit,
    channel_name: &str,
    free_at: Timestamp,
    now: Timestamp,
    zone: &Zone,
) -> Walk {
    let detail = limit.words(channel_name, free_at, now, zone);
    walk.stopped_at_last(
        Gate::RateLimit,
        match limit.action {
            RateAction::Digest => Stop::hold(detail, free_at),
            RateAction::Drop => Stop::suppress(detail).until(free_at),
        },
    )
}
