//! `/notification-preferences`: defaults of a workspace, and its global mute.

use serde::{Deserialize, Serialize};
use tidings_domain::audit::{AuditTarget, AuditVerb};
use tidings_domain::calendar::{Zone, validate_timezone};
use tidings_domain::channel::EventFilters;
use tidings_domain::mute::{self, MuteScope};
use tidings_domain::severity::SeverityFilter;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::Violations;
use tidings_engine::settings::ConfigPlan;
use tidings_engine::snapshot::WorkspaceView;
use tidings_store::settings::ConfigChange;
use utoipa::ToSchema;

use crate::audit::Change;
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::mutes::{self, MuteDraft, Scope};
use crate::principal::{Authorized, Configure, Read};
use crate::response::Response;

/// How the end of a global mute without an end is written. It is later than any [`Timestamp`].
const FOREVER: &str = "9999-12-31T23:59:59.999Z";

/// The preferences of a workspace: read, and edited by a merge patch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"globalMuteUntil": null, "defaultSeverityFilter": "warning+"}))]
pub struct Preferences {
    /// Until when everything is muted: null for not, `9999-12-31T23:59:59.999Z` for until it is ended. Setting it replaces all
    /// mutes of scope `global`.
    #[serde(default)]
    pub global_mute_until: Option<String>,
    /// Of new channels.
    #[serde(default)]
    pub default_severity_filter: SeverityFilter,
    /// Of new channels.
    #[serde(default)]
    pub default_event_filters: EventFilters,
    /// The IANA name of the time zone of times in messages and verdicts.
    #[serde(default)]
    pub timezone: String,
}

/// Preferences that were edited.
#[derive(Debug, Serialize, ToSchema)]
pub struct PreferencesSaved {
    pub preferences: Preferences,
}

impl Response for Preferences {}

impl Response for PreferencesSaved {}

impl Preferences {
    fn of(view: &WorkspaceView, now: Timestamp) -> Self {
        let end = |mute: &mute::Mute| mute.expires_at.map_or_else(|| FOREVER.to_owned(), |at| at.to_string());
        let stored = &view.preferences;
        Self {
            global_mute_until: mute::global(&view.mutes, now).map(end),
            default_severity_filter: stored.default_severity_filter,
            default_event_filters: stored.default_event_filters,
            // UTC is also in effect where the stored name is no zone.
            timezone: Zone::from_name(&stored.timezone).map_or_else(|| "UTC".to_owned(), |_| stored.timezone.clone()),
        }
    }
}

/// The preferences.
///
/// # Errors
/// If the workspace was deleted meanwhile.
pub fn one(by: &Authorized<Read>) -> Result<Preferences> {
    Ok(Preferences::of(&*by.view()?, by.now()))
}

/// Edits the preferences: `change` makes the new ones of the present ones. `sets_global_mute` says whether the caller set the
/// global mute, be it to what it is: this replaces all mutes of that scope.
///
/// # Errors
/// [`AppError::Invalid`].
pub async fn edit(
    by: &Authorized<Configure>,
    sets_global_mute: bool,
    change: impl Fn(&Preferences) -> std::result::Result<Input<Preferences>, Violations>,
) -> Result<PreferencesSaved> {
    let plan = |view: &WorkspaceView, now| {
        let before = Preferences::of(view, now);
        let mut input = change(&before)?;
        input.refuse(validate_timezone(&input.value.timezone));
        let until = input.value.global_mute_until.clone();
        let mute = until.filter(|_| sets_global_mute).and_then(|until| match global_mute(by, &until, now) {
            Some(mute) if mute.violations().is_empty() => Some(mute),
            Some(_) => {
                input.refuse_field("/globalMuteUntil", "must lie in the future, or be null for no mute");
                None
            }
            None => {
                input.refuse_field("/globalMuteUntil", format!("must be an RFC 3339 timestamp, or {FOREVER}"));
                None
            }
        });
        let after = input.finish()?;
        let mut changes = stored_changes(view, &after);
        if sets_global_mute {
            let others = view.mutes.iter().filter(|mute| mute.scope == MuteScope::Global);
            changes.extend(others.map(|mute| ConfigChange::EndMute(mute.id, now)));
            changes.extend(mute.map(ConfigChange::PutMute));
        }
        if !changes.is_empty() {
            let id = by.workspace_id().to_string();
            let change = Change { id, name: "", before: Some(&before), after: Some(&after) };
            changes.push(by.audit(AuditTarget::Preferences.action(AuditVerb::Updated), &change, now, |_| {}));
        }
        Ok::<_, AppError>(ConfigPlan { changes, value: () })
    };
    by.engine().settings().update(by.workspace_id(), plan).await?;
    Ok(PreferencesSaved { preferences: Preferences::of(&*by.view()?, by.now()) })
}

/// A global mute until this instant; `None` if it is none.
fn global_mute(by: &Authorized<Configure>, until: &str, now: Timestamp) -> Option<mute::Mute> {
    let expires_at = if until == FOREVER { None } else { Some(Timestamp::parse(until)?) };
    let draft =
        MuteDraft { scope: Scope::Global, target_id: None, expires_at, reason: String::new(), ends_on_recovery: false };
    Some(mutes::new_mute(by, MuteScope::Global, &draft, now))
}

fn stored_changes(view: &WorkspaceView, after: &Preferences) -> Vec<ConfigChange> {
    let mut stored = view.preferences.clone();
    stored.default_severity_filter = after.default_severity_filter;
    stored.default_event_filters = after.default_event_filters;
    stored.timezone.clone_from(&after.timezone);
    if stored == view.preferences { Vec::new() } else { vec![ConfigChange::SetPreferences(stored)] }
}
