//! `/endpoints`: monitored endpoints. Their rules for shared channels are in [`wiring`], their checks and summaries in
//! [`checks`], and tests of a definition that is not stored in [`test`].

pub mod bulk;
mod changes;
pub mod checks;
pub mod test;
mod validate;
pub mod wiring;

use serde::{Deserialize, Serialize};
use tidings_domain::check::CheckStatus;
use tidings_domain::endpoint::{self, Definition, ProbeType};
use tidings_domain::id::{EndpointId, IncidentId};
use tidings_domain::time::Timestamp;
use tidings_engine::snapshot::{LoadedEndpoint, WorkspaceView};
use tidings_store::monitoring::EndpointState;
use utoipa::ToSchema;

use crate::error::{AppError, Result};
use crate::principal::{Authorized, Read};
use crate::quotas::{self, Quota, QuotaUse};
use crate::response::Response;

pub(crate) use changes::replacement;
pub use changes::{EndpointCopy, copy, create, delete, edit, pause, resume};
use checks::Check;

/// The editable part of an endpoint: the body of a creation, and what an edit is merged over. Secrets are masked where it
/// is serialised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"name": "Production API", "type": "http", "url": "https://api.example.com/health"}))]
pub struct EndpointDraft {
    #[serde(default)]
    #[schema(required, min_length = 1, max_length = 100)]
    pub name: String,
    /// False while monitoring is paused.
    #[serde(default = "yes")]
    pub enabled: bool,
    #[serde(flatten)]
    pub definition: Definition,
}

const fn yes() -> bool {
    true
}

/// What an endpoint is like now: the status of its last check, `pending` before the first, and `paused`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndpointStatus {
    Healthy,
    Degraded,
    Down,
    /// The last check proved nothing about the endpoint.
    Inconclusive,
    /// Enabled, but not checked yet.
    Pending,
    /// Not monitored for now.
    Paused,
}

/// An endpoint with its present status.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    pub id: EndpointId,
    #[serde(flatten)]
    pub draft: EndpointDraft,
    pub status: EndpointStatus,
    pub last_check: Option<Check>,
    /// Its active incident.
    pub incident_id: Option<IncidentId>,
    /// Only where one endpoint is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime: Option<Uptime>,
    pub revision: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The share of conclusive checks that were not `down`, from 0 to 1; null without such checks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Uptime {
    #[serde(rename = "last24Hours")]
    pub last_24_hours: Option<f64>,
    #[serde(rename = "last30Days")]
    pub last_30_days: Option<f64>,
}

/// An endpoint that was created or changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointSaved {
    pub endpoint: Endpoint,
}

/// A page of endpoints, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointList {
    pub data: Vec<Endpoint>,
    /// The cursor of the next page; null on the last one.
    pub next_cursor: Option<EndpointId>,
    /// How many endpoints match the other conditions, by status.
    pub counts: EndpointCounts,
    pub quota: QuotaUse,
}

/// Endpoints by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct EndpointCounts {
    pub healthy: u32,
    pub degraded: u32,
    pub down: u32,
    pub inconclusive: u32,
    pub pending: u32,
    pub paused: u32,
}

/// Which endpoints to list. All conditions must hold.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointQuery {
    #[schema(minimum = 1, maximum = 200)]
    pub limit: u32,
    /// The `nextCursor` of the previous page.
    pub cursor: Option<EndpointId>,
    pub status: Option<EndpointStatus>,
    #[schema(max_length = 200)]
    pub tag: Option<String>,
    #[serde(rename = "type")]
    pub probe_type: Option<ProbeType>,
    /// A part of the name, of the URL or host, or of a tag; case does not matter.
    #[schema(max_length = 200)]
    pub q: Option<String>,
}

impl Default for EndpointQuery {
    fn default() -> Self {
        Self { limit: 50, cursor: None, status: None, tag: None, probe_type: None, q: None }
    }
}

impl Response for Endpoint {
    const IS_VERSIONED: bool = true;

    fn revision(&self) -> Option<u32> {
        Some(self.revision)
    }
}

impl Response for EndpointSaved {
    const IS_VERSIONED: bool = true;

    fn revision(&self) -> Option<u32> {
        Some(self.endpoint.revision)
    }
}

impl Response for EndpointList {}

impl EndpointDraft {
    fn of(endpoint: &endpoint::Endpoint) -> Self {
        let endpoint::Endpoint { name, enabled, definition, .. } = endpoint.clone();
        Self { name, enabled, definition }
    }
}

impl EndpointStatus {
    fn of(endpoint: &endpoint::Endpoint, last_check: Option<CheckStatus>) -> Self {
        match last_check {
            _ if !endpoint.enabled => Self::Paused,
            None => Self::Pending,
            Some(CheckStatus::Healthy) => Self::Healthy,
            Some(CheckStatus::Degraded) => Self::Degraded,
            Some(CheckStatus::Down) => Self::Down,
            Some(CheckStatus::Inconclusive) => Self::Inconclusive,
        }
    }
}

impl Endpoint {
    fn of(endpoint: &endpoint::Endpoint, state: &EndpointState) -> Self {
        Self {
            id: endpoint.id,
            draft: EndpointDraft::of(endpoint),
            status: EndpointStatus::of(endpoint, state.last_check.as_ref().map(|check| check.status)),
            last_check: state.last_check.as_ref().map(Check::of),
            incident_id: state.incident_id,
            uptime: None,
            revision: endpoint.revision,
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
        }
    }
}

impl EndpointCounts {
    const fn add(&mut self, status: EndpointStatus) {
        let count = match status {
            EndpointStatus::Healthy => &mut self.healthy,
            EndpointStatus::Degraded => &mut self.degraded,
            EndpointStatus::Down => &mut self.down,
            EndpointStatus::Inconclusive => &mut self.inconclusive,
            EndpointStatus::Pending => &mut self.pending,
            EndpointStatus::Paused => &mut self.paused,
        };
        *count += 1;
    }
}

impl EndpointQuery {
    /// Whether the definition matches. The status is apart, because it depends on the checks. `text` is in lower case.
    fn matches(&self, endpoint: &endpoint::Endpoint, text: &str) -> bool {
        let definition = &endpoint.definition;
        let contains = |other: &str| other.to_lowercase().contains(text);
        self.probe_type.is_none_or(|kind| kind == definition.probe.kind())
            && self.tag.as_ref().is_none_or(|tag| tag.is_empty() || definition.tags.contains(tag))
            && (contains(&endpoint.name)
                || definition.probe.target().is_some_and(|target| contains(&target))
                || definition.tags.iter().any(|tag| contains(tag)))
    }
}

/// Endpoints, newest first. Nothing is read from the store: the states are in memory.
///
/// # Errors
/// If the workspace was deleted meanwhile.
pub async fn list(by: &Authorized<Read>, query: EndpointQuery) -> Result<EndpointList> {
    let view = by.view()?;
    let (mut page, counts) = selected(by, &view, &query);
    let has_more = page.len() > query.limit as usize;
    page.truncate(query.limit as usize);
    let next_cursor = page.last().filter(|_| has_more).map(|endpoint| endpoint.id);
    let ids: Vec<_> = page.iter().map(|endpoint| endpoint.id).collect();
    let states = by.engine().endpoint_states(by.workspace_id(), &ids).await;
    let data = page.into_iter().zip(&states).map(|(endpoint, state)| Endpoint::of(endpoint, state)).collect();
    Ok(EndpointList { data, next_cursor, counts, quota: quotas::used(by, &view, Quota::Endpoints) })
}

/// All endpoints after the cursor that match, newest first; and how many match but for their status and the cursor.
fn selected<'a, P>(
    by: &Authorized<P>,
    view: &'a WorkspaceView,
    query: &EndpointQuery,
) -> (Vec<&'a endpoint::Endpoint>, EndpointCounts) {
    let text = query.q.as_deref().unwrap_or_default().to_lowercase();
    let endpoints = view.endpoints().map(|loaded| &loaded.endpoint);
    let mut matching: Vec<_> = endpoints.filter(|endpoint| query.matches(endpoint, &text)).collect();
    matching.sort_unstable_by_key(|endpoint| std::cmp::Reverse(endpoint.id));
    let statuses = by.engine().check_statuses(matching.iter().map(|endpoint| endpoint.id));
    let mut counts = EndpointCounts::default();
    let listed = matching.into_iter().zip(statuses).filter_map(|(endpoint, last)| {
        let status = EndpointStatus::of(endpoint, last);
        counts.add(status);
        let is_listed = query.status.is_none_or(|expected| expected == status)
            && query.cursor.is_none_or(|before| endpoint.id < before);
        is_listed.then_some(endpoint)
    });
    (listed.collect(), counts)
}

/// One endpoint, with its uptime of the last 24 hours and 30 days.
///
/// # Errors
/// If there is no such endpoint.
pub async fn one(by: &Authorized<Read>, id: EndpointId) -> Result<Endpoint> {
    let view = by.view()?;
    let endpoint = &found(&view, id)?.endpoint;
    let uptime = checks::uptime(by, id).await?;
    let state = by.engine().endpoint_state(by.workspace_id(), id).await;
    Ok(Endpoint { uptime: Some(uptime), ..Endpoint::of(endpoint, &state) })
}

/// The endpoint with this id.
fn found(view: &WorkspaceView, id: EndpointId) -> Result<&LoadedEndpoint> {
    view.endpoint(id).map(AsRef::as_ref).ok_or(AppError::not_found("endpoint"))
}

/// The answer to a change.
async fn saved<P>(by: &Authorized<P>, endpoint: &endpoint::Endpoint) -> EndpointSaved {
    let state = by.engine().endpoint_state(by.workspace_id(), endpoint.id).await;
    EndpointSaved { endpoint: Endpoint::of(endpoint, &state) }
}
