//! The watchman: stands between the schedule and the engine. What the engine's snapshot holds is on the roster; what was
//! seen goes to the engine, which judges it and commits it with all that follows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tidings_domain::check::Observation;
use tidings_domain::id::{EndpointId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_engine::snapshot::LoadedEndpoint;
use tidings_engine::{Engine, EngineError};

use crate::schedule::{EndpointSet, EndpointSource, MonitoredEndpoint};

/// The endpoints of one workspace, as the engine shares them between snapshots.
type Endpoints = Arc<HashMap<EndpointId, Arc<LoadedEndpoint>>>;

/// Shows the engine's endpoints to the schedule.
pub struct EngineEndpointSource {
    engine: Engine,
    /// When the last check of each endpoint began, as it was at the start.
    last_checks: HashMap<EndpointId, Timestamp>,
    shown: Mutex<Shown>,
}

/// What was shown last, and what it was made of.
#[derive(Default)]
struct Shown {
    of: Vec<(WorkspaceId, Endpoints)>,
    watched: Arc<EndpointSet>,
    by_id: HashMap<EndpointId, Arc<MonitoredEndpoint>>,
}

impl EngineEndpointSource {
    /// A watchman for this engine.
    pub async fn new(engine: Engine) -> Self {
        let last_checks = engine.last_checks().await;
        Self { engine, last_checks, shown: Mutex::default() }
    }

    fn watch(&self, live: &LoadedEndpoint) -> MonitoredEndpoint {
        let endpoint = &live.endpoint;
        MonitoredEndpoint {
            id: endpoint.id,
            workspace_id: endpoint.workspace_id,
            revision: endpoint.revision,
            definition: Arc::new(endpoint.definition.clone()),
            secret: live.secret.clone(),
            last_checked_at: self.last_checks.get(&endpoint.id).copied(),
        }
    }

    fn show(&self, shown: &mut Shown, of: Vec<(WorkspaceId, Endpoints)>) {
        let mut by_id = HashMap::with_capacity(shown.by_id.len());
        let enabled = of.iter().flat_map(|(_, endpoints)| endpoints.values()).filter(|live| live.endpoint.enabled);
        for live in enabled {
            let known = shown.by_id.get(&live.endpoint.id).filter(|known| known.revision == live.endpoint.revision);
            let watch = known.map_or_else(|| Arc::new(self.watch(live)), Arc::clone);
            by_id.insert(live.endpoint.id, watch);
        }
        let version = shown.watched.version + 1;
        shown.watched = Arc::new(EndpointSet { version, endpoints: by_id.values().cloned().collect() });
        (shown.of, shown.by_id) = (of, by_id);
    }
}

#[async_trait]
impl EndpointSource for EngineEndpointSource {
    fn endpoints(&self) -> Arc<EndpointSet> {
        let of = self.engine.watched();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |((id, one), (other_id, other)): (&(WorkspaceId, Endpoints), &(WorkspaceId, Endpoints))| {
            id == other_id && Arc::ptr_eq(one, other)
        };
        let is_shown = shown.of.len() == of.len() && shown.of.iter().zip(&of).all(is_same);
        if !is_shown || shown.watched.version == 0 {
            self.show(&mut shown, of);
        }
        Arc::clone(&shown.watched)
    }

    async fn changed(&self, version: u64) {
        let mut changes = self.engine.configuration_changes();
        while self.endpoints().version == version {
            if changes.changed().await.is_err() {
                // The engine is gone, and nothing changes any more.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn observed(&self, watch: &MonitoredEndpoint, observation: Observation) {
        let looked_at = (&watch.definition.probe, watch.secret.as_ref());
        match self.engine.observe(watch.workspace_id, watch.id, looked_at, observation).await {
            // Deleted meanwhile: what was seen of it is of no interest.
            Ok(_) | Err(EngineError::NotFound(_)) => {}
            Err(error) => tracing::error!(endpoint = %watch.id, %error, "a check could not be written down"),
        }
    }
}
