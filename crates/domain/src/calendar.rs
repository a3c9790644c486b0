//! Time zones, weekdays and times of day, for recurring periods.
//!
//! [`crate::quiet_hours`] and [`crate::maintenance`] are built from them, and gates format instants with [`Zone`].
//!
//! A clock change skips some local times and repeats others. There are two rules:
//!
//! - A period with a start and a *duration* (maintenance window) resolves its start as jiff's `compatible` mode and
//!   RFC 5545 do: a skipped time is shifted by the size of the gap (02:30 becomes 03:30), and of a repeated time the
//!   first occurrence counts.
//! - A period with a start and an *end* (quiet hours) follows the clock on the wall: a skipped time is the instant of the
//!   clock change; of a repeated time the first occurrence counts as a start and the last one as an end. So the period
//!   always applies while the clock shows a time within it.

use std::iter::successors;
use std::sync::LazyLock;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

use crate::time::Timestamp;
use crate::violation::{Violation, Violations, pointer};

/// The names of the weekdays in the API, from Monday.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The length of a day without a clock change, in minutes.
pub(crate) const DAY_MINUTES: u32 = 24 * 60;
const DAY_SECONDS: i32 = DAY_MINUTES as i32 * 60;

/// How many dates after today are searched. A weekly pattern with a gap has that gap every week, unless a clock change or
/// a skipped date closes it. That does not happen twice in a row, so a month reaches the end of any interval and the
/// start of the next one.
const DATES_AHEAD: usize = 30;

/// The time zones compiled in (jiff's feature `tzdb-bundle-always`): the same on every machine, without file access.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Coordinated Universal Time.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// The zone with this IANA name, such as `Europe/Zurich`, in any case; `None` if it is unknown.
    pub fn from_name(name: &str) -> Option<Self> {
        ZONES.get(name).ok().filter(|zone| !zone.is_unknown()).map(Self)
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The instant in local time: `07:00 Europe/Zurich`, with the date unless it is that of `now`, and with seconds unless
    /// it is a whole minute.
    pub fn describe(&self, at: Timestamp, now: Timestamp) -> String {
        // Rounded up to a second, so that a gate is open at the time that its detail names.
        let whole_second = at.plus_ms(at.unix_ms().wrapping_neg().rem_euclid(1_000).unsigned_abs());
        let local = self.local_time(whole_second);
        let date = if local.date() == self.date(now) { "" } else { "%Y-%m-%d " };
        let time = if local.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
        format!("{} {}", local.strftime(&format!("{date}{time}")), self.name())
    }

    /// The local date and time with the zone's abbreviation: `2026-05-02 06:00:12 CEST`, or with its offset where it has
    /// none: `2026-05-02 01:00:12 UTC-03`.
    pub fn format_instant(&self, at: Timestamp) -> String {
        let local = at.to_jiff().to_zoned(self.0.clone());
        let zone = local.strftime("%Z").to_string();
        let utc = if zone.starts_with(['+', '-']) { "UTC" } else { "" };
        format!("{} {utc}{zone}", local.strftime("%Y-%m-%d %H:%M:%S"))
    }

    /// The local date and time.
    fn local_time(&self, at: Timestamp) -> DateTime {
        self.0.to_datetime(at.to_jiff())
    }

    fn date(&self, at: Timestamp) -> Date {
        self.local_time(at).date()
    }

    /// The dates on which a period that matters at `now` can start, in order: `back` dates before today, today and the
    /// next [`DATES_AHEAD`].
    pub(crate) fn nearby_dates(&self, now: Timestamp, back: usize) -> impl Iterator<Item = Date> + use<> {
        let today = self.date(now);
        let first = successors(Some(today), |date| date.yesterday().ok()).take(back + 1).last().unwrap_or(today);
        successors(Some(first), |date| date.tomorrow().ok()).take(back + 1 + DATES_AHEAD)
    }

    /// The dates on which a period can start that overlaps this span, in order: `back` dates before its first date, to its
    /// last one.
    pub(crate) fn dates_between(
        &self,
        since: Timestamp,
        until: Timestamp,
        back: usize,
    ) -> impl Iterator<Item = Date> + use<> {
        let (first, last) = (self.date(since), self.date(until));
        let first = successors(Some(first), |date| date.yesterday().ok()).take(back + 1).last().unwrap_or(first);
        successors(Some(first), |date| date.tomorrow().ok()).take_while(move |date| *date <= last)
    }

    /// The instant of a local time, by the first rule of the module; `None` outside of the calendar.
    pub(crate) fn instant(&self, date: Date, time: TimeOfDay) -> Option<Timestamp> {
        self.0.to_timestamp(time.on(date)?).ok().map(timestamp)
    }

    /// [`Self::instant`] for the start of a period; `None` also if the zone skipped the date.
    pub(crate) fn instant_of_start(&self, date: Date, time: TimeOfDay) -> Option<Timestamp> {
        self.instant(date, time).filter(|_| self.has(date))
    }

    /// The period between two local times, by the second rule of the module; `None` if it is empty, or if the zone skipped
    /// the date of its start.
    pub(crate) fn period(&self, from: (Date, TimeOfDay), until: (Date, TimeOfDay)) -> Option<Period> {
        let (starts_at, _) = self.start_and_end(from.0, from.1).filter(|_| self.has(from.0))?;
        let (_, ends_at) = self.start_and_end(until.0, until.1)?;
        Period::new(starts_at, ends_at)
    }

    /// The instant of a local time as the start of a period, and as the end of one. They differ if the time is repeated.
    fn start_and_end(&self, date: Date, time: TimeOfDay) -> Option<(Timestamp, Timestamp)> {
        let ambiguous = self.0.to_ambiguous_timestamp(time.on(date)?);
        let (earlier, later) = (ambiguous.earlier().ok()?, ambiguous.later().ok()?);
        // For a skipped or repeated time, the clock change lies between the two.
        let change = || Some(self.0.following(earlier).next()?.timestamp());
        let (first, last) = match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => (earlier, later),
            // The zone skipped a whole date: a period that ends on it ends at the same time of the next date.
            AmbiguousOffset::Gap { before, after } if after.seconds() - before.seconds() >= DAY_SECONDS => {
                (later, later)
            }
            AmbiguousOffset::Gap { .. } => (change()?, change()?),
            // If the clock is set back to exactly this time, the times before it are not repeated, so the first
            // occurrence is also the end.
            AmbiguousOffset::Fold { .. } => (earlier, if change()? == later { earlier } else { later }),
        };
        Some((timestamp(first), timestamp(last)))
    }

    /// Whether the date exists in this zone: Samoa skipped 2011-12-30 to move across the date line.
    fn has(&self, date: Date) -> bool {
        self.instant(date, TimeOfDay::MIDNIGHT).is_some_and(|midnight| self.date(midnight) == date)
    }
}

fn timestamp(instant: jiff::Timestamp) -> Timestamp {
    Timestamp::from_unix_ms(instant.as_millisecond())
}

/// The violation of the field `timezone`, if the zone is unknown.
pub fn validate_timezone(name: &str) -> Option<Violation> {
    let message = "must be the IANA name of a time zone, such as Europe/Zurich, America/New_York or UTC";
    Zone::from_name(name).is_none().then(|| Violation::new("/timezone", message))
}

/// A time of day in whole minutes, from 00:00 to 24:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimeOfDay(u16);

impl TimeOfDay {
    /// 00:00.
    pub(crate) const MIDNIGHT: Self = Self(0);
    /// 24:00. Only an end can be at this time.
    pub(crate) const END_OF_DAY: Self = Self(DAY_MINUTES as u16);

    /// Parses `22:00`, with all four digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let &[h1, h2, b':', m1, m2] = text.as_bytes() else { return None };
        let digits = [h1, h2, m1, m2];
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let [h1, h2, m1, m2] = digits.map(|digit| u16::from(digit - b'0'));
        let (hour, minute) = (h1 * 10 + h2, m1 * 10 + m2);
        let time = Self(hour * 60 + minute);
        (minute < 60 && time <= Self::END_OF_DAY).then_some(time)
    }

    /// [`Self::parse`] for a start, which cannot be 24:00.
    pub(crate) fn parse_start(text: &str) -> Option<Self> {
        Self::parse(text).filter(|time| *time < Self::END_OF_DAY)
    }

    /// This time on the date; `None` outside of the calendar.
    pub(crate) fn on(self, date: Date) -> Option<DateTime> {
        match self {
            Self::END_OF_DAY => Some(date.tomorrow().ok()?.at(0, 0, 0, 0)),
            Self(minutes) => Some(date.at((minutes / 60) as i8, (minutes % 60) as i8, 0, 0)),
        }
    }
}

/// The violation of the field `key`, if the text is not a time at which a period can start.
pub(crate) fn start_violation(key: &str, text: &str) -> Option<Violation> {
    let message = "must be a time of day from 00:00 to 23:59, with two digits each, such as 22:00";
    TimeOfDay::parse_start(text).is_none().then(|| Violation::new(pointer(key), message))
}

/// A set of days of the week; bit 0 is Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weekdays(u8);

impl Weekdays {
    /// Parses the names of days; none means every day. `None` for an unknown or duplicate name.
    pub(crate) fn parse(names: &[String]) -> Option<Self> {
        let days = names.iter().try_fold(0, |days, name| {
            let day = 1 << day_number(name)?;
            (days & day == 0).then_some(days | day)
        })?;
        Some(Self(if days == 0 { 0x7f } else { days }))
    }

    /// Whether the set contains the day.
    pub(crate) fn has(self, day: Weekday) -> bool {
        self.0 & (1 << day.to_monday_zero_offset()) != 0
    }

    /// The longest time from the start of one of the days to the start of the next, in minutes without a clock change. A
    /// period of at least this duration never ends.
    pub(crate) fn longest_step_minutes(self) -> u32 {
        // Two weeks, so that the step from the last day of the week to the first of the next is one of them.
        let twice = u32::from(self.0) | u32::from(self.0) << 7;
        let steps = (0..7).filter(|day| twice & 1 << day != 0).map(|day| (twice >> (day + 1)).trailing_zeros() + 1);
        steps.max().unwrap_or(7) * DAY_MINUTES
    }
}

fn day_number(name: &str) -> Option<usize> {
    DAYS.iter().position(|day| *day == name)
}

/// Everything wrong with `days`.
pub(crate) fn days_violations(names: &[String]) -> Violations {
    if names.len() > DAYS.len() {
        return vec![Violation::new("/days", "must have at most 7 items, each day once")];
    }
    let violation = |(index, name): (usize, &String)| {
        let message = if day_number(name).is_none() {
            "must be mon, tue, wed, thu, fri, sat or sun"
        } else if names[..index].contains(name) {
            "is a duplicate"
        } else {
            return None;
        };
        Some(Violation::new(format!("/days/{index}"), message))
    };
    names.iter().enumerate().filter_map(violation).collect()
}

/// A half-open interval of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) starts_at: Timestamp,
    /// No longer part of the period.
    pub(crate) ends_at: Timestamp,
}

impl Period {
    /// A period, unless it would be empty.
    pub(crate) fn new(starts_at: Timestamp, ends_at: Timestamp) -> Option<Self> {
        (starts_at < ends_at).then_some(Self { starts_at, ends_at })
    }
}

/// The end of the interval that contains `now`, if one does. Periods that overlap or touch form one interval. They must
/// be sorted by their starts.
pub(crate) fn interval_end(periods: impl IntoIterator<Item = Period>, now: Timestamp) -> Option<Timestamp> {
    let (end, _) = scan(periods, now);
    (end > now).then_some(end)
}

/// The start of the next interval after `now`, and after the one that contains `now`.
pub(crate) fn next_interval(periods: impl IntoIterator<Item = Period>, now: Timestamp) -> Option<Timestamp> {
    scan(periods, now).1
}

/// The end of the interval that contains `now` (`now` itself if none does), and the start of the next one.
fn scan(periods: impl IntoIterator<Item = Period>, now: Timestamp) -> (Timestamp, Option<Timestamp>) {
    let mut end = now;
    for period in periods {
        if period.starts_at > end {
            return (end, Some(period.starts_at));
        }
        end = end.max(period.ends_at);
    }
    (end, None)
}

#[cfg(test)]
pub(crate) mod tests;
