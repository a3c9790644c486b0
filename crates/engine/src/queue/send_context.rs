//! What a delivery needs when it becomes due: its rule, channel and endpoint as they are now, and what became of its
//! incident's opening. Shared by [`super::sender`] and [`super::recheck`].

use std::sync::Arc;

use tidings_domain::delivery::SkipReason;
use tidings_domain::event::{Event, EventKind};
use tidings_domain::gate::{self, Effect, Gate, GateEvaluation, OpeningOutcome, Refusal};
use tidings_domain::id::{ChannelId, IncidentId, RuleId, WorkspaceId};
use tidings_domain::resource::ResourceType;
use tidings_domain::rule::Rule;
use tidings_store::StoreError;
use tidings_store::monitoring::IncidentDelivery;

use super::Queue;
use crate::snapshot::{LoadedChannel, WorkspaceView};

/// A delivery that is about to be sent or released.
pub(super) struct PendingSend<'a> {
    pub(super) event: &'a Event,
    pub(super) rule_id: Option<RuleId>,
    /// The rule's generation when the delivery was planned.
    pub(super) rule_generation: u32,
    pub(super) channel_id: ChannelId,
}

/// The configuration of a delivery as it is now.
pub(super) struct SendContext<'a> {
    pub(super) view: &'a WorkspaceView,
    pub(super) rule: Option<&'a Rule>,
    pub(super) channel: &'a Arc<LoadedChannel>,
}

impl PendingSend<'_> {
    /// Finds what the delivery depends on. Fails if any of it is gone, or if the rule is not the one any more that the
    /// delivery was planned under: a rule that was disabled and enabled again has a new generation, and does not revive
    /// old deliveries.
    ///
    /// A resolution needs neither endpoint nor rule once the endpoint is deleted: that is what it reports.
    pub(super) fn resolve<'a>(&self, view: Option<&'a WorkspaceView>) -> Result<SendContext<'a>, SkipReason> {
        let view = view.ok_or(SkipReason::RuleDeleted)?;
        let channel = view.channel(self.channel_id).ok_or(SkipReason::ChannelDeleted);
        let is_deleted = self.event.resource_type == ResourceType::Endpoint
            && self.event.resource_id.parse().ok().and_then(|id| view.endpoint(id)).is_none();
        let is_resolution = self.event.kind == EventKind::IncidentResolved;
        if is_deleted && !is_resolution {
            return Err(SkipReason::EndpointDeleted);
        }
        let Some(rule_id) = self.rule_id else { return Ok(SendContext { view, rule: None, channel: channel? }) };
        // The rule's reason comes first: a channel is usually deleted together with its rule.
        let rule = match view.rule(rule_id) {
            Some(rule) => rule,
            None if is_deleted && is_resolution => return Ok(SendContext { view, rule: None, channel: channel? }),
            None => return Err(SkipReason::RuleDeleted),
        };
        if rule.channel_id != self.channel_id {
            return Err(SkipReason::RuleChanged);
        }
        if !rule.enabled || rule.generation != self.rule_generation {
            return Err(SkipReason::RuleDisabled);
        }
        Ok(SendContext { view, rule: Some(rule), channel: channel? })
    }
}

/// The deliveries of an incident, oldest first.
pub(super) async fn incident_deliveries(
    queue: &Queue,
    workspace_id: WorkspaceId,
    incident_id: IncidentId,
) -> Result<Vec<IncidentDelivery>, StoreError> {
    queue.0.store.incident_deliveries(workspace_id, incident_id).await
}

/// Adds the result of [`Gate::NeverOpened`] to the re-evaluation of a resolution. The gate is not re-evaluated with the
/// others, because its input is not configuration but the opening's delivery, which may have failed or been suppressed or
/// held since the resolution was planned.
pub(super) fn apply_opening_outcome(
    evaluation: GateEvaluation,
    opening: &OpeningOutcome,
    channel_name: &str,
) -> GateEvaluation {
    let is_before = |gate: Gate| Gate::ORDER.into_iter().take_while(|it| *it != Gate::NeverOpened).any(|it| it == gate);
    match (opening, &evaluation.stopped) {
        // A gate before `NeverOpened` in the order that stops keeps precedence; one after it does not.
        (OpeningOutcome::NotSent, stopped) if stopped.as_ref().is_none_or(|(gate, _)| !is_before(*gate)) => {
            let passed = evaluation.passed_gates().filter(|gate| is_before(*gate)).map(Gate::bit).sum();
            let detail = gate::never_opened_detail(channel_name);
            let refusal = Refusal { effect: Effect::Suppress, detail, until: None, mute_id: None };
            GateEvaluation { passed, stopped: Some((Gate::NeverOpened, refusal)), ..evaluation }
        }
        (OpeningOutcome::Held { gate, refusal }, None) => evaluation.stopped_at(*gate, refusal.clone()),
        _ => evaluation,
    }
}
