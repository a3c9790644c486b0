//! Zones, days of the week and times of day: the words in which people say when something holds again and again.
//!
//! [`crate::quiet_hours`] and [`crate::maintenance`] are made of them, and the gates' words name instants by them.
//!
//! A clock change skips some times and repeats others. What *begins* at such a time and then lasts so many minutes
//! (a maintenance window) is taken as jiff's `compatible` and RFC 5545 take it: a skipped time comes later by as much
//! as was skipped (02:30 becomes 03:30), of a repeated one the first counts. What goes *from one time to another*
//! (quiet hours) goes by what the clock shows: a skipped time is when the clock jumps over it, and a repeated one counts
//! the first time as a start and the last time as an end. So it never fails to hold while the clock shows that it does.

use std::iter::successors;
use std::sync::LazyLock;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

use crate::time::Timestamp;
use crate::violation::{Violation, Violations, pointer};

/// The words for the days of the week, in their order.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The minutes of a day without a clock change.
pub(crate) const DAY_MINUTES: u32 = 24 * 60;
const DAY_SECONDS: i32 = DAY_MINUTES as i32 * 60;

/// How many dates after today's are looked at. What comes again each week and has a hole in it has one each week,
/// unless a clock change or a date that was left out closes it. Two in a row are not closed, so this reaches the end of
/// any stretch and the start of the next.
const DATES_AHEAD: usize = 30;

/// The zones that are compiled in (jiff's feature `tzdb-bundle-always`): the same on every machine, and nothing is read.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Coordinated Universal Time.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// The zone with this IANA name, such as `Europe/Zurich`, if it is known.
    pub fn from_name(name: &str) -> Option<Self> {
        ZONES.get(name).ok().filter(|zone| !zone.is_unknown()).map(Self)
    }

    /// Its IANA name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The instant as one says it at `now` by a clock of this zone: `07:00 Europe/Zurich`, with the date if that is not
    /// today's, with seconds if it is not a whole minute. It is never named too early.
    pub fn describe(&self, at: Timestamp, now: Timestamp) -> String {
        let whole_second = at.plus_ms(at.unix_ms().wrapping_neg().rem_euclid(1_000).unsigned_abs());
        let local = self.clock(whole_second);
        let date = if local.date() == self.date(now) { "" } else { "%Y-%m-%d " };
        let time = if local.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
        format!("{} {}", local.strftime(&format!("{date}{time}")), self.name())
    }

    /// What a clock of this zone shows.
    fn clock(&self, at: Timestamp) -> DateTime {
        self.0.to_datetime(at.to_jiff())
    }

    fn date(&self, at: Timestamp) -> Date {
        self.clock(at).date()
    }

    /// The dates that matter to what holds at `now`, in their order: today's, `back` before it and some after it.
    pub(crate) fn dates_around(&self, now: Timestamp, back: usize) -> impl Iterator<Item = Date> + use<> {
        let today = self.date(now);
        let first = successors(Some(today), |date| date.yesterday().ok()).take(back + 1).last().unwrap_or(today);
        successors(Some(first), |date| date.tomorrow().ok()).take(back + 1 + DATES_AHEAD)
    }

    /// The instant at which it is `time` on that date; `None` at the end of all time.
    pub(crate) fn instant(&self, date: Date, time: TimeOfDay) -> Option<Timestamp> {
        self.0.to_timestamp(time.on(date)?).ok().map(timestamp)
    }

    /// The same for what begins on that date: `None` too where the zone left the date out.
    pub(crate) fn instant_of_start(&self, date: Date, time: TimeOfDay) -> Option<Timestamp> {
        self.instant(date, time).filter(|_| self.has(date))
    }

    /// What goes from one time to another by what the clock shows. `None` if nothing lies between them, or the zone left
    /// out the date on which it would start.
    pub(crate) fn period(&self, from: (Date, TimeOfDay), until: (Date, TimeOfDay)) -> Option<Period> {
        let (starts_at, _) = self.reached(from.0, from.1).filter(|_| self.has(from.0))?;
        let (_, ends_at) = self.reached(until.0, until.1)?;
        Period::new(starts_at, ends_at)
    }

    /// From when on a clock has got to `time` of that date, and until when it shows what comes before it.
    fn reached(&self, date: Date, time: TimeOfDay) -> Option<(Timestamp, Timestamp)> {
        let shown = self.0.to_ambiguous_timestamp(time.on(date)?);
        let (earlier, later) = (shown.earlier().ok()?, shown.later().ok()?);
        // Of a skipped or repeated time, the clock change lies between the two.
        let change = || Some(self.0.following(earlier).next()?.timestamp());
        let (first, last) = match shown.offset() {
            AmbiguousOffset::Unambiguous { .. } => (earlier, later),
            // A date that was left out is no clock change: what ends on it ends as late on the next.
            AmbiguousOffset::Gap { before, after } if after.seconds() - before.seconds() >= DAY_SECONDS => {
                (later, later)
            }
            AmbiguousOffset::Gap { .. } => (change()?, change()?),
            // If the clock is set back to just this time, it does not show again what comes before it.
            AmbiguousOffset::Fold { .. } => (earlier, if change()? == later { earlier } else { later }),
        };
        Some((timestamp(first), timestamp(last)))
    }

    /// Whether the date took place: Samoa left out 2011-12-30 to move across the date line.
    fn has(&self, date: Date) -> bool {
        self.instant(date, TimeOfDay::MIDNIGHT).is_some_and(|midnight| self.date(midnight) == date)
    }
}

fn timestamp(instant: jiff::Timestamp) -> Timestamp {
    Timestamp::from_unix_ms(instant.as_millisecond())
}

/// What is wrong with `timezone`, if its name is not known.
pub fn zone_violation(name: &str) -> Option<Violation> {
    let message = "must be the IANA name of a time zone, such as Europe/Zurich, America/New_York or UTC";
    Zone::from_name(name).is_none().then(|| Violation::new("/timezone", message))
}

/// A time of day in whole minutes, from 00:00 to 24:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimeOfDay(u16);

impl TimeOfDay {
    /// With which a day begins.
    pub(crate) const MIDNIGHT: Self = Self(0);
    /// 24:00, with which a day ends: nothing begins then.
    pub(crate) const END_OF_DAY: Self = Self(DAY_MINUTES as u16);

    /// Reads `22:00`; all four digits must be there.
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

    /// The same for a time at which something begins: 24:00 is none.
    pub(crate) fn parse_start(text: &str) -> Option<Self> {
        Self::parse(text).filter(|time| *time < Self::END_OF_DAY)
    }

    /// What a clock shows at this time of that date.
    pub(crate) fn on(self, date: Date) -> Option<DateTime> {
        match self {
            Self::END_OF_DAY => Some(date.tomorrow().ok()?.at(0, 0, 0, 0)),
            Self(minutes) => Some(date.at((minutes / 60) as i8, (minutes % 60) as i8, 0, 0)),
        }
    }
}

/// What is wrong with the field `key`, if it is no time at which something can begin.
pub(crate) fn start_violation(key: &str, text: &str) -> Option<Violation> {
    let message = "must be a time of day from 00:00 to 23:59, with two digits each, such as 22:00";
    TimeOfDay::parse_start(text).is_none().then(|| Violation::new(pointer(key), message))
}

/// A set of days of the week; bit 0 is Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weekdays(u8);

impl Weekdays {
    /// The days that these words name, all if there are none; `None` if a word names no day, or one that was named.
    pub(crate) fn read(words: &[String]) -> Option<Self> {
        let days = words.iter().try_fold(0, |days, word| {
            let day = 1 << day_number(word)?;
            (days & day == 0).then_some(days | day)
        })?;
        Some(Self(if days == 0 { 0x7f } else { days }))
    }

    /// Whether the day is one of them.
    pub(crate) fn has(self, day: Weekday) -> bool {
        self.0 & (1 << day.to_monday_zero_offset()) != 0
    }

    /// The longest way from one of them to the next, in minutes without a clock change: what lasts as long never ends.
    pub(crate) fn step_minutes_max(self) -> u32 {
        let twice = u32::from(self.0) | u32::from(self.0) << 7;
        let steps = (0..7).filter(|day| twice & 1 << day != 0).map(|day| (twice >> (day + 1)).trailing_zeros() + 1);
        steps.max().unwrap_or(7) * DAY_MINUTES
    }
}

fn day_number(word: &str) -> Option<usize> {
    DAYS.iter().position(|day| *day == word)
}

/// Everything wrong with `days`.
pub(crate) fn days_violations(words: &[String]) -> Violations {
    if words.len() > DAYS.len() {
        return vec![Violation::new("/days", "must hold at most 7 items, each day once")];
    }
    let fault = |(index, word): (usize, &String)| {
        let message = if day_number(word).is_none() {
            "must be mon, tue, wed, thu, fri, sat or sun"
        } else if words[..index].contains(word) {
            "is there twice"
        } else {
            return None;
        };
        Some(Violation::new(format!("/days/{index}"), message))
    };
    words.iter().enumerate().filter_map(fault).collect()
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period {
    /// From this instant on.
    pub(crate) starts_at: Timestamp,
    /// Until this one, which is no longer part of it.
    pub(crate) ends_at: Timestamp,
}

impl Period {
    /// From one instant to another, if that is later.
    pub(crate) fn new(starts_at: Timestamp, ends_at: Timestamp) -> Option<Self> {
        (starts_at < ends_at).then_some(Self { starts_at, ends_at })
    }
}

/// When the stretch ends that `now` lies in, if it lies in one. The periods come in the order of their starts; those
/// that overlap or touch are one stretch.
pub(crate) fn stretch_end(periods: impl IntoIterator<Item = Period>, now: Timestamp) -> Option<Timestamp> {
    let (reached, _) = reach(periods, now);
    (reached > now).then_some(reached)
}

/// When the next stretch begins after `now`, and after the one that `now` lies in.
pub(crate) fn next_stretch(periods: impl IntoIterator<Item = Period>, now: Timestamp) -> Option<Timestamp> {
    reach(periods, now).1
}

/// How far one gets from `now` without leaving the periods, and where the first begins that lies behind.
fn reach(periods: impl IntoIterator<Item = Period>, now: Timestamp) -> (Timestamp, Option<Timestamp>) {
    let mut reached = now;
    for period in periods {
        if period.starts_at > reached {
            return (reached, Some(period.starts_at));
        }
        reached = reached.max(period.ends_at);
    }
    (reached, None)
}

#[cfg(test)]
#[path = "calendar_tests.rs"]
pub(crate) mod tests;
