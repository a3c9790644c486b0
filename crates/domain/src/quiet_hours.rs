//! Quiet hours: when a channel is left alone, again and again. Gate 10 asks them, and what is held waits for their end.

use serde::{Deserialize, Serialize};

use crate::calendar::{
    DAY_MINUTES, Period, TimeOfDay, Weekdays, Zone, days_violations, next_stretch, start_violation, stretch_end,
    zone_violation,
};
use crate::severity::Severity;
use crate::time::Timestamp;
use crate::violation::{Violation, Violations};

/// What becomes of a delivery that comes up in quiet hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuietAction {
    /// It waits for their end.
    #[default]
    Hold,
    /// It is suppressed.
    Drop,
}

impl QuietAction {
    /// Every action.
    pub const ALL: [Self; 2] = [Self::Hold, Self::Drop];

    /// The word for it in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Drop => "drop",
        }
    }

    /// The action that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

/// A channel's quiet hours, as they were written, so that they are shown like that again and every fault has its field.
///
/// They last from `start` on each of `days` to the next `end`, by the clocks of `timezone`; `end` is no longer part of
/// them. In a night in which clocks change it is quiet whenever the clock shows that it is: a `start` or an `end` that
/// is skipped is when the clock jumps over it, and of one that is repeated the first counts as `start` and the last as
/// `end`, with all between them. Periods that touch or overlap are one.
///
/// Quiet hours that have [violations](Self::violations) are never: better said at night than not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuietHours {
    /// When they start, such as `22:00`.
    pub start: String,
    /// When they end, such as `07:00`: on the same day if that is later than `start`, else on the next. `24:00` is the
    /// end of the day on which they start.
    pub end: String,
    /// Whose clocks count: an IANA name.
    pub timezone: String,
    /// The days on which they start, each of [`crate::calendar::DAYS`]; all if empty.
    #[serde(default)]
    pub days: Vec<String>,
    /// What becomes of what comes up.
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
    /// Everything wrong with them.
    pub fn violations(&self) -> Violations {
        let mut violations: Violations = start_violation("start", &self.start).into_iter().collect();
        let end = TimeOfDay::parse(&self.end);
        if end.is_none() {
            let message = "must be a time of day from 00:00 to 24:00, with two digits each, such as 07:00";
            violations.push(Violation::new("/end", message));
        } else if end == TimeOfDay::parse(&self.start) {
            let message = "must not be the same as start; write 00:00 and 24:00 for whole days, and to silence the \
                           channel altogether disable it or mute it";
            violations.push(Violation::new("/end", message));
        }
        violations.extend(zone_violation(&self.timezone));
        violations.extend(days_violations(&self.days));
        if violations.is_empty() && self.hours().is_none() {
            let message = "must leave out a day, or the hours must not be whole days, as the channel would always be \
                           quiet; to silence it altogether disable it or mute it";
            violations.push(Violation::new("/days", message));
        }
        violations
    }

    /// Whether events this bad are kept back.
    pub fn covers(&self, severity: Severity) -> bool {
        !self.critical_passes || severity != Severity::Critical
    }

    /// When the quiet ends that `now` lies in; `None` if `now` is not quiet.
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
        stretch_end(self.hours()?.around(now), now)
    }

    /// When quiet begins next, after `now` and after the quiet that `now` may lie in.
    pub fn next_start(&self, now: Timestamp) -> Option<Timestamp> {
        next_stretch(self.hours()?.around(now), now)
    }

    /// What a verdict of `now` says about the hours that end at `ends_at`, such as
    /// `Held until 07:00 Europe/Zurich: quiet hours of #data-alerts`.
    pub fn describe(&self, channel_name: &str, ends_at: Timestamp, now: Timestamp) -> String {
        let until = Zone::from_name(&self.timezone).unwrap_or(Zone::UTC).describe(ends_at, now);
        match self.action {
            QuietAction::Hold => format!("Held until {until}: quiet hours of {channel_name}"),
            QuietAction::Drop => format!("Dropped: quiet hours of {channel_name} until {until}"),
        }
    }

    fn hours(&self) -> Option<Hours> {
        let (start, end) = (TimeOfDay::parse_start(&self.start)?, TimeOfDay::parse(&self.end)?);
        let days = Weekdays::read(&self.days)?;
        let whole_days = (start, end) == (TimeOfDay::MIDNIGHT, TimeOfDay::END_OF_DAY);
        let never_ends = start == end || whole_days && days.step_minutes_max() == DAY_MINUTES;
        (!never_ends).then_some(Hours { start, end, zone: Zone::from_name(&self.timezone)?, days })
    }
}

/// Quiet hours, read.
struct Hours {
    start: TimeOfDay,
    end: TimeOfDay,
    zone: Zone,
    days: Weekdays,
}

impl Hours {
    /// Those that `now` can lie in and those after it, in their order. They last about a day at most, but a date that
    /// was left out or repeated may lie between.
    fn around(&self, now: Timestamp) -> impl Iterator<Item = Period> {
        let dates = self.zone.dates_around(now, 2).filter(|date| self.days.has(date.weekday()));
        dates.filter_map(|date| {
            let ends_on = if self.start < self.end { date } else { date.tomorrow().ok()? };
            self.zone.period((date, self.start), (ends_on, self.end))
        })
    }
}

#[cfg(test)]
#[path = "quiet_hours_tests.rs"]
mod tests;
