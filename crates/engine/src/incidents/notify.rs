//! What follows for a case is written, together with the events and deliveries that tell of it, and then handed over.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_domain::delivery::Status;
use tidings_domain::event::{Content, Event};
use tidings_domain::gate::Gate;
use tidings_domain::id::{ChannelId, CheckId, DeliveryId, MuteId};
use tidings_domain::incident::{IncidentTrigger, Subject};
use tidings_domain::rate_limit::RateAction;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;
use tidings_store::StoreError;
use tidings_store::monitoring::{
    CheckRecord, EndpointState, IncidentDelivery, IncidentRecord, TransitionOutcome, TransitionRecord,
};
use tidings_store::queue::{InitialState, NewDelivery, NewEvent};

use super::state::{Case, Open, Unsaid};
use super::timer_loop::watched;
use super::transition::{Change, Happening, incident_wake};
use super::{Incidents, Key};
use crate::accept::{Occasion, Prepared};
use crate::clock::new_id;
use crate::fanout::{self, EndpointSituation, Situation};
use crate::snapshot::{LoadedEndpoint, WorkspaceView};

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
                self.0.store.incident_deliveries(key.0, record.incident.id).await?
            }
            _ => match &case.open {
                Some(open) if self.may_say_late(key, view, case, now) => {
                    self.0.store.incident_deliveries(key.0, open.record.incident.id).await?
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
                let telling = fanout::tell(view, &event, situation, now);
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
        let droppable = droppable(&events);
        let passed_before = case.state.openings.clone();
        let following = TransitionRecord {
            check,
            state: change.state.clone(),
            incident: change.incident.clone(),
            timeline: change.timeline,
            ended_mutes: if recovers { ended_mutes(view, &key.1) } else { Vec::new() },
            events,
        };
        let ends_mutes = !following.ended_mutes.is_empty();
        let outcome = self.0.store.record_transition(key.0, following).await;
        let acceptances = match &outcome {
            Ok(TransitionOutcome::Applied(acceptances)) => Ok(acceptances.as_slice()),
            Ok(TransitionOutcome::Duplicate) => Ok([].as_slice()),
            Err(error) => Err(error),
        };
        afterwards.follow(&self.0.queue, acceptances);
        match outcome {
            Ok(TransitionOutcome::Applied(_)) => {}
            Ok(TransitionOutcome::Duplicate) => return Ok(Written::Known),
            Err(error @ (StoreError::Conflict | StoreError::Exists)) => {
                self.reload(key, case).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        self.0.queue.pulse().worked();
        let not_leased = |(id, _): &&(DeliveryId, ChannelId)| {
            acceptances.is_ok_and(|all| all.iter().any(|acceptance| acceptance.not_leased.contains(id)))
        };
        let perhaps_dropped: Vec<_> = droppable.iter().filter(not_leased).copied().collect();
        self.take_over(key, case, change.state, change.incident, opening, unsaid);
        self.take_back(key, case, &perhaps_dropped, &passed_before).await;
        if ends_mutes && let Err(error) = self.0.live.reload(key.0).await {
            tracing::error!(%error, workspace = %key.0, "mutes have ended but that is not seen yet");
        }
        Ok(Written::Yes)
    }

    /// The endpoint of a case, if it is one of an endpoint that is still there.
    pub(super) fn endpoint<'a>(&self, view: &'a WorkspaceView, key: &Key) -> Option<&'a Arc<LoadedEndpoint>> {
        match &key.1 {
            Subject::Endpoint(id) => view.endpoint(*id),
            Subject::Alert(_) => None,
        }
    }

    pub(super) fn situation<'a>(
        &self,
        view: &'a WorkspaceView,
        endpoint: Option<&'a Arc<LoadedEndpoint>>,
        openings: &'a BTreeMap<ChannelId, Timestamp>,
        told: &'a [IncidentDelivery],
    ) -> Situation<'a> {
        let of_endpoint = |live: &'a Arc<LoadedEndpoint>| EndpointSituation {
            live,
            parent_down: self.0.down.parent_of(view, live),
            openings,
        };
        Situation { endpoint: endpoint.map(of_endpoint), told }
    }

    fn event(&self, key: &Key, record: &IncidentRecord, happening: &Happening, now: Timestamp) -> Event {
        let incident = &record.incident;
        let mut outage = incident.snapshot(record.subject_info.clone(), now);
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
            content: Content::Incident(Box::new(outage)),
        }
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

    /// Openings that the rate limit dropped have not passed: what comes next does not cool down after them. The store
    /// learns that with the next check.
    async fn take_back(
        &self,
        key: &Key,
        case: &mut Case,
        perhaps_dropped: &[(DeliveryId, ChannelId)],
        passed_before: &BTreeMap<ChannelId, Timestamp>,
    ) {
        for (id, channel_id) in perhaps_dropped {
            let delivery = self.0.store.delivery(key.0, *id).await.ok().flatten();
            if delivery.is_none_or(|delivery| delivery.status != Status::Suppressed) {
                continue;
            }
            match passed_before.get(channel_id) {
                Some(at) => case.state.openings.insert(*channel_id, *at),
                None => case.state.openings.remove(channel_id),
            };
        }
    }

    /// The id of a check that is made now.
    pub(super) fn new_check_id(&self, now: Timestamp) -> CheckId {
        new_id(self.0.clock.as_ref(), now)
    }
}

/// Remembers what was decided, for what is decided next.
pub(super) fn note(
    new_event: Option<&NewEvent>,
    told: &mut Vec<IncidentDelivery>,
    unsaid: &mut Vec<Unsaid>,
    openings: &mut BTreeMap<ChannelId, Timestamp>,
) {
    let Some(NewEvent { event, deliveries, .. }) = new_event else { return };
    for delivery in deliveries {
        told.push(IncidentDelivery {
            delivery_id: delivery.id,
            event_id: event.id,
            trigger: event.trigger,
            rule_id: delivery.rule_id,
            channel_id: delivery.channel_id,
            status: status(delivery),
            evaluation: Some(delivery.evaluation.clone()),
            held_until: delivery.evaluation.held().map(|(_, until)| until),
            digest_id: None,
            sequence: delivery.sequence,
            replaces_id: delivery.replaces_id,
            attempt_state: None,
        });
        if event.trigger != Trigger::Incident(IncidentTrigger::Opened) {
            continue;
        }
        unsaid.extend(Unsaid::of_new(delivery));
        // It has passed the cooldown if nothing, or only what comes after that, stands in its way.
        let stopped = delivery.evaluation.stopped.as_ref();
        if stopped.is_none_or(|(gate, _)| *gate == Gate::RateLimit || delivery.evaluation.held().is_some()) {
            openings.insert(delivery.channel_id, event.received_at.max(delivery.evaluation.evaluated_at));
        }
    }
}

/// The openings that the rate limit may still drop, within the commit.
fn droppable(events: &[NewEvent]) -> Vec<(DeliveryId, ChannelId)> {
    let openings = events.iter().filter(|it| it.event.trigger == Trigger::Incident(IncidentTrigger::Opened));
    let may_be_dropped =
        |it: &&NewDelivery| it.rate_limit.as_ref().is_some_and(|admission| admission.limit.action == RateAction::Drop);
    let deliveries = openings.flat_map(|it| &it.deliveries).filter(may_be_dropped);
    deliveries.map(|it| (it.id, it.channel_id)).collect()
}

const fn status(delivery: &NewDelivery) -> Status {
    match delivery.start {
        InitialState::Leased(_) => Status::Sending,
        InitialState::Due => Status::Pending,
        InitialState::Held => Status::Held,
        InitialState::Suppressed => Status::Suppressed,
    }
}

/// Fills in what only now is known: revisions, when an opening last passed, when to look again.
fn finish(
    change: &mut Change,
    case: &Case,
    endpoint: Option<&Arc<LoadedEndpoint>>,
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
