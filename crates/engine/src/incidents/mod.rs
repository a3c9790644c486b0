//! Incidents: what checks, alerts, acknowledgements and the passing of time do to them, and the notifications about it.
//!
//! This comes before the event pipeline: from an observation to an event. Every endpoint, and every alert from another
//! system, is a subject with a `state`; the transitions of one subject are serialised by a lock over that state.
//! `transition` decides, as a pure function, what follows; `notify` writes it together with the events and
//! deliveries of its notifications; `timer_loop` wakes up for what time brings (escalation steps, reminders, and
//! `deferred` openings and `deferred_resolutions` that may now be sent). `alerts` decides which reports of other systems
//! are news, `endings` resolves the incident of an endpoint that is deleted.

mod acknowledge;
mod active;
mod alerts;
mod checks;
mod deferred;
mod deferred_resolutions;
mod endings;
mod heartbeat;
mod notify;
mod state;
mod timer_loop;
mod transition;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tidings_domain::id::{EndpointId, WorkspaceId};
use tidings_domain::incident::Subject;
use tidings_domain::time::Timestamp;
use tidings_store::Store;
use tidings_store::monitoring::EndpointState;
use tokio::sync::{Notify, watch};

use crate::Result;
use crate::clock::Clock;
use crate::queue::Queue;
use crate::snapshot::ConfigCache;
use crate::sync::lock;

pub(crate) use acknowledge::Acknowledgement;
pub(crate) use active::ActiveIncidents;
pub use alerts::{Alert, AlertOutcome};
pub use checks::CheckOutcome;
pub(crate) use state::IncidentState;

/// Identifies a subject: an endpoint or an alert of a workspace.
pub(crate) type SubjectKey = (WorkspaceId, Subject);

/// One subject's state. The lock is held over the write of a transition.
type SharedState = Arc<tokio::sync::Mutex<IncidentState>>;

/// The incidents of this process. Clones share their state.
#[derive(Clone)]
pub(crate) struct Incidents(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    config: Arc<ConfigCache>,
    queue: Queue,
    clock: Arc<dyn Clock>,
    active: ActiveIncidents,
    states: Mutex<HashMap<SubjectKey, SharedState>>,
    /// When each subject is to be processed next.
    wake_times: Mutex<HashMap<SubjectKey, Timestamp>>,
    /// Notified when a subject is to be processed earlier than the timer loop knows.
    timer_wakeup: Notify,
    /// Set when the timer loop should end.
    stopping: watch::Sender<bool>,
}

impl Incidents {
    /// Loads the state of all subjects and starts the timer loop.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        config: Arc<ConfigCache>,
        queue: Queue,
        clock: Arc<dyn Clock>,
        active: ActiveIncidents,
    ) -> Result<Self> {
        let (stopping, _) = watch::channel(false);
        let incidents = Self(Arc::new(Inner {
            store,
            config,
            queue,
            clock,
            active,
            states: Mutex::default(),
            wake_times: Mutex::default(),
            timer_wakeup: Notify::new(),
            stopping,
        }));
        incidents.load().await?;
        tokio::spawn(timer_loop::run(incidents.clone()));
        tokio::spawn(heartbeat::run(incidents.clone()));
        Ok(incidents)
    }

    /// Stops the timer loop; a transition in progress is finished.
    pub(crate) fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    async fn load(&self) -> Result<()> {
        let snapshot = self.0.config.snapshot();
        for view in snapshot.workspaces() {
            for endpoint in self.0.store.endpoint_states(view.workspace.id).await? {
                let key = (view.workspace.id, Subject::Endpoint(endpoint.endpoint_id));
                let state = self.state(&key);
                let mut state = state.lock().await;
                self.set_endpoint(&mut state, endpoint);
                self.schedule_wake(&key, &state);
            }
        }
        for record in self.0.store.active_incidents().await? {
            let key = (record.incident.workspace_id, record.incident.subject.clone());
            let state = self.state(&key);
            let mut state = state.lock().await;
            self.load_active(&mut state, record).await?;
            self.schedule_wake(&key, &state);
        }
        for record in self.0.store.unfinished_incidents().await? {
            let key = (record.incident.workspace_id, record.incident.subject.clone());
            let unfinished = self.load_unfinished(record).await?;
            let state = self.state(&key);
            let mut state = state.lock().await;
            state.unfinished.push(unfinished);
            self.schedule_wake(&key, &state);
        }
        Ok(())
    }

    /// Replaces the state of an endpoint, and the status by which it is counted.
    fn set_endpoint(&self, state: &mut IncidentState, endpoint: EndpointState) {
        let status = endpoint.last_check.as_ref().map(|check| check.status);
        self.0.active.set_status(endpoint.endpoint_id, status);
        state.endpoint = endpoint;
    }

    fn states(&self) -> MutexGuard<'_, HashMap<SubjectKey, SharedState>> {
        lock(&self.0.states)
    }

    /// The state of this subject; a new one if it has none.
    fn state(&self, key: &SubjectKey) -> SharedState {
        let mut states = self.states();
        if let Some(state) = states.get(key) {
            return Arc::clone(state);
        }
        let state = Arc::new(tokio::sync::Mutex::new(IncidentState::new(&key.1)));
        states.insert(key.clone(), Arc::clone(&state));
        state
    }

    /// Drops a state that nothing has to be kept of, unless a task waits for it, which would go on with a state that no
    /// other task sees. The caller holds the only other reference.
    fn drop_idle(&self, key: &SubjectKey) {
        let mut states = self.states();
        if states.get(key).is_some_and(|state| Arc::strong_count(state) <= 2) {
            states.remove(key);
        }
    }

    /// Puts the state back after [`Self::forget`].
    fn keep(&self, key: &SubjectKey, state: &SharedState) {
        self.states().insert(key.clone(), Arc::clone(state));
    }

    /// The state of an endpoint: its last check, streak, flap history and active incident.
    pub(crate) async fn endpoint_state(&self, workspace_id: WorkspaceId, endpoint_id: EndpointId) -> EndpointState {
        let key = (workspace_id, Subject::Endpoint(endpoint_id));
        // Not `state`, which would create one for any id.
        let state = self.states().get(&key).map(Arc::clone);
        match state {
            Some(state) => state.lock().await.endpoint.clone(),
            None => EndpointState::new(endpoint_id),
        }
    }

    /// The states of these endpoints, in their order.
    pub(crate) async fn endpoint_states(&self, workspace_id: WorkspaceId, ids: &[EndpointId]) -> Vec<EndpointState> {
        // Copied, so that the map is not locked while a state is waited for.
        let states: Vec<_> = {
            let known = self.states();
            ids.iter().map(|id| known.get(&(workspace_id, Subject::Endpoint(*id))).map(Arc::clone)).collect()
        };
        let mut found = Vec::with_capacity(ids.len());
        for (id, state) in ids.iter().zip(states) {
            found.push(match state {
                Some(state) => state.lock().await.endpoint.clone(),
                None => EndpointState::new(*id),
            });
        }
        found
    }

    /// For each endpoint ever checked, when its last check began.
    pub(crate) async fn last_checks(&self) -> HashMap<EndpointId, Timestamp> {
        // Copied, so that the map is not locked while a state is waited for.
        let states: Vec<_> = self.states().values().map(Arc::clone).collect();
        let mut last_checks = HashMap::with_capacity(states.len());
        for state in states {
            let state = state.lock().await;
            let last = state.endpoint.last_check.as_ref();
            last_checks.extend(last.map(|check| (state.endpoint.endpoint_id, check.checked_at)));
        }
        last_checks
    }

    /// Which endpoints have an active incident.
    pub(crate) fn active(&self) -> &ActiveIncidents {
        &self.0.active
    }
}
