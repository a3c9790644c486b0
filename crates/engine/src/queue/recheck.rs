//! Rechecks held deliveries: what the gates decide for each of them now; for a resolution also what becomes of the
//! opening of its incident.

use std::collections::HashMap;

use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::Status;
use tidings_domain::event::EventKind;
use tidings_domain::gate::{self, Gate, GateEvaluation, OpeningOutcome};
use tidings_domain::id::{ChannelId, DeliveryId};
use tidings_domain::time::Timestamp;
use tidings_store::StoreError;
use tidings_store::monitoring::IncidentDelivery;
use tidings_store::queue::{HeldDelivery, NextState};

use super::Queue;
use super::send_context::{PendingSend, apply_opening_outcome, incident_deliveries};
use crate::fanout::{self, FanOutContext};
use crate::snapshot::WorkspaceView;

/// When to recheck a delivery whose hold has ended but that cannot be released yet, in milliseconds.
const RECHECK_AFTER_MS: u64 = 1_000;

/// What becomes of a held delivery.
pub(super) enum ReleaseDecision {
    /// Stays held as it is; recheck at this instant.
    KeepHeld(Timestamp),
    /// Gets a new state instead of being released: held by another gate, suppressed, or skipped.
    Settle(NextState),
    /// Is released, by itself or as part of a digest.
    Release { individually: bool },
}

/// Decides for all held deliveries of a channel.
pub(super) async fn recheck_all(
    queue: &Queue,
    view: Option<&WorkspaceView>,
    held: &[HeldDelivery],
    channel_id: ChannelId,
    now: Timestamp,
) -> Result<Vec<ReleaseDecision>, StoreError> {
    // In two passes: the decision for a resolution depends on that for its opening, which may be in the same batch.
    let is_resolution = |held: &HeldDelivery| held.event.kind == EventKind::IncidentResolved;
    let first_pass = |held: &HeldDelivery| match is_resolution(held) {
        true => ReleaseDecision::KeepHeld(now),
        false => recheck(queue, view, held, channel_id, &OpeningOutcome::NotApplicable, now),
    };
    let mut decisions: Vec<ReleaseDecision> = held.iter().map(first_pass).collect();
    let indices: HashMap<DeliveryId, usize> = held.iter().enumerate().map(|(index, held)| (held.id, index)).collect();
    for (index, resolution) in held.iter().enumerate().filter(|(_, held)| is_resolution(held)) {
        let Ok(incident_id) = resolution.event.run_id.parse() else { continue };
        let workspace_id = resolution.event.workspace_id;
        let mut earlier = incident_deliveries(queue, workspace_id, incident_id).await?;
        let notified = queue.0.store.notified_channels(workspace_id, incident_id).await?;
        for delivery in &mut earlier {
            if let Some(decision) = indices.get(&delivery.delivery_id).and_then(|index| decisions.get(*index)) {
                apply_decision(decision, delivery);
            }
        }
        let rule = view.zip(resolution.rule_id).and_then(|(view, id)| view.rule(id)).map(AsRef::as_ref);
        let context = FanOutContext { earlier: &earlier, notified: Some(&notified), ..FanOutContext::default() };
        let opening = fanout::opening_outcome(&resolution.event, rule, channel_id, context);
        decisions[index] = match recheck(queue, view, resolution, channel_id, &opening, now) {
            // Its opening is part of a digest in progress, which it follows by itself.
            ReleaseDecision::Release { .. }
                if opening == OpeningOutcome::Sent && is_in_digest(resolution, &earlier) =>
            {
                ReleaseDecision::Release { individually: true }
            }
            decision => decision,
        };
    }
    Ok(decisions)
}

/// Whether an earlier delivery of the same rule and incident is part of a digest in progress.
fn is_in_digest(resolution: &HeldDelivery, earlier: &[IncidentDelivery]) -> bool {
    earlier.iter().any(|it| it.rule_id == resolution.rule_id && it.status == Status::Held && it.digest_id.is_some())
}

/// Changes an earlier delivery to what it will be once the decision is carried out.
fn apply_decision(decision: &ReleaseDecision, delivery: &mut IncidentDelivery) {
    match decision {
        ReleaseDecision::KeepHeld(_) => {}
        ReleaseDecision::Release { .. } => delivery.status = Status::Pending,
        ReleaseDecision::Settle(NextState::Held(evaluation)) => {
            delivery.held_until = evaluation.held().map(|(_, until)| until);
            delivery.evaluation = Some(evaluation.clone());
        }
        ReleaseDecision::Settle(NextState::Suppressed(evaluation)) => {
            (delivery.status, delivery.evaluation) = (Status::Suppressed, Some(evaluation.clone()));
        }
        ReleaseDecision::Settle(_) => delivery.status = Status::Skipped,
    }
}

fn recheck(
    queue: &Queue,
    view: Option<&WorkspaceView>,
    held: &HeldDelivery,
    channel_id: ChannelId,
    opening: &OpeningOutcome,
    now: Timestamp,
) -> ReleaseDecision {
    let pending =
        PendingSend { event: &held.event, rule_id: held.rule_id, rule_generation: held.rule_generation, channel_id };
    let context = match pending.resolve(view) {
        Ok(context) => context,
        Err(reason) => return ReleaseDecision::Settle(NextState::Skipped(reason)),
    };
    let endpoint = queue.0.active_incidents.endpoint_context_of(context.view, &held.event);
    let input = fanout::gate_input(
        context.view,
        context.channel,
        context.rule,
        held.event.trigger,
        held.severity,
        endpoint,
        opening,
    );
    let (gate, until) = held.evaluation.held().unwrap_or((Gate::QuietHours, now));
    // Before its time only the gate that holds it is evaluated: another one counts when the delivery becomes due. A
    // short mute during the night must not suppress what is released in the morning.
    let is_early = until > now;
    if is_early
        && gate == Gate::QuietHours
        && let Some(refusal) = gate.check(&input, now).filter(|refusal| refusal.effect == gate::Effect::Hold)
    {
        let is_unchanged = refusal.until == Some(until);
        let evaluation = GateEvaluation { evaluated_at: now, passed: 0, stopped: Some((gate, refusal)) };
        return if is_unchanged {
            ReleaseDecision::KeepHeld(until)
        } else {
            ReleaseDecision::Settle(NextState::Held(evaluation))
        };
    }
    let has_rate_limit = gate::rate_limit::applies(&input).is_some();
    if is_early && gate == Gate::RateLimit && has_rate_limit {
        return ReleaseDecision::KeepHeld(until);
    }
    let evaluation = apply_opening_outcome(gate::re_evaluate(&input, now), opening, &context.channel.channel.name);
    if let Some((_, refusal)) = &evaluation.stopped {
        return match refusal.effect {
            // Held together with its opening: for as long as that, which only the store knows.
            gate::Effect::Hold if evaluation.held() == Some((gate, until)) => {
                ReleaseDecision::KeepHeld(until.max(now.plus_ms(RECHECK_AFTER_MS)))
            }
            gate::Effect::Hold => ReleaseDecision::Settle(NextState::Held(evaluation)),
            _ => ReleaseDecision::Settle(NextState::Suppressed(evaluation)),
        };
    }
    // Webhooks are never merged.
    ReleaseDecision::Release { individually: context.channel.channel.channel_type == ChannelType::Webhook }
}
