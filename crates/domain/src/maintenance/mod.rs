//! Maintenance windows: periods of planned work in which an endpoint's alerts are suppressed. Evaluated by gate 8.

mod recurring;
#[cfg(test)]
mod tests;

use std::iter::successors;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::calendar::{DAY_MINUTES, Period, Zone, interval_end};
use crate::time::Timestamp;
use crate::violation::{Violation, Violations};
use recurring::ParsedRecurring;
pub use recurring::Recurring;

/// Most windows of one endpoint.
pub const WINDOWS_MAX: usize = 20;
/// The longest one-time window, in days. Prevents a typo in the year from silencing an endpoint for good.
pub const ONCE_DAYS_MAX: u32 = 366;
/// The longest recurring window, in minutes (a week).
pub const DURATION_MINUTES_MAX: u32 = 7 * DAY_MINUTES;

/// Most searches for the end of a maintenance. Each covers some weeks, so usually the first finds the end and the second
/// nothing more. Only windows that last for months, or that leave no time between them, need more.
const SEARCHES_MAX: usize = 4;

/// A maintenance window, one-time or recurring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum MaintenanceWindow {
    #[serde(rename_all = "camelCase")]
    Once {
        starts_at: Timestamp,
        /// No longer part of the window.
        ends_at: Timestamp,
    },
    Recurring(Recurring),
}

impl MaintenanceWindow {
    /// Everything wrong with the window.
    pub fn violations(&self) -> Violations {
        match self {
            Self::Once { starts_at, ends_at } => once_violation(*starts_at, *ends_at).into_iter().collect(),
            Self::Recurring(recurring) => recurring.violations(),
        }
    }

    /// The end of the window that contains `now`, joined with its further occurrences if they follow without a pause;
    /// `None` if none contains `now`.
    pub fn ends_at(&self, now: Timestamp) -> Option<Timestamp> {
        ends_at(std::slice::from_ref(self), now)
    }

    /// The occurrences of the window that overlap the span from `since` to `until`, in order, each with its whole length.
    /// Those that follow without a pause are not joined. The span must be bounded: a daily window has one for each day.
    pub fn occurrences(&self, since: Timestamp, until: Timestamp) -> impl Iterator<Item = Occurrence> + use<> {
        let (once, recurring) = match self.parsed() {
            None => (None, None),
            Some(ParsedWindow::Once(period)) => (Some(period), None),
            Some(ParsedWindow::Recurring(windows)) => (None, Some(windows.between(since, until))),
        };
        let once = once.filter(|period| period.ends_at > since && period.starts_at < until);
        let periods = once.into_iter().chain(recurring.into_iter().flatten());
        periods.map(|Period { starts_at, ends_at }| Occurrence { starts_at, ends_at })
    }

    fn parsed(&self) -> Option<ParsedWindow> {
        match self {
            Self::Once { starts_at, ends_at } => {
                let is_valid = once_violation(*starts_at, *ends_at).is_none();
                Period::new(*starts_at, *ends_at).filter(|_| is_valid).map(ParsedWindow::Once)
            }
            Self::Recurring(recurring) => recurring.parsed().map(ParsedWindow::Recurring),
        }
    }
}

/// One occurrence of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Occurrence {
    pub starts_at: Timestamp,
    /// No longer part of the occurrence.
    pub ends_at: Timestamp,
}

/// A valid window with parsed fields.
enum ParsedWindow {
    Once(Period),
    Recurring(ParsedRecurring),
}

impl ParsedWindow {
    /// Adds the periods that can contain `now`, and those of the weeks after it.
    fn add_near(&self, now: Timestamp, periods: &mut Vec<Period>) {
        match self {
            Self::Once(period) => periods.push(*period),
            Self::Recurring(windows) => periods.extend(windows.near(now)),
        }
    }
}

/// Everything wrong with an endpoint's windows.
pub fn violations(windows: &[MaintenanceWindow]) -> Violations {
    if windows.len() > WINDOWS_MAX {
        return vec![Violation::new("", format!("must have at most {WINDOWS_MAX} windows"))];
    }
    let validate = |(index, window): (usize, &MaintenanceWindow)| {
        window.violations().into_iter().map(move |violation| violation.under(format_args!("/{index}")))
    };
    windows.iter().enumerate().flat_map(validate).collect()
}

/// The end of the maintenance at `now`; `None` if no window contains `now`. Windows that overlap or touch are one
/// maintenance.
///
/// If the windows leave no time between them, maintenance never ends. The result is then an instant some months ahead.
///
/// ```
/// use tidings_domain::{maintenance::{MaintenanceWindow, ends_at}, time::Timestamp};
///
/// let json = r#"[
///     {"kind": "recurring", "days": ["sat"], "start": "02:00", "durationMinutes": 60, "timezone": "Europe/Zurich"},
///     {"kind": "once", "startsAt": "2026-05-02T01:00:00Z", "endsAt": "2026-05-02T04:30:00Z"}
/// ]"#;
/// let windows: Vec<MaintenanceWindow> = serde_json::from_str(json).unwrap();
/// let saturday = Timestamp::parse("2026-05-02T02:15:00+02:00").unwrap();
/// assert_eq!(ends_at(&windows, saturday), Timestamp::parse("2026-05-02T04:30:00Z"));
/// ```
pub fn ends_at(windows: &[MaintenanceWindow], now: Timestamp) -> Option<Timestamp> {
    let windows: Vec<ParsedWindow> = windows.iter().filter_map(MaintenanceWindow::parsed).collect();
    let maintenance_end = |instant| {
        let mut periods = Vec::new();
        windows.iter().for_each(|window| window.add_near(instant, &mut periods));
        periods.sort_unstable_by_key(|period| period.starts_at);
        interval_end(periods, instant)
    };
    successors(maintenance_end(now), |end| maintenance_end(*end)).take(SEARCHES_MAX).last()
}

/// The detail of a refusal at `now` by a maintenance that ends at `ends_at`, such as
/// `Production API is in maintenance until 04:00 Europe/Zurich`.
pub fn describe(endpoint_name: &str, ends_at: Timestamp, now: Timestamp, zone: &Zone) -> String {
    format!("{endpoint_name} is in maintenance until {}", zone.describe(ends_at, now))
}

fn once_violation(starts_at: Timestamp, ends_at: Timestamp) -> Option<Violation> {
    if ends_at <= starts_at {
        Some(Violation::new("/endsAt", "must be later than startsAt"))
    } else if ends_at.since_ms(starts_at) > u64::from(ONCE_DAYS_MAX * DAY_MINUTES) * 60_000 {
        let message = format!("must be at most {ONCE_DAYS_MAX} days after startsAt; for longer pause the endpoint");
        Some(Violation::new("/endsAt", message))
    } else {
        None
    }
}
