//! The scheduler's ports: where endpoints come from, who probes them, and where observations go.
//!
//! The scheduler depends on neither store nor engine; [`EndpointSource`] hides both.

use std::sync::Arc;

use async_trait::async_trait;
use tidings_channels::egress::DialOptions;
use tidings_domain::check::Observation;
use tidings_domain::endpoint::Definition;
use tidings_domain::id::{EndpointId, WorkspaceId};
use tidings_domain::time::Timestamp;

use crate::USER_AGENT;
use crate::prober::Prober;

/// An endpoint on schedule, as of the set that it is part of.
#[derive(Debug, Clone)]
pub struct MonitoredEndpoint {
    pub id: EndpointId,
    pub workspace_id: WorkspaceId,
    /// Revision of the endpoint that `definition` is from.
    pub revision: u32,
    /// Probe with its secrets, interval and timeout.
    pub definition: Arc<Definition>,
    /// Start of its last check, if known. Only used when the scheduler starts.
    pub last_checked_at: Option<Timestamp>,
}

/// All endpoints on schedule. Paused and deleted ones are not included.
#[derive(Debug, Clone, Default)]
pub struct EndpointSet {
    /// Changes whenever `endpoints` changes. Checks do not change it.
    pub version: u64,
    /// In any order. An unchanged endpoint should keep its `Arc`: the scheduler then need not compare it.
    pub endpoints: Vec<Arc<MonitoredEndpoint>>,
}

/// Supplies endpoints to the scheduler and takes observations from it.
#[async_trait]
pub trait EndpointSource: Send + Sync + 'static {
    /// The current set. Called after each change and once a second, so it must be cheap.
    fn endpoints(&self) -> Arc<EndpointSet>;

    /// Resolves when the version differs (or may differ) from this one. It may be missed without harm, because the
    /// scheduler also polls the version once a second.
    async fn changed(&self, version: u64);

    /// Persists an observation and resolves when that is done. Errors are logged by the implementation; the schedule
    /// continues.
    ///
    /// The endpoint's next probe starts only afterwards, so observations of one endpoint arrive in order. An
    /// observation may hold a response body: evaluate it before waiting for anything, so that its memory is freed. The
    /// endpoint may have been edited, paused or deleted in the meantime.
    async fn record(&self, endpoint: &MonitoredEndpoint, observation: Observation);
}

/// Probes an endpoint: the [`Prober`], or a fake in tests.
#[async_trait]
pub trait EndpointProber: Send + Sync + 'static {
    /// Makes one probe at wall-clock time `now`. Must be cancel-safe.
    async fn probe_once(&self, endpoint: &MonitoredEndpoint, now: Timestamp) -> Observation;
}

#[async_trait]
impl EndpointProber for Prober {
    async fn probe_once(&self, endpoint: &MonitoredEndpoint, now: Timestamp) -> Observation {
        let dial = DialOptions { workspace: Some(endpoint.workspace_id), fresh: false };
        self.probe(&endpoint.definition, USER_AGENT, now, dial).await
    }
}
