//! `/simulate`: the deliveries that a run or an incident would create, with the verdict of each gate. Stores nothing.

use serde::{Deserialize, Serialize};
use tidings_domain::event::EventKind;
use tidings_domain::id::{ChannelId, EndpointId, RuleId};
use tidings_domain::incident::{Cause, IncidentTrigger};
use tidings_domain::resource::ResourceType;
use tidings_domain::routing::NotRouted;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::TriggerType;
use tidings_domain::violation::Violation;
use tidings_engine::SimulationRequest as EngineRequest;
use utoipa::ToSchema;

use crate::contract::Input;
use crate::error::{AppError, Result};
use crate::principal::{Authorized, Simulate};
use crate::response::Response;
use crate::runs::{RunStatus, resource_id_fault};
use crate::schemas;
use crate::verdict::{Verdict, verdicts};

/// How far from now the simulated instant may be: a year.
const OFFSET_MS_MAX: u64 = 366 * 86_400_000;

/// What to simulate: a run, or an incident of an endpoint.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(example = json!({"run": {"resourceType": "flow", "resourceId": "import-orders", "status": "failure"}}))]
pub struct SimulationRequest {
    /// When it happens: within a year of now, which is the default.
    pub at: Option<Timestamp>,
    /// A run that ends; instead of `endpoint`.
    pub run: Option<SimulatedRun>,
    /// An incident; instead of `run`.
    pub endpoint: Option<SimulatedIncident>,
}

/// A run to simulate.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SimulatedRun {
    #[schema(required, schema_with = schemas::run_type)]
    pub resource_type: ResourceType,
    #[schema(required, schema_with = schemas::resource_id)]
    pub resource_id: String,
    pub status: RunStatus,
    pub trigger_type: Option<TriggerType>,
}

/// An incident to simulate.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct SimulatedIncident {
    /// The endpoint.
    pub id: EndpointId,
    pub event: SimulatedEvent,
    /// By default `endpoint_down`.
    pub cause: Option<SimulatedCause>,
}

/// What happens to an incident.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SimulatedEvent {
    Opened,
    Resolved,
    Worsened,
}

/// The cause of an incident.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SimulatedCause {
    EndpointDown,
    EndpointDegraded,
}

/// What would happen.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Simulation {
    /// The kind of the event.
    pub kind: EventKind,
    pub at: Timestamp,
    pub deliveries: Vec<SimulatedDelivery>,
    /// The rules that would make no delivery, with the reason.
    pub not_routed: Vec<NotRouted>,
}

/// The delivery that a rule would make.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SimulatedDelivery {
    /// Null for a step of an escalation.
    pub rule_id: Option<RuleId>,
    pub channel_id: ChannelId,
    pub channel_name: String,
    pub severity: Severity,
    pub outcome: SimulatedOutcome,
    /// Of one that is held: until when.
    pub until: Option<Timestamp>,
    /// The gate that stops it.
    pub reason: Option<String>,
    /// The reason, for people.
    pub detail: Option<String>,
    pub verdicts: Vec<Verdict>,
}

/// What would become of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SimulatedOutcome {
    Send,
    Hold,
    Suppress,
}

impl Response for Simulation {}

impl SimulatedDelivery {
    fn of(delivery: tidings_engine::SimulatedDelivery) -> Self {
        let verdicts = verdicts(&delivery.evaluation).collect();
        let stopped = delivery.evaluation.stopped.as_ref();
        let outcome = match stopped {
            None => SimulatedOutcome::Send,
            Some(_) if delivery.evaluation.held().is_some() => SimulatedOutcome::Hold,
            Some(_) => SimulatedOutcome::Suppress,
        };
        Self {
            rule_id: delivery.rule_id,
            channel_id: delivery.channel_id,
            channel_name: delivery.channel_name,
            severity: delivery.severity,
            outcome,
            until: stopped.and_then(|(_, stop)| stop.until),
            reason: stopped.map(|(gate, _)| gate.reason().to_owned()),
            detail: stopped.map(|(_, stop)| stop.detail.clone()),
            verdicts,
        }
    }
}

/// Simulates a run, or an incident of an endpoint.
///
/// # Errors
/// [`AppError::Invalid`], and those of the store.
pub async fn simulate(by: &Authorized<Simulate>, mut input: Input<SimulationRequest>) -> Result<Simulation> {
    let now = by.now();
    let at = input.value.at.unwrap_or(now);
    if at.since_ms(now).max(now.since_ms(at)) > OFFSET_MS_MAX {
        input.refuse_field("/at", "must be within a year of now");
    }
    match (&input.value.run, &input.value.endpoint) {
        (Some(_), Some(_)) => {
            input.refuse_field("/endpoint", "must not be combined with run: a request simulates one event");
        }
        // One that is there, but invalid, is none here.
        (None, None) if !input.is_refused("/run") && !input.is_refused("/endpoint") => {
            input.refuse_field("", "must contain run or endpoint");
        }
        (Some(run), _) => {
            let fault = resource_id_fault(&run.resource_id);
            input.refuse(fault.map(|fault| Violation::new("/run/resourceId", fault)));
        }
        (_, Some(incident)) if by.view()?.endpoint(incident.id).is_none() => {
            input.refuse_field("/endpoint/id", "there is no such endpoint in this workspace");
        }
        _ => {}
    }
    let SimulationRequest { run, endpoint, .. } = input.finish()?;
    let request = match (run, endpoint) {
        (Some(SimulatedRun { resource_type, resource_id, status, trigger_type }), _) => {
            EngineRequest::Run { resource_type, resource_id, trigger: status.trigger(), trigger_type }
        }
        (None, Some(SimulatedIncident { id, event, cause })) => {
            let trigger = match event {
                SimulatedEvent::Opened => IncidentTrigger::Opened,
                SimulatedEvent::Resolved => IncidentTrigger::Resolved,
                SimulatedEvent::Worsened => IncidentTrigger::Worsened,
            };
            let cause = match cause {
                Some(SimulatedCause::EndpointDegraded) => Cause::EndpointDegraded,
                Some(SimulatedCause::EndpointDown) | None => Cause::EndpointDown,
            };
            EngineRequest::Endpoint { id, trigger, cause }
        }
        (None, None) => return Err(AppError::invalid("", "must contain run or endpoint")),
    };
    let tidings_engine::Simulation { kind, at, deliveries, not_routed } =
        by.engine().simulate(by.workspace_id(), request, at).await?;
    let deliveries = deliveries.into_iter().map(SimulatedDelivery::of).collect();
    Ok(Simulation { kind, at, deliveries, not_routed })
}
