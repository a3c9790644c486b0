//! Foretelling: who would hear of something that has not happened, when, and what stops the others. Asked by the very
//! functions that decide when it does happen.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_domain::delivery::Status;
use tidings_domain::event::{Content, Event, EventKind};
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{ChannelId, EndpointId, EventId, IncidentId, RuleId, WorkspaceId};
use tidings_domain::incident::{Cause, Incident, IncidentStart, IncidentTrigger, Subject, SubjectInfo};
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
use crate::fanout::{Decision, EndpointSituation, Situation, Telling, tell};
use crate::snapshot::WorkspaceView;

/// What might happen.
#[derive(Debug, Clone)]
pub enum SimulationRequest {
    /// A run ends.
    Run {
        /// The type of resource that ran.
        resource_type: ResourceType,
        /// The resource.
        resource_id: String,
        /// How it ends: [`Trigger::Success`] or [`Trigger::Failure`].
        trigger: Trigger,
        /// How it was started, if that is known.
        trigger_type: Option<TriggerType>,
    },
    /// Something happens to an endpoint's incident.
    Endpoint {
        /// The endpoint.
        id: EndpointId,
        /// What: an opening, that it gets worse, or its end.
        trigger: IncidentTrigger,
        /// Why it is out of order.
        cause: Cause,
    },
}

/// What would come of it.
#[derive(Debug)]
pub struct Simulation {
    /// The kind of the event that would tell of it.
    pub kind: EventKind,
    /// When it would happen.
    pub at: Timestamp,
    /// For each rule, or step of an escalation, that would be asked.
    pub deliveries: Vec<SimulatedDelivery>,
    /// The rules that would be passed over.
    pub not_routed: Vec<NotRouted>,
}

/// What would come of it for one rule.
#[derive(Debug)]
pub struct SimulatedDelivery {
    /// The rule.
    pub rule_id: Option<RuleId>,
    /// The channel.
    pub channel_id: ChannelId,
    /// The channel's name.
    pub channel_name: String,
    /// How bad it would be to the rule.
    pub severity: Severity,
    /// The evaluation through the gates; the rate limit is asked with what the channel has admitted by now.
    pub evaluation: GateEvaluation,
}

impl Engine {
    /// Who would hear of it at that instant, and what stops the others. Nothing is written or sent. A resolution without
    /// an incident is looked at as if its opening had come just before it.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for an unknown endpoint, and those of the store.
    pub async fn simulate(
        &self,
        workspace_id: WorkspaceId,
        question: SimulationRequest,
        at: Timestamp,
    ) -> Result<Simulation> {
        let view = self.view(workspace_id)?;
        let (kind, telling) = match question {
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
                };
                let kind = EventKind::of_run(resource_type, trigger);
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
                (kind, tell(&view, &event, Situation::default(), at))
            }
            SimulationRequest::Endpoint { id, trigger, cause } => {
                (trigger.event_kind(), self.simulate_incident(&view, id, trigger, cause, at).await?)
            }
        };
        let Telling { not_routed, decisions } = telling;
        let mut outlooks = Vec::with_capacity(decisions.len());
        for decision in decisions {
            outlooks.push(self.outlook(decision, at).await?);
        }
        Ok(Simulation { kind, at, deliveries: outlooks, not_routed })
    }

    async fn simulate_incident(
        &self,
        view: &Arc<WorkspaceView>,
        id: EndpointId,
        trigger: IncidentTrigger,
        cause: Cause,
        at: Timestamp,
    ) -> Result<Telling> {
        let live = view.endpoint(id).ok_or(EngineError::NotFound("endpoint"))?;
        let state = self.endpoint_state(view.workspace.id, id).await;
        let active = state.incident_id.filter(|_| trigger != IncidentTrigger::Opened);
        let event = |trigger: IncidentTrigger| {
            let opening = IncidentStart { subject: Subject::Endpoint(id), cause, detail: None, failing_since: at, at };
            let incident_id = active.unwrap_or_else(|| new_id::<IncidentId>(self.clock(), at));
            let incident = Incident::open(incident_id, view.workspace.id, opening);
            let about = SubjectInfo { name: live.endpoint.name.clone(), ..SubjectInfo::default() };
            Event {
                id: new_id::<EventId>(self.clock(), at),
                workspace_id: view.workspace.id,
                kind: trigger.event_kind(),
                resource_type: ResourceType::Endpoint,
                resource_id: id.to_string(),
                run_id: incident_id.to_string(),
                trigger: Trigger::Incident(trigger),
                received_at: at,
                content: Content::Incident(Box::new(incident.snapshot(about, at))),
            }
        };
        let parent_down = self.incidents().down().parent_of(view, live);
        let mut openings = state.openings.clone();
        let told = match active {
            Some(incident_id) => self.store().incident_deliveries(view.workspace.id, incident_id).await?,
            None if trigger == IncidentTrigger::Opened => Vec::new(),
            None => {
                let opened = event(IncidentTrigger::Opened);
                let endpoint = Some(EndpointSituation { live, parent_down, openings: &openings });
                let telling = tell(view, &opened, Situation { endpoint, told: &[] }, at);
                openings.extend(passed(&telling.decisions, at));
                telling.decisions.iter().map(|decision| as_told(&opened, decision)).collect()
            }
        };
        let endpoint = Some(EndpointSituation { live, parent_down, openings: &openings });
        Ok(tell(view, &event(trigger), Situation { endpoint, told: &told }, at))
    }

    async fn outlook(&self, decision: Decision, at: Timestamp) -> Result<SimulatedDelivery> {
        let Decision { rule, live, severity, evaluation, admission, .. } = decision;
        let evaluation = match admission {
            Some(admission) => self.store().preview_rate_limit(live.channel.id, admission, evaluation, at).await?,
            None => evaluation,
        };
        Ok(SimulatedDelivery {
            rule_id: rule.map(|rule| rule.id),
            channel_id: live.channel.id,
            channel_name: live.channel.name.clone(),
            severity,
            evaluation,
        })
    }
}

fn passed(decisions: &[Decision], at: Timestamp) -> BTreeMap<ChannelId, Timestamp> {
    let passed =
        decisions.iter().filter(|decision| decision.evaluation.is_open() || decision.evaluation.held().is_some());
    passed.map(|decision| (decision.live.channel.id, at)).collect()
}

/// What a decision would have become by the time of the resolution, if all went well.
fn as_told(event: &Event, decision: &Decision) -> IncidentDelivery {
    let status = if decision.evaluation.is_open() {
        Status::Sent
    } else if decision.evaluation.held().is_some() {
        Status::Held
    } else {
        Status::Suppressed
    };
    IncidentDelivery {
        delivery_id: tidings_domain::id::Id::from_bytes([0; 16]),
        event_id: event.id,
        trigger: event.trigger,
        rule_id: decision.rule.as_ref().map(|rule| rule.id),
        channel_id: decision.live.channel.id,
        status,
        evaluation: Some(decision.evaluation.clone()),
        held_until: decision.evaluation.held().map(|(_, until)| until),
        digest_id: None,
        sequence: 1,
        replaces_id: None,
        attempt_state: None,
    }
}
