//! Deferred openings: an opening that a gate suppressed is sent in a new delivery once that gate opens, if the incident
//! is still active.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_domain::event::Event;
use tidings_domain::gate::{EndpointContext, OpeningOutcome, Refusal};
use tidings_domain::id::ChannelId;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

use super::notify::Progress;
use super::state::{DeferredOpening, IncidentState};
use super::{Incidents, SubjectKey};
use crate::accept::{AcceptBatch, NotificationSequence};
use crate::fanout::{self, FanOut, FanOutContext};
use crate::snapshot::{LoadedEndpoint, WorkspaceView};

/// What the gate that suppressed an opening decides now.
enum GateRecheck {
    /// It would suppress the opening still.
    Closed(Refusal),
    /// The opening may be sent, if no other gate stops it.
    Open,
    /// The rule or the channel is disabled or deleted: nothing is to be sent.
    Inapplicable,
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
        let Some(event) = &active.opening else { return };
        // As of before this round: several rules that send through one channel at once do not cool down each other.
        let last_openings = progress.last_openings.clone();
        for deferred in &active.deferred {
            if !matches!(self.recheck_gate(view, endpoint, &last_openings, event, deferred, now), GateRecheck::Open) {
                continue;
            }
            let Some(rule) = view.rule(deferred.rule_id) else { continue };
            let context = FanOutContext {
                endpoint: self.endpoint_context(view, endpoint),
                last_openings: Some(&last_openings),
                earlier: &progress.earlier,
            };
            let planned = fanout::plan_for_rule(view, event, Some(rule), rule.channel_id, context, now);
            let fan_out = FanOut { not_routed: Vec::new(), planned: planned.into_iter().collect() };
            let sequence =
                NotificationSequence { number: deferred.sequence + 1, replaces_id: Some(deferred.delivery_id) };
            progress.deferred.retain(|it| it.delivery_id != deferred.delivery_id);
            batch.add(&self.0.queue, self.0.clock.as_ref(), Arc::clone(event), fan_out, sequence);
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
        let Some(active) = &state.active else { return false };
        let Some(event) = &active.opening else { return false };
        let endpoint = self.loaded_endpoint(view, key);
        let openings = &state.endpoint.last_openings;
        let recheck = |deferred| self.recheck_gate(view, endpoint, openings, event, deferred, now);
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
        let Some(active) = &mut state.active else { return };
        let Some(event) = &active.opening else { return };
        let endpoint = self.loaded_endpoint(view, key);
        for deferred in &mut active.deferred {
            deferred.until =
                match self.recheck_gate(view, endpoint, &state.endpoint.last_openings, event, deferred, now) {
                    GateRecheck::Closed(refusal) => refusal.until,
                    GateRecheck::Open => Some(now),
                    // No wake-up: an instant in the past would wake the timer loop again and again.
                    GateRecheck::Inapplicable => None,
                };
        }
    }

    fn recheck_gate(
        &self,
        view: &WorkspaceView,
        endpoint: Option<&Arc<LoadedEndpoint>>,
        last_openings: &BTreeMap<ChannelId, Timestamp>,
        event: &Event,
        deferred: &DeferredOpening,
        now: Timestamp,
    ) -> GateRecheck {
        let Some(rule) = view.rule(deferred.rule_id).filter(|rule| rule.enabled) else {
            return GateRecheck::Inapplicable;
        };
        let Some(loaded) = view.channel(rule.channel_id) else { return GateRecheck::Inapplicable };
        let last_opening_at = last_openings.get(&rule.channel_id).copied();
        let endpoint = self.endpoint_context(view, endpoint);
        let endpoint = endpoint.map(|it| EndpointContext { last_opening_at, ..it });
        let severity = event.severity(Severity::Warning);
        let opening = OpeningOutcome::NotApplicable;
        let input = fanout::gate_input(view, loaded, Some(rule), event.trigger, severity, endpoint, &opening);
        match deferred.gate.check(&input, now) {
            Some(refusal) => GateRecheck::Closed(refusal),
            None => GateRecheck::Open,
        }
    }
}
