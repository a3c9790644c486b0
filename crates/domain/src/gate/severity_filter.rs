//! Gate 5: the channel does not take this severity. A successful run sort keys as `info`; good news of an incident always
//! passes, so that whoever heard that it began hears that it is over.

use super::{GateInput, Refusal};

pub(super) fn ask(facts: &GateInput<'_>) -> Option<Refusal> {
    let filter = facts.channel.policies.severity_filter;
    (!facts.is_recovery() && !filter.admits(facts.severity)).then(|| {
        Refusal::suppress(format!(
            "{} takes {} and this is {}",
            facts.channel.name,
            filter.as_str(),
            facts.severity.as_str()
        ))
    })
}
