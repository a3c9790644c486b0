//! What is measured of the way of an event, and the row that an attempt leaves. One word is metric label, column and API
//! value; no label ever holds a recipient, an address or an id.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use tidings_channels::Report;
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::resource::ResourceType;
use tidings_domain::time::Timestamp;
use tidings_store::queue::{Acceptance, Attempt, NextState};

use crate::queue::Lanes;

/// Says what each series means.
pub(crate) fn describe() {
    describe_counter!("tidings_events_accepted_total", Unit::Count, "Events taken in, by type of resource.");
    describe_counter!("tidings_events_duplicate_total", Unit::Count, "Events told again, by type of resource.");
    describe_counter!(
        "tidings_deliveries_settled_total",
        Unit::Count,
        "Deliveries settled, by type of channel and state."
    );
    describe_counter!(
        "tidings_attempts_total",
        Unit::Count,
        "Attempts made, by type of channel and result (ok or the class of the failure)."
    );
    describe_histogram!(
        "tidings_attempt_duration_seconds",
        Unit::Seconds,
        "How long attempts took, by type of channel."
    );
    describe_gauge!("tidings_queue_in_flight", Unit::Count, "Attempts under way.");
    describe_gauge!("tidings_queue_ready", Unit::Count, "Deliveries in memory that wait for a slot.");
    describe_gauge!("tidings_breakers_open", Unit::Count, "Channels whose destination is taken to be down.");
}

/// Events were taken in.
pub(crate) fn accepted(acceptances: &[Acceptance], types: &[ResourceType]) {
    for (acceptance, kind) in acceptances.iter().zip(types) {
        if acceptance.duplicate {
            counter!("tidings_events_duplicate_total", "resource_type" => kind.as_str()).increment(1);
        } else {
            counter!("tidings_events_accepted_total", "resource_type" => kind.as_str()).increment(1);
        }
    }
}

/// An attempt was made.
pub(crate) fn attempted(channel_type: ChannelType, attempt: &Attempt) {
    let result = attempt.error_class.clone().unwrap_or_else(|| "ok".to_owned());
    counter!("tidings_attempts_total", "channel_type" => channel_type.as_str(), "result" => result).increment(1);
    histogram!("tidings_attempt_duration_seconds", "channel_type" => channel_type.as_str())
        .record(f64::from(attempt.duration_ms) / 1000.0);
}

/// A delivery was settled, or put off.
pub(crate) fn settled(channel_type: ChannelType, next: &NextState) {
    let status = match next {
        NextState::RetryAt(_) => return,
        NextState::Done(status) => *status,
        NextState::Suppressed(_) => Status::Suppressed,
        NextState::Skipped => Status::Skipped,
    };
    counter!("tidings_deliveries_settled_total", "channel_type" => channel_type.as_str(), "status" => status.as_str())
        .increment(1);
}

/// How full the queue is.
pub(crate) fn queue(lanes: &Lanes) {
    gauge!("tidings_queue_in_flight").set(lanes.in_flight() as f64);
    gauge!("tidings_queue_ready").set(lanes.ready() as f64);
    gauge!("tidings_breakers_open").set(lanes.open_breakers() as f64);
}

/// The row of an attempt that came to this report.
pub(crate) fn attempt(
    report: &Report,
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
