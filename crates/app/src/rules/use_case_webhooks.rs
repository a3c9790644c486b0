//! `/use-cases/{id}/webhooks`: webhook subscriptions, in the format of the workflow API. A subscription is a rule of one use
//! case with a webhook.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_domain::channel::{Channel, ChannelType};
use tidings_domain::delivery::Status;
use tidings_domain::event::EventKind;
use tidings_domain::id::{DeliveryId, RuleId};
use tidings_domain::payload::event_name;
use tidings_domain::resource::ResourceType;
use tidings_domain::rule::{self, RuleSettings};
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::{RuleTrigger, TriggerType};
use tidings_engine::snapshot::WorkspaceView;
use tidings_store::history::{DeliveryFilter, DeliveryRecord};
use utoipa::ToSchema;

use super::{Created, InlineFields, RuleDraft};
use crate::attempt::Attempt;
use crate::channels::TestResult;
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::page::{Page, PageQuery};
use crate::principal::{Authorized, Configure, Read, SendNow};
use crate::response::{Response, SecretOnce};
use crate::revision::Expected;

/// An event of the workflow API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum WorkflowEvent {
    #[serde(rename = "workflow.completed")]
    Completed,
    #[serde(rename = "workflow.failed")]
    Failed,
}

impl WorkflowEvent {
    const fn trigger(self) -> RuleTrigger {
        match self {
            Self::Completed => RuleTrigger::Success,
            Self::Failed => RuleTrigger::Failure,
        }
    }

    const fn of(trigger: RuleTrigger) -> Option<Self> {
        match trigger {
            RuleTrigger::Success => Some(Self::Completed),
            RuleTrigger::Failure => Some(Self::Failed),
            RuleTrigger::Opened | RuleTrigger::Resolved | RuleTrigger::Escalated => None,
        }
    }
}

/// A webhook to create.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"url": "https://example.com/hooks/tidings", "events": ["workflow.failed"], "triggerTypes": []}))]
pub struct SubscriptionDraft {
    /// Where the request goes: an https URL without user name or password.
    #[serde(default)]
    #[schema(required, write_only)]
    pub url: String,
    #[serde(default)]
    #[schema(required, min_items = 1)]
    pub events: Vec<WorkflowEvent>,
    /// Restricts it to executions that were started in one of these ways; empty for all.
    #[serde(default)]
    #[schema(max_items = 20)]
    pub trigger_types: Vec<TriggerType>,
    #[serde(default = "yes")]
    pub enabled: bool,
}

const fn yes() -> bool {
    true
}

/// A webhook of a use case.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    pub id: RuleId,
    pub use_case_id: String,
    /// Secret parts are masked.
    pub url: Option<String>,
    pub events: Vec<WorkflowEvent>,
    /// In the words of the workflow API, such as `schedule`.
    pub trigger_types: Vec<String>,
    pub enabled: bool,
    pub revision: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A webhook that was created.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionSaved {
    pub rule: Subscription,
    /// The signing secret: it is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_secret_once: Option<SecretOnce>,
}

/// A delivery of a subscription, with its attempts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionDelivery {
    pub id: DeliveryId,
    pub event: String,
    pub execution_id: String,
    pub status: Status,
    pub suppressed_reason: Option<String>,
    /// Whether a user requested it as a test.
    pub test: bool,
    pub attempt_count: u32,
    pub attempts: Vec<Attempt>,
    /// Of the last attempt.
    pub http_status: Option<u16>,
    /// Of the last attempt.
    pub last_error: Option<String>,
    pub next_attempt_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub sent_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
}

impl Response for Subscription {
    const IS_VERSIONED: bool = true;

    fn revision(&self) -> Option<u32> {
        Some(self.revision)
    }
}

impl Response for SubscriptionSaved {
    const IS_VERSIONED: bool = true;

    fn revision(&self) -> Option<u32> {
        Some(self.rule.revision)
    }

    fn holds_secret(&self) -> bool {
        true
    }
}

impl Subscription {
    fn of(rule: &rule::Rule, channel: &Channel) -> Self {
        Self {
            id: rule.id,
            use_case_id: rule.resource.as_str().to_owned(),
            url: channel.settings.get("url").and_then(Value::as_str).map(str::to_owned),
            events: rule.settings.triggers.iter().copied().filter_map(WorkflowEvent::of).collect(),
            trigger_types: rule.settings.trigger_types.iter().map(|how| how.as_workflow_str().to_owned()).collect(),
            enabled: rule.enabled,
            revision: rule.revision,
            created_at: rule.created_at,
            updated_at: rule.updated_at,
        }
    }
}

impl SubscriptionDelivery {
    fn of(record: &DeliveryRecord) -> Self {
        let is_dropped = matches!(record.status, Status::Suppressed | Status::Skipped);
        Self {
            id: record.id,
            event: event_name(&record.event).to_owned(),
            execution_id: record.event.run_id.clone(),
            status: record.status,
            // In other states the reason explains why it is held.
            suppressed_reason: record.reason.clone().filter(|_| is_dropped),
            test: record.event.kind == EventKind::ChannelTest,
            attempt_count: record.attempt_count,
            attempts: record.attempts.iter().map(Attempt::of).collect(),
            http_status: record.http_status,
            last_error: record.last_error.clone(),
            next_attempt_at: record.next_attempt_at,
            created_at: record.event.received_at,
            sent_at: record.sent_at,
            completed_at: record.completed_at,
        }
    }
}

/// The subscriptions of a use case, oldest first.
///
/// # Errors
/// If the workspace was deleted meanwhile.
pub fn list(by: &Authorized<Read>, use_case: &str) -> Result<Page<Subscription>> {
    let view = by.view()?;
    let rules = view.rules_of(ResourceType::UseCase, use_case);
    let mut found: Vec<_> = rules.filter_map(|rule| find(&view, use_case, rule.id).ok()).collect();
    found.sort_by_key(|(rule, _)| rule.id);
    Ok(Page::complete(found.into_iter().map(|(rule, channel)| Subscription::of(rule, channel)).collect()))
}

/// One subscription.
///
/// # Errors
/// If the use case has no such subscription.
pub fn one(by: &Authorized<Read>, use_case: &str, id: RuleId) -> Result<Subscription> {
    let view = by.view()?;
    let (rule, channel) = find(&view, use_case, id)?;
    Ok(Subscription::of(rule, channel))
}

/// The rule, if it is a subscription of this use case.
fn find<'a>(view: &'a WorkspaceView, use_case: &str, id: RuleId) -> Result<(&'a rule::Rule, &'a Channel)> {
    let rule = view.rule(id).filter(|rule| rule.resource_type == ResourceType::UseCase);
    let rule = rule.filter(|rule| rule.resource.as_str() == use_case);
    let with_channel = rule.and_then(|rule| Some((rule.as_ref(), &view.channel(rule.channel_id)?.channel)));
    let found = with_channel.filter(|(_, channel)| channel.channel_type == ChannelType::Webhook);
    found.ok_or(AppError::not_found("webhook"))
}

/// Creates a subscription.
///
/// # Errors
/// As [`super::create`].
pub async fn create(
    by: &Authorized<Configure>,
    use_case: &str,
    input: Input<SubscriptionDraft>,
) -> Result<SubscriptionSaved> {
    let Input { value, violations } = input;
    let is_valid = violations.is_empty();
    // The fields of the same name are those of the rule.
    let rule = RuleDraft {
        resource_type: Some(ResourceType::UseCase),
        resource_id: use_case.to_owned(),
        enabled: Some(value.enabled),
        paused: false,
        settings: RuleSettings {
            triggers: value.events.iter().map(|event| event.trigger()).collect(),
            trigger_types: value.trigger_types,
            ..RuleSettings::for_every_event(ResourceType::UseCase)
        }
        .without_duplicates(),
        channel_id: None,
        channel_type: Some(ChannelType::Webhook),
        inline: InlineFields::webhook(value.url.into()),
        rotate_webhook_secret: false,
    };
    let mut input = Input { value: rule, violations };
    if !is_valid && input.value.settings.triggers.is_empty() {
        // What is wrong with `events` is known already.
        input.value.settings = RuleSettings::for_every_event(ResourceType::UseCase);
    }
    let Created { rule, channel, signing_secret_once } = super::create_rule(by, input).await?;
    Ok(SubscriptionSaved { rule: Subscription::of(&rule, &channel), signing_secret_once })
}

/// Deletes a subscription.
///
/// # Errors
/// As [`super::delete`], and if the use case has no such subscription.
pub async fn delete(by: &Authorized<Configure>, use_case: &str, id: RuleId, expected: &Expected) -> Result<()> {
    find(&*by.view()?, use_case, id)?;
    super::delete(by, id, expected).await
}

/// Sends a test event through a subscription.
///
/// # Errors
/// If the use case has no such subscription, [`AppError::Busy`], and if its channel cannot be used.
pub async fn test(by: &Authorized<SendNow>, use_case: &str, id: RuleId) -> Result<TestResult> {
    find(&*by.view()?, use_case, id)?;
    let _slot = by.channel_test_slot()?;
    Ok(by.engine().test_subscription(by.workspace_id(), id).await?.into())
}

/// The deliveries of a subscription, newest first.
///
/// # Errors
/// If the use case has no such subscription, and those of the store.
pub async fn deliveries(
    by: &Authorized<Read>,
    use_case: &str,
    id: RuleId,
    page: &PageQuery,
) -> Result<Page<SubscriptionDelivery>> {
    find(&*by.view()?, use_case, id)?;
    let (before, searched_until) = page.search_start()?;
    let filter = DeliveryFilter {
        before,
        searched_until,
        limit: page.fetch_limit(),
        with_attempts: true,
        rule_id: Some(id),
        ..Default::default()
    };
    let found = by.engine().deliveries(by.workspace_id(), filter).await?;
    Ok(page.search_page(&found, |record| record.id, SubscriptionDelivery::of))
}
