//! Quiet hours: recurring periods in which a channel gets no notifications. Evaluated by gate 10; deliveries that it
//! holds are released at the end of the period.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::calendar::{
    DAY_MINUTES, Period, TimeOfDay, Weekdays, Zone, days_violations, interval_end, next_interval, start_violation,
    validate_timezone,
};
use crate::severity::Severity;
use crate::time::Timestamp;
use crate::violation::{Violation, Violations};

/// What happens to a delivery in quiet hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuietAction {
    /// The delivery is held until they end.
    #[default]
    Hold,
    /// The delivery is suppressed.
    Drop,
}

impl QuietAction {
    /// Every action.
    pub const ALL: [Self; 2] = [Self::Hold, Self::Drop];

    /// The wire name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Drop => "drop",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

/// A channel's quiet hours. Fields keep the texts of the request, so that they are returned unchanged and each violation
/// has a field.
///
/// A period lasts from `start` on each of `days` to the next `end`, in local time of `timezone`; `end` is not part of it.
/// For clock changes see the second rule of [`crate::calendar`]. Periods that touch or overlap are one.
///
/// Quiet hours with [violations](Self::violations) never apply: a notification at night is better than none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuietHours {
    /// A time of day such as `22:00`.
    pub start: String,
    /// A time of day such as `07:00`: on the same day if it is later than `start`, else on the next. `24:00` is the end of
    /// the day.
    pub end: String,
    /// An IANA name.
    pub timezone: String,
    /// The days on which a period starts: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`; every day if empty.
    #[serde(default)]
    pub days: Vec<String>,
    #[serde(default)]
    pub action: QuietAction,
    /// Whether critical events are sent all the same.
    #[serde(default = "yes")]
    pub critical_passes: bool,
}

const fn yes() -> bool {
    true
}

impl QuietHours {
    /// Everything wrong with the quiet hours.
    pub fn violations(&self) -> Violations {
        let mut violations: Violations = start_violation("start", &self.start).into_iter().collect();
        let end = TimeOfDay::parse(&self.end);
        if end.is_none() {
            let message = "must be a time of day from 00:00 to 24:00, with two digits each, such as 07:00";
            violations.push(Violation::new("/end", message));
        } else if end == TimeOfDay::parse(&self.start) {
            let message = "must not be the same as start; use 00:00 and 24:00 for whole days; to silence the channel \
                           altogether disable it or mute it";
            violations.push(Violation::new("/end", message));
        }
        violations.extend(validate_timezone(&self.timezone));
        violations.extend(days_violations(&self.days));
        if violations.is_empty() && self.parsed().is_none() {
            let message = "must leave out a day, or the hours must not be whole days, as the channel would always be \
                           quiet; to silence it altogether disable it or mute it";
            violations.push(Violation::new("/days", message));
        }
        violations
    }

    /// Whether the quiet hours apply to events of this severity.
    pub fn covers(&self, severity: Severity) -> bool {
        !self.critical_passes || severity != Severity::Critical
    }

    /// The end of the period that contains `now`; `None` if no period does.
    ///
    /// ```
    /// use tidings_domain::{quiet_hours::QuietHours, time::Timestamp};
    ///
    /// let json = r#"{"start": "22:00", "end": "07:00", "timezone": "Europe/Zurich"}"#;
    /// let hours: QuietHours = serde_json::from_str(json).unwrap();
    /// let late_in_the_evening = Timestamp::parse("2026-05-02T23:30:00+02:00").unwrap();
    /// assert_eq!(hours.ends_at(late_in_the_evening), Timestamp::parse("2026-05-03T07:00:00+02:00"));
    /// assert_eq!(hours.ends_at(Timestamp::parse("2026-05-03T07:00:00+02:00").unwrap()), None);
    /// ```
    pub fn ends_at(&self, now: Timestamp) -> Option<Timestamp> {
        interval_end(self.parsed()?.near(now), now)
    }

    /// The start of the next period after `now`, and after the one that contains `now`.
    pub fn next_start(&self, now: Timestamp) -> Option<Timestamp> {
        next_interval(self.parsed()?.near(now), now)
    }

    /// The detail of a refusal at `now` by the period that ends at `ends_at`, such as
    /// `Held until 07:00 Europe/Zurich: quiet hours of #data-alerts`.
    pub fn describe(&self, channel_name: &str, ends_at: Timestamp, now: Timestamp) -> String {
        let until = Zone::from_name(&self.timezone).unwrap_or(Zone::UTC).describe(ends_at, now);
        match self.action {
            QuietAction::Hold => format!("Held until {until}: quiet hours of {channel_name}"),
            QuietAction::Drop => format!("Dropped: quiet hours of {channel_name} until {until}"),
        }
    }

    fn parsed(&self) -> Option<ParsedHours> {
        let (start, end) = (TimeOfDay::parse_start(&self.start)?, TimeOfDay::parse(&self.end)?);
        let days = Weekdays::parse(&self.days)?;
        let whole_days = (start, end) == (TimeOfDay::MIDNIGHT, TimeOfDay::END_OF_DAY);
        let never_ends = start == end || whole_days && days.longest_step_minutes() == DAY_MINUTES;
        (!never_ends).then_some(ParsedHours { start, end, zone: Zone::from_name(&self.timezone)?, days })
    }
}

/// Quiet hours with parsed fields.
struct ParsedHours {
    start: TimeOfDay,
    end: TimeOfDay,
    zone: Zone,
    days: Weekdays,
}

impl ParsedHours {
    /// The periods that can contain `now` and those after it, in order. A period lasts about a day at most, but a skipped
    /// or repeated date may add another one.
    fn near(&self, now: Timestamp) -> impl Iterator<Item = Period> {
        let dates = self.zone.nearby_dates(now, 2).filter(|date| self.days.has(date.weekday()));
        dates.filter_map(|date| {
            let ends_on = if self.start < self.end { date } else { date.tomorrow().ok()? };
            self.zone.period((date, self.start), (ends_on, self.end))
        })
    }
}

#[cfg(test)]
mod tests;
