//! `/notification-preferences`: defaults of a workspace, and its global mute.

use std::borrow::Cow;

use serde::Serialize;
use tidings_domain::calendar::Zone;
use tidings_domain::channel::EventFilters;
use tidings_domain::time::Timestamp;
use tidings_engine::settings::mutes::PreferencesEdit;
use tidings_store::settings::Preferences;

use crate::auth::{Authorized, Read, Write};
use crate::body::Object;
use crate::fields::Fields;
use crate::query::{INSTANT_FORM, Query};
use crate::response::{ApiResult, ok};

use super::policies::{event_filters, severity_filter};

#[derive(Serialize)]
struct PreferencesResponse<'a> {
    preferences: PreferencesView<'a>,
}

/// How the end of a global mute without an end is written. No timestamp that a request may hold is this late.
const FOREVER: &str = "9999-12-31T23:59:59.999Z";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PreferencesView<'a> {
    global_mute_until: Option<Cow<'static, str>>,
    default_severity_filter: &'a str,
    default_event_filters: EventFilters,
    timezone: &'a str,
}

impl<'a> PreferencesView<'a> {
    fn of(preferences: &'a Preferences, muted_until: Option<Timestamp>) -> Self {
        let format = |until: Timestamp| match until.unix_ms() {
            i64::MAX => Cow::Borrowed(FOREVER),
            _ => Cow::Owned(until.to_string()),
        };
        Self {
            global_mute_until: muted_until.map(format),
            default_severity_filter: preferences.default_severity_filter.as_str(),
            default_event_filters: preferences.default_event_filters,
            // UTC is also in effect where the stored name is no zone.
            timezone: Zone::from_name(&preferences.timezone).map_or("UTC", |_| &preferences.timezone),
        }
    }
}

/// The preferences.
pub(super) async fn one(caller: Authorized<Read>, query: Query) -> ApiResult {
    query.finish(|| Some(()))?;
    let (preferences, muted_until) = caller.engine().preferences(caller.workspace_id())?;
    ok(&PreferencesView::of(&preferences, muted_until))
}

/// Edits the preferences.
pub(super) async fn edit(caller: Authorized<Write>, object: Object) -> ApiResult {
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    let (before, _) = engine.preferences(workspace_id)?;
    let mut fields = Fields::new(object);
    let edit = PreferencesEdit {
        global_mute_until: muted_until(&mut fields),
        default_severity_filter: severity_filter(&mut fields, "defaultSeverityFilter"),
        default_event_filters: event_filters(&mut fields, "defaultEventFilters", before.default_event_filters),
        timezone: fields.text("timezone"),
    };
    let edit = fields.finish(|| Some(edit))?;
    engine.edit_preferences(workspace_id, edit, caller.actor()).await?;
    let (preferences, muted_until) = engine.preferences(workspace_id)?;
    ok(&PreferencesResponse { preferences: PreferencesView::of(&preferences, muted_until) })
}

/// The end of the global mute: `null` removes the mute, [`FOREVER`] is a mute without an end, as in responses.
fn muted_until(fields: &mut Fields) -> Option<Option<Timestamp>> {
    const KEY: &str = "globalMuteUntil";
    if fields.take_null(KEY) {
        return Some(None);
    }
    let forever = |text: &str| (text == FOREVER).then_some(Timestamp::from_unix_ms(i64::MAX));
    fields.parsed(KEY, INSTANT_FORM, |text| forever(text).or_else(|| Timestamp::parse(text))).map(Some)
}
