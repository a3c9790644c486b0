//! The snapshot: all configuration in memory, immutable, swapped as a whole when something changes.
//!
//! The way of an event reads nothing else, so that it costs no query. A change is committed first and then read back
//! into a new snapshot; the change's caller is answered after that, so that it finds what it wrote.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::HashMapExt as _;
use sha2::{Digest, Sha256};
use tidings_channels::{ChannelConfig, ChannelContext, Notifier, registry};
use tidings_domain::calendar::Zone;
use tidings_domain::channel::Channel;
use tidings_domain::endpoint::Endpoint;
use tidings_domain::id::{ApiKeyId, ChannelId, EndpointId, RuleId, WorkspaceId};
use tidings_domain::mute::Mute;
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::rule::Rule;
use tidings_domain::secret::Secret;
use tidings_domain::workspace::Workspace;
use tidings_store::settings::{ChannelRecord, Configuration, EndpointRecord, InboundWebhook, Preferences, Version};
use tidings_store::{Store, StoreError};
use tokio::sync::{Mutex, watch};

use crate::error::EngineError;
use crate::vault::{Owner, Vault};
use crate::{ById, Result};

/// A channel that is ready to be used.
pub struct LoadedChannel {
    /// The channel.
    pub channel: Channel,
    /// Its configuration with its secrets opened.
    pub stored: ChannelConfig,
    /// Where it leads, or why it cannot be used.
    pub destination: std::result::Result<Arc<dyn Notifier>, String>,
}

/// An endpoint that is ready to be watched.
pub struct LoadedEndpoint {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The password or token of its `auth`, opened; none if it has none, or if it cannot be opened.
    pub secret: Option<Secret>,
}

/// The rules of one type of resource.
#[derive(Default)]
struct RulesOfType {
    of_all: Vec<Arc<Rule>>,
    of_one: HashMap<String, Vec<Arc<Rule>>>,
}

/// The endpoints of a workspace, as they are shared by every version that did not change them.
pub type SharedEndpoints = Arc<HashMap<EndpointId, Arc<LoadedEndpoint>>>;

/// One workspace as of one version.
pub struct WorkspaceView {
    /// The workspace.
    pub workspace: Workspace,
    /// The version of its configuration.
    pub version: Version,
    /// What it prefers.
    pub preferences: Preferences,
    /// The zone in which it says times.
    pub zone: Zone,
    /// Its mutes, those that are over included.
    pub mutes: Vec<Mute>,
    /// Its inbound doors.
    pub inbound_webhooks: Vec<InboundWebhook>,
    endpoints: Arc<HashMap<EndpointId, Arc<LoadedEndpoint>>>,
    rules: ById<RuleId, Arc<Rule>>,
    /// By type of resource.
    routes: [RulesOfType; ResourceType::ALL.len()],
    channels: ById<ChannelId, Arc<LoadedChannel>>,
}

impl WorkspaceView {
    /// The rules of this resource, its own and those of every resource of the type.
    pub fn rules_of<'a>(&'a self, kind: ResourceType, resource_id: &str) -> impl Iterator<Item = &'a Arc<Rule>> {
        let of_type = &self.routes[kind as usize];
        let own = of_type.of_one.get(resource_id).into_iter().flatten();
        own.chain(&of_type.of_all)
    }

    /// Every rule, in no order.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.values()
    }

    /// One rule.
    pub fn rule(&self, id: RuleId) -> Option<&Arc<Rule>> {
        self.rules.get(&id)
    }

    /// Every endpoint, in no order.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<LoadedEndpoint>> {
        self.endpoints.values()
    }

    /// One endpoint.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<LoadedEndpoint>> {
        self.endpoints.get(&id)
    }

    /// All endpoints, as they are shared by every version that did not change them.
    pub fn endpoints_shared(&self) -> &SharedEndpoints {
        &self.endpoints
    }

    /// Every channel, private ones included, in no order.
    pub fn channels(&self) -> impl Iterator<Item = &Arc<LoadedChannel>> {
        self.channels.values()
    }

    /// One channel.
    pub fn channel(&self, id: ChannelId) -> Option<&Arc<LoadedChannel>> {
        self.channels.get(&id)
    }
}

/// Whom an API key lets in, and where.
#[derive(Clone)]
pub struct Caller {
    /// The workspace that the key opens.
    pub workspace_id: WorkspaceId,
    /// The key.
    pub api_key_id: ApiKeyId,
    /// The key's name, for people.
    pub name: Arc<str>,
    /// Whether it may only read.
    pub read_only: bool,
}

/// All configuration as of one instant.
#[derive(Default, Clone)]
pub struct Snapshot {
    workspaces: ById<WorkspaceId, Arc<WorkspaceView>>,
    by_slug: HashMap<String, WorkspaceId>,
    callers: HashMap<[u8; 32], Caller>,
}

/// Where an inbound webhook leads.
#[derive(Debug, Clone)]
pub struct InboundWebhookMatch {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The webhook.
    pub inbound_webhook: InboundWebhook,
}

impl Snapshot {
    /// Every workspace, in no order.
    pub fn workspaces(&self) -> impl Iterator<Item = &Arc<WorkspaceView>> {
        self.workspaces.values()
    }

    /// The inbound webhook of this secret. Doors are found by the SHA-256 of it, as API keys are.
    pub fn inbound_webhook(&self, secret: &str) -> Option<InboundWebhookMatch> {
        let hash = api_key_hash(secret);
        let found = |view: &Arc<WorkspaceView>| {
            let webhook = view.inbound_webhooks.iter().find(|webhook| webhook.hash == hash)?;
            Some(InboundWebhookMatch { workspace_id: view.workspace.id, inbound_webhook: webhook.clone() })
        };
        self.workspaces.values().find_map(found)
    }

    /// One workspace, by its id.
    pub fn workspace(&self, id: WorkspaceId) -> Option<&Arc<WorkspaceView>> {
        self.workspaces.get(&id)
    }

    /// One workspace, by its id or its slug.
    pub fn workspace_named(&self, name: &str) -> Option<&Arc<WorkspaceView>> {
        let id = name.parse().ok().or_else(|| self.by_slug.get(name).copied())?;
        self.workspaces.get(&id)
    }

    /// Whom this API key lets in. Keys are found by their SHA-256, so that no comparison tells how much of one is right.
    pub fn authenticate(&self, api_key: &str) -> Option<&Caller> {
        self.callers.get(&api_key_hash(api_key))
    }
}

/// What is kept of an API key.
pub fn api_key_hash(api_key: &str) -> [u8; 32] {
    Sha256::digest(api_key).into()
}

/// The current snapshot and the way to a newer one.
pub struct ConfigCache {
    current: ArcSwap<Snapshot>,
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    environment: ChannelContext,
    reloading: Mutex<()>,
    /// Counts the snapshots, for those who wait for the next.
    changes: watch::Sender<u64>,
}

impl ConfigCache {
    /// Reads everything.
    ///
    /// # Errors
    /// Those of the store, and a channel sealed with another key.
    pub async fn from_store(store: Arc<dyn Store>, vault: Arc<Vault>, environment: ChannelContext) -> Result<Self> {
        let (changes, _) = watch::channel(0);
        let live = Self { current: ArcSwap::default(), store, vault, environment, reloading: Mutex::new(()), changes };
        live.reload_all().await?;
        Ok(live)
    }

    /// The snapshot of now.
    pub fn now(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The snapshot of now, for a glance.
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// What channels share.
    pub fn environment(&self) -> &ChannelContext {
        &self.environment
    }

    /// Hears of every new snapshot.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn swap(&self, next: Snapshot) {
        self.current.store(Arc::new(next));
        self.changes.send_modify(|count| *count += 1);
    }

    /// Reads workspaces, keys, and the configuration of every workspace that changed.
    pub async fn reload_all(&self) -> Result<()> {
        let _turn = self.reloading.lock().await;
        let mut next = Snapshot::default();
        let before = self.now();
        let versions: HashMap<_, _> = self.store.versions().await?.into_iter().collect();
        for record in self.store.workspaces().await? {
            let workspace = record.workspace;
            for key in record.api_keys {
                let (workspace_id, api_key_id, read_only) = (workspace.id, key.id, key.read_only);
                let caller = Caller { workspace_id, api_key_id, name: key.name.as_str().into(), read_only };
                next.callers.insert(key.hash, caller);
            }
            next.by_slug.insert(workspace.slug.clone(), workspace.id);
            let known = before.workspace(workspace.id);
            let view = match known {
                Some(view) if versions.get(&workspace.id) == Some(&view.version) => Arc::clone(view),
                _ => Arc::new(self.view(workspace, known).await?),
            };
            next.workspaces.insert(view.workspace.id, view);
        }
        self.swap(next);
        Ok(())
    }

    /// Reads what changed without this process having seen it: written by another, or committed when reading it back
    /// failed.
    pub async fn refresh(&self) -> std::result::Result<(), StoreError> {
        let versions = self.store.versions().await?;
        let now = self.now();
        let is_current =
            |(id, version): &(WorkspaceId, Version)| now.workspace(*id).is_some_and(|view| view.version == *version);
        if versions.iter().all(is_current) && versions.len() == now.workspaces.len() {
            return Ok(());
        }
        self.reload_all().await.map_err(|error| match error {
            EngineError::Store(error) => error,
            other => StoreError::Database(other.to_string()),
        })
    }

    /// Reads one workspace's configuration, after it was changed.
    pub async fn reload(&self, workspace_id: WorkspaceId) -> Result<()> {
        let _turn = self.reloading.lock().await;
        let before = self.now();
        let Some(known) = before.workspace(workspace_id) else { return Ok(()) };
        let view = self.view(known.workspace.clone(), Some(known)).await?;
        let mut next = Snapshot::clone(&before);
        next.workspaces.insert(workspace_id, Arc::new(view));
        self.swap(next);
        Ok(())
    }

    async fn view(&self, workspace: Workspace, known: Option<&Arc<WorkspaceView>>) -> Result<WorkspaceView> {
        let since = known.map_or(0, |view| view.version);
        let mut read = self.store.configuration(workspace.id, since).await?;
        let mut endpoints = known.map(|view| Arc::clone(&view.endpoints)).unwrap_or_default();
        self.take_over(&mut endpoints, std::mem::take(&mut read.endpoints));
        if endpoints.len() != read.endpoint_count as usize {
            // Some were deleted: read them all.
            read = self.store.configuration(workspace.id, 0).await?;
            endpoints = Arc::default();
            self.take_over(&mut endpoints, std::mem::take(&mut read.endpoints));
        }
        let Configuration { version, preferences, mutes, inbound_webhooks, rules, channels, .. } = read;
        let mut view = WorkspaceView {
            workspace,
            version,
            zone: Zone::from_name(&preferences.timezone).unwrap_or(Zone::UTC),
            preferences,
            mutes,
            inbound_webhooks,
            endpoints,
            rules: ById::with_capacity(rules.len()),
            routes: Default::default(),
            channels: ById::with_capacity(channels.len()),
        };
        for record in channels {
            let id = record.channel.id;
            let known = known.and_then(|view| view.channel(id));
            view.channels.insert(id, self.channel(record, known));
        }
        for rule in rules {
            let rule = Arc::new(rule);
            let of_type = &mut view.routes[rule.resource_type as usize];
            match &rule.resource {
                ResourceSelector::All => of_type.of_all.push(Arc::clone(&rule)),
                ResourceSelector::One(id) => of_type.of_one.entry(id.clone()).or_default().push(Arc::clone(&rule)),
            }
            view.rules.insert(rule.id, rule);
        }
        Ok(view)
    }

    /// Puts endpoints that were written into those that are known.
    fn take_over(&self, endpoints: &mut Arc<HashMap<EndpointId, Arc<LoadedEndpoint>>>, written: Vec<EndpointRecord>) {
        if written.is_empty() {
            return;
        }
        let endpoints = Arc::make_mut(endpoints);
        for EndpointRecord { endpoint, key_id, sealed } in written {
            let owner = Owner::Endpoint(endpoint.workspace_id, endpoint.id);
            let opened = if sealed.is_empty() { Ok(None) } else { self.vault.open_endpoint(&sealed, &key_id, owner) };
            let secret = opened.unwrap_or_else(|error| {
                tracing::error!(endpoint = %endpoint.id, %error, "the secret of an endpoint cannot be opened");
                None
            });
            endpoints.insert(endpoint.id, Arc::new(LoadedEndpoint { endpoint, secret }));
        }
    }

    /// Opens a channel, unless it is known at this revision already. One that cannot be opened is kept with the reason:
    /// it must not take the others with it.
    fn channel(&self, record: ChannelRecord, known: Option<&Arc<LoadedChannel>>) -> Arc<LoadedChannel> {
        let ChannelRecord { channel, key_id, sealed } = record;
        if let Some(known) = known.filter(|known| known.channel.revision == channel.revision) {
            if known.channel == channel {
                return Arc::clone(known);
            }
            let (stored, destination) = (known.stored.clone(), known.destination.clone());
            return Arc::new(LoadedChannel { channel, stored, destination });
        }
        let mut stored = ChannelConfig { settings: channel.settings.clone(), ..ChannelConfig::default() };
        let destination = self
            .vault
            .open_secrets(&sealed, &key_id, Owner::Channel(channel.workspace_id, channel.id))
            .map_err(|error| error.to_string())
            .and_then(|secrets| {
                stored.secrets = secrets;
                registry::plugin(channel.channel_type).open(&stored, &self.environment)
            });
        if let Err(error) = &destination {
            tracing::error!(channel = %channel.id, %error, "a channel cannot be used");
        }
        Arc::new(LoadedChannel { channel, stored, destination })
    }
}
