//! `/endpoints/uptime`: uptime by day, of many endpoints at once.

use serde::{Deserialize, Serialize};
use tidings_domain::id::EndpointId;
use tidings_domain::time::Timestamp;
use tidings_engine::EngineError;
use tidings_store::insights::{EndpointUptime, UptimeDay};
use utoipa::ToSchema;

use crate::error::{AppError, Result};
use crate::principal::{Authorized, Read};
use crate::response::Response;

const DAY_MS: i64 = 86_400_000;
const ENDPOINTS_MAX: usize = 100;

/// Of which endpoints, and how far back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(default)]
pub struct UptimeQuery {
    /// 1 to 100 endpoints, as `a,b` or repeated.
    #[schema(required, min_items = 1, max_items = 100)]
    pub ids: Vec<EndpointId>,
    /// The days (UTC) up to today.
    #[schema(minimum = 1, maximum = 90)]
    pub days: u32,
}

impl Default for UptimeQuery {
    fn default() -> Self {
        Self { ids: Vec::new(), days: 90 }
    }
}

/// Uptime of endpoints.
#[derive(Debug, Serialize, ToSchema)]
pub struct UptimeList {
    /// In the order of `ids`. Endpoints that do not exist are left out.
    pub data: Vec<DailyUptime>,
}

/// Uptime of one endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DailyUptime {
    pub endpoint_id: EndpointId,
    /// Of all days: the share of conclusive checks that were not `down`, from 0 to 1; null without such checks.
    pub uptime: Option<f64>,
    /// The days with checks or incidents, the earliest first.
    pub days: Vec<UptimeOfDay>,
}

/// One day.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UptimeOfDay {
    /// When it begins, UTC.
    pub starts_at: Timestamp,
    /// As for all days.
    pub uptime: Option<f64>,
    pub healthy: u32,
    pub degraded: u32,
    pub down: u32,
    pub inconclusive: u32,
    /// Incidents that began on this day.
    pub incidents: u32,
    /// How long incidents were active on this day whose cause is that the endpoint was down, in milliseconds.
    pub down_ms: u64,
}

impl Response for UptimeList {}

/// Uptime by day.
///
/// # Errors
/// [`AppError::Invalid`] for too many endpoints, and those of history reads.
pub async fn uptime(by: &Authorized<Read>, query: UptimeQuery) -> Result<UptimeList> {
    let mut ids = query.ids;
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(*id));
    if ids.len() > ENDPOINTS_MAX {
        return Err(AppError::invalid("/ids", "must hold at most 100 items"));
    }
    let found = by.engine().store().uptime(by.workspace_id(), ids, by.now(), query.days).await;
    Ok(UptimeList { data: found.map_err(EngineError::from)?.into_iter().map(DailyUptime::of).collect() })
}

/// The share of conclusive checks that were not `down`.
fn share(up: u64, down: u64) -> Option<f64> {
    (up + down > 0).then(|| up as f64 / (up + down) as f64)
}

impl DailyUptime {
    fn of(endpoint: EndpointUptime) -> Self {
        let up = |day: &UptimeDay| u64::from(day.healthy) + u64::from(day.degraded);
        let (all_up, all_down) = endpoint
            .days
            .iter()
            .fold((0, 0), |(all_up, all_down), day| (all_up + up(day), all_down + u64::from(day.down)));
        let of_day = |day: UptimeDay| UptimeOfDay {
            starts_at: Timestamp::from_unix_ms(day.day.saturating_mul(DAY_MS)),
            uptime: share(up(&day), day.down.into()),
            healthy: day.healthy,
            degraded: day.degraded,
            down: day.down,
            inconclusive: day.inconclusive,
            incidents: day.incidents,
            down_ms: day.down_ms,
        };
        Self {
            endpoint_id: endpoint.endpoint_id,
            uptime: share(all_up, all_down),
            days: endpoint.days.into_iter().map(of_day).collect(),
        }
    }
}
