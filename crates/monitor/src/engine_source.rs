//! Connects the scheduler to the engine: monitors the endpoints of the engine's snapshot and passes observations to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tidings_domain::check::Observation;
use tidings_domain::id::{EndpointId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_engine::snapshot::LoadedEndpoint;
use tidings_engine::{Engine, EngineError};

use crate::schedule::{EndpointSet, EndpointSource, MonitoredEndpoint};

/// The endpoints of one workspace. The engine keeps the same `Arc` between snapshots while none of them changes.
type WorkspaceEndpoints = Arc<HashMap<EndpointId, Arc<LoadedEndpoint>>>;

/// The [`EndpointSource`] of the running program.
pub struct EngineEndpointSource {
    engine: Engine,
    /// Start of the last check of each endpoint, as loaded at startup.
    last_checks: HashMap<EndpointId, Timestamp>,
    published: Mutex<Published>,
}

/// The set that was published last, with what it was built from.
#[derive(Default)]
struct Published {
    built_from: Vec<(WorkspaceId, WorkspaceEndpoints)>,
    set: Arc<EndpointSet>,
    by_id: HashMap<EndpointId, Arc<MonitoredEndpoint>>,
}

impl EngineEndpointSource {
    /// Loads when each endpoint was last checked.
    pub async fn new(engine: Engine) -> Self {
        let last_checks = engine.last_checks().await;
        Self { engine, last_checks, published: Mutex::default() }
    }

    fn monitored(&self, loaded: &LoadedEndpoint) -> MonitoredEndpoint {
        let endpoint = &loaded.endpoint;
        MonitoredEndpoint {
            id: endpoint.id,
            workspace_id: endpoint.workspace_id,
            revision: endpoint.revision,
            definition: Arc::new(endpoint.definition.clone()),
            last_checked_at: self.last_checks.get(&endpoint.id).copied(),
        }
    }

    /// Builds and publishes a new set. Endpoints with an unchanged revision keep their `Arc`, which lets the scheduler
    /// compare by pointer.
    fn publish(&self, published: &mut Published, endpoints: Vec<(WorkspaceId, WorkspaceEndpoints)>) {
        let mut by_id = HashMap::with_capacity(published.by_id.len());
        let loaded = endpoints.iter().flat_map(|(_, endpoints)| endpoints.values());
        let is_probed =
            |loaded: &&Arc<LoadedEndpoint>| loaded.endpoint.enabled && !loaded.endpoint.definition.probe.is_external();
        for loaded in loaded.filter(is_probed) {
            let endpoint = &loaded.endpoint;
            let unchanged = published.by_id.get(&endpoint.id).filter(|known| known.revision == endpoint.revision);
            let monitored = unchanged.map_or_else(|| Arc::new(self.monitored(loaded)), Arc::clone);
            by_id.insert(endpoint.id, monitored);
        }
        let version = published.set.version + 1;
        published.set = Arc::new(EndpointSet { version, endpoints: by_id.values().cloned().collect() });
        (published.built_from, published.by_id) = (endpoints, by_id);
    }
}

#[async_trait]
impl EndpointSource for EngineEndpointSource {
    fn endpoints(&self) -> Arc<EndpointSet> {
        let endpoints = self.engine.endpoints_by_workspace();
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        // Pointers suffice: the engine shares a workspace's endpoints for as long as none of them changes.
        let is_same = |((id, one), (other_id, other)): (
            &(WorkspaceId, WorkspaceEndpoints),
            &(WorkspaceId, WorkspaceEndpoints),
        )| { id == other_id && Arc::ptr_eq(one, other) };
        let built_from = &published.built_from;
        let is_current = built_from.len() == endpoints.len() && built_from.iter().zip(&endpoints).all(is_same);
        if !is_current || published.set.version == 0 {
            self.publish(&mut published, endpoints);
        }
        Arc::clone(&published.set)
    }

    async fn changed(&self, version: u64) {
        // Subscribe before comparing versions, so that a change in between is not missed.
        let mut changes = self.engine.configuration_changes();
        while self.endpoints().version == version {
            if changes.changed().await.is_err() {
                // The engine is gone, and nothing changes any more.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn record(&self, endpoint: &MonitoredEndpoint, observation: Observation) {
        let probed = &endpoint.definition.probe;
        match self.engine.observe(endpoint.workspace_id, endpoint.id, probed, observation).await {
            // The endpoint was deleted during the probe: the result is of no interest.
            Ok(_) | Err(EngineError::NotFound(_)) => {}
            Err(error) => tracing::error!(endpoint = %endpoint.id, %error, "failed to persist check result"),
        }
    }
}
