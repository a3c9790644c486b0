//! Pruning: what is old goes, in small steps, and nothing else does.

use tidings_domain::calendar::Zone;
use tidings_domain::delivery::Status;
use tidings_domain::event::Event;
use tidings_domain::incident::{IncidentTrigger, Subject};
use tidings_domain::mute::{Mute, MuteScope};
use tidings_domain::rate_limit::{RateAction, RateLimit};
use tidings_domain::time::Timestamp;

use super::samples::{NOW, after_ms, lease, tried};
use super::watching_world::{healthy, seen};
use super::world::World;
use crate::history::{DeliveryFilter, EventFilter};
use crate::monitoring::TransitionRecord;
use crate::queue::{FollowUps, InitialState, NewDelivery, NextState, RateLimitRequest};
use crate::retention::{PruneCursor, Pruned, Retention, SummaryFilter, SummaryGranularity};
use crate::settings::ConfigChange;

const DAY_MS: u64 = 86_400_000;

/// So many days after the beginning.
const fn days(days: u64) -> Timestamp {
    after_ms(days * DAY_MS)
}

/// Everything in the log, as text.
async fn log(world: &World) -> String {
    let mut all = String::new();
    for tenant in [world.ours, world.theirs] {
        let events = EventFilter { limit: 1_000, ..EventFilter::default() };
        let deliveries = DeliveryFilter { limit: 1_000, with_attempts: true, ..DeliveryFilter::default() };
        all += &format!("{:?}", world.store.events(tenant.id, events).await.unwrap());
        all += &format!("{:?}", world.store.deliveries(tenant.id, deliveries).await.unwrap());
    }
    all
}

pub(super) async fn old_events_are_pruned_and_nothing_else(world: World) {
    let (ours, theirs) = (world.ours, world.theirs);
    let stays_at = after_ms(1);
    world.accept_one_at(ours, InitialState::Suppressed, stays_at).await;
    world.accept_one_at(theirs, InitialState::Suppressed, stays_at).await;
    world.store.record_test(world.test(ours, Status::Sent, stays_at)).await.unwrap();
    let kept = log(&world).await;

    let repeated = world.event_at(ours, NOW);
    for tenant in [ours, theirs] {
        let mut deliveries: Vec<_> = (0..5).map(|_| world.delivery(tenant, InitialState::Suppressed)).collect();
        deliveries[0].start = InitialState::Due;
        deliveries[0].evaluation = world.delivery(tenant, InitialState::Due).evaluation;
        let mut event = if tenant.id == ours.id { repeated.clone() } else { world.event(tenant) };
        event.workspace_id = tenant.id;
        world.accept(world.new_event(event, deliveries)).await;
        let claimed = world.claim(tenant, NOW, lease(1, 60_000), 9).await;
        world.store.settle(tried(&claimed[0], NextState::Done(Status::Sent))).await.unwrap();
    }
    world.accept(world.new_event(world.event(ours), vec![])).await;
    world.store.record_test(world.test(ours, Status::Failed, NOW)).await.unwrap();

    let full = log(&world).await;
    assert_eq!(world.pruned(days(90), 3).await, Pruned::default(), "90 days are kept");
    assert_eq!(log(&world).await, full);
    let now = days(90).plus_ms(1);
    let step = world.store.prune(now, Retention::default(), PruneCursor::default(), 1).await.unwrap();
    assert_eq!((step.deliveries, step.next.is_some()), (1, true), "a little, and there is more");
    for limit in [3, 1, 100] {
        // Nothing depends on the cursor: each of these begins anew.
        world.pruned(now, limit).await;
        assert_eq!(log(&world).await, kept);
    }
    // Its key is gone as well: told again, it is new.
    let again = Event { id: world.id_at(days(91)), ..repeated };
    assert!(!world.accept(world.new_event(again, vec![])).await.duplicate);
}

pub(super) async fn the_rows_that_were_pruned_are_counted(world: World) {
    for _ in 0..3 {
        let deliveries = (0..4).map(|_| world.delivery(world.ours, InitialState::Suppressed)).collect();
        world.accept(world.new_event(world.event(world.ours), deliveries)).await;
    }
    let pruned = world.pruned(days(91), 5).await;
    assert_eq!(pruned, Pruned { events: 3, deliveries: 12, ..Pruned::default() });
}

pub(super) async fn what_is_unsettled_is_kept_with_its_event(world: World) {
    let ours = world.ours;
    let mut waiting = Vec::new();
    for start in [InitialState::Due, InitialState::Held, InitialState::Leased(lease(1, 60_000))] {
        let deliveries = vec![world.delivery(ours, start), world.delivery(ours, InitialState::Suppressed)];
        waiting.push(deliveries[0].id);
        world.accept(world.new_event(world.event(ours), deliveries)).await;
        world.accept_one(ours, InitialState::Suppressed).await;
    }
    let pruned = world.pruned(days(91), 2).await;
    assert_eq!((pruned.events, pruned.deliveries), (3, 3), "those between");
    let statuses = [Status::Pending, Status::Held, Status::Sending];
    for (id, expected) in waiting.iter().zip(statuses) {
        assert_eq!(world.status(ours, *id).await, expected);
    }
    assert_eq!(world.listed(ours, DeliveryFilter { limit: 99, ..DeliveryFilter::default() }).await.len(), 6);
    let claimed = world.claim(ours, NOW, lease(2, 60_000), 9).await.remove(0);
    assert_eq!(claimed.id, waiting[0]);
    world.store.settle(tried(&claimed, NextState::Done(Status::Failed))).await.unwrap();
    assert_eq!(world.pruned(days(91), 9).await.deliveries, 2, "now that it is settled");
}

pub(super) async fn an_incident_outlives_its_events(world: World) {
    let ours = world.ours;
    let endpoint_id = world.watched(ours).await;
    let record = world.opened(ours, Subject::Endpoint(endpoint_id));
    let events =
        vec![world.tells(&record, IncidentTrigger::Opened, NOW, vec![world.delivery(ours, InitialState::Due)])];
    let following = TransitionRecord { incident: Some(record.clone()), events, ..TransitionRecord::default() };
    world.follow(ours, following).await.unwrap();
    let claimed = world.claim(ours, NOW, lease(1, 60_000), 9).await;
    let mut settlement = tried(&claimed[0], NextState::Done(Status::Sent));
    settlement.follow_ups = FollowUps::Incident(record.incident.id);
    world.store.settle(settlement).await.unwrap();
    let before = world.kept(ours, record.incident.id).await;
    assert_eq!(before.incident.notifications_sent, 1);
    assert_eq!(world.pruned(days(91), 9).await.events, 1);
    assert_eq!(world.kept(ours, record.incident.id).await, before);
    assert!(world.store.incident_deliveries(ours.id, record.incident.id).await.unwrap().is_empty());
    assert_eq!(world.configured(ours, 0).await.endpoint_count, 1);
}

pub(super) async fn old_checks_are_pruned(world: World) {
    let (ours, theirs) = (world.ours, world.theirs);
    let mut kept = Vec::new();
    for tenant in [ours, ours, theirs] {
        let id = world.watched(tenant).await;
        for ms in 0..10 {
            let record = world.checked(tenant, id, healthy(after_ms(ms))).await;
            if ms >= 4 {
                kept.push((tenant, record));
            }
        }
        world.follow(tenant, seen(world.check(id, healthy(NOW)), world.state(id, 1))).await.unwrap();
    }
    let pruned = world.pruned(days(2).plus_ms(4), 3).await;
    assert_eq!(pruned, Pruned { checks: 3 * 5, ..Pruned::default() });
    for (tenant, record) in kept {
        let found = world.checks(tenant, record.endpoint_id).await;
        assert!(found.len() == 6 && found.contains(&record));
        world.assert_revision(tenant, record.endpoint_id, 1).await;
    }
}

pub(super) async fn no_more_checks_than_so_many_are_kept(world: World) {
    let (ours, id, other) = (world.ours, world.watched(world.ours).await, world.watched(world.ours).await);
    for ms in 0..20 {
        world.checked(ours, id, healthy(after_ms(ms))).await;
    }
    world.checked(ours, other, healthy(NOW)).await;
    let newest: Vec<_> = world.checks(ours, id).await.into_iter().take(7).collect();
    let retention = Retention { checks_max: 7, ..Retention::default() };
    let (mut cursor, mut checks) = (Some(PruneCursor::default()), 0);
    while let Some(from) = cursor {
        let step = world.store.prune(after_ms(99), retention, from, 4).await.unwrap();
        (cursor, checks) = (step.next, checks + step.checks);
    }
    assert_eq!(checks, 13);
    assert_eq!(world.checks(ours, id).await, newest);
    assert_eq!(world.checks(ours, other).await.len(), 1);
    assert_eq!((Retention::default().checks_max, Retention::default().checks_ms), (2_880, 2 * DAY_MS));
}

pub(super) async fn old_hours_are_pruned_and_days_are_not(world: World) {
    let (ours, id) = (world.ours, world.watched(world.ours).await);
    let hour = SummaryGranularity::Hour.start(SummaryGranularity::Hour.number(NOW));
    for number in 0..5 {
        world.checked(ours, id, healthy(hour.plus_ms(number * 3_600_000))).await;
    }
    let summaries = |span| {
        let filter = SummaryFilter { span, limit: 99, ..SummaryFilter::default() };
        world.store.summaries(ours.id, id, filter)
    };
    world.store.summarise(days(1), 999).await.unwrap();
    let all_days = summaries(SummaryGranularity::Day).await.unwrap();
    let pruned = world.pruned(hour.plus_ms(30 * DAY_MS + 3 * 3_600_000), 2).await;
    assert_eq!((pruned.hours, pruned.checks), (3, 5));
    let left = summaries(SummaryGranularity::Hour).await.unwrap();
    assert!(left.iter().map(|record| record.starts_at).eq([3, 4].map(|number| hour.plus_ms(number * 3_600_000))));
    world.pruned(days(5_000), 99).await;
    assert!(summaries(SummaryGranularity::Hour).await.unwrap().is_empty());
    assert_eq!(summaries(SummaryGranularity::Day).await.unwrap(), all_days);
}

pub(super) async fn mutes_are_pruned_a_day_after_they_expired(world: World) {
    let (ours, theirs) = (world.ours, world.theirs);
    let until = |ms| Mute { expires_at: Some(after_ms(ms)), ..world.mute(ours, MuteScope::Global) };
    let (over, just, endless) = (until(1), until(2), world.mute(ours, MuteScope::Global));
    for mute in [&over, &until(0), &just, &endless] {
        world.change(ours, ConfigChange::PutMute(mute.clone())).await.unwrap();
    }
    let their_mute = Mute { expires_at: Some(days(9)), ..world.mute(theirs, MuteScope::Global) };
    world.change(theirs, ConfigChange::PutMute(their_mute.clone())).await.unwrap();
    let (version, their_version) = (world.configured(ours, 0).await.version, world.configured(theirs, 0).await.version);
    assert_eq!(world.pruned(days(1).plus_ms(2), 99).await, Pruned { mutes: 2, ..Pruned::default() });
    let found = world.configured(ours, 0).await;
    assert_eq!((found.mutes, found.version), (vec![just, endless], version + 1));
    assert_eq!(world.pruned(days(1).plus_ms(2), 1).await, Pruned::default());
    let found = world.configured(theirs, 0).await;
    assert_eq!((found.mutes, found.version), (vec![their_mute], their_version));
    assert_eq!(world.configured(ours, 0).await.version, version + 1, "nothing ended");
}

pub(super) async fn what_a_limit_admitted_is_forgotten_when_it_no_longer_counts(world: World) {
    let limit = RateLimit { max_per_minute: 1, action: RateAction::Digest };
    let tenants = [world.ours, world.theirs, world.another_channel().await];
    let admission = || Some(RateLimitRequest { limit, channel_name: "ops".into(), zone: Zone::UTC });
    for (number, tenant) in tenants.into_iter().enumerate() {
        let at = after_ms(number as u64 * 30_000);
        let delivery = NewDelivery { rate_limit: admission(), ..world.delivery_at(tenant, InitialState::Due, at) };
        world.accept(world.new_event(world.event_at(tenant, at), vec![delivery])).await;
    }
    assert_eq!(world.pruned(after_ms(59_999), 1).await.admissions, 0);
    assert_eq!(world.pruned(after_ms(100_000), 1).await, Pruned { admissions: 2, ..Pruned::default() });
    // The third still counts.
    let at = after_ms(100_001);
    for (tenant, not_leased) in tenants.into_iter().zip([0, 0, 1]) {
        let delivery = NewDelivery { rate_limit: admission(), ..world.delivery_at(tenant, InitialState::Due, at) };
        let accepted = world.accept(world.new_event(world.event_at(tenant, at), vec![delivery])).await;
        assert_eq!(accepted.not_leased.len(), not_leased);
    }
}
