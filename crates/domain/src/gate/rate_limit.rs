//! Gate 12: the channel takes no more in this minute. Channels of critical priority pass.
//!
//! It is asked last, and not by the evaluation but where admissions are counted: in the transaction that accepts.

use super::{Gate, GateEvaluation, GateInput, OpeningOutcome, Refusal};
use crate::calendar::Zone;
use crate::rate_limit::{RateAction, RateLimit};
use crate::time::Timestamp;

/// The limit that a delivery which passed all other gates must ask, if there is one.
pub fn applies(facts: &GateInput<'_>) -> Option<RateLimit> {
    let limit = facts.channel.policies.rate_limit?;
    (!facts.has_priority() && *facts.opening != OpeningOutcome::Sent).then_some(limit)
}

/// The evaluation of a delivery that the limit refuses until `next_slot_at`.
pub fn refusal(
    evaluation: GateEvaluation,
    limit: &RateLimit,
    channel_name: &str,
    next_slot_at: Timestamp,
    now: Timestamp,
    zone: &Zone,
) -> GateEvaluation {
    let detail = limit.describe(channel_name, next_slot_at, now, zone);
    evaluation.stopped_at(
        Gate::RateLimit,
        match limit.action {
            RateAction::Digest => Refusal::hold(detail, next_slot_at),
            RateAction::Drop => Refusal::suppress(detail).until(next_slot_at),
        },
    )
}
