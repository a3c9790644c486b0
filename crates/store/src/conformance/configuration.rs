//! Rules and channels: created, updated and deleted with optimistic concurrency.

use tidings_domain::channel::{ChannelType, Connectivity, DeliveryPriority, DisabledReason, EventFilters, Policies};
use tidings_domain::delivery::Status;
use tidings_domain::id::ChannelId;
use tidings_domain::quiet_hours::{QuietAction, QuietHours};
use tidings_domain::rate_limit::{RateAction, RateLimit};
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::rule::Rule;
use tidings_domain::severity::{Severity, SeverityFilter};
use tidings_domain::trigger::{RuleTrigger, TriggerType};

use super::fixture::{Fixture, Tenant};
use super::samples::{NOW, after_ms, assert_refused};
use crate::settings::{ChannelRecord, ConfigChange, Configuration, Precondition};

impl Fixture {
    pub(super) async fn configuration(&self, tenant: Tenant) -> Configuration {
        self.store.configuration(tenant.id, 0).await.unwrap()
    }

    pub(super) async fn our_rule(&self) -> Rule {
        self.configuration(self.ours).await.rules.remove(0)
    }

    pub(super) async fn our_channel(&self) -> ChannelRecord {
        self.configuration(self.ours).await.channels.remove(0)
    }

    pub(super) async fn version(&self, tenant: Tenant) -> i64 {
        let version = self.configuration(tenant).await.version;
        let versions = self.store.versions().await.unwrap();
        assert!(versions.contains(&(tenant.id, version)), "both reads agree");
        version
    }
}

pub(super) async fn rule_and_channel_all_fields_read_back(fixture: Fixture) {
    let ours = fixture.ours;
    let mut rule = fixture.rule(ours.id, ours.channel_id);
    rule.resource_type = ResourceType::UseCase;
    rule.resource = ResourceSelector::One("a/b \"c\" ü".into());
    rule.settings.triggers = vec![RuleTrigger::Failure];
    rule.settings.trigger_types = ["manual", "chat"].iter().filter_map(|word| TriggerType::parse(word)).collect();
    (rule.enabled, rule.paused) = (false, true);
    rule.settings.failure_severity = Severity::Critical;
    (rule.generation, rule.revision) = (3, 9);
    rule.updated_at = after_ms(8);
    fixture.put_rule(rule.clone()).await.unwrap();
    let mut of_endpoints = fixture.rule(ours.id, ours.channel_id);
    of_endpoints.resource_type = ResourceType::Endpoint;
    of_endpoints.settings.triggers = RuleTrigger::OF_INCIDENTS.into();
    fixture.put_rule(of_endpoints.clone()).await.unwrap();

    let mut record = fixture.channel(ours.id);
    record.channel.owner_rule_id = Some(rule.id);
    record.channel.channel_type = ChannelType::Slack;
    record.channel.settings.insert("nested".into(), serde_json::json!({"list": [1, null, "ü"]}));
    record.channel.enabled = false;
    record.channel.disabled_reason = Some(DisabledReason::ReceiverGone);
    record.channel.policies = Policies {
        severity_filter: SeverityFilter::Critical,
        event_filters: EventFilters { send_open: true, send_resolved: false, send_escalated: false },
        delivery_priority: DeliveryPriority::Critical,
        quiet_hours: Some(QuietHours {
            start: "22:00".into(),
            end: "07:00".into(),
            timezone: "Europe/Zurich".into(),
            days: vec!["mon".into(), "sun".into()],
            action: QuietAction::Drop,
            critical_passes: true,
        }),
        rate_limit: Some(RateLimit { max_per_minute: 30, action: RateAction::Drop }),
        retry_on_failure: false,
        retry_delays_seconds: Some(vec![1, 60]),
        timeout_ms: 1_234,
    };
    record.channel.revision = 4;
    record.channel.updated_at = after_ms(9);
    fixture.put_channel(record.clone()).await.unwrap();

    let found = fixture.configuration(ours).await;
    assert!(found.rules.contains(&rule) && found.rules.contains(&of_endpoints), "{found:?}");
    assert!(found.channels.contains(&record), "{found:?}");
}

pub(super) async fn put_rule_existing_id_is_refused(fixture: Fixture) {
    let mut rule = fixture.our_rule().await;
    rule.paused = true;
    assert_refused!(fixture.put_rule(rule).await, Exists);
    assert!(!fixture.our_rule().await.paused);
}

pub(super) async fn put_channel_existing_id_is_refused(fixture: Fixture) {
    let mut record = fixture.our_channel().await;
    record.channel.name = "another".into();
    assert_refused!(fixture.put_channel(record).await, Exists);
    assert_eq!(fixture.our_channel().await.channel.name, "Data alerts");
}

pub(super) async fn put_other_revision_is_conflict(fixture: Fixture) {
    let (mut rule, mut record) = (fixture.our_rule().await, fixture.our_channel().await);
    (rule.revision, rule.paused) = (2, true);
    (record.channel.revision, record.channel.name, record.sealed) = (2, "renamed".into(), vec![9]);
    for _ in 0..2 {
        let edit = ConfigChange::PutRule(rule.clone(), Precondition::Revision(1));
        let other = ConfigChange::PutChannel(record.clone(), Precondition::Revision(1));
        if fixture.our_rule().await.revision == 1 {
            fixture.apply_change(fixture.ours, edit).await.unwrap();
            fixture.apply_change(fixture.ours, other).await.unwrap();
        } else {
            assert_refused!(fixture.apply_change(fixture.ours, edit).await, Conflict);
            assert_refused!(fixture.apply_change(fixture.ours, other).await, Conflict);
        }
    }
    assert_eq!(fixture.our_rule().await, rule);
    assert_eq!(fixture.our_channel().await, record);
}

pub(super) async fn edit_deleted_row_is_not_found(fixture: Fixture) {
    let (rule, record) = (fixture.our_rule().await, fixture.our_channel().await);
    fixture.apply_change(fixture.ours, ConfigChange::DeleteRule(rule.id)).await.unwrap();
    fixture.apply_change(fixture.ours, ConfigChange::DeleteChannel(record.channel.id)).await.unwrap();
    for change in [
        ConfigChange::DeleteRule(rule.id),
        ConfigChange::DeleteChannel(record.channel.id),
        ConfigChange::PutRule(rule, Precondition::Revision(1)),
        ConfigChange::PutChannel(record, Precondition::Revision(1)),
    ] {
        assert_refused!(fixture.apply_change(fixture.ours, change).await, NotFound);
    }
    let configuration = fixture.configuration(fixture.ours).await;
    assert!(configuration.rules.is_empty() && configuration.channels.is_empty());
}

pub(super) async fn put_channel_update_keeps_connectivity(fixture: Fixture) {
    let mut stale = fixture.our_channel().await;
    fixture.store.record_test(fixture.test(fixture.ours, Status::Sent, after_ms(5))).await.unwrap();
    let connectivity = fixture.our_channel().await.channel.connectivity;
    assert_ne!(connectivity, Connectivity::default());
    stale.channel.revision = 2;
    fixture.apply_change(fixture.ours, ConfigChange::PutChannel(stale, Precondition::Revision(1))).await.unwrap();
    assert_eq!(fixture.our_channel().await.channel.connectivity, connectivity);
}

pub(super) async fn delete_channel_used_by_rule_is_refused(fixture: Fixture) {
    let Tenant { channel_id, rule_id, .. } = fixture.ours;
    assert_refused!(fixture.apply_change(fixture.ours, ConfigChange::DeleteChannel(channel_id)).await, InUse);
    assert_eq!(fixture.configuration(fixture.ours).await.channels.len(), 1);
    fixture.apply_change(fixture.ours, ConfigChange::DeleteRule(rule_id)).await.unwrap();
    fixture.apply_change(fixture.ours, ConfigChange::DeleteChannel(channel_id)).await.unwrap();
}

pub(super) async fn put_rule_unknown_channel_is_not_found(fixture: Fixture) {
    let nowhere: ChannelId = fixture.id();
    assert_refused!(fixture.put_rule(fixture.rule(fixture.ours.id, nowhere)).await, NotFound);
    let mut rule = fixture.our_rule().await;
    rule.channel_id = nowhere;
    assert_refused!(
        fixture.apply_change(fixture.ours, ConfigChange::PutRule(rule, Precondition::Revision(1))).await,
        NotFound
    );
    assert_eq!(fixture.our_rule().await.channel_id, fixture.ours.channel_id);
}

pub(super) async fn apply_changes_one_refused_applies_none(fixture: Fixture) {
    let before = fixture.configuration(fixture.ours).await;
    let fresh = fixture.channel(fixture.ours.id);
    let mut paused = fixture.our_rule().await;
    paused.paused = true;
    let refused = vec![
        ConfigChange::PutChannel(fresh, Precondition::Absent),
        ConfigChange::PutRule(paused.clone(), Precondition::Revision(1)),
        ConfigChange::PutRule(paused, Precondition::Revision(77)),
    ];
    assert_refused!(fixture.store.apply_changes(fixture.ours.id, refused).await, Conflict);
    let after = fixture.configuration(fixture.ours).await;
    assert_eq!((after.version, after.rules, after.channels), (before.version, before.rules, before.channels));
}

pub(super) async fn apply_changes_are_applied_in_order(fixture: Fixture) {
    let mut private = fixture.channel(fixture.ours.id);
    let rule = fixture.rule(fixture.ours.id, private.channel.id);
    private.channel.owner_rule_id = Some(rule.id);
    let (rule_id, channel_id) = (rule.id, private.channel.id);
    let make = vec![
        ConfigChange::PutChannel(private, Precondition::Absent),
        ConfigChange::PutRule(rule, Precondition::Absent),
    ];
    fixture.store.apply_changes(fixture.ours.id, make).await.unwrap();
    let delete = vec![ConfigChange::DeleteRule(rule_id), ConfigChange::DeleteChannel(channel_id)];
    fixture.store.apply_changes(fixture.ours.id, delete).await.unwrap();
    assert_eq!(fixture.configuration(fixture.ours).await.rules.len(), 1, "the one of the fixture");
}

pub(super) async fn apply_changes_increments_version_once(fixture: Fixture) {
    let (ours, theirs) = (fixture.version(fixture.ours).await, fixture.version(fixture.theirs).await);
    let many =
        (0..3).map(|_| ConfigChange::PutChannel(fixture.channel(fixture.ours.id), Precondition::Absent)).collect();
    assert_eq!(fixture.store.apply_changes(fixture.ours.id, many).await.unwrap(), ours + 1);
    assert_eq!(fixture.version(fixture.ours).await, ours + 1);
    assert_eq!(fixture.version(fixture.theirs).await, theirs, "only its own");
}

pub(super) async fn configuration_rules_and_channels_are_oldest_first(fixture: Fixture) {
    let ours = fixture.ours;
    let (late, early) = (after_ms(60_000), NOW.minus_ms(60_000));
    for at in [late, early] {
        let mut record = fixture.channel(ours.id);
        record.channel.id = fixture.id_at(at);
        let mut rule = fixture.rule(ours.id, record.channel.id);
        rule.id = fixture.id_at(at);
        fixture.put_channel(record).await.unwrap();
        fixture.put_rule(rule).await.unwrap();
    }
    let found = fixture.configuration(ours).await;
    assert!(found.rules.len() == 3 && found.rules.is_sorted_by_key(|rule| rule.id));
    assert!(found.channels.len() == 3 && found.channels.is_sorted_by_key(|record| record.channel.id));
}
