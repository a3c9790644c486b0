//! Persistence: one trait of atomic operations, [`Store`], and the databases that implement it.
//!
//! Nothing outside this crate sees SQL, a row or a transaction. The engine decides *what* happens (rule matching, gate
//! evaluation, incident state); the store makes it durable, and decides only what cannot be decided outside the
//! transaction: deduplication, rate limits, order within an incident, fencing.
//!
//! # Cast
//!
//! - An **event** is accepted once. Its idempotency key is workspace, resource type, resource id, run id and trigger; a
//!   second event with the same key is a *duplicate*.
//! - A **delivery** is one notification of one event through one channel. Its row is both queue entry and history.
//! - A **lease** is a node's exclusive right to send a delivery, until an instant. It is *returned* by its owner,
//!   *reclaimed* from a dead owner, or expires.
//! - A **held delivery** is kept back by a gate (quiet hours, rate limit, …) until an instant, and then *released*: by
//!   itself, or as a member of a **digest**, which is an event of its own with one delivery.
//! - A **transition** is everything that follows from one check, alert or timer of an endpoint or incident, written
//!   together.
//! - A workspace's **configuration** (rules, channels, endpoints, mutes, …) has a version; nodes cache it and reload
//!   when the version changes.
//!
//! # Flow
//!
//! ```text
//! accept ──▶ leased ─────────────────▶ settle ──▶ sent, failed, suppressed, skipped
//!    │                                   │ ▲
//!    ├─────▶ due ◀── retry, resend ──────┤ │
//!    │        └──────── claim ───────────┼─┘
//!    └─────▶ held ◀──────────────────────┘
//!             └── list_held, release_held ──▶ due, or member of a digest that settles for it
//! ```
//!
//! [`Store::record_transition`] accepts the events of incidents in the transaction that changes the incident.
//! [`Store::summarise`] and [`Store::prune`] bound what is stored.
//!
//! # Modules
//!
//! [`accounts`] holds the part of the trait for accounts and the audit log, [`activity`] that for what became of channels
//! and mutes, [`insights`] that for pages; [`queue`], [`history`], [`monitoring`], [`settings`] and [`retention`] hold the
//! row types, [`sqlite`] the embedded store, `conformance` (behind the feature of that name) the test suite that every
//! backend passes.

pub mod accounts;
pub mod activity;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod error;
pub mod history;
pub mod insights;
pub mod monitoring;
pub mod queue;
pub mod retention;
pub mod settings;
pub mod sqlite;

use async_trait::async_trait;
use tidings_domain::audit::AuditEntry;
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{ChannelId, DeliveryId, EndpointId, EventId, IncidentId, WorkspaceId};
use tidings_domain::incident::{Notified, TimelineEntry};
use tidings_domain::time::Timestamp;

pub use accounts::AccountStore;
use activity::ActivityStore;
pub use error::StoreError;
pub use insights::InsightStore;

use history::{DeliveryFilter, DeliveryRecord, EventFilter, EventRecord, IndexProgress, Page};
use monitoring::{
    CheckFilter, CheckRecord, EndpointState, IncidentDelivery, IncidentFilter, IncidentRecord, TransitionOutcome,
    TransitionRecord,
};
use queue::{
    Acceptance, Claimed, Due, HeldDelivery, Lease, LeaseRef, NewEvent, RateLimitRequest, ReleaseBatch, ReleaseOutcome,
    Resend, Settled, Settlement, TestRecord,
};
use retention::{PruneCursor, Pruned, Retention, SummaryFilter, SummaryProgress, SummaryRecord};
use settings::{ConfigChange, Configuration, InstanceKey, Version};

/// The result of a store operation.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The operations of a store, each one transaction: when it returns `Ok`, all of it is durable; when it returns an
/// error, none of it was done.
///
/// An operation whose future is dropped is carried out completely or not at all, and does not affect other callers.
///
/// Every operation may also fail with [`StoreError::Closed`], [`StoreError::Database`], [`StoreError::Corrupt`] (a
/// value that cannot be stored or read) and [`StoreError::Defect`]; the others are listed with each operation.
/// Everything that a workspace owns is addressed together with its workspace id, and that of another workspace counts
/// as missing.
#[async_trait]
pub trait Store: AccountStore + ActivityStore + InsightStore + Send + Sync {
    /// Verifies that the store accepts writes, by a write that changes nothing. Called by the readiness probe.
    async fn ready(&self) -> Result<()>;

    /// Finishes the writes that are queued, checkpoints, and closes the store. Later operations fail with
    /// [`StoreError::Closed`]; history reads in progress may, too. May be called more than once.
    async fn close(&self);

    // Instance --------------------------------------------------------------------------------------------------------

    /// The fingerprint of the key that seals secrets; `None` before the first start. Read at every start, so that a
    /// wrong key is refused before it is used.
    async fn instance_key(&self) -> Result<Option<InstanceKey>>;

    /// Stores the fingerprint of the sealing key, once.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if one is stored already.
    async fn set_instance_key(&self, key: InstanceKey) -> Result<()>;

    // Configuration ---------------------------------------------------------------------------------------------------

    /// A consistent snapshot of a workspace's configuration. Of its endpoints only those written after the version
    /// `endpoints_since` (0 for all), because a workspace may have thousands of them;
    /// [`Configuration::endpoint_count`] reveals deletions. Read when the cached version is out of date.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such workspace.
    async fn configuration(&self, workspace_id: WorkspaceId, endpoints_since: Version) -> Result<Configuration>;

    /// The current configuration version of every workspace. Polled by each node to detect changes.
    async fn versions(&self) -> Result<Vec<(WorkspaceId, Version)>>;

    /// Applies all changes in order, or none, and returns the new version, which is one higher however many changes
    /// there are.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such workspace, or an edited or deleted row, or one that a change refers
    /// to (a rule's channel, a mute's target), is missing at that point of the order; [`StoreError::Exists`] if a
    /// created row exists; [`StoreError::Conflict`] if a row is at another revision than its
    /// [`settings::Precondition`]; [`StoreError::InUse`] if a deleted channel or endpoint is still used by a rule.
    async fn apply_changes(&self, workspace_id: WorkspaceId, changes: Vec<ConfigChange>) -> Result<Version>;

    // Queue -----------------------------------------------------------------------------------------------------------

    /// Accepts events with all of their deliveries, or none of them. Called for each reported batch, before the caller
    /// is answered. Returns one answer for each event, in order; a duplicate changes nothing and gets the answer of the
    /// first event, marked as such.
    ///
    /// The initial states of deliveries are final only in the answer: rate limits and order within an incident are
    /// decided inside the transaction ([`Acceptance::not_leased`]).
    ///
    /// # Errors
    /// [`StoreError::Exists`] if an event or delivery has the [sort key](tidings_domain::id::Id::sort_key) of another
    /// of its kind. Only a clock that was set back makes such ids, and a retry gets new ones.
    async fn accept(&self, batch: Vec<NewEvent>) -> Result<Vec<Acceptance>>;

    /// Leases due deliveries: of each channel in `wanted` at most the given number, those that are due longest first.
    /// Called by the claimer for retries, backlog and expired leases; new deliveries normally begin leased.
    ///
    /// A delivery whose row cannot be decoded is settled as failed, because it would otherwise be due for ever.
    async fn claim(&self, now: Timestamp, lease: Lease, wanted: Vec<(ChannelId, u32)>) -> Result<Vec<Claimed>>;

    /// Records an attempt (if one was made) and the state it leads to. Called once for each leased delivery that was
    /// processed.
    ///
    /// Fenced: unless lease owner and attempt number are those in the row, nothing is written and the answer is
    /// [`Settled::Stale`]. That makes a repeated or late settlement harmless.
    ///
    /// An incident is written with it: a delivery that is sent makes its channel a notified one, and a resolution that is
    /// suppressed for a notified channel gives the incident a wake-up and a new revision.
    async fn settle(&self, settlement: Settlement) -> Result<Settled>;

    /// Returns leases whose deliveries were not attempted: they are due again, since the instant of each lease. Called at
    /// shutdown, when a channel's circuit breaker opens, and when a pause begins. Leases that the owner no longer has are
    /// ignored. Returns how many were returned.
    async fn return_leases(&self, leases: Vec<LeaseRef>) -> Result<u64>;

    /// Reclaims, at the start of the node `owner`, the leases of nodes that cannot be alive: their deliveries become
    /// due at `now`. The leases of `owner` stay. Returns how many were reclaimed.
    ///
    /// Only the store can know which nodes are dead. The embedded store has the lock of its data directory, which
    /// proves that every other owner is; a store that several nodes share must reclaim only after their heartbeats.
    async fn reclaim_leases(&self, now: Timestamp, owner: i64) -> Result<u64>;

    /// For every channel with queued or leased deliveries: when the next one is due or the next lease ends. Polled by
    /// the claimer, so its cost must depend on the number of such channels, not of deliveries.
    async fn due(&self) -> Result<Vec<Due>>;

    /// Makes a sent or failed delivery due again, by hand. Its retry policy starts over; attempts keep counting.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such delivery, [`StoreError::Conflict`] unless it is sent or failed, and
    /// for a channel test, which is never retried.
    async fn resend(&self, resend: Resend, audit: Option<AuditEntry>) -> Result<()>;

    /// Makes failed deliveries of a channel due again: at most `limit` of those that completed at or after `since`,
    /// whose rule exists and is enabled, and that are no tests; the longest failed first. Returns how many. The entry of
    /// the audit log is written if there are any. Without a limit nothing changes, and the answer is how many there are.
    ///
    /// # Errors
    /// Without a limit those of history reads.
    async fn recover(
        &self,
        workspace_id: WorkspaceId,
        channel_id: ChannelId,
        since: Timestamp,
        now: Timestamp,
        limit: Option<u32>,
        audit: Option<AuditEntry>,
    ) -> Result<u64>;

    /// Records a test of a channel: event, delivery and attempt in the history, the result in the channel's
    /// connectivity. Increments the configuration version.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the workspace has no such channel.
    async fn record_test(&self, test: TestRecord) -> Result<()>;

    // Held deliveries -------------------------------------------------------------------------------------------------

    /// For every channel with held deliveries that are in no digest: when the first of them may be released. Polled by
    /// the release loop, with the cost of [`Store::due`].
    async fn next_releases(&self) -> Result<Vec<Due>>;

    /// At most `limit` of a channel's deliveries that are held until `until` at the latest and are in no digest, in the
    /// order of their events, oldest first. One whose row cannot be decoded is settled as failed, as by
    /// [`Store::claim`].
    async fn list_held(
        &self,
        workspace_id: WorkspaceId,
        channel_id: ChannelId,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<HeldDelivery>>;

    /// What the channel's rate limit would decide about a first attempt at this instant: `evaluation` unchanged if it
    /// would admit it, else stopped by the rate limit. Nothing is counted. Called by `simulate`.
    async fn preview_rate_limit(
        &self,
        channel_id: ChannelId,
        request: RateLimitRequest,
        evaluation: GateEvaluation,
        at: Timestamp,
    ) -> Result<GateEvaluation>;

    /// Releases held deliveries of a channel, as the release loop decided after it evaluated the gates again.
    /// Deliveries that are no longer held, or are in a digest already, are ignored; a digest that would be empty is not
    /// created. What the rate limit refuses stays held.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if the digest's event was accepted before.
    async fn release_held(&self, release: ReleaseBatch) -> Result<ReleaseOutcome>;

    // Monitoring ------------------------------------------------------------------------------------------------------

    /// The states of a workspace's endpoints, without those that were never checked. Read when incident state is loaded
    /// into memory, at the start and after a conflict.
    async fn endpoint_states(&self, workspace_id: WorkspaceId) -> Result<Vec<EndpointState>>;

    /// Records a check, alert or timer of an incident with everything that follows from it. Called with every check, so
    /// the common case, check and state alone, must be cheap.
    ///
    /// Fenced by revisions (optimistic concurrency): after a conflict the caller reloads its state and decides again.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if state or incident are not at the revision before the written one;
    /// [`StoreError::Exists`] if another incident of the subject is active; [`StoreError::NotFound`] if the endpoint or
    /// incident does not exist, or an event belongs to another workspace.
    async fn record_transition(
        &self,
        workspace_id: WorkspaceId,
        transition: TransitionRecord,
    ) -> Result<TransitionOutcome>;

    /// The active incidents of all workspaces, oldest first. Read at the start and by the release loop.
    async fn active_incidents(&self) -> Result<Vec<IncidentRecord>>;

    /// The resolved incidents of all workspaces that have a wake-up, oldest first. Read at the start.
    async fn unfinished_incidents(&self) -> Result<Vec<IncidentRecord>>;

    /// The channels that were notified of an incident; none if there is no such incident. Read together with
    /// [`Store::incident_deliveries`], when a resolution is decided.
    async fn notified_channels(&self, workspace_id: WorkspaceId, incident_id: IncidentId) -> Result<Notified>;

    /// The latest known end of this alert's episodes. Read when a report may be late.
    async fn last_episode_end(&self, workspace_id: WorkspaceId, resource_id: &str) -> Result<Option<Timestamp>>;

    /// All deliveries of an incident's events, oldest first, as far back as events are retained. Read when a new event
    /// of the incident needs to know what was sent before.
    async fn incident_deliveries(
        &self,
        workspace_id: WorkspaceId,
        incident_id: IncidentId,
    ) -> Result<Vec<IncidentDelivery>>;

    /// Incidents, newest first. A history read.
    async fn incidents(&self, workspace_id: WorkspaceId, filter: IncidentFilter) -> Result<Vec<IncidentRecord>>;

    /// An incident with the newest 1,000 entries of its timeline, oldest first. A timeline of 10,000 entries takes no
    /// more entries of checks. A history read.
    async fn incident(
        &self,
        workspace_id: WorkspaceId,
        id: IncidentId,
    ) -> Result<Option<(IncidentRecord, Vec<TimelineEntry>)>>;

    /// Checks of an endpoint, newest first. A history read.
    async fn checks(
        &self,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        filter: CheckFilter,
    ) -> Result<Vec<CheckRecord>>;

    /// Hourly or daily summaries of an endpoint's checks, oldest first, as far as [`Store::summarise`] has come. Hours
    /// and days without checks are missing. A history read.
    async fn summaries(
        &self,
        workspace_id: WorkspaceId,
        endpoint_id: EndpointId,
        filter: SummaryFilter,
    ) -> Result<Vec<SummaryRecord>>;

    // Retention -------------------------------------------------------------------------------------------------------

    /// Summarises the checks of hours that ended [some minutes](retention::HOUR_GRACE_MS) ago, each hour once, and adds
    /// them to their days. A check that is recorded after its hour was summarised is not counted.
    ///
    /// Called by the retention job until [`SummaryProgress::has_more`] is false. One call stops after the endpoint with
    /// which it has read `limit` checks.
    async fn summarise(&self, now: Timestamp, limit: u32) -> Result<SummaryProgress>;

    /// Deletes at most `limit` rows (at least one) that are past their retention, and returns where to continue. Called
    /// by the retention job until [`Pruned::next`] is `None`.
    ///
    /// An event is deleted with its deliveries and its idempotency key, and only when all of its deliveries are
    /// settled. Checks are summarised before they are deleted.
    async fn prune(&self, now: Timestamp, retention: Retention, from: PruneCursor, limit: u32) -> Result<Pruned>;

    // History ---------------------------------------------------------------------------------------------------------

    // History reads serve people and may be expensive. They are bounded: `StoreError::TooSlow` if one takes too long,
    // `StoreError::Busy` if it waits too long for the others.

    /// Indexes events and deliveries for the lists below, as far as they are older than a second. Called about once a
    /// second, and again at once while [`IndexProgress::has_more`]. Lists are complete without it, but slower.
    async fn index_history(&self, now: Timestamp) -> Result<IndexProgress>;

    /// Events, newest first. A search that takes long ends early: see [`Page::searched_until`].
    async fn events(&self, workspace_id: WorkspaceId, filter: EventFilter) -> Result<Page<EventRecord>>;

    /// One event.
    async fn event(&self, workspace_id: WorkspaceId, id: EventId) -> Result<Option<EventRecord>>;

    /// Deliveries in the order of their events, newest first; those of one event newest first. With attempts only if
    /// the filter asks for them. A search that takes long ends early: see [`Page::searched_until`].
    async fn deliveries(&self, workspace_id: WorkspaceId, filter: DeliveryFilter) -> Result<Page<DeliveryRecord>>;

    /// One delivery with its attempts.
    async fn delivery(&self, workspace_id: WorkspaceId, id: DeliveryId) -> Result<Option<DeliveryRecord>>;
}
