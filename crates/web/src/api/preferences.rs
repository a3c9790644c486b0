//! `/notification-preferences`: what a workspace prefers, the mute of everything included.

use tidings_domain::time::Timestamp;
use tidings_engine::settings::mutes::PreferencesEdit;

use crate::answer::{Answer, ok};
use crate::auth::{Reader, Writer};
use crate::body::Object;
use crate::fields::Fields;
use crate::query::{INSTANT_FORM, Query};
use crate::view::preferences::{FOREVER, Preferences, Written};

use super::policies::{event_filters, severity_filter};

/// What the workspace prefers.
pub(super) async fn one(reader: Reader, query: Query) -> Answer {
    query.finish(|| Some(()))?;
    let (preferences, muted_until) = reader.engine().preferences(reader.workspace_id())?;
    ok(&Preferences::of(&preferences, muted_until))
}

/// Edits it.
pub(super) async fn edit(writer: Writer, object: Object) -> Answer {
    let (engine, workspace_id) = (writer.engine(), writer.workspace_id());
    let (before, _) = engine.preferences(workspace_id)?;
    let mut fields = Fields::new(object);
    let edit = PreferencesEdit {
        global_mute_until: muted_until(&mut fields),
        default_severity_filter: severity_filter(&mut fields, "defaultSeverityFilter"),
        default_event_filters: event_filters(&mut fields, "defaultEventFilters", before.default_event_filters),
        timezone: fields.text("timezone"),
    };
    let edit = fields.finish(|| Some(edit))?;
    engine.edit_preferences(workspace_id, edit, writer.by()).await?;
    let (preferences, muted_until) = engine.preferences(workspace_id)?;
    ok(&Written::of(&preferences, muted_until))
}

/// Until when everything is to be muted; `null` for not at all, and what a mute without an end is shown as for one.
fn muted_until(fields: &mut Fields) -> Option<Option<Timestamp>> {
    const KEY: &str = "globalMuteUntil";
    if fields.take_null(KEY) {
        return Some(None);
    }
    let forever = |text: &str| (text == FOREVER).then_some(Timestamp::from_unix_ms(i64::MAX));
    fields.parsed(KEY, INSTANT_FORM, |text| forever(text).or_else(|| Timestamp::parse(text))).map(Some)
}
