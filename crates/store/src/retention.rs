//! Retention: how long rows are kept, summaries of checks, and the progress of pruning.

use tidings_domain::check::summary::Summary;
use tidings_domain::time::Timestamp;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// How long after its end an hour is summarised, in milliseconds. A check counts in the hour in which its probe began
/// but is recorded when the probe ends, so the last checks of an hour arrive after it.
pub const HOUR_GRACE_MS: u64 = 300_000;

/// How long rows are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Events with their deliveries and idempotency keys, known ends of alerts' episodes, counts by minute, and resources
    /// of which nothing was seen, in milliseconds. An event with unsettled deliveries is kept until they are settled.
    pub events_ms: u64,
    /// Checks, in milliseconds.
    pub checks_ms: u64,
    /// The maximum number of checks of one endpoint; the newest are kept.
    pub checks_max: u32,
    /// Hourly summaries, in milliseconds. Daily summaries are kept for ever.
    pub hours_ms: u64,
    /// Expired mutes in the configuration, in milliseconds after they expired.
    pub mutes_ms: u64,
    /// Mutes in the list of those that ended, in milliseconds after their end.
    pub ended_mutes_ms: u64,
    /// Entries of the audit log, in milliseconds.
    pub audit_ms: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            events_ms: 90 * DAY_MS,
            checks_ms: 48 * HOUR_MS,
            checks_max: 2_880,
            hours_ms: 30 * DAY_MS,
            mutes_ms: DAY_MS,
            ended_mutes_ms: 7 * DAY_MS,
            audit_ms: 365 * DAY_MS,
        }
    }
}

/// Where pruning continues: at the start, or where the previous call stopped. It is only an optimisation: a run from
/// the start finds the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PruneCursor(pub(crate) Position);

/// The phase that pruning is in, with the last key of it that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// The event with this sort key.
    Events(i64),
    /// The rate window of the channel with this id.
    RateWindows([u8; 16]),
    /// The endpoint with this number.
    Endpoints(i64),
    Mutes,
    EndedMutes,
    Episodes,
    Audit,
    Erasures,
    /// Resources and counts of the workspace with this id.
    Insights([u8; 16]),
    /// Sessions and invitations.
    Accounts,
    /// Rows of deleted workspaces.
    Workspaces,
}

impl Default for Position {
    fn default() -> Self {
        Self::Events(-1)
    }
}

/// The rows that one call of [`crate::Store::prune`] deleted, and where to continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    pub events: u32,
    pub deliveries: u32,
    /// Rate windows of channels in which no admission counts any more.
    pub rate_windows: u32,
    pub checks: u32,
    /// Hourly summaries.
    pub hours: u32,
    /// Expired mutes that left the configuration.
    pub mutes: u32,
    /// Mutes that ended and were deleted.
    pub ended_mutes: u32,
    /// Known ends of alerts' episodes.
    pub episodes: u32,
    /// Entries of the audit log.
    pub audit_entries: u32,
    /// Resources of which nothing was seen.
    pub resources: u32,
    /// Counts of minutes, and records of finished erasures.
    pub insights: u32,
    /// Expired sessions.
    pub sessions: u32,
    /// Invitations that expired long ago.
    pub invitations: u32,
    /// Rows of deleted workspaces, of all tables.
    pub workspace_rows: u32,
    /// `None` when everything was visited.
    pub next: Option<PruneCursor>,
}

/// What one call of [`crate::Store::summarise`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SummaryProgress {
    /// Endpoints that were visited.
    pub endpoints: u32,
    /// Hourly summaries that were written.
    pub hours: u32,
    pub has_more: bool,
}

/// The period that a summary covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SummaryGranularity {
    /// An hour.
    #[default]
    Hour,
    /// A day, in UTC.
    Day,
}

impl SummaryGranularity {
    /// Its length in milliseconds.
    pub const fn ms(self) -> u64 {
        match self {
            Self::Hour => HOUR_MS,
            Self::Day => DAY_MS,
        }
    }

    /// The number of the period that contains this instant, counted from the Unix epoch.
    pub const fn number(self, at: Timestamp) -> i64 {
        at.unix_ms().div_euclid(self.ms() as i64)
    }

    /// When the period with this number begins.
    pub const fn start(self, number: i64) -> Timestamp {
        Timestamp::from_unix_ms(number.saturating_mul(self.ms() as i64))
    }
}

/// Which summaries of an endpoint to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SummaryFilter {
    pub granularity: SummaryGranularity,
    /// Only those that begin at or after this instant.
    pub since: Option<Timestamp>,
    /// Only those that begin before this instant.
    pub until: Option<Timestamp>,
    pub limit: u32,
}

/// The summary of an hour's or a day's checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryRecord {
    pub starts_at: Timestamp,
    pub summary: Summary,
}
