//! Beside the table: it is over, and nobody was told that it had begun.

use super::{GateInput, OpeningOutcome, Refusal};

pub(super) fn ask(facts: &GateInput<'_>) -> Option<Refusal> {
    (*facts.opening == OpeningOutcome::NotSent)
        .then(|| Refusal::suppress(format!("{} was never told that it had begun", facts.channel.name)))
}
