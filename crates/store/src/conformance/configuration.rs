//! Rules and channels: made, edited and deleted against what the writer expects to find.

use tidings_domain::channel::{ChannelType, Connectivity, DeliveryPriority, DisabledReason, EventFilters, Policies};
use tidings_domain::delivery::Status;
use tidings_domain::id::ChannelId;
use tidings_domain::quiet_hours::{QuietAction, QuietHours};
use tidings_domain::rate_limit::{RateAction, RateLimit};
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::rule::Rule;
use tidings_domain::severity::{Severity, SeverityFilter};
use tidings_domain::trigger::{RuleTrigger, TriggerType};

use super::samples::{NOW, after_ms, assert_refused};
use super::world::{Tenant, World};
use crate::settings::{ChannelRecord, ConfigChange, Configuration, Precondition};

impl World {
    pub(super) async fn configuration(&self, tenant: Tenant) -> Configuration {
        self.store.configuration(tenant.id, 0).await.unwrap()
    }

    pub(super) async fn our_rule(&self) -> Rule {
        self.configuration(self.ours).await.rules.remove(0)
    }

    pub(super) async fn our_channel(&self) -> ChannelRecord {
        self.configuration(self.ours).await.channels.remove(0)
    }

    async fn version(&self, tenant: Tenant) -> i64 {
        let version = self.configuration(tenant).await.version;
        let versions = self.store.versions().await.unwrap();
        assert!(versions.contains(&(tenant.id, version)), "both ways to ask agree");
        version
    }
}

pub(super) async fn rules_and_channels_read_back(world: World) {
    let ours = world.ours;
    let mut rule = world.rule(ours.id, ours.channel_id);
    rule.resource_type = ResourceType::UseCase;
    rule.resource = ResourceSelector::One("a/b \"c\" ü".into());
    rule.triggers = vec![RuleTrigger::Failure];
    rule.trigger_types = ["manual", "chat"].iter().filter_map(|word| TriggerType::parse(word)).collect();
    (rule.enabled, rule.paused) = (false, true);
    rule.failure_severity = Severity::Critical;
    (rule.generation, rule.revision) = (3, 9);
    rule.updated_at = after_ms(8);
    world.put_rule(rule.clone()).await.unwrap();
    let mut of_endpoints = world.rule(ours.id, ours.channel_id);
    of_endpoints.resource_type = ResourceType::Endpoint;
    of_endpoints.triggers = RuleTrigger::OF_INCIDENTS.into();
    world.put_rule(of_endpoints.clone()).await.unwrap();

    let mut record = world.channel(ours.id);
    record.channel.owner_rule_id = Some(rule.id);
    record.channel.channel_type = ChannelType::Slack;
    record.channel.settings.insert("nested".into(), serde_json::json!({"list": [1, null, "ü"]}));
    record.channel.enabled = false;
    record.channel.disabled_reason = Some(DisabledReason::Gone);
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
    world.put_channel(record.clone()).await.unwrap();

    let found = world.configuration(ours).await;
    assert!(found.rules.contains(&rule) && found.rules.contains(&of_endpoints), "{found:?}");
    assert!(found.channels.contains(&record), "{found:?}");
}

pub(super) async fn a_rule_is_made_once(world: World) {
    let mut rule = world.our_rule().await;
    rule.paused = true;
    assert_refused!(world.put_rule(rule).await, Exists);
    assert!(!world.our_rule().await.paused);
}

pub(super) async fn a_channel_is_made_once(world: World) {
    let mut record = world.our_channel().await;
    record.channel.name = "another".into();
    assert_refused!(world.put_channel(record).await, Exists);
    assert_eq!(world.our_channel().await.channel.name, "Data alerts");
}

pub(super) async fn an_edit_needs_the_revision_it_was_made_from(world: World) {
    let (mut rule, mut record) = (world.our_rule().await, world.our_channel().await);
    (rule.revision, rule.paused) = (2, true);
    (record.channel.revision, record.channel.name, record.sealed) = (2, "renamed".into(), vec![9]);
    for _ in 0..2 {
        let edit = ConfigChange::PutRule(rule.clone(), Precondition::Revision(1));
        let other = ConfigChange::PutChannel(record.clone(), Precondition::Revision(1));
        if world.our_rule().await.revision == 1 {
            world.change(world.ours, edit).await.unwrap();
            world.change(world.ours, other).await.unwrap();
        } else {
            assert_refused!(world.change(world.ours, edit).await, Conflict);
            assert_refused!(world.change(world.ours, other).await, Conflict);
        }
    }
    assert_eq!(world.our_rule().await, rule);
    assert_eq!(world.our_channel().await, record);
}

pub(super) async fn an_edit_of_what_is_gone_is_not_found(world: World) {
    let (rule, record) = (world.our_rule().await, world.our_channel().await);
    world.change(world.ours, ConfigChange::DeleteRule(rule.id)).await.unwrap();
    world.change(world.ours, ConfigChange::DeleteChannel(record.channel.id)).await.unwrap();
    for gone in [
        ConfigChange::DeleteRule(rule.id),
        ConfigChange::DeleteChannel(record.channel.id),
        ConfigChange::PutRule(rule, Precondition::Revision(1)),
        ConfigChange::PutChannel(record, Precondition::Revision(1)),
    ] {
        assert_refused!(world.change(world.ours, gone).await, NotFound);
    }
    let configuration = world.configuration(world.ours).await;
    assert!(configuration.rules.is_empty() && configuration.channels.is_empty());
}

pub(super) async fn an_edited_channel_keeps_its_connectivity(world: World) {
    let mut stale = world.our_channel().await;
    world.store.record_test(world.test(world.ours, Status::Sent, after_ms(5))).await.unwrap();
    let connectivity = world.our_channel().await.channel.connectivity;
    assert_ne!(connectivity, Connectivity::default());
    stale.channel.revision = 2;
    world.change(world.ours, ConfigChange::PutChannel(stale, Precondition::Revision(1))).await.unwrap();
    assert_eq!(world.our_channel().await.channel.connectivity, connectivity);
}

pub(super) async fn a_channel_in_use_is_not_deleted(world: World) {
    let Tenant { channel_id, rule_id, .. } = world.ours;
    assert_refused!(world.change(world.ours, ConfigChange::DeleteChannel(channel_id)).await, InUse);
    assert_eq!(world.configuration(world.ours).await.channels.len(), 1);
    world.change(world.ours, ConfigChange::DeleteRule(rule_id)).await.unwrap();
    world.change(world.ours, ConfigChange::DeleteChannel(channel_id)).await.unwrap();
}

pub(super) async fn a_rule_needs_its_channel(world: World) {
    let nowhere: ChannelId = world.id();
    assert_refused!(world.put_rule(world.rule(world.ours.id, nowhere)).await, NotFound);
    let mut rule = world.our_rule().await;
    rule.channel_id = nowhere;
    assert_refused!(world.change(world.ours, ConfigChange::PutRule(rule, Precondition::Revision(1))).await, NotFound);
    assert_eq!(world.our_rule().await.channel_id, world.ours.channel_id);
}

pub(super) async fn a_change_is_all_or_nothing(world: World) {
    let before = world.configuration(world.ours).await;
    let fresh = world.channel(world.ours.id);
    let mut paused = world.our_rule().await;
    paused.paused = true;
    let refused = vec![
        ConfigChange::PutChannel(fresh, Precondition::Absent),
        ConfigChange::PutRule(paused.clone(), Precondition::Revision(1)),
        ConfigChange::PutRule(paused, Precondition::Revision(77)),
    ];
    assert_refused!(world.store.apply_changes(world.ours.id, refused).await, Conflict);
    let after = world.configuration(world.ours).await;
    assert_eq!((after.version, after.rules, after.channels), (before.version, before.rules, before.channels));
}

pub(super) async fn a_change_is_applied_in_order(world: World) {
    let mut private = world.channel(world.ours.id);
    let rule = world.rule(world.ours.id, private.channel.id);
    private.channel.owner_rule_id = Some(rule.id);
    let (rule_id, channel_id) = (rule.id, private.channel.id);
    let make = vec![
        ConfigChange::PutChannel(private, Precondition::Absent),
        ConfigChange::PutRule(rule, Precondition::Absent),
    ];
    world.store.apply_changes(world.ours.id, make).await.unwrap();
    let delete = vec![ConfigChange::DeleteRule(rule_id), ConfigChange::DeleteChannel(channel_id)];
    world.store.apply_changes(world.ours.id, delete).await.unwrap();
    assert_eq!(world.configuration(world.ours).await.rules.len(), 1, "the one from the beginning");
}

pub(super) async fn the_version_rises_once_a_change(world: World) {
    let (ours, theirs) = (world.version(world.ours).await, world.version(world.theirs).await);
    let many = (0..3).map(|_| ConfigChange::PutChannel(world.channel(world.ours.id), Precondition::Absent)).collect();
    assert_eq!(world.store.apply_changes(world.ours.id, many).await.unwrap(), ours + 1);
    assert_eq!(world.version(world.ours).await, ours + 1);
    assert_eq!(world.version(world.theirs).await, theirs, "nobody else's");
}

pub(super) async fn rules_and_channels_come_oldest_first(world: World) {
    let ours = world.ours;
    let (late, early) = (after_ms(60_000), NOW.minus_ms(60_000));
    for at in [late, early] {
        let mut record = world.channel(ours.id);
        record.channel.id = world.id_at(at);
        let mut rule = world.rule(ours.id, record.channel.id);
        rule.id = world.id_at(at);
        world.put_channel(record).await.unwrap();
        world.put_rule(rule).await.unwrap();
    }
    let found = world.configuration(ours).await;
    assert!(found.rules.len() == 3 && found.rules.is_sorted_by_key(|rule| rule.id));
    assert!(found.channels.len() == 3 && found.channels.is_sorted_by_key(|record| record.channel.id));
}
