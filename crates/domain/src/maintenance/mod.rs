//! Maintenance windows: when an endpoint is worked on, and its alerts are not said. Gate 8 asks them.

mod recurring;
#[cfg(test)]
mod windows_tests;

use std::iter::successors;

use serde::{Deserialize, Serialize};

use crate::calendar::{DAY_MINUTES, Period, Zone, stretch_end};
use crate::time::Timestamp;
use crate::violation::{Violation, Violations};
pub use recurring::Recurring;
use recurring::Windows;

/// Windows that one endpoint may have.
pub const WINDOWS_MAX: usize = 20;
/// The longest that a window may last that comes once, in days: a slip of the year must not silence an endpoint for
/// good.
pub const ONCE_DAYS_MAX: u32 = 366;
/// The longest that a window may last that comes again and again, in minutes (a week).
pub const DURATION_MINUTES_MAX: u32 = 7 * DAY_MINUTES;

/// How many times it is looked on from the end of a stretch. Each look sees all windows of some weeks together, so that
/// only windows that leave no time between them, or that last for months, take more than one and a last one that finds
/// nothing.
const LOOKS_MAX: usize = 4;

/// A window, once or again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum MaintenanceWindow {
    /// Once.
    #[serde(rename_all = "camelCase")]
    Once {
        /// From this instant on.
        starts_at: Timestamp,
        /// Until this one, which is no longer part of it.
        ends_at: Timestamp,
    },
    /// Again and again.
    Recurring(Recurring),
}

impl MaintenanceWindow {
    /// Everything wrong with it.
    pub fn violations(&self) -> Violations {
        match self {
            Self::Once { starts_at, ends_at } => once_violation(*starts_at, *ends_at).into_iter().collect(),
            Self::Recurring(recurring) => recurring.violations(),
        }
    }

    /// When the window ends that `now` lies in, together with those of its own that follow without a pause; `None` if
    /// `now` is in none.
    pub fn ends_at(&self, now: Timestamp) -> Option<Timestamp> {
        ends_at(std::slice::from_ref(self), now)
    }

    fn read(&self) -> Option<Read> {
        match self {
            Self::Once { starts_at, ends_at } => {
                let is_right = once_violation(*starts_at, *ends_at).is_none();
                Period::new(*starts_at, *ends_at).filter(|_| is_right).map(Read::Once)
            }
            Self::Recurring(recurring) => recurring.windows().map(Read::Again),
        }
    }
}

/// A window without violations, read.
enum Read {
    Once(Period),
    Again(Windows),
}

impl Read {
    /// Its periods that `now` can lie in, and those of some weeks after it.
    fn add_around(&self, now: Timestamp, periods: &mut Vec<Period>) {
        match self {
            Self::Once(period) => periods.push(*period),
            Self::Again(windows) => periods.extend(windows.around(now)),
        }
    }
}

/// Everything wrong with an endpoint's windows.
pub fn violations(windows: &[MaintenanceWindow]) -> Violations {
    if windows.len() > WINDOWS_MAX {
        return vec![Violation::new("", format!("must hold at most {WINDOWS_MAX} windows"))];
    }
    let of_one = |(index, window): (usize, &MaintenanceWindow)| {
        window.violations().into_iter().map(move |violation| violation.under(format_args!("/{index}")))
    };
    windows.iter().enumerate().flat_map(of_one).collect()
}

/// When the maintenance ends that `now` lies in; `None` if `now` is in no window. Windows that overlap or touch are one
/// maintenance.
///
/// Windows that leave no time between them have no end: then it is an instant some months ahead, at which to ask again.
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
    let windows: Vec<Read> = windows.iter().filter_map(MaintenanceWindow::read).collect();
    let stretch_from = |instant| {
        let mut periods = Vec::new();
        windows.iter().for_each(|window| window.add_around(instant, &mut periods));
        periods.sort_unstable_by_key(|period| period.starts_at);
        stretch_end(periods, instant)
    };
    successors(stretch_from(now), |end| stretch_from(*end)).take(LOOKS_MAX).last()
}

/// What a verdict of `now` says about a maintenance that ends at `ends_at`, such as
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
