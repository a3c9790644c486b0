//! Fan-out: which rules an event concerns, and what the gates decide for each of them. Used for every event of a run or
//! an incident, and for simulations.
//!
//! Pure: a function of a configuration snapshot and an instant. Nothing is reserved, written or sent here.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_domain::delivery::Status;
use tidings_domain::event::Event;
use tidings_domain::gate::{
    self, EndpointContext, Gate, GateEvaluation, GateInput, OpeningOutcome, Refusal, rate_limit,
};
use tidings_domain::id::ChannelId;
use tidings_domain::incident::{IncidentTrigger, Notified, NotifiedBy};
use tidings_domain::routing::{self, NotRouted, NotRoutedReason};
use tidings_domain::rule::Rule;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::{RuleTrigger, Trigger};
use tidings_store::monitoring::IncidentDelivery;
use tidings_store::queue::RateLimitRequest;

use crate::snapshot::{LoadedChannel, WorkspaceView};

/// State beside the configuration that events of incidents depend on. Events of runs use the default.
#[derive(Clone, Copy, Default)]
pub(crate) struct FanOutContext<'a> {
    /// The endpoint that the event is about, if any.
    pub endpoint: Option<EndpointContext<'a>>,
    /// For each channel, when an opening of this endpoint last passed the cooldown.
    pub last_openings: Option<&'a BTreeMap<ChannelId, Timestamp>>,
    /// Earlier deliveries of the same incident, oldest first.
    pub earlier: &'a [IncidentDelivery],
    /// For a resolution: the channels that were notified of the incident.
    pub notified: Option<&'a Notified>,
}

/// A delivery as the gates decided it: to be sent, held or suppressed.
pub(crate) struct PlannedDelivery {
    /// None for an escalation step through a channel that has no rule for this resource.
    pub rule: Option<Arc<Rule>>,
    pub channel: Arc<LoadedChannel>,
    pub severity: Severity,
    pub evaluation: GateEvaluation,
    /// The last gate, left to the store: it counts within the commit. Set if all other gates passed.
    pub rate_limit: Option<RateLimitRequest>,
}

/// The result of fanning out one event.
#[derive(Default)]
pub(crate) struct FanOut {
    /// Rules that get no delivery, with the reason.
    pub not_routed: Vec<NotRouted>,
    pub planned: Vec<PlannedDelivery>,
}

/// Fans out an event to the rules of its resource; an escalation step only to the channel of that step.
pub(crate) fn fan_out(view: &WorkspaceView, event: &Event, context: FanOutContext<'_>, now: Timestamp) -> FanOut {
    let mut result = FanOut::default();
    if let Some(channel_id) = event.incident().and_then(|incident| incident.escalates_to) {
        let mut rules = view.rules_of(event.resource_type, &event.resource_id);
        let rule = rules.find(|rule| rule.enabled && rule.channel_id == channel_id);
        result.planned.extend(plan_for_rule(view, event, rule, channel_id, context, now));
        return result;
    }
    // Rules of the resource come before those of every resource, older ones before younger ones: of several that match
    // and share a channel the first gets the delivery.
    for rule in view.rules_of(event.resource_type, &event.resource_id) {
        if let Err(reason) = routing::route(event, rule) {
            result.not_routed.push(NotRouted { rule_id: rule.id, reason });
            continue;
        }
        // A private channel has one rule only.
        if result.planned.iter().any(|planned| planned.channel.channel.id == rule.channel_id) {
            result.not_routed.push(NotRouted { rule_id: rule.id, reason: NotRoutedReason::SameChannel });
            continue;
        }
        let Some(planned) = plan_for_rule(view, event, Some(rule), rule.channel_id, context, now) else { continue };
        if is_unrouted(&planned.evaluation) {
            result.not_routed.push(NotRouted { rule_id: rule.id, reason: NotRoutedReason::RecoveryDisabled });
        } else {
            result.planned.push(planned);
        }
    }
    for channel_id in escalation_channels(event, context) {
        // A channel that also has a rule gets the resolution through the rule, once.
        if result.planned.iter().all(|planned| planned.channel.channel.id != channel_id) {
            let planned = plan_for_rule(view, event, None, channel_id, context, now);
            result.planned.extend(planned.filter(|it| !is_unrouted(&it.evaluation)));
        }
    }
    result
}

/// For a resolution: the channels that were notified of the incident by its escalation, or may yet be, without a rule.
/// They, too, are notified that it is over.
fn escalation_channels(event: &Event, context: FanOutContext<'_>) -> Vec<ChannelId> {
    let mut channels = Vec::new();
    if event.trigger == Trigger::Incident(IncidentTrigger::Resolved) {
        let may_notify =
            |it: &&IncidentDelivery| matches!(it.status, Status::Sent | Status::Held) || is_in_progress(it);
        let steps = context.earlier.iter().filter(|it| is_escalation_step(it));
        channels.extend(steps.filter(may_notify).map(|it| it.channel_id));
        let by_step = context.notified.into_iter().flatten().filter(|(_, by)| **by == NotifiedBy::Step);
        channels.extend(by_step.map(|(channel_id, _)| *channel_id));
        channels.sort_unstable();
        channels.dedup();
    }
    channels
}

/// Whether it is a step of an escalation through a channel without a rule.
fn is_escalation_step(delivery: &IncidentDelivery) -> bool {
    delivery.rule_id.is_none() && matches!(delivery.trigger, Trigger::Incident(IncidentTrigger::Escalated { .. }))
}

/// Whether the gates left no delivery at all, as opposed to a suppressed one.
fn is_unrouted(evaluation: &GateEvaluation) -> bool {
    matches!(evaluation.stopped, Some((Gate::RecoveryDisabled, _)))
}

/// Evaluates the gates for one rule. None if its channel does not exist, which the store's constraints rule out.
pub(crate) fn plan_for_rule(
    view: &WorkspaceView,
    event: &Event,
    rule: Option<&Arc<Rule>>,
    channel_id: ChannelId,
    context: FanOutContext<'_>,
    now: Timestamp,
) -> Option<PlannedDelivery> {
    let loaded = view.channel(channel_id)?;
    let severity = event.severity(rule.map_or(Severity::Warning, |rule| rule.settings.failure_severity));
    let opening = opening_outcome(event, rule.map(Arc::as_ref), channel_id, context);
    let last_opening_at = context.last_openings.and_then(|openings| openings.get(&channel_id).copied());
    let endpoint = context.endpoint.map(|endpoint| EndpointContext { last_opening_at, ..endpoint });
    let input = gate_input(view, loaded, rule.map(Arc::as_ref), event.trigger, severity, endpoint, &opening);
    let evaluation = gate::evaluate(&input, now);
    let limit = if evaluation.is_open() { rate_limit::applies(&input) } else { None };
    let rate_limit = limit.map(|limit| RateLimitRequest {
        limit,
        channel_name: loaded.channel.name.clone(),
        zone: view.zone.clone(),
    });
    Some(PlannedDelivery { rule: rule.cloned(), channel: Arc::clone(loaded), severity, evaluation, rate_limit })
}

/// The input of the gates for one rule and channel.
pub(crate) fn gate_input<'a>(
    view: &'a WorkspaceView,
    loaded: &'a LoadedChannel,
    rule: Option<&'a Rule>,
    trigger: Trigger,
    severity: Severity,
    endpoint: Option<EndpointContext<'a>>,
    opening: &'a OpeningOutcome,
) -> GateInput<'a> {
    GateInput {
        rule,
        channel: &loaded.channel,
        severity,
        trigger,
        mutes: &view.mutes,
        zone: &view.zone,
        endpoint,
        opening,
    }
}

/// For a resolution: whether this channel was notified of the incident, under whichever rule.
pub(crate) fn opening_outcome(
    event: &Event,
    rule: Option<&Rule>,
    channel_id: ChannelId,
    context: FanOutContext<'_>,
) -> OpeningOutcome {
    if event.trigger != Trigger::Incident(IncidentTrigger::Resolved) {
        return OpeningOutcome::NotApplicable;
    }
    let of_channel = || context.earlier.iter().filter(|it| it.channel_id == channel_id && is_notification(it));
    let is_notified = context.notified.is_some_and(|notified| notified.contains_key(&channel_id));
    if is_notified || of_channel().any(|it| it.status == Status::Sent || is_in_progress(it)) {
        return OpeningOutcome::Sent;
    }
    if let Some(held) = of_channel().rfind(|it| it.status == Status::Held) {
        return match held.evaluation.as_ref().and_then(|evaluation| evaluation.stopped.clone()) {
            // `held_until` is newer than the evaluation: the release loop may have prolonged it.
            Some((gate, refusal)) => {
                OpeningOutcome::Held { gate, refusal: Refusal { until: held.held_until.or(refusal.until), ..refusal } }
            }
            None => OpeningOutcome::Sent,
        };
    }
    let wants_openings = rule.is_none_or(|rule| rule.settings.triggers.contains(&RuleTrigger::Opened));
    let is_filtered = |it: &IncidentDelivery| {
        let gate = it.evaluation.as_ref().and_then(|evaluation| evaluation.stopped.as_ref()).map(|(gate, _)| *gate);
        it.status == Status::Suppressed && matches!(gate, Some(Gate::SeverityFilter | Gate::EventFilter))
    };
    let opening = of_channel().rfind(|it| it.trigger == Trigger::Incident(IncidentTrigger::Opened));
    // What it chose not to be notified of, by its rule or its filters, is no reason to suppress the resolution.
    if !wants_openings || opening.is_some_and(is_filtered) {
        OpeningOutcome::NotApplicable
    } else {
        OpeningOutcome::NotSent
    }
}

/// Whether its receiver learns from it that there is an incident.
pub(crate) fn is_notification(delivery: &IncidentDelivery) -> bool {
    matches!(delivery.trigger, Trigger::Incident(trigger) if trigger.notifies())
}

/// Whether it is pending or being sent, by itself or as part of a digest.
pub(crate) fn is_in_progress(delivery: &IncidentDelivery) -> bool {
    match delivery.status {
        Status::Pending | Status::Sending => true,
        Status::Held => delivery.digest_id.is_some(),
        Status::Sent | Status::Failed | Status::Suppressed | Status::Skipped => false,
    }
}

#[cfg(test)]
mod tests;
