//! What is measured of the way of an event, and the row that an attempt leaves. One word is metric label, column and API
//! value; no label ever holds a recipient, an address or an id.

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

use crate::queue::Lanes;

const ACCEPTED: &str = "tidings_events_accepted_total";
const DUPLICATE: &str = "tidings_events_duplicate_total";
const SETTLED: &str = "tidings_deliveries_settled_total";
const ATTEMPTS: &str = "tidings_attempts_total";
const DURATION: &str = "tidings_attempt_duration_seconds";

/// Says what each series means.
pub(crate) fn describe() {
    describe_counter!(ACCEPTED, Unit::Count, "Events taken in, by type of resource.");
    describe_counter!(DUPLICATE, Unit::Count, "Events told again, by type of resource.");
    describe_counter!(SETTLED, Unit::Count, "Deliveries settled, by type of channel and state.");
    describe_counter!(
        ATTEMPTS,
        Unit::Count,
        "Attempts made, by type of channel and result (ok or the class of the failure)."
    );
    describe_histogram!(DURATION, Unit::Seconds, "How long attempts took, by type of channel.");
    describe_gauge!("tidings_queue_in_flight", Unit::Count, "Attempts under way.");
    describe_gauge!("tidings_queue_ready", Unit::Count, "Deliveries in memory that wait for a slot.");
    describe_gauge!("tidings_breakers_open", Unit::Count, "Channels whose destination is taken to be down.");
}

/// The series of the hot path, looked up once: finding one by its labels costs more than counting.
struct Series {
    accepted: [Counter; ResourceType::ALL.len()],
    /// By type of channel.
    delivered: [Counter; ChannelType::ALL.len()],
    /// By type of channel.
    durations: [Histogram; ChannelType::ALL.len()],
    /// By type of channel.
    sent: [Counter; ChannelType::ALL.len()],
}

/// Made when the first event is counted; by then the recorder is there.
static SERIES: LazyLock<Series> = LazyLock::new(|| Series {
    accepted: ResourceType::ALL.map(|kind| counter!(ACCEPTED, "resource_type" => kind.as_str())),
    delivered: ChannelType::ALL.map(|kind| counter!(ATTEMPTS, "channel_type" => kind.as_str(), "result" => "ok")),
    durations: ChannelType::ALL.map(|kind| histogram!(DURATION, "channel_type" => kind.as_str())),
    sent: ChannelType::ALL
        .map(|kind| counter!(SETTLED, "channel_type" => kind.as_str(), "status" => Status::Sent.as_str())),
});

/// Events were taken in.
pub(crate) fn accepted(acceptances: &[Acceptance], types: &[ResourceType]) {
    for (acceptance, kind) in acceptances.iter().zip(types) {
        if acceptance.duplicate {
            counter!(DUPLICATE, "resource_type" => kind.as_str()).increment(1);
        } else if let Some(counter) = SERIES.accepted.get(*kind as usize) {
            counter.increment(1);
        }
    }
}

/// An attempt was made.
pub(crate) fn attempted(channel_type: ChannelType, attempt: &Attempt) {
    match &attempt.error_class {
        None => SERIES.delivered[channel_type as usize].increment(1),
        Some(class) => {
            counter!(ATTEMPTS, "channel_type" => channel_type.as_str(), "result" => class.clone()).increment(1);
        }
    }
    SERIES.durations[channel_type as usize].record(f64::from(attempt.duration_ms) / 1000.0);
}

/// A delivery was settled, or put off.
pub(crate) fn settled(channel_type: ChannelType, next: &NextState) {
    let status = match next {
        NextState::RetryAt(_) | NextState::Held(_) => return,
        NextState::Done(Status::Sent) => return SERIES.sent[channel_type as usize].increment(1),
        NextState::Done(status) => *status,
        NextState::Suppressed(_) => Status::Suppressed,
        NextState::Skipped(_) => Status::Skipped,
    };
    counter!(SETTLED, "channel_type" => channel_type.as_str(), "status" => status.as_str()).increment(1);
}

/// How full the queue is.
pub(crate) fn queue(lanes: &Lanes) {
    gauge!("tidings_queue_in_flight").set(lanes.in_flight() as f64);
    gauge!("tidings_queue_ready").set(lanes.ready() as f64);
    gauge!("tidings_breakers_open").set(lanes.open_breakers() as f64);
}

/// The row of an attempt that came to this report.
pub(crate) fn attempt(
    report: &AttemptResult,
    number: u32,
    trigger: AttemptTrigger,
    started_at: Timestamp,
    ended_at: Timestamp,
) -> Attempt {
    Attempt {
        number,
        trigger,
        started_at,
        duration_ms: u32::try_from(ended_at.since_ms(started_at)).unwrap_or(u32::MAX),
        http_status: report.http_status,
        error_class: report.error_class.map(|class| class.as_str().to_owned()),
        error: report.error.clone(),
        response_body: report.response_body.clone(),
    }
}
