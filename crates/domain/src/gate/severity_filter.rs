//! Gate 5: the channel does not take this severity. A successful run ranks as `info`; good news of an incident always
//! passes, so that whoever heard that it began hears that it is over.

use super::{Facts, Stop};

pub(super) fn ask(facts: &Facts<'_>) -> Option<Stop> {
    let filter = facts.channel.policies.severity_filter;
    (!facts.is_recovery() && !filter.admits(facts.severity)).then(|| {
        Stop::suppress(format!(
            "{} takes {} and this is {}",
            facts.channel.name,
            filter.as_str(),
            facts.severity.as_str()
        ))
    })
}
