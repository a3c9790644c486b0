//! A store's end: closed in order, or left by its callers.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tidings_domain::delivery::Status;

use super::admission::at_most;
use super::samples::{NOW, after_ms, assert_refused, lease, passed, tried};
use super::world::World;
use crate::history::{DeliveryFilter, EventFilter};
use crate::queue::{InitialState, NextState, Resend};
use crate::settings::InstanceKey;

pub(super) async fn a_closed_store_refuses_every_verb(world: World) {
    let (store, ours) = (Arc::clone(&world.store), world.ours);
    let claimed = world.claimed(ours).await;
    let settlement = tried(&claimed, NextState::Done(Status::Sent));
    let resend = Resend { workspace_id: ours.id, delivery_id: claimed.id, rule_generation: 1, now: NOW };
    let new_event = world.new_event(world.event(ours), vec![]);
    let record = store.workspaces().await.unwrap().remove(0);
    store.close().await;

    assert_refused!(store.ready().await, Closed);
    assert_refused!(store.workspaces().await, Closed);
    assert_refused!(store.create_workspace(record).await, Closed);
    assert_refused!(store.add_api_key(world.api_key(ours.id)).await, Closed);
    assert_refused!(store.delete_api_key(ours.id, world.id()).await, Closed);
    assert_refused!(store.instance_key().await, Closed);
    let key = InstanceKey { key_id: "k".into(), canary: vec![] };
    assert_refused!(store.set_instance_key(key).await, Closed);
    assert_refused!(store.configuration(ours.id, 0).await, Closed);
    assert_refused!(store.versions().await, Closed);
    assert_refused!(store.apply_changes(ours.id, vec![]).await, Closed);
    assert_refused!(store.accept(vec![new_event]).await, Closed);
    assert_refused!(store.claim(NOW, lease(1, 1), vec![(ours.channel_id, 1)]).await, Closed);
    assert_refused!(store.settle(settlement).await, Closed);
    assert_refused!(store.reclaim_leases(NOW, 1).await, Closed);
    assert_refused!(store.due().await, Closed);
    assert_refused!(store.resend(resend).await, Closed);
    for limit in [None, Some(1)] {
        assert_refused!(store.recover(ours.id, ours.channel_id, NOW, NOW, limit).await, Closed);
    }
    assert_refused!(store.record_test(world.test(ours, Status::Sent, NOW)).await, Closed);
    assert_refused!(store.next_releases().await, Closed);
    assert_refused!(store.list_held(ours.id, ours.channel_id, NOW, 1).await, Closed);
    assert_refused!(store.preview_rate_limit(ours.channel_id, at_most(1), passed(NOW), NOW).await, Closed);
    assert_refused!(store.release_held(world.release(NOW)).await, Closed);
    assert_refused!(store.events(ours.id, EventFilter::default()).await, Closed);
    assert_refused!(store.event(ours.id, claimed.event.id).await, Closed);
    assert_refused!(store.deliveries(ours.id, DeliveryFilter::default()).await, Closed);
    assert_refused!(store.delivery(ours.id, claimed.id).await, Closed);
}

pub(super) async fn a_store_may_be_closed_twice(world: World) {
    let store = Arc::clone(&world.store);
    let other = tokio::spawn(async move { store.close().await });
    world.store.close().await;
    other.await.unwrap();
    world.store.close().await;
}

pub(super) async fn everything_is_there_after_reopening(world: World) {
    let ours = world.ours;
    let sent = world.done(ours, Status::Sent, after_ms(1)).await;
    let waiting = world.accept_one_at(ours, InitialState::Due, after_ms(100)).await;
    world.store.record_test(world.test(ours, Status::Sent, NOW)).await.unwrap();
    let key = InstanceKey { key_id: "k".into(), canary: vec![1] };
    world.store.set_instance_key(key.clone()).await.unwrap();
    let filter = DeliveryFilter { limit: 9, with_attempts: true, ..DeliveryFilter::default() };
    let deliveries = format!("{:?}", world.store.deliveries(ours.id, filter.clone()).await.unwrap());
    let configuration = format!("{:?}", world.configuration(ours).await);

    let world = world.reopen().await;
    assert_eq!(format!("{:?}", world.store.deliveries(ours.id, filter).await.unwrap()), deliveries);
    assert_eq!(format!("{:?}", world.configuration(ours).await), configuration);
    assert_eq!(world.store.instance_key().await.unwrap(), Some(key));
    assert_eq!(world.status(ours, sent).await, Status::Sent);
    let claimed = world.claim(ours, after_ms(100), lease(9, 900), 9).await;
    assert!(claimed.iter().map(|one| one.id).eq([waiting]));
}

/// A caller goes away after its operation is on its way: whether or not it is carried out, others are answered.
pub(super) async fn a_caller_that_goes_away_disturbs_nobody(world: World) {
    for _ in 0..20 {
        let new_event = world.new_event(world.event(world.ours), vec![world.delivery(world.ours, InitialState::Due)]);
        let stays = world.accept_one(world.ours, InitialState::Due);
        {
            let mut leaves = pin!(world.store.accept(vec![new_event]));
            poll_fn(|context| Poll::Ready(leaves.as_mut().poll(context).is_ready())).await;
        }
        stays.await;
    }
    let stayed = world.listed(world.ours, DeliveryFilter { limit: 99, ..DeliveryFilter::default() }).await;
    assert!((20..=40).contains(&stayed.len()), "{}", stayed.len());
    let claimed = world.claim(world.ours, NOW, lease(1, 900), 99).await;
    assert_eq!(claimed.len(), stayed.len(), "each is whole or not there at all");
}
