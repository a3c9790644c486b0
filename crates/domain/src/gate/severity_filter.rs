//! Gate 5: the channel does not take this severity. A successful run ranks as `info`.

use super::{Facts, Stop};

pub(super) fn ask(facts: &Facts<'_>) -> Option<Stop> {
    let filter = facts.channel.policies.severity_filter;
    (!filter.admits(facts.severity)).then(|| {
        Stop::suppress(format!(
            "{} takes {} and this is {}",
            facts.channel.name,
            filter.as_str(),
            facts.severity.as_str()
        ))
    })
}
