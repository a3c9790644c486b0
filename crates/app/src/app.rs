//! The services behind all operations.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_domain::id::WorkspaceId;
use tidings_engine::Engine;
use tidings_engine::changes::Topic;
use tidings_monitor::Prober;

use crate::accounts::Accounts;
use crate::error::AppError;

/// Tests of endpoints at once, and of channels. They use the prober and the connections that checks and deliveries use,
/// and must not take all their capacity.
const TESTS_MAX: usize = 32;
/// Those of one workspace at once, so that none takes the slots of all.
const WORKSPACE_TESTS_MAX: usize = 8;

/// The services behind all operations. Clones share them.
#[derive(Clone)]
pub struct App(Arc<Services>);

struct Services {
    engine: Engine,
    prober: Arc<Prober>,
    public_url: Option<String>,
    accounts: Accounts,
    endpoint_tests: TestSlots,
    channel_tests: TestSlots,
}

impl App {
    /// With `public_url` as the base of the URLs in responses; without it they have a path only.
    pub fn new(engine: Engine, prober: Arc<Prober>, public_url: Option<String>) -> Self {
        let (endpoint_tests, channel_tests) = (TestSlots::default(), TestSlots::default());
        let accounts = Accounts::start();
        Self(Arc::new(Services { engine, prober, public_url, accounts, endpoint_tests, channel_tests }))
    }

    /// The event pipeline and its configuration.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Probes endpoints for tests.
    pub fn prober(&self) -> &Prober {
        &self.0.prober
    }

    /// The base of the URLs in responses.
    pub fn public_url(&self) -> Option<&str> {
        self.0.public_url.as_deref()
    }

    /// What sign-ins share.
    pub(crate) fn accounts(&self) -> &Accounts {
        &self.0.accounts
    }

    /// Says to those who follow changes that members, invitations or API keys of the workspace may be others now.
    pub(crate) fn mark_members_changed(&self, workspace_id: WorkspaceId) {
        self.engine().changes().mark(workspace_id, Topic::Members);
    }

    pub(crate) fn endpoint_tests(&self) -> &TestSlots {
        &self.0.endpoint_tests
    }

    pub(crate) fn channel_tests(&self) -> &TestSlots {
        &self.0.channel_tests
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("App")
    }
}

/// The tests in progress, by workspace.
#[derive(Default)]
pub(crate) struct TestSlots(Mutex<HashMap<WorkspaceId, usize>>);

/// A slot for a test, until it is dropped.
pub struct TestSlot<'a> {
    slots: &'a TestSlots,
    workspace_id: WorkspaceId,
}

impl TestSlots {
    fn lock(&self) -> MutexGuard<'_, HashMap<WorkspaceId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn acquire(&self, workspace_id: WorkspaceId) -> Result<TestSlot<'_>, AppError> {
        let mut running = self.lock();
        let own = running.get(&workspace_id).copied().unwrap_or(0);
        if own >= WORKSPACE_TESTS_MAX || running.values().sum::<usize>() >= TESTS_MAX {
            return Err(AppError::Busy("too many tests are running at once: try again"));
        }
        running.insert(workspace_id, own + 1);
        Ok(TestSlot { slots: self, workspace_id })
    }
}

impl Drop for TestSlot<'_> {
    fn drop(&mut self) {
        let mut running = self.slots.lock();
        if let Some(own) = running.get_mut(&self.workspace_id) {
            *own -= 1;
            if *own == 0 {
                running.remove(&self.workspace_id);
            }
        }
    }
}
