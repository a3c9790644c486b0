//! Ingestion of checks, from the own probes and from external probers. Both are evaluated by the same code.

use std::sync::Arc;

use tidings_domain::check::{Check, Observation, judge};
use tidings_domain::endpoint::Probe;
use tidings_domain::id::{CheckId, EndpointId, IncidentId, WorkspaceId};
use tidings_domain::incident::{IncidentTrigger, Subject, SubjectInfo};
use tidings_store::StoreError;
use tidings_store::monitoring::CheckRecord;

use super::notify::WriteOutcome;
use super::transition::{CheckOrigin, on_check};
use super::{Incidents, SubjectKey};
use crate::Result;
use crate::clock::new_id;
use crate::detach::detach_on_drop;
use crate::error::EngineError;
use crate::snapshot::LoadedEndpoint;
use crate::sync::retry_on_conflict;

/// The result of ingesting a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckOutcome {
    pub check_id: CheckId,
    /// Whether the check was ingested before; nothing was changed then.
    pub is_duplicate: bool,
    /// The incident that is active or that the check resolved, and what the check did to it.
    pub incident: Option<(IncidentId, Option<IncidentTrigger>)>,
}

impl Incidents {
    /// Ingests a probe's observation. `probed` is the probe definition that it used. None if the endpoint
    /// was paused or deleted meanwhile, or is probed in another way now: the observation does not apply any more.
    /// Other edits are no reason to discard it, as the schedule does not probe again because of them.
    pub(crate) async fn observe(
        &self,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        probed: &Probe,
        observation: Observation,
    ) -> Result<Option<CheckOutcome>> {
        let check = {
            let snapshot = self.0.config.load();
            let loaded = snapshot.workspace(workspace_id).and_then(|view| view.endpoint(endpoint_id));
            let is_probed_so =
                |loaded: &&Arc<LoadedEndpoint>| loaded.endpoint.enabled && loaded.endpoint.definition.probe == *probed;
            let loaded = loaded.filter(is_probed_so);
            loaded.map(|loaded| judge(&loaded.endpoint.definition, &observation))
        };
        // It may contain a response body: freed before the write, which may wait.
        drop(observation);
        match check {
            Some(check) => self.ingest(workspace_id, endpoint_id, None, check, CheckOrigin::Prober).await.map(Some),
            None => Ok(None),
        }
    }

    /// Ingests a check that an external prober reports. Without an id it gets a new one.
    pub(crate) async fn report(
        &self,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        id: Option<CheckId>,
        check: Check,
    ) -> Result<CheckOutcome> {
        self.ingest(workspace_id, endpoint_id, id, check, CheckOrigin::Reported).await
    }

    async fn ingest(
        &self,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        id: Option<CheckId>,
        check: Check,
        origin: CheckOrigin,
    ) -> Result<CheckOutcome> {
        let incidents = self.clone();
        detach_on_drop(async move {
            let key: SubjectKey = (workspace_id, Subject::Endpoint(endpoint_id));
            retry_on_conflict(|| incidents.ingest_check(&key, endpoint_id, id, &check, origin)).await
        })
        .await
    }

    async fn ingest_check(
        &self,
        key: &SubjectKey,
        endpoint_id: EndpointId,
        id: Option<CheckId>,
        check: &Check,
        origin: CheckOrigin,
    ) -> Result<CheckOutcome> {
        // Locked until the write is done: the checks of one endpoint are processed one after the other.
        let state = self.state(key);
        let mut state = state.lock().await;
        let snapshot = self.0.config.snapshot();
        let view = snapshot.workspace(key.0).ok_or(EngineError::NotFound("workspace"))?;
        let loaded = view.endpoint(endpoint_id).ok_or(EngineError::NotFound("endpoint"))?;
        let definition = &loaded.endpoint.definition;
        let now = self.0.clock.now();
        let new_incident = new_id(self.0.clock.as_ref(), now);
        let transition =
            on_check(&state, key.0, definition, || subject_info(loaded), (check, origin), new_incident, now);
        let trigger = transition.notifications.first().map(|notification| notification.trigger);
        let active_id = |state: &super::IncidentState| state.active.as_ref().map(|active| active.record.incident.id);
        let before = active_id(&state);
        let check_id = id.unwrap_or_else(|| new_id(self.0.clock.as_ref(), check.checked_at));
        let record = CheckRecord { id: check_id, endpoint_id, check: check.clone() };
        match self.write_transition(key, view, &mut state, Some(record), transition, now).await {
            Ok(WriteOutcome::Applied) => {
                let incident = active_id(&state).or(before).map(|id| (id, trigger));
                Ok(CheckOutcome { check_id, is_duplicate: false, incident })
            }
            Ok(WriteOutcome::Duplicate) => {
                Ok(CheckOutcome { check_id, is_duplicate: true, incident: before.map(|id| (id, None)) })
            }
            Err(StoreError::NotFound) => Err(EngineError::NotFound("endpoint")),
            Err(error) => Err(error.into()),
        }
    }
}

/// What messages show about an endpoint.
fn subject_info(loaded: &LoadedEndpoint) -> SubjectInfo {
    let endpoint = &loaded.endpoint;
    SubjectInfo {
        name: endpoint.name.clone(),
        url: display_address(&endpoint.definition.probe),
        link: None,
        fields: Vec::new(),
        tags: endpoint.definition.tags.clone(),
    }
}

/// The endpoint's address without what may be a secret: its tokens are masked, and a URL's query, which often contains one
/// of another name, is cut off.
fn display_address(probe: &Probe) -> Option<String> {
    Some(match probe {
        Probe::Http(http) => {
            let masked = http.url.masked();
            masked.split(['?', '#']).next().unwrap_or_default().to_owned()
        }
        Probe::Tcp { host, port } | Probe::Tls { host, port, .. } => format!("{host}:{port}"),
        Probe::Icmp { host } => host.clone(),
        Probe::Dns { host, record_type, .. } => format!("{host} ({record_type})"),
        Probe::External { .. } => return None,
    })
}
