//! What an incident keeps of its deliveries: which channels were notified, and which are still to be notified of the end.

use std::sync::Arc;

use tidings_domain::delivery::Status;
use tidings_domain::event::{Content, Event};
use tidings_domain::gate::Gate;
use tidings_domain::id::{ChannelId, DeliveryId};
use tidings_domain::incident::{IncidentTrigger, NotifiedBy};

use super::fixture::{Fixture, Tenant};
use super::monitoring_fixture::incident_only;
use super::samples::{NOW, after_ms, attempted, lease, stopped, unattempted};
use crate::monitoring::{EpisodeEnd, IncidentRecord, TransitionRecord};
use crate::queue::{Claimed, FollowUps, InitialState, NewDelivery, NewEvent, NextState, ReleaseBatch, Settlement};
use crate::settings::ConfigChange;

const STEP: IncidentTrigger = IncidentTrigger::Escalated { after_seconds: 60 };

impl Fixture {
    /// Records an event of the incident with one delivery.
    async fn notify(
        &self,
        record: &IncidentRecord,
        trigger: IncidentTrigger,
        delivery: NewDelivery,
    ) -> (NewEvent, DeliveryId) {
        let id = delivery.id;
        let event = self.incident_event(record, trigger, NOW, vec![delivery]);
        let transition = TransitionRecord { events: vec![event.clone()], ..TransitionRecord::default() };
        self.record_transition(self.ours, transition).await.unwrap();
        (event, id)
    }

    /// Claims what is due of the channel, and settles it.
    async fn settle_due(&self, tenant: Tenant, follow_ups: FollowUps, settle: impl Fn(&Claimed) -> Settlement) {
        let claimed = self.claim(tenant, after_ms(10), lease(1, 60_000), 9).await;
        assert!(!claimed.is_empty());
        for claimed in claimed {
            self.store.settle(Settlement { follow_ups, ..settle(&claimed) }).await.unwrap();
        }
    }

    async fn notified(&self, record: &IncidentRecord) -> Vec<(ChannelId, NotifiedBy)> {
        let notified = self.store.notified_channels(self.ours.id, record.incident.id).await.unwrap();
        assert_eq!(self.stored_incident(self.ours, record.incident.id).await.notified, notified);
        notified.into_iter().collect()
    }

    /// Records the resolution of the incident.
    async fn resolve(&self, record: &IncidentRecord) -> IncidentRecord {
        let incident = record.incident.resolved(after_ms(20)).unwrap();
        let resolved = IncidentRecord { incident, wake_at: None, revision: 2, ..record.clone() };
        self.record_transition(self.ours, incident_only(resolved.clone())).await.unwrap();
        resolved
    }

    async fn unfinished(&self) -> Vec<IncidentRecord> {
        self.store.unfinished_incidents().await.unwrap()
    }
}

fn sent(claimed: &Claimed) -> Settlement {
    attempted(claimed, NextState::Done(Status::Sent))
}

fn muted(claimed: &Claimed) -> Settlement {
    unattempted(claimed, NextState::Suppressed(stopped(Gate::GlobalMute, NOW)))
}

pub(super) async fn sent_deliveries_make_their_channels_notified(fixture: Fixture) {
    let (ours, other) = (fixture.ours, fixture.another_channel().await);
    let record = fixture.open_incident(ours).await;
    let follow_ups = FollowUps::Incident(record.incident.id);
    fixture.notify(&record, IncidentTrigger::Opened, fixture.delivery(ours, InitialState::Due)).await;
    assert!(fixture.notified(&record).await.is_empty(), "not before it is sent");
    fixture.settle_due(ours, follow_ups, |claimed| attempted(claimed, NextState::Done(Status::Failed))).await;
    assert!(fixture.notified(&record).await.is_empty(), "it failed");
    for (trigger, notifies) in [
        (IncidentTrigger::Resolved, false),
        (IncidentTrigger::Stable, false),
        (IncidentTrigger::Reminder { number: 1 }, true),
    ] {
        fixture.notify(&record, trigger, fixture.delivery(ours, InitialState::Due)).await;
        fixture.settle_due(ours, follow_ups, sent).await;
        assert_eq!(!fixture.notified(&record).await.is_empty(), notifies, "{trigger}");
    }
    assert_eq!(fixture.notified(&record).await, [(ours.channel_id, NotifiedBy::Rule)]);
    let step = || NewDelivery { rule_id: None, ..fixture.delivery(other, InitialState::Due) };
    fixture.notify(&record, STEP, step()).await;
    fixture.settle_due(other, follow_ups, sent).await;
    fixture.notify(&record, IncidentTrigger::Worsened, fixture.delivery(other, InitialState::Due)).await;
    fixture.settle_due(other, follow_ups, sent).await;
    let both = [(ours.channel_id, NotifiedBy::Rule), (other.channel_id, NotifiedBy::Step)];
    assert_eq!(fixture.notified(&record).await, both, "a step without a rule is not forgotten");
    assert_eq!(fixture.stored_incident(ours, record.incident.id).await.revision, 1, "no transition conflicts with it");
    let theirs = fixture.store.notified_channels(fixture.theirs.id, record.incident.id).await;
    assert_eq!(theirs, Ok(Default::default()));
}

pub(super) async fn digest_members_make_their_channel_notified(fixture: Fixture) {
    let ours = fixture.ours;
    let record = fixture.open_incident(ours).await;
    let (_, id) = fixture.notify(&record, IncidentTrigger::Opened, fixture.delivery(ours, InitialState::Held)).await;
    let digest = fixture.digest(vec![id]);
    fixture.release_held(ReleaseBatch { digest: Some(digest), ..fixture.empty_release(NOW) }).await;
    fixture.settle_due(ours, FollowUps::Digest, |claimed| attempted(claimed, NextState::RetryAt(NOW))).await;
    assert!(fixture.notified(&record).await.is_empty());
    fixture.settle_due(ours, FollowUps::Digest, sent).await;
    assert_eq!(fixture.notified(&record).await, [(ours.channel_id, NotifiedBy::Rule)]);
}

pub(super) async fn notified_channels_outlive_pruned_deliveries(fixture: Fixture) {
    let ours = fixture.ours;
    let record = fixture.open_incident(ours).await;
    fixture.notify(&record, IncidentTrigger::Opened, fixture.delivery(ours, InitialState::Due)).await;
    fixture.settle_due(ours, FollowUps::Incident(record.incident.id), sent).await;
    let pruned = fixture.prune_all(after_ms(400 * 86_400_000), 99).await;
    assert!(pruned.events > 0);
    assert!(fixture.store.incident_deliveries(ours.id, record.incident.id).await.unwrap().is_empty());
    assert_eq!(fixture.notified(&record).await, [(ours.channel_id, NotifiedBy::Rule)]);
}

pub(super) async fn suppressed_resolution_gives_notified_channel_a_wake_up(fixture: Fixture) {
    let (ours, other) = (fixture.ours, fixture.another_channel().await);
    let record = fixture.open_incident(ours).await;
    let follow_ups = FollowUps::Incident(record.incident.id);
    fixture.notify(&record, IncidentTrigger::Opened, fixture.delivery(ours, InitialState::Due)).await;
    fixture.settle_due(ours, follow_ups, sent).await;
    let resolved = fixture.resolve(&record).await;
    let deliveries = [ours, ours, other].map(|tenant| fixture.delivery(tenant, InitialState::Due));
    let event = fixture.incident_event(&resolved, IncidentTrigger::Resolved, NOW, deliveries.into());
    let transition = TransitionRecord { events: vec![event], ..TransitionRecord::default() };
    fixture.record_transition(ours, transition).await.unwrap();
    fixture.settle_due(other, follow_ups, muted).await;
    assert!(fixture.unfinished().await.is_empty(), "that channel was not notified");
    let claimed = fixture.claim(ours, after_ms(10), lease(1, 60_000), 9).await.remove(0);
    let filtered = unattempted(&claimed, NextState::Suppressed(stopped(Gate::EventFilter, NOW)));
    fixture.store.settle(Settlement { follow_ups, ..filtered }).await.unwrap();
    assert!(fixture.unfinished().await.is_empty(), "that gate defers nothing");
    let claimed = fixture.claim(ours, after_ms(60), lease(1, 60_000), 9).await.remove(0);
    let settlement = Settlement { follow_ups, ..muted(&claimed) };
    let now = settlement.now;
    fixture.store.settle(settlement).await.unwrap();
    let [unfinished] = &fixture.unfinished().await[..] else { panic!("one") };
    assert_eq!((unfinished.incident.id, unfinished.wake_at), (record.incident.id, Some(now)));
    assert_eq!(unfinished.revision, resolved.revision + 1, "a transition that was decided before conflicts");
    let filter = crate::monitoring::IncidentFilter { limit: 9, has_wake_up: true, ..Default::default() };
    assert_eq!(fixture.store.incidents(ours.id, filter.clone()).await.unwrap().len(), 1);
    let done = IncidentRecord { wake_at: None, revision: unfinished.revision + 1, ..unfinished.clone() };
    fixture.record_transition(ours, incident_only(done)).await.unwrap();
    assert!(
        fixture.unfinished().await.is_empty() && fixture.store.incidents(ours.id, filter).await.unwrap().is_empty()
    );
}

pub(super) async fn suppressed_digest_and_release_give_wake_ups(fixture: Fixture) {
    let ours = fixture.ours;
    let stop = |gate| NextState::Suppressed(stopped(gate, NOW));
    for in_digest in [true, false] {
        let record = fixture.open_incident(ours).await;
        fixture.notify(&record, IncidentTrigger::Opened, fixture.delivery(ours, InitialState::Due)).await;
        fixture.settle_due(ours, FollowUps::Incident(record.incident.id), sent).await;
        let resolved = fixture.resolve(&record).await;
        let (_, id) =
            fixture.notify(&resolved, IncidentTrigger::Resolved, fixture.delivery(ours, InitialState::Held)).await;
        if in_digest {
            let digest = fixture.digest(vec![id]);
            fixture.release_held(ReleaseBatch { digest: Some(digest), ..fixture.empty_release(NOW) }).await;
            fixture.settle_due(ours, FollowUps::Digest, |claimed| unattempted(claimed, stop(Gate::ScopedMute))).await;
        } else {
            let not_sent = vec![(id, stop(Gate::Maintenance))];
            fixture.release_held(ReleaseBatch { not_sent, ..fixture.empty_release(NOW) }).await;
        }
        assert_eq!(fixture.status(ours, id).await, Status::Suppressed);
        assert!(fixture.unfinished().await.iter().any(|it| it.incident.id == record.incident.id), "{in_digest}");
    }
}

pub(super) async fn deferred_delivery_has_the_content_of_its_time(fixture: Fixture) {
    let ours = fixture.ours;
    let record = fixture.open_incident(ours).await;
    let (first, id) =
        fixture.notify(&record, IncidentTrigger::Opened, fixture.delivery(ours, InitialState::Suppressed)).await;
    let mut later = Event::clone(&first.event);
    let Content::Incident(snapshot) = &mut later.content else { panic!("an incident event") };
    (snapshot.detail, snapshot.at) = (Some("now it is \"503\"".into()), after_ms(9));
    let deferred = |initial_state| NewDelivery {
        sequence: 2,
        replaces_id: Some(id),
        ..fixture.delivery_at(ours, initial_state, after_ms(9))
    };
    let detail = |event: &Event| event.incident().and_then(|snapshot| snapshot.detail.clone());
    let (held, due) = (deferred(InitialState::Held), deferred(InitialState::Due));
    for (sequence, delivery) in [(2, held.clone()), (3, due.clone())] {
        let delivery = NewDelivery { sequence, ..delivery };
        let event = NewEvent { event: Arc::new(later.clone()), deliveries: vec![delivery], ..first.clone() };
        let transition = TransitionRecord { events: vec![event], ..TransitionRecord::default() };
        fixture.record_transition(ours, transition).await.unwrap();
    }
    let expected = Some("now it is \"503\"".to_owned());
    assert_eq!(detail(&fixture.read(ours, held.id).await.event), expected);
    let listed = fixture.store.list_held(ours.id, ours.channel_id, after_ms(99_999), 9).await.unwrap();
    assert_eq!(listed.iter().map(|one| detail(&one.event)).collect::<Vec<_>>(), [expected.clone()]);
    let claimed = fixture.claim(ours, after_ms(10), lease(1, 60_000), 9).await;
    assert_eq!(claimed.iter().map(|one| detail(&one.event)).collect::<Vec<_>>(), [expected]);
    assert_eq!(detail(&fixture.read(ours, id).await.event), record.incident.cause_detail, "the first one is as it was");
    let event = fixture.store.event(ours.id, first.event.id).await.unwrap().unwrap();
    assert_eq!(detail(&event.event), record.incident.cause_detail);
}

pub(super) async fn resolved_incident_of_deleted_endpoint_takes_deferred_deliveries(fixture: Fixture) {
    let ours = fixture.ours;
    let record = fixture.open_incident(ours).await;
    let resolved = fixture.resolve(&record).await;
    let (event, id) =
        fixture.notify(&resolved, IncidentTrigger::Resolved, fixture.delivery(ours, InitialState::Suppressed)).await;
    let tidings_domain::incident::Subject::Endpoint(endpoint_id) = record.incident.subject else { panic!("endpoint") };
    fixture.apply_change(ours, ConfigChange::DeleteEndpoint(endpoint_id, after_ms(30))).await.unwrap();
    let deferred = NewDelivery { sequence: 2, replaces_id: Some(id), ..fixture.delivery(ours, InitialState::Due) };
    let deferred_id = deferred.id;
    let transition = TransitionRecord {
        events: vec![NewEvent { deliveries: vec![deferred], ..event }],
        ..incident_only(IncidentRecord { revision: 3, ..resolved })
    };
    fixture.record_transition(ours, transition).await.unwrap();
    assert_eq!(fixture.status(ours, deferred_id).await, Status::Pending);
}

pub(super) async fn episode_ends_keep_the_latest_and_are_pruned(fixture: Fixture) {
    let (ours, theirs) = (fixture.ours, fixture.theirs);
    let last = |tenant: Tenant| fixture.store.last_episode_end(tenant.id, "disk:/var");
    assert_eq!(last(ours).await, Ok(None));
    for ms in [5, 9, 7] {
        let end = EpisodeEnd { resource_id: "disk:/var".into(), at: after_ms(ms) };
        let transition = TransitionRecord { episode_end: Some(end), ..TransitionRecord::default() };
        fixture.record_transition(ours, transition).await.unwrap();
    }
    assert_eq!((last(ours).await, last(theirs).await), (Ok(Some(after_ms(9))), Ok(None)));
    let fixture = fixture.reopen().await;
    let last = |tenant: Tenant| fixture.store.last_episode_end(tenant.id, "disk:/var");
    let ninety_days = 90 * 86_400_000;
    assert_eq!(fixture.prune_all(after_ms(ninety_days + 9), 1).await.episodes, 0);
    assert_eq!(last(ours).await, Ok(Some(after_ms(9))));
    assert_eq!(fixture.prune_all(after_ms(ninety_days + 10), 1).await.episodes, 1);
    assert_eq!(last(ours).await, Ok(None));
}
