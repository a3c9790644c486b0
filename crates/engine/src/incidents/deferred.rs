//! Openings said late: what was stopped is said once what stopped it no longer does, if the incident is still active.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_domain::event::Event;
use tidings_domain::gate::{OpeningOutcome, Refusal};
use tidings_domain::id::ChannelId;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_store::monitoring::IncidentDelivery;

use super::notify::note;
use super::state::{Case, Unsaid};
use super::{Incidents, Key};
use crate::accept::{Occasion, Prepared};
use crate::fanout::{self, Telling};
use crate::snapshot::{LoadedEndpoint, WorkspaceView};

impl Incidents {
    /// Says openings that were stopped, where what stopped them no longer does.
    #[expect(clippy::too_many_arguments, reason = "all of it is what one write consists of")]
    pub(super) fn say_late(
        &self,
        view: &Arc<WorkspaceView>,
        case: &Case,
        prepared: &mut Prepared,
        endpoint: Option<&Arc<LoadedEndpoint>>,
        told: &mut Vec<IncidentDelivery>,
        unsaid: &mut Vec<Unsaid>,
        openings: &mut BTreeMap<ChannelId, Timestamp>,
        now: Timestamp,
    ) {
        let Some(event) = case.open.as_ref().and_then(|open| open.opening.as_ref()) else { return };
        // What several rules say through one channel at once does not cool down among itself.
        let before = openings.clone();
        for stopped in case.open.iter().flat_map(|open| &open.unsaid) {
            let Some(rule) = view.rule(stopped.rule_id).filter(|rule| rule.enabled) else { continue };
            let Some(live) = view.channel(rule.channel_id) else { continue };
            let situation = self.situation(view, endpoint, &before, told);
            let severity = event.severity(Severity::Warning);
            let facts = fanout::facts(
                view,
                live,
                Some(rule),
                event.trigger,
                severity,
                situation.endpoint,
                &OpeningOutcome::NotApplicable,
            );
            if stopped.gate.ask(&facts, now).is_some() {
                continue;
            }
            let decision = fanout::decide(view, event, Some(rule), rule.channel_id, situation, now);
            let telling = Telling { not_routed: Vec::new(), decisions: decision.into_iter().collect() };
            let sequence = Occasion { number: stopped.sequence + 1, replaces_id: Some(stopped.delivery_id) };
            unsaid.retain(|it| it.delivery_id != stopped.delivery_id);
            prepared.add(&self.0.queue, self.0.clock.as_ref(), Arc::clone(event), telling, sequence);
            note(prepared.last(), told, unsaid, openings);
        }
    }

    /// Whether an opening that was stopped may be said now.
    pub(super) fn may_say_late(&self, key: &Key, view: &WorkspaceView, case: &Case, now: Timestamp) -> bool {
        let Some(open) = &case.open else { return false };
        let Some(event) = &open.opening else { return false };
        let endpoint = self.endpoint(view, key);
        let ask = |stopped| self.ask_again(view, endpoint, case, event, stopped, now);
        open.unsaid.iter().any(|stopped| matches!(ask(stopped), Some(None)))
    }

    /// Learns until when what was stopped is stopped, as far as that is known: what was known of it may have changed. A
    /// change of the configuration wakes the keeper by itself.
    pub(super) fn expect_late(&self, key: &Key, view: &WorkspaceView, case: &mut Case, now: Timestamp) {
        let Some((open, event)) = case.open.as_ref().and_then(|open| Some((open, open.opening.as_ref()?))) else {
            return;
        };
        let endpoint = self.endpoint(view, key);
        let until = |stopped| match self.ask_again(view, endpoint, case, event, stopped, now) {
            Some(Some(stop)) => stop.until,
            Some(None) => Some(now),
            None => None,
        };
        let untils: Vec<_> = open.unsaid.iter().map(until).collect();
        if let Some(open) = &mut case.open {
            open.unsaid.iter_mut().zip(untils).for_each(|(unsaid, until)| unsaid.until = until);
        }
    }

    /// What the gate that stopped it says now; nothing if its rule or its channel says nothing any more.
    fn ask_again(
        &self,
        view: &WorkspaceView,
        endpoint: Option<&Arc<LoadedEndpoint>>,
        case: &Case,
        event: &Event,
        stopped: &Unsaid,
        now: Timestamp,
    ) -> Option<Option<Refusal>> {
        let rule = view.rule(stopped.rule_id).filter(|rule| rule.enabled)?;
        let live = view.channel(rule.channel_id)?;
        let situation = self.situation(view, endpoint, &case.state.openings, &[]);
        let severity = event.severity(Severity::Warning);
        let facts = fanout::facts(
            view,
            live,
            Some(rule),
            event.trigger,
            severity,
            situation.endpoint,
            &OpeningOutcome::NotApplicable,
        );
        Some(stopped.gate.ask(&facts, now))
    }
}
