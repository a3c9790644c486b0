//! The state of one subject, an endpoint or an alert, as this process has it in memory. The store has the same: every
//! write carries the revisions it was decided on, and a conflict reloads the state.

use std::sync::Arc;

use tidings_domain::delivery::Status;
use tidings_domain::event::Event;
use tidings_domain::gate::{Effect, Gate};
use tidings_domain::id::{DeliveryId, EndpointId, Id, RuleId};
use tidings_domain::incident::{Cause, IncidentStatus, IncidentTrigger, Subject};
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;
use tidings_store::StoreError;
use tidings_store::monitoring::{EndpointState, IncidentDelivery, IncidentFilter, IncidentRecord};
use tidings_store::queue::NewDelivery;

use super::{Incidents, SubjectKey};

/// The state of one endpoint or alert.
pub(crate) struct IncidentState {
    /// For an alert it keeps its initial value.
    pub(crate) endpoint: EndpointState,
    pub(crate) active: Option<ActiveIncident>,
}

/// An active incident.
pub(crate) struct ActiveIncident {
    pub(crate) record: IncidentRecord,
    /// The event of its opening; none if it was pruned.
    pub(crate) opening: Option<Arc<Event>>,
    /// Suppressed deliveries of its opening that may be sent later.
    pub(crate) deferred: Vec<DeferredOpening>,
}

/// A delivery of an opening that a gate suppressed, and that is sent in a new delivery once the gate opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeferredOpening {
    pub(crate) rule_id: RuleId,
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
        Self { endpoint: EndpointState::new(endpoint_id), active: None }
    }

    /// The cause of the active incident.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.active.as_ref().map(|active| active.record.incident.cause)
    }
}

impl DeferredOpening {
    /// From a delivery that is about to be written, if it may be deferred.
    pub(crate) fn from_new(delivery: &NewDelivery) -> Option<Self> {
        let (gate, refusal) = delivery.evaluation.stopped.as_ref()?;
        let can_defer = gate.allows_deferred_delivery() && refusal.effect == Effect::Suppress;
        Some(Self {
            rule_id: delivery.rule_id.filter(|_| can_defer)?,
            delivery_id: delivery.id,
            gate: *gate,
            sequence: delivery.sequence,
            until: refusal.until,
        })
    }

    /// From a stored delivery, if it may be deferred.
    fn from_stored(delivery: &IncidentDelivery) -> Option<Self> {
        let (gate, refusal) = delivery.evaluation.as_ref()?.stopped.as_ref()?;
        let is_suppressed = delivery.status == Status::Suppressed && refusal.effect == Effect::Suppress;
        let can_defer = is_suppressed && gate.allows_deferred_delivery();
        Some(Self {
            rule_id: delivery.rule_id.filter(|_| can_defer)?,
            delivery_id: delivery.delivery_id,
            gate: *gate,
            sequence: delivery.sequence,
            until: refusal.until,
        })
    }

    /// From all deliveries of an incident. Of each rule only the last in sequence counts.
    fn from_deliveries(deliveries: &[IncidentDelivery]) -> Vec<Self> {
        let is_last =
            |it: &&IncidentDelivery| !deliveries.iter().any(|other| other.replaces_id == Some(it.delivery_id));
        deliveries.iter().filter(|it| is_opening(it)).filter(is_last).filter_map(Self::from_stored).collect()
    }
}

fn is_opening(delivery: &IncidentDelivery) -> bool {
    delivery.trigger == Trigger::Incident(IncidentTrigger::Opened)
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
        let deferred = DeferredOpening::from_deliveries(&deliveries);
        let opening = match deliveries.iter().find(|it| is_opening(it)) {
            Some(first) => self.0.store.event(incident.workspace_id, first.event_id).await?,
            None => None,
        };
        if let Subject::Endpoint(id) = incident.subject {
            self.0.active.set(id, Some(incident.id));
        }
        let opening = opening.map(|record| Arc::new(record.event));
        state.active = Some(ActiveIncident { record, opening, deferred });
        Ok(())
    }

    /// Reads the deferred openings again: a gate may suppress an opening as late as right before an attempt.
    pub(super) async fn refresh_deferred(&self, key: &SubjectKey) -> Result<(), StoreError> {
        let state = self.state(key);
        let mut state = state.lock().await;
        let Some(active) = &mut state.active else { return Ok(()) };
        let deliveries = self.0.store.incident_deliveries(key.0, active.record.incident.id).await?;
        active.deferred = DeferredOpening::from_deliveries(&deliveries);
        Ok(())
    }

    /// Reads the whole state again, after a write conflict.
    pub(super) async fn reload(&self, key: &SubjectKey, state: &mut IncidentState) -> Result<(), StoreError> {
        let (workspace_id, subject) = key;
        if let Subject::Endpoint(id) = subject {
            let endpoints = self.0.store.endpoint_states(*workspace_id).await?;
            let stored = endpoints.into_iter().find(|it| it.endpoint_id == *id);
            state.endpoint = stored.unwrap_or_else(|| EndpointState::new(*id));
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
        self.schedule_wake(key, state);
        Ok(())
    }
}
