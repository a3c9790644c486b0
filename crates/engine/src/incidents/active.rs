//! Which endpoints have an active incident: the input of the dependency gate (9). And how each was checked last, so that
//! they are counted without waiting for their states.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tidings_domain::check::CheckStatus;
use tidings_domain::event::Event;
use tidings_domain::gate::EndpointContext;
use tidings_domain::id::{EndpointId, IncidentId};
use tidings_domain::incident::Subject;
use tidings_domain::resource::ResourceType;
use tidings_store::{Store, StoreError};

use crate::snapshot::{LoadedEndpoint, WorkspaceView};

/// Endpoints with an active incident, and the last check of each. Clones share their state.
#[derive(Clone, Default)]
pub(crate) struct ActiveIncidents(Arc<RwLock<Endpoints>>);

#[derive(Default)]
struct Endpoints {
    incidents: HashMap<EndpointId, IncidentId>,
    statuses: HashMap<EndpointId, CheckStatus>,
}

impl ActiveIncidents {
    /// Loads them from the store. Must be complete before anything is sent: the gates are evaluated before an attempt.
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let active = Self::default();
        for record in store.active_incidents().await? {
            if let Subject::Endpoint(id) = record.incident.subject {
                active.set(id, Some(record.incident.id));
            }
        }
        Ok(active)
    }

    /// Sets or removes the active incident of an endpoint.
    pub(crate) fn set(&self, endpoint_id: EndpointId, incident_id: Option<IncidentId>) {
        let mut active = self.write();
        match incident_id {
            Some(incident_id) => active.incidents.insert(endpoint_id, incident_id),
            None => active.incidents.remove(&endpoint_id),
        };
    }

    /// Sets the status of an endpoint's last check; `None` for one that was never checked or is deleted.
    pub(crate) fn set_status(&self, endpoint_id: EndpointId, status: Option<CheckStatus>) {
        // Nearly every check has the status of the one before.
        if self.read().statuses.get(&endpoint_id).copied() == status {
            return;
        }
        let mut active = self.write();
        match status {
            Some(status) => active.statuses.insert(endpoint_id, status),
            None => active.statuses.remove(&endpoint_id),
        };
    }

    /// The status of the last check of each of these endpoints; `None` for one that was never checked.
    pub(crate) fn statuses(&self, endpoints: impl IntoIterator<Item = EndpointId>) -> Vec<Option<CheckStatus>> {
        let active = self.read();
        endpoints.into_iter().map(|id| active.statuses.get(&id).copied()).collect()
    }

    // Poisoned or not, as with `crate::sync::lock`.
    fn write(&self) -> RwLockWriteGuard<'_, Endpoints> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Endpoints> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the gates need to know of an endpoint, but for its last opening, which depends on the channel.
    pub(crate) fn endpoint_context<'a>(
        &self,
        view: &'a WorkspaceView,
        loaded: &'a LoadedEndpoint,
    ) -> EndpointContext<'a> {
        let endpoint = &loaded.endpoint;
        EndpointContext {
            id: endpoint.id,
            name: &endpoint.name,
            definition: &endpoint.definition,
            active_parent: self.parent_down(view, loaded),
            last_opening_at: None,
        }
    }

    /// The same for the endpoint that an event is about, if it is about one. Without a last opening: the cooldown gate,
    /// which needs it, is not evaluated again.
    pub(crate) fn endpoint_context_of<'a>(
        &self,
        view: &'a WorkspaceView,
        event: &Event,
    ) -> Option<EndpointContext<'a>> {
        if event.resource_type != ResourceType::Endpoint {
            return None;
        }
        let loaded = view.endpoint(event.resource_id.parse().ok()?)?;
        Some(self.endpoint_context(view, loaded))
    }

    /// The name of the endpoint's parent, if the parent has an active incident.
    fn parent_down<'a>(&self, view: &'a WorkspaceView, loaded: &LoadedEndpoint) -> Option<&'a str> {
        let parent = view.endpoint(loaded.endpoint.definition.parent_id?)?;
        let is_down = self.read().incidents.contains_key(&parent.endpoint.id);
        is_down.then_some(parent.endpoint.name.as_str())
    }
}
