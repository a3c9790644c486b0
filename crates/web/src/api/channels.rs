//! `/channels`: shared destinations and their policies. A channel of a rule's own is not seen here.

use http::StatusCode;
use serde_json::Value;
use tidings_domain::channel::{Channel, ChannelType, Policies, TIMEOUT_MS_DEFAULT};
use tidings_domain::id::ChannelId;
use tidings_domain::severity::SeverityFilter;
use tidings_engine::settings::{ChannelEdit, NewChannel, OVERLAP_MS_DEFAULT, OVERLAP_MS_MAX};

use crate::answer::{Answer, no_content, ok};
use crate::auth::{PathId, Reader, Writer};
use crate::body::Object;
use crate::fields::{Fields, INTEGER_MAX, one_of};
use crate::page::List;
use crate::problem::Problem;
use crate::query::Query;
use crate::revision::IfMatch;
use crate::view::{channel, trial};

/// The shared channels, oldest first.
pub(super) async fn list(reader: Reader, query: Query) -> Answer {
    query.finish(|| Some(()))?;
    let channels = reader.engine().channels(reader.workspace_id())?;
    ok(&List::whole(channels.iter().map(channel::Channel::of).collect()))
}

/// One channel.
pub(super) async fn one(reader: Reader, PathId(id): PathId<ChannelId>) -> Answer {
    Ok(channel::shown(&shared(reader.engine().channel(reader.workspace_id(), id)?)?))
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
    let policies = Policies {
        severity_filter: severity_filter(&mut fields).unwrap_or_default(),
        retry_on_failure: fields.boolean("retryOnFailure").unwrap_or(true),
        retry_delays_seconds: retry_delays(&mut fields).flatten(),
        timeout_ms: timeout_ms(&mut fields).unwrap_or(TIMEOUT_MS_DEFAULT),
    };
    let new = fields
        .finish(|| Some(NewChannel { name: name?, channel_type: channel_type?, config: config?, enabled, policies }))?;
    let written = writer.engine().create_channel(writer.workspace_id(), new).await?;
    Ok(channel::written(StatusCode::CREATED, &written))
}

/// Edits a channel.
pub(super) async fn edit(
    writer: Writer,
    PathId(id): PathId<ChannelId>,
    IfMatch(seen): IfMatch,
    object: Object,
) -> Answer {
    let before = shared(writer.engine().channel(writer.workspace_id(), id)?)?;
    let mut fields = Fields::new(object);
    if fields.text("type").is_some_and(|kind| kind != before.channel_type.as_str()) {
        fields.refuse_once("type", "cannot be changed: make another channel");
    }
    let edit = ChannelEdit {
        name: fields.text("name"),
        config: fields.object("config"),
        enabled: fields.boolean("enabled"),
        severity_filter: severity_filter(&mut fields),
        retry_on_failure: fields.boolean("retryOnFailure"),
        retry_delays_seconds: retry_delays(&mut fields),
        timeout_ms: timeout_ms(&mut fields),
    };
    let edit = fields.finish(|| Some(edit))?;
    let written = writer.engine().edit_channel(writer.workspace_id(), id, edit, seen).await?;
    Ok(channel::written(StatusCode::OK, &written))
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
    Ok(channel::written(StatusCode::OK, &written))
}

/// The channel, if it is shared.
fn shared(channel: Channel) -> Result<Channel, Problem> {
    if channel.owner_rule_id.is_none() { Ok(channel) } else { Err(Problem::not_found("channel")) }
}

fn severity_filter(fields: &mut Fields) -> Option<SeverityFilter> {
    let filters = [SeverityFilter::Info, SeverityFilter::Warning, SeverityFilter::Critical];
    fields.parsed("severityFilter", &one_of(filters.map(SeverityFilter::as_str)), SeverityFilter::parse)
}

fn timeout_ms(fields: &mut Fields) -> Option<u32> {
    fields.integer("timeoutMs", 0, INTEGER_MAX).map(saturated)
}

/// A number as large as it may be here; the engine says whether it is too large.
fn saturated(number: u64) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

/// A channel's own delays; `null` for those of the kind of event.
fn retry_delays(fields: &mut Fields) -> Option<Option<Vec<u32>>> {
    const KEY: &str = "retryDelaysSeconds";
    let items = match fields.take(KEY)? {
        Value::Null => return Some(None),
        Value::Array(items) => items,
        _ => {
            fields.refuse(KEY, "must be a list of delays, or null for the usual ones");
            return None;
        }
    };
    let mut delays = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        match item.as_u64() {
            Some(seconds) => delays.push(saturated(seconds)),
            None => fields.refuse_item(KEY, index, "must be a whole number of seconds"),
        }
    }
    Some(Some(delays))
}
