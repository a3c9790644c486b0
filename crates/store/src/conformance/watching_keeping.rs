//! Summaries: what is left of checks when they are gone.

use std::collections::BTreeMap;

use tidings_domain::check::summary::Summary;
use tidings_domain::check::{Check, CheckStatus};
use tidings_domain::id::EndpointId;
use tidings_domain::time::Timestamp;

use super::samples::NOW;
use super::watching_world::{degraded, healthy, timed_out};
use super::world::{Tenant, World};
use crate::monitoring::{CheckRecord, TransitionRecord};
use crate::retention::{
    HOUR_OPEN_MS, PruneCursor, Pruned, Retention, SummaryFilter, SummaryGranularity, SummaryRecord,
};

const HOUR_MS: u64 = 3_600_000;

/// The instant at which the hour of the beginning begins.
fn hour() -> Timestamp {
    SummaryGranularity::Hour.start(SummaryGranularity::Hour.number(NOW))
}

fn at(hours: u64, ms: u64) -> Timestamp {
    hour().plus_ms(hours * HOUR_MS + ms)
}

/// Checks of all kinds over so many hours, some hours left out.
fn of_hours(hours: u64) -> Vec<Check> {
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

/// What the checks come to, plainly.
fn reference(checks: &[Check], span: SummaryGranularity) -> Vec<SummaryRecord> {
    let mut spans: BTreeMap<i64, Vec<&Check>> = BTreeMap::new();
    checks.iter().for_each(|check| spans.entry(span.number(check.checked_at)).or_default().push(check));
    let record = |(number, checks)| SummaryRecord { starts_at: span.start(number), summary: Summary::of(checks) };
    spans.into_iter().map(record).collect()
}

fn alone(check: &CheckRecord) -> TransitionRecord {
    TransitionRecord { check: Some(check.clone()), ..TransitionRecord::default() }
}

impl World {
    async fn summaries(&self, tenant: Tenant, endpoint_id: EndpointId, span: SummaryGranularity) -> Vec<SummaryRecord> {
        let filter = SummaryFilter { span, limit: 10_000, ..SummaryFilter::default() };
        self.store.summaries(tenant.id, endpoint_id, filter).await.unwrap()
    }

    /// Summarises all that can be by then, in steps of so many checks.
    async fn summarised(&self, now: Timestamp, limit: u32) -> u32 {
        let mut hours = 0;
        loop {
            let step = self.store.summarise(now, limit).await.unwrap();
            hours += step.hours;
            if !step.has_more {
                return hours;
            }
        }
    }

    /// Prunes all that can be, in steps of so many rows.
    pub(super) async fn pruned(&self, now: Timestamp, limit: u32) -> Pruned {
        let (mut all, mut cursor) = (Pruned::default(), Some(PruneCursor::default()));
        while let Some(from) = cursor {
            let step = self.store.prune(now, Retention::default(), from, limit).await.unwrap();
            let rows = step.events + step.deliveries + step.admissions + step.checks + step.hours + step.mutes;
            assert!(rows <= limit, "{step:?}");
            all.events += step.events;
            all.deliveries += step.deliveries;
            all.admissions += step.admissions;
            all.checks += step.checks;
            all.hours += step.hours;
            all.mutes += step.mutes;
            cursor = step.next;
        }
        all
    }
}

pub(super) async fn hours_and_days_are_what_their_checks_came_to(world: World) {
    let (ours, id, quiet) = (world.ours, world.watched(world.ours).await, world.watched(world.ours).await);
    let checks = of_hours(30);
    for check in &checks {
        world.checked(ours, id, check.clone()).await;
    }
    let written = world.summarised(at(30, HOUR_OPEN_MS), 1).await;
    let (hours, days) = (reference(&checks, SummaryGranularity::Hour), reference(&checks, SummaryGranularity::Day));
    assert!(days.len() > 1 && hours.iter().all(|record| record.summary.uptime().is_some()));
    assert_eq!(written as usize, hours.len());
    assert_eq!(world.summaries(ours, id, SummaryGranularity::Hour).await, hours);
    assert_eq!(world.summaries(ours, id, SummaryGranularity::Day).await, days);
    assert!(world.summaries(ours, quiet, SummaryGranularity::Day).await.is_empty());
    assert!(world.summaries(world.theirs, id, SummaryGranularity::Day).await.is_empty(), "a stranger sees nothing");
}

/// Hour by hour, with a restart between, as it goes in life.
pub(super) async fn each_hour_is_summarised_once(world: World) {
    let (ours, id) = (world.ours, world.watched(world.ours).await);
    let checks = of_hours(8);
    let mut world = world;
    for step in 0..9 {
        for check in checks.iter().filter(|check| {
            SummaryGranularity::Hour.number(check.checked_at) == SummaryGranularity::Hour.number(at(step, 0))
        }) {
            world.checked(ours, id, check.clone()).await;
        }
        for ms in [HOUR_OPEN_MS - 1, HOUR_OPEN_MS, HOUR_OPEN_MS + 1] {
            world.summarised(at(step, ms), 500).await;
        }
        if step == 4 {
            world = world.reopen().await;
        }
    }
    assert_eq!(world.summarised(at(9, 0), 500).await, 0, "nothing is left to do");
    assert_eq!(world.summaries(ours, id, SummaryGranularity::Hour).await, reference(&checks, SummaryGranularity::Hour));
    assert_eq!(world.summaries(ours, id, SummaryGranularity::Day).await, reference(&checks, SummaryGranularity::Day));
}

pub(super) async fn an_hour_stays_open_for_a_little_and_no_longer(world: World) {
    let (ours, id) = (world.ours, world.watched(world.ours).await);
    let in_time = healthy(at(0, 10));
    world.checked(ours, id, in_time.clone()).await;
    assert_eq!(world.summarised(at(1, HOUR_OPEN_MS - 1), 9).await, 0);
    // Its probe began before the hour was over; it is told after that.
    let mut slow = world.check(id, timed_out(at(0, HOUR_MS - 1)));
    slow.id = world.id_at(at(1, 9_000));
    world.follow(ours, alone(&slow)).await.unwrap();
    // Its clock is ahead of the store's.
    let mut ahead = world.check(id, healthy(at(1, 5)));
    ahead.id = world.id_at(at(0, HOUR_MS - 20_000));
    world.follow(ours, alone(&ahead)).await.unwrap();
    assert_eq!(world.summarised(at(1, HOUR_OPEN_MS), 9).await, 1);
    let late = world.checked(ours, id, timed_out(at(0, 20))).await;
    assert_eq!(world.summarised(at(2, HOUR_OPEN_MS), 9).await, 1);
    let counted = [in_time, slow.check, ahead.check];
    assert_eq!(
        world.summaries(ours, id, SummaryGranularity::Hour).await,
        reference(&counted, SummaryGranularity::Hour)
    );
    assert!(world.checks(ours, id).await.contains(&late), "it is kept, and not counted");
}

pub(super) async fn summaries_are_listed_by_time(world: World) {
    let (ours, id) = (world.ours, world.watched(world.ours).await);
    for hour in 0..6 {
        world.checked(ours, id, healthy(at(hour, 7))).await;
    }
    world.summarised(at(6, HOUR_OPEN_MS), 99).await;
    for (since, until, limit, expected) in [
        (None, None, 9, vec![0, 1, 2, 3, 4, 5]),
        (None, None, 2, vec![0, 1]),
        (Some(at(2, 0)), None, 9, vec![2, 3, 4, 5]),
        (Some(at(2, 1)), None, 9, vec![3, 4, 5]),
        (None, Some(at(2, 0)), 9, vec![0, 1]),
        (Some(at(1, 0)), Some(at(2, 1)), 9, vec![1, 2]),
        (Some(at(4, 0)), Some(at(4, 0)), 9, vec![]),
    ] {
        let filter = SummaryFilter { span: SummaryGranularity::Hour, since, until, limit };
        let found = world.store.summaries(ours.id, id, filter).await.unwrap();
        assert!(found.iter().map(|record| record.starts_at).eq(expected.into_iter().map(|hour| at(hour, 0))));
    }
}

pub(super) async fn what_is_pruned_was_summarised_before(world: World) {
    let (ours, id) = (world.ours, world.watched(world.ours).await);
    let checks = of_hours(6);
    for check in &checks {
        world.checked(ours, id, check.clone()).await;
    }
    let pruned = world.pruned(at(100, 0), 7).await;
    assert_eq!(pruned.checks as usize, checks.len());
    assert_eq!(world.summaries(ours, id, SummaryGranularity::Hour).await, reference(&checks, SummaryGranularity::Hour));
    assert_eq!(world.summarised(at(100, 0), 9).await, 0, "nor again");
    assert_eq!(world.summaries(ours, id, SummaryGranularity::Day).await, reference(&checks, SummaryGranularity::Day));
}

pub(super) async fn a_clock_that_was_ahead_is_got_over(world: World) {
    let (ours, id) = (world.ours, world.watched(world.ours).await);
    world.checked(ours, id, healthy(at(0, 1))).await;
    world.summarised(at(10_000, 0), 9).await;
    world.checked(ours, id, healthy(at(1, 1))).await;
    world.summarised(at(2, HOUR_OPEN_MS), 9).await;
    let later = world.checked(ours, id, healthy(at(2, 1))).await;
    world.summarised(at(3, HOUR_OPEN_MS), 9).await;
    let last = world.summaries(ours, id, SummaryGranularity::Hour).await.pop();
    assert_eq!(last, reference(&[later.check], SummaryGranularity::Hour).pop());
}
