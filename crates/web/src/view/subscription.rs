//! Webhook subscriptions of a use case in responses: rules, with the field and event names of the workflow API.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use tidings_domain::event::EventKind;
use tidings_domain::id::{DeliveryId, RuleId};
use tidings_domain::payload::event_name;
use tidings_domain::time::Timestamp;
use tidings_engine::settings::{Committed, RuleView};
use tidings_store::history::DeliveryRecord;

use super::delivery::{Attempt, suppressed_reason};
use crate::response::{expose_once, json, no_store};
use crate::revision::with_etag;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Subscription<'a> {
    id: RuleId,
    use_case_id: &'a str,
    url: Option<&'a Value>,
    events: Vec<&'a str>,
    trigger_types: Vec<&'a str>,
    enabled: bool,
    revision: u32,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> Subscription<'a> {
    pub(crate) fn of(RuleView { rule, channel }: &'a RuleView) -> Self {
        Self {
            id: rule.id,
            use_case_id: rule.resource.as_str(),
            url: channel.settings.get("url"),
            events: rule.triggers.iter().filter_map(|trigger| trigger.workflow_event()).collect(),
            trigger_types: rule.trigger_types.iter().map(|how| how.as_workflow_str()).collect(),
            enabled: rule.enabled,
            revision: rule.revision,
            created_at: rule.created_at,
            updated_at: rule.updated_at,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SubscriptionResponse<'a> {
    rule: Subscription<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret_once: Option<&'a str>,
}

/// The response to a creation, with the signing secret.
pub(crate) fn created(committed: &Committed<RuleView>) -> Response {
    let signing_secret_once = expose_once(&committed.signing_secret_once);
    let body = SubscriptionResponse { rule: Subscription::of(&committed.value), signing_secret_once };
    with_etag(no_store(json(StatusCode::CREATED, &body)), committed.value.rule.revision)
}

/// The response to a read.
pub(crate) fn response(view: &RuleView) -> Response {
    with_etag(json(StatusCode::OK, &Subscription::of(view)), view.rule.revision)
}

/// A delivery in a subscription's history, with its attempts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SubscriptionDelivery<'a> {
    id: DeliveryId,
    event: &'a str,
    execution_id: &'a str,
    status: &'a str,
    suppressed_reason: Option<&'a str>,
    test: bool,
    attempt_count: u32,
    attempts: Vec<Attempt<'a>>,
    http_status: Option<u16>,
    last_error: Option<&'a str>,
    next_attempt_at: Option<Timestamp>,
    created_at: Timestamp,
    sent_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

impl<'a> SubscriptionDelivery<'a> {
    pub(crate) fn of(record: &'a DeliveryRecord) -> Self {
        Self {
            id: record.id,
            event: event_name(&record.event),
            execution_id: &record.event.run_id,
            status: record.status.as_str(),
            suppressed_reason: suppressed_reason(record),
            test: record.event.kind == EventKind::ChannelTest,
            attempt_count: record.attempt_count,
            attempts: record.attempts.iter().map(Attempt::of).collect(),
            http_status: record.http_status,
            last_error: record.last_error.as_deref(),
            next_attempt_at: record.next_attempt_at,
            created_at: record.event.received_at,
            sent_at: record.sent_at,
            completed_at: record.completed_at,
        }
    }
}
