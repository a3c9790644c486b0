//! Lifecycle: closing and reopening, and callers that drop their futures.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tidings_domain::access::Role;
use tidings_domain::delivery::Status;
use tidings_domain::resource::ResourceType;

use super::fixture::Fixture;
use super::rate_limit::at_most;
use super::samples::{NOW, after_ms, assert_refused, attempted, lease, passed};
use crate::accounts::AuditFilter;
use crate::activity::MuteFilter;
use crate::history::{DeliveryFilter, EventFilter};
use crate::insights::{ActivityFilter, ResourceFilter, ResourceKey};
use crate::queue::{InitialState, NextState, Resend};
use crate::settings::InstanceKey;

pub(super) async fn closed_store_refuses_every_operation(fixture: Fixture) {
    let (store, ours) = (Arc::clone(&fixture.store), fixture.ours);
    let claimed = fixture.accept_and_claim(ours).await;
    let settlement = attempted(&claimed, NextState::Done(Status::Sent));
    let resend = Resend { workspace_id: ours.id, delivery_id: claimed.id, rule_generation: 1, now: NOW };
    let new_event = fixture.new_event(fixture.event(ours), vec![]);
    store.close().await;

    assert_refused!(store.ready().await, Closed);
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
    assert_refused!(store.resend(resend, None).await, Closed);
    assert_refused!(store.resend_all(vec![(resend, None)]).await, Closed);
    assert_refused!(store.channel_health().await, Closed);
    assert_refused!(store.save_channel_health(vec![]).await, Closed);
    assert_refused!(store.mutes(ours.id, NOW, MuteFilter::InForce).await, Closed);
    for limit in [None, Some(1)] {
        assert_refused!(store.recover(ours.id, ours.channel_id, NOW, NOW, limit, None).await, Closed);
    }
    assert_refused!(store.record_test(fixture.test(ours, Status::Sent, NOW)).await, Closed);
    assert_refused!(store.next_releases().await, Closed);
    assert_refused!(store.list_held(ours.id, ours.channel_id, NOW, 1).await, Closed);
    assert_refused!(store.preview_rate_limit(ours.channel_id, at_most(1), passed(NOW), NOW).await, Closed);
    assert_refused!(store.release_held(fixture.empty_release(NOW)).await, Closed);
    let key = ResourceKey { workspace_id: ours.id, resource_type: ResourceType::Flow, resource_id: "f1".into() };
    assert_refused!(store.resources(ours.id, ResourceFilter::default(), NOW).await, Closed);
    assert_refused!(store.resource(key.clone(), NOW).await, Closed);
    assert_refused!(store.erase_resource(key.clone(), NOW, None).await, Closed);
    assert_refused!(store.erasure(key).await, Closed);
    assert_refused!(store.erase(NOW, 1).await, Closed);
    assert_refused!(
        store.activity(ours.id, ActivityFilter { since: NOW, until: NOW, minutes: 1, is_up_to_date: true }).await,
        Closed
    );
    assert_refused!(store.backlog(vec![ours.channel_id]).await, Closed);
    assert_refused!(store.upcoming(vec![ours.channel_id], NOW, 1).await, Closed);
    assert_refused!(store.attention(ours.id, vec![ours.channel_id], NOW, 1).await, Closed);
    assert_refused!(store.uptime(ours.id, vec![], NOW, 1).await, Closed);
    assert_refused!(store.events(ours.id, EventFilter::default()).await, Closed);
    assert_refused!(store.event(ours.id, claimed.event.id).await, Closed);
    assert_refused!(store.deliveries(ours.id, DeliveryFilter::default()).await, Closed);
    assert_refused!(store.delivery(ours.id, claimed.id).await, Closed);
}

pub(super) async fn closed_store_refuses_account_operations(fixture: Fixture) {
    let (store, ours) = (Arc::clone(&fixture.store), fixture.ours);
    let (user_id, workspace) = (fixture.id(), store.workspaces().await.unwrap().remove(0));
    let record = fixture.new_user("ana@example.com");
    store.close().await;

    assert_refused!(store.workspaces().await, Closed);
    assert_refused!(store.create_workspace(workspace, None, vec![]).await, Closed);
    assert_refused!(store.delete_workspace(ours.id, NOW, vec![]).await, Closed);
    assert_refused!(store.add_api_key(fixture.api_key(ours.id), vec![]).await, Closed);
    assert_refused!(store.delete_api_key(ours.id, fixture.id(), vec![]).await, Closed);
    assert_refused!(store.api_keys(ours.id).await, Closed);
    assert_refused!(store.record_api_key_uses(vec![]).await, Closed);
    assert_refused!(store.user(user_id).await, Closed);
    assert_refused!(store.create_user(record.clone(), vec![], vec![]).await, Closed);
    assert_refused!(store.update_user(record.user, 1, vec![]).await, Closed);
    assert_refused!(store.members(ours.id).await, Closed);
    assert_refused!(store.remove_member(ours.id, user_id, Role::Owner, vec![]).await, Closed);
    assert_refused!(store.session(fixture.hash(), NOW).await, Closed);
    assert_refused!(store.delete_sessions(user_id, None, vec![]).await, Closed);
    assert_refused!(store.invitation(fixture.hash()).await, Closed);
    assert_refused!(store.record_audit(vec![]).await, Closed);
    assert_refused!(store.audit_log(None, AuditFilter::default()).await, Closed);
}

pub(super) async fn close_twice_succeeds(fixture: Fixture) {
    let store = Arc::clone(&fixture.store);
    let other = tokio::spawn(async move { store.close().await });
    fixture.store.close().await;
    other.await.unwrap();
    fixture.store.close().await;
}

pub(super) async fn reopen_reads_back_everything(fixture: Fixture) {
    let ours = fixture.ours;
    let sent = fixture.accept_settled(ours, Status::Sent, after_ms(1)).await;
    let waiting = fixture.accept_one_at(ours, InitialState::Due, after_ms(100)).await;
    fixture.store.record_test(fixture.test(ours, Status::Sent, NOW)).await.unwrap();
    let key = InstanceKey { key_id: "k".into(), canary: vec![1] };
    fixture.store.set_instance_key(key.clone()).await.unwrap();
    let filter = DeliveryFilter { limit: 9, with_attempts: true, ..DeliveryFilter::default() };
    let deliveries = format!("{:?}", fixture.store.deliveries(ours.id, filter.clone()).await.unwrap().records);
    let configuration = format!("{:?}", fixture.configuration(ours).await);

    let fixture = fixture.reopen().await;
    assert_eq!(format!("{:?}", fixture.store.deliveries(ours.id, filter).await.unwrap().records), deliveries);
    assert_eq!(format!("{:?}", fixture.configuration(ours).await), configuration);
    assert_eq!(fixture.store.instance_key().await.unwrap(), Some(key));
    assert_eq!(fixture.status(ours, sent).await, Status::Sent);
    let claimed = fixture.claim(ours, after_ms(100), lease(9, 900), 9).await;
    assert!(claimed.iter().map(|one| one.id).eq([waiting]));
}

/// A caller drops its future after the request was pushed. Whether or not it is carried out, others are answered.
pub(super) async fn dropped_future_does_not_affect_others(fixture: Fixture) {
    for _ in 0..20 {
        let new_event =
            fixture.new_event(fixture.event(fixture.ours), vec![fixture.delivery(fixture.ours, InitialState::Due)]);
        let other = fixture.accept_one(fixture.ours, InitialState::Due);
        {
            let mut dropped = pin!(fixture.store.accept(vec![new_event]));
            poll_fn(|context| Poll::Ready(dropped.as_mut().poll(context).is_ready())).await;
        }
        other.await;
    }
    let stored = fixture.delivery_ids(fixture.ours, DeliveryFilter { limit: 99, ..DeliveryFilter::default() }).await;
    assert!((20..=40).contains(&stored.len()), "{}", stored.len());
    let claimed = fixture.claim(fixture.ours, NOW, lease(1, 900), 99).await;
    assert_eq!(claimed.len(), stored.len(), "each is whole or not there at all");
}
