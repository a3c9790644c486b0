//! What is kept for how long: summaries of checks, and what is deleted when it is old.

use tidings_domain::check::summary::Summary;
use tidings_domain::time::Timestamp;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// How long an hour is left open after its end, for checks that are told a little late: a probe is told when it ends,
/// and counts from when it began.
pub const HOUR_OPEN_MS: u64 = 300_000;

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Events with their deliveries, and what they are recognised by, in milliseconds. What is not settled by then is
    /// kept until it is.
    pub log_ms: u64,
    /// Checks, in milliseconds.
    pub checks_ms: u64,
    /// Checks of one endpoint; the newest are kept.
    pub checks_max: u32,
    /// Summaries of hours, in milliseconds. Those of days are kept for good.
    pub hours_ms: u64,
    /// Mutes that are over, in milliseconds after they expired.
    pub mutes_ms: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            log_ms: 90 * DAY_MS,
            checks_ms: 48 * HOUR_MS,
            checks_max: 2_880,
            hours_ms: 30 * DAY_MS,
            mutes_ms: DAY_MS,
        }
    }
}

/// Where pruning goes on: the beginning, or as a call before answered. Forgotten, it begins anew and finds the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PruneCursor(pub(crate) Position);

/// How far pruning has come, for the backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// Events up to this one are done.
    Events(i64),
    /// Those of channels up to this id are done.
    RateWindow([u8; 16]),
    /// Endpoints up to this one are done.
    Endpoints(i64),
    /// All but the mutes.
    Mutes,
}

impl Default for Position {
    fn default() -> Self {
        Self::Events(-1)
    }
}

/// What a call deleted, and where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Events.
    pub events: u32,
    /// Deliveries, with their attempts.
    pub deliveries: u32,
    /// What channels' rate limits remembered and no longer need to.
    pub admissions: u32,
    /// Checks.
    pub checks: u32,
    /// Summaries of hours.
    pub hours: u32,
    /// Mutes.
    pub mutes: u32,
    /// Where to go on; none when all has been looked at.
    pub next: Option<PruneCursor>,
}

/// What a call summarised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SummaryProgress {
    /// Endpoints that were looked at.
    pub endpoints: u32,
    /// Hours that were written.
    pub hours: u32,
    /// Whether there is more to do.
    pub has_more: bool,
}

/// What one summary is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SummaryGranularity {
    /// An hour.
    #[default]
    Hour,
    /// A day, in UTC.
    Day,
}

impl SummaryGranularity {
    /// How long it is, in milliseconds.
    pub const fn ms(self) -> u64 {
        match self {
            Self::Hour => HOUR_MS,
            Self::Day => DAY_MS,
        }
    }

    /// Its number since the Unix epoch, at this instant.
    pub const fn number(self, at: Timestamp) -> i64 {
        at.unix_ms().div_euclid(self.ms() as i64)
    }

    /// When the one with this number begins.
    pub const fn start(self, number: i64) -> Timestamp {
        Timestamp::from_unix_ms(number.saturating_mul(self.ms() as i64))
    }
}

/// Which summaries of an endpoint to list, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SummaryFilter {
    /// Of hours or of days.
    pub span: SummaryGranularity,
    /// Only those that begin at or after this instant.
    pub since: Option<Timestamp>,
    /// Only those that begin before this instant.
    pub until: Option<Timestamp>,
    /// At most so many.
    pub limit: u32,
}

/// What the checks of an hour or a day came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryRecord {
    /// When it began.
    pub starts_at: Timestamp,
    /// What they came to.
    pub summary: Summary,
}
