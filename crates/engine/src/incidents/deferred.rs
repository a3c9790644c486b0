//! Deferred openings: an opening that a gate suppressed is sent in a new delivery once that gate opens, if the incident
//! is still active. [`super::deferred_resolutions`] does the same for resolutions.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_domain::event::{Content, Event};
use tidings_domain::gate::{EndpointContext, Gate, OpeningOutcome, Refusal};
use tidings_domain::id::ChannelId;
use tidings_domain::rule::Rule;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

use super::notify::Progress;
use super::state::{ActiveIncident, DeferredDelivery, IncidentState};
use super::{Incidents, SubjectKey};
use crate::accept::{AcceptBatch, NotificationSequence};
use crate::fanout::{self, FanOut, FanOutContext};
use crate::snapshot::{LoadedChannel, LoadedEndpoint, WorkspaceView};

/// What the gate that suppressed a delivery decides now.
pub(super) enum GateRecheck {
    /// It would suppress the delivery still.
    Closed(Refusal),
    /// The delivery may be sent, if no other gate stops it.
    Open,
    /// The rule or the channel is disabled or deleted: nothing is to be sent.
    Inapplicable,
}

/// What a deferred delivery would be sent by.
pub(super) struct Carrier<'a> {
    pub(super) view: &'a WorkspaceView,
    pub(super) endpoint: Option<EndpointContext<'a>>,
    pub(super) rule: Option<&'a Rule>,
    pub(super) channel: &'a LoadedChannel,
}

impl Carrier<'_> {
    /// What this gate decides now about the event.
    pub(super) fn recheck(&self, gate: Gate, event: &Event, now: Timestamp) -> GateRecheck {
        let severity = event.severity(Severity::Warning);
        // The gates that defer do not ask for it.
        let opening = OpeningOutcome::NotApplicable;
        let input =
            fanout::gate_input(self.view, self.channel, self.rule, event.trigger, severity, self.endpoint, &opening);
        gate.check(&input, now).map_or(GateRecheck::Open, GateRecheck::Closed)
    }
}

impl Incidents {
    /// Plans a new delivery for each deferred opening whose gate has opened.
    pub(super) fn send_deferred(
        &self,
        view: &Arc<WorkspaceView>,
        state: &IncidentState,
        batch: &mut AcceptBatch,
        endpoint: Option<&Arc<LoadedEndpoint>>,
        progress: &mut Progress,
        now: Timestamp,
    ) {
        let Some(active) = &state.active else { return };
        let Some(event) = present_opening(state, active, now) else { return };
        // As of before this round: several rules that send through one channel at once do not cool down each other.
        let last_openings = progress.last_openings.clone();
        for deferred in &active.deferred {
            if !matches!(self.recheck_gate(view, endpoint, &last_openings, &event, deferred, now), GateRecheck::Open) {
                continue;
            }
            let Some(rule) = deferred.rule_id.and_then(|id| view.rule(id)) else { continue };
            let context = FanOutContext {
                endpoint: self.endpoint_context(view, endpoint),
                last_openings: Some(&last_openings),
                earlier: &progress.earlier,
                notified: None,
            };
            let planned = fanout::plan_for_rule(view, &event, Some(rule), rule.channel_id, context, now);
            let fan_out = FanOut { not_routed: Vec::new(), planned: planned.into_iter().collect() };
            let sequence =
                NotificationSequence { number: deferred.sequence + 1, replaces_id: Some(deferred.delivery_id) };
            progress.deferred.retain(|it| it.delivery_id != deferred.delivery_id);
            batch.add(&self.0.queue, self.0.clock.as_ref(), Arc::clone(&event), fan_out, sequence);
            progress.record(batch.last());
        }
    }

    /// Whether any deferred opening can be sent now.
    pub(super) fn can_send_deferred(
        &self,
        key: &SubjectKey,
        view: &WorkspaceView,
        state: &IncidentState,
        now: Timestamp,
    ) -> bool {
        let Some(active) = state.active.as_ref().filter(|active| !active.deferred.is_empty()) else { return false };
        let Some(event) = present_opening(state, active, now) else { return false };
        let endpoint = self.loaded_endpoint(view, key);
        let openings = &state.endpoint.last_openings;
        let recheck = |deferred| self.recheck_gate(view, endpoint, openings, &event, deferred, now);
        active.deferred.iter().any(|deferred| matches!(recheck(deferred), GateRecheck::Open))
    }

    /// Updates when each deferred opening may be sent, as far as that is known: it may have changed since it was
    /// suppressed. (A change of the configuration wakes the timer loop by itself.)
    pub(super) fn schedule_deferred(
        &self,
        key: &SubjectKey,
        view: &WorkspaceView,
        state: &mut IncidentState,
        now: Timestamp,
    ) {
        let Some(active) = state.active.as_ref().filter(|active| !active.deferred.is_empty()) else { return };
        let Some(event) = present_opening(state, active, now) else { return };
        let endpoint = self.loaded_endpoint(view, key);
        let openings = &state.endpoint.last_openings;
        let until = |deferred| match self.recheck_gate(view, endpoint, openings, &event, deferred, now) {
            GateRecheck::Closed(refusal) => refusal.until,
            GateRecheck::Open => Some(now),
            // No wake-up: an instant in the past would wake the timer loop again and again.
            GateRecheck::Inapplicable => None,
        };
        let until: Vec<_> = active.deferred.iter().map(until).collect();
        for (deferred, until) in state.active.iter_mut().flat_map(|active| &mut active.deferred).zip(until) {
            deferred.until = until;
        }
    }

    fn recheck_gate(
        &self,
        view: &WorkspaceView,
        endpoint: Option<&Arc<LoadedEndpoint>>,
        last_openings: &BTreeMap<ChannelId, Timestamp>,
        event: &Event,
        deferred: &DeferredDelivery,
        now: Timestamp,
    ) -> GateRecheck {
        let rule = deferred.rule_id.and_then(|id| view.rule(id)).filter(|rule| rule.enabled);
        let Some(rule) = rule else { return GateRecheck::Inapplicable };
        let Some(channel) = view.channel(rule.channel_id) else { return GateRecheck::Inapplicable };
        let last_opening_at = last_openings.get(&rule.channel_id).copied();
        let endpoint = self.endpoint_context(view, endpoint);
        let endpoint = endpoint.map(|it| EndpointContext { last_opening_at, ..it });
        Carrier { view, endpoint, rule: Some(rule), channel }.recheck(deferred.gate, event, now)
    }
}

/// The opening's event with the facts of now: the present cause, its reason as the last check saw it, and for how long.
/// None if the event was pruned.
fn present_opening(state: &IncidentState, active: &ActiveIncident, now: Timestamp) -> Option<Arc<Event>> {
    let opening = active.opening.as_ref()?;
    let record = &active.record;
    let mut snapshot = record.incident.snapshot(record.subject_info.clone(), now);
    let failing = state.endpoint.last_check.as_ref().filter(|check| check.status.is_failing());
    snapshot.detail = failing.and_then(|check| check.reason.clone()).or(snapshot.detail);
    snapshot.previous_resolved_at = state.previous_resolved_at();
    Some(Arc::new(Event { content: Content::Incident(Box::new(snapshot)), ..Event::clone(opening) }))
}
