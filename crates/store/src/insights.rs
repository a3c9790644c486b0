//! Insights: aggregates over what the event pipeline wrote, for the pages of a workspace.
//!
//! The event pipeline runs no statement for them. What it did is noted in memory and *folded* into tables of their own,
//! by a background job ([`InsightStore::fold`]) and before each read of them.

use async_trait::async_trait;
use tidings_domain::audit::AuditEntry;
use tidings_domain::check::CheckStatus;
use tidings_domain::id::{ChannelId, DeliveryId, EndpointId, WorkspaceId};
use tidings_domain::resource::ResourceType;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

use crate::Result;
use crate::sqlite::fold;

/// The latest runs of a resource that are kept for its share of successes.
pub const RECENT_RUNS: usize = 30;
/// The days over which the share of healthy checks of an endpoint is taken, today included.
pub const UPTIME_DAYS: u32 = 30;

/// What [`InsightStore::fold`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FoldProgress {
    /// Events that were read.
    pub events: u32,
    /// Resources that were written.
    pub resources: u32,
    pub has_more: bool,
}

/// A resource: something with runs or checks, or an alert.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceRecord {
    pub resource_type: ResourceType,
    /// The caller's own id.
    pub resource_id: String,
    /// The name that a person gave it; of an endpoint `None`.
    pub own_name: Option<String>,
    /// The name that its runs report; of an endpoint the endpoint's.
    pub reported_name: Option<String>,
    /// The page that a person gave it.
    pub link: Option<String>,
    /// Of an endpoint the endpoint's.
    pub tags: Vec<String>,
    /// Starts at 1 and increases by one with every edit by a person.
    pub revision: u32,
    pub first_seen_at: Timestamp,
    pub last_seen_at: Timestamp,
    /// Its last run, check or incident.
    pub last: Option<LastOutcome>,
    /// Its last runs, at most [`RECENT_RUNS`], those that ended last first. None for endpoints and alerts.
    pub recent: Vec<RecentRun>,
    /// Of an endpoint: the conclusive checks of the last [`UPTIME_DAYS`], and those of them that were not down.
    pub checks: Option<(u64, u64)>,
}

impl ResourceRecord {
    /// The name that is shown: a person's, else the reported one, else the id.
    pub fn name(&self) -> &str {
        self.own_name.as_ref().or(self.reported_name.as_ref()).unwrap_or(&self.resource_id)
    }

    /// The name by which resources are ordered: without case.
    pub fn title(&self) -> String {
        fold(self.name())
    }

    /// The instant by which resources are ordered by their last outcome. Endpoints come last: each is checked all the
    /// time.
    pub fn ordered_at(&self) -> Timestamp {
        let last = self.last.as_ref().filter(|_| self.checks.is_none());
        last.map_or(Timestamp::from_unix_ms(0), |last| last.at)
    }
}

/// How a run, check or incident ended, or that an incident is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastOutcome {
    pub status: OutcomeStatus,
    /// When the run ended, the check was made, or the incident opened or was resolved.
    pub at: Timestamp,
    pub duration_ms: Option<u64>,
}

/// The status of a [`LastOutcome`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeStatus {
    /// A run that succeeded.
    Success,
    /// A run that failed.
    Failure,
    /// A check of an endpoint.
    Check(CheckStatus),
    /// An alert's incident that is active.
    Active,
    /// An alert's incident that is resolved.
    Resolved,
}

impl OutcomeStatus {
    /// Every status.
    pub const ALL: [Self; 8] = [
        Self::Success,
        Self::Failure,
        Self::Check(CheckStatus::Healthy),
        Self::Check(CheckStatus::Degraded),
        Self::Check(CheckStatus::Down),
        Self::Check(CheckStatus::Inconclusive),
        Self::Active,
        Self::Resolved,
    ];

    /// The wire name: API and store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Check(status) => status.as_str(),
            Self::Active => "active",
            Self::Resolved => "resolved",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// One of the last runs of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentRun {
    pub completed_at: Timestamp,
    pub is_success: bool,
}

/// The order of a list of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResourceOrder {
    /// By name without case, then type and id.
    #[default]
    Name,
    /// Those with the latest run, check or incident first; then those without one.
    LastOutcome,
}

/// Where a list of resources continues: after the resource at this place of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourcePosition {
    /// The folded name, in the order by name.
    pub name: String,
    /// The instant, in the order by last outcome.
    pub last_at: Timestamp,
    pub resource_type: ResourceType,
    pub resource_id: String,
}

/// Which resources to list. All conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct ResourceFilter {
    pub order: ResourceOrder,
    pub after: Option<ResourcePosition>,
    pub limit: u32,
    pub resource_type: Option<ResourceType>,
    /// Only those with this in their id or name, whatever its case.
    pub text: Option<String>,
    /// Only those with exactly this tag.
    pub tag: Option<String>,
    pub status: Option<OutcomeStatus>,
}

/// The key of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceKey {
    pub workspace_id: WorkspaceId,
    pub resource_type: ResourceType,
    pub resource_id: String,
}

/// What a person changes of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceEdit {
    pub key: ResourceKey,
    /// The revision that is edited; any other is a conflict.
    pub expected_revision: u32,
    pub name: Option<String>,
    pub link: Option<String>,
    pub tags: Vec<String>,
}

/// How far the erasure of a resource has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErasureRecord {
    pub requested_at: Timestamp,
    /// When everything was erased.
    pub finished_at: Option<Timestamp>,
}

/// What [`InsightStore::erase`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EraseProgress {
    /// Events that were erased.
    pub events: u32,
    pub has_more: bool,
}

/// The deliveries and runs of one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activity {
    pub sent: u64,
    pub failed: u64,
    pub suppressed: u64,
    pub skipped: u64,
    pub runs_succeeded: u64,
    pub runs_failed: u64,
}

/// Which periods to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivityFilter {
    /// Rounded down to a minute.
    pub since: Timestamp,
    /// Whether counts of the last seconds are included, which may cost a write.
    pub is_up_to_date: bool,
    /// The first instant that does not count, rounded up to a minute.
    pub until: Timestamp,
    /// The length of a period, at least one. Periods start at multiples of it since the Unix epoch.
    pub minutes: u32,
}

/// What waits for one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    pub channel_id: ChannelId,
    /// Deliveries that wait for an attempt, also for a retry or behind an earlier one of their subject.
    pub pending: u64,
    /// Deliveries that a node has leased.
    pub sending: u64,
    /// Deliveries that a gate holds, without those that a digest carries already.
    pub held: u64,
    /// When the oldest pending delivery was made.
    pub oldest_made_at: Option<Timestamp>,
    /// When the next pending delivery is due; in the past while the queue does not keep up.
    pub next_due_at: Option<Timestamp>,
    /// When the next held delivery may be released.
    pub next_release_at: Option<Timestamp>,
}

/// What becomes due next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upcoming {
    /// Pending deliveries that are due later than now, the next one first.
    pub retries: Vec<UpcomingDelivery>,
    /// Held deliveries, the one that may be released next first.
    pub held: Vec<UpcomingDelivery>,
}

/// A delivery that becomes due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpcomingDelivery {
    pub delivery_id: DeliveryId,
    pub channel_id: ChannelId,
    pub at: Timestamp,
}

/// Counts that stop at a limit, so that they cost the same however large a backlog is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttentionCounts {
    /// Deliveries that are failed since an instant, without tests.
    pub failed: u32,
    pub pending: u32,
    pub held: u32,
    /// Active incidents by severity and by whether they are acknowledged, at most the limit in all.
    pub incidents: Vec<(Severity, bool, u32)>,
}

/// The checks of an endpoint by day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUptime {
    pub endpoint_id: EndpointId,
    /// Days with checks or incidents, the earliest first.
    pub days: Vec<UptimeDay>,
}

/// The checks and incidents of one day (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UptimeDay {
    /// Days since the Unix epoch.
    pub day: i64,
    pub healthy: u32,
    pub degraded: u32,
    pub down: u32,
    pub inconclusive: u32,
    /// Incidents that began on this day.
    pub incidents: u32,
    /// How long incidents were active on this day whose cause is that the endpoint was down.
    pub down_ms: u64,
}

/// The operations for pages. Reads of resources and counts first fold what was not folded yet, so that a caller sees what
/// it was answered before.
#[async_trait]
pub trait InsightStore: Send + Sync {
    /// Folds what happened since the last call into resources and counts. Reads at most `limit` events. Repeating it
    /// changes nothing. Does not write if nothing happened.
    ///
    /// Counts of the last seconds that were not folded when a process was killed are lost; resources are not.
    async fn fold(&self, limit: u32) -> Result<FoldProgress>;

    /// Resources of a workspace. A history read.
    async fn resources(
        &self,
        workspace_id: WorkspaceId,
        filter: ResourceFilter,
        now: Timestamp,
    ) -> Result<Vec<ResourceRecord>>;

    /// One resource. A history read.
    async fn resource(&self, key: ResourceKey, now: Timestamp) -> Result<Option<ResourceRecord>>;

    /// Writes what a person gave a resource, with the audit entry of that, and returns it as it is then.
    ///
    /// # Errors
    /// [`crate::StoreError::NotFound`] if there is no such resource or it is an endpoint, whose configuration is edited
    /// instead; [`crate::StoreError::Conflict`] if it is at another revision.
    async fn edit_resource(
        &self,
        edit: ResourceEdit,
        now: Timestamp,
        audit: Option<AuditEntry>,
    ) -> Result<ResourceRecord>;

    /// Deletes a resource at once, with the audit entry of that, and has its payloads erased by [`InsightStore::erase`]. What is reported about it
    /// afterwards makes a new resource.
    ///
    /// # Errors
    /// [`crate::StoreError::NotFound`] if there is neither such a resource nor an event about it;
    /// [`crate::StoreError::InUse`] if it is an endpoint that exists, or has an active incident.
    async fn erase_resource(&self, key: ResourceKey, now: Timestamp, audit: Option<AuditEntry>) -> Result<()>;

    /// How far the last erasure of a resource has come; `None` if there was none within the retention of events.
    async fn erasure(&self, key: ResourceKey) -> Result<Option<ErasureRecord>>;

    /// Erases payloads of resources that were deleted: of at most `limit` events. Events with deliveries that are not
    /// settled, and incidents whose end is still to be notified, are left to a later call.
    async fn erase(&self, now: Timestamp, limit: u32) -> Result<EraseProgress>;

    /// Settled deliveries and reported runs by period, tests left out: each period of the filter, the earliest first. A
    /// delivery that was resent counts each time that it was settled. A history read.
    async fn activity(&self, workspace_id: WorkspaceId, filter: ActivityFilter) -> Result<Vec<(Timestamp, Activity)>>;

    /// What waits for each of these channels, in their order. A history read whose cost grows with the backlog, but
    /// reads indices only.
    async fn backlog(&self, channels: Vec<ChannelId>) -> Result<Vec<Backlog>>;

    /// At most `limit` retries and as many held deliveries of these channels that become due next. A history read.
    async fn upcoming(&self, channels: Vec<ChannelId>, now: Timestamp, limit: u32) -> Result<Upcoming>;

    /// Deliveries of these channels that deserve attention, each count at most `limit`. Failed ones count if they
    /// failed at `since` or later. A history read.
    async fn attention(
        &self,
        workspace_id: WorkspaceId,
        channels: Vec<ChannelId>,
        since: Timestamp,
        limit: u32,
    ) -> Result<AttentionCounts>;

    /// The checks of these endpoints in the last `days` days, today (of `now`, UTC) included, in their order. Endpoints
    /// that the workspace does not have are left out. A history read.
    async fn uptime(
        &self,
        workspace_id: WorkspaceId,
        endpoints: Vec<EndpointId>,
        now: Timestamp,
        days: u32,
    ) -> Result<Vec<EndpointUptime>>;
}
