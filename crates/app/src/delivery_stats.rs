//! `/deliveries/stats`: settled deliveries and reported runs by period.

use serde::{Deserialize, Serialize};
use tidings_domain::time::Timestamp;
use tidings_engine::EngineError;
use tidings_store::insights::{Activity, ActivityFilter};
use utoipa::ToSchema;

use crate::error::{AppError, Result};
use crate::principal::{Authorized, Read};
use crate::response::Response;

const MINUTE_MS: u64 = 60_000;
/// The span without `since`, in periods.
const PERIODS_DEFAULT: u64 = 60;
/// The most periods of an answer.
const PERIODS_MAX: u64 = 1_500;

/// Which periods to count.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeliveryStatsQuery {
    /// By default 60 periods before `until`.
    pub since: Option<Timestamp>,
    /// By default now.
    pub until: Option<Timestamp>,
    /// The length of a period. Periods start at multiples of it since 1970-01-01T00:00:00Z.
    #[schema(minimum = 1, maximum = 1440)]
    pub period_minutes: u32,
}

impl Default for DeliveryStatsQuery {
    fn default() -> Self {
        Self { since: None, until: None, period_minutes: 1 }
    }
}

/// Settled deliveries and reported runs by period.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryStats {
    pub period_minutes: u32,
    /// Every period of the span, also those in which nothing happened, the earliest first.
    pub data: Vec<PeriodCounts>,
}

/// One period. Tests do not count; a delivery that was resent counts each time that it was settled.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeriodCounts {
    pub starts_at: Timestamp,
    pub sent: u64,
    pub failed: u64,
    pub suppressed: u64,
    pub skipped: u64,
    pub runs_succeeded: u64,
    pub runs_failed: u64,
}

impl Response for DeliveryStats {}

/// Deliveries and runs by period.
///
/// # Errors
/// [`AppError::Invalid`] for a span that is empty or has too many periods, and those of history reads.
pub async fn stats(by: &Authorized<Read>, query: DeliveryStatsQuery) -> Result<DeliveryStats> {
    let period_ms = u64::from(query.period_minutes) * MINUTE_MS;
    // The current minute included, also at its first millisecond.
    let until = query.until.unwrap_or_else(|| by.now().plus_ms(1));
    let since = query.since.unwrap_or_else(|| until.minus_ms(PERIODS_DEFAULT * period_ms));
    if since >= until {
        return Err(AppError::invalid("/since", "must be earlier than until"));
    }
    if until.since_ms(since) / period_ms >= PERIODS_MAX {
        return Err(AppError::invalid(
            "/since",
            "must be less than 1,500 periods before until: choose a longer periodMinutes",
        ));
    }
    let filter = ActivityFilter { since, until, minutes: query.period_minutes, is_up_to_date: true };
    let found = by.engine().store().activity(by.workspace_id(), filter).await.map_err(EngineError::from)?;
    let counts = |(starts_at, activity): (Timestamp, Activity)| PeriodCounts {
        starts_at,
        sent: activity.sent,
        failed: activity.failed,
        suppressed: activity.suppressed,
        skipped: activity.skipped,
        runs_succeeded: activity.runs_succeeded,
        runs_failed: activity.runs_failed,
    };
    Ok(DeliveryStats { period_minutes: query.period_minutes, data: found.into_iter().map(counts).collect() })
}
