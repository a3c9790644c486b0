//! `/channels`: shared destinations and their policies. A channel of a rule's own is not seen here.

use http::StatusCode;
use tidings_domain::channel::{Channel, ChannelType, Policies};
use tidings_domain::id::ChannelId;
use tidings_engine::EngineError;
use tidings_engine::queue::Health;
use tidings_engine::settings::{ChannelEdit, NewChannel, OVERLAP_MS_DEFAULT, OVERLAP_MS_MAX};

use crate::answer::{Answer, no_content, ok};
use crate::auth::{PathId, Reader, Writer};
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::problem::Problem;
use crate::query::Query;
use crate::revision::IfMatch;
use crate::view::{channel, trial};

use super::policies::PoliciesEdit;

/// How often an edit without a revision is tried again when somebody else was faster.
const TRIES: u32 = 5;

/// The shared channels, oldest first.
pub(super) async fn list(reader: Reader, query: Query) -> Answer {
    query.finish(|| Some(()))?;
    let engine = reader.engine();
    let channels = engine.channels(reader.workspace_id())?;
    let shown = channels.iter().map(|channel| channel::Channel::of(channel, engine.channel_health(channel.id)));
    ok(&channel::Channels::of(shown.collect(), engine.channel_quota(reader.workspace_id())?))
}

/// One channel.
pub(super) async fn one(reader: Reader, PathId(id): PathId<ChannelId>) -> Answer {
    let channel = shared(reader.engine().channel(reader.workspace_id(), id)?)?;
    Ok(channel::shown(&channel, reader.engine().channel_health(id)))
}

/// Makes a channel.
pub(super) async fn create(writer: Writer, object: Object) -> Answer {
    let mut fields = Fields::where_null_is_absent(object);
    let name = fields.text("name");
    let name = fields.required("name", name);
    let types = one_of(ChannelType::ALL.map(ChannelType::as_str));
    let channel_type = fields.parsed("type", &types, ChannelType::parse);
    let channel_type = fields.required("type", channel_type);
    let config = fields.object("config");
    let config = fields.required("config", config);
    let enabled = fields.boolean("enabled").unwrap_or(true);
    let (preferences, _) = writer.engine().preferences(writer.workspace_id())?;
    let begins_with = Policies {
        severity_filter: preferences.default_severity_filter,
        event_filters: preferences.default_event_filters,
        ..Policies::default()
    };
    let policies = PoliciesEdit::read(&mut fields, &begins_with).over(begins_with);
    let new = fields
        .finish(|| Some(NewChannel { name: name?, channel_type: channel_type?, config: config?, enabled, policies }))?;
    let written = writer.engine().create_channel(writer.workspace_id(), new).await?;
    Ok(channel::written(StatusCode::CREATED, &written, Health::default()))
}

/// Edits a channel. What is merged is merged over what the channel was at the revision that the edit then names; where
/// the caller names none and somebody else was faster, it is merged again.
pub(super) async fn edit(
    writer: Writer,
    PathId(id): PathId<ChannelId>,
    IfMatch(seen): IfMatch,
    Object(body): Object,
) -> Answer {
    for _ in 0..TRIES {
        let before = shared(writer.engine().channel(writer.workspace_id(), id)?)?;
        let edit = read_edit(Object(body.clone()), &before)?;
        let over = seen.unwrap_or(before.revision);
        match writer.engine().edit_channel(writer.workspace_id(), id, edit, Some(over)).await {
            Err(EngineError::RevisionMismatch) if seen.is_none() => {}
            written => {
                let health = writer.engine().channel_health(id);
                return Ok(channel::written(StatusCode::OK, &written?, health));
            }
        }
    }
    Err(EngineError::RevisionMismatch.into())
}

fn read_edit(object: Object, before: &Channel) -> Result<ChannelEdit, Problem> {
    let mut fields = Fields::new(object);
    if fields.text("type").is_some_and(|kind| kind != before.channel_type.as_str()) {
        fields.refuse_once("type", "cannot be changed: make another channel");
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

/// Deletes a channel; with `?force=true` the rules that use it as well.
pub(super) async fn delete(
    writer: Writer,
    PathId(id): PathId<ChannelId>,
    IfMatch(seen): IfMatch,
    mut query: Query,
) -> Answer {
    let force = query.flag("force");
    query.finish(|| Some(()))?;
    writer.engine().delete_channel(writer.workspace_id(), id, force, seen).await?;
    no_content()
}

/// Tests a channel.
pub(super) async fn test(writer: Writer, PathId(id): PathId<ChannelId>) -> Answer {
    let (engine, workspace_id) = (writer.engine(), writer.workspace_id());
    shared(engine.channel(workspace_id, id)?)?;
    Ok(trial::answer(&engine.test_channel(workspace_id, id).await?))
}

/// Gives a webhook a fresh signing secret. Without a body the old one overlaps as long as usual.
pub(super) async fn rotate_secret(writer: Writer, PathId(id): PathId<ChannelId>, object: Option<Object>) -> Answer {
    let overlap_seconds = match object {
        None => None,
        Some(object) => {
            let mut fields = Fields::where_null_is_absent(object);
            let seconds = fields.integer("overlapSeconds", 0, OVERLAP_MS_MAX / 1_000);
            fields.finish(|| Some(seconds))?
        }
    };
    let overlap_ms = overlap_seconds.map_or(OVERLAP_MS_DEFAULT, |seconds| seconds * 1_000);
    let written = writer.engine().rotate_secret(writer.workspace_id(), id, overlap_ms).await?;
    Ok(channel::written(StatusCode::OK, &written, writer.engine().channel_health(id)))
}

/// The channel, if it is shared.
fn shared(channel: Channel) -> Result<Channel, Problem> {
    if channel.owner_rule_id.is_none() { Ok(channel) } else { Err(Problem::not_found("channel")) }
}
