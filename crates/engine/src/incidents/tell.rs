//! What follows for a case is written, together with the events and deliveries that tell of it, and then handed over.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_domain::delivery::Status;
use tidings_domain::event::{Content, Event};
use tidings_domain::gate::{Gate, Opening, Stop};
use tidings_domain::id::{ChannelId, CheckId, MuteId};
use tidings_domain::incident::{IncidentTrigger, Subject};
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;
use tidings_store::StoreError;
use tidings_store::queue::{Incoming, NewDelivery, Start};
use tidings_store::watching::{CheckRecord, EndpointState, Followed, Following, IncidentRecord, Told};

use super::case::{Case, Open, Unsaid};
use super::change::{Change, Happening, incident_wake};
use super::keeper::watched;
use super::{Incidents, Key};
use crate::accept::{Occasion, Prepared};
use crate::clock::new_id;
use crate::snapshot::{LiveEndpoint, WorkspaceView};
use crate::tell::{self, EndpointSituation, Situation, Telling};

/// Whether it was written.
pub(super) enum Written {
    /// It was.
    Yes,
    /// The check was told before.
    Known,
}

impl Incidents {
    /// Writes what follows for a case that the caller has locked, and takes it over into the case. With
    /// [`StoreError::Conflict`] or [`StoreError::Exists`] the case was read anew, and is to be looked at again.
    pub(super) async fn write(
        &self,
        key: &Key,
        view: &Arc<WorkspaceView>,
        case: &mut Case,
        check: Option<CheckRecord>,
        mut change: Change,
        now: Timestamp,
    ) -> Result<Written, StoreError> {
        let endpoint = self.endpoint(view, key);
        let mut prepared = Prepared::default();
        let mut told = match &change.incident {
            Some(record) if record.revision > 0 && !change.happenings.is_empty() => {
                self.0.store.told(key.0, record.incident.id).await?
            }
            _ => match &case.open {
                Some(open) if self.may_say_late(key, view, case, now) => {
                    self.0.store.told(key.0, open.record.incident.id).await?
                }
                _ => Vec::new(),
            },
        };
        let mut unsaid = case.open.as_ref().map(|open| open.unsaid.clone()).unwrap_or_default();
        let mut opening = None;
        let mut openings = case.state.openings.clone();
        if let Some(record) = &change.incident {
            for happening in &change.happenings {
                let event = Arc::new(self.event(key, record, happening, now));
                let situation = self.situation(view, endpoint, &openings, &told);
                let telling = tell::tell(view, &event, situation, now);
                if happening.trigger == IncidentTrigger::Opened {
                    opening = Some(Arc::clone(&event));
                }
                prepared.add(&self.0.queue, self.0.clock.as_ref(), event, telling, Occasion::FIRST);
                note(prepared.last(), &mut told, &mut unsaid, &mut openings);
            }
        }
        let is_over = change.incident.as_ref().is_some_and(|record| record.incident.resolved_at.is_some());
        // What is said of an incident that was over before is no recovery.
        let recovers = change.happenings.iter().any(|happening| happening.trigger == IncidentTrigger::Resolved);
        if !is_over {
            self.say_late(view, case, &mut prepared, endpoint, &mut told, &mut unsaid, &mut openings, now);
        }
        finish(&mut change, case, endpoint, openings, &unsaid, !prepared.is_empty(), now);
        let (events, afterwards) = prepared.take();
        let following = Following {
            check,
            state: change.state.clone(),
            incident: change.incident.clone(),
            timeline: change.timeline,
            ended_mutes: if recovers { ended_mutes(view, &key.1) } else { Vec::new() },
            events,
        };
        let ends_mutes = !following.ended_mutes.is_empty();
        let outcome = self.0.store.follow(key.0, following).await;
        let acceptances = match &outcome {
            Ok(Followed::Written(acceptances)) => Ok(acceptances.as_slice()),
            Ok(Followed::Known) => Ok([].as_slice()),
            Err(error) => Err(error),
        };
        afterwards.follow(&self.0.queue, acceptances);
        match outcome {
            Ok(Followed::Written(_)) => {}
            Ok(Followed::Known) => return Ok(Written::Known),
            Err(error @ (StoreError::Conflict | StoreError::Exists)) => {
                self.reload(key, case).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        self.0.queue.pulse().worked();
        self.take_over(key, case, change.state, change.incident, opening, unsaid);
        if ends_mutes && let Err(error) = self.0.live.reload(key.0).await {
            tracing::error!(%error, workspace = %key.0, "mutes have ended but that is not seen yet");
        }
        Ok(Written::Yes)
    }

    /// The endpoint of a case, if it is one of an endpoint that is still there.
    pub(super) fn endpoint<'a>(&self, view: &'a WorkspaceView, key: &Key) -> Option<&'a Arc<LiveEndpoint>> {
        match &key.1 {
            Subject::Endpoint(id) => view.endpoint(*id),
            Subject::Alert(_) => None,
        }
    }

    fn situation<'a>(
        &self,
        view: &'a WorkspaceView,
        endpoint: Option<&'a Arc<LiveEndpoint>>,
        openings: &'a BTreeMap<ChannelId, Timestamp>,
        told: &'a [Told],
    ) -> Situation<'a> {
        let of_endpoint = |live: &'a Arc<LiveEndpoint>| EndpointSituation {
            live,
            parent_down: self.0.down.parent_of(view, live),
            openings,
        };
        Situation { endpoint: endpoint.map(of_endpoint), told }
    }

    fn event(&self, key: &Key, record: &IncidentRecord, happening: &Happening, now: Timestamp) -> Event {
        let incident = &record.incident;
        let mut outage = incident.outage(record.about.clone(), now);
        outage.changes = happening.changes;
        outage.escalates_to = happening.escalates_to;
        Event {
            id: new_id(self.0.clock.as_ref(), now),
            workspace_id: key.0,
            kind: happening.trigger.event_kind(),
            resource_type: key.1.resource_type(),
            resource_id: key.1.resource_id(),
            run_id: incident.id.to_string(),
            trigger: Trigger::Incident(happening.trigger),
            received_at: now,
            content: Content::Outage(Box::new(outage)),
        }
    }

    /// Says openings that were stopped, where what stopped them no longer does.
    #[expect(clippy::too_many_arguments, reason = "all of it is what one write consists of")]
    fn say_late(
        &self,
        view: &Arc<WorkspaceView>,
        case: &Case,
        prepared: &mut Prepared,
        endpoint: Option<&Arc<LiveEndpoint>>,
        told: &mut Vec<Told>,
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
            let facts =
                tell::facts(view, live, Some(rule), event.trigger, severity, situation.endpoint, &Opening::Beside);
            if stopped.gate.ask(&facts, now).is_some() {
                continue;
            }
            let decision = tell::decide(view, event, Some(rule), rule.channel_id, situation, now);
            let telling = Telling { not_routed: Vec::new(), decisions: decision.into_iter().collect() };
            let occasion = Occasion { number: stopped.occasion + 1, late_of: Some(stopped.delivery_id) };
            unsaid.retain(|it| it.delivery_id != stopped.delivery_id);
            prepared.add(&self.0.queue, self.0.clock.as_ref(), Arc::clone(event), telling, occasion);
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
        endpoint: Option<&Arc<LiveEndpoint>>,
        case: &Case,
        event: &Event,
        stopped: &Unsaid,
        now: Timestamp,
    ) -> Option<Option<Stop>> {
        let rule = view.rule(stopped.rule_id).filter(|rule| rule.enabled)?;
        let live = view.channel(rule.channel_id)?;
        let situation = self.situation(view, endpoint, &case.state.openings, &[]);
        let severity = event.severity(Severity::Warning);
        let facts = tell::facts(view, live, Some(rule), event.trigger, severity, situation.endpoint, &Opening::Beside);
        Some(stopped.gate.ask(&facts, now))
    }

    /// Takes over what was written.
    fn take_over(
        &self,
        key: &Key,
        case: &mut Case,
        state: Option<EndpointState>,
        incident: Option<IncidentRecord>,
        opening: Option<Arc<Event>>,
        unsaid: Vec<Unsaid>,
    ) {
        if let Some(state) = state {
            case.state = state;
        }
        let endpoint_id = match key.1 {
            Subject::Endpoint(id) => Some(id),
            Subject::Alert(_) => None,
        };
        match incident {
            Some(record) if record.incident.resolved_at.is_some() => {
                case.open = None;
                if let Some(id) = endpoint_id {
                    self.0.down.set(id, None);
                    self.look_at_children(key.0, id);
                }
            }
            Some(record) => {
                if let Some(id) = endpoint_id {
                    self.0.down.set(id, Some(record.incident.id));
                }
                let opening = opening.or_else(|| case.open.take().and_then(|open| open.opening));
                case.open = Some(Open { record, opening, unsaid });
            }
            None => case.open.iter_mut().for_each(|open| open.unsaid.clone_from(&unsaid)),
        }
        self.plan(key, case);
    }

    /// The id of a check that is made now.
    pub(super) fn new_check_id(&self, now: Timestamp) -> CheckId {
        new_id(self.0.clock.as_ref(), now)
    }
}

/// Remembers what was decided, for what is decided next.
fn note(
    incoming: Option<&Incoming>,
    told: &mut Vec<Told>,
    unsaid: &mut Vec<Unsaid>,
    openings: &mut BTreeMap<ChannelId, Timestamp>,
) {
    let Some(Incoming { event, deliveries, .. }) = incoming else { return };
    for delivery in deliveries {
        told.push(Told {
            delivery_id: delivery.id,
            event_id: event.id,
            trigger: event.trigger,
            rule_id: delivery.rule_id,
            channel_id: delivery.channel_id,
            status: status(delivery),
            walk: Some(delivery.walk.clone()),
            held_until: delivery.walk.held().map(|(_, until)| until),
            digest_id: None,
            occasion: delivery.occasion,
            late_of: delivery.late_of,
        });
        if event.trigger != Trigger::Incident(IncidentTrigger::Opened) {
            continue;
        }
        unsaid.extend(Unsaid::of_new(delivery));
        // It has passed the cooldown if nothing, or only what comes after that, stands in its way.
        let stopped = delivery.walk.stopped.as_ref();
        if stopped.is_none_or(|(gate, _)| *gate == Gate::RateLimit || delivery.walk.held().is_some()) {
            openings.insert(delivery.channel_id, event.received_at.max(delivery.walk.evaluated_at));
        }
    }
}

const fn status(delivery: &NewDelivery) -> Status {
    match delivery.start {
        Start::Leased(_) => Status::Sending,
        Start::Due => Status::Pending,
        Start::Held => Status::Held,
        Start::Suppressed => Status::Suppressed,
    }
}

/// Fills in what only now is known: revisions, when an opening last passed, when to look again.
fn finish(
    change: &mut Change,
    case: &Case,
    endpoint: Option<&Arc<LiveEndpoint>>,
    openings: BTreeMap<ChannelId, Timestamp>,
    unsaid: &[Unsaid],
    tells: bool,
    now: Timestamp,
) {
    if openings != case.state.openings && endpoint.is_some() {
        change.state.get_or_insert_with(|| case.state.clone()).openings = openings;
    }
    if let Some(state) = &mut change.state {
        state.revision = case.state.revision + 1;
    }
    // What is said late changes when the incident is to be looked at again, and a timeline is its incident's.
    if change.incident.is_none() && (tells || !change.timeline.is_empty()) {
        change.incident = case.open.as_ref().map(|open| open.record.clone());
    }
    if let Some(record) = &mut change.incident {
        let definition = endpoint.and_then(|live| watched(live));
        let late = unsaid.iter().filter_map(|unsaid| unsaid.until).min();
        let wake = incident_wake(record, definition, now);
        record.wake_at =
            if record.incident.resolved_at.is_some() { None } else { [late, wake].into_iter().flatten().min() };
        record.revision += 1;
    }
}

fn ended_mutes(view: &WorkspaceView, subject: &Subject) -> Vec<MuteId> {
    let Subject::Endpoint(id) = subject else { return Vec::new() };
    view.mutes.iter().filter(|mute| mute.ends_with_recovery_of(*id)).map(|mute| mute.id).collect()
}
