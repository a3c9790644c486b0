//! `/mutes`: suppress notifications of an endpoint, a channel or everything, with or without an end.

use http::StatusCode;
use serde::Serialize;
use tidings_domain::id::MuteId;
use tidings_domain::mute::{Mute, MuteScope};
use tidings_domain::time::Timestamp;
use tidings_engine::settings::mutes::NewMute;

use crate::auth::{Authorized, PathId, Read, Write};
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::page::List;
use crate::query::{INSTANT_FORM, Query};
use crate::response::{ApiResult, json, no_content, ok};

#[derive(Serialize)]
struct MuteResponse<'a> {
    mute: MuteView<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MuteView<'a> {
    id: MuteId,
    scope: &'a str,
    target_id: Option<String>,
    expires_at: Option<Timestamp>,
    reason: &'a str,
    ends_on_recovery: bool,
    created_by: &'a str,
    created_at: Timestamp,
}

impl<'a> MuteView<'a> {
    fn of(mute: &'a Mute) -> Self {
        Self {
            id: mute.id,
            scope: mute.scope.as_str(),
            target_id: mute.scope.target_id(),
            expires_at: mute.expires_at,
            reason: &mute.reason,
            ends_on_recovery: mute.ends_on_recovery,
            created_by: &mute.created_by.name,
            created_at: mute.created_at,
        }
    }
}

/// The mutes that have not ended, oldest first.
pub(super) async fn list(caller: Authorized<Read>, query: Query) -> ApiResult {
    query.finish(|| Some(()))?;
    let mutes = caller.engine().mutes(caller.workspace_id())?;
    ok(&List::complete(mutes.iter().map(MuteView::of).collect()))
}

/// Creates a mute.
pub(super) async fn create(caller: Authorized<Write>, object: Object) -> ApiResult {
    let mut fields = Fields::null_as_absent(object);
    let scope = fields
        .parsed("scope", &one_of(MuteScope::NAMES), |word| MuteScope::NAMES.contains(&word).then(|| word.to_owned()));
    let scope = fields.required("scope", scope);
    let target_id = fields.text("targetId");
    let scope = scope.and_then(|word| match MuteScope::parse(&word, target_id.as_deref()) {
        Ok(scope) => Some(scope),
        Err(violation) => {
            fields.refuse_once(violation.pointer.trim_start_matches('/'), violation.message);
            None
        }
    });
    let expires_at = fields.parsed("expiresAt", INSTANT_FORM, Timestamp::parse);
    let reason = fields.text("reason").unwrap_or_default();
    let ends_on_recovery = fields.boolean("endsOnRecovery").unwrap_or(false);
    let created_by = caller.actor().clone();
    let new = fields.finish(|| Some(NewMute { scope: scope?, expires_at, reason, created_by, ends_on_recovery }))?;
    let mute = caller.engine().create_mute(caller.workspace_id(), new).await?;
    Ok(json(StatusCode::CREATED, &MuteResponse { mute: MuteView::of(&mute) }))
}

/// Deletes a mute.
pub(super) async fn delete(caller: Authorized<Write>, PathId(id): PathId<MuteId>) -> ApiResult {
    caller.engine().delete_mute(caller.workspace_id(), id).await?;
    no_content()
}
