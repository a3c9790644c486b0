//! The case: what this process remembers of an endpoint or an alert, as the store has it.

use std::sync::Arc;

use tidings_domain::event::Event;
use tidings_domain::gate::{Effect, Gate};
use tidings_domain::id::{DeliveryId, EndpointId, Id, RuleId};
use tidings_domain::incident::{Cause, IncidentTrigger, Subject};
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;
use tidings_store::StoreError;
use tidings_store::monitoring::{EndpointState, IncidentDelivery, IncidentFilter, IncidentRecord};
use tidings_store::queue::NewDelivery;

use super::{Incidents, Key};
use tidings_domain::delivery::Status;
use tidings_domain::incident::IncidentStatus;

/// What is remembered of one endpoint or one alert.
pub(crate) struct Case {
    /// The endpoint's state; of an alert it stays as it began.
    pub(crate) state: EndpointState,
    /// The active incident.
    pub(crate) open: Option<Open>,
}

/// An active incident.
pub(crate) struct Open {
    /// The incident.
    pub(crate) record: IncidentRecord,
    /// The event that told of its opening, if it is still in the log.
    pub(crate) opening: Option<Arc<Event>>,
    /// What was to tell of the opening, and was stopped by a gate that may let it through later.
    pub(crate) unsaid: Vec<Unsaid>,
}

/// A telling of an opening that was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unsaid {
    /// The rule.
    pub(crate) rule_id: RuleId,
    /// The delivery that was suppressed.
    pub(crate) delivery_id: DeliveryId,
    /// The gate that stopped it.
    pub(crate) gate: Gate,
    /// Which telling it was.
    pub(crate) sequence: u32,
    /// When the gate no longer stops it, if that is known.
    pub(crate) until: Option<Timestamp>,
}

impl Case {
    pub(crate) fn new(subject: &Subject) -> Self {
        let endpoint_id = match subject {
            Subject::Endpoint(id) => *id,
            Subject::Alert(_) => EndpointId::from_bytes([0; 16]),
        };
        Self { state: EndpointState::new(endpoint_id), open: None }
    }

    /// The cause of the active incident.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.open.as_ref().map(|open| open.record.incident.cause)
    }
}

impl Unsaid {
    /// What of these deliveries of an opening may be said later.
    pub(crate) fn of_new(delivery: &NewDelivery) -> Option<Self> {
        let (gate, stop) = delivery.evaluation.stopped.as_ref()?;
        let is_late = gate.allows_deferred_delivery() && stop.effect == Effect::Suppress;
        Some(Self {
            rule_id: delivery.rule_id.filter(|_| is_late)?,
            delivery_id: delivery.id,
            gate: *gate,
            sequence: delivery.sequence,
            until: stop.until,
        })
    }

    fn of_told(told: &IncidentDelivery) -> Option<Self> {
        let (gate, stop) = told.evaluation.as_ref()?.stopped.as_ref()?;
        let is_late =
            told.status == Status::Suppressed && gate.allows_deferred_delivery() && stop.effect == Effect::Suppress;
        Some(Self {
            rule_id: told.rule_id.filter(|_| is_late)?,
            delivery_id: told.delivery_id,
            gate: *gate,
            sequence: told.sequence,
            until: stop.until,
        })
    }
}

fn is_opening(told: &IncidentDelivery) -> bool {
    told.trigger == Trigger::Incident(IncidentTrigger::Opened)
}

/// What was to tell of the opening, and was stopped. Of each rule only the last telling counts.
fn unsaid_of(told: &[IncidentDelivery]) -> Vec<Unsaid> {
    let is_last = |it: &&IncidentDelivery| !told.iter().any(|other| other.replaces_id == Some(it.delivery_id));
    told.iter().filter(|it| is_opening(it)).filter(is_last).filter_map(Unsaid::of_told).collect()
}

impl Incidents {
    /// Takes up an active incident as the store has it.
    pub(super) async fn resume(&self, case: &mut Case, record: IncidentRecord) -> Result<(), StoreError> {
        let incident = &record.incident;
        let told = self.0.store.incident_deliveries(incident.workspace_id, incident.id).await?;
        let unsaid = unsaid_of(&told);
        let opening = match told.iter().find(|it| is_opening(it)) {
            Some(first) => self.0.store.event(incident.workspace_id, first.event_id).await?,
            None => None,
        };
        if let Subject::Endpoint(id) = incident.subject {
            self.0.down.set(id, Some(incident.id));
        }
        case.open = Some(Open { record, opening: opening.map(|record| Arc::new(record.event)), unsaid });
        Ok(())
    }

    /// Learns anew what was to tell of the opening and was stopped: a gate may stop it as late as when it comes up.
    pub(super) async fn recall(&self, key: &Key, case: &mut Case) -> Result<(), StoreError> {
        let Some(open) = &mut case.open else { return Ok(()) };
        open.unsaid = unsaid_of(&self.0.store.incident_deliveries(key.0, open.record.incident.id).await?);
        Ok(())
    }

    /// Reads a case anew, when the store has it otherwise than was thought.
    pub(super) async fn reload(&self, key: &Key, case: &mut Case) -> Result<(), StoreError> {
        let (workspace_id, subject) = key;
        if let Subject::Endpoint(id) = subject {
            let states = self.0.store.endpoint_states(*workspace_id).await?;
            case.state = states.into_iter().find(|it| it.endpoint_id == *id).unwrap_or_else(|| EndpointState::new(*id));
            self.0.down.set(*id, None);
        }
        case.open = None;
        let filter = IncidentFilter {
            subject: Some(subject.clone()),
            status: Some(IncidentStatus::Active),
            limit: 1,
            ..IncidentFilter::default()
        };
        if let Some(record) = self.0.store.incidents(*workspace_id, filter).await?.pop() {
            self.resume(case, record).await?;
        }
        self.plan(key, case);
        Ok(())
    }
}
