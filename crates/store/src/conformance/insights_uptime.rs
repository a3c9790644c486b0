//! Uptime by day of many endpoints at once.

use tidings_domain::check::{Check, CheckStatus};
use tidings_domain::incident::{Cause, Subject};
use tidings_domain::time::Timestamp;

use super::fixture::Fixture;
use super::monitoring_fixture::{degraded, healthy, incident_only, timed_out, unknown_id};
use super::samples::NOW;
use crate::insights::UptimeDay;
use crate::retention::{HOUR_GRACE_MS, SummaryGranularity};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// The start of the day that contains `NOW`, and its number.
fn day() -> (Timestamp, i64) {
    let number = SummaryGranularity::Day.number(NOW);
    (SummaryGranularity::Day.start(number), number)
}

/// Summarised hours and later checks are counted once each, whenever it is asked.
pub(super) async fn uptime_counts_each_check_once(fixture: Fixture) {
    let ours = fixture.ours;
    let (start, number) = day();
    let id = fixture.new_endpoint(ours).await;
    let inconclusive = |at| Check { status: CheckStatus::Inconclusive, ..healthy(at) };
    let checks: [fn(Timestamp) -> Check; 4] = [healthy, degraded, timed_out, inconclusive];
    for hour in 20..30_u64 {
        for (minute, check) in checks.into_iter().enumerate() {
            fixture.record_check(ours, id, check(start.plus_ms(hour * HOUR_MS + minute as u64 * 60_000))).await;
        }
    }
    let of_day = |day, hours| UptimeDay {
        day,
        healthy: hours,
        degraded: hours,
        down: hours,
        inconclusive: hours,
        ..UptimeDay::default()
    };
    let expected = [of_day(number, 4), of_day(number + 1, 6)];
    let now = start.plus_ms(30 * HOUR_MS);
    for hours in [0, 21, 25, 30] {
        fixture.store.summarise(start.plus_ms(hours * HOUR_MS + HOUR_GRACE_MS), 9_999).await.unwrap();
        let found = fixture.store.uptime(ours.id, vec![id], now, 90).await.unwrap();
        assert_eq!(found[0].days, expected, "summarised {hours} hours");
        let today = fixture.store.uptime(ours.id, vec![id], now, 1).await.unwrap();
        assert_eq!(today[0].days, expected[1..], "summarised {hours} hours");
    }
}

pub(super) async fn uptime_has_incidents_and_down_time_by_day(fixture: Fixture) {
    let ours = fixture.ours;
    let (start, number) = day();
    let (id, other) = (fixture.new_endpoint(ours).await, fixture.new_endpoint(ours).await);
    let foreign = fixture.new_endpoint(fixture.theirs).await;
    // Begun, ended, cause: over midnight, short, degraded, and active.
    let incidents = [
        (start.minus_ms(2 * HOUR_MS), Some(start.plus_ms(HOUR_MS)), Cause::EndpointDown),
        (start.plus_ms(3 * HOUR_MS), Some(start.plus_ms(3 * HOUR_MS + 5)), Cause::EndpointDown),
        (start.plus_ms(4 * HOUR_MS), Some(start.plus_ms(5 * HOUR_MS)), Cause::EndpointDegraded),
        (start.plus_ms(6 * HOUR_MS), None, Cause::EndpointDown),
    ];
    for (started_at, resolved_at, cause) in incidents {
        let mut record = fixture.incident_record_at(ours, Subject::Endpoint(id), started_at);
        (record.incident.cause, record.incident.started_at, record.incident.resolved_at) =
            (cause, started_at, resolved_at);
        fixture.record_transition(ours, incident_only(record)).await.unwrap();
    }
    let now = start.plus_ms(DAY_MS + 7);
    let found = fixture.store.uptime(ours.id, vec![other, id, foreign, unknown_id()], now, 90).await.unwrap();
    assert!(found.iter().map(|endpoint| endpoint.endpoint_id).eq([other, id]), "in the order of the question");
    assert!(found[0].days.is_empty());
    let of_day = |day, incidents, down_ms| UptimeDay { day, incidents, down_ms, ..UptimeDay::default() };
    let today = of_day(number, 3, HOUR_MS + 5 + 18 * HOUR_MS);
    assert_eq!(found[1].days, [of_day(number - 1, 1, 2 * HOUR_MS), today, of_day(number + 1, 0, 7)]);
    let short = fixture.store.uptime(ours.id, vec![id], now, 2).await.unwrap();
    assert_eq!(short[0].days, [today, of_day(number + 1, 0, 7)], "one that began before the span is cut");
}
