//! `/simulate`: the deliveries that a run or an incident would create, with the verdict of each gate. Stores nothing.

use tidings_domain::id::EndpointId;
use tidings_domain::incident::{Cause, IncidentTrigger};
use tidings_domain::resource::ResourceType;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::{TRIGGER_TYPE_FORM, Trigger, TriggerType};
use tidings_engine::SimulationRequest;

use crate::auth::{Authorized, Write};
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::query::INSTANT_FORM;
use crate::response::{ApiResult, ok};
use crate::view::simulate::Simulation;

use super::runs::{RUN_STATUS_FORM, resource_id_fault};

/// How far from now the simulated instant may be: a year.
const OFFSET_MS_MAX: u64 = 366 * 86_400_000;

/// Simulates a run, or an incident of an endpoint.
pub(super) async fn simulate(caller: Authorized<Write>, object: Object) -> ApiResult {
    let now = caller.now();
    let mut fields = Fields::null_as_absent(object);
    let at = fields.parsed("at", INSTANT_FORM, Timestamp::parse).unwrap_or(now);
    if at.since_ms(now).max(now.since_ms(at)) > OFFSET_MS_MAX {
        fields.refuse("at", "must be within a year of now");
    }
    if fields.has("run") && fields.has("endpoint") {
        fields.refuse("endpoint", "must not be combined with run: a request simulates one event");
    } else if !fields.has("run") && !fields.has("endpoint") {
        fields.refuse_whole("must contain run or endpoint");
    }
    let exists = |id| caller.engine().endpoint(caller.workspace_id(), id).is_ok();
    let run = fields.nested("run", run);
    let request = run.or(fields.nested("endpoint", |fields| endpoint(fields, exists)));
    let request = fields.finish(|| request)?;
    ok(&Simulation::of(&caller.engine().simulate(caller.workspace_id(), request, at).await?))
}

fn run(fields: &mut Fields) -> Option<SimulationRequest> {
    let types = one_of(ResourceType::OF_RUNS.map(ResourceType::as_str));
    let resource_type = fields.parsed("resourceType", &types, ResourceType::parse_run_type);
    let resource_type = fields.required("resourceType", resource_type);
    let resource_id = fields.external_id("resourceId", resource_id_fault);
    let resource_id = fields.required("resourceId", resource_id);
    let trigger = fields.parsed("status", RUN_STATUS_FORM, Trigger::parse_run);
    let trigger = fields.required("status", trigger);
    let trigger_type = fields.parsed("triggerType", TRIGGER_TYPE_FORM, TriggerType::parse);
    Some(SimulationRequest::Run {
        resource_type: resource_type?,
        resource_id: resource_id?,
        trigger: trigger?,
        trigger_type,
    })
}

fn endpoint(fields: &mut Fields, exists: impl FnOnce(EndpointId) -> bool) -> Option<SimulationRequest> {
    const CAUSES: [Cause; 2] = [Cause::EndpointDown, Cause::EndpointDegraded];
    let id = fields.parsed("id", "must be an endpoint's id, such as ep_…", |text| text.parse().ok());
    let id = fields.required("id", id);
    if id.is_some_and(|id| !exists(id)) {
        fields.refuse("id", "there is no such endpoint in this workspace");
    }
    let trigger = fields.parsed("event", "must be opened, resolved or worsened", |word| match word {
        "opened" => Some(IncidentTrigger::Opened),
        "resolved" => Some(IncidentTrigger::Resolved),
        "worsened" => Some(IncidentTrigger::Worsened),
        _ => None,
    });
    let trigger = fields.required("event", trigger);
    let named = |word: &str| Cause::parse(word).filter(|cause| CAUSES.contains(cause));
    let cause = fields.parsed("cause", &one_of(CAUSES.map(Cause::as_str)), named).unwrap_or(Cause::EndpointDown);
    Some(SimulationRequest::Endpoint { id: id?, trigger: trigger?, cause })
}
