//! Events and runs as they are shown.

use serde::Serialize;
use serde_json::value::RawValue;
use tidings_domain::id::EventId;
use tidings_domain::routing::NotRouted;
use tidings_domain::time::Timestamp;
use tidings_store::log::{DeliveryRecord, EventRecord};
use tidings_store::queue::{Acceptance, Counts};

use super::delivery::Delivery;

/// How many deliveries an event began with.
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

/// The answer to a report.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Accepted {
    event_id: EventId,
    duplicate: bool,
    deliveries: CountsView,
}

impl Accepted {
    pub(crate) fn of(acceptance: &Acceptance) -> Self {
        Self { event_id: acceptance.event_id, duplicate: acceptance.duplicate, deliveries: acceptance.counts.into() }
    }
}

/// What is known of a run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Facts<'a> {
    resource_type: &'a str,
    resource_id: &'a str,
    resource_name: Option<&'a str>,
    run_id: &'a str,
    trigger_type: Option<&'a str>,
    started_at: Option<Timestamp>,
    completed_at: Timestamp,
    duration_ms: Option<u64>,
    row_count: Option<u64>,
    error_message: Option<&'a str>,
    output: Option<&'a RawValue>,
    deep_link: Option<&'a str>,
    received_at: Timestamp,
}

impl<'a> Facts<'a> {
    fn of(event: &'a tidings_domain::event::Event) -> Self {
        let run = &event.run;
        Self {
            resource_type: event.resource_type.as_str(),
            resource_id: &event.resource_id,
            resource_name: run.resource_name.as_deref(),
            run_id: &event.run_id,
            trigger_type: run.trigger_type.as_ref().map(|how| how.as_str()),
            started_at: run.started_at,
            completed_at: run.completed_at,
            duration_ms: run.duration_ms,
            row_count: run.row_count,
            error_message: run.error_message.as_deref(),
            output: run.output.as_deref(),
            deep_link: run.deep_link.as_deref(),
            received_at: event.received_at,
        }
    }
}

/// A run, as it was reported.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run<'a> {
    event_id: EventId,
    status: &'a str,
    #[serde(flatten)]
    facts: Facts<'a>,
    deliveries: CountsView,
}

impl<'a> Run<'a> {
    pub(crate) fn of(record: &'a EventRecord) -> Self {
        Self {
            event_id: record.event.id,
            status: record.event.trigger.as_str(),
            facts: Facts::of(&record.event),
            deliveries: record.counts.into(),
        }
    }
}

/// An event, as a line of a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event<'a> {
    id: EventId,
    kind: &'a str,
    trigger: &'a str,
    #[serde(flatten)]
    facts: Facts<'a>,
    not_routed: &'a [NotRouted],
    delivery_counts: CountsView,
}

impl<'a> Event<'a> {
    pub(crate) fn of(record: &'a EventRecord) -> Self {
        Self {
            id: record.event.id,
            kind: record.event.kind.as_str(),
            trigger: record.event.trigger.as_str(),
            facts: Facts::of(&record.event),
            not_routed: &record.not_routed,
            delivery_counts: record.counts.into(),
        }
    }
}

/// An event with all that followed from it.
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
