//! Metrics of the event pipeline, and the record of an attempt. A value is spelled alike as metric label, column and API
//! value; no label ever contains a recipient, an address or an id.

use std::sync::LazyLock;

use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use tidings_channels::AttemptResult;
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::resource::ResourceType;
use tidings_domain::time::Timestamp;
use tidings_store::queue::{Acceptance, Attempt, NextState};

use crate::queue::ChannelQueues;

const ACCEPTED: &str = "tidings_events_accepted_total";
const DUPLICATE: &str = "tidings_events_duplicate_total";
const SETTLED: &str = "tidings_deliveries_settled_total";
const ATTEMPTS: &str = "tidings_attempts_total";
const DURATION: &str = "tidings_attempt_duration_seconds";

/// Registers the help text of each metric.
pub(crate) fn describe() {
    describe_counter!(ACCEPTED, Unit::Count, "Events accepted, by resource type.");
    describe_counter!(DUPLICATE, Unit::Count, "Events reported again and deduplicated, by resource type.");
    describe_counter!(SETTLED, Unit::Count, "Deliveries settled, by channel type and status.");
    describe_counter!(ATTEMPTS, Unit::Count, "Delivery attempts, by channel type and result (ok or the error class).");
    describe_histogram!(DURATION, Unit::Seconds, "Duration of delivery attempts, by channel type.");
    describe_gauge!("tidings_queue_in_flight", Unit::Count, "Delivery attempts in flight.");
    describe_gauge!("tidings_queue_ready", Unit::Count, "Deliveries in memory waiting for a slot.");
    describe_gauge!("tidings_breakers_open", Unit::Count, "Channels whose circuit breaker is open.");
}

/// Metrics of the hot path, registered once: a lookup by labels costs more than the increment.
struct Series {
    accepted: [Counter; ResourceType::ALL.len()],
    /// By channel type, as the two below.
    delivered: [Counter; ChannelType::ALL.len()],
    durations: [Histogram; ChannelType::ALL.len()],
    sent: [Counter; ChannelType::ALL.len()],
}

/// Registered on first use: by then the recorder is installed.
static SERIES: LazyLock<Series> = LazyLock::new(|| Series {
    accepted: ResourceType::ALL.map(|kind| counter!(ACCEPTED, "resource_type" => kind.as_str())),
    delivered: ChannelType::ALL.map(|kind| counter!(ATTEMPTS, "channel_type" => kind.as_str(), "result" => "ok")),
    durations: ChannelType::ALL.map(|kind| histogram!(DURATION, "channel_type" => kind.as_str())),
    sent: ChannelType::ALL
        .map(|kind| counter!(SETTLED, "channel_type" => kind.as_str(), "status" => Status::Sent.as_str())),
});

pub(crate) fn record_accepted(acceptances: &[Acceptance], types: &[ResourceType]) {
    for (acceptance, kind) in acceptances.iter().zip(types) {
        if acceptance.duplicate {
            counter!(DUPLICATE, "resource_type" => kind.as_str()).increment(1);
        } else if let Some(counter) = SERIES.accepted.get(*kind as usize) {
            counter.increment(1);
        }
    }
}

pub(crate) fn record_attempt(channel_type: ChannelType, attempt: &Attempt) {
    match &attempt.error_class {
        None => SERIES.delivered[channel_type as usize].increment(1),
        Some(class) => {
            counter!(ATTEMPTS, "channel_type" => channel_type.as_str(), "result" => class.clone()).increment(1);
        }
    }
    SERIES.durations[channel_type as usize].record(f64::from(attempt.duration_ms) / 1000.0);
}

/// Records a settlement; retries and held deliveries are not settled yet.
pub(crate) fn record_settled(channel_type: ChannelType, next: &NextState) {
    let status = match next {
        NextState::RetryAt(_) | NextState::Held(_) => return,
        NextState::Done(Status::Sent) => return SERIES.sent[channel_type as usize].increment(1),
        NextState::Done(status) => *status,
        NextState::Suppressed(_) | NextState::Outdated(_) => Status::Suppressed,
        NextState::Skipped(_) => Status::Skipped,
        NextState::GivenUp(_) => Status::Failed,
    };
    counter!(SETTLED, "channel_type" => channel_type.as_str(), "status" => status.as_str()).increment(1);
}

pub(crate) fn record_queue(queues: &ChannelQueues) {
    gauge!("tidings_queue_in_flight").set(queues.in_flight() as f64);
    gauge!("tidings_queue_ready").set(queues.ready() as f64);
    gauge!("tidings_breakers_open").set(queues.open_breakers() as f64);
}

/// The record of a finished attempt.
pub(crate) fn attempt_record(
    result: &AttemptResult,
    number: u32,
    trigger: AttemptTrigger,
    (started_at, ended_at): (Timestamp, Timestamp),
    channel_revision: Option<u32>,
) -> Attempt {
    Attempt {
        number,
        trigger,
        started_at,
        duration_ms: u32::try_from(ended_at.since_ms(started_at)).unwrap_or(u32::MAX),
        http_status: result.http_status,
        error_class: result.error_class.map(|class| class.as_str().to_owned()),
        error: result.error.clone(),
        response_headers: result.response_headers.clone(),
        response_body: result.response_body.clone(),
        channel_revision,
        note: result.note.clone(),
    }
}
