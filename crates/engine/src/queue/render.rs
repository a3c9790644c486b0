//! What a delivery's channel sends, by an attempt or for people to see: one way to put the message together.

use std::sync::Arc;
use std::time::Duration;

use tidings_channels::{OutboundMessage, Rendered};
use tidings_domain::calendar::Zone;
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::Status;
use tidings_domain::event::{Event, EventKind};
use tidings_domain::id::{ChannelId, DeliveryId, RuleId};
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_store::history::DeliveryRecord;

use super::{Queue, digest};
use crate::snapshot::LoadedChannel;

/// What a message is made of, besides its event and its channel.
pub(super) struct MessageParts<'a> {
    pub(super) delivery_id: DeliveryId,
    pub(super) rule_id: Option<RuleId>,
    /// The event's severity according to the rule.
    pub(super) severity: Severity,
    pub(super) zone: &'a Zone,
    pub(super) now: Timestamp,
    pub(super) attempt_count: u32,
    pub(super) attempt_state: Option<&'a str>,
    pub(super) thread: Option<&'a str>,
}

/// The message of an attempt. `event` is that of the delivery, up to date.
pub(super) fn outbound_message<'a>(
    loaded: &LoadedChannel,
    event: &'a Event,
    parts: MessageParts<'a>,
) -> OutboundMessage<'a> {
    let MessageParts { delivery_id, rule_id, severity, zone, now, attempt_count, attempt_state, thread } = parts;
    OutboundMessage {
        delivery_id,
        rule_id,
        channel_id: Some(loaded.channel.id),
        event,
        severity: if event.kind == EventKind::Digest { event.severity(severity) } else { severity },
        zone,
        now,
        timeout: Duration::from_millis(loaded.channel.policies.timeout_ms.into()),
        fresh: attempt_count > 0,
        attempt_state,
        thread,
    }
}

/// The thread of the incident in Slack: the state that its first sent delivery through this channel left.
pub(super) async fn thread_of_incident(
    queue: &Queue,
    loaded: &LoadedChannel,
    event: &Event,
    channel_id: ChannelId,
) -> Option<String> {
    let is_later = event.kind.is_incident() && event.kind != EventKind::IncidentOpened;
    let incident_id = event.run_id.parse().ok().filter(|_| is_later)?;
    if loaded.channel.channel_type != ChannelType::Slack {
        return None;
    }
    // If the read fails the message is sent outside of the thread.
    let deliveries = queue.0.store.incident_deliveries(event.workspace_id, incident_id).await.ok()?;
    let first = deliveries.into_iter().find(|it| it.channel_id == channel_id && it.status == Status::Sent)?;
    first.attempt_state
}

impl Queue {
    /// Renders what the channel sends for this delivery: as of its last attempt, or of now if it has none. The error says
    /// why nothing can be rendered.
    pub(crate) async fn render(
        &self,
        delivery: &DeliveryRecord,
        loaded: &LoadedChannel,
        zone: &Zone,
    ) -> Result<Rendered, String> {
        let notifier = loaded.notifier.as_ref().map_err(Clone::clone)?;
        let stored = Arc::new(delivery.event.clone());
        // One that is not sent yet will show the state of then. What a settled one showed is nearer to what was stored.
        let updated =
            if delivery.status.is_settled() { None } else { Box::pin(digest::updated_event(self, &stored)).await };
        let event = updated.as_ref().unwrap_or(&stored);
        let thread = thread_of_incident(self, loaded, event, delivery.channel_id).await;
        let parts = MessageParts {
            delivery_id: delivery.id,
            rule_id: delivery.rule_id,
            severity: delivery.severity,
            zone,
            now: delivery.attempts.last().map_or_else(|| self.0.clock.now(), |attempt| attempt.started_at),
            attempt_count: delivery.attempt_count,
            attempt_state: None,
            thread: thread.as_deref(),
        };
        notifier.render(&outbound_message(loaded, event, parts))
    }
}
