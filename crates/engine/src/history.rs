//! The history of events and deliveries, and resending of deliveries from it.

use std::collections::BTreeSet;

use tidings_channels::Rendered;
use tidings_domain::audit::AuditEntry;
use tidings_domain::delivery::Status;
use tidings_domain::event::EventKind;
use tidings_domain::gate::{self, OpeningOutcome};
use tidings_domain::id::{ChannelId, DeliveryId, EventId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_store::StoreError;
use tidings_store::activity::ResendOutcome;
use tidings_store::history::{DeliveryFilter, DeliveryRecord, EventFilter, EventRecord, Page};
use tidings_store::queue::Resend;

use crate::Result;
use crate::changes::Topic;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::fanout;
use crate::snapshot::WorkspaceView;

/// A delivery with its rendered message.
#[derive(Debug)]
pub struct DeliveryMessage {
    pub delivery: DeliveryRecord,
    /// The error says why nothing can be rendered.
    pub rendered: std::result::Result<Rendered, String>,
    /// The revision of the channel with which it is rendered; `None` if the channel was deleted.
    pub channel_revision: Option<u32>,
    /// The revision of the channel with which the last attempt was made; `None` without an attempt.
    pub attempted_revision: Option<u32>,
}

/// Deliveries that one write of [`Engine::resend_all`] makes due again.
const RESEND_BATCH: usize = 100;
/// Failed deliveries that one write makes due again.
const RECOVER_BATCH: u32 = 500;

impl Engine {
    /// Events, newest first.
    pub async fn events(&self, workspace_id: WorkspaceId, filter: EventFilter) -> Result<Page<EventRecord>> {
        Ok(self.store().events(workspace_id, filter).await?)
    }

    /// One event with its deliveries, oldest first.
    pub async fn event(&self, workspace_id: WorkspaceId, id: EventId) -> Result<(EventRecord, Vec<DeliveryRecord>)> {
        let event = self.store().event(workspace_id, id).await?.ok_or(EngineError::NotFound("event"))?;
        let filter = DeliveryFilter { event_id: Some(id), limit: u32::MAX, with_attempts: true, ..Default::default() };
        let mut deliveries = self.deliveries(workspace_id, filter).await?.records;
        deliveries.reverse();
        Ok((event, deliveries))
    }

    /// Deliveries, newest first.
    pub async fn deliveries(&self, workspace_id: WorkspaceId, filter: DeliveryFilter) -> Result<Page<DeliveryRecord>> {
        let mut page = self.store().deliveries(workspace_id, filter).await?;
        self.apply_pauses(&mut page.records);
        Ok(page)
    }

    /// One delivery with its attempts.
    pub async fn delivery(&self, workspace_id: WorkspaceId, id: DeliveryId) -> Result<DeliveryRecord> {
        let mut delivery = self.store().delivery(workspace_id, id).await?.ok_or(EngineError::NotFound("delivery"))?;
        self.apply_pauses(std::slice::from_mut(&mut delivery));
        Ok(delivery)
    }

    /// What the channel of a delivery sends for it, rendered now, with the channel's settings of now.
    pub async fn delivery_message(&self, workspace_id: WorkspaceId, id: DeliveryId) -> Result<DeliveryMessage> {
        let delivery = self.delivery(workspace_id, id).await?;
        let view = self.view(workspace_id)?;
        let loaded = view.channel(delivery.channel_id);
        let rendered = match loaded {
            Some(loaded) => self.queue().render(&delivery, loaded, &view.zone).await,
            None => Err("the channel was deleted".into()),
        };
        Ok(DeliveryMessage {
            rendered,
            channel_revision: loaded.map(|loaded| loaded.channel.revision),
            attempted_revision: delivery.attempts.last().and_then(|attempt| attempt.channel_revision),
            delivery,
        })
    }

    /// The next attempt of what waits in a paused channel is the end of the pause, which the store does not know.
    fn apply_pauses(&self, deliveries: &mut [DeliveryRecord]) {
        for delivery in deliveries.iter_mut().filter(|delivery| delivery.status == Status::Pending) {
            let paused_until = self.queue().paused_until(delivery.channel_id);
            delivery.next_attempt_at =
                delivery.next_attempt_at.map(|at| paused_until.map_or(at, |until| at.max(until)));
        }
    }

    /// Makes a sent or failed delivery due again. Its retries start anew; its `webhook-id` stays, so that the receiver can
    /// recognise it.
    pub async fn resend(
        &self,
        workspace_id: WorkspaceId,
        id: DeliveryId,
        audit: Option<AuditEntry>,
    ) -> Result<DeliveryRecord> {
        let delivery = self.delivery(workspace_id, id).await?;
        let now = self.clock().now();
        let resend = self.plan_resend(&*self.view(workspace_id)?, &delivery, now)?;
        match self.store().resend(resend, audit).await {
            Ok(()) => {}
            Err(StoreError::Conflict) => {
                return Err(EngineError::NotResendable(self.delivery(workspace_id, id).await?.status));
            }
            Err(StoreError::NotFound) => return Err(EngineError::NotFound("delivery")),
            Err(error) => return Err(error.into()),
        }
        let resent = self.delivery(workspace_id, id).await?;
        self.queue().note_due(delivery.channel_id, now);
        self.changes().mark(workspace_id, Topic::Deliveries);
        Ok(resent)
    }

    /// [`Self::resend`] of several deliveries, in small writes. A refusal of one does not affect the others. With `dry_run`
    /// nothing is sent. `audit` makes the entry of the audit log for each that is. Returns for each, in order, whether it
    /// is (or would be) resent.
    pub async fn resend_all(
        &self,
        workspace_id: WorkspaceId,
        deliveries: &[DeliveryRecord],
        dry_run: bool,
        audit: impl Fn(DeliveryId) -> Option<AuditEntry>,
    ) -> Result<Vec<Result<()>>> {
        let mut results = Vec::with_capacity(deliveries.len());
        for batch in deliveries.chunks(RESEND_BATCH) {
            // For each batch, because the configuration may change while many are resent.
            let (view, now) = (self.view(workspace_id)?, self.clock().now());
            let planned: Vec<_> = batch.iter().map(|delivery| self.plan_resend(&view, delivery, now)).collect();
            if dry_run {
                results.extend(planned.into_iter().map(|planned| planned.map(drop)));
                continue;
            }
            let planned_ones = planned.iter().filter_map(|planned| planned.as_ref().ok());
            let resends = planned_ones.map(|resend| (*resend, audit(resend.delivery_id))).collect();
            let mut outcomes = self.store().resend_all(resends).await?.into_iter();
            for (planned, delivery) in planned.into_iter().zip(batch) {
                // One outcome for each that was planned.
                results.push(planned.and_then(|_| match outcomes.next() {
                    Some(ResendOutcome::Due) => Ok(()),
                    Some(ResendOutcome::NotResendable) => Err(EngineError::NotResendable(delivery.status)),
                    Some(ResendOutcome::NotFound) | None => Err(EngineError::NotFound("delivery")),
                }));
            }
            let channels: BTreeSet<_> = batch.iter().map(|delivery| delivery.channel_id).collect();
            channels.into_iter().for_each(|channel_id| self.queue().note_due(channel_id, now));
            self.changes().mark(workspace_id, Topic::Deliveries);
        }
        Ok(results)
    }

    /// The resend of a delivery, unless it is not sent or failed, its rule is off, or a gate would suppress it.
    fn plan_resend(&self, view: &WorkspaceView, delivery: &DeliveryRecord, now: Timestamp) -> Result<Resend> {
        if delivery.event.kind == EventKind::ChannelTest {
            return Err(EngineError::TestNotResendable);
        }
        if !delivery.status.is_resendable() {
            return Err(EngineError::NotResendable(delivery.status));
        }
        let rule = match delivery.rule_id {
            Some(id) => {
                let rule = view.rule(id).filter(|rule| rule.enabled && rule.channel_id == delivery.channel_id);
                Some(rule.ok_or(EngineError::RuleInactive)?)
            }
            None => None,
        };
        let loaded = view.channel(delivery.channel_id).ok_or(EngineError::RuleInactive)?;
        let endpoint = self.incidents().active().endpoint_context_of(view, &delivery.event);
        let current_rule = rule.map(AsRef::as_ref);
        let (trigger, severity) = (delivery.event.trigger, delivery.severity);
        let opening = OpeningOutcome::Sent;
        let input = fanout::gate_input(view, loaded, current_rule, trigger, severity, endpoint, &opening);
        // Refused instead of suppressed later: a person is waiting for it.
        if let Some((_, refusal)) = gate::re_evaluate(&input, now).stopped {
            return Err(EngineError::GateClosed(refusal.detail));
        }
        Ok(Resend {
            workspace_id: view.workspace.id,
            delivery_id: delivery.id,
            rule_generation: rule.map_or(0, |rule| rule.generation),
            now,
        })
    }

    /// Makes all failed deliveries of a channel due again that were settled at or after `since`, in small writes. With
    /// `dry_run` it only counts them. Returns how many. The entry of the audit log is written with the first of them.
    pub async fn recover(
        &self,
        workspace_id: WorkspaceId,
        channel_id: ChannelId,
        since: Timestamp,
        dry_run: bool,
        mut audit: Option<AuditEntry>,
    ) -> Result<u64> {
        let loaded = self.loaded_channel(workspace_id, channel_id)?;
        if !loaded.channel.enabled && !dry_run {
            return Err(EngineError::GateClosed(format!("{} is disabled", loaded.channel.name)));
        }
        let now = self.clock().now();
        if dry_run {
            return Ok(self.store().recover(workspace_id, channel_id, since, now, None, None).await?);
        }
        // A delivery that fails again meanwhile must not be recovered again: stop at the number there was at the start.
        let total = self.store().recover(workspace_id, channel_id, since, now, None, None).await?;
        let mut recovered = 0;
        while recovered < total {
            let batch = RECOVER_BATCH.min(u32::try_from(total - recovered).unwrap_or(u32::MAX));
            let count = self.store().recover(workspace_id, channel_id, since, now, Some(batch), audit.take()).await?;
            self.queue().note_due(channel_id, now);
            self.changes().mark(workspace_id, Topic::Deliveries);
            recovered += count;
            if count == 0 {
                break;
            }
        }
        Ok(recovered)
    }
}
