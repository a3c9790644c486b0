//! Checks come in: from the check engine, and from probers elsewhere. Both are judged by the same code.

use tidings_domain::check::{Check, Observation, judge};
use tidings_domain::endpoint::Probe;
use tidings_domain::id::{CheckId, EndpointId, IncidentId, WorkspaceId};
use tidings_domain::incident::{IncidentTrigger, Subject, SubjectInfo};
use tidings_domain::secret::Secret;
use tidings_store::StoreError;
use tidings_store::monitoring::CheckRecord;

use super::notify::Written;
use super::transition::on_check;
use super::{Incidents, Key};
use crate::Result;
use crate::clock::new_id;
use crate::detach::unbroken;
use crate::error::EngineError;
use crate::snapshot::LoadedEndpoint;

/// How often a check is judged anew when somebody else was faster.
const TRIES: u32 = 5;

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckOutcome {
    /// The check.
    pub check_id: CheckId,
    /// Whether it was told before.
    pub is_duplicate: bool,
    /// The active incident, or the one that it resolved, with what it did to it.
    pub incident: Option<(IncidentId, Option<IncidentTrigger>)>,
}

impl Incidents {
    /// Takes in what a prober saw when it looked at this; none if the endpoint was paused or deleted meanwhile, or is to be
    /// looked at otherwise now, so that what was seen says nothing about it any more. Other edits are no reason to lose it:
    /// the schedule does not look again because of them. It is judged at once: it may hold a body.
    pub(crate) async fn observe(
        &self,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        looked_at: (&Probe, Option<&Secret>),
        observation: Observation,
    ) -> Result<Option<CheckOutcome>> {
        let check = {
            let snapshot = self.0.live.load();
            let live = snapshot.workspace(workspace_id).and_then(|view| view.endpoint(endpoint_id));
            let is_same = |live: &LoadedEndpoint| (&live.endpoint.definition.probe, live.secret.as_ref()) == looked_at;
            let live = live.filter(|live| live.endpoint.enabled && is_same(live));
            live.map(|live| judge(&live.endpoint.definition, &observation))
        };
        drop(observation);
        match check {
            Some(check) => self.report(workspace_id, endpoint_id, None, check).await.map(Some),
            None => Ok(None),
        }
    }

    /// Takes in what a prober elsewhere says.
    pub(crate) async fn report(
        &self,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        id: Option<CheckId>,
        check: Check,
    ) -> Result<CheckOutcome> {
        let incidents = self.clone();
        unbroken(async move { incidents.check(workspace_id, endpoint_id, id, check).await }).await
    }

    async fn check(
        &self,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        id: Option<CheckId>,
        check: Check,
    ) -> Result<CheckOutcome> {
        let key: Key = (workspace_id, Subject::Endpoint(endpoint_id));
        for _ in 0..TRIES {
            let case = self.case(&key);
            let mut case = case.lock().await;
            let snapshot = self.0.live.now();
            let view = snapshot.workspace(workspace_id).ok_or(EngineError::NotFound("workspace"))?;
            let live = view.endpoint(endpoint_id).ok_or(EngineError::NotFound("endpoint"))?;
            let definition = &live.endpoint.definition;
            let now = self.0.clock.now();
            let new_incident = new_id(self.0.clock.as_ref(), now);
            let change = on_check(&case, workspace_id, definition, || about(live), &check, new_incident, now);
            let happened = change.happenings.first().map(|happening| happening.trigger);
            let before = case.open.as_ref().map(|open| open.record.incident.id);
            let check_id = id.unwrap_or_else(|| self.new_check_id(check.checked_at));
            let record = CheckRecord { id: check_id, endpoint_id, check: check.clone() };
            match self.write(&key, view, &mut case, Some(record), change, now).await {
                Ok(Written::Yes) => {
                    let incident_id = case.open.as_ref().map(|open| open.record.incident.id).or(before);
                    let incident = incident_id.map(|id| (id, happened));
                    return Ok(CheckOutcome { check_id, is_duplicate: false, incident });
                }
                Ok(Written::Known) => {
                    return Ok(CheckOutcome { check_id, is_duplicate: true, incident: before.map(|id| (id, None)) });
                }
                Err(StoreError::Conflict | StoreError::Exists) => {}
                Err(StoreError::NotFound) => return Err(EngineError::NotFound("endpoint")),
                Err(error) => return Err(error.into()),
            }
        }
        Err(EngineError::Store(StoreError::Conflict))
    }
}

/// What messages say of an endpoint.
fn about(live: &LoadedEndpoint) -> SubjectInfo {
    let endpoint = &live.endpoint;
    SubjectInfo {
        name: endpoint.name.clone(),
        url: Some(address(&endpoint.definition.probe)),
        link: None,
        fields: Vec::new(),
        tags: endpoint.definition.tags.clone(),
    }
}

/// Where an endpoint is, without what may be a secret: a URL's query often holds one.
fn address(probe: &Probe) -> String {
    match probe {
        Probe::Http(http) => {
            let end = http.url.find(['?', '#']).unwrap_or(http.url.len());
            http.url.get(..end).unwrap_or_default().to_owned()
        }
        Probe::Tcp { host, port } | Probe::Tls { host, port } => format!("{host}:{port}"),
        Probe::Icmp { host } => host.clone(),
        Probe::Dns { host, record_type, .. } => format!("{host} ({record_type})"),
    }
}
