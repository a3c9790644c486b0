//! `/notification-rules/deliveries`: the deliveries of one resource.

use serde::Serialize;
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::Status;
use tidings_domain::id::{DeliveryId, RuleId};
use tidings_domain::time::Timestamp;
use tidings_store::history::{DeliveryFilter, DeliveryRecord};
use utoipa::ToSchema;

use super::ResourcePageQuery;
use crate::error::Result;
use crate::page::Page;
use crate::principal::{Authorized, Read};

/// A delivery of a resource. Here `attempts` is their number, as clients of this API expect.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleDelivery {
    pub id: DeliveryId,
    /// Null for a step of an escalation.
    pub rule_id: Option<RuleId>,
    /// Of an incident, the incident's id.
    pub run_id: String,
    /// What caused it, such as `failure`, `opened` or `escalated:900`.
    pub trigger: String,
    pub channel_type: ChannelType,
    pub status: Status,
    pub attempts: u32,
    /// Of the last attempt.
    pub http_status: Option<u16>,
    /// Of the last attempt.
    pub last_error: Option<String>,
    /// When the receiver accepted it.
    pub sent_at: Option<Timestamp>,
    /// When it was settled.
    pub completed_at: Option<Timestamp>,
}

impl RuleDelivery {
    fn of(record: &DeliveryRecord) -> Self {
        Self {
            id: record.id,
            rule_id: record.rule_id,
            run_id: record.event.run_id.clone(),
            trigger: record.event.trigger.wire_name().into_owned(),
            channel_type: record.channel_type,
            status: record.status,
            attempts: record.attempt_count,
            http_status: record.http_status,
            last_error: record.last_error.clone(),
            sent_at: record.sent_at,
            completed_at: record.completed_at,
        }
    }
}

/// The deliveries of one resource, newest first, without tests.
///
/// # Errors
/// [`crate::AppError::Invalid`], and those of the store.
pub async fn deliveries(by: &Authorized<Read>, query: &ResourcePageQuery) -> Result<Page<RuleDelivery>> {
    let ResourcePageQuery { resource, page } = query;
    resource.validate()?;
    let (before, searched_until) = page.search_start()?;
    let filter = DeliveryFilter {
        before,
        searched_until,
        limit: page.fetch_limit(),
        // Excludes tests of rules of runs; resources with incidents have no tests.
        runs_only: !resource.resource_type.has_incidents(),
        resource_type: Some(resource.resource_type),
        resource_id: Some(resource.resource_id.clone()).filter(|id| id != "*"),
        ..Default::default()
    };
    let found = by.engine().deliveries(by.workspace_id(), filter).await?;
    Ok(page.search_page(&found, |record| record.id, RuleDelivery::of))
}
