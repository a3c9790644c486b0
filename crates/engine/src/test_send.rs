//! Trials: a test sent at once, past gates, breaker and queue, to show whether a channel works.

use std::time::Duration;

use serde_json::{Map, Value};
use tidings_channels::{AttemptResult, OutboundMessage, registry};
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::event::Event;
use tidings_domain::id::{ChannelId, DeliveryId, EventId, RuleId, WorkspaceId};
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::secret::Secret;
use tidings_domain::severity::Severity;
use tidings_domain::trigger::{RuleTrigger, Trigger};
use tidings_store::queue::{Attempt, TestRecord};

use crate::clock::new_id;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::settings::channels::with_signing_secret;
use crate::snapshot::LoadedChannel;
use crate::{Result, metrics};
use std::sync::Arc;

/// What a test came to.
#[derive(Debug)]
pub struct TestSend {
    /// Whether the receiver took it.
    pub ok: bool,
    /// The status code that came, if one came.
    pub http_status: Option<u16>,
    /// The failure in words.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// The throwaway secret that signed it, for a webhook that is not saved.
    pub signing_secret_once: Option<Secret>,
}

/// A channel to be tested before it is saved.
#[derive(Debug, Clone)]
pub struct TestConfig {
    /// The type of resource that the test speaks of.
    pub resource_type: ResourceType,
    /// The resource.
    pub resource_id: String,
    /// What kind of destination it is.
    pub channel_type: ChannelType,
    /// The destination's own fields.
    pub config: Map<String, Value>,
}

/// How long a test may take where no channel says, in milliseconds.
const TIMEOUT_MS: u32 = tidings_domain::channel::TIMEOUT_MS_DEFAULT;

impl Engine {
    /// Tests a saved channel: logged, marked as a test, and kept in its connectivity.
    pub async fn test_channel(&self, workspace_id: WorkspaceId, channel_id: ChannelId) -> Result<TestSend> {
        let live = self.live_channel(workspace_id, channel_id)?;
        let event = self.sample(workspace_id, ResourceType::Channel, &channel_id.to_string());
        self.send_and_record(&live, None, event).await
    }

    /// Sends a use case's test event through one of its subscriptions: logged, marked as a test.
    pub async fn test_subscription(&self, workspace_id: WorkspaceId, rule_id: RuleId) -> Result<TestSend> {
        let view = self.rule(workspace_id, rule_id)?;
        let live = self.live_channel(workspace_id, view.rule.channel_id)?;
        let mut event = self.sample(workspace_id, view.rule.resource_type, view.rule.resource.as_str());
        if view.rule.triggers.first() == Some(&RuleTrigger::Failure) {
            event.trigger = Trigger::Failure;
        }
        self.send_and_record(&live, Some(rule_id), event).await
    }

    /// Tests a saved rule; leaves no trace in the log.
    pub async fn test_rule(&self, workspace_id: WorkspaceId, rule_id: RuleId) -> Result<TestSend> {
        let view = self.rule(workspace_id, rule_id)?;
        let live = self.live_channel(workspace_id, view.rule.channel_id)?;
        let resource_id = match &view.rule.resource {
            ResourceSelector::All => "sample",
            ResourceSelector::One(id) => id,
        };
        let event = self.sample(workspace_id, view.rule.resource_type, resource_id);
        let destination = live.destination.as_ref().map_err(|why| EngineError::Unusable(why.clone()))?;
        let id = new_id(self.clock(), event.received_at);
        let (report, attempt) =
            self.attempt(destination.as_ref(), &event, id, Some(rule_id), live.channel.policies.timeout_ms).await;
        Ok(trial(report, &attempt, None))
    }

    /// Tests a configuration that is not saved; a webhook is signed with a throwaway secret.
    pub async fn test_config(&self, workspace_id: WorkspaceId, trial_config: TestConfig) -> Result<TestSend> {
        let environment = self.environment();
        let kind = registry::plugin(trial_config.channel_type);
        let mut stored = kind.check(&trial_config.config, None, environment).map_err(EngineError::Invalid)?;
        let event = self.sample(workspace_id, trial_config.resource_type, &trial_config.resource_id);
        let secret = with_signing_secret(&mut stored, trial_config.channel_type, self.clock(), event.received_at);
        let destination = kind.open(&stored, environment).map_err(EngineError::Unusable)?;
        let id = new_id(self.clock(), event.received_at);
        let (report, attempt) = self.attempt(destination.as_ref(), &event, id, None, TIMEOUT_MS).await;
        Ok(trial(report, &attempt, secret))
    }

    fn sample(&self, workspace_id: WorkspaceId, resource_type: ResourceType, resource_id: &str) -> Event {
        let now = self.clock().now();
        Event::sample(new_id::<EventId>(self.clock(), now), workspace_id, resource_type, resource_id, now)
    }

    async fn send_and_record(&self, live: &LoadedChannel, rule_id: Option<RuleId>, event: Event) -> Result<TestSend> {
        let destination = live.destination.as_ref().map_err(|why| EngineError::Unusable(why.clone()))?;
        let delivery_id = new_id(self.clock(), event.received_at);
        let timeout_ms = live.channel.policies.timeout_ms;
        let (report, attempt) = self.attempt(destination.as_ref(), &event, delivery_id, rule_id, timeout_ms).await;
        let test = TestRecord {
            event: Arc::new(event),
            delivery_id,
            rule_id,
            channel_id: live.channel.id,
            channel_type: live.channel.channel_type,
            attempt: attempt.clone(),
            status: if report.is_delivered() { Status::Sent } else { Status::Failed },
        };
        self.record_test(test).await?;
        Ok(trial(report, &attempt, None))
    }

    /// One attempt, timed.
    async fn attempt(
        &self,
        destination: &dyn tidings_channels::Notifier,
        event: &Event,
        delivery_id: DeliveryId,
        rule_id: Option<RuleId>,
        timeout_ms: u32,
    ) -> (AttemptResult, Attempt) {
        let letter = OutboundMessage {
            delivery_id,
            rule_id,
            event,
            severity: event.severity(Severity::Info),
            now: event.received_at,
            timeout: Duration::from_millis(timeout_ms.into()),
            attempt_state: None,
            thread: None,
        };
        let report = destination.deliver(&letter).await;
        let attempt = metrics::attempt(&report, 1, AttemptTrigger::Test, event.received_at, self.clock().now());
        (report, attempt)
    }
}

fn trial(report: AttemptResult, attempt: &Attempt, signing_secret_once: Option<Secret>) -> TestSend {
    TestSend {
        ok: report.is_delivered(),
        http_status: report.http_status,
        error: report.error,
        duration_ms: attempt.duration_ms,
        signing_secret_once,
    }
}
