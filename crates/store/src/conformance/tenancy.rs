//! Tenants: no verb sees or changes what belongs to another workspace.

use tidings_domain::delivery::Status;

use super::samples::{NOW, after_ms, assert_refused, tried};
use super::world::{Tenant, World};
use crate::history::{DeliveryFilter, EventFilter};
use crate::queue::{InitialState, NextState, Resend, Settled};
use crate::settings::{ConfigChange, Precondition};

pub(super) async fn configuration_is_its_own(world: World) {
    for tenant in [world.ours, world.theirs] {
        let found = world.configuration(tenant).await;
        assert!(found.rules.iter().map(|rule| rule.id).eq([tenant.rule_id]));
        assert!(found.channels.iter().map(|record| record.channel.id).eq([tenant.channel_id]));
        assert!(found.rules.iter().all(|rule| rule.workspace_id == tenant.id));
    }
    assert_refused!(world.store.configuration(world.id(), 0).await, NotFound);
    assert_refused!(world.store.apply_changes(world.id(), vec![]).await, NotFound);
}

pub(super) async fn a_stranger_edits_nothing(world: World) {
    let (mut rule, mut record) = (world.our_rule().await, world.our_channel().await);
    (rule.paused, rule.channel_id) = (true, world.theirs.channel_id);
    record.channel.name = "taken over".into();
    let edits = [
        ConfigChange::PutRule(rule, Precondition::Revision(1)),
        ConfigChange::PutChannel(record, Precondition::Revision(1)),
    ];
    for edit in edits {
        assert_refused!(world.change(world.theirs, edit).await, NotFound);
    }
    assert!(!world.our_rule().await.paused);
    assert_eq!(world.our_channel().await.channel.name, "Data alerts");
}

pub(super) async fn a_stranger_deletes_nothing(world: World) {
    let Tenant { rule_id, channel_id, .. } = world.ours;
    assert_refused!(world.change(world.theirs, ConfigChange::DeleteRule(rule_id)).await, NotFound);
    world.change(world.ours, ConfigChange::DeleteRule(rule_id)).await.unwrap();
    assert_refused!(world.change(world.theirs, ConfigChange::DeleteChannel(channel_id)).await, NotFound);
    assert_eq!(world.configuration(world.ours).await.channels.len(), 1);
}

pub(super) async fn a_rule_cannot_name_a_strangers_channel(world: World) {
    let rule = world.rule(world.theirs.id, world.ours.channel_id);
    assert_refused!(world.put_rule(rule).await, NotFound);
}

pub(super) async fn the_log_is_its_own(world: World) {
    let delivery = world.delivery(world.ours, InitialState::Due);
    let delivery_id = delivery.id;
    let event = world.event(world.ours);
    let event_id = event.id;
    world.accept(world.new_event(event, vec![delivery])).await;
    for (tenant, count) in [(world.ours, 1), (world.theirs, 0)] {
        let store = &world.store;
        let filter = EventFilter { limit: 10, ..EventFilter::default() };
        assert_eq!(store.events(tenant.id, filter).await.unwrap().len(), count);
        assert_eq!(store.event(tenant.id, event_id).await.unwrap().iter().count(), count);
        assert_eq!(store.delivery(tenant.id, delivery_id).await.unwrap().iter().count(), count);
        for filter in [
            DeliveryFilter::default(),
            DeliveryFilter { event_id: Some(event_id), ..DeliveryFilter::default() },
            DeliveryFilter { channel_id: Some(world.ours.channel_id), ..DeliveryFilter::default() },
        ] {
            assert_eq!(world.listed(tenant, DeliveryFilter { limit: 10, ..filter }).await.len(), count);
        }
    }
}

pub(super) async fn a_stranger_settles_nothing(world: World) {
    let claimed = world.claimed(world.ours).await;
    let mut settlement = tried(&claimed, NextState::Done(Status::Sent));
    settlement.workspace_id = world.theirs.id;
    assert_eq!(world.store.settle(settlement).await.unwrap(), Settled::Stale);
    assert_eq!(world.status(world.ours, claimed.id).await, Status::Sending);
}

pub(super) async fn a_stranger_resends_nothing(world: World) {
    let ours = world.ours;
    let id = world.done(ours, Status::Failed, after_ms(1)).await;
    let resend = Resend { workspace_id: world.theirs.id, delivery_id: id, rule_generation: 1, now: NOW };
    assert_refused!(world.store.resend(resend).await, NotFound);
    for limit in [None, Some(10)] {
        let count = world.store.recover(world.theirs.id, ours.channel_id, NOW, NOW, limit).await.unwrap();
        assert_eq!(count, 0);
    }
    assert_eq!(world.status(ours, id).await, Status::Failed);
}

pub(super) async fn a_stranger_records_no_test(world: World) {
    let mut test = world.test(world.theirs, Status::Sent, NOW);
    test.channel_id = world.ours.channel_id;
    assert_refused!(world.store.record_test(test).await, NotFound);
    assert_eq!(world.our_channel().await.channel.connectivity.is_connected, None);
    let filter = DeliveryFilter { limit: 10, ..DeliveryFilter::default() };
    assert!(world.listed(world.theirs, filter).await.is_empty());
}
