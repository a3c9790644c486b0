//! Endpoints in responses: the definition without its secret, and the current status.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use tidings_domain::check::CheckStatus;
use tidings_domain::endpoint::{self, Definition};
use tidings_domain::id::{EndpointId, IncidentId};
use tidings_domain::time::Timestamp;
use tidings_store::monitoring::EndpointState;

use super::check::Check;
use crate::response::json;
use crate::revision::with_etag;

/// Enabled, but not checked yet.
const PENDING: &str = "pending";
/// Not monitored for now.
const PAUSED: &str = "paused";

/// Every status of an endpoint.
pub(crate) const STATUSES: [&str; 6] = [
    CheckStatus::Healthy.as_str(),
    CheckStatus::Degraded.as_str(),
    CheckStatus::Down.as_str(),
    CheckStatus::Inconclusive.as_str(),
    PENDING,
    PAUSED,
];

/// An endpoint with its monitoring state.
pub(crate) struct EndpointWithState {
    pub(crate) endpoint: endpoint::Endpoint,
    state: EndpointState,
}

impl EndpointWithState {
    pub(crate) fn new(endpoint: endpoint::Endpoint, state: EndpointState) -> Self {
        Self { endpoint, state }
    }

    pub(crate) fn status(&self) -> &'static str {
        match &self.state.last_check {
            _ if !self.endpoint.enabled => PAUSED,
            None => PENDING,
            Some(check) => check.status.as_str(),
        }
    }
}

/// The share of conclusive checks that were not `down`, from 0 to 1; none without such checks.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Uptime {
    pub(crate) last_24_hours: Option<f64>,
    pub(crate) last_30_days: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Endpoint<'a> {
    id: EndpointId,
    name: &'a str,
    #[serde(flatten)]
    definition: &'a Definition,
    enabled: bool,
    status: &'static str,
    last_check: Option<Check<'a>>,
    incident_id: Option<IncidentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime: Option<Uptime>,
    revision: u32,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> Endpoint<'a> {
    pub(crate) fn of(with_state: &'a EndpointWithState) -> Self {
        let EndpointWithState { endpoint, state } = with_state;
        Self {
            id: endpoint.id,
            name: &endpoint.name,
            definition: &endpoint.definition,
            enabled: endpoint.enabled,
            status: with_state.status(),
            last_check: state.last_check.as_ref().map(Check::of),
            incident_id: state.incident_id,
            uptime: None,
            revision: endpoint.revision,
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
        }
    }
}

#[derive(Serialize)]
struct EndpointResponse<'a> {
    endpoint: Endpoint<'a>,
}

/// The response to a write.
pub(crate) fn write_response(status: StatusCode, endpoint: &EndpointWithState) -> Response {
    let body = EndpointResponse { endpoint: Endpoint::of(endpoint) };
    with_etag(json(status, &body), endpoint.endpoint.revision)
}

/// The response to a read.
pub(crate) fn response(endpoint: &EndpointWithState, uptime: Uptime) -> Response {
    let body = Endpoint { uptime: Some(uptime), ..Endpoint::of(endpoint) };
    with_etag(json(StatusCode::OK, &body), endpoint.endpoint.revision)
}
