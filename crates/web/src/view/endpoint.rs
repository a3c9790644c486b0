//! Endpoints as they are shown: as they were written, without their secret, and how they stand.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use tidings_domain::check::CheckStatus;
use tidings_domain::endpoint::{self, Definition};
use tidings_domain::id::{EndpointId, IncidentId};
use tidings_domain::time::Timestamp;
use tidings_store::monitoring::EndpointState;

use super::check::Check;
use crate::answer::json;
use crate::revision::tagged;

/// It was never checked.
const PENDING: &str = "pending";
/// It is not watched for now.
const PAUSED: &str = "paused";

/// How an endpoint may stand.
pub(crate) const STATUSES: [&str; 6] = [
    CheckStatus::Healthy.as_str(),
    CheckStatus::Degraded.as_str(),
    CheckStatus::Down.as_str(),
    CheckStatus::Inconclusive.as_str(),
    PENDING,
    PAUSED,
];

/// An endpoint and what is remembered of it.
pub(crate) struct Seen {
    /// The endpoint.
    pub(crate) endpoint: endpoint::Endpoint,
    state: EndpointState,
}

impl Seen {
    pub(crate) fn new(endpoint: endpoint::Endpoint, state: EndpointState) -> Self {
        Self { endpoint, state }
    }

    /// How it stands, in a word.
    pub(crate) fn status(&self) -> &'static str {
        match &self.state.last_check {
            _ if !self.endpoint.enabled => PAUSED,
            None => PENDING,
            Some(check) => check.status.as_str(),
        }
    }
}

/// How much of its time an endpoint was up, from 0 to 1; none where no check says.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Uptime {
    pub(crate) last_24_hours: Option<f64>,
    pub(crate) last_30_days: Option<f64>,
}

/// An endpoint.
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
    pub(crate) fn of(seen: &'a Seen) -> Self {
        let Seen { endpoint, state } = seen;
        Self {
            id: endpoint.id,
            name: &endpoint.name,
            definition: &endpoint.definition,
            enabled: endpoint.enabled,
            status: seen.status(),
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
struct Body<'a> {
    endpoint: Endpoint<'a>,
}

/// The answer to a write.
pub(crate) fn written(status: StatusCode, seen: &Seen) -> Response {
    tagged(json(status, &Body { endpoint: Endpoint::of(seen) }), seen.endpoint.revision)
}

/// The answer that shows one.
pub(crate) fn shown(seen: &Seen, uptime: Uptime) -> Response {
    let shown = Endpoint { uptime: Some(uptime), ..Endpoint::of(seen) };
    tagged(json(StatusCode::OK, &shown), seen.endpoint.revision)
}
