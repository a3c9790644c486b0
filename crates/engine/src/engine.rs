//! The engine: starts and stops the components, and is the facade over them. Further operations are in
//! [`crate::history`], [`crate::monitoring`], [`crate::simulate`] and [`crate::test_send`].

use std::sync::Arc;
use std::time::Duration;

use tidings_channels::ChannelContext;
use tidings_domain::channel::Channel;
use tidings_domain::check::CheckStatus;
use tidings_domain::id::{ChannelId, EndpointId, WorkspaceId};
use tidings_domain::time::Timestamp;
use tidings_store::accounts::AccountStore;
use tidings_store::queue::{Acceptance, TestRecord};
use tidings_store::retention::Retention;
use tidings_store::{Store, StoreError};
use tokio::sync::watch;

use crate::Result;
use crate::accept::{self, RunReport};
use crate::changes::{self, Feeds, Topic};
use crate::clock::Clock;
use crate::error::EngineError;
use crate::incidents::{ActiveIncidents, Incidents};
use crate::index_loop;
use crate::insights;
use crate::metrics;
use crate::queue::{Limits, Queue};
use crate::retention;
use crate::settings::{Settings, SettingsLimits};
use crate::snapshot::{Caller, ConfigCache, LoadedChannel, Snapshot, WorkspaceView};
use crate::vault::Vault;

/// Options of the engine.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub limits: Limits,
    pub settings: SettingsLimits,
    pub retention: Retention,
}

/// The engine. Clones share their state.
#[derive(Clone)]
pub struct Engine {
    store: Arc<dyn Store>,
    config: Arc<ConfigCache>,
    settings: Arc<Settings>,
    queue: Queue,
    incidents: Incidents,
    clock: Arc<dyn Clock>,
    /// Set when the retention job and the index loop should end.
    stopping: Arc<watch::Sender<bool>>,
}

impl Engine {
    /// Starts the engine over a store: loads the configuration, reclaims the leases of an earlier process, and begins to
    /// send what is due.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn start(
        store: Arc<dyn Store>,
        channel_context: ChannelContext,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self> {
        metrics::describe();
        changes::describe_metrics();
        let feeds = Arc::new(Feeds::new(clock.now()));
        tokio::spawn(changes::run(Arc::clone(&feeds)));
        let config = ConfigCache::from_store(Arc::clone(&store), Arc::clone(&vault), channel_context, feeds).await?;
        let config = Arc::new(config);
        let settings = Arc::new(Settings::new(
            Arc::clone(&store),
            Arc::clone(&config),
            vault,
            Arc::clone(&clock),
            options.settings,
        ));
        // Before the queue: the gates of its first attempt depend on it.
        let active = ActiveIncidents::load(store.as_ref()).await?;
        let queue = Queue::start(
            Arc::clone(&store),
            Arc::clone(&config),
            Arc::clone(&settings),
            Arc::clone(&clock),
            active.clone(),
            options.limits,
        )
        .await?;
        let incidents =
            Incidents::start(Arc::clone(&store), Arc::clone(&config), queue.clone(), Arc::clone(&clock), active)
                .await?;
        let (stopping, stopped) = watch::channel(false);
        let retention =
            retention::run(Arc::clone(&store), Arc::clone(&config), Arc::clone(&clock), options.retention, stopped);
        tokio::spawn(retention);
        tokio::spawn(index_loop::run(Arc::clone(&store), Arc::clone(&clock), stopping.subscribe()));
        tokio::spawn(insights::run(Arc::clone(&store), Arc::clone(&clock), stopping.subscribe()));
        Ok(Self { store, config, settings, queue, incidents, clock, stopping: Arc::new(stopping) })
    }

    /// Stops the engine: attempts in flight get `bound` to finish, the leases of deliveries that wait in memory are
    /// returned, and the store is closed. Returns whether all attempts finished.
    pub async fn stop(&self, bound: Duration) -> bool {
        self.stopping.send_replace(true);
        self.config.feeds().stop();
        self.incidents.stop();
        let is_drained = self.queue.stop(bound).await;
        self.store.close().await;
        is_drained
    }

    /// Fails if it cannot accept events now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn ready(&self) -> Result<()> {
        Ok(self.store.ready().await?)
    }

    /// Polls at once for what is due. Needed only after setting a manual clock.
    pub fn on_clock_changed(&self) {
        self.queue.quiescence().tick();
    }

    /// Waits until everything due at the clock's instant is done. For tests with a manual clock; does not return while an
    /// attempt hangs.
    #[doc(hidden)]
    pub async fn wait_until_idle(&self) {
        self.queue.quiescence().wait_until_idle().await;
    }

    /// When the timer loop next has something to do. For tests.
    #[doc(hidden)]
    pub fn next_poll_at(&self) -> Option<Timestamp> {
        self.incidents.next_poll_at()
    }

    /// Where subscribers are notified of changes of a workspace.
    pub fn changes(&self) -> &Arc<Feeds> {
        self.config.feeds()
    }

    // Callers ----------------------------------------------------------------------------------------------------------

    /// The caller that this API key authenticates, unless it has expired.
    pub fn authenticate(&self, api_key: &str) -> Option<Caller> {
        self.config.load().authenticate(api_key, self.clock.now()).cloned()
    }

    /// Reads back changes of workspaces and API keys that were written to the store directly, so that their callers find
    /// them.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn refresh_config(&self) -> Result<()> {
        Ok(self.config.refresh().await?)
    }

    /// A workspace by its id or slug.
    pub fn workspace_id(&self, name: &str) -> Option<WorkspaceId> {
        self.config.load().workspace_named(name).map(|view| view.workspace.id)
    }

    // Runs -------------------------------------------------------------------------------------------------------------

    /// Accepts finished runs, all or none, and commits them with their deliveries. The acceptances are in their order.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for an unknown workspace, and those of the store.
    pub async fn report(&self, workspace_id: WorkspaceId, runs: Vec<RunReport>) -> Result<Vec<Acceptance>> {
        let view = self.view(workspace_id)?;
        accept::accept(&self.store, &view, &self.queue, self.clock.as_ref(), runs).await
    }

    // Channels ---------------------------------------------------------------------------------------------------------

    /// One channel, shared or private.
    pub fn channel(&self, workspace_id: WorkspaceId, id: ChannelId) -> Result<Channel> {
        Ok(self.loaded_channel(workspace_id, id)?.channel.clone())
    }

    // For other modules of this crate ----------------------------------------------------------------------------------

    /// The configuration of a workspace at this instant.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub fn view(&self, workspace_id: WorkspaceId) -> Result<Arc<WorkspaceView>> {
        self.config.load().workspace(workspace_id).cloned().ok_or(EngineError::NotFound("workspace"))
    }

    pub(crate) fn loaded_channel(&self, workspace_id: WorkspaceId, id: ChannelId) -> Result<Arc<LoadedChannel>> {
        self.view(workspace_id)?.channel(id).cloned().ok_or(EngineError::NotFound("channel"))
    }

    /// The source of time and randomness.
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// Users, sessions, members, API keys and the audit log.
    pub fn accounts(&self) -> &dyn AccountStore {
        self.store.as_ref()
    }

    /// What is stored.
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Changes the configuration.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The status of the last check of each of these endpoints; `None` for one that was never checked.
    pub fn check_statuses(&self, endpoints: impl IntoIterator<Item = EndpointId>) -> Vec<Option<CheckStatus>> {
        self.incidents.active().statuses(endpoints)
    }

    pub(crate) fn incidents(&self) -> &Incidents {
        &self.incidents
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.config.snapshot()
    }

    pub(crate) fn config_changes(&self) -> watch::Receiver<u64> {
        self.config.changes()
    }

    /// The state of the queue.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(crate) fn channel_context(&self) -> &ChannelContext {
        self.config.channel_context()
    }

    pub(crate) async fn record_test(&self, test: TestRecord) -> Result<()> {
        let workspace_id = test.event.workspace_id;
        match self.store.record_test(test).await {
            Err(StoreError::NotFound) => Err(EngineError::NotFound("channel")),
            Err(error) => Err(error.into()),
            Ok(()) => {
                self.changes().mark(workspace_id, Topic::Deliveries);
                self.config.reload(workspace_id).await
            }
        }
    }
}
