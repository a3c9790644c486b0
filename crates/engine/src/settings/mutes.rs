//! The preferences of a workspace, with its global mute.

use tidings_domain::access::Actor;
use tidings_domain::calendar::validate_timezone;
use tidings_domain::channel::EventFilters;
use tidings_domain::id::WorkspaceId;
use tidings_domain::mute::{Mute, MuteScope};
use tidings_domain::severity::SeverityFilter;
use tidings_domain::time::Timestamp;
use tidings_store::settings::{ConfigChange, Preferences};

use super::{CommitError, Settings};
use crate::Result;
use crate::clock::new_id;
use crate::error::EngineError;

/// An edit of a workspace's preferences: `None` keeps a field.
#[derive(Debug, Clone, Default)]
pub struct PreferencesEdit {
    /// Until when everything is muted; `Some(None)` ends the global mute.
    pub global_mute_until: Option<Option<Timestamp>>,
    /// Of new channels.
    pub default_severity_filter: Option<SeverityFilter>,
    /// Of new channels.
    pub default_event_filters: Option<EventFilters>,
    /// IANA name of the time zone of times in messages.
    pub timezone: Option<String>,
}

impl Settings {
    /// Edits the preferences of a workspace. A global mute set here replaces all other global mutes.
    pub(crate) async fn edit_preferences(
        &self,
        workspace_id: WorkspaceId,
        edit: PreferencesEdit,
        by: &Actor,
    ) -> Result<()> {
        let view = self.view(workspace_id)?;
        let mut preferences = view.preferences.clone();
        preferences.default_severity_filter =
            edit.default_severity_filter.unwrap_or(preferences.default_severity_filter);
        preferences.default_event_filters = edit.default_event_filters.unwrap_or(preferences.default_event_filters);
        if let Some(timezone) = edit.timezone {
            if let Some(violation) = validate_timezone(&timezone) {
                return Err(EngineError::Invalid(vec![violation]));
            }
            preferences.timezone = timezone;
        }
        let mut changes = preference_changes(&view.preferences, preferences);
        if let Some(until) = edit.global_mute_until {
            let now = self.clock.now();
            let others = view.mutes.iter().filter(|mute| mute.scope == MuteScope::Global);
            changes.extend(others.map(|mute| ConfigChange::EndMute(mute.id, now)));
            if let Some(until) = until {
                let mute = Mute {
                    id: new_id(self.clock.as_ref(), now),
                    workspace_id,
                    scope: MuteScope::Global,
                    // `Engine::preferences` returns this instant for a mute without an end.
                    expires_at: Some(until).filter(|until| until.unix_ms() < i64::MAX),
                    reason: String::new(),
                    created_by: by.clone(),
                    created_at: now,
                    ends_on_recovery: false,
                };
                if !mute.violations().is_empty() {
                    let message = "must lie in the future, or be null for no mute";
                    return Err(EngineError::invalid("/globalMuteUntil", message));
                }
                changes.push(ConfigChange::PutMute(mute));
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        match self.commit(workspace_id, changes).await {
            Ok(()) => Ok(()),
            Err(CommitError::Failed(error)) => Err(error),
            // A mute was deleted meanwhile.
            Err(_) => Err(EngineError::RevisionMismatch),
        }
    }
}

fn preference_changes(before: &Preferences, after: Preferences) -> Vec<ConfigChange> {
    if *before == after { Vec::new() } else { vec![ConfigChange::SetPreferences(after)] }
}
