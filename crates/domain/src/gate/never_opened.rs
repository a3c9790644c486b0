//! Beside the table: it is over, and nobody was told that it had begun.

use super::{Facts, Opening, Stop};

pub(super) fn ask(facts: &Facts<'_>) -> Option<Stop> {
    (*facts.opening == Opening::Unsaid)
        .then(|| Stop::suppress(format!("{} was never told that it had begun", facts.channel.name)))
}
