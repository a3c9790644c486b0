//! Tenancy: no operation reads or changes rows of another workspace.

use tidings_domain::delivery::Status;

use super::fixture::{Fixture, Tenant};
use super::samples::{NOW, after_ms, assert_refused, attempted};
use crate::history::{DeliveryFilter, EventFilter};
use crate::queue::{InitialState, NextState, Resend, Settled};
use crate::settings::{ConfigChange, Precondition};

pub(super) async fn configuration_contains_only_own_rows(fixture: Fixture) {
    for tenant in [fixture.ours, fixture.theirs] {
        let found = fixture.configuration(tenant).await;
        assert!(found.rules.iter().map(|rule| rule.id).eq([tenant.rule_id]));
        assert!(found.channels.iter().map(|record| record.channel.id).eq([tenant.channel_id]));
        assert!(found.rules.iter().all(|rule| rule.workspace_id == tenant.id));
    }
    assert_refused!(fixture.store.configuration(fixture.id(), 0).await, NotFound);
    assert_refused!(fixture.store.apply_changes(fixture.id(), vec![]).await, NotFound);
}

pub(super) async fn edit_from_other_workspace_is_not_found(fixture: Fixture) {
    let (mut rule, mut record) = (fixture.our_rule().await, fixture.our_channel().await);
    (rule.paused, rule.channel_id) = (true, fixture.theirs.channel_id);
    record.channel.name = "changed by another workspace".into();
    let edits = [
        ConfigChange::PutRule(rule, Precondition::Revision(1)),
        ConfigChange::PutChannel(record, Precondition::Revision(1)),
    ];
    for edit in edits {
        assert_refused!(fixture.apply_change(fixture.theirs, edit).await, NotFound);
    }
    assert!(!fixture.our_rule().await.paused);
    assert_eq!(fixture.our_channel().await.channel.name, "Data alerts");
}

pub(super) async fn delete_from_other_workspace_is_not_found(fixture: Fixture) {
    let Tenant { rule_id, channel_id, .. } = fixture.ours;
    assert_refused!(fixture.apply_change(fixture.theirs, ConfigChange::DeleteRule(rule_id)).await, NotFound);
    fixture.apply_change(fixture.ours, ConfigChange::DeleteRule(rule_id)).await.unwrap();
    assert_refused!(fixture.apply_change(fixture.theirs, ConfigChange::DeleteChannel(channel_id)).await, NotFound);
    assert_eq!(fixture.configuration(fixture.ours).await.channels.len(), 1);
}

pub(super) async fn put_rule_channel_of_other_workspace_is_not_found(fixture: Fixture) {
    let rule = fixture.rule(fixture.theirs.id, fixture.ours.channel_id);
    assert_refused!(fixture.put_rule(rule).await, NotFound);
}

pub(super) async fn history_of_other_workspace_is_empty(fixture: Fixture) {
    let delivery = fixture.delivery(fixture.ours, InitialState::Due);
    let delivery_id = delivery.id;
    let event = fixture.event(fixture.ours);
    let event_id = event.id;
    fixture.accept(fixture.new_event(event, vec![delivery])).await;
    for (tenant, count) in [(fixture.ours, 1), (fixture.theirs, 0)] {
        let store = &fixture.store;
        let filter = EventFilter { limit: 10, ..EventFilter::default() };
        assert_eq!(store.events(tenant.id, filter).await.unwrap().records.len(), count);
        assert_eq!(store.event(tenant.id, event_id).await.unwrap().iter().count(), count);
        assert_eq!(store.delivery(tenant.id, delivery_id).await.unwrap().iter().count(), count);
        for filter in [
            DeliveryFilter::default(),
            DeliveryFilter { event_id: Some(event_id), ..DeliveryFilter::default() },
            DeliveryFilter { channel_id: Some(fixture.ours.channel_id), ..DeliveryFilter::default() },
        ] {
            assert_eq!(fixture.delivery_ids(tenant, DeliveryFilter { limit: 10, ..filter }).await.len(), count);
        }
    }
}

pub(super) async fn settle_from_other_workspace_is_stale(fixture: Fixture) {
    let claimed = fixture.accept_and_claim(fixture.ours).await;
    let mut settlement = attempted(&claimed, NextState::Done(Status::Sent));
    settlement.workspace_id = fixture.theirs.id;
    assert_eq!(fixture.store.settle(settlement).await.unwrap(), Settled::Stale);
    assert_eq!(fixture.status(fixture.ours, claimed.id).await, Status::Sending);
}

pub(super) async fn resend_from_other_workspace_is_not_found(fixture: Fixture) {
    let ours = fixture.ours;
    let id = fixture.accept_settled(ours, Status::Failed, after_ms(1)).await;
    let resend = Resend { workspace_id: fixture.theirs.id, delivery_id: id, rule_generation: 1, now: NOW };
    assert_refused!(fixture.store.resend(resend, None).await, NotFound);
    for limit in [None, Some(10)] {
        let count = fixture.store.recover(fixture.theirs.id, ours.channel_id, NOW, NOW, limit, None).await.unwrap();
        assert_eq!(count, 0);
    }
    assert_eq!(fixture.status(ours, id).await, Status::Failed);
}

pub(super) async fn record_test_channel_of_other_workspace_is_not_found(fixture: Fixture) {
    let mut test = fixture.test(fixture.theirs, Status::Sent, NOW);
    test.channel_id = fixture.ours.channel_id;
    assert_refused!(fixture.store.record_test(test).await, NotFound);
    assert_eq!(fixture.our_channel().await.channel.connectivity.is_connected, None);
    let filter = DeliveryFilter { limit: 10, ..DeliveryFilter::default() };
    assert!(fixture.delivery_ids(fixture.theirs, filter).await.is_empty());
}
