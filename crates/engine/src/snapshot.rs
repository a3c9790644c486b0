//! The configuration snapshot: all configuration in memory, immutable, swapped as a whole when something changes.
//!
//! The event pipeline reads nothing else, so it costs no query. A change is committed first, then read back into a new
//! snapshot, and only then acknowledged to its caller, who thus reads its own write.

use std::collections::{BTreeMap, HashMap};
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
use tidings_domain::time::Timestamp;
use tidings_domain::workspace::Workspace;
use tidings_store::settings::{ChannelRecord, Configuration, EndpointRecord, InboundWebhook, Preferences, Version};
use tidings_store::{Store, StoreError};
use tokio::sync::{Mutex, watch};

use crate::changes::{Feeds, Topic};
use crate::error::EngineError;
use crate::vault::{Owner, Vault};
use crate::{ById, Result};

/// A channel that is ready to send.
pub struct LoadedChannel {
    pub channel: Channel,
    /// Its configuration, secrets opened.
    pub config: ChannelConfig,
    /// Its notifier, or why there is none.
    pub notifier: std::result::Result<Arc<dyn Notifier>, String>,
}

impl LoadedChannel {
    /// Whether it is a shared channel, as opposed to the private channel of one rule.
    pub fn is_shared(&self) -> bool {
        self.channel.owner_rule_id.is_none()
    }
}

/// An endpoint that is ready to be probed.
pub struct LoadedEndpoint {
    /// The secrets in its definition are opened; those that cannot be opened are empty.
    pub endpoint: Endpoint,
}

/// The rules of one resource type.
#[derive(Default)]
struct RulesOfType {
    any_resource: Vec<Arc<Rule>>,
    by_resource: HashMap<String, Vec<Arc<Rule>>>,
}

/// The endpoints of a workspace, shared by all snapshots between two changes of them.
pub type SharedEndpoints = Arc<HashMap<EndpointId, Arc<LoadedEndpoint>>>;

/// One workspace at one version of its configuration.
pub struct WorkspaceView {
    pub workspace: Workspace,
    pub version: Version,
    pub preferences: Preferences,
    /// Time zone of the times in its messages.
    pub zone: Zone,
    /// Ended mutes included, until they are pruned.
    pub mutes: Vec<Mute>,
    pub inbound_webhooks: Vec<InboundWebhook>,
    endpoints: SharedEndpoints,
    rules: ById<RuleId, Arc<Rule>>,
    /// Indexed by resource type.
    routes: [RulesOfType; ResourceType::ALL.len()],
    channels: ById<ChannelId, Arc<LoadedChannel>>,
}

impl WorkspaceView {
    /// The rules of this resource: its own, then those of every resource of its type, each oldest first.
    pub fn rules_of<'a>(
        &'a self,
        kind: ResourceType,
        resource_id: &str,
    ) -> impl Iterator<Item = &'a Arc<Rule>> + use<'a> {
        let of_type = &self.routes[kind as usize];
        let own = of_type.by_resource.get(resource_id).into_iter().flatten();
        own.chain(&of_type.any_resource)
    }

    /// Every rule, in no order.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.values()
    }

    /// One rule.
    pub fn rule(&self, id: RuleId) -> Option<&Arc<Rule>> {
        self.rules.get(&id)
    }

    /// The rule's private channel, if it has one.
    pub fn private_channel(&self, rule: &Rule) -> Option<&Arc<LoadedChannel>> {
        self.channel(rule.channel_id).filter(|loaded| loaded.channel.owner_rule_id == Some(rule.id))
    }

    /// How many rules one event can match at most if it is of a selected resource. Disabled ones count: they can be enabled.
    pub fn most_rules_of(&self, resource_type: ResourceType, selector: &ResourceSelector) -> usize {
        let of_type = &self.routes[resource_type as usize];
        let of_one = match selector {
            ResourceSelector::One(id) => of_type.by_resource.get(id).map_or(0, Vec::len),
            ResourceSelector::All => of_type.by_resource.values().map(Vec::len).max().unwrap_or(0),
        };
        of_one + of_type.any_resource.len()
    }

    /// Every endpoint, in no order.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<LoadedEndpoint>> {
        self.endpoints.values()
    }

    /// One endpoint.
    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<LoadedEndpoint>> {
        self.endpoints.get(&id)
    }

    /// All endpoints, behind the pointer that snapshots share.
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

/// An authenticated caller.
#[derive(Clone)]
pub struct Caller {
    pub workspace_id: WorkspaceId,
    pub api_key_id: ApiKeyId,
    /// The key's name, for people.
    pub name: Arc<str>,
    pub read_only: bool,
    /// Exclusive; `None` if the key does not expire.
    pub expires_at: Option<Timestamp>,
}

/// The configuration of all workspaces at one instant.
#[derive(Default, Clone)]
pub struct Snapshot {
    workspaces: ById<WorkspaceId, Arc<WorkspaceView>>,
    by_slug: HashMap<String, WorkspaceId>,
    callers: HashMap<[u8; 32], Caller>,
}

/// An inbound webhook found by its secret.
#[derive(Debug, Clone)]
pub struct InboundWebhookMatch {
    pub workspace_id: WorkspaceId,
    pub inbound_webhook: InboundWebhook,
}

impl Snapshot {
    /// Inserts a workspace, or replaces it; its slug may be another than before.
    fn insert(&mut self, view: Arc<WorkspaceView>) {
        let workspace = &view.workspace;
        if let Some(before) = self.workspaces.get(&workspace.id)
            && before.workspace.slug != workspace.slug
            // Another workspace may have taken the former slug.
            && self.by_slug.get(&before.workspace.slug) == Some(&workspace.id)
        {
            self.by_slug.remove(&before.workspace.slug);
        }
        self.by_slug.insert(workspace.slug.clone(), workspace.id);
        self.workspaces.insert(workspace.id, view);
    }

    /// Every workspace, in no order.
    pub fn workspaces(&self) -> impl Iterator<Item = &Arc<WorkspaceView>> {
        self.workspaces.values()
    }

    /// The inbound webhook of this secret, found by its SHA-256 as API keys are.
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

    /// The caller that this API key authenticates, unless the key has expired. Keys are found by their SHA-256, so that the
    /// time of a comparison does not reveal how much of a guessed key is right.
    pub fn authenticate(&self, api_key: &str, now: Timestamp) -> Option<&Caller> {
        let caller = self.callers.get(&api_key_hash(api_key))?;
        caller.expires_at.is_none_or(|expires_at| now < expires_at).then_some(caller)
    }
}

/// What is stored of an API key: its SHA-256.
pub fn api_key_hash(api_key: &str) -> [u8; 32] {
    Sha256::digest(api_key).into()
}

/// Holds the current snapshot, and replaces it after changes.
pub struct ConfigCache {
    current: ArcSwap<Snapshot>,
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    channel_context: ChannelContext,
    /// Serialises reloads: each builds on the snapshot before it.
    reload_lock: Mutex<()>,
    /// Number of snapshots so far.
    changes: watch::Sender<u64>,
    feeds: Arc<Feeds>,
}

impl ConfigCache {
    /// Loads the configuration of all workspaces.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn from_store(
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        channel_context: ChannelContext,
        feeds: Arc<Feeds>,
    ) -> Result<Self> {
        let (changes, _) = watch::channel(0);
        let (current, reload_lock) = (ArcSwap::default(), Mutex::new(()));
        let cache = Self { current, store, vault, channel_context, reload_lock, changes, feeds };
        cache.reload_all().await?;
        Ok(cache)
    }

    /// The current snapshot, to be held for any time.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The current snapshot, cheaper, to be held for a moment and not across an await.
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// What all channels share, such as the HTTP client.
    pub fn channel_context(&self) -> &ChannelContext {
        &self.channel_context
    }

    /// Notified of every new snapshot.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Where subscribers are notified of changes.
    pub fn feeds(&self) -> &Arc<Feeds> {
        &self.feeds
    }

    fn publish(&self, next: Snapshot) {
        let next = Arc::new(next);
        let before = self.current.swap(Arc::clone(&next));
        self.changes.send_modify(|count| *count += 1);
        for (id, view) in &next.workspaces {
            if before.workspace(*id).is_none_or(|before| !Arc::ptr_eq(before, view)) {
                self.feeds.mark(*id, Topic::Configuration);
            }
        }
    }

    /// Loads the workspaces, their API keys, and the configuration of every workspace whose version changed.
    pub async fn reload_all(&self) -> Result<()> {
        let _lock = self.reload_lock.lock().await;
        let mut next = Snapshot::default();
        let before = self.snapshot();
        // Before the configurations: a change in between is then loaded again by the next refresh, instead of missed.
        let versions: HashMap<_, _> = self.store.versions().await?.into_iter().collect();
        for record in self.store.workspaces().await? {
            let workspace = record.workspace;
            for key in record.api_keys {
                let caller = Caller {
                    workspace_id: workspace.id,
                    api_key_id: key.id,
                    name: key.name.as_str().into(),
                    read_only: key.read_only,
                    expires_at: key.expires_at,
                };
                next.callers.insert(key.hash, caller);
            }
            let known = before.workspace(workspace.id);
            let view = match known {
                Some(view) if versions.get(&workspace.id) == Some(&view.version) => Arc::clone(view),
                _ => match self.load_workspace(workspace.id, known).await {
                    Ok(view) => Arc::new(view),
                    // Deleted since the list was read.
                    Err(EngineError::Store(StoreError::NotFound)) => continue,
                    Err(error) => return Err(error),
                },
            };
            next.insert(view);
        }
        self.publish(next);
        Ok(())
    }

    /// Loads changes that this process does not have yet: written by another process, or committed while reading back
    /// failed.
    pub async fn refresh(&self) -> std::result::Result<(), StoreError> {
        let versions = self.store.versions().await?;
        let current = self.snapshot();
        let is_current = |(id, version): &(WorkspaceId, Version)| {
            current.workspace(*id).is_some_and(|view| view.version == *version)
        };
        if versions.iter().all(is_current) && versions.len() == current.workspaces.len() {
            return Ok(());
        }
        self.reload_all().await.map_err(|error| match error {
            EngineError::Store(error) => error,
            other => StoreError::Database(other.to_string()),
        })
    }

    /// Loads one workspace's configuration after a change.
    pub async fn reload(&self, workspace_id: WorkspaceId) -> Result<()> {
        let _lock = self.reload_lock.lock().await;
        let before = self.snapshot();
        let Some(known) = before.workspace(workspace_id) else { return Ok(()) };
        let view = self.load_workspace(workspace_id, Some(known)).await?;
        let mut next = Snapshot::clone(&before);
        next.insert(Arc::new(view));
        self.publish(next);
        Ok(())
    }

    /// Loads one workspace. Unchanged endpoints and channels are taken from the `known` view.
    async fn load_workspace(
        &self,
        workspace_id: WorkspaceId,
        known: Option<&Arc<WorkspaceView>>,
    ) -> Result<WorkspaceView> {
        let since = known.map_or(0, |view| view.version);
        let mut loaded = self.store.configuration(workspace_id, since).await?;
        let mut endpoints = known.map(|view| Arc::clone(&view.endpoints)).unwrap_or_default();
        self.merge_endpoints(&mut endpoints, std::mem::take(&mut loaded.endpoints));
        if endpoints.len() != loaded.endpoint_count as usize {
            // Only changed endpoints were read, and deleted ones leave no row: read them all.
            loaded = self.store.configuration(workspace_id, 0).await?;
            endpoints = Arc::default();
            self.merge_endpoints(&mut endpoints, std::mem::take(&mut loaded.endpoints));
        }
        let Configuration { workspace, version, preferences, mutes, inbound_webhooks, rules, channels, .. } = loaded;
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
            view.channels.insert(id, self.load_channel(record, known));
        }
        for rule in rules {
            let rule = Arc::new(rule);
            let of_type = &mut view.routes[rule.resource_type as usize];
            match &rule.resource {
                ResourceSelector::All => of_type.any_resource.push(Arc::clone(&rule)),
                ResourceSelector::One(id) => of_type.by_resource.entry(id.clone()).or_default().push(Arc::clone(&rule)),
            }
            view.rules.insert(rule.id, rule);
        }
        Ok(view)
    }

    /// Opens changed endpoints and merges them into those that are known.
    fn merge_endpoints(&self, endpoints: &mut SharedEndpoints, changed: Vec<EndpointRecord>) {
        // Without a change the pointer stays the same, which the scheduler relies on.
        if changed.is_empty() {
            return;
        }
        let endpoints = Arc::make_mut(endpoints);
        for EndpointRecord { mut endpoint, key_id, sealed } in changed {
            let owner = Owner::Endpoint(endpoint.workspace_id, endpoint.id);
            let opened =
                if sealed.is_empty() { Ok(BTreeMap::new()) } else { self.vault.open_secrets(&sealed, &key_id, owner) };
            let secrets = opened.unwrap_or_else(|error| {
                tracing::error!(endpoint = %endpoint.id, %error, "failed to open the secrets of an endpoint, it is probed without them");
                BTreeMap::new()
            });
            endpoint.definition.restore_secrets(secrets);
            endpoints.insert(endpoint.id, Arc::new(LoadedEndpoint { endpoint }));
        }
    }

    /// Opens a channel, unless it is known at this revision. One that cannot be opened is kept with the reason, so that the
    /// others still work.
    fn load_channel(&self, record: ChannelRecord, known: Option<&Arc<LoadedChannel>>) -> Arc<LoadedChannel> {
        let ChannelRecord { channel, key_id, sealed } = record;
        if let Some(known) = known.filter(|known| known.channel.revision == channel.revision) {
            if known.channel == channel {
                return Arc::clone(known);
            }
            // Fields outside of the revision differ, such as the connectivity.
            let (config, notifier) = (known.config.clone(), known.notifier.clone());
            return Arc::new(LoadedChannel { channel, config, notifier });
        }
        let mut config = ChannelConfig { settings: channel.settings.clone(), ..ChannelConfig::default() };
        let notifier = self
            .vault
            .open_secrets(&sealed, &key_id, Owner::Channel(channel.workspace_id, channel.id))
            .map_err(|error| error.to_string())
            .and_then(|secrets| {
                config.secrets = secrets;
                registry::plugin(channel.channel_type).open(&config, &self.channel_context)
            });
        if let Err(error) = &notifier {
            tracing::error!(channel = %channel.id, %error, "channel cannot be used");
        }
        Arc::new(LoadedChannel { channel, config, notifier })
    }
}
