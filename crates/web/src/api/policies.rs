//! The filters of the preferences in request bodies.

use tidings_domain::channel::EventFilters;
use tidings_domain::severity::SeverityFilter;

use crate::fields::{Fields, one_of};

pub(super) fn severity_filter(fields: &mut Fields, key: &'static str) -> Option<SeverityFilter> {
    let filters = [SeverityFilter::Info, SeverityFilter::Warning, SeverityFilter::Critical];
    fields.parsed(key, &one_of(filters.map(SeverityFilter::as_str)), SeverityFilter::parse)
}

/// Event filters, merged over `before`.
pub(super) fn event_filters(fields: &mut Fields, key: &'static str, before: EventFilters) -> Option<EventFilters> {
    fields.nested(key, |nested| {
        Some(EventFilters {
            send_open: nested.boolean("sendOpen").unwrap_or(before.send_open),
            send_resolved: nested.boolean("sendResolved").unwrap_or(before.send_resolved),
            send_escalated: nested.boolean("sendEscalated").unwrap_or(before.send_escalated),
        })
    })
}
