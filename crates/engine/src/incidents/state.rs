//! The state of one subject, an endpoint or an alert, as this process has it in memory. The store has the same: every
//! write carries the revisions it was decided on, and a conflict reloads the state.

use std::sync::Arc;

use tidings_domain::delivery::Status;
use tidings_domain::event::Event;
use tidings_domain::gate::{Effect, Gate, GateEvaluation};
use tidings_domain::id::{ChannelId, DeliveryId, EndpointId, Id, IncidentId, RuleId, WorkspaceId};
use tidings_domain::incident::{Cause, IncidentStatus, IncidentTrigger, Notified, Subject};
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;
use tidings_store::StoreError;
use tidings_store::monitoring::{EndpointState, IncidentDelivery, IncidentFilter, IncidentRecord};
use tidings_store::queue::NewDelivery;

use super::{Incidents, SubjectKey};
use crate::fanout::is_notification;

/// The most unfinished incidents of one subject that are kept. Only a subject that flaps for days while it is muted has
/// more; of those the newest count.
const UNFINISHED_MAX: u32 = 100;

/// The state of one endpoint or alert.
pub(crate) struct IncidentState {
    /// For an alert it keeps its initial value.
    pub(crate) endpoint: EndpointState,
    pub(crate) active: Option<ActiveIncident>,
    /// Resolved incidents of whose end some channels are still to be notified, oldest first.
    pub(crate) unfinished: Vec<UnfinishedIncident>,
}

/// An active incident.
pub(crate) struct ActiveIncident {
    pub(crate) record: IncidentRecord,
    /// The event of its opening; none if it was pruned.
    pub(crate) opening: Option<Arc<Event>>,
    /// Suppressed deliveries of its opening that may be sent later.
    pub(crate) deferred: Vec<DeferredDelivery>,
}

/// A resolved incident of whose end some channels are still to be notified.
pub(crate) struct UnfinishedIncident {
    pub(crate) record: IncidentRecord,
    /// The event of its resolution; none if it was pruned.
    pub(crate) resolution: Option<Arc<Event>>,
    /// Suppressed deliveries of its resolution that may be sent later, at most one for each channel.
    pub(crate) deferred: Vec<DeferredDelivery>,
}

/// A delivery of an opening or a resolution that a gate suppressed, and that is sent in a new delivery once the gate
/// opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeferredDelivery {
    /// None for a resolution to a channel that an escalation step without a rule notified.
    pub(crate) rule_id: Option<RuleId>,
    pub(crate) channel_id: ChannelId,
    /// The suppressed delivery.
    pub(crate) delivery_id: DeliveryId,
    /// The gate that suppressed it.
    pub(crate) gate: Gate,
    /// The suppressed delivery's sequence.
    pub(crate) sequence: u32,
    /// When the gate opens, if that is known.
    pub(crate) until: Option<Timestamp>,
}

impl IncidentState {
    pub(crate) fn new(subject: &Subject) -> Self {
        let endpoint_id = match subject {
            Subject::Endpoint(id) => *id,
            Subject::Alert(_) => EndpointId::from_bytes([0; 16]),
        };
        Self { endpoint: EndpointState::new(endpoint_id), active: None, unfinished: Vec::new() }
    }

    /// The cause of the active incident.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.active.as_ref().map(|active| active.record.incident.cause)
    }

    /// Whether nothing of it has to be kept in memory.
    pub(super) fn is_idle(&self) -> bool {
        self.active.is_none() && self.unfinished.is_empty()
    }

    /// The end of the last incident of which not all notified channels were notified.
    pub(super) fn previous_resolved_at(&self) -> Option<Timestamp> {
        let unfinished = self.unfinished.iter().filter(|it| !it.deferred.is_empty());
        unfinished.filter_map(|it| it.record.incident.resolved_at).max()
    }
}

impl DeferredDelivery {
    /// From a delivery that is about to be written, if it may be deferred.
    pub(crate) fn from_new(delivery: &NewDelivery, trigger: IncidentTrigger) -> Option<Self> {
        let (gate, until) = suppressing_gate(&delivery.evaluation, trigger)?;
        Some(Self {
            rule_id: delivery.rule_id,
            channel_id: delivery.channel_id,
            delivery_id: delivery.id,
            gate,
            sequence: delivery.sequence,
            until,
        })
    }

    /// From a stored delivery, if it may be deferred.
    fn from_stored(delivery: &IncidentDelivery) -> Option<Self> {
        let Trigger::Incident(trigger) = delivery.trigger else { return None };
        let evaluation = delivery.evaluation.as_ref().filter(|_| delivery.status == Status::Suppressed)?;
        let never_opened = evaluation.stopped.as_ref().filter(|(gate, _)| *gate == Gate::NeverOpened);
        let (gate, until) = suppressing_gate(evaluation, trigger).or(never_opened.map(|(gate, _)| (*gate, None)))?;
        Some(Self {
            rule_id: delivery.rule_id,
            channel_id: delivery.channel_id,
            delivery_id: delivery.delivery_id,
            gate,
            sequence: delivery.sequence,
            until,
        })
    }

    /// The deferred openings among the deliveries of an incident. Of each rule only the last in sequence counts.
    fn openings(deliveries: &[IncidentDelivery]) -> Vec<Self> {
        let is_last =
            |it: &&IncidentDelivery| !deliveries.iter().any(|other| other.replaces_id == Some(it.delivery_id));
        of_trigger(deliveries, IncidentTrigger::Opened).filter(is_last).filter_map(Self::from_stored).collect()
    }

    /// The deferred resolutions among the deliveries of an incident: of each channel that was notified, or may yet be, the
    /// last one, unless another one got further.
    fn resolutions(deliveries: &[IncidentDelivery], notified: &Notified) -> Vec<Self> {
        let mut last: Vec<&IncidentDelivery> = Vec::new();
        for delivery in of_trigger(deliveries, IncidentTrigger::Resolved) {
            match last.iter_mut().find(|it| it.channel_id == delivery.channel_id) {
                Some(known) if known.status == Status::Suppressed => *known = delivery,
                Some(_) => {}
                None => last.push(delivery),
            }
        }
        let deferred = last.into_iter().filter_map(Self::from_stored);
        let is_owed = |it: &Self| match it.gate {
            // That gate opens when the channel is notified after all, by a delivery that was resent by hand.
            Gate::NeverOpened => notified.contains_key(&it.channel_id),
            _ => may_be_notified(it.channel_id, deliveries, notified),
        };
        deferred.filter(is_owed).collect()
    }
}

/// The gate that suppresses a delivery with this trigger but lets it be sent later, and when it opens, if that is known.
fn suppressing_gate(evaluation: &GateEvaluation, trigger: IncidentTrigger) -> Option<(Gate, Option<Timestamp>)> {
    let (gate, refusal) = evaluation.stopped.as_ref()?;
    let allows = match trigger {
        IncidentTrigger::Opened => gate.allows_deferred_delivery(),
        IncidentTrigger::Resolved => gate.allows_deferred_resolution(),
        _ => false,
    };
    (allows && refusal.effect == Effect::Suppress).then_some((*gate, refusal.until))
}

/// Whether the channel was notified of the incident or may be by what is still on its way.
pub(super) fn may_be_notified(channel_id: ChannelId, deliveries: &[IncidentDelivery], notified: &Notified) -> bool {
    let is_on_its_way = |it: &IncidentDelivery| {
        it.channel_id == channel_id
            && is_notification(it)
            && matches!(it.status, Status::Pending | Status::Sending | Status::Held | Status::Sent)
    };
    notified.contains_key(&channel_id) || deliveries.iter().any(is_on_its_way)
}

fn of_trigger(
    deliveries: &[IncidentDelivery],
    trigger: IncidentTrigger,
) -> impl Iterator<Item = &IncidentDelivery> + Clone {
    deliveries.iter().filter(move |it| it.trigger == Trigger::Incident(trigger))
}

impl Incidents {
    /// Loads an active incident into the state.
    pub(super) async fn load_active(
        &self,
        state: &mut IncidentState,
        record: IncidentRecord,
    ) -> Result<(), StoreError> {
        let incident = &record.incident;
        let deliveries = self.0.store.incident_deliveries(incident.workspace_id, incident.id).await?;
        let opening = self.event_of(incident.workspace_id, &deliveries, IncidentTrigger::Opened).await?;
        if let Subject::Endpoint(id) = incident.subject {
            self.0.active.set(id, Some(incident.id));
        }
        state.active = Some(ActiveIncident { record, opening, deferred: DeferredDelivery::openings(&deliveries) });
        Ok(())
    }

    /// Loads a resolved incident that has a wake-up.
    pub(super) async fn load_unfinished(&self, record: IncidentRecord) -> Result<UnfinishedIncident, StoreError> {
        let incident = &record.incident;
        let deliveries = self.0.store.incident_deliveries(incident.workspace_id, incident.id).await?;
        let resolution = self.event_of(incident.workspace_id, &deliveries, IncidentTrigger::Resolved).await?;
        // After the deliveries: one that is sent in between is in at least one of both.
        let notified = self.0.store.notified_channels(incident.workspace_id, incident.id).await?;
        let deferred = DeferredDelivery::resolutions(&deliveries, &notified);
        Ok(UnfinishedIncident { record, resolution, deferred })
    }

    /// The event with this trigger of an incident with these deliveries.
    async fn event_of(
        &self,
        workspace_id: WorkspaceId,
        deliveries: &[IncidentDelivery],
        trigger: IncidentTrigger,
    ) -> Result<Option<Arc<Event>>, StoreError> {
        let Some(first) = of_trigger(deliveries, trigger).next() else { return Ok(None) };
        let record = self.0.store.event(workspace_id, first.event_id).await?;
        Ok(record.map(|record| Arc::new(record.event)))
    }

    /// Reads the deferred deliveries again: a gate may suppress a delivery as late as right before an attempt.
    pub(super) async fn refresh_deferred(&self, key: &SubjectKey) -> Result<(), StoreError> {
        let state = self.state(key);
        let mut state = state.lock().await;
        if let Some(active) = &mut state.active {
            let deliveries = self.0.store.incident_deliveries(key.0, active.record.incident.id).await?;
            active.deferred = DeferredDelivery::openings(&deliveries);
        }
        self.reload_unfinished(key, &mut state).await?;
        self.schedule_wake(key, &state);
        Ok(())
    }

    /// Reads the whole state again, after a write conflict.
    pub(super) async fn reload(&self, key: &SubjectKey, state: &mut IncidentState) -> Result<(), StoreError> {
        let (workspace_id, subject) = key;
        if let Subject::Endpoint(id) = subject {
            let endpoints = self.0.store.endpoint_states(*workspace_id).await?;
            let stored = endpoints.into_iter().find(|it| it.endpoint_id == *id);
            self.set_endpoint(state, stored.unwrap_or_else(|| EndpointState::new(*id)));
            self.0.active.set(*id, None);
        }
        state.active = None;
        let filter = IncidentFilter {
            subject: Some(subject.clone()),
            status: Some(IncidentStatus::Active),
            limit: 1,
            ..IncidentFilter::default()
        };
        if let Some(record) = self.0.store.incidents(*workspace_id, filter).await?.pop() {
            self.load_active(state, record).await?;
        }
        self.reload_unfinished(key, state).await?;
        self.schedule_wake(key, state);
        Ok(())
    }

    async fn reload_unfinished(&self, key: &SubjectKey, state: &mut IncidentState) -> Result<(), StoreError> {
        let filter = IncidentFilter {
            subject: Some(key.1.clone()),
            status: Some(IncidentStatus::Resolved),
            has_wake_up: true,
            limit: UNFINISHED_MAX,
            ..IncidentFilter::default()
        };
        let mut unfinished = Vec::new();
        for record in self.0.store.incidents(key.0, filter).await? {
            unfinished.push(self.load_unfinished(record).await?);
        }
        // The store lists the newest first.
        unfinished.reverse();
        state.unfinished = unfinished;
        Ok(())
    }

    /// The subjects of a workspace with resolved incidents that have a wake-up.
    pub(super) async fn unfinished_subjects(&self, workspace_id: WorkspaceId) -> Result<Vec<SubjectKey>, StoreError> {
        let filter = IncidentFilter {
            status: Some(IncidentStatus::Resolved),
            has_wake_up: true,
            limit: u32::MAX,
            ..IncidentFilter::default()
        };
        let records = self.0.store.incidents(workspace_id, filter).await?;
        Ok(records.into_iter().map(|record| (workspace_id, record.incident.subject)).collect())
    }
}

impl UnfinishedIncident {
    pub(super) fn id(&self) -> IncidentId {
        self.record.incident.id
    }
}
