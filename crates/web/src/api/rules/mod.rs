//! `/notification-rules`: the API of the first origin document, to the letter, and what has grown around it.

mod draft;

use http::StatusCode;
use tidings_domain::channel::ChannelType;
use tidings_domain::id::{ChannelId, RuleId, WorkspaceId};
use tidings_engine::Engine;
use tidings_engine::settings::{NewRule, RuleChannel, RuleView};
use tidings_store::history::DeliveryFilter;

use crate::answer::{Answer, no_content, ok};
use crate::auth::{PathId, Reader, Writer};
use crate::body::Object;
use crate::page::List;
use crate::problem::Problem;
use crate::query::Query;
use crate::revision::IfMatch;
use crate::view::delivery::RuleDelivery;
use crate::view::{rule, trial};

use super::events::{resource_id, resource_type};
use super::inline;
use draft::TestOf;

/// The rules of one resource: its own, and those of every resource of its type.
pub(super) async fn list(reader: Reader, mut query: Query) -> Answer {
    let kind = resource_type(&mut query);
    let kind = query.required("resourceType", kind);
    let id = resource_id(&mut query);
    let id = query.required("resourceId", id);
    let (kind, id) = query.finish(|| Some((kind?, id?)))?;
    let rules = reader.engine().rules(reader.workspace_id())?;
    let of_resource = |view: &&RuleView| view.rule.resource_type == kind && view.rule.resource.matches(&id);
    ok(&List::whole(rules.iter().filter(of_resource).map(rule::Rule::of).collect()))
}

/// One rule.
pub(super) async fn one(reader: Reader, PathId(id): PathId<RuleId>) -> Answer {
    Ok(rule::shown(&reader.engine().rule(reader.workspace_id(), id)?))
}

/// Makes a rule.
pub(super) async fn create(writer: Writer, object: Object) -> Answer {
    let (engine, workspace_id) = (writer.engine(), writer.workspace_id());
    let new = draft::new(object, type_of(engine, workspace_id))?;
    let written = save(engine, workspace_id, new).await?;
    Ok(rule::written(StatusCode::CREATED, &written))
}

/// Makes a rule; what is wrong with its channel is told in the words of its inline fields.
pub(super) async fn save(
    engine: &Engine,
    workspace_id: WorkspaceId,
    new: NewRule,
) -> Result<tidings_engine::settings::Committed<RuleView>, Problem> {
    let inline_type = inline_type(Some(&new.channel));
    engine.create_rule(workspace_id, new).await.map_err(|error| in_inline_words(error.into(), inline_type))
}

/// Edits a rule.
pub(super) async fn edit(writer: Writer, PathId(id): PathId<RuleId>, IfMatch(seen): IfMatch, object: Object) -> Answer {
    let (engine, workspace_id) = (writer.engine(), writer.workspace_id());
    let before = engine.rule(workspace_id, id)?;
    let edit = draft::edit(object, &before, type_of(engine, workspace_id))?;
    let inline_type = inline_type(edit.channel.as_ref());
    let written = engine.edit_rule(workspace_id, id, edit, seen).await;
    let written = written.map_err(|error| in_inline_words(error.into(), inline_type))?;
    Ok(rule::written(StatusCode::OK, &written))
}

/// Deletes a rule.
pub(super) async fn delete(writer: Writer, PathId(id): PathId<RuleId>, IfMatch(seen): IfMatch) -> Answer {
    writer.engine().delete_rule(writer.workspace_id(), id, seen).await?;
    no_content()
}

/// Sends a test at once: of a saved rule, or of a configuration that is not saved.
pub(super) async fn test(writer: Writer, object: Object) -> Answer {
    let (engine, workspace_id) = (writer.engine(), writer.workspace_id());
    let came_to = match draft::test(object)? {
        TestOf::Rule(id) => engine.test_rule(workspace_id, id).await?,
        TestOf::Config(config) => {
            let channel_type = config.channel_type;
            let tested = engine.test_config(workspace_id, config).await;
            tested.map_err(|error| in_inline_words(error.into(), Some(channel_type)))?
        }
    };
    Ok(trial::answer(&came_to))
}

/// The recent deliveries of one resource; a test tells of no run.
pub(super) async fn deliveries(reader: Reader, mut query: Query) -> Answer {
    let kind = resource_type(&mut query);
    let kind = query.required("resourceType", kind);
    let id = resource_id(&mut query);
    let id = query.required("resourceId", id);
    let page = query.page();
    let filter = query.finish(|| {
        Some(DeliveryFilter {
            before: page.before,
            limit: page.wanted(),
            // Of runs the tests are left out; incidents have none.
            runs_only: !kind?.has_incidents(),
            resource_type: Some(kind?),
            resource_id: Some(id?).filter(|id| id != "*"),
            ..Default::default()
        })
    })?;
    let records = reader.engine().deliveries(reader.workspace_id(), filter).await?;
    ok(&page.of(&records, |record| record.id, RuleDelivery::of))
}

fn type_of(engine: &Engine, workspace_id: WorkspaceId) -> impl Fn(ChannelId) -> Option<ChannelType> {
    move |id| engine.channel(workspace_id, id).ok().map(|channel| channel.channel_type)
}

fn inline_type(channel: Option<&RuleChannel>) -> Option<ChannelType> {
    match channel {
        Some(RuleChannel::Inline { channel_type, .. }) => Some(*channel_type),
        Some(RuleChannel::Shared(_)) | None => None,
    }
}

fn in_inline_words(problem: Problem, channel_type: Option<ChannelType>) -> Problem {
    match channel_type {
        Some(channel_type) => inline::renamed(problem, channel_type),
        None => problem,
    }
}
