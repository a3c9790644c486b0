//! Recurring windows: on weekdays or on a day of the month.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::DURATION_MINUTES_MAX;
use crate::calendar::{
    DAY_MINUTES, Period, TimeOfDay, Weekdays, Zone, days_violations, start_violation, validate_timezone,
};
use crate::time::Timestamp;
use crate::violation::{Violation, Violations};

/// A recurring window. Fields keep the texts of the request, so that they are returned unchanged and each violation has
/// a field.
///
/// A window starts at `start` in local time of `timezone`, on weekdays or on one day of the month, and lasts
/// `duration_minutes` of elapsed time, also across a clock change. For a `start` within a clock change see the first rule
/// of [`crate::calendar`]. A window with [violations](super::MaintenanceWindow::violations) never applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recurring {
    /// The weekdays on which a window starts, `mon` to `sun`; every day if empty.
    #[serde(default)]
    #[schema(max_items = 7)]
    pub days: Vec<String>,
    /// The day of the month on which a window starts, instead of `days`. A month without that day has no window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 31)]
    pub month_day: Option<u32>,
    /// A time of day such as `02:00`.
    pub start: String,
    /// How long it lasts, in minutes.
    #[schema(minimum = 1, maximum = 10_080)]
    pub duration_minutes: u32,
    /// An IANA name.
    pub timezone: String,
    /// Cuts off what lies before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Cuts off what lies at or after this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Recurring {
    /// Everything wrong with the window.
    pub(super) fn violations(&self) -> Violations {
        let mut violations = days_violations(&self.days);
        if let Some(month_day) = self.month_day {
            if !(1..=31).contains(&month_day) {
                violations.push(Violation::new("/monthDay", "must be a day of the month, from 1 to 31"));
            }
            if !self.days.is_empty() {
                violations.push(Violation::new("/monthDay", "cannot be combined with days; use two windows"));
            }
        }
        violations.extend(start_violation("start", &self.start));
        if !(1..=DURATION_MINUTES_MAX).contains(&self.duration_minutes) {
            let message = format!("must be a whole number from 1 to {DURATION_MINUTES_MAX} (a week)");
            violations.push(Violation::new("/durationMinutes", message));
        }
        violations.extend(validate_timezone(&self.timezone));
        if self.from.zip(self.until).is_some_and(|(from, until)| until <= from) {
            violations.push(Violation::new("/until", "must be later than from"));
        }
        if violations.is_empty() && self.parsed().is_none() {
            let message = "must be less than the time from one window to the next, as they would never end; to silence \
                           the endpoint altogether pause it";
            violations.push(Violation::new("/durationMinutes", message));
        }
        violations
    }

    /// The window with parsed fields; `None` if it has violations or would never end.
    pub(super) fn parsed(&self) -> Option<ParsedRecurring> {
        let starts = match self.month_day {
            None => Starts::On(Weekdays::parse(&self.days)?),
            Some(day) => Starts::Monthly(i8::try_from(day).ok().filter(|_| self.days.is_empty())?),
        };
        let never_ends = matches!(starts, Starts::On(days) if days.longest_step_minutes() <= self.duration_minutes);
        let is_usable = (1..=DURATION_MINUTES_MAX).contains(&self.duration_minutes) && !never_ends;
        is_usable.then_some(ParsedRecurring {
            starts,
            start: TimeOfDay::parse_start(&self.start)?,
            duration_minutes: self.duration_minutes,
            zone: Zone::from_name(&self.timezone)?,
            from: self.from.unwrap_or(Timestamp::from_unix_ms(i64::MIN)),
            until: self.until.unwrap_or(Timestamp::from_unix_ms(i64::MAX)),
        })
    }
}

/// The dates on which a window starts.
enum Starts {
    On(Weekdays),
    Monthly(i8),
}

impl Starts {
    fn has(&self, date: Date) -> bool {
        match self {
            Self::On(days) => days.has(date.weekday()),
            Self::Monthly(day) => date.day() == *day,
        }
    }
}

/// A recurring window with parsed fields.
pub(super) struct ParsedRecurring {
    starts: Starts,
    start: TimeOfDay,
    duration_minutes: u32,
    zone: Zone,
    from: Timestamp,
    until: Timestamp,
}

impl ParsedRecurring {
    /// The periods that can contain `now` and those after it, in order.
    pub(super) fn near(&self, now: Timestamp) -> impl Iterator<Item = Period> {
        let dates = self.zone.nearby_dates(now, self.dates_back());
        dates.filter_map(|date| self.starting_on(date))
    }

    /// The periods that overlap this span, in order.
    pub(super) fn between(self, since: Timestamp, until: Timestamp) -> impl Iterator<Item = Period> {
        let dates = self.zone.dates_between(since, until, self.dates_back());
        let periods = dates.filter_map(move |date| self.starting_on(date));
        periods.filter(move |period| period.ends_at > since && period.starts_at < until)
    }

    /// How many dates earlier a window may start that lasts until today: one more than the duration, because a window
    /// across a skipped hour or date reaches one date further.
    fn dates_back(&self) -> usize {
        self.duration_minutes.div_ceil(DAY_MINUTES) as usize + 1
    }

    /// The period that starts on this date, if one does.
    fn starting_on(&self, date: Date) -> Option<Period> {
        if !self.starts.has(date) {
            return None;
        }
        let starts_at = self.zone.instant_of_start(date, self.start)?;
        let ends_at = starts_at.plus_ms(u64::from(self.duration_minutes) * 60_000);
        Period::new(starts_at.max(self.from), ends_at.min(self.until))
    }
}
