//! What a workspace prefers, as it is shown.

use std::borrow::Cow;

use serde::Serialize;
use tidings_domain::calendar::Zone;
use tidings_domain::channel::EventFilters;
use tidings_domain::time::Timestamp;

/// The end of a mute of everything that has none. No instant that is read lies so late.
pub(crate) const FOREVER: &str = "9999-12-31T23:59:59.999Z";

/// What a workspace prefers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Preferences<'a> {
    global_mute_until: Option<Cow<'static, str>>,
    default_severity_filter: &'a str,
    default_event_filters: EventFilters,
    timezone: &'a str,
}

impl<'a> Preferences<'a> {
    /// The preferences, and until when everything is muted, if it is.
    pub(crate) fn of(preferences: &'a tidings_store::settings::Preferences, muted_until: Option<Timestamp>) -> Self {
        let words = |until: Timestamp| match until.unix_ms() {
            i64::MAX => Cow::Borrowed(FOREVER),
            _ => Cow::Owned(until.to_string()),
        };
        Self {
            global_mute_until: muted_until.map(words),
            default_severity_filter: preferences.default_severity_filter.as_str(),
            default_event_filters: preferences.default_event_filters,
            // One that names no zone stands for UTC.
            timezone: Zone::from_name(&preferences.timezone).map_or("UTC", |_| &preferences.timezone),
        }
    }
}

/// The answer to an edit.
#[derive(Serialize)]
pub(crate) struct Written<'a> {
    preferences: Preferences<'a>,
}

impl<'a> Written<'a> {
    pub(crate) fn of(preferences: &'a tidings_store::settings::Preferences, muted_until: Option<Timestamp>) -> Self {
        Self { preferences: Preferences::of(preferences, muted_until) }
    }
}
