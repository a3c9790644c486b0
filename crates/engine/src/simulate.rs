//! Simulation: which deliveries an event would lead to, and which gates would stop the others. It uses the same functions
//! as the event pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_domain::delivery::Status;
use tidings_domain::event::{Content, Event, EventKind};
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{ChannelId, EndpointId, EventId, IncidentId, RuleId, WorkspaceId};
use tidings_domain::incident::{Cause, Incident, IncidentStart, IncidentTrigger, Notified, Subject, SubjectInfo};
use tidings_domain::resource::ResourceType;
use tidings_domain::routing::NotRouted;
use tidings_domain::run::Run;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::{Trigger, TriggerType};
use tidings_store::monitoring::IncidentDelivery;

use crate::Result;
use crate::clock::new_id;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::fanout::{FanOut, FanOutContext, PlannedDelivery, fan_out};
use crate::snapshot::WorkspaceView;

/// The event to simulate.
#[derive(Debug, Clone)]
pub enum SimulationRequest {
    /// A run ends.
    Run {
        resource_type: ResourceType,
        resource_id: String,
        /// [`Trigger::Success`] or [`Trigger::Failure`].
        trigger: Trigger,
        /// How the run was started, if that is known.
        trigger_type: Option<TriggerType>,
    },
    /// An endpoint's incident is opened, gets worse or is resolved.
    Endpoint { id: EndpointId, trigger: IncidentTrigger, cause: Cause },
}

/// The result of a simulation.
#[derive(Debug)]
pub struct Simulation {
    pub kind: EventKind,
    pub at: Timestamp,
    /// One for each rule or escalation step that would get a delivery: sent, held or suppressed.
    pub deliveries: Vec<SimulatedDelivery>,
    /// Rules that would get no delivery, with the reason.
    pub not_routed: Vec<NotRouted>,
}

/// A delivery that would be planned.
#[derive(Debug)]
pub struct SimulatedDelivery {
    /// None for an escalation step.
    pub rule_id: Option<RuleId>,
    pub channel_id: ChannelId,
    pub channel_name: String,
    pub severity: Severity,
    /// The rate limit is evaluated with what the channel has admitted by now.
    pub evaluation: GateEvaluation,
}

impl Engine {
    /// Simulates an event at this instant. Nothing is written or sent. A resolution without an active incident is evaluated
    /// as if its opening had happened just before it.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for an unknown endpoint, and those of the store.
    pub async fn simulate(
        &self,
        workspace_id: WorkspaceId,
        request: SimulationRequest,
        at: Timestamp,
    ) -> Result<Simulation> {
        let view = self.view(workspace_id)?;
        let (kind, result) = match request {
            SimulationRequest::Run { resource_type, resource_id, trigger, trigger_type } => {
                let run = Run {
                    resource_name: None,
                    trigger_type,
                    started_at: None,
                    completed_at: at,
                    duration_ms: None,
                    row_count: None,
                    error_message: None,
                    output: None,
                    deep_link: None,
                    truncated: Vec::new(),
                };
                let kind = EventKind::for_run(resource_type, trigger);
                let event = Event {
                    id: new_id::<EventId>(self.clock(), at),
                    workspace_id,
                    kind,
                    resource_type,
                    resource_id,
                    run_id: "simulated".to_owned(),
                    trigger,
                    received_at: at,
                    content: Content::Run(run),
                };
                (kind, fan_out(&view, &event, FanOutContext::default(), at))
            }
            SimulationRequest::Endpoint { id, trigger, cause } => {
                (trigger.event_kind(), self.simulate_incident(&view, id, trigger, cause, at).await?)
            }
        };
        let FanOut { not_routed, planned } = result;
        let mut deliveries = Vec::with_capacity(planned.len());
        for planned in planned {
            deliveries.push(self.simulated_delivery(planned, at).await?);
        }
        Ok(Simulation { kind, at, deliveries, not_routed })
    }

    async fn simulate_incident(
        &self,
        view: &Arc<WorkspaceView>,
        id: EndpointId,
        trigger: IncidentTrigger,
        cause: Cause,
        at: Timestamp,
    ) -> Result<FanOut> {
        let loaded = view.endpoint(id).ok_or(EngineError::NotFound("endpoint"))?;
        let state = self.endpoint_state(view.workspace.id, id).await;
        let active = state.incident_id.filter(|_| trigger != IncidentTrigger::Opened);
        let event = |trigger: IncidentTrigger| {
            let start = IncidentStart { subject: Subject::Endpoint(id), cause, detail: None, failing_since: at, at };
            let incident_id = active.unwrap_or_else(|| new_id::<IncidentId>(self.clock(), at));
            let severity = loaded.endpoint.definition.severity_of(cause);
            let incident = Incident { severity, ..Incident::open(incident_id, view.workspace.id, start) };
            let info = SubjectInfo { name: loaded.endpoint.name.clone(), ..SubjectInfo::default() };
            Event {
                id: new_id::<EventId>(self.clock(), at),
                workspace_id: view.workspace.id,
                kind: trigger.event_kind(),
                resource_type: ResourceType::Endpoint,
                resource_id: id.to_string(),
                run_id: incident_id.to_string(),
                trigger: Trigger::Incident(trigger),
                received_at: at,
                content: Content::Incident(Box::new(incident.snapshot(info, at))),
            }
        };
        let endpoint = Some(self.incidents().active().endpoint_context(view, loaded));
        let mut last_openings = state.last_openings.clone();
        let notified = match active {
            Some(incident_id) => self.store().notified_channels(view.workspace.id, incident_id).await?,
            None => Notified::new(),
        };
        let earlier = match active {
            Some(incident_id) => self.store().incident_deliveries(view.workspace.id, incident_id).await?,
            None if trigger == IncidentTrigger::Opened => Vec::new(),
            None => {
                let opened = event(IncidentTrigger::Opened);
                let context =
                    FanOutContext { endpoint, last_openings: Some(&last_openings), ..FanOutContext::default() };
                let planned = fan_out(view, &opened, context, at).planned;
                last_openings.extend(passed_openings(&planned, at));
                planned.iter().map(|planned| as_delivered(&opened, planned)).collect()
            }
        };
        let notified = Some(&notified);
        let context = FanOutContext { endpoint, last_openings: Some(&last_openings), earlier: &earlier, notified };
        Ok(fan_out(view, &event(trigger), context, at))
    }

    async fn simulated_delivery(&self, planned: PlannedDelivery, at: Timestamp) -> Result<SimulatedDelivery> {
        let PlannedDelivery { rule, channel: loaded, severity, evaluation, rate_limit, .. } = planned;
        let evaluation = match rate_limit {
            Some(request) => self.store().preview_rate_limit(loaded.channel.id, request, evaluation, at).await?,
            None => evaluation,
        };
        Ok(SimulatedDelivery {
            rule_id: rule.map(|rule| rule.id),
            channel_id: loaded.channel.id,
            channel_name: loaded.channel.name.clone(),
            severity,
            evaluation,
        })
    }
}

/// The channels whose cooldown would start with these openings.
fn passed_openings(planned: &[PlannedDelivery], at: Timestamp) -> BTreeMap<ChannelId, Timestamp> {
    let passed = planned.iter().filter(|planned| planned.evaluation.is_open() || planned.evaluation.held().is_some());
    passed.map(|planned| (planned.channel.channel.id, at)).collect()
}

/// The planned delivery as it would be at the time of the resolution if every attempt succeeded.
fn as_delivered(event: &Event, planned: &PlannedDelivery) -> IncidentDelivery {
    let status = if planned.evaluation.is_open() {
        Status::Sent
    } else if planned.evaluation.held().is_some() {
        Status::Held
    } else {
        Status::Suppressed
    };
    IncidentDelivery {
        delivery_id: tidings_domain::id::Id::from_bytes([0; 16]),
        event_id: event.id,
        trigger: event.trigger,
        rule_id: planned.rule.as_ref().map(|rule| rule.id),
        channel_id: planned.channel.channel.id,
        status,
        evaluation: Some(planned.evaluation.clone()),
        held_until: planned.evaluation.held().map(|(_, until)| until),
        digest_id: None,
        sequence: 1,
        replaces_id: None,
        attempt_state: None,
    }
}
