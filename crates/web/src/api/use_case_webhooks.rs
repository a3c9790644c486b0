//! `/use-cases/{id}/webhooks`: webhook subscriptions, in the format of the workflow API. A subscription is a rule of one
//! use case with a webhook channel of its own.

use serde_json::Map;
use tidings_domain::channel::ChannelType;
use tidings_domain::id::RuleId;
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::severity::Severity;
use tidings_domain::trigger::{RuleTrigger, TRIGGER_TYPE_FORM, TriggerType};
use tidings_engine::settings::{NewRule, RuleChannel, RuleView};
use tidings_store::history::DeliveryFilter;

use crate::auth::{Authorized, PathId, PathUseCase, Read, Write};
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::page::List;
use crate::problem::Problem;
use crate::query::Query;
use crate::response::{ApiResult, no_content, ok};
use crate::revision::{self, IfMatch};
use crate::view::subscription::{self, Subscription, SubscriptionDelivery};
use crate::view::test_send;

use super::rules;

const TRIGGER_TYPES_MAX: usize = 20;

/// The subscriptions of a use case, oldest first.
pub(super) async fn list(caller: Authorized<Read>, PathUseCase(use_case): PathUseCase, query: Query) -> ApiResult {
    query.finish(|| Some(()))?;
    let rules = caller.engine().rules(caller.workspace_id())?;
    let of_use_case = rules.iter().filter(|view| is_subscription_of(view, &use_case));
    ok(&List::complete(of_use_case.map(Subscription::of).collect()))
}

/// One subscription.
pub(super) async fn one(
    caller: Authorized<Read>,
    PathUseCase(use_case): PathUseCase,
    PathId(id): PathId<RuleId>,
) -> ApiResult {
    let view = caller.engine().rule(caller.workspace_id(), id)?;
    Ok(subscription::response(&require_subscription(view, &use_case)?))
}

/// Creates a subscription.
pub(super) async fn create(caller: Authorized<Write>, PathUseCase(use_case): PathUseCase, object: Object) -> ApiResult {
    let mut fields = Fields::null_as_absent(object);
    let url = fields.take("url");
    let url = fields.required("url", url);
    let names = one_of(RuleTrigger::OF_RUNS.into_iter().filter_map(RuleTrigger::workflow_event));
    let triggers = fields.words("events", RuleTrigger::OF_RUNS.len(), &names, RuleTrigger::from_workflow_event);
    if triggers.as_ref().is_some_and(Vec::is_empty) {
        fields.refuse_once("events", "must list at least one event: workflow.completed, workflow.failed");
    }
    let triggers = fields.required("events", triggers);
    let trigger_types = fields.words("triggerTypes", TRIGGER_TYPES_MAX, TRIGGER_TYPE_FORM, TriggerType::parse);
    let enabled = fields.boolean("enabled").unwrap_or(true);
    let new = fields.finish(|| {
        Some(NewRule {
            resource_type: ResourceType::UseCase,
            resource: ResourceSelector::parse(&use_case),
            channel: RuleChannel::Inline {
                channel_type: ChannelType::Webhook,
                config: Map::from_iter([("url".to_owned(), url?)]),
            },
            triggers: triggers?,
            trigger_types: trigger_types.unwrap_or_default(),
            enabled,
            paused: false,
            failure_severity: Severity::Warning,
        })
    })?;
    let committed = rules::create_rule(caller.engine(), caller.workspace_id(), new).await?;
    Ok(subscription::created(&committed))
}

/// Deletes a subscription.
pub(super) async fn delete(
    caller: Authorized<Write>,
    PathUseCase(use_case): PathUseCase,
    PathId(id): PathId<RuleId>,
    IfMatch(expected): IfMatch,
) -> ApiResult {
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    let before = require_subscription(engine.rule(workspace_id, id)?, &use_case)?;
    let expected = revision::at(&expected, before.rule.revision)?;
    engine.delete_rule(workspace_id, id, expected).await?;
    no_content()
}

/// Sends a test event through a subscription.
pub(super) async fn test(
    caller: Authorized<Write>,
    PathUseCase(use_case): PathUseCase,
    PathId(id): PathId<RuleId>,
) -> ApiResult {
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    require_subscription(engine.rule(workspace_id, id)?, &use_case)?;
    let _slot = caller.channel_test_slot()?;
    Ok(test_send::response(&engine.test_subscription(workspace_id, id).await?))
}

/// The deliveries of a subscription, newest first, with their attempts.
pub(super) async fn deliveries(
    caller: Authorized<Read>,
    PathUseCase(use_case): PathUseCase,
    PathId(id): PathId<RuleId>,
    mut query: Query,
) -> ApiResult {
    let (engine, workspace_id) = (caller.engine(), caller.workspace_id());
    require_subscription(engine.rule(workspace_id, id)?, &use_case)?;
    let page = query.search_page();
    let filter = query.finish(|| {
        Some(DeliveryFilter {
            before: page.before,
            searched_until: page.searched_until,
            limit: page.fetch_limit(),
            with_attempts: true,
            rule_id: Some(id),
            ..Default::default()
        })
    })?;
    let records = engine.deliveries(workspace_id, filter).await?;
    ok(&page.of(&records, |record| record.id, SubscriptionDelivery::of))
}

fn is_subscription_of(RuleView { rule, channel }: &RuleView, use_case: &str) -> bool {
    rule.resource_type == ResourceType::UseCase
        && rule.resource.as_str() == use_case
        && channel.channel_type == ChannelType::Webhook
}

/// The rule, if it is a subscription of this use case; else a 404.
fn require_subscription(view: RuleView, use_case: &str) -> Result<RuleView, Problem> {
    if is_subscription_of(&view, use_case) { Ok(view) } else { Err(Problem::not_found("webhook")) }
}
