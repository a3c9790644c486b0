//! What must survive: one trait of atomic verbs, and the databases behind it.
//!
//! Every verb is one transaction; nothing outside this crate sees SQL or a row. In the way of an event the store stands
//! where it is accepted ([`Store::accept`]), taken up again ([`Store::claim`]) and settled ([`Store::settle`]).

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod error;
pub mod log;
pub mod queue;
pub mod settings;
pub mod sqlite;

use async_trait::async_trait;
use tidings_domain::id::{ApiKeyId, ChannelId, DeliveryId, EventId, WorkspaceId};
use tidings_domain::time::Timestamp;

pub use error::StoreError;

use log::{DeliveryFilter, DeliveryRecord, EventFilter, EventRecord};
use queue::{Acceptance, Claimed, Due, Held, Incoming, Lease, Resend, Settled, Settlement, TestRecord};
use settings::{ApiKey, Change, Configuration, InstanceKey, Version, WorkspaceRecord};

/// The outcome of every verb.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The store's verbs. Each is atomic and durable when it returns. A caller that goes away before does not take back what
/// it asked for: it is carried out or not, never by half, and disturbs nobody else's.
#[async_trait]
pub trait Store: Send + Sync {
    /// Whether it can be written to now.
    async fn ready(&self) -> Result<()>;

    /// Puts all that is written where a copy of the files would find it, and stops. Later verbs fail with
    /// [`StoreError::Closed`], and so may reads of the log that are on their way.
    async fn close(&self);

    // Instance ---------------------------------------------------------------------------------------------------------

    /// Every workspace with its API keys.
    async fn workspaces(&self) -> Result<Vec<WorkspaceRecord>>;

    /// Makes a workspace with its first API key. [`StoreError::Exists`] if the slug is taken.
    async fn create_workspace(&self, record: WorkspaceRecord) -> Result<()>;

    /// Adds an API key, or does nothing if one with this hash is there already.
    async fn add_api_key(&self, key: ApiKey) -> Result<()>;

    /// Deletes one of a workspace's API keys. [`StoreError::NotFound`] if it has none of this id.
    async fn delete_api_key(&self, workspace_id: WorkspaceId, id: ApiKeyId) -> Result<()>;

    /// What recognises the key that seals secrets; `None` before the first start.
    async fn instance_key(&self) -> Result<Option<InstanceKey>>;

    /// Keeps what recognises the sealing key, once. [`StoreError::Exists`] if there is one already.
    async fn set_instance_key(&self, key: InstanceKey) -> Result<()>;

    // Configuration ----------------------------------------------------------------------------------------------------

    /// A workspace's rules and channels as of one instant.
    async fn configuration(&self, workspace_id: WorkspaceId) -> Result<Configuration>;

    /// The version of every workspace's configuration; it rises with each change.
    async fn versions(&self) -> Result<Vec<(WorkspaceId, Version)>>;

    /// Applies all changes in their order, or none, and answers the workspace's new version. [`StoreError::NotFound`]
    /// also if a rule names a channel that this workspace does not have (by then).
    async fn change(&self, workspace_id: WorkspaceId, changes: Vec<Change>) -> Result<Version>;

    // The way of an event ----------------------------------------------------------------------------------------------

    /// Takes in events with all of their deliveries, or none. Each has an id whose [rank](tidings_domain::id::Id::rank)
    /// no other of its kind has. An event told before changes nothing; its answer is that
    /// of the first time, marked as a duplicate.
    async fn accept(&self, batch: Vec<Incoming>) -> Result<Vec<Acceptance>>;

    /// Leases deliveries that are due, at most so many of each channel, oldest first. One that cannot be read any more
    /// is settled as failed, so that it does not come up for ever.
    async fn claim(&self, now: Timestamp, lease: Lease, wanted: Vec<(ChannelId, u32)>) -> Result<Vec<Claimed>>;

    /// Writes an attempt (if one was made) and the state it leads to, fenced by lease owner and attempt number.
    async fn settle(&self, settlement: Settlement) -> Result<Settled>;

    /// Gives leases back: what was not tried is due now. Without a list, every lease of every owner (at a start, when no
    /// other node can be alive). Answers how many.
    async fn release(&self, now: Timestamp, held: Option<Vec<Held>>) -> Result<u64>;

    /// For every channel that has anything unsettled: when its next delivery is due.
    async fn due(&self) -> Result<Vec<Due>>;

    /// Makes a settled delivery due again by hand. [`StoreError::Conflict`] unless it was sent or failed, and for a
    /// test, which is one attempt.
    async fn resend(&self, resend: Resend) -> Result<()>;

    /// A channel's failed deliveries, not tests, that completed at or after `since` and whose rules are on: makes at
    /// most `limit` of them due again, the longest failed first, and answers how many; without a limit only counts them.
    async fn recover(
        &self,
        workspace_id: WorkspaceId,
        channel_id: ChannelId,
        since: Timestamp,
        now: Timestamp,
        limit: Option<u32>,
    ) -> Result<u64>;

    /// Writes a test of a channel into the log, and into its connectivity.
    async fn record_test(&self, test: TestRecord) -> Result<()>;

    // The log ----------------------------------------------------------------------------------------------------------

    // A look into the log that takes too long is broken off with [`StoreError::TooSlow`]; one that has to wait too long for
    // others is [`StoreError::Busy`].

    /// Events, newest first.
    async fn events(&self, workspace_id: WorkspaceId, filter: EventFilter) -> Result<Vec<EventRecord>>;

    /// One event.
    async fn event(&self, workspace_id: WorkspaceId, id: EventId) -> Result<Option<EventRecord>>;

    /// Deliveries, with their attempts if the filter asks for them: in the order of their events, newest first, and of
    /// one event the newest first.
    async fn deliveries(&self, workspace_id: WorkspaceId, filter: DeliveryFilter) -> Result<Vec<DeliveryRecord>>;

    /// One delivery with its attempts.
    async fn delivery(&self, workspace_id: WorkspaceId, id: DeliveryId) -> Result<Option<DeliveryRecord>>;
}
