//! The policies of a channel in request bodies: read field by field, nested objects merged over the present ones.

use serde_json::{Map, Value};
use tidings_domain::calendar::DAYS;
use tidings_domain::channel::{DeliveryPriority, EventFilters, Policies};
use tidings_domain::quiet_hours::{QuietAction, QuietHours};
use tidings_domain::rate_limit::{RateAction, RateLimit};
use tidings_domain::severity::SeverityFilter;

use crate::fields::{Fields, INTEGER_MAX, one_of, whole_number};

/// The policies in a body; `None` for absent ones.
pub(super) struct PoliciesEdit {
    pub severity_filter: Option<SeverityFilter>,
    pub event_filters: Option<EventFilters>,
    pub delivery_priority: Option<DeliveryPriority>,
    pub quiet_hours: Option<Option<QuietHours>>,
    pub rate_limit: Option<Option<RateLimit>>,
    pub retry_on_failure: Option<bool>,
    pub retry_delays_seconds: Option<Option<Vec<u32>>>,
    pub timeout_ms: Option<u32>,
}

impl PoliciesEdit {
    /// Reads them; nested objects are merged over those of `before`.
    pub(super) fn read(fields: &mut Fields, before: &Policies) -> Self {
        let priorities = one_of(DeliveryPriority::ALL.map(DeliveryPriority::as_str));
        Self {
            severity_filter: severity_filter(fields, "severityFilter"),
            event_filters: event_filters(fields, "eventFilters", before.event_filters),
            delivery_priority: fields.parsed("deliveryPriority", &priorities, DeliveryPriority::parse),
            quiet_hours: quiet_hours(fields, before.quiet_hours.as_ref()),
            rate_limit: rate_limit(fields, before.rate_limit),
            retry_on_failure: fields.boolean("retryOnFailure"),
            retry_delays_seconds: retry_delays(fields),
            timeout_ms: fields.integer("timeoutMs", 0, INTEGER_MAX).map(clamped),
        }
    }

    /// `before` with this edit applied.
    pub(super) fn over(self, before: Policies) -> Policies {
        Policies {
            severity_filter: self.severity_filter.unwrap_or(before.severity_filter),
            event_filters: self.event_filters.unwrap_or(before.event_filters),
            delivery_priority: self.delivery_priority.unwrap_or(before.delivery_priority),
            quiet_hours: self.quiet_hours.unwrap_or(before.quiet_hours),
            rate_limit: self.rate_limit.unwrap_or(before.rate_limit),
            retry_on_failure: self.retry_on_failure.unwrap_or(before.retry_on_failure),
            retry_delays_seconds: self.retry_delays_seconds.unwrap_or(before.retry_delays_seconds),
            timeout_ms: self.timeout_ms.unwrap_or(before.timeout_ms),
        }
    }
}

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

/// An object that may be `null`, which is `Some(None)`; else it is merged over `before`.
fn optional<T>(
    fields: &mut Fields,
    key: &'static str,
    before: Option<Value>,
    read: impl FnOnce(&mut Fields) -> Option<T>,
) -> Option<Option<T>> {
    if fields.take_null(key) {
        return Some(None);
    }
    let before = match before {
        Some(Value::Object(object)) => object,
        _ => Map::new(),
    };
    fields.nested_with_defaults(key, before, read).map(Some)
}

fn quiet_hours(fields: &mut Fields, before: Option<&QuietHours>) -> Option<Option<QuietHours>> {
    let before = before.and_then(|hours| serde_json::to_value(hours).ok());
    optional(fields, "quietHours", before, |nested| {
        let [start, end, timezone] = ["start", "end", "timezone"].map(|key| {
            let text = nested.text(key);
            nested.required(key, text)
        });
        let days =
            nested.words("days", DAYS.len(), &one_of(DAYS), |word| DAYS.contains(&word).then(|| word.to_owned()));
        let action = nested.parsed("action", &one_of(QuietAction::ALL.map(QuietAction::as_str)), QuietAction::parse);
        let critical_passes = nested.boolean("criticalPasses").unwrap_or(true);
        Some(QuietHours {
            start: start?,
            end: end?,
            timezone: timezone?,
            days: days.unwrap_or_default(),
            action: action.unwrap_or_default(),
            critical_passes,
        })
    })
}

fn rate_limit(fields: &mut Fields, before: Option<RateLimit>) -> Option<Option<RateLimit>> {
    let before = before.and_then(|limit| serde_json::to_value(limit).ok());
    optional(fields, "rateLimit", before, |nested| {
        let max_per_minute = nested.integer("maxPerMinute", 0, INTEGER_MAX).map(clamped);
        let max_per_minute = nested.required("maxPerMinute", max_per_minute);
        let action = nested.parsed("action", &one_of(RateAction::ALL.map(RateAction::as_str)), RateAction::parse);
        Some(RateLimit { max_per_minute: max_per_minute?, action: action.unwrap_or_default() })
    })
}

/// Clamps to `u32`: the engine validates the bounds, which are far below.
fn clamped(number: u64) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

/// The channel's own retry delays; `null` for the defaults of the resource type.
fn retry_delays(fields: &mut Fields) -> Option<Option<Vec<u32>>> {
    const KEY: &str = "retryDelaysSeconds";
    let items = match fields.take(KEY)? {
        Value::Null => return Some(None),
        Value::Array(items) => items,
        _ => {
            fields.refuse(KEY, "must be a list of delays in seconds, or null for the defaults");
            return None;
        }
    };
    let mut delays = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        match whole_number(item) {
            Some(seconds) => delays.push(clamped(seconds)),
            None => fields.refuse_item(KEY, index, "must be a whole number of seconds"),
        }
    }
    Some(Some(delays))
}
