//! Events and runs in responses.

use std::borrow::Cow;

use serde::Serialize;
use tidings_domain::id::EventId;
use tidings_domain::routing::NotRouted;
use tidings_domain::time::Timestamp;
use tidings_store::history::{DeliveryRecord, EventRecord};
use tidings_store::queue::Counts;

use super::content::Content;
use super::delivery::Delivery;

/// The deliveries that an event created, by their initial status.
#[derive(Serialize)]
struct CountsView {
    pending: u32,
    held: u32,
    suppressed: u32,
}

impl From<Counts> for CountsView {
    fn from(counts: Counts) -> Self {
        Self { pending: counts.pending, held: counts.held, suppressed: counts.suppressed }
    }
}

/// The fields that runs and events share.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CommonFields<'a> {
    resource_type: &'a str,
    resource_id: &'a str,
    resource_name: Option<&'a str>,
    run_id: &'a str,
    #[serde(flatten)]
    content: Content<'a>,
    received_at: Timestamp,
}

impl<'a> CommonFields<'a> {
    fn of(event: &'a tidings_domain::event::Event) -> Self {
        Self {
            resource_type: event.resource_type.as_str(),
            resource_id: &event.resource_id,
            resource_name: event.resource_name(),
            run_id: &event.run_id,
            content: Content::of(event),
            received_at: event.received_at,
        }
    }
}

/// An event in a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event<'a> {
    id: EventId,
    kind: &'a str,
    trigger: Option<Cow<'a, str>>,
    #[serde(flatten)]
    common: CommonFields<'a>,
    not_routed: &'a [NotRouted],
    delivery_counts: CountsView,
}

impl<'a> Event<'a> {
    pub(crate) fn of(record: &'a EventRecord) -> Self {
        Self {
            id: record.event.id,
            kind: record.event.kind.as_str(),
            trigger: record.event.trigger_name(),
            common: CommonFields::of(&record.event),
            not_routed: &record.not_routed,
            delivery_counts: record.counts.into(),
        }
    }
}

/// An event with its deliveries.
#[derive(Serialize)]
pub(crate) struct EventWithDeliveries<'a> {
    #[serde(flatten)]
    event: Event<'a>,
    deliveries: Vec<Delivery<'a>>,
}

impl<'a> EventWithDeliveries<'a> {
    pub(crate) fn of(record: &'a EventRecord, deliveries: &'a [DeliveryRecord]) -> Self {
        Self { event: Event::of(record), deliveries: deliveries.iter().map(Delivery::of).collect() }
    }
}
