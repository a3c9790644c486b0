//! Pruning: rows past their retention are deleted in bounded steps, and no others.

use tidings_domain::calendar::Zone;
use tidings_domain::delivery::Status;
use tidings_domain::event::Event;
use tidings_domain::incident::{IncidentTrigger, Subject};
use tidings_domain::mute::{Mute, MuteScope};
use tidings_domain::rate_limit::{RateAction, RateLimit};
use tidings_domain::time::Timestamp;

use super::fixture::Fixture;
use super::monitoring_fixture::{check_and_state, healthy};
use super::samples::{NOW, after_ms, attempted, lease};
use crate::activity::MuteFilter;
use crate::history::{DeliveryFilter, EventFilter};
use crate::monitoring::TransitionRecord;
use crate::queue::{FollowUps, InitialState, NewDelivery, NextState, RateLimitRequest};
use crate::retention::{PruneCursor, Pruned, Retention, SummaryFilter, SummaryGranularity};
use crate::settings::ConfigChange;

const DAY_MS: u64 = 86_400_000;

/// This many days after `NOW`.
const fn days(days: u64) -> Timestamp {
    after_ms(days * DAY_MS)
}

/// The whole history, as text.
async fn history_text(fixture: &Fixture) -> String {
    let mut all = String::new();
    for tenant in [fixture.ours, fixture.theirs] {
        let events = EventFilter { limit: 1_000, ..EventFilter::default() };
        let deliveries = DeliveryFilter { limit: 1_000, with_attempts: true, ..DeliveryFilter::default() };
        all += &format!("{:?}", fixture.store.events(tenant.id, events).await.unwrap().records);
        all += &format!("{:?}", fixture.store.deliveries(tenant.id, deliveries).await.unwrap().records);
    }
    all
}

pub(super) async fn prune_deletes_only_old_events(fixture: Fixture) {
    let (ours, theirs) = (fixture.ours, fixture.theirs);
    let kept_at = after_ms(1);
    fixture.accept_one_at(ours, InitialState::Suppressed, kept_at).await;
    fixture.accept_one_at(theirs, InitialState::Suppressed, kept_at).await;
    fixture.store.record_test(fixture.test(ours, Status::Sent, kept_at)).await.unwrap();
    let kept = history_text(&fixture).await;

    let repeated = fixture.event_at(ours, NOW);
    for tenant in [ours, theirs] {
        let mut deliveries: Vec<_> = (0..5).map(|_| fixture.delivery(tenant, InitialState::Suppressed)).collect();
        deliveries[0].initial_state = InitialState::Due;
        deliveries[0].evaluation = fixture.delivery(tenant, InitialState::Due).evaluation;
        let mut event = if tenant.id == ours.id { repeated.clone() } else { fixture.event(tenant) };
        event.workspace_id = tenant.id;
        fixture.accept(fixture.new_event(event, deliveries)).await;
        let claimed = fixture.claim(tenant, NOW, lease(1, 60_000), 9).await;
        fixture.store.settle(attempted(&claimed[0], NextState::Done(Status::Sent))).await.unwrap();
    }
    fixture.accept(fixture.new_event(fixture.event(ours), vec![])).await;
    fixture.store.record_test(fixture.test(ours, Status::Failed, NOW)).await.unwrap();

    let full = history_text(&fixture).await;
    assert_eq!(fixture.prune_all(days(90), 3).await, Pruned::default(), "90 days are kept");
    assert_eq!(history_text(&fixture).await, full);
    let now = days(90).plus_ms(1);
    let step = fixture.store.prune(now, Retention::default(), PruneCursor::default(), 1).await.unwrap();
    assert_eq!((step.deliveries, step.next.is_some()), (1, true), "one row, and there is more");
    for limit in [3, 1, 100] {
        // Each run starts from the beginning: the cursor is only an optimisation.
        fixture.prune_all(now, limit).await;
        assert_eq!(history_text(&fixture).await, kept);
    }
    // Its idempotency key was deleted as well, so the event is new.
    let again = Event { id: fixture.id_at(days(91)), ..repeated };
    assert!(!fixture.accept(fixture.new_event(again, vec![])).await.duplicate);
}

pub(super) async fn prune_counts_deleted_rows(fixture: Fixture) {
    for _ in 0..3 {
        let deliveries = (0..4).map(|_| fixture.delivery(fixture.ours, InitialState::Suppressed)).collect();
        fixture.accept(fixture.new_event(fixture.event(fixture.ours), deliveries)).await;
    }
    let pruned = fixture.prune_all(days(91), 5).await;
    assert_eq!(pruned, Pruned { events: 3, deliveries: 12, ..Pruned::default() });
}

pub(super) async fn prune_keeps_events_with_unsettled_deliveries(fixture: Fixture) {
    let ours = fixture.ours;
    let mut waiting = Vec::new();
    for start in [InitialState::Due, InitialState::Held, InitialState::Leased(lease(1, 60_000))] {
        let deliveries = vec![fixture.delivery(ours, start), fixture.delivery(ours, InitialState::Suppressed)];
        waiting.push(deliveries[0].id);
        fixture.accept(fixture.new_event(fixture.event(ours), deliveries)).await;
        fixture.accept_one(ours, InitialState::Suppressed).await;
    }
    let pruned = fixture.prune_all(days(91), 2).await;
    assert_eq!((pruned.events, pruned.deliveries), (3, 3), "only settled ones");
    let statuses = [Status::Pending, Status::Held, Status::Sending];
    for (id, expected) in waiting.iter().zip(statuses) {
        assert_eq!(fixture.status(ours, *id).await, expected);
    }
    assert_eq!(fixture.delivery_ids(ours, DeliveryFilter { limit: 99, ..DeliveryFilter::default() }).await.len(), 6);
    let claimed = fixture.claim(ours, NOW, lease(2, 60_000), 9).await.remove(0);
    assert_eq!(claimed.id, waiting[0]);
    fixture.store.settle(attempted(&claimed, NextState::Done(Status::Failed))).await.unwrap();
    assert_eq!(fixture.prune_all(days(91), 9).await.deliveries, 2, "settled, it is deleted");
}

pub(super) async fn prune_keeps_incident_without_events(fixture: Fixture) {
    let ours = fixture.ours;
    let endpoint_id = fixture.new_endpoint(ours).await;
    let record = fixture.incident_record(ours, Subject::Endpoint(endpoint_id));
    let events = vec![fixture.incident_event(
        &record,
        IncidentTrigger::Opened,
        NOW,
        vec![fixture.delivery(ours, InitialState::Due)],
    )];
    let following = TransitionRecord { incident: Some(record.clone()), events, ..TransitionRecord::default() };
    fixture.record_transition(ours, following).await.unwrap();
    let claimed = fixture.claim(ours, NOW, lease(1, 60_000), 9).await;
    let mut settlement = attempted(&claimed[0], NextState::Done(Status::Sent));
    settlement.follow_ups = FollowUps::Incident(record.incident.id);
    fixture.store.settle(settlement).await.unwrap();
    let before = fixture.stored_incident(ours, record.incident.id).await;
    assert_eq!(before.incident.notifications_sent, 1);
    assert_eq!(fixture.prune_all(days(91), 9).await.events, 1);
    assert_eq!(fixture.stored_incident(ours, record.incident.id).await, before);
    assert!(fixture.store.incident_deliveries(ours.id, record.incident.id).await.unwrap().is_empty());
    assert_eq!(fixture.configuration_since(ours, 0).await.endpoint_count, 1);
}

pub(super) async fn prune_deletes_old_checks(fixture: Fixture) {
    let (ours, theirs) = (fixture.ours, fixture.theirs);
    let mut kept = Vec::new();
    for tenant in [ours, ours, theirs] {
        let id = fixture.new_endpoint(tenant).await;
        for ms in 0..10 {
            let record = fixture.record_check(tenant, id, healthy(after_ms(ms))).await;
            if ms >= 4 {
                kept.push((tenant, record));
            }
        }
        fixture
            .record_transition(tenant, check_and_state(fixture.check(id, healthy(NOW)), fixture.state(id, 1)))
            .await
            .unwrap();
    }
    let pruned = fixture.prune_all(days(2).plus_ms(4), 3).await;
    assert_eq!(pruned, Pruned { checks: 3 * 5, ..Pruned::default() });
    for (tenant, record) in kept {
        let found = fixture.checks(tenant, record.endpoint_id).await;
        assert!(found.len() == 6 && found.contains(&record));
        fixture.assert_revision(tenant, record.endpoint_id, 1).await;
    }
}

pub(super) async fn prune_deletes_checks_beyond_maximum(fixture: Fixture) {
    let (ours, id, other) =
        (fixture.ours, fixture.new_endpoint(fixture.ours).await, fixture.new_endpoint(fixture.ours).await);
    for ms in 0..20 {
        fixture.record_check(ours, id, healthy(after_ms(ms))).await;
    }
    fixture.record_check(ours, other, healthy(NOW)).await;
    let newest: Vec<_> = fixture.checks(ours, id).await.into_iter().take(7).collect();
    let retention = Retention { checks_max: 7, ..Retention::default() };
    let (mut cursor, mut checks) = (Some(PruneCursor::default()), 0);
    while let Some(from) = cursor {
        let step = fixture.store.prune(after_ms(99), retention, from, 4).await.unwrap();
        (cursor, checks) = (step.next, checks + step.checks);
    }
    assert_eq!(checks, 13);
    assert_eq!(fixture.checks(ours, id).await, newest);
    assert_eq!(fixture.checks(ours, other).await.len(), 1);
    assert_eq!((Retention::default().checks_max, Retention::default().checks_ms), (2_880, 2 * DAY_MS));
}

pub(super) async fn prune_deletes_old_hours_and_keeps_days(fixture: Fixture) {
    let (ours, id) = (fixture.ours, fixture.new_endpoint(fixture.ours).await);
    let hour = SummaryGranularity::Hour.start(SummaryGranularity::Hour.number(NOW));
    for number in 0..5 {
        fixture.record_check(ours, id, healthy(hour.plus_ms(number * 3_600_000))).await;
    }
    let summaries = |span| {
        let filter = SummaryFilter { granularity: span, limit: 99, ..SummaryFilter::default() };
        fixture.store.summaries(ours.id, id, filter)
    };
    fixture.store.summarise(days(1), 999).await.unwrap();
    let all_days = summaries(SummaryGranularity::Day).await.unwrap();
    let pruned = fixture.prune_all(hour.plus_ms(30 * DAY_MS + 3 * 3_600_000), 2).await;
    assert_eq!((pruned.hours, pruned.checks), (3, 5));
    let left = summaries(SummaryGranularity::Hour).await.unwrap();
    assert!(left.iter().map(|record| record.starts_at).eq([3, 4].map(|number| hour.plus_ms(number * 3_600_000))));
    fixture.prune_all(days(5_000), 99).await;
    assert!(summaries(SummaryGranularity::Hour).await.unwrap().is_empty());
    assert_eq!(summaries(SummaryGranularity::Day).await.unwrap(), all_days);
}

pub(super) async fn prune_retires_mutes_a_day_after_expiry(fixture: Fixture) {
    let (ours, theirs) = (fixture.ours, fixture.theirs);
    let until = |ms| Mute { expires_at: Some(after_ms(ms)), ..fixture.mute(ours, MuteScope::Global) };
    let (expired, not_yet, endless) = (until(1), until(2), fixture.mute(ours, MuteScope::Global));
    for mute in [&expired, &until(0), &not_yet, &endless] {
        fixture.apply_change(ours, ConfigChange::PutMute(mute.clone())).await.unwrap();
    }
    let their_mute = Mute { expires_at: Some(days(9)), ..fixture.mute(theirs, MuteScope::Global) };
    fixture.apply_change(theirs, ConfigChange::PutMute(their_mute.clone())).await.unwrap();
    let (version, their_version) =
        (fixture.configuration_since(ours, 0).await.version, fixture.configuration_since(theirs, 0).await.version);
    assert_eq!(fixture.prune_all(days(1).plus_ms(2), 99).await, Pruned { mutes: 2, ..Pruned::default() });
    let found = fixture.configuration_since(ours, 0).await;
    assert_eq!((found.mutes, found.version), (vec![not_yet, endless], version + 1));
    assert_eq!(fixture.prune_all(days(1).plus_ms(2), 1).await, Pruned::default());
    let found = fixture.configuration_since(theirs, 0).await;
    assert_eq!((found.mutes, found.version), (vec![their_mute], their_version));
    assert_eq!(fixture.configuration_since(ours, 0).await.version, version + 1, "no mute was deleted");
}

pub(super) async fn prune_deletes_mutes_a_week_after_their_end(fixture: Fixture) {
    let ours = fixture.ours;
    let mute = |expires_at| Mute { expires_at, ..fixture.mute(ours, MuteScope::Global) };
    let (expired, by_hand, endless) = (mute(Some(days(1))), mute(None), mute(None));
    for mute in [&expired, &by_hand, &endless] {
        fixture.apply_change(ours, ConfigChange::PutMute(mute.clone())).await.unwrap();
    }
    fixture.apply_change(ours, ConfigChange::EndMute(by_hand.id, days(2))).await.unwrap();
    assert_eq!(fixture.prune_all(days(3), 1).await, Pruned { mutes: 1, ..Pruned::default() });
    let filter = MuteFilter::Ended { since: NOW, limit: 9 };
    let listed = async |now| {
        let found = fixture.store.mutes(ours.id, now, filter).await.unwrap();
        found.into_iter().map(|record| (record.mute.id, record.ended_at)).collect::<Vec<_>>()
    };
    let ended = [(by_hand.id, Some(days(2))), (expired.id, Some(days(1)))];
    assert_eq!(listed(days(3)).await, ended, "one that was retired is listed");
    assert_eq!(fixture.prune_all(days(8), 1).await, Pruned::default());
    assert_eq!(fixture.prune_all(days(8).plus_ms(1), 1).await, Pruned { ended_mutes: 1, ..Pruned::default() });
    assert_eq!(listed(days(9)).await, ended[..1]);
    assert_eq!(fixture.prune_all(days(99), 9).await, Pruned { ended_mutes: 1, ..Pruned::default() });
    assert_eq!(fixture.configuration_since(ours, 0).await.mutes, [endless]);
}

pub(super) async fn prune_deletes_expired_rate_windows(fixture: Fixture) {
    let limit = RateLimit { max_per_minute: 1, action: RateAction::Digest };
    let tenants = [fixture.ours, fixture.theirs, fixture.another_channel().await];
    let rate_limit = || Some(RateLimitRequest { limit, channel_name: "ops".into(), zone: Zone::UTC });
    for (number, tenant) in tenants.into_iter().enumerate() {
        let at = after_ms(number as u64 * 30_000);
        let delivery = NewDelivery { rate_limit: rate_limit(), ..fixture.delivery_at(tenant, InitialState::Due, at) };
        fixture.accept(fixture.new_event(fixture.event_at(tenant, at), vec![delivery])).await;
    }
    assert_eq!(fixture.prune_all(after_ms(59_999), 1).await.rate_windows, 0);
    assert_eq!(fixture.prune_all(after_ms(100_000), 1).await, Pruned { rate_windows: 2, ..Pruned::default() });
    // The third admission still counts.
    let at = after_ms(100_001);
    for (tenant, not_leased) in tenants.into_iter().zip([0, 0, 1]) {
        let delivery = NewDelivery { rate_limit: rate_limit(), ..fixture.delivery_at(tenant, InitialState::Due, at) };
        let accepted = fixture.accept(fixture.new_event(fixture.event_at(tenant, at), vec![delivery])).await;
        assert_eq!(accepted.not_leased.len(), not_leased);
    }
}
