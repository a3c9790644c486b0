//! `/endpoints/test`: probes an endpoint at once and returns the full result. Nothing is stored.

use tidings_channels::egress::DialOptions;
use tidings_domain::check::judge;
use tidings_domain::endpoint::violations;
use tidings_domain::id::EndpointId;
use tidings_engine::EngineError;
use tidings_engine::settings::endpoints::EndpointDraft;
use tidings_monitor::USER_AGENT;

use super::{draft, ensure_probe_supported};
use crate::auth::{Authorized, Write};
use crate::body::Object;
use crate::problem::Problem;
use crate::response::{ApiResult, ok};
use crate::view::check::test_result;

/// Why an external endpoint has no test.
const NOT_PROBED: &str = "is external: it is not probed, its checks are reported to POST /endpoints/{id}/checks";

/// Probes a stored endpoint (`endpointId`), with the other fields merged over its definition, or a definition that is not
/// stored.
pub(in crate::api) async fn test(caller: Authorized<Write>, Object(mut object): Object) -> ApiResult {
    let pointer = if object.contains_key("type") { "/type" } else { "/endpointId" };
    let before = match object.remove("endpointId") {
        None | Some(serde_json::Value::Null) => None,
        Some(id) => {
            let id = id.as_str().and_then(|id| id.parse::<EndpointId>().ok());
            let id =
                id.ok_or_else(|| Problem::invalid_field("/endpointId", "must be an endpoint's id, such as ep_…"))?;
            Some(EndpointDraft::of(&*caller.engine().endpoint(caller.workspace_id(), id)?))
        }
    };
    let draft = draft::test(Object(object), before).map_err(EngineError::Invalid)?;
    if draft.definition.probe.is_external() {
        return Err(Problem::invalid_field(pointer, NOT_PROBED));
    }
    let mut found = violations(&draft.definition, None, 1);
    found.extend(caller.engine().policy_violation(&draft.definition));
    if !found.is_empty() {
        return Err(Problem::invalid(found));
    }
    ensure_probe_supported(caller.prober(), &draft.definition)?;
    let _slot = caller.endpoint_test_slot()?;
    let (definition, secret) = (&draft.definition, draft.secret.as_ref());
    // Fresh: a test shows what new clients meet now, and the certificate of now.
    let dial = DialOptions { workspace: Some(caller.workspace_id()), fresh: true };
    let observation = caller.prober().probe(definition, secret, USER_AGENT, caller.now(), dial).await;
    ok(&test_result(definition, &judge(definition, &observation)))
}
