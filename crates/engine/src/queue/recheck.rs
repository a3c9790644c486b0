//! What is held back comes up: what the gates say of it now, and of a resolution what becomes of its opening.

use std::collections::HashMap;

use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::Status;
use tidings_domain::event::{Content, EventKind};
use tidings_domain::gate::{self, Gate, GateEvaluation, OpeningOutcome};
use tidings_domain::id::{ChannelId, DeliveryId};
use tidings_domain::time::Timestamp;
use tidings_store::StoreError;
use tidings_store::monitoring::IncidentDelivery;
use tidings_store::queue::{HeldDelivery, NextState};

use super::Queue;
use super::sender::{Target, after_opening, endpoint_situation, told};
use crate::fanout;
use crate::snapshot::WorkspaceView;

/// After how long to look again at what should be let go by now, and is not, in milliseconds.
const AGAIN_MS: u64 = 1_000;

/// What becomes of one that is held back.
pub(super) enum Decision {
    /// It is still held, until then.
    Stay(Timestamp),
    /// It is not said now.
    Refusal(NextState),
    /// It is said: by itself, or with others.
    Go { alone: bool },
}

/// Decides for all of them: for resolutions last, as they depend on what becomes of their openings.
pub(super) async fn decide_all(
    queue: &Queue,
    view: Option<&WorkspaceView>,
    held: &[HeldDelivery],
    channel_id: ChannelId,
    now: Timestamp,
) -> Result<Vec<Decision>, StoreError> {
    let is_resolution = |held: &HeldDelivery| held.event.kind == EventKind::IncidentResolved;
    let first = |held: &HeldDelivery| match is_resolution(held) {
        true => Decision::Stay(now),
        false => decide(queue, view, held, channel_id, &OpeningOutcome::NotApplicable, now),
    };
    let mut decisions: Vec<Decision> = held.iter().map(first).collect();
    let places: HashMap<DeliveryId, usize> = held.iter().enumerate().map(|(place, held)| (held.id, place)).collect();
    for (place, resolution) in held.iter().enumerate().filter(|(_, held)| is_resolution(held)) {
        let Ok(incident_id) = resolution.event.run_id.parse() else { continue };
        let mut told = told(queue, resolution.event.workspace_id, incident_id).await?;
        for told in &mut told {
            if let Some(decision) = places.get(&told.delivery_id).and_then(|place| decisions.get(*place)) {
                apply(decision, told);
            }
        }
        let rule = view.zip(resolution.rule_id).and_then(|(view, id)| view.rule(id)).map(AsRef::as_ref);
        let opening = fanout::opening(&resolution.event, rule, channel_id, &told);
        decisions[place] = match decide(queue, view, resolution, channel_id, &opening, now) {
            // Behind the digest that carries its opening; another one could not wait for that.
            Decision::Go { .. } if opening == OpeningOutcome::Sent && is_carried(resolution, &told) => {
                Decision::Go { alone: true }
            }
            decision => decision,
        };
    }
    Ok(decisions)
}

/// Whether something that this rule told of the incident is on its way with a digest.
fn is_carried(resolution: &HeldDelivery, told: &[IncidentDelivery]) -> bool {
    told.iter().any(|it| it.rule_id == resolution.rule_id && it.status == Status::Held && it.digest_id.is_some())
}

/// Looks at what was told as it will be once this is done.
fn apply(decision: &Decision, told: &mut IncidentDelivery) {
    match decision {
        Decision::Stay(_) => {}
        Decision::Go { .. } => told.status = Status::Pending,
        Decision::Refusal(NextState::Held(evaluation)) => {
            told.held_until = evaluation.held().map(|(_, until)| until);
            told.evaluation = Some(evaluation.clone());
        }
        Decision::Refusal(NextState::Suppressed(evaluation)) => {
            (told.status, told.evaluation) = (Status::Suppressed, Some(evaluation.clone()));
        }
        Decision::Refusal(_) => told.status = Status::Skipped,
    }
}

fn decide(
    queue: &Queue,
    view: Option<&WorkspaceView>,
    held: &HeldDelivery,
    channel_id: ChannelId,
    opening: &OpeningOutcome,
    now: Timestamp,
) -> Decision {
    let target =
        Target { event: &held.event, rule_id: held.rule_id, rule_generation: held.rule_generation, channel_id };
    let found = match target.find(view) {
        Ok(found) => found,
        Err(reason) => return Decision::Refusal(NextState::Skipped(reason)),
    };
    let situation = endpoint_situation(&queue.0.down, found.view, &held.event);
    let facts = fanout::facts(
        found.view,
        found.live,
        found.rule,
        held.event.trigger,
        held.severity,
        situation.as_ref().map(|situation| situation.as_situation()),
        opening,
    );
    let (gate, until) = held.evaluation.held().unwrap_or((Gate::QuietHours, now));
    // Before its time only the gate that holds it is asked: what another one says counts when it comes up.
    let is_early = until > now;
    if is_early
        && gate == Gate::QuietHours
        && let Some(stop) = gate.ask(&facts, now).filter(|stop| stop.effect == gate::Effect::Hold)
    {
        let is_same = stop.until == Some(until);
        let evaluation = GateEvaluation { evaluated_at: now, passed: 0, stopped: Some((gate, stop)) };
        return if is_same { Decision::Stay(until) } else { Decision::Refusal(NextState::Held(evaluation)) };
    }
    let has_limit = gate::rate_limit::applies(&facts).is_some();
    if is_early && gate == Gate::RateLimit && has_limit {
        return Decision::Stay(until);
    }
    let evaluation = after_opening(gate::re_evaluate(&facts, now), opening, &found.live.channel.name);
    if let Some((_, stop)) = &evaluation.stopped {
        return match stop.effect {
            // What waits with its opening waits as long as that; the store knows until when.
            gate::Effect::Hold if evaluation.held() == Some((gate, until)) => {
                Decision::Stay(until.max(now.plus_ms(AGAIN_MS)))
            }
            gate::Effect::Hold => Decision::Refusal(NextState::Held(evaluation)),
            _ => Decision::Refusal(NextState::Suppressed(evaluation)),
        };
    }
    let is_digest = matches!(held.event.content, Content::Digest(_));
    Decision::Go { alone: is_digest || found.live.channel.channel_type == ChannelType::Webhook }
}
