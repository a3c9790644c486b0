//! `/channels`: shared channels and their policies. A channel that a rule owns is not visible here.

use http::StatusCode;
use tidings_domain::channel::{Channel, ChannelType, Policies};
use tidings_domain::id::ChannelId;
use tidings_engine::EngineError;
use tidings_engine::queue::Health;
use tidings_engine::settings::{ChannelEdit, NewChannel, OVERLAP_MS_DEFAULT, OVERLAP_MS_MAX};

use crate::auth::{Authorized, PathId, Read, Write};
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::problem::Problem;
use crate::query::Query;
use crate::response::{ApiResult, no_content, ok};
use crate::revision::IfMatch;
use crate::view::{channel, test_send};

use super::policies::PoliciesEdit;

/// Attempts of an edit without `If-Match` that conflicts with concurrent edits.
const ATTEMPTS_MAX: u32 = 5;

/// The shared channels, oldest first.
pub(super) async fn list(caller: Authorized<Read>, query: Query) -> ApiResult {
    query.finish(|| Some(()))?;
    let engine = caller.engine();
    let channels = engine.channels(caller.workspace_id())?;
    let views = channels.iter().map(|channel| channel::Channel::of(channel, engine.channel_health(channel.id)));
    ok(&channel::Channels::of(views.collect(), engine.channel_quota(caller.workspace_id())?))
}

/// One channel.
pub(super) async fn one(caller: Authorized<Read>, PathId(id): PathId<ChannelId>) -> ApiResult {
    let channel = shared(caller.engine().channel(caller.workspace_id(), id)?)?;
    Ok(channel::response(&channel, caller.engine().channel_health(id)))
}

/// Creates a channel.
pub(super) async fn create(caller: Authorized<Write>, object: Object) -> ApiResult {
    let mut fields = Fields::null_as_absent(object);
    let name = fields.text("name");
    let name = fields.required("name", name);
    let types = one_of(ChannelType::ALL.map(ChannelType::as_str));
    let channel_type = fields.parsed("type", &types, ChannelType::parse);
    let channel_type = fields.required("type", channel_type);
    let config = fields.object("config");
    let config = fields.required("config", config);
    let enabled = fields.boolean("enabled").unwrap_or(true);
    let (preferences, _) = caller.engine().preferences(caller.workspace_id())?;
    let defaults = Policies {
        severity_filter: preferences.default_severity_filter,
        event_filters: preferences.default_event_filters,
        ..Policies::default()
    };
    let policies = PoliciesEdit::read(&mut fields, &defaults).over(defaults);
    let new = fields
        .finish(|| Some(NewChannel { name: name?, channel_type: channel_type?, config: config?, enabled, policies }))?;
    let committed = caller.engine().create_channel(caller.workspace_id(), new).await?;
    Ok(channel::write_response(StatusCode::CREATED, &committed, Health::default()))
}

/// Edits a channel. The edit is merged over the channel and written on the condition that its revision is unchanged. On a
/// conflict it is merged again, unless the caller sent `If-Match`.
pub(super) async fn edit(
    caller: Authorized<Write>,
    PathId(id): PathId<ChannelId>,
    IfMatch(expected): IfMatch,
    Object(body): Object,
) -> ApiResult {
    for _ in 0..ATTEMPTS_MAX {
        let before = shared(caller.engine().channel(caller.workspace_id(), id)?)?;
        let edit = read_edit(Object(body.clone()), &before)?;
        let expected = expected.at(before.revision)?;
        let revision = expected.unwrap_or(before.revision);
        match caller.engine().edit_channel(caller.workspace_id(), id, edit, Some(revision)).await {
            Err(EngineError::RevisionMismatch) if expected.is_none() => {}
            outcome => {
                let health = caller.engine().channel_health(id);
                return Ok(channel::write_response(StatusCode::OK, &outcome?, health));
            }
        }
    }
    Err(EngineError::RevisionMismatch.into())
}

fn read_edit(object: Object, before: &Channel) -> Result<ChannelEdit, Problem> {
    let mut fields = Fields::new(object);
    if fields.text("type").is_some_and(|kind| kind != before.channel_type.as_str()) {
        fields.refuse_once("type", "cannot be changed: create another channel");
    }
    let (name, config, enabled) = (fields.text("name"), fields.object("config"), fields.boolean("enabled"));
    let policies = PoliciesEdit::read(&mut fields, &before.policies);
    fields.finish(|| {
        Some(ChannelEdit {
            name,
            config,
            enabled,
            severity_filter: policies.severity_filter,
            event_filters: policies.event_filters,
            delivery_priority: policies.delivery_priority,
            quiet_hours: policies.quiet_hours,
            rate_limit: policies.rate_limit,
            retry_on_failure: policies.retry_on_failure,
            retry_delays_seconds: policies.retry_delays_seconds,
            timeout_ms: policies.timeout_ms,
        })
    })
}

/// Deletes a channel; with `?force=true` also the rules that use it.
pub(super) async fn delete(
    caller: Authorized<Write>,
    PathId(id): PathId<ChannelId>,
    IfMatch(expected): IfMatch,
    mut query: Query,
) -> ApiResult {
    let force = query.flag("force");
    query.finish(|| Some(()))?;
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    let expected = expected.at(engine.channel(workspace_id, id)?.revision)?;
    engine.delete_channel(workspace_id, id, force, expected).await?;
    no_content()
}

/// Sends a test through a channel.
pub(super) async fn test(caller: Authorized<Write>, PathId(id): PathId<ChannelId>) -> ApiResult {
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    shared(engine.channel(workspace_id, id)?)?;
    let _slot = caller.channel_test_slot()?;
    Ok(test_send::response(&engine.test_channel(workspace_id, id).await?))
}

/// Rotates the signing secret of a webhook. Without a body, the old secret stays valid for the default overlap.
pub(super) async fn rotate_secret(
    caller: Authorized<Write>,
    PathId(id): PathId<ChannelId>,
    object: Option<Object>,
) -> ApiResult {
    let overlap_seconds = match object {
        None => None,
        Some(object) => {
            let mut fields = Fields::null_as_absent(object);
            let seconds = fields.integer("overlapSeconds", 0, OVERLAP_MS_MAX / 1_000);
            fields.finish(|| Some(seconds))?
        }
    };
    let overlap_ms = overlap_seconds.map_or(OVERLAP_MS_DEFAULT, |seconds| seconds * 1_000);
    let committed = caller.engine().rotate_secret(caller.workspace_id(), id, overlap_ms).await?;
    Ok(channel::write_response(StatusCode::OK, &committed, caller.engine().channel_health(id)))
}

/// The channel, if it is shared.
fn shared(channel: Channel) -> Result<Channel, Problem> {
    if channel.owner_rule_id.is_none() { Ok(channel) } else { Err(Problem::not_found("channel")) }
}
