//! Claim: due deliveries are leased, each to one owner at a time.

use std::collections::HashSet;
use std::sync::Arc;

use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::severity::Severity;

use super::fixture::{Fixture, Tenant};
use super::samples::{NOW, after_ms, assert_same_event, attempted, lease};
use crate::queue::{InitialState, NextState};

pub(super) async fn claim_returns_all_fields_for_sending(fixture: Fixture) {
    let ours = fixture.ours;
    let event = fixture.event(ours);
    let mut delivery = fixture.delivery(ours, InitialState::Due);
    (delivery.rule_generation, delivery.severity) = (4, Severity::Critical);
    let id = delivery.id;
    fixture.accept(fixture.new_event(event.clone(), vec![delivery])).await;

    let claimed = fixture.claim(ours, NOW, lease(1, 1_000), 5).await.pop().expect("it is due");
    assert_same_event(&claimed.event, &event);
    assert_eq!((claimed.id, claimed.channel_id, claimed.lease), (id, ours.channel_id, lease(1, 1_000)));
    assert_eq!((claimed.rule_generation, claimed.severity), (4, Severity::Critical));
    assert_eq!((claimed.rule_id, claimed.due_at), (Some(ours.rule_id), NOW));
    assert_eq!((claimed.attempt_count, claimed.attempt_base, claimed.channel_type), (0, 0, ChannelType::Webhook));
    assert_eq!((claimed.attempt_trigger, claimed.attempt_state.as_deref()), (AttemptTrigger::Scheduled, None));

    let mut settlement = attempted(&claimed, NextState::RetryAt(after_ms(100)));
    settlement.attempt_state = Some(r#"{"deferred":["a@example.com"]}"#.into());
    fixture.store.settle(settlement).await.unwrap();
    let again = fixture.claim(ours, after_ms(100), lease(2, 1_000), 5).await.pop().expect("it is due again");
    assert_eq!((again.attempt_count, again.attempt_base), (1, 0));
    assert_eq!(again.attempt_state.as_deref(), Some(r#"{"deferred":["a@example.com"]}"#));
}

pub(super) async fn claim_returns_oldest_first(fixture: Fixture) {
    let mut expected = Vec::new();
    for at in [30, 10, 20, 10] {
        expected.push((at, fixture.accept_one_at(fixture.ours, InitialState::Due, after_ms(at)).await));
    }
    expected.sort();
    let mut found = Vec::new();
    for slots in [3, 3] {
        found.extend(fixture.claim(fixture.ours, after_ms(50), lease(1, 1_000), slots).await.iter().map(|one| one.id));
    }
    assert_eq!(found, expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
}

pub(super) async fn claim_applies_limit_per_channel(fixture: Fixture) {
    let second = fixture.another_channel().await;
    for tenant in [fixture.ours, second, fixture.theirs] {
        for _ in 0..4 {
            fixture.accept_one(tenant, InitialState::Due).await;
        }
    }
    let wanted = vec![(fixture.ours.channel_id, 2), (second.channel_id, 0), (fixture.theirs.channel_id, 9)];
    let claimed = fixture.store.claim(NOW, lease(1, 1_000), wanted).await.unwrap();
    let count = |tenant: Tenant| {
        claimed.iter().filter(|one| one.channel_id == tenant.channel_id && one.event.workspace_id == tenant.id).count()
    };
    assert_eq!((count(fixture.ours), count(second), count(fixture.theirs)), (2, 0, 4));
    assert_eq!(claimed.len(), 6);
}

pub(super) async fn claim_before_due_returns_nothing(fixture: Fixture) {
    fixture.accept_one_at(fixture.ours, InitialState::Due, after_ms(1_000)).await;
    fixture.accept_one(fixture.ours, InitialState::Suppressed).await;
    assert!(fixture.claim(fixture.ours, after_ms(999), lease(1, 9_000), 9).await.is_empty());
    assert_eq!(fixture.claim(fixture.ours, after_ms(1_000), lease(1, 9_000), 9).await.len(), 1);
}

pub(super) async fn claim_leased_waits_for_lease_end(fixture: Fixture) {
    let claimed = fixture.accept_and_claim(fixture.ours).await;
    assert_eq!(fixture.status(fixture.ours, claimed.id).await, Status::Sending);
    assert!(fixture.claim(fixture.ours, after_ms(59_999), lease(2, 90_000), 9).await.is_empty());
    let reclaimed = fixture.claim(fixture.ours, after_ms(60_000), lease(2, 90_000), 9).await;
    assert_eq!(reclaimed.len(), 1);
    assert_eq!((reclaimed[0].id, reclaimed[0].attempt_count), (claimed.id, 0));
}

pub(super) async fn claim_accepted_leased_waits_for_lease_end(fixture: Fixture) {
    let id = fixture.accept_one(fixture.ours, InitialState::Leased(lease(1, 500))).await;
    assert!(fixture.claim(fixture.ours, after_ms(499), lease(2, 900), 9).await.is_empty());
    let reclaimed = fixture.claim(fixture.ours, after_ms(500), lease(2, 900), 9).await;
    assert!(reclaimed.iter().map(|one| one.id).eq([id]));
}

pub(super) async fn claim_concurrent_callers_get_distinct_deliveries(fixture: Fixture) {
    for _ in 0..60 {
        fixture.accept_one(fixture.ours, InitialState::Due).await;
    }
    let tasks: Vec<_> = (0..12)
        .map(|owner| {
            let (store, wanted) = (Arc::clone(&fixture.store), vec![(fixture.ours.channel_id, 7)]);
            tokio::spawn(async move { store.claim(NOW, lease(owner, 1_000), wanted).await.unwrap() })
        })
        .collect();
    let mut found = Vec::new();
    for task in tasks {
        found.extend(task.await.unwrap().into_iter().map(|one| one.id));
    }
    assert_eq!((found.len(), found.iter().collect::<HashSet<_>>().len()), (60, 60));
}

pub(super) async fn claim_channel_listed_twice_returns_each_delivery_once(fixture: Fixture) {
    for _ in 0..3 {
        fixture.accept_one(fixture.ours, InitialState::Due).await;
    }
    let wanted = vec![(fixture.ours.channel_id, 2); 2];
    let claimed = fixture.store.claim(NOW, lease(1, 1_000), wanted).await.unwrap();
    assert_eq!(claimed.iter().map(|one| one.id).collect::<HashSet<_>>().len(), 3);
    assert_eq!(claimed.len(), 3);
}
