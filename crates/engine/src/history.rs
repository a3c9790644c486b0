//! The log, as the doors ask for it, and what may be done with what stands in it: send it again.

use tidings_domain::gate::{self, OpeningOutcome};
use tidings_domain::id::{ChannelId, DeliveryId, EventId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_store::StoreError;
use tidings_store::history::{DeliveryFilter, DeliveryRecord, EventFilter, EventRecord};
use tidings_store::queue::Resend;

use crate::Result;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::fanout;

/// How many failed deliveries one write makes due again.
const RECOVER_BATCH: u32 = 500;

impl Engine {
    /// Events, newest first.
    pub async fn events(&self, workspace_id: WorkspaceId, filter: EventFilter) -> Result<Vec<EventRecord>> {
        Ok(self.store().events(workspace_id, filter).await?)
    }

    /// One event with its deliveries, oldest first.
    pub async fn event(&self, workspace_id: WorkspaceId, id: EventId) -> Result<(EventRecord, Vec<DeliveryRecord>)> {
        let event = self.store().event(workspace_id, id).await?.ok_or(EngineError::NotFound("event"))?;
        let filter = DeliveryFilter { event_id: Some(id), limit: u32::MAX, with_attempts: true, ..Default::default() };
        let mut deliveries = self.store().deliveries(workspace_id, filter).await?;
        deliveries.reverse();
        Ok((event, deliveries))
    }

    /// Deliveries, newest first.
    pub async fn deliveries(&self, workspace_id: WorkspaceId, filter: DeliveryFilter) -> Result<Vec<DeliveryRecord>> {
        Ok(self.store().deliveries(workspace_id, filter).await?)
    }

    /// One delivery with its attempts.
    pub async fn delivery(&self, workspace_id: WorkspaceId, id: DeliveryId) -> Result<DeliveryRecord> {
        self.store().delivery(workspace_id, id).await?.ok_or(EngineError::NotFound("delivery"))
    }

    /// Makes a sent or failed delivery due again; its retries start anew, its `webhook-id` stays.
    pub async fn resend(&self, workspace_id: WorkspaceId, id: DeliveryId) -> Result<DeliveryRecord> {
        let delivery = self.delivery(workspace_id, id).await?;
        if delivery.event.kind == tidings_domain::event::EventKind::ChannelTest {
            return Err(EngineError::TestNotResendable);
        }
        let view = self.view(workspace_id)?;
        let rule = match delivery.rule_id {
            Some(id) => {
                let rule = view.rule(id).filter(|rule| rule.enabled && rule.channel_id == delivery.channel_id);
                Some(rule.ok_or(EngineError::RuleNotLive)?)
            }
            None => None,
        };
        let live = view.channel(delivery.channel_id).ok_or(EngineError::RuleNotLive)?;
        let now = self.clock().now();
        let situation = self.queue().endpoint_situation(&view, &delivery.event);
        let rule_now = rule.map(AsRef::as_ref);
        let (trigger, severity) = (delivery.event.trigger, delivery.severity);
        let facts = fanout::facts(&view, live, rule_now, trigger, severity, situation, &OpeningOutcome::Sent);
        if let Some((_, stop)) = gate::re_evaluate(&facts, now).stopped {
            return Err(EngineError::GateClosed(stop.detail));
        }
        let rule_generation = rule.map_or(0, |rule| rule.generation);
        match self.store().resend(Resend { workspace_id, delivery_id: id, rule_generation, now }).await {
            Ok(()) => {}
            Err(StoreError::Conflict) => {
                return Err(EngineError::NotResendable(self.delivery(workspace_id, id).await?.status));
            }
            Err(StoreError::NotFound) => return Err(EngineError::NotFound("delivery")),
            Err(error) => return Err(error.into()),
        }
        let resent = self.delivery(workspace_id, id).await?;
        self.queue().due_at(delivery.channel_id, now);
        Ok(resent)
    }

    /// Makes all failed deliveries of a channel due again that were settled at or after `since`, in small writes; or,
    /// with `dry_run`, only counts them. Answers how many.
    pub async fn recover(
        &self,
        workspace_id: WorkspaceId,
        channel_id: ChannelId,
        since: Timestamp,
        dry_run: bool,
    ) -> Result<u64> {
        let live = self.live_channel(workspace_id, channel_id)?;
        if !live.channel.enabled && !dry_run {
            return Err(EngineError::GateClosed(format!("{} is disabled", live.channel.name)));
        }
        let now = self.clock().now();
        if dry_run {
            return Ok(self.store().recover(workspace_id, channel_id, since, now, None).await?);
        }
        // What fails again while this goes on must not be taken up again: stop at as many as there were.
        let wanted = self.store().recover(workspace_id, channel_id, since, now, None).await?;
        let mut recovered = 0;
        while recovered < wanted {
            let batch = RECOVER_BATCH.min(u32::try_from(wanted - recovered).unwrap_or(u32::MAX));
            let count = self.store().recover(workspace_id, channel_id, since, now, Some(batch)).await?;
            self.queue().due_at(channel_id, now);
            recovered += count;
            if count == 0 {
                break;
            }
        }
        Ok(recovered)
    }
}
