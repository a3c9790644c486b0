//! The change feed: subscribers are notified that something of a topic changed, not what.
//!
//! A change costs its writer one atomic operation, and nothing at all while its workspace has no subscriber: [`Feeds::mark`]
//! sets a bit. [`run`] collects the bits of each feed, at most every [`PUBLISH_EVERY`], and gives them a sequence number. A
//! feed keeps only the last number of each topic, so a slow subscriber costs no memory and misses nothing: it sees
//! the topics whose number is higher than the one it saw last. The same comparison resumes a subscriber that was away, as
//! long as its feed exists; it does for [`KEPT`] after the last subscriber left.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use tidings_domain::id::WorkspaceId;
use tidings_domain::time::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::ById;
use crate::sync::lock;

/// The shortest time between two publications.
pub const PUBLISH_EVERY: Duration = Duration::from_millis(250);
/// How long a feed without subscribers is kept, so that they can resume.
const KEPT: Duration = Duration::from_secs(60);
/// Subscriptions of this process.
pub const SUBSCRIPTIONS_MAX: u32 = 256;
/// Subscriptions of one workspace.
pub const WORKSPACE_SUBSCRIPTIONS_MAX: u32 = 32;
/// Subscriptions of one user or API key. One browser needs one; a second is for the moment of a reconnection.
pub const CALLER_SUBSCRIPTIONS_MAX: u32 = 8;

const SUBSCRIPTIONS: &str = "tidings_change_subscriptions";
const PUBLISHED: &str = "tidings_changes_published_total";

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Runs were reported.
    Runs,
    /// Deliveries were made, attempted or settled.
    Deliveries,
    /// Incidents were opened, changed or resolved.
    Incidents,
    /// Endpoints have another status.
    Endpoints,
    /// Checks were recorded.
    Checks,
    /// Channels, rules, endpoints, mutes, preferences or inbound webhooks were changed.
    Configuration,
    /// Members, invitations or API keys were changed.
    Members,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 7] = [
        Self::Runs,
        Self::Deliveries,
        Self::Incidents,
        Self::Endpoints,
        Self::Checks,
        Self::Configuration,
        Self::Members,
    ];

    /// The name in the API and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Deliveries => "deliveries",
            Self::Incidents => "incidents",
            Self::Endpoints => "endpoints",
            Self::Checks => "checks",
            Self::Configuration => "configuration",
            Self::Members => "members",
        }
    }

    /// The topic of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == name)
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Registers the help text of the metrics.
pub(crate) fn describe_metrics() {
    describe_gauge!(SUBSCRIPTIONS, "Open subscriptions to changes.");
    describe_counter!(PUBLISHED, "Changes published to subscribers, by topic.");
}

/// The feeds of all workspaces that have subscribers.
pub struct Feeds {
    feeds: ArcSwap<ById<WorkspaceId, Arc<Feed>>>,
    counts: Mutex<Counts>,
    /// Notified when a feed has something to publish.
    wake_up: Arc<Notify>,
    /// Distinguishes feeds, also those of an earlier process.
    next_feed: AtomicU64,
    /// Set when subscriptions are to end.
    is_stopped: watch::Sender<bool>,
}

/// The feed of one workspace.
struct Feed {
    id: u64,
    /// The topics that changed since the last publication.
    pending: AtomicU32,
    /// For each topic, the number of the last publication that had it.
    last: [AtomicU64; Topic::ALL.len()],
    /// The number of the last publication.
    published: watch::Sender<u64>,
    wake_up: Arc<Notify>,
    /// When the last subscriber left; `None` while there is one.
    idle_since: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Counts {
    all: u32,
    by_workspace: ById<WorkspaceId, u32>,
    by_caller: HashMap<String, u32>,
}

/// Why a subscription was refused: a limit, with what it is a limit of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionsExceeded {
    Caller,
    Workspace,
    Node,
}

impl Feeds {
    /// `now` makes the ids of this process differ from those of earlier ones.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            feeds: ArcSwap::default(),
            counts: Mutex::default(),
            wake_up: Arc::default(),
            next_feed: AtomicU64::new(now.unix_ms().unsigned_abs()),
            is_stopped: watch::channel(false).0,
        }
    }

    /// Something of this topic changed. To be called after the commit, so that who is notified reads the change.
    pub fn mark(&self, workspace_id: WorkspaceId, topic: Topic) {
        if let Some(feed) = self.feeds.load().get(&workspace_id) {
            feed.mark(topic.bit());
        }
    }

    /// Subscribes to these topics (to all if there are none) of a workspace. `caller` is the user or key that subscribes.
    /// With the id of the last change that it saw, the subscriber resumes there, if that is still known.
    pub fn subscribe(
        self: &Arc<Self>,
        workspace_id: WorkspaceId,
        caller: &str,
        topics: &[Topic],
        last_id: Option<&str>,
    ) -> Result<Subscription, SubscriptionsExceeded> {
        let feed = {
            // Under the lock of the counts, so that a feed that is in use is not removed.
            let mut counts = lock(&self.counts);
            counts.add(workspace_id, caller)?;
            gauge!(SUBSCRIPTIONS).set(f64::from(counts.all));
            self.feed(workspace_id)
        };
        let published = feed.published.subscribe();
        let current = *published.borrow();
        let resumed = last_id.and_then(|id| feed.parse_id(id)).filter(|seen| *seen <= current);
        let mask = topics.iter().fold(0, |mask, topic| mask | topic.bit());
        Ok(Subscription {
            feeds: Arc::clone(self),
            workspace_id,
            caller: caller.to_owned(),
            seen: resumed.unwrap_or(current),
            is_resumed: resumed.is_some(),
            mask: if mask == 0 { u32::MAX } else { mask },
            is_stopped: self.is_stopped.subscribe(),
            feed,
            published,
        })
    }

    /// The feed of the workspace, made if there is none.
    fn feed(&self, workspace_id: WorkspaceId) -> Arc<Feed> {
        if let Some(feed) = self.feeds.load().get(&workspace_id) {
            *lock(&feed.idle_since) = None;
            return Arc::clone(feed);
        }
        let feed = Arc::new(Feed {
            id: self.next_feed.fetch_add(1, Ordering::Relaxed),
            pending: AtomicU32::default(),
            last: Default::default(),
            published: watch::channel(0).0,
            wake_up: Arc::clone(&self.wake_up),
            idle_since: Mutex::default(),
        });
        let mut next = ById::clone(&self.feeds.load());
        next.insert(workspace_id, Arc::clone(&feed));
        self.feeds.store(Arc::new(next));
        feed
    }

    fn unsubscribe(&self, workspace_id: WorkspaceId, caller: &str) {
        let mut counts = lock(&self.counts);
        let is_last = counts.remove(workspace_id, caller);
        gauge!(SUBSCRIPTIONS).set(f64::from(counts.all));
        if is_last && let Some(feed) = self.feeds.load().get(&workspace_id) {
            *lock(&feed.idle_since) = Some(Instant::now());
        }
    }

    /// Publishes what changed, and removes feeds that no client resumed.
    fn publish(&self) {
        let feeds = self.feeds.load_full();
        feeds.values().for_each(|feed| feed.publish());
        let is_forgotten = |feed: &Feed| lock(&feed.idle_since).is_some_and(|since| since.elapsed() >= KEPT);
        if feeds.values().any(|feed| is_forgotten(feed)) {
            let _counts = lock(&self.counts);
            let mut next = ById::clone(&self.feeds.load());
            next.retain(|_, feed| !is_forgotten(feed));
            self.feeds.store(Arc::new(next));
        }
    }

    /// Ends all subscriptions.
    pub fn stop(&self) {
        self.is_stopped.send_replace(true);
    }
}

/// Publishes changes until the feeds are stopped.
pub(crate) async fn run(feeds: Arc<Feeds>) {
    let mut is_stopped = feeds.is_stopped.subscribe();
    loop {
        tokio::select! {
            _ = is_stopped.wait_for(|is_stopped| *is_stopped) => return,
            () = feeds.wake_up.notified() => feeds.publish(),
        }
        // What changes meanwhile is published together.
        tokio::time::sleep(PUBLISH_EVERY).await;
    }
}

impl Feed {
    fn mark(&self, bit: u32) {
        // Read first: while a publication is pending, nearly all changes find their bit set, and share the cache line.
        if self.pending.load(Ordering::Relaxed) & bit == 0 && self.pending.fetch_or(bit, Ordering::AcqRel) == 0 {
            self.wake_up.notify_one();
        }
    }

    fn publish(&self) {
        let changed = self.pending.swap(0, Ordering::AcqRel);
        if changed == 0 {
            return;
        }
        let number = *self.published.borrow() + 1;
        for topic in Topic::ALL.into_iter().filter(|topic| changed & topic.bit() != 0) {
            self.last[topic as usize].store(number, Ordering::Release);
            counter!(PUBLISHED, "topic" => topic.as_str()).increment(1);
        }
        // After the topics, which subscribers read when they see the number.
        self.published.send_replace(number);
    }

    fn format_id(&self, number: u64) -> String {
        format!("{:x}-{number}", self.id)
    }

    /// The number in an id of this feed; `None` for that of another.
    fn parse_id(&self, id: &str) -> Option<u64> {
        let (feed, number) = id.split_once('-')?;
        (u64::from_str_radix(feed, 16).ok()? == self.id).then(|| number.parse().ok())?
    }
}

impl Counts {
    fn add(&mut self, workspace_id: WorkspaceId, caller: &str) -> Result<(), SubscriptionsExceeded> {
        let of_workspace = self.by_workspace.get(&workspace_id).copied().unwrap_or(0);
        let of_caller = self.by_caller.get(caller).copied().unwrap_or(0);
        if of_caller >= CALLER_SUBSCRIPTIONS_MAX {
            return Err(SubscriptionsExceeded::Caller);
        }
        if of_workspace >= WORKSPACE_SUBSCRIPTIONS_MAX {
            return Err(SubscriptionsExceeded::Workspace);
        }
        if self.all >= SUBSCRIPTIONS_MAX {
            return Err(SubscriptionsExceeded::Node);
        }
        self.all += 1;
        self.by_workspace.insert(workspace_id, of_workspace + 1);
        self.by_caller.insert(caller.to_owned(), of_caller + 1);
        Ok(())
    }

    /// Returns whether it was the workspace's last.
    fn remove(&mut self, workspace_id: WorkspaceId, caller: &str) -> bool {
        self.all = self.all.saturating_sub(1);
        if let Some(count) = self.by_caller.get_mut(caller) {
            *count -= 1;
            if *count == 0 {
                self.by_caller.remove(caller);
            }
        }
        let left = self.by_workspace.get_mut(&workspace_id).map_or(0, |count| {
            *count -= 1;
            *count
        });
        if left == 0 {
            self.by_workspace.remove(&workspace_id);
        }
        left == 0
    }
}

/// A subscription, until it is dropped.
pub struct Subscription {
    feeds: Arc<Feeds>,
    feed: Arc<Feed>,
    workspace_id: WorkspaceId,
    caller: String,
    published: watch::Receiver<u64>,
    /// The number of the last publication that the subscriber saw.
    seen: u64,
    is_resumed: bool,
    mask: u32,
    is_stopped: watch::Receiver<bool>,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// With which a subscriber resumes.
    pub id: String,
    /// At least one, in the order of [`Topic::ALL`].
    pub topics: Vec<Topic>,
}

impl Subscription {
    /// Whether it continues where the subscriber left. If not, it may have missed changes of any topic.
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// The id to resume with before the first change.
    pub fn id(&self) -> String {
        self.feed.format_id(self.seen)
    }

    /// Waits for changes of its topics; `None` when the feed ends. May be cancelled without losing any.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            // Marked as seen before the topics are read, so that a publication in between is not missed.
            let current = *self.published.borrow_and_update();
            let is_changed = |topic: &Topic| {
                self.mask & topic.bit() != 0 && self.feed.last[*topic as usize].load(Ordering::Acquire) > self.seen
            };
            let topics: Vec<_> = Topic::ALL.into_iter().filter(is_changed).collect();
            self.seen = current;
            if !topics.is_empty() {
                return Some(Change { id: self.feed.format_id(current), topics });
            }
            tokio::select! {
                _ = self.is_stopped.wait_for(|is_stopped| *is_stopped) => return None,
                changed = self.published.changed() => changed.ok()?,
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feeds.unsubscribe(self.workspace_id, &self.caller);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("workspace_id", &self.workspace_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
