//! `/endpoints/test`: probes an endpoint at once and returns the full result. Nothing is stored.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_channels::egress::DialOptions;
use tidings_domain::check::{Assertion, AssertionResult, judge};
use tidings_domain::endpoint::{self, Definition};
use tidings_domain::id::EndpointId;
use tidings_monitor::USER_AGENT;
use utoipa::ToSchema;

use super::checks::CheckFacts;
use super::validate::{completed, reference_violations};
use super::{found, yes};
use crate::contract;
use crate::error::{AppError, Result};
use crate::principal::{Authorized, SendNow};
use crate::response::Response;

/// Why an external endpoint has no test.
const NOT_PROBED: &str = "is external: it is not probed, its checks are reported to POST /endpoints/{id}/checks";

/// A definition to probe: a stored endpoint, with the other fields put over it, or one that is not stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"type": "http", "url": "https://api.example.com/health"}))]
pub struct EndpointTest {
    /// A stored endpoint.
    pub endpoint_id: Option<EndpointId>,
    /// Has no effect on the test, so that the draft of an endpoint can be sent as it is.
    #[serde(default)]
    #[schema(max_length = 100)]
    pub name: String,
    /// Has no effect on the test, either.
    #[serde(default = "yes")]
    pub enabled: bool,
    #[serde(flatten)]
    pub definition: Definition,
}

/// The result of a test: a check, with the definition of each assertion beside its result.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointTestResult {
    #[serde(flatten)]
    pub facts: CheckFacts,
    pub assertions: Vec<TestedAssertion>,
}

/// An assertion with its result.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestedAssertion {
    #[serde(flatten)]
    pub assertion: Assertion,
    #[serde(flatten)]
    pub result: AssertionResult,
}

impl Response for EndpointTestResult {}

/// Probes a stored endpoint (`endpointId`), with the other fields of the request merged over its definition, or the
/// definition in the request.
///
/// # Errors
/// [`AppError::Invalid`], [`AppError::Busy`], and if there is no such endpoint.
pub async fn test(by: &Authorized<SendNow>, request: &Map<String, Value>) -> Result<EndpointTestResult> {
    let view = by.view()?;
    let stored = match request.get("endpointId") {
        None | Some(Value::Null) => None,
        Some(id) => {
            let id = id.as_str().and_then(|id| id.parse::<EndpointId>().ok());
            let id = id.ok_or_else(|| AppError::invalid("/endpointId", "must be an endpoint's id, such as ep_…"))?;
            Some(&found(&view, id)?.endpoint)
        }
    };
    let mut input = match stored {
        None => contract::read::<EndpointTest>(Value::Object(request.clone()))?,
        Some(endpoint) => {
            let endpoint::Endpoint { id, name, enabled, definition, .. } = endpoint.clone();
            contract::merge(&EndpointTest { endpoint_id: Some(id), name, enabled, definition }, request)?
        }
    };
    if input.value.definition.probe.is_external() {
        let at = if request.contains_key("type") { "/type" } else { "/endpointId" };
        return Err(AppError::invalid(at, NOT_PROBED));
    }
    let id = stored.map(|endpoint| endpoint.id);
    let violations = reference_violations(&view, &input.value.definition, id);
    input.refuse(violations);
    let stored = stored.map(|endpoint| &endpoint.definition);
    let violations = completed(by, &mut input.value.definition, stored);
    input.refuse(violations);
    let violations = endpoint::violations(&input.value.definition, None, 1);
    input.refuse(violations);
    let definition = input.finish()?.definition;
    let _slot = by.endpoint_test_slot()?;
    // Fresh: a test shows what new clients meet now, and the certificate of now.
    let dial = DialOptions { workspace: Some(by.workspace_id()), fresh: true };
    let observation = by.prober().probe(&definition, USER_AGENT, by.now(), dial).await;
    let check = judge(&definition, &observation);
    let assertions = check.assertions.iter().filter_map(|result| {
        let assertion = definition.assertions.get(result.index)?.clone();
        Some(TestedAssertion { assertion, result: result.clone() })
    });
    Ok(EndpointTestResult { assertions: assertions.collect(), facts: CheckFacts::of(&check) })
}
