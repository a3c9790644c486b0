//! `/use-cases/{id}/webhooks`: the subscriptions of the third origin document, a view of the same rules. A subscription
//! is a rule of one use case that speaks through a webhook.

use serde_json::Map;
use tidings_domain::channel::ChannelType;
use tidings_domain::id::RuleId;
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::severity::Severity;
use tidings_domain::trigger::{RuleTrigger, TRIGGER_TYPE_FORM, TriggerType};
use tidings_engine::settings::{NewRule, RuleChannel, RuleView};
use tidings_store::history::DeliveryFilter;

use crate::answer::{Answer, no_content, ok};
use crate::auth::{PathId, PathUseCase, Reader, Writer};
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::page::List;
use crate::problem::Problem;
use crate::query::Query;
use crate::revision::IfMatch;
use crate::view::subscription::{self, Subscription, SubscriptionDelivery};
use crate::view::trial;

use super::rules;

/// The most trigger types that a subscription may list.
const TRIGGER_TYPES_MAX: usize = 20;

/// The subscriptions of a use case, oldest first.
pub(super) async fn list(reader: Reader, PathUseCase(use_case): PathUseCase, query: Query) -> Answer {
    query.finish(|| Some(()))?;
    let rules = reader.engine().rules(reader.workspace_id())?;
    let of_use_case = rules.iter().filter(|view| is_of(view, &use_case));
    ok(&List::whole(of_use_case.map(Subscription::of).collect()))
}

/// One subscription.
pub(super) async fn one(reader: Reader, PathUseCase(use_case): PathUseCase, PathId(id): PathId<RuleId>) -> Answer {
    let view = reader.engine().rule(reader.workspace_id(), id)?;
    Ok(subscription::shown(&of(view, &use_case)?))
}

/// Makes a subscription.
pub(super) async fn create(writer: Writer, PathUseCase(use_case): PathUseCase, object: Object) -> Answer {
    let mut fields = Fields::where_null_is_absent(object);
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
    let written = rules::save(writer.engine(), writer.workspace_id(), new).await?;
    Ok(subscription::created(&written))
}

/// Deletes a subscription.
pub(super) async fn delete(
    writer: Writer,
    PathUseCase(use_case): PathUseCase,
    PathId(id): PathId<RuleId>,
    IfMatch(seen): IfMatch,
) -> Answer {
    let (engine, workspace_id) = (writer.engine(), writer.workspace_id());
    of(engine.rule(workspace_id, id)?, &use_case)?;
    engine.delete_rule(workspace_id, id, seen).await?;
    no_content()
}

/// Sends a test event through a subscription.
pub(super) async fn test(writer: Writer, PathUseCase(use_case): PathUseCase, PathId(id): PathId<RuleId>) -> Answer {
    let (engine, workspace_id) = (writer.engine(), writer.workspace_id());
    of(engine.rule(workspace_id, id)?, &use_case)?;
    Ok(trial::answer(&engine.test_subscription(workspace_id, id).await?))
}

/// A subscription's history, newest first, with every attempt.
pub(super) async fn deliveries(
    reader: Reader,
    PathUseCase(use_case): PathUseCase,
    PathId(id): PathId<RuleId>,
    mut query: Query,
) -> Answer {
    let (engine, workspace_id) = (reader.engine(), reader.workspace_id());
    of(engine.rule(workspace_id, id)?, &use_case)?;
    let page = query.page();
    let filter = query.finish(|| {
        Some(DeliveryFilter {
            before: page.before,
            limit: page.wanted(),
            with_attempts: true,
            rule_id: Some(id),
            ..Default::default()
        })
    })?;
    let records = engine.deliveries(workspace_id, filter).await?;
    ok(&page.of(&records, |record| record.id, SubscriptionDelivery::of))
}

fn is_of(RuleView { rule, channel }: &RuleView, use_case: &str) -> bool {
    rule.resource_type == ResourceType::UseCase
        && rule.resource.as_str() == use_case
        && channel.channel_type == ChannelType::Webhook
}

/// The rule, if it is a subscription of this use case.
fn of(view: RuleView, use_case: &str) -> Result<RuleView, Problem> {
    if is_of(&view, use_case) { Ok(view) } else { Err(Problem::not_found("webhook")) }
}
