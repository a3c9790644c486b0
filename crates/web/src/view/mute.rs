//! Mutes as they are shown.

use serde::Serialize;
use tidings_domain::id::MuteId;
use tidings_domain::time::Timestamp;

/// A mute.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Mute<'a> {
    id: MuteId,
    scope: &'a str,
    target_id: Option<String>,
    expires_at: Option<Timestamp>,
    reason: &'a str,
    ends_on_recovery: bool,
    created_by: &'a str,
    created_at: Timestamp,
}

impl<'a> Mute<'a> {
    pub(crate) fn of(mute: &'a tidings_domain::mute::Mute) -> Self {
        Self {
            id: mute.id,
            scope: mute.scope.as_str(),
            target_id: mute.scope.target_id(),
            expires_at: mute.expires_at,
            reason: &mute.reason,
            ends_on_recovery: mute.ends_on_recovery,
            created_by: &mute.created_by,
            created_at: mute.created_at,
        }
    }
}

/// The answer to a new one.
#[derive(Serialize)]
pub(crate) struct Written<'a> {
    mute: Mute<'a>,
}

impl<'a> Written<'a> {
    pub(crate) fn of(mute: &'a tidings_domain::mute::Mute) -> Self {
        Self { mute: Mute::of(mute) }
    }
}
