//! Held deliveries: not due until they are released, and listed for that.

use tidings_domain::delivery::Status;
use tidings_domain::gate::Gate;
use tidings_domain::id::DeliveryId;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

use super::fixture::{Fixture, HELD_MS, Tenant};
use super::samples::{NOW, after_ms, assert_same_event, attempted, held, lease, passed, stopped, unattempted};
use crate::StoreError;
use crate::history::DeliveryFilter;
use crate::queue::{Counts, Due, HeldDelivery, InitialState, NewDelivery, NextState, ReleaseBatch, Resend};

impl Fixture {
    pub(super) async fn list_held(&self, tenant: Tenant, until: Timestamp, limit: u32) -> Vec<HeldDelivery> {
        self.store.list_held(tenant.id, tenant.channel_id, until, limit).await.unwrap()
    }

    /// All held deliveries of our channel, whenever they may be released.
    pub(super) async fn list_all_held(&self) -> Vec<DeliveryId> {
        self.list_held(self.ours, after_ms(900_000), 10_000).await.iter().map(|held| held.id).collect()
    }

    async fn next_releases(&self) -> Vec<Due> {
        let mut held = self.store.next_releases().await.unwrap();
        held.sort_by_key(|due| due.channel_id);
        held
    }

    /// A release from our channel that releases nothing.
    pub(super) fn empty_release(&self, now: Timestamp) -> ReleaseBatch {
        ReleaseBatch {
            workspace_id: self.ours.id,
            channel_id: self.ours.channel_id,
            now,
            not_sent: vec![],
            individual: vec![],
            digest: None,
            rate_limit: None,
        }
    }
}

pub(super) async fn held_delivery_is_in_history_and_not_due(fixture: Fixture) {
    let (ours, event) = (fixture.ours, fixture.event(fixture.ours));
    let delivery = fixture.delivery(ours, InitialState::Held);
    let id = delivery.id;
    let answer = fixture.accept(fixture.new_event(event, vec![delivery])).await;
    assert_eq!((answer.counts, answer.not_leased), (Counts { held: 1, ..Counts::default() }, vec![]));
    let found = fixture.read(ours, id).await;
    assert_eq!((found.status, found.reason.as_deref()), (Status::Held, Some("quiet_hours")));
    assert_eq!((found.held_until, found.next_attempt_at), (Some(after_ms(HELD_MS)), None));
    assert_eq!((found.completed_at, found.digest_id, found.sequence), (None, None, 1));
    assert_eq!(found.gate_evaluations, [held(NOW, after_ms(HELD_MS))]);
    assert_eq!(fixture.store.due().await.unwrap(), []);
    assert!(fixture.claim(ours, after_ms(900_000), lease(1, 1), 9).await.is_empty());
    assert_eq!(fixture.store.reclaim_leases(after_ms(9), 9).await.unwrap(), 0);
    let resend = Resend { workspace_id: ours.id, delivery_id: id, rule_generation: 1, now: NOW };
    assert_eq!(fixture.store.resend(resend, None).await, Err(StoreError::Conflict));
    let by_reason =
        |reason: &str| DeliveryFilter { reason: Some(reason.into()), limit: 9, ..DeliveryFilter::default() };
    assert_eq!(fixture.delivery_ids(ours, by_reason("quiet_hours")).await, [id]);
    assert_eq!(fixture.delivery_ids(ours, by_reason("rate_limit")).await, []);
}

pub(super) async fn next_releases_returns_earliest_per_channel(fixture: Fixture) {
    assert_eq!(fixture.next_releases().await, []);
    let mut expected = Vec::new();
    for number in 0..20 {
        let tenant = if number == 0 { fixture.theirs } else { fixture.another_channel().await };
        for at in [9_000, number, 500] {
            fixture.accept_one_at(tenant, InitialState::Held, after_ms(at)).await;
            fixture.accept_one_at(tenant, InitialState::Due, NOW).await;
        }
        let at = after_ms(number + HELD_MS);
        expected.push(Due { workspace_id: tenant.id, channel_id: tenant.channel_id, at });
    }
    expected.sort_by_key(|due| due.channel_id);
    assert_eq!(fixture.next_releases().await, expected);
}

pub(super) async fn list_held_returns_accepted_fields(fixture: Fixture) {
    let (ours, event) = (fixture.ours, fixture.event(fixture.ours));
    let delivery = NewDelivery {
        rule_id: None,
        rule_generation: 4,
        severity: Severity::Critical,
        ..fixture.delivery(ours, InitialState::Held)
    };
    fixture.accept(fixture.new_event(event.clone(), vec![delivery.clone()])).await;
    let found = fixture.list_held(ours, after_ms(HELD_MS), 9).await.remove(0);
    assert_same_event(&found.event, &event);
    assert_eq!((found.id, found.rule_id, found.rule_generation), (delivery.id, None, 4));
    assert_eq!((found.severity, found.evaluation), (Severity::Critical, delivery.evaluation));
}

pub(super) async fn list_held_is_in_event_order(fixture: Fixture) {
    let mut expected = Vec::new();
    for at in [30, 10, 20, 10, 0] {
        let event = fixture.event_at(fixture.ours, after_ms(at));
        // The later the event, the earlier the instant: the order must not be that of the instants.
        let mut delivery = fixture.delivery(fixture.ours, InitialState::Held);
        delivery.evaluation = held(NOW, after_ms(1_000 - at));
        expected.push((event.id, delivery.id));
        fixture.accept(fixture.new_event(event, vec![delivery])).await;
    }
    expected.sort();
    let expected: Vec<_> = expected.into_iter().map(|(_, id)| id).collect();
    assert_eq!(fixture.list_all_held().await, expected);
    let first: Vec<_> = fixture.list_held(fixture.ours, after_ms(1_000), 2).await.iter().map(|held| held.id).collect();
    assert_eq!(first, expected[..2]);
    assert!(fixture.list_held(fixture.ours, after_ms(1_000), 0).await.is_empty());
    assert_eq!(
        fixture.list_held(fixture.ours, after_ms(980), 9).await.len(),
        2,
        "only those that may be released by then"
    );
}

pub(super) async fn list_held_returns_only_own_held(fixture: Fixture) {
    let other = fixture.another_channel().await;
    let id = fixture.accept_one(fixture.ours, InitialState::Held).await;
    for tenant in [other, fixture.theirs] {
        fixture.accept_one(tenant, InitialState::Held).await;
    }
    for start in [InitialState::Due, InitialState::Suppressed, InitialState::Leased(lease(1, 9))] {
        fixture.accept_one(fixture.ours, start).await;
    }
    assert_eq!(fixture.list_all_held().await, [id]);
    let foreign = Tenant { id: fixture.theirs.id, ..fixture.ours };
    assert!(fixture.list_held(foreign, after_ms(900_000), 9).await.is_empty());
}

pub(super) async fn settle_held_holds_until_instant(fixture: Fixture) {
    let first = fixture.accept_and_claim(fixture.ours).await;
    fixture.store.settle(attempted(&first, NextState::RetryAt(NOW))).await.unwrap();
    let claimed = fixture.claim(fixture.ours, NOW, lease(1, 60_000), 1).await.remove(0);
    let evaluation = held(after_ms(50), after_ms(7_000));
    fixture.store.settle(unattempted(&claimed, NextState::Held(evaluation.clone()))).await.unwrap();
    let found = fixture.read(fixture.ours, claimed.id).await;
    assert_eq!((found.status, found.reason.as_deref()), (Status::Held, Some("quiet_hours")));
    assert_eq!((found.held_until, found.next_attempt_at), (Some(after_ms(7_000)), None));
    assert_eq!((found.gate_evaluations, found.completed_at), (vec![passed(NOW), evaluation.clone()], None));
    assert_eq!((found.attempt_count, found.attempts.len()), (1, 1), "its attempts are kept");
    assert_eq!(fixture.list_held(fixture.ours, after_ms(7_000), 9).await[0].evaluation, evaluation);
    assert_eq!(fixture.store.due().await.unwrap(), []);
}

pub(super) async fn held_without_instant_is_refused(fixture: Fixture) {
    let without_instant = [passed(NOW), stopped(Gate::QuietHours, NOW)];
    for evaluation in without_instant.clone() {
        let delivery = NewDelivery { evaluation, ..fixture.delivery(fixture.ours, InitialState::Held) };
        let outcome = fixture.store.accept(vec![fixture.new_event(fixture.event(fixture.ours), vec![delivery])]).await;
        assert!(matches!(outcome, Err(StoreError::Corrupt(_))), "{outcome:?}");
    }
    let claimed = fixture.accept_and_claim(fixture.ours).await;
    for evaluation in without_instant {
        let outcome = fixture.store.settle(unattempted(&claimed, NextState::Held(evaluation))).await;
        assert!(matches!(outcome, Err(StoreError::Corrupt(_))), "{outcome:?}");
    }
    assert_eq!(fixture.status(fixture.ours, claimed.id).await, Status::Sending);
}

pub(super) async fn held_deliveries_survive_restart(fixture: Fixture) {
    let id = fixture.accept_one(fixture.ours, InitialState::Held).await;
    let claimed = fixture.accept_and_claim(fixture.ours).await;
    fixture.store.settle(unattempted(&claimed, NextState::Held(held(NOW, after_ms(1))))).await.unwrap();
    let before = format!("{:?}", fixture.read(fixture.ours, id).await);
    let fixture = fixture.reopen().await;
    assert_eq!(format!("{:?}", fixture.read(fixture.ours, id).await), before);
    assert_eq!(fixture.list_all_held().await, [id, claimed.id]);
    let at = after_ms(1);
    let ours = Due { workspace_id: fixture.ours.id, channel_id: fixture.ours.channel_id, at };
    assert_eq!(fixture.next_releases().await, [ours]);
}
