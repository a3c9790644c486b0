//! Telling: which rules an event concerns, and what the gates say for each of them. The way of every event, be it of a run
//! or of an incident, and of every question about one that has not happened.
//!
//! A function of a snapshot and an instant: nothing is reserved, written or sent here.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_domain::delivery::Status;
use tidings_domain::event::Event;
use tidings_domain::gate::{
    self, EndpointContext, Gate, GateEvaluation, GateInput, OpeningOutcome, Refusal, rate_limit,
};
use tidings_domain::id::{ChannelId, DeliveryId};
use tidings_domain::incident::IncidentTrigger;
use tidings_domain::routing::{self, NotRouted, NotRoutedReason};
use tidings_domain::rule::Rule;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::{RuleTrigger, Trigger};
use tidings_store::monitoring::IncidentDelivery;
use tidings_store::queue::RateLimitRequest;

use crate::snapshot::{LoadedChannel, LoadedEndpoint, WorkspaceView};

/// What is known beside the configuration, for events of incidents.
#[derive(Clone, Copy, Default)]
pub(crate) struct Situation<'a> {
    /// The endpoint that the event is about, if it is one.
    pub endpoint: Option<EndpointSituation<'a>>,
    /// What was told of the incident before.
    pub told: &'a [IncidentDelivery],
}

/// What is known of the endpoint.
#[derive(Clone, Copy)]
pub(crate) struct EndpointSituation<'a> {
    /// The endpoint.
    pub live: &'a LoadedEndpoint,
    /// The name of its parent, if that has an active incident.
    pub parent_down: Option<&'a str>,
    /// When an opening last passed, for each channel.
    pub openings: &'a BTreeMap<ChannelId, Timestamp>,
}

/// What was decided for one rule.
pub(crate) struct Decision {
    /// The rule; none for a step of an escalation through a channel that has no rule here.
    pub rule: Option<Arc<Rule>>,
    /// The channel.
    pub live: Arc<LoadedChannel>,
    /// How bad the event is to the rule.
    pub severity: Severity,
    /// The evaluation through the gates.
    pub evaluation: GateEvaluation,
    /// What the rate limit is asked with, if the evaluation is open.
    pub admission: Option<RateLimitRequest>,
    /// The delivery that has to be settled before.
    pub after: Option<DeliveryId>,
}

/// What an event comes to.
#[derive(Default)]
pub(crate) struct Telling {
    /// The rules that are passed over.
    pub not_routed: Vec<NotRouted>,
    /// What was decided for the others.
    pub decisions: Vec<Decision>,
}

/// Tells the event to every rule of its resource; or, if it is a step of an escalation, through that step's channel.
pub(crate) fn tell(view: &WorkspaceView, event: &Event, situation: Situation<'_>, now: Timestamp) -> Telling {
    let mut telling = Telling::default();
    if let Some(channel_id) = event.incident().and_then(|outage| outage.escalates_to) {
        let mut rules = view.rules_of(event.resource_type, &event.resource_id);
        let own = rules.find(|rule| rule.enabled && rule.channel_id == channel_id);
        telling.decisions.extend(decide(view, event, own, channel_id, situation, now));
        return telling;
    }
    for rule in view.rules_of(event.resource_type, &event.resource_id) {
        if let Err(reason) = routing::route(event, rule) {
            telling.not_routed.push(NotRouted { rule_id: rule.id, reason });
            continue;
        }
        let Some(decision) = decide(view, event, Some(rule), rule.channel_id, situation, now) else { continue };
        if is_passed_over(&decision.evaluation) {
            telling.not_routed.push(NotRouted { rule_id: rule.id, reason: NotRoutedReason::RecoveryDisabled });
        } else {
            telling.decisions.push(decision);
        }
    }
    for channel_id in escalated_to(event, situation.told) {
        if telling.decisions.iter().all(|decision| decision.live.channel.id != channel_id) {
            let decision = decide(view, event, None, channel_id, situation, now);
            telling.decisions.extend(decision.filter(|it| !is_passed_over(&it.evaluation)));
        }
    }
    telling
}

/// Channels without a rule that were told of the incident by its escalation: whoever was paged hears that it is over.
fn escalated_to(event: &Event, told: &[IncidentDelivery]) -> Vec<ChannelId> {
    let mut channels = Vec::new();
    if event.trigger == Trigger::Incident(IncidentTrigger::Resolved) {
        let was_told = |it: &&IncidentDelivery| matches!(it.status, Status::Sent | Status::Held) || is_under_way(it);
        channels.extend(told.iter().filter(|it| is_step(it)).filter(was_told).map(|it| it.channel_id));
        channels.sort_unstable();
        channels.dedup();
    }
    channels
}

/// Whether it is a step of an escalation, told through a channel without a rule.
fn is_step(told: &IncidentDelivery) -> bool {
    told.rule_id.is_none() && matches!(told.trigger, Trigger::Incident(IncidentTrigger::Escalated { .. }))
}

fn is_passed_over(evaluation: &GateEvaluation) -> bool {
    matches!(evaluation.stopped, Some((Gate::RecoveryDisabled, _)))
}

/// Walks the gates for one rule; none if its channel is not there, which the store's own constraints forbid.
pub(crate) fn decide(
    view: &WorkspaceView,
    event: &Event,
    rule: Option<&Arc<Rule>>,
    channel_id: ChannelId,
    situation: Situation<'_>,
    now: Timestamp,
) -> Option<Decision> {
    let live = view.channel(channel_id)?;
    let severity = event.severity(rule.map_or(Severity::Warning, |rule| rule.failure_severity));
    let opening = opening(event, rule.map(Arc::as_ref), channel_id, situation.told);
    let facts = facts(view, live, rule.map(Arc::as_ref), event.trigger, severity, situation.endpoint, &opening);
    let evaluation = gate::evaluate(&facts, now);
    let limit = if evaluation.is_open() { rate_limit::applies(&facts) } else { None };
    let admission =
        limit.map(|limit| RateLimitRequest { limit, channel_name: live.channel.name.clone(), zone: view.zone.clone() });
    let after = unsettled_before(channel_id, situation.told);
    Some(Decision { rule: rule.cloned(), live: Arc::clone(live), severity, evaluation, admission, after })
}

/// What the gates look at.
pub(crate) fn facts<'a>(
    view: &'a WorkspaceView,
    live: &'a LoadedChannel,
    rule: Option<&'a Rule>,
    trigger: Trigger,
    severity: Severity,
    endpoint: Option<EndpointSituation<'a>>,
    opening: &'a OpeningOutcome,
) -> GateInput<'a> {
    let endpoint = endpoint.map(|situation| EndpointContext {
        id: situation.live.endpoint.id,
        name: &situation.live.endpoint.name,
        definition: &situation.live.endpoint.definition,
        parent_down: situation.parent_down,
        last_opening_at: situation.openings.get(&live.channel.id).copied(),
    });
    GateInput {
        rule,
        channel: &live.channel,
        severity,
        trigger,
        mutes: &view.mutes,
        zone: &view.zone,
        endpoint,
        opening,
    }
}

/// What became of the opening of the incident that this event resolves.
pub(crate) fn opening(
    event: &Event,
    rule: Option<&Rule>,
    channel_id: ChannelId,
    told: &[IncidentDelivery],
) -> OpeningOutcome {
    if event.trigger != Trigger::Incident(IncidentTrigger::Resolved) {
        return OpeningOutcome::NotApplicable;
    }
    match rule {
        Some(rule) if rule.triggers.contains(&RuleTrigger::Opened) => fate(channel_id, told, |it| {
            it.trigger == Trigger::Incident(IncidentTrigger::Opened) && it.rule_id == Some(rule.id)
        }),
        Some(_) => OpeningOutcome::NotApplicable,
        // Nobody told this channel of the opening but the escalation.
        None => fate(channel_id, told, is_step),
    }
}

/// What became of these tellings through this channel. The best of all sequence counts.
fn fate(
    channel_id: ChannelId,
    told: &[IncidentDelivery],
    is_meant: impl Fn(&IncidentDelivery) -> bool,
) -> OpeningOutcome {
    let openings = || told.iter().filter(|it| it.channel_id == channel_id && is_meant(it));
    if openings().any(|it| it.status == Status::Sent || is_under_way(it)) {
        return OpeningOutcome::Sent;
    }
    if let Some(held) = openings().rfind(|it| it.status == Status::Held) {
        return match held.evaluation.as_ref().and_then(|evaluation| evaluation.stopped.clone()) {
            // It may be held for longer than the evaluation has said.
            Some((gate, stop)) => {
                OpeningOutcome::Held { gate, refusal: Refusal { until: held.held_until.or(stop.until), ..stop } }
            }
            None => OpeningOutcome::Sent,
        };
    }
    let is_filtered = |it: &IncidentDelivery| {
        let gate = it.evaluation.as_ref().and_then(|evaluation| evaluation.stopped.as_ref()).map(|(gate, _)| *gate);
        it.status == Status::Suppressed && matches!(gate, Some(Gate::SeverityFilter | Gate::EventFilter))
    };
    if openings().next_back().is_some_and(is_filtered) {
        OpeningOutcome::NotApplicable
    } else {
        OpeningOutcome::NotSent
    }
}

/// Whether it is to be sent by itself, or is on its way with a digest.
fn is_under_way(told: &IncidentDelivery) -> bool {
    match told.status {
        Status::Pending | Status::Sending => true,
        Status::Held => told.digest_id.is_some(),
        Status::Sent | Status::Failed | Status::Suppressed | Status::Skipped => false,
    }
}

/// The last delivery of the incident through this channel that is under way. What is held back keeps nobody waiting: that
/// may take all night. What goes before it when it is let go, the store sees to.
fn unsettled_before(channel_id: ChannelId, told: &[IncidentDelivery]) -> Option<DeliveryId> {
    told.iter().rfind(|it| it.channel_id == channel_id && is_under_way(it)).map(|it| it.delivery_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::gate::Effect;
    use tidings_domain::id::{EventId, Id, RuleId};

    const RULE: [u8; 16] = [3; 16];
    const CHANNEL: [u8; 16] = [4; 16];

    fn told(status: Status, gate: Option<(Gate, Effect)>) -> IncidentDelivery {
        let stopped =
            gate.map(|(gate, effect)| (gate, Refusal { effect, detail: String::new(), until: None, mute_id: None }));
        IncidentDelivery {
            delivery_id: DeliveryId::from_bytes([1; 16]),
            event_id: EventId::from_bytes([2; 16]),
            trigger: Trigger::Incident(IncidentTrigger::Opened),
            rule_id: Some(RuleId::from_bytes(RULE)),
            channel_id: ChannelId::from_bytes(CHANNEL),
            status,
            evaluation: Some(GateEvaluation { evaluated_at: Timestamp::from_unix_ms(0), passed: 0, stopped }),
            held_until: None,
            digest_id: None,
            sequence: 1,
            replaces_id: None,
            attempt_state: None,
        }
    }

    fn fate_of(told: &[IncidentDelivery]) -> OpeningOutcome {
        fate(ChannelId::from_bytes(CHANNEL), told, |it| it.rule_id == Some(RuleId::from_bytes(RULE)))
    }

    #[test]
    fn the_fate_of_an_opening_is_the_best_of_its_occasions() {
        let muted = || told(Status::Suppressed, Some((Gate::ScopedMute, Effect::Suppress)));
        let filtered = told(Status::Suppressed, Some((Gate::SeverityFilter, Effect::Suppress)));
        assert_eq!(fate_of(&[]), OpeningOutcome::NotSent, "the rule was not there yet");
        assert_eq!(fate_of(&[muted()]), OpeningOutcome::NotSent);
        assert_eq!(fate_of(&[muted(), told(Status::Sent, None)]), OpeningOutcome::Sent, "it was said late");
        assert_eq!(fate_of(&[told(Status::Failed, None)]), OpeningOutcome::NotSent);
        assert_eq!(fate_of(&[filtered]), OpeningOutcome::NotApplicable);
        let held = told(Status::Held, Some((Gate::QuietHours, Effect::Hold)));
        assert!(matches!(fate_of(std::slice::from_ref(&held)), OpeningOutcome::Held { gate: Gate::QuietHours, .. }));
        let carried = IncidentDelivery { digest_id: Some(DeliveryId::from_bytes([6; 16])), ..held };
        assert_eq!(fate_of(std::slice::from_ref(&carried)), OpeningOutcome::Sent, "its digest is on its way");
        assert!(unsettled_before(carried.channel_id, &[carried]).is_some(), "and is waited for");
        for status in [Status::Pending, Status::Sending, Status::Sent] {
            assert_eq!(fate_of(&[told(status, None)]), OpeningOutcome::Sent);
        }
    }

    #[test]
    fn only_what_is_under_way_through_the_channel_is_waited_for() {
        let channel = ChannelId::from_bytes(CHANNEL);
        for (status, waits) in
            [(Status::Pending, true), (Status::Sending, true), (Status::Held, false), (Status::Sent, false)]
        {
            assert_eq!(unsettled_before(channel, &[told(status, None)]).is_some(), waits, "{status:?}");
        }
        assert_eq!(unsettled_before(ChannelId::from_bytes([5; 16]), &[told(Status::Pending, None)]), None);
    }
}
