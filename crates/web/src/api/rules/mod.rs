//! `/notification-rules`: which events of which resource go to which channel.

mod draft;

use http::StatusCode;
use tidings_domain::channel::ChannelType;
use tidings_domain::id::{ChannelId, RuleId, WorkspaceId};
use tidings_engine::Engine;
use tidings_engine::settings::{NewRule, RuleChannel, RuleView};
use tidings_store::history::DeliveryFilter;

use crate::auth::{Authorized, PathId, Read, Write};
use crate::body::Object;
use crate::page::List;
use crate::problem::Problem;
use crate::query::Query;
use crate::response::{ApiResult, no_content, ok};
use crate::revision::{self, IfMatch};
use crate::view::delivery::RuleDelivery;
use crate::view::{rule, test_send};

use super::events::{resource_id, resource_type};
use super::inline;
use draft::TestRequest;

/// The rules of one resource: its own, and those of every resource of its type.
pub(super) async fn list(caller: Authorized<Read>, mut query: Query) -> ApiResult {
    let kind = resource_type(&mut query);
    let kind = query.required("resourceType", kind);
    let id = resource_id(&mut query);
    let id = query.required("resourceId", id);
    let (kind, id) = query.finish(|| Some((kind?, id?)))?;
    let rules = caller.engine().rules(caller.workspace_id())?;
    let of_resource = |view: &&RuleView| view.rule.resource_type == kind && view.rule.resource.matches(&id);
    ok(&List::complete(rules.iter().filter(of_resource).map(rule::Rule::of).collect()))
}

/// One rule.
pub(super) async fn one(caller: Authorized<Read>, PathId(id): PathId<RuleId>) -> ApiResult {
    Ok(rule::response(&caller.engine().rule(caller.workspace_id(), id)?))
}

/// Creates a rule.
pub(super) async fn create(caller: Authorized<Write>, object: Object) -> ApiResult {
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    let new = draft::new(object, type_of(engine, workspace_id))?;
    let committed = create_rule(engine, workspace_id, new).await?;
    Ok(rule::write_response(StatusCode::CREATED, &committed))
}

/// Creates a rule; errors of its own channel point to the inline fields.
pub(super) async fn create_rule(
    engine: &Engine,
    workspace_id: WorkspaceId,
    new: NewRule,
) -> Result<tidings_engine::settings::Committed<RuleView>, Problem> {
    let inline_type = inline_type(Some(&new.channel));
    engine.create_rule(workspace_id, new).await.map_err(|error| with_inline_pointers(error.into(), inline_type))
}

/// Edits a rule.
pub(super) async fn edit(
    caller: Authorized<Write>,
    PathId(id): PathId<RuleId>,
    IfMatch(expected): IfMatch,
    object: Object,
) -> ApiResult {
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    let before = engine.rule(workspace_id, id)?;
    let expected = revision::at(&expected, before.rule.revision)?;
    let edit = draft::edit(object, &before, type_of(engine, workspace_id))?;
    let inline_type = inline_type(edit.channel.as_ref());
    let edited = engine.edit_rule(workspace_id, id, edit, expected).await;
    let committed = edited.map_err(|error| with_inline_pointers(error.into(), inline_type))?;
    Ok(rule::write_response(StatusCode::OK, &committed))
}

/// Deletes a rule.
pub(super) async fn delete(
    caller: Authorized<Write>,
    PathId(id): PathId<RuleId>,
    IfMatch(expected): IfMatch,
) -> ApiResult {
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    let expected = revision::at(&expected, engine.rule(workspace_id, id)?.rule.revision)?;
    engine.delete_rule(workspace_id, id, expected).await?;
    no_content()
}

/// Sends a test at once: through the channel of a stored rule, or through a configuration that is not stored.
pub(super) async fn test(caller: Authorized<Write>, object: Object) -> ApiResult {
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    let request = draft::test(object)?;
    let _slot = caller.channel_test_slot()?;
    let result = match request {
        TestRequest::Rule(id) => engine.test_rule(workspace_id, id).await?,
        TestRequest::Config(config) => {
            let channel_type = config.channel_type;
            let tested = engine.test_config(workspace_id, config).await;
            tested.map_err(|error| with_inline_pointers(error.into(), Some(channel_type)))?
        }
    };
    Ok(test_send::response(&result))
}

/// The deliveries of one resource, newest first, without tests.
pub(super) async fn deliveries(caller: Authorized<Read>, mut query: Query) -> ApiResult {
    let kind = resource_type(&mut query);
    let kind = query.required("resourceType", kind);
    let id = resource_id(&mut query);
    let id = query.required("resourceId", id);
    let page = query.search_page();
    let filter = query.finish(|| {
        Some(DeliveryFilter {
            before: page.before,
            searched_until: page.searched_until,
            limit: page.fetch_limit(),
            // Excludes tests of rules of runs; resources with incidents have no tests.
            runs_only: !kind?.has_incidents(),
            resource_type: Some(kind?),
            resource_id: Some(id?).filter(|id| id != "*"),
            ..Default::default()
        })
    })?;
    let records = caller.engine().deliveries(caller.workspace_id(), filter).await?;
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

fn with_inline_pointers(problem: Problem, channel_type: Option<ChannelType>) -> Problem {
    match channel_type {
        Some(channel_type) => inline::map_pointers(problem, channel_type),
        None => problem,
    }
}
