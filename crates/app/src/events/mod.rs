//! `/events`: what was accepted, and the deliveries that it caused.

mod content;
pub mod why;

use serde::{Deserialize, Serialize};
use tidings_domain::event::{self, EventKind};
use tidings_domain::id::EventId;
use tidings_domain::resource::{ResourceType, validate_external_id};
use tidings_domain::routing::NotRouted;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;
use tidings_domain::violation::Violation;
use tidings_store::history::{DeliveryRecord, EventFilter, EventRecord};
use utoipa::ToSchema;

pub use content::{
    DigestContent, DigestEntry, EndpointContext, EventContent, IncidentContent, IncidentSummary, RunContent,
};

use crate::contract::Input;
use crate::deliveries::Delivery;
use crate::error::Result;
use crate::page::{Page, PageQuery};
use crate::principal::{Authorized, Read};
use crate::response::Response;
use crate::runs::DeliveryCounts;

/// An event. Which fields it has besides follows from its `kind`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub id: EventId,
    pub kind: EventKind,
    /// Such as `failure`, `opened` or `escalated:900`; null for tests and digests.
    pub trigger: Option<String>,
    pub resource_type: ResourceType,
    pub resource_id: String,
    pub resource_name: Option<String>,
    /// Of an incident, the incident's id.
    pub run_id: String,
    #[serde(flatten)]
    pub content: EventContent,
    pub received_at: Timestamp,
    /// The rules of the resource that did not match, and why.
    pub not_routed: Vec<NotRouted>,
    /// As they were made.
    pub delivery_counts: DeliveryCounts,
}

/// An event with its deliveries.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventWithDeliveries {
    #[serde(flatten)]
    pub event: Event,
    /// Oldest first.
    pub deliveries: Vec<Delivery>,
}

/// Which events to list.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventQuery {
    pub resource_type: Option<ResourceType>,
    /// Your own id of the resource.
    #[schema(min_length = 1, max_length = 200)]
    pub resource_id: Option<String>,
    /// `success`, `failure`, `opened`, `worsened`, `escalated:<seconds>`, `reminder:<number>`, `flapping`, `stable` or
    /// `resolved`.
    #[schema(max_length = 40)]
    pub trigger: Option<String>,
    pub kind: Option<EventKind>,
    #[serde(flatten)]
    pub page: PageQuery,
}

impl Response for EventWithDeliveries {}

impl Event {
    fn of(record: &EventRecord) -> Self {
        let event: &event::Event = &record.event;
        Self {
            id: event.id,
            kind: event.kind,
            trigger: event.trigger_name().map(|name| name.into_owned()),
            resource_type: event.resource_type,
            resource_id: event.resource_id.clone(),
            resource_name: event.resource_name().map(str::to_owned),
            run_id: event.run_id.clone(),
            content: EventContent::of(event),
            received_at: event.received_at,
            not_routed: record.not_routed.clone(),
            delivery_counts: record.counts.into(),
        }
    }
}

impl EventWithDeliveries {
    fn of(record: &EventRecord, deliveries: &[DeliveryRecord]) -> Self {
        Self { event: Event::of(record), deliveries: deliveries.iter().map(Delivery::of).collect() }
    }
}

/// Events, newest first.
///
/// # Errors
/// [`crate::AppError::Invalid`], and those of the store.
pub async fn list(by: &Authorized<Read>, mut input: Input<EventQuery>) -> Result<Page<Event>> {
    let trigger = input.value.trigger.as_deref().map(|text| {
        Trigger::parse(text).ok_or_else(|| {
            Violation::new(
                "/trigger",
                "must be success, failure, opened, worsened, escalated:<seconds>, reminder:<number>, flapping, stable or \
                    resolved",
            )
        })
    });
    let trigger = trigger.transpose().unwrap_or_else(|violation| {
        input.refuse([violation]);
        None
    });
    let violations = resource_id_violation(input.value.resource_id.as_deref());
    input.refuse(violations);
    let query = input.finish()?;
    let (before, searched_until) = query.page.search_start()?;
    let filter = EventFilter {
        before,
        searched_until,
        limit: query.page.fetch_limit(),
        resource_type: query.resource_type,
        resource_id: query.resource_id,
        // Tests and digests have no trigger, but are stored with that of a run.
        runs_only: trigger.is_some_and(|trigger| Trigger::OF_RUNS.contains(&trigger)),
        trigger,
        kind: query.kind,
    };
    let found = by.engine().events(by.workspace_id(), filter).await?;
    Ok(query.page.search_page(&found, |record| record.event.id, Event::of))
}

/// One event, with each of its deliveries.
///
/// # Errors
/// If there is no such event.
pub async fn one(by: &Authorized<Read>, id: EventId) -> Result<EventWithDeliveries> {
    let (event, deliveries) = by.engine().event(by.workspace_id(), id).await?;
    Ok(EventWithDeliveries::of(&event, &deliveries))
}

/// What is wrong with a `resourceId` in a query.
pub(crate) fn resource_id_violation(id: Option<&str>) -> Option<Violation> {
    let fault = id.and_then(validate_external_id)?;
    Some(Violation::new("/resourceId", format!("{fault}: it is a resource's id")))
}
