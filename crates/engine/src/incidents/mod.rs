//! Incidents: what a check, an alert, a person or the passing of time does to them, and what is told of it.
//!
//! Before the way of an event: from something seen to an event. Every endpoint, and every alert from outside, is a
//! [`case`]; its changes come one after the other. [`change`] says what follows, as a pure function; [`tell`] writes that
//! together with the events and deliveries that tell of it; [`keeper`] wakes up for what time brings (a step of an
//! escalation, a reminder, an opening that may now be said).

mod acknowledge;
mod active;
mod alerts;
mod checks;
mod deferred;
mod notify;
mod state;
mod timer_loop;
mod transition;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

pub(crate) use active::Down;
pub use alerts::Alert;
pub use checks::CheckOutcome;
pub(crate) use state::Case;

/// What a case is about, and whose it is.
pub(crate) type Key = (WorkspaceId, Subject);

/// All cases of this process. Cheap to clone: all clones are one.
#[derive(Clone)]
pub(crate) struct Incidents(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    live: Arc<ConfigCache>,
    queue: Queue,
    clock: Arc<dyn Clock>,
    down: Down,
    cases: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<Case>>>>,
    /// When each case is next to be looked at.
    wakes: Mutex<HashMap<Key, Timestamp>>,
    /// IncidentDelivery when a case is to be looked at sooner than was known.
    woken: Notify,
    /// Raised when the keeper should end.
    stopping: watch::Sender<bool>,
}

impl Incidents {
    /// Takes up the cases that the store knows, and begins to look after them.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        live: Arc<ConfigCache>,
        queue: Queue,
        clock: Arc<dyn Clock>,
        down: Down,
    ) -> Result<Self> {
        let (stopping, _) = watch::channel(false);
        let incidents = Self(Arc::new(Inner {
            store,
            live,
            queue,
            clock,
            down,
            cases: Mutex::default(),
            wakes: Mutex::default(),
            woken: Notify::new(),
            stopping,
        }));
        incidents.take_up().await?;
        tokio::spawn(timer_loop::run(incidents.clone()));
        Ok(incidents)
    }

    /// Ends the keeper. What it has begun it finishes.
    pub(crate) fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    async fn take_up(&self) -> Result<()> {
        let snapshot = self.0.live.now();
        for view in snapshot.workspaces() {
            for state in self.0.store.endpoint_states(view.workspace.id).await? {
                let key = (view.workspace.id, Subject::Endpoint(state.endpoint_id));
                let case = self.case(&key);
                let mut case = case.lock().await;
                case.state = state;
                self.plan(&key, &case);
            }
        }
        for record in self.0.store.active_incidents().await? {
            let key = (record.incident.workspace_id, record.incident.subject.clone());
            let case = self.case(&key);
            let mut case = case.lock().await;
            self.resume(&mut case, record).await?;
            self.plan(&key, &case);
        }
        Ok(())
    }

    fn cases(&self) -> MutexGuard<'_, HashMap<Key, Arc<tokio::sync::Mutex<Case>>>> {
        self.0.cases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The case of this subject; a new one if nothing is known of it.
    fn case(&self, key: &Key) -> Arc<tokio::sync::Mutex<Case>> {
        let mut cases = self.cases();
        if let Some(case) = cases.get(key) {
            return Arc::clone(case);
        }
        let case = Arc::new(tokio::sync::Mutex::new(Case::new(&key.1)));
        cases.insert(key.clone(), Arc::clone(&case));
        case
    }

    /// What is remembered of an endpoint.
    pub(crate) async fn state(&self, workspace_id: WorkspaceId, endpoint_id: EndpointId) -> EndpointState {
        let key = (workspace_id, Subject::Endpoint(endpoint_id));
        let case = self.cases().get(&key).map(Arc::clone);
        match case {
            Some(case) => case.lock().await.state.clone(),
            None => EndpointState::new(endpoint_id),
        }
    }

    /// When the last check of each endpoint began.
    pub(crate) async fn last_checks(&self) -> HashMap<EndpointId, Timestamp> {
        let cases: Vec<_> = self.cases().values().map(Arc::clone).collect();
        let mut last_checks = HashMap::with_capacity(cases.len());
        for case in cases {
            let case = case.lock().await;
            let last = case.state.last_check.as_ref();
            last_checks.extend(last.map(|check| (case.state.endpoint_id, check.checked_at)));
        }
        last_checks
    }

    /// Which endpoints have an active incident.
    pub(crate) fn down(&self) -> &Down {
        &self.0.down
    }
}
