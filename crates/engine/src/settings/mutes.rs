//! Mutes, and the preferences of a workspace.

use tidings_domain::access::Actor;
use tidings_domain::calendar::validate_timezone;
use tidings_domain::channel::EventFilters;
use tidings_domain::id::{MuteId, WorkspaceId};
use tidings_domain::mute::{Mute, MuteScope};
use tidings_domain::severity::SeverityFilter;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::Violation;
use tidings_store::settings::{ConfigChange, Preferences};

use super::{CommitError, Settings};
use crate::Result;
use crate::clock::new_id;
use crate::error::EngineError;
use crate::snapshot::WorkspaceView;

/// The most active mutes of a workspace. Every gate evaluation scans them.
const MUTES_MAX: u32 = 1_000;

/// A mute to create.
#[derive(Debug, Clone)]
pub struct NewMute {
    pub scope: MuteScope,
    /// None if it lasts until it is deleted.
    pub expires_at: Option<Timestamp>,
    pub reason: String,
    pub created_by: Actor,
    /// Whether it also ends when the endpoint's incident is resolved.
    pub ends_on_recovery: bool,
}

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
    pub(crate) async fn create_mute(&self, workspace_id: WorkspaceId, new: NewMute) -> Result<Mute> {
        let view = self.view(workspace_id)?;
        let mute = self.new_mute(workspace_id, new);
        if view.mutes.iter().filter(|it| it.is_active(mute.created_at)).count() >= MUTES_MAX as usize {
            return Err(EngineError::Quota { what: "mutes", max: MUTES_MAX });
        }
        let mut violations = mute.violations();
        if !target_exists(&view, mute.scope) {
            violations.push(no_such_target());
        }
        if !violations.is_empty() {
            return Err(EngineError::Invalid(violations));
        }
        match self.commit(workspace_id, vec![ConfigChange::PutMute(mute.clone())]).await {
            Ok(()) => Ok(mute),
            Err(CommitError::Failed(error)) => Err(error),
            // The target was deleted meanwhile.
            Err(_) => Err(EngineError::Invalid(vec![no_such_target()])),
        }
    }

    fn new_mute(&self, workspace_id: WorkspaceId, new: NewMute) -> Mute {
        let now = self.clock.now();
        let NewMute { scope, expires_at, reason, created_by, ends_on_recovery } = new;
        Mute {
            id: new_id(self.clock.as_ref(), now),
            workspace_id,
            scope,
            expires_at,
            reason,
            created_by,
            created_at: now,
            ends_on_recovery,
        }
    }

    pub(crate) async fn delete_mute(&self, workspace_id: WorkspaceId, id: MuteId) -> Result<()> {
        match self.commit(workspace_id, vec![ConfigChange::DeleteMute(id)]).await {
            Ok(()) => Ok(()),
            Err(CommitError::Failed(error)) => Err(error),
            Err(_) => Err(EngineError::NotFound("mute")),
        }
    }

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
            let others = view.mutes.iter().filter(|mute| mute.scope == MuteScope::Global);
            changes.extend(others.map(|mute| ConfigChange::DeleteMute(mute.id)));
            if let Some(until) = until {
                let mute = self.new_mute(
                    workspace_id,
                    NewMute {
                        scope: MuteScope::Global,
                        // `Engine::preferences` returns this instant for a mute without an end.
                        expires_at: Some(until).filter(|until| until.unix_ms() < i64::MAX),
                        reason: String::new(),
                        created_by: by.clone(),
                        ends_on_recovery: false,
                    },
                );
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

fn no_such_target() -> Violation {
    Violation::new("/targetId", "there is no such endpoint or channel in this workspace")
}

fn preference_changes(before: &Preferences, after: Preferences) -> Vec<ConfigChange> {
    if *before == after { Vec::new() } else { vec![ConfigChange::SetPreferences(after)] }
}

fn target_exists(view: &WorkspaceView, scope: MuteScope) -> bool {
    match scope {
        MuteScope::Global => true,
        MuteScope::Endpoint(id) => view.endpoint(id).is_some(),
        MuteScope::Channel(id) => view.channel(id).is_some(),
    }
}
