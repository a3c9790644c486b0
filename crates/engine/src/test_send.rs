//! Test sends: a sample message sent at once, bypassing gates, breaker and queue, to show whether a channel works.

use std::sync::Arc;
use std::time::Duration;

use tidings_channels::{AttemptResult, ChannelConfig, Notifier, OutboundMessage, registry};
use tidings_domain::calendar::Zone;
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::event::Event;
use tidings_domain::id::{ChannelId, DeliveryId, EventId, RuleId, WorkspaceId};
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::rule::Rule;
use tidings_domain::secret::Secret;
use tidings_domain::severity::Severity;
use tidings_domain::trigger::{RuleTrigger, Trigger};
use tidings_store::queue::{Attempt, TestRecord};

use crate::clock::new_id;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::settings::channels::new_signing_secret;
use crate::snapshot::LoadedChannel;
use crate::{Result, metrics};

/// The result of a test.
#[derive(Debug)]
pub struct TestSend {
    /// Whether the receiver accepted it.
    pub ok: bool,
    pub http_status: Option<u16>,
    pub error: Option<String>,
    pub duration_ms: u32,
    /// The throwaway signing secret, for a webhook that is not saved.
    pub signing_secret_once: Option<Secret>,
}

/// A channel to be tested before it is saved.
#[derive(Debug, Clone)]
pub struct TestConfig {
    pub resource_type: ResourceType,
    pub resource_id: String,
    pub channel_type: ChannelType,
    pub config: ChannelConfig,
}

/// Timeout of a test without a saved channel, in milliseconds.
const TIMEOUT_MS: u32 = tidings_domain::channel::TIMEOUT_MS_DEFAULT;

impl Engine {
    /// Tests a saved channel. Recorded in the history, marked as a test, and in the channel's connectivity.
    pub async fn test_channel(&self, workspace_id: WorkspaceId, channel_id: ChannelId) -> Result<TestSend> {
        let loaded = self.loaded_channel(workspace_id, channel_id)?;
        let mut event = self.sample_event(workspace_id, ResourceType::Channel, &channel_id.to_string());
        event.run_mut().resource_name = Some(loaded.channel.name.clone());
        self.send_and_record(&loaded, None, event).await
    }

    /// Sends a use case's test event through one of its subscriptions. Recorded in the history, marked as a test.
    pub async fn test_subscription(&self, workspace_id: WorkspaceId, rule_id: RuleId) -> Result<TestSend> {
        let rule = self.loaded_rule(workspace_id, rule_id)?;
        let loaded = self.loaded_channel(workspace_id, rule.channel_id)?;
        let mut event = self.sample_event(workspace_id, rule.resource_type, rule.resource.as_str());
        if rule.settings.triggers.first() == Some(&RuleTrigger::Failure) {
            event.trigger = Trigger::Failure;
        }
        self.send_and_record(&loaded, Some(rule_id), event).await
    }

    /// Tests a saved rule. Not recorded.
    pub async fn test_rule(&self, workspace_id: WorkspaceId, rule_id: RuleId) -> Result<TestSend> {
        let rule = self.loaded_rule(workspace_id, rule_id)?;
        let loaded = self.loaded_channel(workspace_id, rule.channel_id)?;
        let resource_id = match &rule.resource {
            ResourceSelector::All => "sample",
            ResourceSelector::One(id) => id,
        };
        let event = self.sample_event(workspace_id, rule.resource_type, resource_id);
        let notifier = loaded.notifier.as_ref().map_err(|error| EngineError::Unusable(error.clone()))?;
        let id = new_id(self.clock(), event.received_at);
        let (ids, timeout_ms) = ((Some(rule_id), Some(loaded.channel.id)), loaded.channel.policies.timeout_ms);
        let (result, attempt) = self.attempt(notifier.as_ref(), &event, id, ids, timeout_ms).await;
        Ok(test_send(result, &attempt, None))
    }

    /// Tests a configuration that is not saved. A webhook is signed with a throwaway secret.
    pub async fn test_config(&self, workspace_id: WorkspaceId, test: TestConfig) -> Result<TestSend> {
        let context = self.channel_context();
        let plugin = registry::plugin(test.channel_type);
        let mut config = test.config;
        let event = self.sample_event(workspace_id, test.resource_type, &test.resource_id);
        let secret = new_signing_secret(&mut config, test.channel_type, self.clock(), event.received_at);
        let notifier = plugin.open(&config, context).map_err(EngineError::Unusable)?;
        let id = new_id(self.clock(), event.received_at);
        let (result, attempt) = self.attempt(notifier.as_ref(), &event, id, (None, None), TIMEOUT_MS).await;
        Ok(test_send(result, &attempt, secret))
    }

    fn loaded_rule(&self, workspace_id: WorkspaceId, id: RuleId) -> Result<Arc<Rule>> {
        self.view(workspace_id)?.rule(id).cloned().ok_or(EngineError::NotFound("rule"))
    }

    fn sample_event(&self, workspace_id: WorkspaceId, resource_type: ResourceType, resource_id: &str) -> Event {
        let now = self.clock().now();
        Event::sample(new_id::<EventId>(self.clock(), now), workspace_id, resource_type, resource_id, now)
    }

    /// The time zone of the workspace's messages.
    fn workspace_zone(&self, workspace_id: WorkspaceId) -> Zone {
        self.snapshot().workspace(workspace_id).map_or(Zone::UTC, |view| view.zone.clone())
    }

    async fn send_and_record(&self, loaded: &LoadedChannel, rule_id: Option<RuleId>, event: Event) -> Result<TestSend> {
        let notifier = loaded.notifier.as_ref().map_err(|error| EngineError::Unusable(error.clone()))?;
        let delivery_id = new_id(self.clock(), event.received_at);
        let timeout_ms = loaded.channel.policies.timeout_ms;
        let ids = (rule_id, Some(loaded.channel.id));
        let (result, attempt) = self.attempt(notifier.as_ref(), &event, delivery_id, ids, timeout_ms).await;
        let test = TestRecord {
            event: Arc::new(event),
            delivery_id,
            rule_id,
            channel_id: loaded.channel.id,
            channel_type: loaded.channel.channel_type,
            attempt: Attempt { channel_revision: Some(loaded.channel.revision), ..attempt.clone() },
            status: if result.is_delivered() { Status::Sent } else { Status::Failed },
        };
        self.record_test(test).await?;
        Ok(test_send(result, &attempt, None))
    }

    /// Makes one attempt and measures it.
    async fn attempt(
        &self,
        notifier: &dyn Notifier,
        event: &Event,
        delivery_id: DeliveryId,
        (rule_id, channel_id): (Option<RuleId>, Option<ChannelId>),
        timeout_ms: u32,
    ) -> (AttemptResult, Attempt) {
        let zone = self.workspace_zone(event.workspace_id);
        let message = OutboundMessage {
            delivery_id,
            rule_id,
            channel_id,
            event,
            severity: event.severity(Severity::Info),
            zone: &zone,
            now: event.received_at,
            timeout: Duration::from_millis(timeout_ms.into()),
            fresh: true,
            attempt_state: None,
            thread: None,
        };
        let result = notifier.deliver(&message).await;
        let times = (event.received_at, self.clock().now());
        let attempt = metrics::attempt_record(&result, 1, AttemptTrigger::Test, times, None);
        (result, attempt)
    }
}

fn test_send(result: AttemptResult, attempt: &Attempt, signing_secret_once: Option<Secret>) -> TestSend {
    TestSend {
        ok: result.is_delivered(),
        http_status: result.http_status,
        error: result.error,
        duration_ms: attempt.duration_ms,
        signing_secret_once,
    }
}
