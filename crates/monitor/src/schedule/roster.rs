//! What the scheduler is told, and whom it tells: everything that is watched, and what was seen of it.
//!
//! In the way of an event this stands between the settings, which say what is watched, and the judgement of what was
//! seen. The scheduler knows neither the store nor the engine; whoever has them stands behind [`EndpointSource`].

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidings_domain::check::Observation;
use tidings_domain::endpoint::Definition;
use tidings_domain::id::{EndpointId, WorkspaceId};
use tidings_domain::secret::Secret;
use tidings_domain::time::Timestamp;

use crate::USER_AGENT;
use crate::prober::Prober;

/// One endpoint that is watched, as it stood when the roster was made.
#[derive(Debug, Clone)]
pub struct MonitoredEndpoint {
    /// Which endpoint.
    pub id: EndpointId,
    /// Whose it is.
    pub workspace_id: WorkspaceId,
    /// The endpoint's revision: an observation belongs to the definition of this one.
    pub revision: u32,
    /// What is watched, how often, and how long one probe may take.
    pub definition: Arc<Definition>,
    /// The opened secret of its `auth`.
    pub secret: Option<Secret>,
    /// When its last check began, as far as is known. It is heeded once, when the scheduler starts.
    pub last_checked_at: Option<Timestamp>,
}

/// Everything that is watched: what is paused or deleted is not in it.
#[derive(Debug, Clone, Default)]
pub struct EndpointSet {
    /// Another number whenever the list is another. A check changes nothing in it.
    pub version: u64,
    /// The endpoints, in any order. One that did not change is best the same `Arc` as before.
    pub endpoints: Vec<Arc<MonitoredEndpoint>>,
}

/// What the scheduler needs to know, and whom it tells.
#[async_trait]
pub trait EndpointSource: Send + Sync + 'static {
    /// Everything that is watched now. Asked when something changed, and once a second; it must be cheap.
    fn endpoints(&self) -> Arc<EndpointSet>;

    /// Resolves as soon as the version is not (or may not be) this one. Nothing is lost if it never does: the version
    /// is looked at once a second, too.
    async fn changed(&self, version: u64);

    /// Takes what was seen of an endpoint; resolves when it is written down. What goes wrong is logged by whoever is
    /// behind this; the schedule goes on.
    ///
    /// The next probe of the endpoint begins only after it, so that observations of one endpoint come in their order.
    /// An observation may hold a body: judge it before waiting for anything. The endpoint may have been edited, paused
    /// or deleted meanwhile.
    async fn observed(&self, watch: &MonitoredEndpoint, observation: Observation);
}

/// Looks at an endpoint once: the [`Prober`], or what stands for it in tests.
#[async_trait]
pub trait EndpointProber: Send + Sync + 'static {
    /// What is seen. `now` is the time of day. Dropped before its end it must leave nothing behind.
    async fn look(&self, watch: &MonitoredEndpoint, now: Timestamp) -> Observation;
}

#[async_trait]
impl EndpointProber for Prober {
    async fn look(&self, watch: &MonitoredEndpoint, now: Timestamp) -> Observation {
        let definition = &watch.definition;
        let timeout = Duration::from_millis(definition.timeout_ms.into());
        self.probe(&definition.probe, watch.secret.as_ref(), timeout, USER_AGENT, now).await
    }
}
