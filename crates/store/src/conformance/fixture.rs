//! The fixture of all cases: a new store with two workspaces, and helpers for common steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::value::RawValue;
use tidings_domain::access::Actor;
use tidings_domain::channel::{Channel, ChannelType, Connectivity, Policies};
use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::event::{Event, EventKind};
use tidings_domain::gate::Gate;
use tidings_domain::id::{ApiKeyId, ChannelId, DeliveryId, EventId, Id, RuleId, WorkspaceId, id_suffix, uuid_v7};
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::rule::Rule;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::{Trigger, TriggerType};
use tidings_domain::workspace::Workspace;

use super::StoreFactory;
use super::samples::{NOW, after_ms, attempt, attempted, held, lease, passed, stopped};
use crate::history::{DeliveryFilter, DeliveryRecord};
use crate::queue::{Acceptance, Attempt, Claimed, InitialState, Lease, NewDelivery, NewEvent, NextState, TestRecord};
use crate::settings::{ApiKey, ChannelRecord, ConfigChange, Precondition, Preferences, WorkspaceRecord};
use crate::{Result, Store};

/// How long a delivery that begins held is held, in milliseconds.
pub(super) const HELD_MS: u64 = 5_000;

/// A workspace with one channel and one rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tenant {
    pub(super) id: WorkspaceId,
    pub(super) channel_id: ChannelId,
    pub(super) rule_id: RuleId,
}

/// A store with two tenants.
pub(super) struct Fixture {
    factory: Arc<dyn StoreFactory>,
    pub(super) store: Arc<dyn Store>,
    pub(super) ours: Tenant,
    pub(super) theirs: Tenant,
    next_number: AtomicU64,
}

impl Fixture {
    pub(super) async fn open(factory: Arc<dyn StoreFactory>) -> Self {
        let store = factory.open().await;
        let placeholder = Tenant {
            id: WorkspaceId::from_bytes([0; 16]),
            channel_id: ChannelId::from_bytes([0; 16]),
            rule_id: RuleId::from_bytes([0; 16]),
        };
        let mut fixture =
            Self { factory, store, ours: placeholder, theirs: placeholder, next_number: AtomicU64::new(0) };
        fixture.ours = fixture.tenant("ours").await;
        fixture.theirs = fixture.tenant("theirs").await;
        fixture
    }

    /// Closes the store and opens it again.
    pub(super) async fn reopen(self) -> Self {
        self.store.close().await;
        let Self { factory, store, ours, theirs, next_number } = self;
        drop(store);
        let store = factory.open().await;
        Self { factory, store, ours, theirs, next_number }
    }

    // Ids -------------------------------------------------------------------------------------------------------------

    /// A number that was not returned before.
    pub(super) fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// A new id, greater than every earlier one of the same instant.
    pub(super) fn id<T: Id>(&self) -> T {
        self.id_at(NOW)
    }

    /// A new id with this time.
    pub(super) fn id_at<T: Id>(&self, at: Timestamp) -> T {
        T::from_uuid(uuid_v7(at.unix_ms().unsigned_abs(), &id_suffix(self.next_number() as u32, [0; 10])))
    }

    // Configuration ---------------------------------------------------------------------------------------------------

    pub(super) async fn tenant(&self, slug: &str) -> Tenant {
        let id = self.id();
        let record = WorkspaceRecord {
            workspace: Workspace::new(id, slug, NOW),
            preferences: Preferences::default(),
            api_keys: vec![self.api_key(id)],
        };
        self.store.create_workspace(record, None, vec![]).await.unwrap();
        let channel = self.channel(id);
        let channel_id = channel.channel.id;
        let rule = self.rule(id, channel_id);
        let rule_id = rule.id;
        self.put_channel(channel).await.unwrap();
        self.put_rule(rule).await.unwrap();
        Tenant { id, channel_id, rule_id }
    }

    pub(super) fn api_key(&self, workspace_id: WorkspaceId) -> ApiKey {
        let id: ApiKeyId = self.id();
        let mut hash = [7; 32];
        hash[..16].copy_from_slice(id.as_bytes());
        ApiKey {
            id,
            workspace_id,
            name: "CI".into(),
            hash,
            read_only: true,
            created_by: Actor::system(),
            created_at: NOW,
            expires_at: Some(after_ms(1_000)),
        }
    }

    /// A webhook channel.
    pub(super) fn channel(&self, workspace_id: WorkspaceId) -> ChannelRecord {
        let channel = Channel {
            id: self.id(),
            workspace_id,
            owner_rule_id: None,
            name: "Data alerts".into(),
            channel_type: ChannelType::Webhook,
            settings: serde_json::Map::from_iter([("url".into(), "https://hooks.example.com/…".into())]),
            enabled: true,
            disabled_reason: None,
            policies: Policies::default(),
            connectivity: Connectivity::default(),
            revision: 1,
            created_at: NOW,
            updated_at: NOW,
        };
        ChannelRecord { channel, key_id: "k1".into(), sealed: vec![0, 1, 0xfe, 0xff] }
    }

    /// A rule about every flow.
    pub(super) fn rule(&self, workspace_id: WorkspaceId, channel_id: ChannelId) -> Rule {
        Rule::new(self.id(), workspace_id, (ResourceType::Flow, ResourceSelector::All), channel_id, NOW)
    }

    pub(super) async fn apply_change(&self, tenant: Tenant, change: ConfigChange) -> Result<i64> {
        self.store.apply_changes(tenant.id, vec![change]).await
    }

    pub(super) async fn put_channel(&self, record: ChannelRecord) -> Result<i64> {
        self.store
            .apply_changes(record.channel.workspace_id, vec![ConfigChange::PutChannel(record, Precondition::Absent)])
            .await
    }

    pub(super) async fn put_rule(&self, rule: Rule) -> Result<i64> {
        self.store.apply_changes(rule.workspace_id, vec![ConfigChange::PutRule(rule, Precondition::Absent)]).await
    }

    /// A second channel of our workspace with a rule of its own.
    pub(super) async fn another_channel(&self) -> Tenant {
        let channel = self.channel(self.ours.id);
        let rule = self.rule(self.ours.id, channel.channel.id);
        let tenant = Tenant { id: self.ours.id, channel_id: channel.channel.id, rule_id: rule.id };
        self.put_channel(channel).await.unwrap();
        self.put_rule(rule).await.unwrap();
        tenant
    }

    // Events ----------------------------------------------------------------------------------------------------------

    /// An event of a failed flow run, with all fields set.
    pub(super) fn event(&self, tenant: Tenant) -> Event {
        self.event_at(tenant, NOW)
    }

    pub(super) fn event_at(&self, tenant: Tenant, at: Timestamp) -> Event {
        let id: EventId = self.id_at(at);
        let mut event = Event::sample(id, tenant.id, ResourceType::Flow, "daily-revenue", at);
        event.kind = EventKind::RunTerminal;
        event.trigger = Trigger::Failure;
        event.run_id = format!("run-{}", self.next_number());
        event.run_mut().resource_name = Some("Daily \"revenue\" rollup — Zürich".into());
        event.run_mut().trigger_type = TriggerType::parse("scheduled");
        event.run_mut().started_at = Some(at.minus_ms(1_842));
        event.run_mut().completed_at = at.minus_ms(3);
        event.run_mut().duration_ms = Some(1_842);
        event.run_mut().row_count = Some(u64::from(u32::MAX) + 1);
        event.run_mut().error_message = Some("relation \"orders\"\ndoes not exist".into());
        event.run_mut().output = RawValue::from_string(r#"{"b": 1.50, "a": [null]}"#.into()).ok();
        event.run_mut().deep_link = Some("https://app.example.com/f1?run=1&x=%20".into());
        event
    }

    /// The event with these deliveries.
    pub(super) fn new_event(&self, event: Event, deliveries: Vec<NewDelivery>) -> NewEvent {
        NewEvent { event: Arc::new(event), fingerprint: None, not_routed: vec![], deliveries }
    }

    pub(super) fn delivery(&self, tenant: Tenant, start: InitialState) -> NewDelivery {
        self.delivery_at(tenant, start, NOW)
    }

    pub(super) fn delivery_at(&self, tenant: Tenant, start: InitialState, at: Timestamp) -> NewDelivery {
        let evaluation = match start {
            InitialState::Leased(_) | InitialState::Due => passed(at),
            InitialState::Held => held(at, at.plus_ms(HELD_MS)),
            InitialState::Suppressed => stopped(Gate::SeverityFilter, at),
        };
        NewDelivery {
            id: self.id_at(at),
            rule_id: Some(tenant.rule_id),
            rule_generation: 1,
            channel_id: tenant.channel_id,
            channel_type: ChannelType::Webhook,
            severity: Severity::Warning,
            initial_state: start,
            evaluation,
            rate_limit: None,
            sequence: 1,
            replaces_id: None,
        }
    }

    pub(super) async fn accept(&self, new_event: NewEvent) -> Acceptance {
        self.store.accept(vec![new_event]).await.unwrap().remove(0)
    }

    /// Accepts a new event with one delivery in this initial state.
    pub(super) async fn accept_one(&self, tenant: Tenant, start: InitialState) -> DeliveryId {
        self.accept_one_at(tenant, start, NOW).await
    }

    pub(super) async fn accept_one_at(&self, tenant: Tenant, start: InitialState, at: Timestamp) -> DeliveryId {
        let delivery = self.delivery_at(tenant, start, at);
        let id = delivery.id;
        self.accept(self.new_event(self.event_at(tenant, at), vec![delivery])).await;
        id
    }

    // Queue -----------------------------------------------------------------------------------------------------------

    pub(super) async fn claim(&self, tenant: Tenant, now: Timestamp, lease: Lease, slots: u32) -> Vec<Claimed> {
        self.store.claim(now, lease, vec![(tenant.channel_id, slots)]).await.unwrap()
    }

    /// Accepts a new event with one due delivery, which owner 1 claims.
    pub(super) async fn accept_and_claim(&self, tenant: Tenant) -> Claimed {
        let id = self.accept_one(tenant, InitialState::Due).await;
        let mut claimed = self.claim(tenant, NOW, lease(1, 60_000), 1).await;
        let claimed = claimed.pop().expect("the delivery is due");
        assert_eq!(claimed.id, id, "nothing else was due");
        claimed
    }

    /// Accepts a new event and settles its one delivery with this status at this instant.
    pub(super) async fn accept_settled(&self, tenant: Tenant, status: Status, at: Timestamp) -> DeliveryId {
        let claimed = self.accept_and_claim(tenant).await;
        let mut settlement = attempted(&claimed, NextState::Done(status));
        settlement.now = at;
        self.store.settle(settlement).await.unwrap();
        claimed.id
    }

    // History ---------------------------------------------------------------------------------------------------------

    pub(super) async fn read(&self, tenant: Tenant, id: DeliveryId) -> DeliveryRecord {
        self.store.delivery(tenant.id, id).await.unwrap().expect("it is in the history")
    }

    pub(super) async fn status(&self, tenant: Tenant, id: DeliveryId) -> Status {
        self.read(tenant, id).await.status
    }

    /// The ids of the deliveries that match the filter, in order.
    pub(super) async fn delivery_ids(&self, tenant: Tenant, filter: DeliveryFilter) -> Vec<DeliveryId> {
        self.store.deliveries(tenant.id, filter).await.unwrap().records.iter().map(|delivery| delivery.id).collect()
    }

    /// A test of the tenant's channel.
    pub(super) fn test(&self, tenant: Tenant, status: Status, at: Timestamp) -> TestRecord {
        let channel = tenant.channel_id.to_string();
        let event = Event::sample(self.id_at(at), tenant.id, ResourceType::Channel, &channel, at);
        TestRecord {
            event: Arc::new(event),
            delivery_id: self.id_at(at),
            rule_id: None,
            channel_id: tenant.channel_id,
            channel_type: ChannelType::Webhook,
            attempt: Attempt { trigger: AttemptTrigger::Test, ..attempt(1, status == Status::Sent) },
            status,
        }
    }
}
