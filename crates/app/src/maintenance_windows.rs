//! `/maintenance-windows`: when the maintenance windows of all endpoints occur.

use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};
use tidings_domain::id::EndpointId;
use tidings_domain::maintenance::MaintenanceWindow;
use tidings_domain::time::Timestamp;
use tidings_engine::snapshot::WorkspaceView;
use utoipa::ToSchema;

use crate::error::{AppError, Result};
use crate::principal::{Authorized, Read};
use crate::response::Response;

const DAY_MS: u64 = 86_400_000;
const SPAN_DAYS_DEFAULT: u64 = 30;
const SPAN_DAYS_MAX: u64 = 92;

/// Which occurrences to list.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OccurrenceQuery {
    /// By default now.
    pub since: Option<Timestamp>,
    /// By default 30 days after `since`; at most 92 days after it.
    pub until: Option<Timestamp>,
    /// Only of this endpoint.
    pub endpoint: Option<EndpointId>,
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: u32,
    /// The `nextCursor` of the page before.
    pub cursor: Option<String>,
}

impl Default for OccurrenceQuery {
    fn default() -> Self {
        Self { since: None, until: None, endpoint: None, limit: 200, cursor: None }
    }
}

/// A page of occurrences, the earliest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OccurrenceList {
    pub data: Vec<Occurrence>,
    pub next_cursor: Option<String>,
}

/// An occurrence that overlaps the span, with its whole length. Those that follow without a pause are listed each.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Occurrence {
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub endpoint_id: EndpointId,
    pub endpoint_name: String,
    /// The position of the window among the endpoint's `maintenanceWindows`, from 0.
    pub window: u32,
    /// The time zone of a recurring window; null for a single one.
    pub timezone: Option<String>,
}

impl Response for OccurrenceList {}

/// What occurrences are ordered by: start, endpoint, window; then the end.
type Key = (Timestamp, EndpointId, u32, Timestamp);

/// Occurrences of maintenance windows.
///
/// # Errors
/// [`AppError::Invalid`] for a span that is empty or too long, and a wrong cursor.
pub fn list(by: &Authorized<Read>, query: OccurrenceQuery) -> Result<OccurrenceList> {
    let since = query.since.unwrap_or_else(|| by.now());
    let until = query.until.unwrap_or_else(|| since.plus_ms(SPAN_DAYS_DEFAULT * DAY_MS));
    if until <= since {
        return Err(AppError::invalid("/until", "must be later than since"));
    }
    if until.since_ms(since) > SPAN_DAYS_MAX * DAY_MS {
        return Err(AppError::invalid("/until", "must be at most 92 days after since"));
    }
    let after = query.cursor.as_deref().map(|cursor| {
        parse_cursor(cursor).ok_or_else(|| AppError::invalid("/cursor", "must be the nextCursor of the previous page"))
    });
    let (view, limit) = (by.view()?, query.limit as usize);
    let mut found = earliest(&view, (since, until), query.endpoint, after.transpose()?, limit + 1);
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| has_more).map(format_cursor);
    let data = found.into_iter().filter_map(|key| Occurrence::of(&view, key)).collect();
    Ok(OccurrenceList { data, next_cursor })
}

/// The first `count` occurrences after a position. Keeps no more of them in memory, however many there are.
fn earliest(
    view: &WorkspaceView,
    (since, until): (Timestamp, Timestamp),
    endpoint: Option<EndpointId>,
    after: Option<Key>,
    count: usize,
) -> Vec<Key> {
    let mut kept: BinaryHeap<Key> = BinaryHeap::new();
    let chosen = view.endpoints().filter(|loaded| endpoint.is_none_or(|id| id == loaded.endpoint.id));
    for loaded in chosen {
        for (index, window) in (0..).zip(&loaded.endpoint.definition.maintenance_windows) {
            for occurrence in window.occurrences(since, until) {
                let key = (occurrence.starts_at, loaded.endpoint.id, index, occurrence.ends_at);
                if after.as_ref().is_some_and(|after| key <= *after) {
                    continue;
                }
                if kept.len() == count {
                    // Those of one window are in order, so that none of the later ones belongs to the first either.
                    if kept.peek().is_some_and(|last| key >= *last) {
                        break;
                    }
                    kept.pop();
                }
                kept.push(key);
            }
        }
    }
    kept.into_sorted_vec()
}

impl Occurrence {
    fn of(view: &WorkspaceView, (starts_at, endpoint_id, window, ends_at): Key) -> Option<Self> {
        let endpoint = &view.endpoint(endpoint_id)?.endpoint;
        let timezone = match endpoint.definition.maintenance_windows.get(window as usize)? {
            MaintenanceWindow::Once { .. } => None,
            MaintenanceWindow::Recurring(recurring) => Some(recurring.timezone.clone()),
        };
        Some(Self { starts_at, ends_at, endpoint_id, endpoint_name: endpoint.name.clone(), window, timezone })
    }
}

fn format_cursor((starts_at, endpoint_id, window, ends_at): &Key) -> String {
    format!("{}.{endpoint_id}.{window}.{}", starts_at.unix_ms(), ends_at.unix_ms())
}

fn parse_cursor(text: &str) -> Option<Key> {
    let mut parts = text.split('.');
    let starts_at = Timestamp::from_unix_ms(parts.next()?.parse().ok()?);
    let endpoint_id = parts.next()?.parse().ok()?;
    let window = parts.next()?.parse().ok()?;
    let ends_at = Timestamp::from_unix_ms(parts.next()?.parse().ok()?);
    parts.next().is_none().then_some((starts_at, endpoint_id, window, ends_at))
}
