//! `/mutes`: who wants nothing said, of what and until when.

use http::StatusCode;
use tidings_domain::id::MuteId;
use tidings_domain::mute::MuteScope;
use tidings_domain::time::Timestamp;
use tidings_engine::settings::mutes::NewMute;

use crate::answer::{Answer, json, no_content, ok};
use crate::auth::{PathId, Reader, Writer};
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::page::List;
use crate::query::{INSTANT_FORM, Query};
use crate::view::mute::{Mute, Written};

/// The mutes that are not over, oldest first.
pub(super) async fn list(reader: Reader, query: Query) -> Answer {
    query.finish(|| Some(()))?;
    let mutes = reader.engine().mutes(reader.workspace_id())?;
    ok(&List::whole(mutes.iter().map(Mute::of).collect()))
}

/// Makes a mute.
pub(super) async fn create(writer: Writer, object: Object) -> Answer {
    let mut fields = Fields::where_null_is_absent(object);
    let scope = fields
        .parsed("scope", &one_of(MuteScope::NAMES), |word| MuteScope::NAMES.contains(&word).then(|| word.to_owned()));
    let scope = fields.required("scope", scope);
    let target_id = fields.text("targetId");
    let scope = scope.and_then(|word| match MuteScope::read(&word, target_id.as_deref()) {
        Ok(scope) => Some(scope),
        Err(violation) => {
            fields.refuse_once(violation.pointer.trim_start_matches('/'), violation.message);
            None
        }
    });
    let expires_at = fields.parsed("expiresAt", INSTANT_FORM, Timestamp::parse);
    let reason = fields.text("reason").unwrap_or_default();
    let ends_on_recovery = fields.boolean("endsOnRecovery").unwrap_or(false);
    let created_by = writer.by().to_owned();
    let new = fields.finish(|| Some(NewMute { scope: scope?, expires_at, reason, created_by, ends_on_recovery }))?;
    let mute = writer.engine().create_mute(writer.workspace_id(), new).await?;
    Ok(json(StatusCode::CREATED, &Written::of(&mute)))
}

/// Deletes a mute.
pub(super) async fn delete(writer: Writer, PathId(id): PathId<MuteId>) -> Answer {
    writer.engine().delete_mute(writer.workspace_id(), id).await?;
    no_content()
}
