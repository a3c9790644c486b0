//! Endpoints, mutes, inbound doors and preferences: made, edited and deleted like the rest of the configuration.

use tidings_domain::channel::EventFilters;
use tidings_domain::endpoint::{Definition, EscalationStep, Probe};
use tidings_domain::id::{EndpointId, InboundWebhookId};
use tidings_domain::incident::{IncidentTrigger, Subject, TimelineKind};
use tidings_domain::mute::{Mute, MuteScope};
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::severity::SeverityFilter;
use tidings_domain::trigger::RuleTrigger;

use super::samples::{NOW, after_ms, assert_refused};
use super::watching_world::{healthy, nobody, seen};
use super::world::{Tenant, World};
use crate::monitoring::TransitionRecord;
use crate::queue::InitialState;
use crate::retention::{SummaryFilter, SummaryGranularity};
use crate::settings::{ConfigChange, InboundWebhook, Precondition, Preferences};

pub(super) async fn endpoints_read_back(world: World) {
    let plain = world.endpoint(world.ours);
    let mut full = world.endpoint(world.ours);
    full.endpoint.enabled = false;
    let probe = Probe::Dns { host: "example.com".into(), record_type: "MX".into(), expected_value: None };
    full.endpoint.definition = Definition {
        parent_id: Some(plain.endpoint.id),
        reminder_minutes: Some(30),
        escalation: vec![EscalationStep { after_seconds: 900, channel_id: world.ours.channel_id }],
        tags: vec!["prod \"eu\"".into()],
        ..Definition::new(probe)
    };
    (full.endpoint.revision, full.endpoint.updated_at, full.sealed) = (7, after_ms(9), vec![]);
    world.put_endpoint(plain.clone()).await.unwrap();
    world.put_endpoint(full.clone()).await.unwrap();
    let found = world.configured(world.ours, 0).await;
    assert_eq!((found.endpoints, found.endpoint_count), (vec![plain, full], 2), "oldest first");
}

pub(super) async fn an_endpoint_is_made_once(world: World) {
    let mut record = world.endpoint(world.ours);
    world.put_endpoint(record.clone()).await.unwrap();
    record.endpoint.name = "another".into();
    assert_refused!(world.put_endpoint(record.clone()).await, Exists);
    record.endpoint.workspace_id = world.theirs.id;
    assert_refused!(world.put_endpoint(record.clone()).await, Exists);
    assert_ne!(world.configured(world.ours, 0).await.endpoints[0].endpoint.name, "another");
}

pub(super) async fn an_edit_of_an_endpoint_needs_its_revision(world: World) {
    let mut record = world.endpoint(world.ours);
    let edit = |record: &_, revision| ConfigChange::PutEndpoint(Clone::clone(record), Precondition::Revision(revision));
    assert_refused!(world.change(world.ours, edit(&record, 1)).await, NotFound);
    world.put_endpoint(record.clone()).await.unwrap();
    world.follow(world.ours, seen_once(&world, record.endpoint.id)).await.unwrap();
    (record.endpoint.revision, record.endpoint.name, record.sealed) = (2, "renamed".into(), vec![9]);
    world.change(world.ours, edit(&record, 1)).await.unwrap();
    assert_refused!(world.change(world.ours, edit(&record, 1)).await, Conflict);
    assert_eq!(world.configured(world.ours, 0).await.endpoints, [record.clone()]);
    world.assert_revision(world.ours, record.endpoint.id, 1).await;
}

fn seen_once(world: &World, endpoint_id: EndpointId) -> TransitionRecord {
    seen(world.check(endpoint_id, healthy(NOW)), world.state(endpoint_id, 1))
}

pub(super) async fn only_endpoints_written_since_are_read(world: World) {
    let (mut early, late) = (world.endpoint(world.ours), world.endpoint(world.ours));
    let first = world.put_endpoint(early.clone()).await.unwrap();
    let second = world.put_endpoint(late.clone()).await.unwrap();
    for (since, expected) in [(0, vec![&early, &late]), (first, vec![&late]), (second, vec![])] {
        let found = world.configured(world.ours, since).await;
        assert_eq!((found.endpoints.iter().collect::<Vec<_>>(), found.endpoint_count), (expected, 2));
        assert_eq!(found.version, second);
    }
    early.endpoint.revision = 2;
    // Together with others, too, it is of the version that the change leads to.
    let edits = vec![
        ConfigChange::PutMute(world.mute(world.ours, MuteScope::Global)),
        ConfigChange::PutEndpoint(early.clone(), Precondition::Revision(1)),
    ];
    let third = world.store.apply_changes(world.ours.id, edits).await.unwrap();
    assert_eq!(world.configured(world.ours, second).await.endpoints, [early]);
    let fourth = world.change(world.ours, ConfigChange::DeleteEndpoint(late.endpoint.id, NOW)).await.unwrap();
    let found = world.configured(world.ours, third).await;
    assert_eq!((found.endpoints.len(), found.endpoint_count, found.version), (0, 1, fourth));
}

pub(super) async fn an_endpoint_in_use_is_not_deleted(world: World) {
    let ours = world.ours;
    let id = world.watched(ours).await;
    let mut rule = world.rule(ours.id, ours.channel_id);
    (rule.resource_type, rule.resource) = (ResourceType::Endpoint, ResourceSelector::One(id.to_string()));
    rule.triggers = RuleTrigger::OF_INCIDENTS.to_vec();
    world.put_rule(rule.clone()).await.unwrap();
    assert!(world.configured(ours, 0).await.rules.contains(&rule));
    assert_refused!(world.change(ours, ConfigChange::DeleteEndpoint(id, NOW)).await, InUse);
    assert_eq!(world.configured(ours, 0).await.endpoint_count, 1);
    let together = vec![ConfigChange::DeleteRule(rule.id), ConfigChange::DeleteEndpoint(id, NOW)];
    world.store.apply_changes(ours.id, together).await.unwrap();
    assert_refused!(world.change(ours, ConfigChange::DeleteEndpoint(id, NOW)).await, NotFound);
}

pub(super) async fn a_deleted_endpoint_takes_with_it_what_hangs_on_it(world: World) {
    let ours = world.ours;
    let (id, other) = (world.watched(ours).await, world.watched(ours).await);
    for (endpoint_id, scope) in [(id, MuteScope::Endpoint(id)), (other, MuteScope::Endpoint(other))] {
        world.follow(ours, seen_once(&world, endpoint_id)).await.unwrap();
        world.change(ours, ConfigChange::PutMute(world.mute(ours, scope))).await.unwrap();
    }
    let record = world.opened(ours, Subject::Endpoint(id));
    let incident_id = record.incident.id;
    let delivery = world.delivery(ours, InitialState::Due);
    let delivery_id = delivery.id;
    let events = vec![world.tells(&record, IncidentTrigger::Opened, NOW, vec![delivery])];
    world
        .follow(ours, TransitionRecord { incident: Some(record), events, ..TransitionRecord::default() })
        .await
        .unwrap();
    world.store.summarise(after_ms(9_000_000), 99).await.unwrap();

    world.change(ours, ConfigChange::DeleteEndpoint(id, after_ms(70))).await.unwrap();
    let (record, timeline) = world.store.incident(ours.id, incident_id).await.unwrap().expect("it stays");
    assert_eq!((record.incident.resolved_at, record.wake_at, record.revision), (Some(after_ms(70)), None, 2));
    let last = timeline.last().expect("its end");
    assert_eq!(last.at, after_ms(70));
    assert_eq!(last.kind, TimelineKind::Resolved { detail: Some("the endpoint was deleted".into()) });
    assert_eq!(world.store.incident_deliveries(ours.id, incident_id).await.unwrap()[0].delivery_id, delivery_id);
    assert!(world.checks(ours, id).await.is_empty());
    world.assert_revision(ours, id, 0).await;
    world.assert_revision(ours, other, 1).await;
    assert_eq!(world.checks(ours, other).await.len(), 1);
    for span in [SummaryGranularity::Hour, SummaryGranularity::Day] {
        let filter = SummaryFilter { span, limit: 9, ..SummaryFilter::default() };
        assert!(world.store.summaries(ours.id, id, filter).await.unwrap().is_empty());
        assert_eq!(world.store.summaries(ours.id, other, filter).await.unwrap().len(), 1);
    }
    let found = world.configured(ours, 0).await;
    assert!(found.mutes.iter().map(|mute| mute.scope).eq([MuteScope::Endpoint(other)]));

    // One made again under the same id knows nothing of it.
    let mut again = world.endpoint(ours);
    again.endpoint.id = id;
    world.put_endpoint(again).await.unwrap();
    assert!(world.checks(ours, id).await.is_empty());
    world.assert_revision(ours, id, 0).await;
}

pub(super) async fn mutes_read_back_and_are_deleted(world: World) {
    let ours = world.ours;
    let endpoint_id = world.watched(ours).await;
    let everything = world.mute(ours, MuteScope::Global);
    let of_endpoint = Mute {
        expires_at: Some(after_ms(5)),
        ends_on_recovery: true,
        ..world.mute(ours, MuteScope::Endpoint(endpoint_id))
    };
    let of_channel = Mute { reason: String::new(), ..world.mute(ours, MuteScope::Channel(ours.channel_id)) };
    let all = [everything, of_endpoint, of_channel];
    for mute in &all {
        world.change(ours, ConfigChange::PutMute(mute.clone())).await.unwrap();
        assert_refused!(world.change(ours, ConfigChange::PutMute(mute.clone())).await, Exists);
    }
    assert_eq!(world.configured(ours, 0).await.mutes, all);
    let delete = ConfigChange::DeleteMute(all[1].id);
    world.change(ours, delete.clone()).await.unwrap();
    assert_refused!(world.change(ours, delete).await, NotFound);
    assert_eq!(world.configured(ours, 0).await.mutes, [all[0].clone(), all[2].clone()]);
}

pub(super) async fn a_mute_needs_its_target(world: World) {
    let their_endpoint = world.watched(world.theirs).await;
    for scope in [
        MuteScope::Endpoint(nobody()),
        MuteScope::Channel(nobody()),
        MuteScope::Endpoint(their_endpoint),
        MuteScope::Channel(world.theirs.channel_id),
    ] {
        let mute = world.mute(world.ours, scope);
        assert_refused!(world.change(world.ours, ConfigChange::PutMute(mute)).await, NotFound);
    }
    assert!(world.configured(world.ours, 0).await.mutes.is_empty());
}

pub(super) async fn a_deleted_channel_takes_its_mutes(world: World) {
    let Tenant { channel_id, rule_id, .. } = world.ours;
    let stays = world.mute(world.ours, MuteScope::Global);
    for mute in [stays.clone(), world.mute(world.ours, MuteScope::Channel(channel_id))] {
        world.change(world.ours, ConfigChange::PutMute(mute)).await.unwrap();
    }
    assert_refused!(world.change(world.ours, ConfigChange::DeleteChannel(channel_id)).await, InUse);
    assert_eq!(world.configured(world.ours, 0).await.mutes.len(), 2);
    let delete = vec![ConfigChange::DeleteRule(rule_id), ConfigChange::DeleteChannel(channel_id)];
    world.store.apply_changes(world.ours.id, delete).await.unwrap();
    assert_eq!(world.configured(world.ours, 0).await.mutes, [stays]);
}

fn webhook(world: &World, tenant: Tenant, hash: u8) -> InboundWebhook {
    InboundWebhook {
        id: world.id(),
        workspace_id: tenant.id,
        kind: "alertmanager".into(),
        name: "Prod — \"eu\"".into(),
        hash: [hash; 32],
        created_at: after_ms(3),
    }
}

pub(super) async fn doors_read_back_and_are_deleted(world: World) {
    let webhooks = [webhook(&world, world.ours, 1), webhook(&world, world.ours, 2)];
    for webhook in &webhooks {
        world.change(world.ours, ConfigChange::PutInboundWebhook(webhook.clone())).await.unwrap();
    }
    assert_eq!(world.configured(world.ours, 0).await.inbound_webhooks, webhooks);
    world.change(world.ours, ConfigChange::DeleteInboundWebhook(webhooks[0].id)).await.unwrap();
    assert_refused!(world.change(world.ours, ConfigChange::DeleteInboundWebhook(webhooks[0].id)).await, NotFound);
    assert_eq!(world.configured(world.ours, 0).await.inbound_webhooks, webhooks[1..]);
}

pub(super) async fn two_doors_never_have_the_same_secret(world: World) {
    world.change(world.ours, ConfigChange::PutInboundWebhook(webhook(&world, world.ours, 1))).await.unwrap();
    for tenant in [world.ours, world.theirs] {
        assert_refused!(
            world.change(tenant, ConfigChange::PutInboundWebhook(webhook(&world, tenant, 1))).await,
            Exists
        );
    }
}

pub(super) async fn preferences_read_back(world: World) {
    assert_eq!(world.configured(world.ours, 0).await.preferences, Preferences::default());
    let preferences = Preferences {
        timezone: "Europe/Zurich".into(),
        default_severity_filter: SeverityFilter::Critical,
        default_event_filters: EventFilters { send_resolved: false, ..EventFilters::default() },
    };
    world.change(world.ours, ConfigChange::SetPreferences(preferences.clone())).await.unwrap();
    assert_eq!(world.configured(world.ours, 0).await.preferences, preferences);
    assert_eq!(world.configured(world.theirs, 0).await.preferences, Preferences::default());
}

pub(super) async fn a_stranger_touches_none_of_it(world: World) {
    let mut record = world.endpoint(world.ours);
    world.put_endpoint(record.clone()).await.unwrap();
    let mute = world.mute(world.ours, MuteScope::Endpoint(record.endpoint.id));
    let webhook = webhook(&world, world.ours, 1);
    world.change(world.ours, ConfigChange::PutMute(mute.clone())).await.unwrap();
    world.change(world.ours, ConfigChange::PutInboundWebhook(webhook.clone())).await.unwrap();
    let before = format!("{:?}", world.configured(world.ours, 0).await);

    (record.endpoint.revision, record.endpoint.name) = (2, "taken over".into());
    for change in [
        ConfigChange::PutEndpoint(record.clone(), Precondition::Revision(1)),
        ConfigChange::DeleteEndpoint(record.endpoint.id, NOW),
        ConfigChange::DeleteMute(mute.id),
        ConfigChange::DeleteInboundWebhook(webhook.id),
        ConfigChange::DeleteInboundWebhook(nobody::<InboundWebhookId>()),
    ] {
        assert_refused!(world.change(world.theirs, change).await, NotFound);
    }
    let theirs = world.configured(world.theirs, 0).await;
    assert!(theirs.endpoints.is_empty() && theirs.mutes.is_empty() && theirs.inbound_webhooks.is_empty());
    assert_eq!(theirs.endpoint_count, 0);
    assert_eq!(format!("{:?}", world.configured(world.ours, 0).await), before);
}
