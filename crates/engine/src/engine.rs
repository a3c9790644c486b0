//! The engine: the parts put together, and what the doors may ask of them.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tidings_channels::ChannelContext;
use tidings_domain::channel::Channel;
use tidings_domain::id::{ChannelId, RuleId, WorkspaceId};
use tidings_store::Store;
use tidings_store::queue::{Acceptance, TestRecord};
use tidings_store::retention::Retention;
use tokio::sync::{MutexGuard, watch};

use crate::Result;
use crate::accept::{self, RunReport};
use crate::clock::Clock;
use crate::error::EngineError;
use crate::incidents::{Down, Incidents};
use crate::metrics;
use crate::queue::{Limits, Queue};
use crate::retention;
use crate::settings::{ChannelEdit, Committed, NewChannel, NewRule, RuleEdit, RuleView, Settings, SettingsLimits};
use crate::snapshot::{Caller, ConfigCache, LoadedChannel, WorkspaceView};
use crate::vault::Vault;

/// How the engine runs.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How much is sent at once.
    pub limits: Limits,
    /// What the operator allows of settings.
    pub settings: SettingsLimits,
    /// How long what is kept.
    pub retention: Retention,
}

/// The engine. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Engine {
    store: Arc<dyn Store>,
    live: Arc<ConfigCache>,
    settings: Arc<Settings>,
    queue: Queue,
    incidents: Incidents,
    clock: Arc<dyn Clock>,
    /// Raised when retention should end.
    stopping: Arc<watch::Sender<bool>>,
}

impl Engine {
    /// Starts the engine over a store: reads the configuration, gives back the leases of a process that died, and begins
    /// to send what is due.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn start(
        store: Arc<dyn Store>,
        environment: ChannelContext,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self> {
        metrics::describe();
        let live = Arc::new(ConfigCache::from_store(Arc::clone(&store), Arc::clone(&vault), environment).await?);
        let settings =
            Arc::new(Settings::new(Arc::clone(&store), Arc::clone(&live), vault, Arc::clone(&clock), options.settings));
        let down = Down::load(store.as_ref()).await?;
        let queue = Queue::start(
            Arc::clone(&store),
            Arc::clone(&live),
            Arc::clone(&settings),
            Arc::clone(&clock),
            down.clone(),
            options.limits,
        )
        .await?;
        let incidents =
            Incidents::start(Arc::clone(&store), Arc::clone(&live), queue.clone(), Arc::clone(&clock), down).await?;
        let (stopping, stopped) = watch::channel(false);
        let keeping =
            retention::run(Arc::clone(&store), Arc::clone(&live), Arc::clone(&clock), options.retention, stopped);
        tokio::spawn(keeping);
        Ok(Self { store, live, settings, queue, incidents, clock, stopping: Arc::new(stopping) })
    }

    /// Ends it: what is being sent is finished within `bound`, what waits in memory is given back, and the store is
    /// closed. Answers whether all that was being sent was finished.
    pub async fn stop(&self, bound: Duration) -> bool {
        self.stopping.send_replace(true);
        self.incidents.stop();
        let finished = self.queue.stop(bound).await;
        self.store.close().await;
        finished
    }

    /// Whether it can take events in now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn ready(&self) -> Result<()> {
        Ok(self.store.ready().await?)
    }

    /// The clock was set: looks at once at what is due. A clock that runs needs none of it.
    pub fn on_clock_changed(&self) {
        self.queue.pulse().beat();
    }

    /// Waits until all that is due at the clock's instant is done: for tests with a clock that stands still. An attempt
    /// that hangs keeps it waiting.
    #[doc(hidden)]
    pub async fn wait_until_idle(&self) {
        self.queue.pulse().settled().await;
    }

    /// When an incident is next looked at: for tests.
    #[doc(hidden)]
    pub fn next_poll_at(&self) -> Option<tidings_domain::time::Timestamp> {
        self.incidents.next_look()
    }

    // Who asks ---------------------------------------------------------------------------------------------------------

    /// Whom this API key lets in.
    pub fn authenticate(&self, api_key: &str) -> Option<Caller> {
        self.live.load().authenticate(api_key).cloned()
    }

    /// A workspace by its id or slug.
    pub fn workspace_id(&self, name: &str) -> Option<WorkspaceId> {
        self.live.load().workspace_named(name).map(|view| view.workspace.id)
    }

    // Facts ------------------------------------------------------------------------------------------------------------

    /// Takes in runs that ended, all or none, and commits them with all that follows. The answers are in their order.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] for an unknown workspace, and those of the store.
    pub async fn report(&self, workspace_id: WorkspaceId, runs: Vec<RunReport>) -> Result<Vec<Acceptance>> {
        let view = self.view(workspace_id)?;
        accept::accept(&self.store, &view, &self.queue, self.clock.as_ref(), runs).await
    }

    // Rules ------------------------------------------------------------------------------------------------------------

    /// The rules of a workspace with their channels, oldest first.
    pub fn rules(&self, workspace_id: WorkspaceId) -> Result<Vec<RuleView>> {
        let view = self.view(workspace_id)?;
        let mut rules: Vec<_> = view.rules().filter_map(|rule| rule_view(&view, rule.id)).collect();
        rules.sort_by_key(|view| view.rule.id);
        Ok(rules)
    }

    /// One rule with its channel.
    pub fn rule(&self, workspace_id: WorkspaceId, id: RuleId) -> Result<RuleView> {
        rule_view(&*self.view(workspace_id)?, id).ok_or(EngineError::NotFound("rule"))
    }

    /// Makes a rule, and with inline fields its private channel.
    pub async fn create_rule(&self, workspace_id: WorkspaceId, rule: NewRule) -> Result<Committed<RuleView>> {
        self.turn().await.create_rule(workspace_id, rule).await
    }

    /// Edits a rule. `seen` is the revision that the caller has seen, if it says so.
    pub async fn edit_rule(
        &self,
        workspace_id: WorkspaceId,
        id: RuleId,
        edit: RuleEdit,
        seen: Option<u32>,
    ) -> Result<Committed<RuleView>> {
        self.turn().await.edit_rule(workspace_id, id, edit, seen).await
    }

    /// Deletes a rule and its private channel. What waits under it is skipped when it comes up.
    pub async fn delete_rule(&self, workspace_id: WorkspaceId, id: RuleId, seen: Option<u32>) -> Result<()> {
        self.turn().await.delete_rule(workspace_id, id, seen).await
    }

    // Channels ---------------------------------------------------------------------------------------------------------

    /// The shared channels of a workspace, oldest first.
    pub fn channels(&self, workspace_id: WorkspaceId) -> Result<Vec<Channel>> {
        let view = self.view(workspace_id)?;
        let shared = view.channels().filter(|live| live.channel.owner_rule_id.is_none());
        let mut channels: Vec<_> = shared.map(|live| live.channel.clone()).collect();
        channels.sort_by_key(|channel| channel.id);
        Ok(channels)
    }

    /// One channel, shared or private.
    pub fn channel(&self, workspace_id: WorkspaceId, id: ChannelId) -> Result<Channel> {
        Ok(self.live_channel(workspace_id, id)?.channel.clone())
    }

    /// Makes a shared channel.
    pub async fn create_channel(&self, workspace_id: WorkspaceId, channel: NewChannel) -> Result<Committed<Channel>> {
        self.turn().await.create_channel(workspace_id, channel).await
    }

    /// Edits a channel. `seen` is the revision that the caller has seen, if it says so.
    pub async fn edit_channel(
        &self,
        workspace_id: WorkspaceId,
        id: ChannelId,
        edit: ChannelEdit,
        seen: Option<u32>,
    ) -> Result<Committed<Channel>> {
        self.turn().await.edit_channel(workspace_id, id, edit, seen).await
    }

    /// Deletes a shared channel. Rules that use it stand in the way, unless `force` deletes them too.
    pub async fn delete_channel(
        &self,
        workspace_id: WorkspaceId,
        id: ChannelId,
        force: bool,
        seen: Option<u32>,
    ) -> Result<()> {
        self.turn().await.delete_channel(workspace_id, id, force, seen).await?;
        self.queue.forget_health(id);
        Ok(())
    }

    /// Gives a webhook channel a fresh signing secret; the old one goes on signing for `overlap_ms`.
    pub async fn rotate_secret(
        &self,
        workspace_id: WorkspaceId,
        id: ChannelId,
        overlap_ms: u64,
    ) -> Result<Committed<Channel>> {
        self.turn().await.rotate_secret(workspace_id, id, overlap_ms).await
    }

    // For the engine's other files -------------------------------------------------------------------------------------

    pub(crate) fn view(&self, workspace_id: WorkspaceId) -> Result<Arc<WorkspaceView>> {
        self.live.load().workspace(workspace_id).cloned().ok_or(EngineError::NotFound("workspace"))
    }

    pub(crate) fn live_channel(&self, workspace_id: WorkspaceId, id: ChannelId) -> Result<Arc<LoadedChannel>> {
        self.view(workspace_id)?.channel(id).cloned().ok_or(EngineError::NotFound("channel"))
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// The settings, for somebody who changes them: one at a time, so that what was checked still holds when it is written.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        Turn { settings: &self.settings, _turn: self.settings.turn().await }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn incidents(&self) -> &Incidents {
        &self.incidents
    }

    pub(crate) fn snapshot(&self) -> Arc<crate::snapshot::Snapshot> {
        self.live.now()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.live.changes()
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(crate) fn environment(&self) -> &ChannelContext {
        self.live.environment()
    }

    pub(crate) async fn record_test(&self, test: TestRecord) -> Result<()> {
        let workspace_id = test.event.workspace_id;
        match self.store.record_test(test).await {
            Err(tidings_store::StoreError::NotFound) => Err(EngineError::NotFound("channel")),
            Err(error) => Err(error.into()),
            Ok(()) => self.live.reload(workspace_id).await,
        }
    }
}

/// Somebody's turn to change the settings.
pub(crate) struct Turn<'a> {
    settings: &'a Settings,
    _turn: MutexGuard<'a, ()>,
}

impl Deref for Turn<'_> {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        self.settings
    }
}

/// A rule with its channel, out of one snapshot.
pub(crate) fn rule_view(view: &WorkspaceView, id: RuleId) -> Option<RuleView> {
    let rule = view.rule(id)?;
    let live = view.channel(rule.channel_id)?;
    Some(RuleView { rule: Arc::clone(rule), channel: live.channel.clone() })
}
