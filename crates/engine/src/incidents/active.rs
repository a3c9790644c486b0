//! Which endpoints have an active incident: what gate 9 asks of parents.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tidings_domain::id::{EndpointId, IncidentId};
use tidings_domain::incident::Subject;
use tidings_store::{Store, StoreError};

use crate::snapshot::{LoadedEndpoint, WorkspaceView};

/// Endpoints with an active incident. Cheap to clone: all clones are one.
#[derive(Clone, Default)]
pub(crate) struct Down(Arc<RwLock<HashMap<EndpointId, IncidentId>>>);

impl Down {
    /// As the store has it. Known before anything is sent: what waits may have to ask.
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let down = Self::default();
        for record in store.active_incidents().await? {
            if let Subject::Endpoint(id) = record.incident.subject {
                down.set(id, Some(record.incident.id));
            }
        }
        Ok(down)
    }

    /// The endpoint has this active incident, or none.
    pub(crate) fn set(&self, endpoint_id: EndpointId, incident_id: Option<IncidentId>) {
        let mut down = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match incident_id {
            Some(incident_id) => down.insert(endpoint_id, incident_id),
            None => down.remove(&endpoint_id),
        };
    }

    /// The endpoint's active incident.
    pub(crate) fn incident_of(&self, endpoint_id: EndpointId) -> Option<IncidentId> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&endpoint_id).copied()
    }

    /// The name of the endpoint's parent, if that has an active incident.
    pub(crate) fn parent_of<'a>(&self, view: &'a WorkspaceView, live: &LoadedEndpoint) -> Option<&'a str> {
        let parent = view.endpoint(live.endpoint.definition.parent_id?)?;
        self.incident_of(parent.endpoint.id).map(|_| parent.endpoint.name.as_str())
    }
}
