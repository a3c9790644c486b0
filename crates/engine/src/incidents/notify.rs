//! Writes a transition together with the events and deliveries of its notifications, and dispatches them after the
//! commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_domain::delivery::Status;
use tidings_domain::event::{Content, Event};
use tidings_domain::gate::{EndpointContext, Gate};
use tidings_domain::id::{ChannelId, DeliveryId, MuteId};
use tidings_domain::incident::{IncidentTrigger, Notified, Subject};
use tidings_domain::rate_limit::RateAction;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;
use tidings_store::StoreError;
use tidings_store::monitoring::{
    CheckRecord, EndpointState, IncidentDelivery, IncidentRecord, TransitionOutcome, TransitionRecord,
};
use tidings_store::queue::{InitialState, NewDelivery, NewEvent};

use super::deferred_resolutions::wake_at as resolutions_wake_at;
use super::state::{ActiveIncident, DeferredDelivery, IncidentState, UnfinishedIncident, may_be_notified};
use super::timer_loop::active_definition;
use super::transition::{IncidentNotification, IncidentTransition, incident_wake};
use super::{Incidents, SubjectKey};
use crate::accept::{AcceptBatch, NotificationSequence};
use crate::changes::Topic;
use crate::clock::new_id;
use crate::fanout::{FanOutContext, fan_out};
use crate::snapshot::{LoadedEndpoint, WorkspaceView};
use crate::sync::Conflict as _;

/// The result of writing a transition.
pub(super) enum WriteOutcome {
    Applied,
    /// The check was ingested before: nothing was written.
    Duplicate,
}

/// What the deliveries planned so far mean for those planned next, within one transition.
pub(super) struct Progress {
    /// Deliveries of the incident, oldest first, planned ones included.
    pub(super) earlier: Vec<IncidentDelivery>,
    /// The channels that were notified of the incident.
    pub(super) notified: Notified,
    /// Of the opening.
    pub(super) deferred: Vec<DeferredDelivery>,
    /// Of the resolution, to channels that were notified or may yet be.
    pub(super) deferred_resolutions: Vec<DeferredDelivery>,
    /// For each channel, when an opening last passed the cooldown.
    pub(super) last_openings: BTreeMap<ChannelId, Timestamp>,
}

impl Progress {
    /// Adds the deliveries of an event that was just planned.
    pub(super) fn record(&mut self, new_event: Option<&NewEvent>) {
        let Some(new_event) = new_event else { return };
        let NewEvent { event, deliveries, .. } = new_event;
        self.earlier.extend(incident_deliveries_of(new_event));
        for delivery in deliveries {
            if event.trigger == Trigger::Incident(IncidentTrigger::Resolved)
                && may_be_notified(delivery.channel_id, &self.earlier, &self.notified)
            {
                self.deferred_resolutions.extend(DeferredDelivery::from_new(delivery, IncidentTrigger::Resolved));
            }
            if event.trigger != Trigger::Incident(IncidentTrigger::Opened) {
                continue;
            }
            self.deferred.extend(DeferredDelivery::from_new(delivery, IncidentTrigger::Opened));
            // It has passed the cooldown if nothing stopped it, or only a gate that holds or comes after the cooldown.
            let stopped = delivery.evaluation.stopped.as_ref();
            if stopped.is_none_or(|(gate, _)| *gate == Gate::RateLimit || delivery.evaluation.held().is_some()) {
                let passed_at = event.received_at.max(delivery.evaluation.evaluated_at);
                self.last_openings.insert(delivery.channel_id, passed_at);
            }
        }
    }
}

/// The deliveries of an event that is about to be written.
pub(super) fn incident_deliveries_of(new_event: &NewEvent) -> impl Iterator<Item = IncidentDelivery> {
    let event = &new_event.event;
    new_event.deliveries.iter().map(|delivery| IncidentDelivery {
        delivery_id: delivery.id,
        event_id: event.id,
        trigger: event.trigger,
        rule_id: delivery.rule_id,
        channel_id: delivery.channel_id,
        status: initial_status(delivery),
        evaluation: Some(delivery.evaluation.clone()),
        held_until: delivery.evaluation.held().map(|(_, until)| until),
        digest_id: None,
        sequence: delivery.sequence,
        replaces_id: delivery.replaces_id,
        attempt_state: None,
    })
}

impl Incidents {
    /// Writes a transition of a subject whose state the caller has locked, and applies it to the state. After a conflict
    /// ([`StoreError::Conflict`], [`StoreError::Exists`]) the state has been reloaded: the caller decides again.
    pub(super) async fn write_transition(
        &self,
        key: &SubjectKey,
        view: &Arc<WorkspaceView>,
        state: &mut IncidentState,
        check: Option<CheckRecord>,
        mut transition: IncidentTransition,
        now: Timestamp,
    ) -> Result<WriteOutcome, StoreError> {
        let endpoint = self.loaded_endpoint(view, key);
        // Before the notified channels: a delivery that is sent in between is in at least one of both.
        let earlier = self.earlier_deliveries(key, view, state, &transition, now).await?;
        let recovers = transition.notifications.iter().any(|it| it.trigger == IncidentTrigger::Resolved);
        let notified = match &transition.incident {
            Some(record) if recovers => self.0.store.notified_channels(key.0, record.incident.id).await?,
            _ => Notified::new(),
        };
        let mut progress = Progress {
            earlier,
            notified,
            deferred_resolutions: Vec::new(),
            deferred: state.active.as_ref().map(|active| active.deferred.clone()).unwrap_or_default(),
            last_openings: state.endpoint.last_openings.clone(),
        };
        let mut batch = AcceptBatch::default();
        let (mut opening, mut resolution) = (None, None);
        if let Some(record) = &transition.incident {
            for notification in &transition.notifications {
                let event = Arc::new(self.new_event(key, state, record, notification, now));
                let context = FanOutContext {
                    endpoint: self.endpoint_context(view, endpoint),
                    last_openings: Some(&progress.last_openings),
                    earlier: &progress.earlier,
                    notified: Some(&progress.notified),
                };
                let fan_out = fan_out(view, &event, context, now);
                match notification.trigger {
                    IncidentTrigger::Opened => opening = Some(Arc::clone(&event)),
                    IncidentTrigger::Resolved => resolution = Some(Arc::clone(&event)),
                    _ => {}
                }
                batch.add(&self.0.queue, self.0.clock.as_ref(), event, fan_out, NotificationSequence::FIRST);
                progress.record(batch.last());
            }
        }
        let is_over = transition.incident.as_ref().is_some_and(|record| record.incident.resolved_at.is_some());
        // `recovers` is not `is_over`: a notification about an incident that was over before (stable) is no recovery.
        if !is_over {
            self.send_deferred(view, state, &mut batch, endpoint, &mut progress, now);
        }
        let Progress { deferred, deferred_resolutions, last_openings, notified, .. } = progress;
        complete_transition(&mut transition, state, endpoint, last_openings, &deferred, !batch.is_empty(), now);
        if recovers && let Some(record) = &mut transition.incident {
            record.wake_at = resolutions_wake_at(record, &deferred_resolutions);
            // In memory it has those of when it was loaded; the store ignores them.
            record.notified = notified;
        }

        let (events, post_commit) = batch.split();
        let droppable = droppable_openings(&events);
        let has_check = check.is_some();
        let openings_before = state.endpoint.last_openings.clone();
        let record = TransitionRecord {
            check,
            endpoint_state: transition.endpoint.clone(),
            incident: transition.incident.clone(),
            timeline: transition.timeline,
            ended_mutes: if recovers { ended_mutes(view, &key.1, now) } else { Vec::new() },
            episode_end: transition.episode_end,
            events,
            audit: transition.audit.into_iter().collect(),
        };
        let ends_mutes = !record.ended_mutes.is_empty();
        let outcome = self.0.store.record_transition(key.0, record).await;
        let acceptances = match &outcome {
            Ok(TransitionOutcome::Applied(acceptances)) => Ok(acceptances.as_slice()),
            Ok(TransitionOutcome::Duplicate) => Ok([].as_slice()),
            Err(error) => Err(error),
        };
        // In every case: it also cancels the reservations of what was not written.
        post_commit.apply(&self.0.queue, acceptances);
        let acceptances = match outcome {
            Ok(TransitionOutcome::Applied(acceptances)) => acceptances,
            Ok(TransitionOutcome::Duplicate) => return Ok(WriteOutcome::Duplicate),
            Err(error) => {
                if error.is_conflict() {
                    self.reload(key, state).await?;
                }
                return Err(error);
            }
        };
        self.0.queue.quiescence().record_work();
        let (endpoint, incident) = (transition.endpoint.as_ref(), transition.incident.is_some());
        self.mark_changed(key, state, has_check, endpoint, incident);
        let not_leased = |(id, _): &&(DeliveryId, ChannelId)| acceptances.iter().any(|it| it.not_leased.contains(id));
        let perhaps_dropped: Vec<_> = droppable.iter().filter(not_leased).copied().collect();
        let ended = transition.incident.clone().filter(|_| recovers && !deferred_resolutions.is_empty());
        let unfinished = ended.map(|record| UnfinishedIncident { record, resolution, deferred: deferred_resolutions });
        state.unfinished.extend(unfinished);
        self.apply_committed(key, state, transition.endpoint, transition.incident, opening, deferred);
        self.revert_cooldown(key, state, &perhaps_dropped, &openings_before).await;
        if ends_mutes && let Err(error) = self.0.config.reload(key.0).await {
            tracing::error!(%error, workspace = %key.0, "mutes ended, but reloading the configuration failed, will retry");
        }
        Ok(WriteOutcome::Applied)
    }

    /// Notifies the subscribers of what a transition that was written changed. `state` is the one before.
    fn mark_changed(
        &self,
        key: &SubjectKey,
        state: &IncidentState,
        has_check: bool,
        endpoint: Option<&EndpointState>,
        has_incident: bool,
    ) {
        let status = |state: &EndpointState| state.last_check.as_ref().map(|check| check.status);
        let has_new_status = endpoint.is_some_and(|after| status(after) != status(&state.endpoint));
        let changed = [
            (Topic::Checks, has_check),
            (Topic::Endpoints, has_new_status || has_incident),
            (Topic::Incidents, has_incident),
        ];
        for (topic, _) in changed.into_iter().filter(|(_, is_changed)| *is_changed) {
            self.0.queue.mark_changed(key.0, topic);
        }
    }

    /// The deliveries of the incident that fan-out depends on. Read only if something will be planned.
    async fn earlier_deliveries(
        &self,
        key: &SubjectKey,
        view: &Arc<WorkspaceView>,
        state: &IncidentState,
        transition: &IncidentTransition,
        now: Timestamp,
    ) -> Result<Vec<IncidentDelivery>, StoreError> {
        match (&transition.incident, &state.active) {
            (Some(record), _) if record.revision > 0 && !transition.notifications.is_empty() => {
                self.0.store.incident_deliveries(key.0, record.incident.id).await
            }
            (_, Some(active)) if self.can_send_deferred(key, view, state, now) => {
                self.0.store.incident_deliveries(key.0, active.record.incident.id).await
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The endpoint of a subject, if it is an endpoint that exists.
    pub(super) fn loaded_endpoint<'a>(
        &self,
        view: &'a WorkspaceView,
        key: &SubjectKey,
    ) -> Option<&'a Arc<LoadedEndpoint>> {
        match &key.1 {
            Subject::Endpoint(id) => view.endpoint(*id),
            Subject::Alert(_) => None,
        }
    }

    pub(super) fn endpoint_context<'a>(
        &self,
        view: &'a WorkspaceView,
        endpoint: Option<&'a Arc<LoadedEndpoint>>,
    ) -> Option<EndpointContext<'a>> {
        endpoint.map(|loaded| self.0.active.endpoint_context(view, loaded))
    }

    fn new_event(
        &self,
        key: &SubjectKey,
        state: &IncidentState,
        record: &IncidentRecord,
        notification: &IncidentNotification,
        now: Timestamp,
    ) -> Event {
        let incident = &record.incident;
        let mut snapshot = incident.snapshot(record.subject_info.clone(), now);
        snapshot.flap_changes = notification.changes;
        snapshot.escalates_to = notification.escalates_to;
        snapshot.resolution.clone_from(&notification.resolution);
        if notification.trigger == IncidentTrigger::Opened {
            snapshot.previous_resolved_at = state.previous_resolved_at();
        }
        Event {
            id: new_id(self.0.clock.as_ref(), now),
            workspace_id: key.0,
            kind: notification.trigger.event_kind(),
            resource_type: key.1.resource_type(),
            resource_id: key.1.resource_id(),
            run_id: incident.id.to_string(),
            trigger: Trigger::Incident(notification.trigger),
            received_at: now,
            content: Content::Incident(Box::new(snapshot)),
        }
    }

    /// Applies a committed transition to the state in memory.
    fn apply_committed(
        &self,
        key: &SubjectKey,
        state: &mut IncidentState,
        endpoint: Option<EndpointState>,
        incident: Option<IncidentRecord>,
        opening: Option<Arc<Event>>,
        deferred: Vec<DeferredDelivery>,
    ) {
        if let Some(endpoint) = endpoint {
            self.set_endpoint(state, endpoint);
        }
        let endpoint_id = match key.1 {
            Subject::Endpoint(id) => Some(id),
            Subject::Alert(_) => None,
        };
        match incident {
            Some(record) if record.incident.resolved_at.is_some() => {
                // Its revision, if it is one whose resolution is deferred.
                state.unfinished.iter_mut().filter(|it| it.id() == record.incident.id).for_each(|it| {
                    it.record = record.clone();
                });
                state.active = None;
                if let Some(id) = endpoint_id {
                    self.0.active.set(id, None);
                    self.wake_children(key.0, id);
                }
            }
            Some(record) => {
                if let Some(id) = endpoint_id {
                    self.0.active.set(id, Some(record.incident.id));
                }
                let opening = opening.or_else(|| state.active.take().and_then(|active| active.opening));
                state.active = Some(ActiveIncident { record, opening, deferred });
            }
            None => state.active.iter_mut().for_each(|active| active.deferred.clone_from(&deferred)),
        }
        self.schedule_wake(key, state);
    }

    /// Openings that the rate limit dropped within the commit have not passed: they must not start a cooldown. Reverted in
    /// memory only; the store follows with the next check.
    async fn revert_cooldown(
        &self,
        key: &SubjectKey,
        state: &mut IncidentState,
        perhaps_dropped: &[(DeliveryId, ChannelId)],
        openings_before: &BTreeMap<ChannelId, Timestamp>,
    ) {
        for (id, channel_id) in perhaps_dropped {
            let delivery = self.0.store.delivery(key.0, *id).await.ok().flatten();
            if delivery.is_none_or(|delivery| delivery.status != Status::Suppressed) {
                continue;
            }
            match openings_before.get(channel_id) {
                Some(at) => state.endpoint.last_openings.insert(*channel_id, *at),
                None => state.endpoint.last_openings.remove(channel_id),
            };
        }
    }
}

/// The openings that the rate limit may still drop, as it is counted within the commit.
fn droppable_openings(events: &[NewEvent]) -> Vec<(DeliveryId, ChannelId)> {
    let openings = events.iter().filter(|it| it.event.trigger == Trigger::Incident(IncidentTrigger::Opened));
    let is_droppable =
        |it: &&NewDelivery| it.rate_limit.as_ref().is_some_and(|request| request.limit.action == RateAction::Drop);
    let deliveries = openings.flat_map(|it| &it.deliveries).filter(is_droppable);
    deliveries.map(|it| (it.id, it.channel_id)).collect()
}

const fn initial_status(delivery: &NewDelivery) -> Status {
    match delivery.initial_state {
        InitialState::Leased(_) => Status::Sending,
        InitialState::Due => Status::Pending,
        InitialState::Held => Status::Held,
        InitialState::Suppressed => Status::Suppressed,
    }
}

/// Completes a transition with what is known only after fan-out: last openings, wake-up, revisions.
fn complete_transition(
    transition: &mut IncidentTransition,
    state: &IncidentState,
    endpoint: Option<&Arc<LoadedEndpoint>>,
    last_openings: BTreeMap<ChannelId, Timestamp>,
    deferred: &[DeferredDelivery],
    has_events: bool,
    now: Timestamp,
) {
    if last_openings != state.endpoint.last_openings && endpoint.is_some() {
        transition.endpoint.get_or_insert_with(|| state.endpoint.clone()).last_openings = last_openings;
    }
    if let Some(endpoint) = &mut transition.endpoint {
        endpoint.revision = state.endpoint.revision + 1;
    }
    // A deferred opening that is sent changes the incident's next wake-up, and a timeline entry belongs to its incident:
    // both are written with the incident's record.
    if transition.incident.is_none() && (has_events || !transition.timeline.is_empty()) {
        transition.incident = state.active.as_ref().map(|active| active.record.clone());
    }
    if let Some(record) = &mut transition.incident {
        let endpoint_state = transition.endpoint.as_ref().unwrap_or(&state.endpoint);
        let definition = endpoint.and_then(|loaded| active_definition(loaded, endpoint_state));
        // That of a resolved incident is the caller's: it may have deferred resolutions.
        if record.incident.resolved_at.is_none() {
            let deferred_wake = deferred.iter().filter_map(|deferred| deferred.until).min();
            let wake = incident_wake(record, definition, now);
            record.wake_at = [deferred_wake, wake].into_iter().flatten().min();
        }
        record.revision += 1;
    }
}

/// The mutes that end when this subject recovers.
fn ended_mutes(view: &WorkspaceView, subject: &Subject, now: Timestamp) -> Vec<(MuteId, Timestamp)> {
    let Subject::Endpoint(id) = subject else { return Vec::new() };
    view.mutes.iter().filter(|mute| mute.ends_with_recovery_of(*id)).map(|mute| (mute.id, now)).collect()
}
