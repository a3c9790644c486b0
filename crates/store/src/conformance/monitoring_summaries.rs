//! Summaries: hourly and daily aggregates that outlive their checks.

use std::collections::BTreeMap;

use tidings_domain::check::summary::Summary;
use tidings_domain::check::{Check, CheckStatus};
use tidings_domain::id::EndpointId;
use tidings_domain::time::Timestamp;

use super::fixture::{Fixture, Tenant};
use super::monitoring_fixture::{degraded, healthy, timed_out};
use super::samples::NOW;
use crate::monitoring::{CheckRecord, TransitionRecord};
use crate::retention::{
    HOUR_GRACE_MS, PruneCursor, Pruned, Retention, SummaryFilter, SummaryGranularity, SummaryRecord,
};

const HOUR_MS: u64 = 3_600_000;

/// The start of the hour that contains `NOW`.
fn hour() -> Timestamp {
    SummaryGranularity::Hour.start(SummaryGranularity::Hour.number(NOW))
}

fn at(hours: u64, ms: u64) -> Timestamp {
    hour().plus_ms(hours * HOUR_MS + ms)
}

/// Checks of all kinds over `hours` hours, some of which are left out.
fn checks_over_hours(hours: u64) -> Vec<Check> {
    let mut all = Vec::new();
    for hour in (0..hours).filter(|hour| hour % 5 != 3) {
        for minute in 0..60 {
            let at = at(hour, minute * 60_000 + hour);
            let mut check = match (hour + minute) % 7 {
                0 => timed_out(at),
                1 => degraded(at),
                _ => healthy(at),
            };
            check.timings.total_ms += (hour * 97 + minute * 13) as u32;
            check.response_time_ms = check.response_time_ms.map(|_| check.timings.total_ms);
            if minute == 59 {
                check.status = CheckStatus::Inconclusive;
            }
            all.push(check);
        }
    }
    all
}

/// A reference implementation of summaries.
fn reference(checks: &[Check], span: SummaryGranularity) -> Vec<SummaryRecord> {
    let mut spans: BTreeMap<i64, Vec<&Check>> = BTreeMap::new();
    checks.iter().for_each(|check| spans.entry(span.number(check.checked_at)).or_default().push(check));
    let record =
        |(number, checks)| SummaryRecord { starts_at: span.start(number), summary: Summary::from_checks(checks) };
    spans.into_iter().map(record).collect()
}

fn check_only(check: &CheckRecord) -> TransitionRecord {
    TransitionRecord { check: Some(check.clone()), ..TransitionRecord::default() }
}

impl Fixture {
    async fn summaries(&self, tenant: Tenant, endpoint_id: EndpointId, span: SummaryGranularity) -> Vec<SummaryRecord> {
        let filter = SummaryFilter { granularity: span, limit: 10_000, ..SummaryFilter::default() };
        self.store.summaries(tenant.id, endpoint_id, filter).await.unwrap()
    }

    /// Summarises everything that is due, in steps of `limit` checks. Returns the number of hours written.
    async fn summarise_all(&self, now: Timestamp, limit: u32) -> u32 {
        let mut hours = 0;
        loop {
            let step = self.store.summarise(now, limit).await.unwrap();
            hours += step.hours;
            if !step.has_more {
                return hours;
            }
        }
    }

    /// Prunes everything that is due, in steps of `limit` rows, and returns the totals.
    pub(super) async fn prune_all(&self, now: Timestamp, limit: u32) -> Pruned {
        let (mut all, mut cursor) = (Pruned::default(), Some(PruneCursor::default()));
        while let Some(from) = cursor {
            let step = self.store.prune(now, Retention::default(), from, limit).await.unwrap();
            let rows = step.events
                + step.deliveries
                + step.rate_windows
                + step.checks
                + step.hours
                + step.mutes
                + step.ended_mutes
                + step.episodes;
            assert!(rows <= limit, "{step:?}");
            all.events += step.events;
            all.deliveries += step.deliveries;
            all.rate_windows += step.rate_windows;
            all.checks += step.checks;
            all.hours += step.hours;
            all.mutes += step.mutes;
            all.ended_mutes += step.ended_mutes;
            all.episodes += step.episodes;
            cursor = step.next;
        }
        all
    }
}

pub(super) async fn summarise_hours_and_days_match_checks(fixture: Fixture) {
    let (ours, id, quiet) =
        (fixture.ours, fixture.new_endpoint(fixture.ours).await, fixture.new_endpoint(fixture.ours).await);
    let checks = checks_over_hours(30);
    for check in &checks {
        fixture.record_check(ours, id, check.clone()).await;
    }
    let written = fixture.summarise_all(at(30, HOUR_GRACE_MS), 1).await;
    let (hours, days) = (reference(&checks, SummaryGranularity::Hour), reference(&checks, SummaryGranularity::Day));
    assert!(days.len() > 1 && hours.iter().all(|record| record.summary.uptime().is_some()));
    assert_eq!(written as usize, hours.len());
    assert_eq!(fixture.summaries(ours, id, SummaryGranularity::Hour).await, hours);
    assert_eq!(fixture.summaries(ours, id, SummaryGranularity::Day).await, days);
    assert!(fixture.summaries(ours, quiet, SummaryGranularity::Day).await.is_empty());
    assert!(
        fixture.summaries(fixture.theirs, id, SummaryGranularity::Day).await.is_empty(),
        "another workspace sees nothing"
    );
}

/// Hour by hour, with a restart in between.
pub(super) async fn summarise_counts_each_hour_once(fixture: Fixture) {
    let (ours, id) = (fixture.ours, fixture.new_endpoint(fixture.ours).await);
    let checks = checks_over_hours(8);
    let mut fixture = fixture;
    for step in 0..9 {
        for check in checks.iter().filter(|check| {
            SummaryGranularity::Hour.number(check.checked_at) == SummaryGranularity::Hour.number(at(step, 0))
        }) {
            fixture.record_check(ours, id, check.clone()).await;
        }
        for ms in [HOUR_GRACE_MS - 1, HOUR_GRACE_MS, HOUR_GRACE_MS + 1] {
            fixture.summarise_all(at(step, ms), 500).await;
        }
        if step == 4 {
            fixture = fixture.reopen().await;
        }
    }
    assert_eq!(fixture.summarise_all(at(9, 0), 500).await, 0, "nothing is left to summarise");
    assert_eq!(
        fixture.summaries(ours, id, SummaryGranularity::Hour).await,
        reference(&checks, SummaryGranularity::Hour)
    );
    assert_eq!(fixture.summaries(ours, id, SummaryGranularity::Day).await, reference(&checks, SummaryGranularity::Day));
}

pub(super) async fn summarise_counts_checks_within_grace_period_only(fixture: Fixture) {
    let (ours, id) = (fixture.ours, fixture.new_endpoint(fixture.ours).await);
    let in_time = healthy(at(0, 10));
    fixture.record_check(ours, id, in_time.clone()).await;
    assert_eq!(fixture.summarise_all(at(1, HOUR_GRACE_MS - 1), 9).await, 0);
    // Its probe began within the hour; it is recorded after it.
    let mut slow = fixture.check(id, timed_out(at(0, HOUR_MS - 1)));
    slow.id = fixture.id_at(at(1, 9_000));
    fixture.record_transition(ours, check_only(&slow)).await.unwrap();
    // The check's clock is ahead of the clock of its id.
    let mut ahead = fixture.check(id, healthy(at(1, 5)));
    ahead.id = fixture.id_at(at(0, HOUR_MS - 20_000));
    fixture.record_transition(ours, check_only(&ahead)).await.unwrap();
    assert_eq!(fixture.summarise_all(at(1, HOUR_GRACE_MS), 9).await, 1);
    let late = fixture.record_check(ours, id, timed_out(at(0, 20))).await;
    assert_eq!(fixture.summarise_all(at(2, HOUR_GRACE_MS), 9).await, 1);
    let counted = [in_time, slow.check, ahead.check];
    assert_eq!(
        fixture.summaries(ours, id, SummaryGranularity::Hour).await,
        reference(&counted, SummaryGranularity::Hour)
    );
    assert!(fixture.checks(ours, id).await.contains(&late), "it is stored but not counted");
}

pub(super) async fn summaries_filter_by_time(fixture: Fixture) {
    let (ours, id) = (fixture.ours, fixture.new_endpoint(fixture.ours).await);
    for hour in 0..6 {
        fixture.record_check(ours, id, healthy(at(hour, 7))).await;
    }
    fixture.summarise_all(at(6, HOUR_GRACE_MS), 99).await;
    for (since, until, limit, expected) in [
        (None, None, 9, vec![0, 1, 2, 3, 4, 5]),
        (None, None, 2, vec![0, 1]),
        (Some(at(2, 0)), None, 9, vec![2, 3, 4, 5]),
        (Some(at(2, 1)), None, 9, vec![3, 4, 5]),
        (None, Some(at(2, 0)), 9, vec![0, 1]),
        (Some(at(1, 0)), Some(at(2, 1)), 9, vec![1, 2]),
        (Some(at(4, 0)), Some(at(4, 0)), 9, vec![]),
    ] {
        let filter = SummaryFilter { granularity: SummaryGranularity::Hour, since, until, limit };
        let found = fixture.store.summaries(ours.id, id, filter).await.unwrap();
        assert!(found.iter().map(|record| record.starts_at).eq(expected.into_iter().map(|hour| at(hour, 0))));
    }
}

pub(super) async fn prune_summarises_checks_first(fixture: Fixture) {
    let (ours, id) = (fixture.ours, fixture.new_endpoint(fixture.ours).await);
    let checks = checks_over_hours(6);
    for check in &checks {
        fixture.record_check(ours, id, check.clone()).await;
    }
    let pruned = fixture.prune_all(at(100, 0), 7).await;
    assert_eq!(pruned.checks as usize, checks.len());
    assert_eq!(
        fixture.summaries(ours, id, SummaryGranularity::Hour).await,
        reference(&checks, SummaryGranularity::Hour)
    );
    assert_eq!(fixture.summarise_all(at(100, 0), 9).await, 0, "and not again");
    assert_eq!(fixture.summaries(ours, id, SummaryGranularity::Day).await, reference(&checks, SummaryGranularity::Day));
}

pub(super) async fn summarise_recovers_from_clock_ahead(fixture: Fixture) {
    let (ours, id) = (fixture.ours, fixture.new_endpoint(fixture.ours).await);
    fixture.record_check(ours, id, healthy(at(0, 1))).await;
    fixture.summarise_all(at(10_000, 0), 9).await;
    fixture.record_check(ours, id, healthy(at(1, 1))).await;
    fixture.summarise_all(at(2, HOUR_GRACE_MS), 9).await;
    let later = fixture.record_check(ours, id, healthy(at(2, 1))).await;
    fixture.summarise_all(at(3, HOUR_GRACE_MS), 9).await;
    let last = fixture.summaries(ours, id, SummaryGranularity::Hour).await.pop();
    assert_eq!(last, reference(&[later.check], SummaryGranularity::Hour).pop());
}
