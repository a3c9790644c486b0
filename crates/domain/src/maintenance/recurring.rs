//! Windows that come again and again: on days of the week or on a day of the month.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::DURATION_MINUTES_MAX;
use crate::calendar::{
    DAY_MINUTES, Period, TimeOfDay, Weekdays, Zone, days_violations, start_violation, zone_violation,
};
use crate::time::Timestamp;
use crate::violation::{Violation, Violations};

/// A window that comes again and again, as it was written, so that it is shown like that again and every fault has its
/// field.
///
/// It begins at `start` by the clocks of `timezone`, on some days of the week or on one day of the month, and lasts so
/// many minutes as they pass, whatever the clocks do meanwhile. Where `start` falls on a clock change, see
/// [`crate::calendar`]. A window that has [violations](super::MaintenanceWindow::violations) is never.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recurring {
    /// The days of the week on which it begins, each of [`crate::calendar::DAYS`]; every day if empty.
    #[serde(default)]
    pub days: Vec<String>,
    /// The day of the month on which it begins, instead of `days`. A month that has no such day has no window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month_day: Option<u32>,
    /// When it begins, such as `02:00`.
    pub start: String,
    /// How long it lasts, in minutes; at most [`DURATION_MINUTES_MAX`].
    pub duration_minutes: u32,
    /// Whose clocks count: an IANA name.
    pub timezone: String,
    /// Nothing of it lies before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Nothing of it lies at this instant or after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Recurring {
    /// Everything wrong with it.
    pub(super) fn violations(&self) -> Violations {
        let mut violations = days_violations(&self.days);
        if let Some(month_day) = self.month_day {
            if !(1..=31).contains(&month_day) {
                violations.push(Violation::new("/monthDay", "must be a day of the month, from 1 to 31"));
            }
            if !self.days.is_empty() {
                violations.push(Violation::new("/monthDay", "must not be there beside days; make it two windows"));
            }
        }
        violations.extend(start_violation("start", &self.start));
        if !(1..=DURATION_MINUTES_MAX).contains(&self.duration_minutes) {
            let message = format!("must be a whole number from 1 to {DURATION_MINUTES_MAX} (a week)");
            violations.push(Violation::new("/durationMinutes", message));
        }
        violations.extend(zone_violation(&self.timezone));
        if self.from.zip(self.until).is_some_and(|(from, until)| until <= from) {
            violations.push(Violation::new("/until", "must be later than from"));
        }
        if violations.is_empty() && self.windows().is_none() {
            let message = "must be less than the time from one window to the next, as they would never end; to silence \
                           the endpoint altogether pause it";
            violations.push(Violation::new("/durationMinutes", message));
        }
        violations
    }

    /// Its windows, read; `None` if it has violations or would never end.
    pub(super) fn windows(&self) -> Option<Windows> {
        let begins = match self.month_day {
            None => Begins::On(Weekdays::read(&self.days)?),
            Some(day) => Begins::Monthly(i8::try_from(day).ok().filter(|_| self.days.is_empty())?),
        };
        let never_ends = matches!(begins, Begins::On(days) if days.step_minutes_max() <= self.duration_minutes);
        let is_usable = (1..=DURATION_MINUTES_MAX).contains(&self.duration_minutes) && !never_ends;
        is_usable.then_some(Windows {
            begins,
            start: TimeOfDay::parse_start(&self.start)?,
            duration_minutes: self.duration_minutes,
            zone: Zone::from_name(&self.timezone)?,
            from: self.from.unwrap_or(Timestamp::from_unix_ms(i64::MIN)),
            until: self.until.unwrap_or(Timestamp::from_unix_ms(i64::MAX)),
        })
    }
}

/// On which dates a window begins.
enum Begins {
    On(Weekdays),
    Monthly(i8),
}

impl Begins {
    fn has(&self, date: Date) -> bool {
        match self {
            Self::On(days) => days.has(date.weekday()),
            Self::Monthly(day) => date.day() == *day,
        }
    }
}

/// Recurring windows, read.
pub(super) struct Windows {
    begins: Begins,
    start: TimeOfDay,
    duration_minutes: u32,
    zone: Zone,
    from: Timestamp,
    until: Timestamp,
}

impl Windows {
    /// Those that `now` can lie in and those after it, in their order. Where the clock was set forward meanwhile, or a
    /// date was left out, a window reaches one date further than its length says.
    pub(super) fn around(&self, now: Timestamp) -> impl Iterator<Item = Period> {
        let back = self.duration_minutes.div_ceil(DAY_MINUTES) as usize + 1;
        let dates = self.zone.dates_around(now, back).filter(|date| self.begins.has(*date));
        dates.filter_map(|date| {
            let starts_at = self.zone.instant_of_start(date, self.start)?;
            let ends_at = starts_at.plus_ms(u64::from(self.duration_minutes) * 60_000);
            Period::new(starts_at.max(self.from), ends_at.min(self.until))
        })
    }
}
