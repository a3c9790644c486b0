//! Endpoints, mutes, inbound webhooks and preferences: created, updated and deleted like the rest of the configuration.

use tidings_domain::channel::EventFilters;
use tidings_domain::endpoint::{Definition, EscalationStep, Probe};
use tidings_domain::id::{EndpointId, InboundWebhookId};
use tidings_domain::incident::{IncidentTrigger, Subject, TimelineKind};
use tidings_domain::mute::{Mute, MuteScope};
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::severity::SeverityFilter;
use tidings_domain::trigger::RuleTrigger;

use super::fixture::{Fixture, Tenant};
use super::monitoring_fixture::{check_and_state, healthy, unknown_id};
use super::samples::{NOW, after_ms, assert_refused};
use crate::monitoring::TransitionRecord;
use crate::queue::InitialState;
use crate::retention::{SummaryFilter, SummaryGranularity};
use crate::settings::{ConfigChange, InboundWebhook, Precondition, Preferences};

pub(super) async fn endpoint_all_fields_read_back(fixture: Fixture) {
    let plain = fixture.endpoint(fixture.ours);
    let mut full = fixture.endpoint(fixture.ours);
    full.endpoint.enabled = false;
    let probe = Probe::Dns { host: "example.com".into(), record_type: "MX".into(), expected_value: None };
    full.endpoint.definition = Definition {
        parent_id: Some(plain.endpoint.id),
        reminder_minutes: Some(30),
        escalation: vec![EscalationStep { after_seconds: 900, channel_id: fixture.ours.channel_id }],
        tags: vec!["prod \"eu\"".into()],
        ..Definition::new(probe)
    };
    (full.endpoint.revision, full.endpoint.updated_at, full.sealed) = (7, after_ms(9), vec![]);
    fixture.put_endpoint(plain.clone()).await.unwrap();
    fixture.put_endpoint(full.clone()).await.unwrap();
    let found = fixture.configuration_since(fixture.ours, 0).await;
    assert_eq!((found.endpoints, found.endpoint_count), (vec![plain, full], 2), "oldest first");
}

pub(super) async fn put_endpoint_existing_id_is_refused(fixture: Fixture) {
    let mut record = fixture.endpoint(fixture.ours);
    fixture.put_endpoint(record.clone()).await.unwrap();
    record.endpoint.name = "another".into();
    assert_refused!(fixture.put_endpoint(record.clone()).await, Exists);
    record.endpoint.workspace_id = fixture.theirs.id;
    assert_refused!(fixture.put_endpoint(record.clone()).await, Exists);
    assert_ne!(fixture.configuration_since(fixture.ours, 0).await.endpoints[0].endpoint.name, "another");
}

pub(super) async fn put_endpoint_other_revision_is_conflict(fixture: Fixture) {
    let mut record = fixture.endpoint(fixture.ours);
    let edit = |record: &_, revision| ConfigChange::PutEndpoint(Clone::clone(record), Precondition::Revision(revision));
    assert_refused!(fixture.apply_change(fixture.ours, edit(&record, 1)).await, NotFound);
    fixture.put_endpoint(record.clone()).await.unwrap();
    fixture.record_transition(fixture.ours, check_and_state_of(&fixture, record.endpoint.id)).await.unwrap();
    (record.endpoint.revision, record.endpoint.name, record.sealed) = (2, "renamed".into(), vec![9]);
    fixture.apply_change(fixture.ours, edit(&record, 1)).await.unwrap();
    assert_refused!(fixture.apply_change(fixture.ours, edit(&record, 1)).await, Conflict);
    assert_eq!(fixture.configuration_since(fixture.ours, 0).await.endpoints, [record.clone()]);
    fixture.assert_revision(fixture.ours, record.endpoint.id, 1).await;
}

fn check_and_state_of(fixture: &Fixture, endpoint_id: EndpointId) -> TransitionRecord {
    check_and_state(fixture.check(endpoint_id, healthy(NOW)), fixture.state(endpoint_id, 1))
}

pub(super) async fn configuration_returns_endpoints_written_since(fixture: Fixture) {
    let (mut early, late) = (fixture.endpoint(fixture.ours), fixture.endpoint(fixture.ours));
    let first = fixture.put_endpoint(early.clone()).await.unwrap();
    let second = fixture.put_endpoint(late.clone()).await.unwrap();
    for (since, expected) in [(0, vec![&early, &late]), (first, vec![&late]), (second, vec![])] {
        let found = fixture.configuration_since(fixture.ours, since).await;
        assert_eq!((found.endpoints.iter().collect::<Vec<_>>(), found.endpoint_count), (expected, 2));
        assert_eq!(found.version, second);
    }
    early.endpoint.revision = 2;
    // Among other changes, too, it belongs to the version that the call leads to.
    let edits = vec![
        ConfigChange::PutMute(fixture.mute(fixture.ours, MuteScope::Global)),
        ConfigChange::PutEndpoint(early.clone(), Precondition::Revision(1)),
    ];
    let third = fixture.store.apply_changes(fixture.ours.id, edits).await.unwrap();
    assert_eq!(fixture.configuration_since(fixture.ours, second).await.endpoints, [early]);
    let fourth = fixture.apply_change(fixture.ours, ConfigChange::DeleteEndpoint(late.endpoint.id, NOW)).await.unwrap();
    let found = fixture.configuration_since(fixture.ours, third).await;
    assert_eq!((found.endpoints.len(), found.endpoint_count, found.version), (0, 1, fourth));
}

pub(super) async fn delete_endpoint_used_by_rule_is_refused(fixture: Fixture) {
    let ours = fixture.ours;
    let id = fixture.new_endpoint(ours).await;
    let mut rule = fixture.rule(ours.id, ours.channel_id);
    (rule.resource_type, rule.resource) = (ResourceType::Endpoint, ResourceSelector::One(id.to_string()));
    rule.settings.triggers = RuleTrigger::OF_INCIDENTS.to_vec();
    fixture.put_rule(rule.clone()).await.unwrap();
    assert!(fixture.configuration_since(ours, 0).await.rules.contains(&rule));
    assert_refused!(fixture.apply_change(ours, ConfigChange::DeleteEndpoint(id, NOW)).await, InUse);
    assert_eq!(fixture.configuration_since(ours, 0).await.endpoint_count, 1);
    let together = vec![ConfigChange::DeleteRule(rule.id), ConfigChange::DeleteEndpoint(id, NOW)];
    fixture.store.apply_changes(ours.id, together).await.unwrap();
    assert_refused!(fixture.apply_change(ours, ConfigChange::DeleteEndpoint(id, NOW)).await, NotFound);
}

pub(super) async fn delete_endpoint_deletes_dependents(fixture: Fixture) {
    let ours = fixture.ours;
    let (id, other) = (fixture.new_endpoint(ours).await, fixture.new_endpoint(ours).await);
    for (endpoint_id, scope) in [(id, MuteScope::Endpoint(id)), (other, MuteScope::Endpoint(other))] {
        fixture.record_transition(ours, check_and_state_of(&fixture, endpoint_id)).await.unwrap();
        fixture.apply_change(ours, ConfigChange::PutMute(fixture.mute(ours, scope))).await.unwrap();
    }
    let record = fixture.incident_record(ours, Subject::Endpoint(id));
    let incident_id = record.incident.id;
    let delivery = fixture.delivery(ours, InitialState::Due);
    let delivery_id = delivery.id;
    let events = vec![fixture.incident_event(&record, IncidentTrigger::Opened, NOW, vec![delivery])];
    fixture
        .record_transition(ours, TransitionRecord { incident: Some(record), events, ..TransitionRecord::default() })
        .await
        .unwrap();
    fixture.store.summarise(after_ms(9_000_000), 99).await.unwrap();

    fixture.apply_change(ours, ConfigChange::DeleteEndpoint(id, after_ms(70))).await.unwrap();
    let (record, timeline) = fixture.store.incident(ours.id, incident_id).await.unwrap().expect("the incident is kept");
    assert_eq!((record.incident.resolved_at, record.wake_at, record.revision), (Some(after_ms(70)), None, 2));
    let last = timeline.last().expect("its resolution");
    assert_eq!(last.at, after_ms(70));
    assert_eq!(last.kind, TimelineKind::Resolved { detail: Some("endpoint deleted".into()) });
    assert_eq!(fixture.store.incident_deliveries(ours.id, incident_id).await.unwrap()[0].delivery_id, delivery_id);
    assert!(fixture.checks(ours, id).await.is_empty());
    fixture.assert_revision(ours, id, 0).await;
    fixture.assert_revision(ours, other, 1).await;
    assert_eq!(fixture.checks(ours, other).await.len(), 1);
    for span in [SummaryGranularity::Hour, SummaryGranularity::Day] {
        let filter = SummaryFilter { granularity: span, limit: 9, ..SummaryFilter::default() };
        assert!(fixture.store.summaries(ours.id, id, filter).await.unwrap().is_empty());
        assert_eq!(fixture.store.summaries(ours.id, other, filter).await.unwrap().len(), 1);
    }
    let found = fixture.configuration_since(ours, 0).await;
    assert!(found.mutes.iter().map(|mute| mute.scope).eq([MuteScope::Endpoint(other)]));

    // A new endpoint with the same id starts without state.
    let mut recreated = fixture.endpoint(ours);
    recreated.endpoint.id = id;
    fixture.put_endpoint(recreated).await.unwrap();
    assert!(fixture.checks(ours, id).await.is_empty());
    fixture.assert_revision(ours, id, 0).await;
}

pub(super) async fn mute_reads_back_and_is_ended(fixture: Fixture) {
    let ours = fixture.ours;
    let endpoint_id = fixture.new_endpoint(ours).await;
    let everything = fixture.mute(ours, MuteScope::Global);
    let of_endpoint = Mute {
        expires_at: Some(after_ms(5)),
        ends_on_recovery: true,
        ..fixture.mute(ours, MuteScope::Endpoint(endpoint_id))
    };
    let of_channel = Mute { reason: String::new(), ..fixture.mute(ours, MuteScope::Channel(ours.channel_id)) };
    let all = [everything, of_endpoint, of_channel];
    for mute in &all {
        fixture.apply_change(ours, ConfigChange::PutMute(mute.clone())).await.unwrap();
        assert_refused!(fixture.apply_change(ours, ConfigChange::PutMute(mute.clone())).await, Exists);
    }
    assert_eq!(fixture.configuration_since(ours, 0).await.mutes, all);
    let delete = ConfigChange::EndMute(all[1].id, after_ms(9));
    fixture.apply_change(ours, delete.clone()).await.unwrap();
    assert_refused!(fixture.apply_change(ours, delete).await, NotFound);
    assert_eq!(fixture.configuration_since(ours, 0).await.mutes, [all[0].clone(), all[2].clone()]);
}

pub(super) async fn put_mute_unknown_target_is_not_found(fixture: Fixture) {
    let their_endpoint = fixture.new_endpoint(fixture.theirs).await;
    for scope in [
        MuteScope::Endpoint(unknown_id()),
        MuteScope::Channel(unknown_id()),
        MuteScope::Endpoint(their_endpoint),
        MuteScope::Channel(fixture.theirs.channel_id),
    ] {
        let mute = fixture.mute(fixture.ours, scope);
        assert_refused!(fixture.apply_change(fixture.ours, ConfigChange::PutMute(mute)).await, NotFound);
    }
    assert!(fixture.configuration_since(fixture.ours, 0).await.mutes.is_empty());
}

pub(super) async fn delete_channel_deletes_its_mutes(fixture: Fixture) {
    let Tenant { channel_id, rule_id, .. } = fixture.ours;
    let kept = fixture.mute(fixture.ours, MuteScope::Global);
    for mute in [kept.clone(), fixture.mute(fixture.ours, MuteScope::Channel(channel_id))] {
        fixture.apply_change(fixture.ours, ConfigChange::PutMute(mute)).await.unwrap();
    }
    assert_refused!(fixture.apply_change(fixture.ours, ConfigChange::DeleteChannel(channel_id)).await, InUse);
    assert_eq!(fixture.configuration_since(fixture.ours, 0).await.mutes.len(), 2);
    let delete = vec![ConfigChange::DeleteRule(rule_id), ConfigChange::DeleteChannel(channel_id)];
    fixture.store.apply_changes(fixture.ours.id, delete).await.unwrap();
    assert_eq!(fixture.configuration_since(fixture.ours, 0).await.mutes, [kept]);
}

fn webhook(fixture: &Fixture, tenant: Tenant, hash: u8) -> InboundWebhook {
    InboundWebhook {
        id: fixture.id(),
        workspace_id: tenant.id,
        kind: "alertmanager".into(),
        name: "Prod — \"eu\"".into(),
        hash: [hash; 32],
        created_at: after_ms(3),
    }
}

pub(super) async fn inbound_webhook_reads_back_and_is_deleted(fixture: Fixture) {
    let webhooks = [webhook(&fixture, fixture.ours, 1), webhook(&fixture, fixture.ours, 2)];
    for webhook in &webhooks {
        fixture.apply_change(fixture.ours, ConfigChange::PutInboundWebhook(webhook.clone())).await.unwrap();
    }
    assert_eq!(fixture.configuration_since(fixture.ours, 0).await.inbound_webhooks, webhooks);
    fixture.apply_change(fixture.ours, ConfigChange::DeleteInboundWebhook(webhooks[0].id)).await.unwrap();
    assert_refused!(
        fixture.apply_change(fixture.ours, ConfigChange::DeleteInboundWebhook(webhooks[0].id)).await,
        NotFound
    );
    assert_eq!(fixture.configuration_since(fixture.ours, 0).await.inbound_webhooks, webhooks[1..]);
}

pub(super) async fn put_inbound_webhook_existing_secret_is_refused(fixture: Fixture) {
    fixture
        .apply_change(fixture.ours, ConfigChange::PutInboundWebhook(webhook(&fixture, fixture.ours, 1)))
        .await
        .unwrap();
    for tenant in [fixture.ours, fixture.theirs] {
        assert_refused!(
            fixture.apply_change(tenant, ConfigChange::PutInboundWebhook(webhook(&fixture, tenant, 1))).await,
            Exists
        );
    }
}

pub(super) async fn preferences_read_back(fixture: Fixture) {
    assert_eq!(fixture.configuration_since(fixture.ours, 0).await.preferences, Preferences::default());
    let preferences = Preferences {
        timezone: "Europe/Zurich".into(),
        default_severity_filter: SeverityFilter::Critical,
        default_event_filters: EventFilters { send_resolved: false, ..EventFilters::default() },
    };
    fixture.apply_change(fixture.ours, ConfigChange::SetPreferences(preferences.clone())).await.unwrap();
    assert_eq!(fixture.configuration_since(fixture.ours, 0).await.preferences, preferences);
    assert_eq!(fixture.configuration_since(fixture.theirs, 0).await.preferences, Preferences::default());
}

pub(super) async fn monitoring_edit_from_other_workspace_is_not_found(fixture: Fixture) {
    let mut record = fixture.endpoint(fixture.ours);
    fixture.put_endpoint(record.clone()).await.unwrap();
    let mute = fixture.mute(fixture.ours, MuteScope::Endpoint(record.endpoint.id));
    let webhook = webhook(&fixture, fixture.ours, 1);
    fixture.apply_change(fixture.ours, ConfigChange::PutMute(mute.clone())).await.unwrap();
    fixture.apply_change(fixture.ours, ConfigChange::PutInboundWebhook(webhook.clone())).await.unwrap();
    let before = format!("{:?}", fixture.configuration_since(fixture.ours, 0).await);

    (record.endpoint.revision, record.endpoint.name) = (2, "changed by another workspace".into());
    for change in [
        ConfigChange::PutEndpoint(record.clone(), Precondition::Revision(1)),
        ConfigChange::DeleteEndpoint(record.endpoint.id, NOW),
        ConfigChange::EndMute(mute.id, NOW),
        ConfigChange::DeleteInboundWebhook(webhook.id),
        ConfigChange::DeleteInboundWebhook(unknown_id::<InboundWebhookId>()),
    ] {
        assert_refused!(fixture.apply_change(fixture.theirs, change).await, NotFound);
    }
    let theirs = fixture.configuration_since(fixture.theirs, 0).await;
    assert!(theirs.endpoints.is_empty() && theirs.mutes.is_empty() && theirs.inbound_webhooks.is_empty());
    assert_eq!(theirs.endpoint_count, 0);
    assert_eq!(format!("{:?}", fixture.configuration_since(fixture.ours, 0).await), before);
}
