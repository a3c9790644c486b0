//! What must survive: one trait of atomic verbs, and the databases behind it.
//!
//! Every verb is one transaction; nothing outside this crate sees SQL or a row. In the way of an event the store stands
//! where it is accepted ([`Store::accept`]), taken up again ([`Store::claim`]) and settled ([`Store::settle`]).

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod error;
pub mod history;
pub mod monitoring;
pub mod queue;
pub mod retention;
pub mod settings;
pub mod sqlite;

use async_trait::async_trait;
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{ApiKeyId, ChannelId, DeliveryId, EndpointId, EventId, IncidentId, WorkspaceId};
use tidings_domain::incident::TimelineEntry;
use tidings_domain::time::Timestamp;

pub use error::StoreError;

use history::{DeliveryFilter, DeliveryRecord, EventFilter, EventRecord};
use monitoring::{
    CheckFilter, CheckRecord, EndpointState, IncidentDelivery, IncidentFilter, IncidentRecord, TransitionOutcome,
    TransitionRecord,
};
use queue::{
    Acceptance, Claimed, Due, HeldDelivery, Lease, LeaseRef, NewEvent, RateLimitRequest, ReleaseBatch, ReleaseOutcome,
    Resend, Settled, Settlement, TestRecord,
};
use retention::{PruneCursor, Pruned, Retention, SummaryFilter, SummaryProgress, SummaryRecord};
use settings::{ApiKey, ConfigChange, Configuration, InstanceKey, Version, WorkspaceRecord};

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

    /// A workspace's configuration as of one instant; of its endpoints only those that were written after the version
    /// `endpoints_since`, 0 for all.
    async fn configuration(&self, workspace_id: WorkspaceId, endpoints_since: Version) -> Result<Configuration>;

    /// The version of every workspace's configuration; it rises with each change.
    async fn versions(&self) -> Result<Vec<(WorkspaceId, Version)>>;

    /// Applies all changes in their order, or none, and answers the workspace's new version. [`StoreError::NotFound`]
    /// also if a rule names a channel that this workspace does not have (by then).
    async fn apply_changes(&self, workspace_id: WorkspaceId, changes: Vec<ConfigChange>) -> Result<Version>;

    // The way of an event ----------------------------------------------------------------------------------------------

    /// Takes in events with all of their deliveries, or none. Each has an id whose [sort key](tidings_domain::id::Id::sort key)
    /// no other of its kind has. An event told before changes nothing; its answer is that
    /// of the first time, marked as a duplicate.
    async fn accept(&self, batch: Vec<NewEvent>) -> Result<Vec<Acceptance>>;

    /// Leases deliveries that are due, at most so many of each channel, oldest first. One that cannot be read any more
    /// is settled as failed, so that it does not come up for ever.
    async fn claim(&self, now: Timestamp, lease: Lease, wanted: Vec<(ChannelId, u32)>) -> Result<Vec<Claimed>>;

    /// Writes an attempt (if one was made) and the state it leads to, fenced by lease owner and attempt number.
    async fn settle(&self, settlement: Settlement) -> Result<Settled>;

    /// Returns leases: these deliveries become due at `now`, untried. A lease that is no longer the owner's is left as it
    /// is. Answers how many were returned.
    async fn return_leases(&self, now: Timestamp, leases: Vec<LeaseRef>) -> Result<u64>;

    /// Reclaims, at the start of the node `owner`, the leases of nodes that cannot be alive: their deliveries become due at
    /// `now`. The leases of `owner` stay. Answers how many were reclaimed.
    ///
    /// Only the store can know which nodes are dead. The embedded store has the lock of its data directory, which proves
    /// that every other owner is; a store that several nodes share must reclaim only after their heartbeats.
    async fn reclaim_leases(&self, now: Timestamp, owner: i64) -> Result<u64>;

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

    // Held back --------------------------------------------------------------------------------------------------------

    /// For every channel for which something is held back, and is not carried by a digest: when the first of it may be
    /// let go.
    async fn next_releases(&self) -> Result<Vec<Due>>;

    /// What is held back for a channel until this instant or before, in the order of its events, oldest first.
    async fn list_held(
        &self,
        workspace_id: WorkspaceId,
        channel_id: ChannelId,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<HeldDelivery>>;

    /// What a channel's rate limit would say of a first attempt at this instant: the evaluation with its refusal, or as it is.
    /// Nothing is admitted.
    async fn preview_rate_limit(
        &self,
        channel_id: ChannelId,
        admission: RateLimitRequest,
        evaluation: GateEvaluation,
        at: Timestamp,
    ) -> Result<GateEvaluation>;

    /// Lets go of what was held back. What is no longer held, or is carried already, is left as it is; a digest that would
    /// carry nothing is not made.
    async fn release_held(&self, release: ReleaseBatch) -> Result<ReleaseOutcome>;

    // Watching ---------------------------------------------------------------------------------------------------------

    /// What is remembered of a workspace's endpoints; nothing of those that were never checked.
    async fn endpoint_states(&self, workspace_id: WorkspaceId) -> Result<Vec<EndpointState>>;

    /// Writes what follows from something that was seen. [`StoreError::Conflict`] if state or incident are not at the
    /// revision before theirs, [`StoreError::Exists`] if another incident of the same subject is active,
    /// [`StoreError::NotFound`] if the endpoint is gone.
    async fn record_transition(
        &self,
        workspace_id: WorkspaceId,
        following: TransitionRecord,
    ) -> Result<TransitionOutcome>;

    /// Every incident that is active, in all workspaces.
    async fn active_incidents(&self) -> Result<Vec<IncidentRecord>>;

    /// Every delivery of an incident's events, oldest first, of as far back as the log goes.
    async fn incident_deliveries(
        &self,
        workspace_id: WorkspaceId,
        incident_id: IncidentId,
    ) -> Result<Vec<IncidentDelivery>>;

    /// Incidents, newest first.
    async fn incidents(&self, workspace_id: WorkspaceId, filter: IncidentFilter) -> Result<Vec<IncidentRecord>>;

    /// One incident with its timeline, oldest first: at most the 1,000 newest entries. After 10,000 entries no more of
    /// checks are added.
    async fn incident(
        &self,
        workspace_id: WorkspaceId,
        id: IncidentId,
    ) -> Result<Option<(IncidentRecord, Vec<TimelineEntry>)>>;

    /// Checks of an endpoint, newest first.
    async fn checks(
        &self,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        filter: CheckFilter,
    ) -> Result<Vec<CheckRecord>>;

    /// Summaries of an endpoint's hours or days, oldest first, as far as [`Store::summarise`] has come; an hour or a day
    /// without checks has none.
    async fn summaries(
        &self,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        filter: SummaryFilter,
    ) -> Result<Vec<SummaryRecord>>;

    // Keeping ----------------------------------------------------------------------------------------------------------

    /// Summarises the checks of hours that ended [a little while](retention::HOUR_OPEN_MS) ago, each once, and adds them to
    /// their days. It stops when it has read about so many checks; an endpoint is not divided. A check that is told after
    /// its hour was summarised is not counted.
    async fn summarise(&self, now: Timestamp, limit: u32) -> Result<SummaryProgress>;

    /// Deletes what need not be kept any longer, at most so many rows, and answers where to go on. An event goes with its
    /// deliveries and with what it is recognised by, once all of them are settled. Checks are summarised before.
    async fn prune(&self, now: Timestamp, retention: Retention, from: PruneCursor, limit: u32) -> Result<Pruned>;

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
