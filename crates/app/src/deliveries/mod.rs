//! `/deliveries`: the delivery log, messages as channels send them, and resends.

pub mod message;
pub mod resend;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidings_domain::audit::{AuditChange, AuditChanges, AuditTarget, AuditVerb};
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::{Status, idempotency_key};
use tidings_domain::event::EventKind;
use tidings_domain::id::{ChannelId, DeliveryId, EventId, Id as _, IncidentId, RuleId};
use tidings_domain::resource::ResourceType;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::{Violation, Violations};
use tidings_store::history::{DeliveryFilter, DeliveryRecord};
use utoipa::ToSchema;

use crate::attempt::Attempt;
use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::events::resource_id_violation;
use crate::page::{Page, PageQuery};
use crate::principal::{Authorized, Read, SendNow};
use crate::response::Response;
use crate::verdict::{Verdict, verdicts};

/// A notification of one event for one rule.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    pub id: DeliveryId,
    /// The kind of its event.
    pub kind: EventKind,
    /// Whether it was a test.
    pub test: bool,
    pub event_id: EventId,
    /// Null for a test, a digest, and a step of an escalation.
    pub rule_id: Option<RuleId>,
    pub channel_id: ChannelId,
    pub channel_type: ChannelType,
    pub resource_type: ResourceType,
    pub resource_id: String,
    pub resource_name: Option<String>,
    /// Of an incident, the incident's id.
    pub run_id: String,
    /// Such as `failure`, `opened` or `escalated:900`; null for tests and digests.
    pub trigger: Option<String>,
    pub severity: Severity,
    /// Its parts are percent-encoded.
    pub idempotency_key: String,
    pub status: Status,
    /// Why it was suppressed or skipped.
    pub suppressed_reason: Option<String>,
    /// Why it is held.
    pub held_reason: Option<String>,
    pub held_until: Option<Timestamp>,
    /// From 1; later deliveries of the same event for the same rule replace earlier ones.
    pub sequence: u32,
    pub replaces_delivery_id: Option<DeliveryId>,
    /// The digest that carries it.
    pub digest_id: Option<DeliveryId>,
    /// The earlier delivery of the same subject that it waits for.
    pub blocked_by_delivery_id: Option<DeliveryId>,
    /// Of each evaluation of the gates, up to the one that stopped it.
    pub verdicts: Vec<Verdict>,
    pub attempt_count: u32,
    /// Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<Attempt>>,
    /// Of the last attempt.
    pub http_status: Option<u16>,
    /// Of the last attempt.
    pub last_error: Option<String>,
    pub next_attempt_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// When the receiver accepted it.
    pub sent_at: Option<Timestamp>,
    /// When it was settled.
    pub completed_at: Option<Timestamp>,
}

/// Which deliveries to list.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryQuery {
    pub channel: Option<ChannelId>,
    /// The same as `channel`.
    pub channel_id: Option<ChannelId>,
    pub rule: Option<RuleId>,
    /// The same as `rule`.
    pub rule_id: Option<RuleId>,
    pub event: Option<EventId>,
    /// Only those that this digest carries.
    pub digest: Option<DeliveryId>,
    pub incident: Option<IncidentId>,
    pub resource_type: Option<ResourceType>,
    /// Your own id of the resource.
    #[schema(min_length = 1, max_length = 200)]
    pub resource_id: Option<String>,
    /// The same as `resourceId`.
    #[schema(min_length = 1, max_length = 200)]
    pub resource: Option<String>,
    pub status: Option<Status>,
    /// Why it was suppressed, skipped or held.
    #[schema(max_length = 200)]
    pub reason: Option<String>,
    pub kind: Option<EventKind>,
    /// Only those of events accepted at or after this instant.
    pub since: Option<Timestamp>,
    /// Only those of events accepted before this instant.
    pub until: Option<Timestamp>,
    /// Only those whose resource, run id or last error contains this text, in any case.
    #[schema(max_length = 200)]
    pub q: Option<String>,
    #[serde(flatten)]
    pub page: PageQuery,
}

/// What to send again.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Recovery {
    /// The channel through which the deliveries failed.
    #[schema(required, value_type = ChannelId)]
    pub channel_id: Option<ChannelId>,
    /// Those that failed at or after this instant.
    #[schema(required, value_type = Timestamp)]
    pub since: Option<Timestamp>,
    /// Only count them.
    pub dry_run: bool,
}

/// How many deliveries there are to send again, or are sent again.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Recovered {
    /// Of a dry run.
    Counted {
        matched: u64,
    },
    Resent {
        recovered: u64,
    },
}

impl Response for Delivery {}

impl Response for Recovered {}

impl Delivery {
    /// With its attempts.
    pub fn of(record: &DeliveryRecord) -> Self {
        Self { attempts: Some(record.attempts.iter().map(Attempt::of).collect()), ..Self::in_list(record) }
    }

    /// Without its attempts.
    pub fn in_list(record: &DeliveryRecord) -> Self {
        let event = &record.event;
        Self {
            id: record.id,
            kind: event.kind,
            test: event.kind == EventKind::ChannelTest,
            event_id: event.id,
            rule_id: record.rule_id,
            channel_id: record.channel_id,
            channel_type: record.channel_type,
            resource_type: event.resource_type,
            resource_id: event.resource_id.clone(),
            resource_name: event.resource_name().map(str::to_owned),
            run_id: event.run_id.clone(),
            trigger: event.trigger_name().map(|name| name.into_owned()),
            severity: record.severity,
            idempotency_key: idempotency_key(event, record.channel_type, record.rule_id, Some(record.channel_id)),
            status: record.status,
            suppressed_reason: suppressed_reason(record).map(str::to_owned),
            held_reason: record.reason.clone().filter(|_| record.status == Status::Held),
            held_until: record.held_until,
            sequence: record.sequence,
            replaces_delivery_id: record.replaces_id,
            digest_id: record.digest_id,
            blocked_by_delivery_id: record.blocked_by,
            verdicts: record.gate_evaluations.iter().flat_map(verdicts).collect(),
            attempt_count: record.attempt_count,
            attempts: None,
            http_status: record.http_status,
            last_error: record.last_error.clone(),
            next_attempt_at: record.next_attempt_at,
            created_at: record.id.made_at(),
            sent_at: record.sent_at,
            completed_at: record.completed_at,
        }
    }
}

/// Why it was suppressed or skipped. In other states `reason` explains the hold.
pub(crate) fn suppressed_reason(record: &DeliveryRecord) -> Option<&str> {
    let is_dropped = matches!(record.status, Status::Suppressed | Status::Skipped);
    record.reason.as_deref().filter(|_| is_dropped)
}

/// Deliveries, newest first.
///
/// # Errors
/// [`AppError::Invalid`], and those of the store.
pub async fn list(by: &Authorized<Read>, query: DeliveryQuery) -> Result<Page<Delivery>> {
    let mut violations = Violations::new();
    for (pointer, is_repeated) in [
        ("/channel", query.channel.is_some() && query.channel_id.is_some()),
        ("/rule", query.rule.is_some() && query.rule_id.is_some()),
        ("/resourceId", query.resource_id.is_some() && query.resource.is_some()),
    ] {
        if is_repeated {
            violations.push(Violation::new(pointer, "must not be repeated"));
        }
    }
    let resource_id = query.resource_id.or(query.resource);
    violations.extend(resource_id_violation(resource_id.as_deref()));
    if !violations.is_empty() {
        return Err(AppError::Invalid(violations));
    }
    let is_text = |text: &String| !text.is_empty();
    let (before, searched_until) = query.page.search_start()?;
    let filter = DeliveryFilter {
        before,
        searched_until,
        limit: query.page.fetch_limit(),
        channel_id: query.channel.or(query.channel_id),
        rule_id: query.rule.or(query.rule_id),
        event_id: query.event,
        digest_id: query.digest,
        run_id: query.incident.map(|id| id.to_string()),
        resource_type: query.resource_type,
        resource_id,
        status: query.status,
        reason: query.reason.filter(is_text),
        kind: query.kind,
        since: query.since,
        until: query.until,
        text: query.q.filter(is_text),
        ..Default::default()
    };
    let found = by.engine().deliveries(by.workspace_id(), filter).await?;
    Ok(query.page.search_page(&found, |record| record.id, Delivery::in_list))
}

/// One delivery, with its verdicts and attempts.
///
/// # Errors
/// If there is no such delivery.
pub async fn one(by: &Authorized<Read>, id: DeliveryId) -> Result<Delivery> {
    Ok(Delivery::of(&by.engine().delivery(by.workspace_id(), id).await?))
}

/// Sends a delivery again.
///
/// # Errors
/// If there is no such delivery, and if it is in no state to be sent again.
pub async fn resend_one(by: &Authorized<SendNow>, id: DeliveryId) -> Result<Delivery> {
    let action = AuditTarget::Delivery.action(AuditVerb::Resent);
    let entry = by.audit_entry(action, Some(id.to_string()), None, AuditChanges::new(), by.now());
    Ok(Delivery::of(&by.engine().resend(by.workspace_id(), id, Some(entry)).await?))
}

/// Sends again all deliveries that failed through a channel since an instant, or counts them.
///
/// # Errors
/// [`AppError::Invalid`], and if there is no such channel or it is disabled.
pub async fn recover(by: &Authorized<SendNow>, input: Input<Recovery>) -> Result<Recovered> {
    let Recovery { channel_id, since, dry_run } = input.finish()?;
    let (Some(channel_id), Some(since)) = (channel_id, since) else {
        // Both are required by the schema.
        return Err(AppError::invalid("", "cannot be read"));
    };
    let action = AuditTarget::Channel.action(AuditVerb::Recovered);
    let changes = [("since".to_owned(), AuditChange { before: Value::Null, after: json!(since) })].into();
    let entry = by.audit_entry(action, Some(channel_id.to_string()), None, changes, by.now());
    let count = by.engine().recover(by.workspace_id(), channel_id, since, dry_run, Some(entry)).await?;
    Ok(if dry_run { Recovered::Counted { matched: count } } else { Recovered::Resent { recovered: count } })
}
