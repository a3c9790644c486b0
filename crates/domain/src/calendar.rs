//! Zones, days of the week and times of day: the words in which people say when something holds again and again.
//!
//! [`crate::quiet_hours`] and [`crate::maintenance`] are made of them, and the gates' words name instants by them.
//!
//! A time that a clock change skips or repeats is taken as jiff's `compatible` takes it. A skipped one comes later by
//! as much as was skipped (02:30 becomes 03:30), so that what lies between two of them keeps its length; of a repeated
//! one the first counts.

use std::iter::successors;
use std::sync::LazyLock;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::time::Timestamp;
use crate::violation::{Violation, Violations, pointer};

/// The words for the days of the week, in their order.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The minutes of a day without a clock change.
pub(crate) const DAY_MINUTES: u32 = 24 * 60;

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
    pub fn named(name: &str) -> Option<Self> {
        ZONES.get(name).ok().filter(|zone| !zone.is_unknown()).map(Self)
    }

    /// Its IANA name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The instant as one says it at `now` by a clock of this zone: `07:00 Europe/Zurich`, with the date if that is not
    /// today's, with seconds if it is not a whole minute. It is never named too early.
    pub fn words(&self, at: Timestamp, now: Timestamp) -> String {
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
        let instant = self.0.to_timestamp(time.on(date)?).ok()?;
        Some(Timestamp::from_unix_ms(instant.as_millisecond()))
    }

    /// The same for what begins on that date: `None` too where the zone left the date out, as Samoa did 2011-12-30 to
    /// move across the date line.
    pub(crate) fn instant_of_start(&self, date: Date, time: TimeOfDay) -> Option<Timestamp> {
        self.instant(date, TimeOfDay::MIDNIGHT).filter(|midnight| self.date(*midnight) == date)?;
        self.instant(date, time)
    }
}

/// What is wrong with `timezone`, if its name is not known.
pub fn zone_violation(name: &str) -> Option<Violation> {
    let message = "must be the IANA name of a time zone, such as Europe/Zurich, America/New_York or UTC";
    Zone::named(name).is_none().then(|| Violation::new("/timezone", message))
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
    let (reached, _) = walk(periods, now);
    (reached > now).then_some(reached)
}

/// When the next stretch begins after `now`, and after the one that `now` lies in.
pub(crate) fn next_stretch(periods: impl IntoIterator<Item = Period>, now: Timestamp) -> Option<Timestamp> {
    walk(periods, now).1
}

/// How far one gets from `now` without leaving the periods, and where the first begins that lies behind.
fn walk(periods: impl IntoIterator<Item = Period>, now: Timestamp) -> (Timestamp, Option<Timestamp>) {
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
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY_MS: i64 = 86_400_000;

    /// Zones with clock changes of every kind: half an hour, two hours, at midnight, backwards in summer, a whole day;
    /// and two without.
    const ZONES_SEEN: [&str; 13] = [
        "Europe/Zurich",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "America/Sao_Paulo",
        "Pacific/Apia",
        "UTC",
        "Antarctica/Troll",
        "Africa/Casablanca",
        "Africa/Cairo",
        "Asia/Beirut",
        "America/Nuuk",
        "Pacific/Kwajalein",
    ];

    pub(crate) fn zone(name: &str) -> Zone {
        Zone::named(name).unwrap()
    }

    /// An instant, written with its offset.
    pub(crate) fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    /// A zone and an instant around one of its clock changes, if it has any.
    pub(crate) fn zone_and_instant() -> impl Strategy<Value = (Zone, Timestamp)> {
        let years = at("1990-01-01T00:00:00Z").unix_ms()..at("2038-01-01T00:00:00Z").unix_ms();
        let date_line = [at("2011-12-01T00:00:00Z"), at("1993-08-01T00:00:00Z")].map(Timestamp::unix_ms);
        let before = prop_oneof![8 => years, 1 => prop::sample::select(date_line.to_vec())];
        let minutes = prop_oneof![-360..360i64, -3 * 1440..3 * 1440i64];
        let off = prop_oneof![minutes.prop_map(|minutes| minutes * 60_000), -3 * DAY_MS..3 * DAY_MS];
        (prop::sample::select(ZONES_SEEN.to_vec()), before, off).prop_map(|(name, before, off)| {
            let before = Timestamp::from_unix_ms(before);
            let zone = zone(name);
            let change = zone.0.following(before.to_jiff()).next().map(|change| change.timestamp().as_millisecond());
            let around = change.unwrap_or(before.unix_ms());
            (zone, Timestamp::from_unix_ms(around + off))
        })
    }

    /// Times of day, often the ones at which clocks change.
    pub(crate) fn minutes_of_day() -> impl Strategy<Value = u16> {
        prop_oneof![0..240u16, 1320..1440u16, 0..1440u16, Just(0u16)]
    }

    /// `22:00`, and `24:00` for the end of the day.
    pub(crate) fn written(minutes: u16) -> String {
        format!("{:02}:{:02}", minutes / 60, minutes % 60)
    }

    /// Days of the week, by bits; few names among many, none for all.
    pub(crate) fn days() -> impl Strategy<Value = Vec<String>> {
        let bits = prop_oneof![Just(0u8), 0..128u8];
        bits.prop_map(|bits| (0..7).filter(|day| bits & 1 << day != 0).map(|day| DAYS[day].to_owned()).collect())
    }

    /// What a clock of the zone shows, and whether it shows that exactly once.
    pub(crate) fn clock_shows(zone: &Zone, at: Timestamp) -> (DateTime, bool) {
        let shown = zone.clock(at);
        (shown, is_plain(zone, shown))
    }

    /// Whether a clock of the zone shows this exactly once.
    pub(crate) fn is_plain(zone: &Zone, shown: DateTime) -> bool {
        !zone.0.to_ambiguous_timestamp(shown).is_ambiguous()
    }

    #[test]
    fn times_of_day_are_written_in_one_way() {
        for (text, minutes) in [("00:00", 0), ("07:05", 425), ("23:59", 1439), ("24:00", 1440)] {
            assert_eq!(TimeOfDay::parse(text), Some(TimeOfDay(minutes)), "{text}");
            assert_eq!(TimeOfDay::parse_start(text).is_some(), minutes < 1440, "{text}");
        }
        for wrong in
            ["", "7:00", "07:0", "07:60", "24:01", "25:00", "99:99", "07-00", "07:00:00", " 7:00", "+7:00", "٠٧:٠٠"]
        {
            assert_eq!(TimeOfDay::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn zones_are_known_by_their_iana_names() {
        for name in ZONES_SEEN {
            assert_eq!(zone(name).name(), name);
            assert_eq!(zone_violation(name), None);
        }
        assert_eq!(zone("europe/zurich").name(), "Europe/Zurich", "in any case");
        for wrong in ["", "Zurich", "CEST", "UTC+2", "+02:00", "Etc/Unknown", "../Europe/Zurich", "Europe/Zurich "] {
            assert_eq!(
                zone_violation(wrong).map(|violation| violation.pointer).as_deref(),
                Some("/timezone"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn instants_are_named_by_the_clock_with_what_is_needed() {
        let zurich = zone("Europe/Zurich");
        let now = at("2026-05-02T03:00:00+02:00");
        for (instant, words) in [
            ("2026-05-02T07:00:00+02:00", "07:00 Europe/Zurich"),
            ("2026-05-02T07:00:21+02:00", "07:00:21 Europe/Zurich"),
            ("2026-05-02T07:00:20.001+02:00", "07:00:21 Europe/Zurich"),
            ("2026-05-02T23:59:59.999+02:00", "2026-05-03 00:00 Europe/Zurich"),
            ("2026-05-03T07:00:00+02:00", "2026-05-03 07:00 Europe/Zurich"),
            ("2026-05-01T23:00:00+02:00", "2026-05-01 23:00 Europe/Zurich"),
        ] {
            assert_eq!(zurich.words(at(instant), now), words, "{instant}");
        }
        assert_eq!(Zone::UTC.words(at("2026-05-02T07:00:00+02:00"), now), "05:00 UTC");
        for extreme in [i64::MIN, i64::MAX] {
            assert!(zurich.words(Timestamp::from_unix_ms(extreme), now).ends_with(" Europe/Zurich"));
        }
    }

    #[test]
    fn what_is_wrong_with_days_is_named() {
        let pointers = |words: &[&str]| -> Vec<String> {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            days_violations(&words).into_iter().map(|violation| violation.pointer).collect()
        };
        assert_eq!(pointers(&DAYS), [""; 0]);
        assert_eq!(pointers(&[]), [""; 0]);
        assert_eq!(pointers(&["mon", "Tue", "mon", "monday", ""]), ["/days/1", "/days/2", "/days/3", "/days/4"]);
        assert_eq!(pointers(&["mon"; 8]), ["/days"], "a long list is not answered item by item");
    }

    #[test]
    fn the_longest_step_between_days() {
        let step = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            Weekdays::read(&words).unwrap().step_minutes_max() / DAY_MINUTES
        };
        assert_eq!((step(&[]), step(&DAYS)), (1, 1));
        assert_eq!((step(&["sun"]), step(&["mon"]), step(&["wed"])), (7, 7, 7));
        assert_eq!((step(&["sat", "sun"]), step(&["mon", "thu"]), step(&["sun", "mon", "wed", "fri"])), (6, 4, 2));
        for wrong in [["x", "mon"], ["mon", "mon"]] {
            assert_eq!(Weekdays::read(&wrong.map(str::to_owned)), None);
        }
    }

    #[test]
    fn a_date_that_a_zone_left_out_begins_nothing() {
        let apia = zone("Pacific/Apia");
        let date = |day| jiff::civil::date(2011, 12, day);
        let time = TimeOfDay::parse("22:00").unwrap();
        assert_eq!(apia.instant_of_start(date(29), time), Some(at("2011-12-29T22:00:00-10:00")));
        assert_eq!(apia.instant_of_start(date(30), time), None);
        assert_eq!(apia.instant(date(30), time), Some(at("2011-12-31T22:00:00+14:00")));
        assert_eq!(apia.instant_of_start(date(31), time), Some(at("2011-12-31T22:00:00+14:00")));
    }

    proptest! {
        #[test]
        fn a_plain_time_is_the_instant_at_which_the_clock_shows_it((zone, at) in zone_and_instant()) {
            let at = Timestamp::from_unix_ms(at.unix_ms() - at.unix_ms().rem_euclid(60_000));
            let (shown, is_plain) = clock_shows(&zone, at);
            prop_assume!(is_plain && shown.second() == 0);
            let time = TimeOfDay::parse(&shown.strftime("%H:%M").to_string()).unwrap();
            prop_assert_eq!(zone.instant(shown.date(), time), Some(at));
            prop_assert_eq!(zone.instant_of_start(shown.date(), time), Some(at));
            let dates: Vec<_> = zone.dates_around(at, 2).collect();
            prop_assert_eq!(dates[2], shown.date());
            prop_assert!(dates.windows(2).all(|pair| pair[0].tomorrow().ok() == Some(pair[1])));
        }

        #[test]
        fn what_begins_on_later_dates_begins_later((zone, at) in zone_and_instant(), minutes in minutes_of_day()) {
            let time = TimeOfDay(minutes);
            let starts: Vec<_> =
                zone.dates_around(at, 3).filter_map(|date| zone.instant_of_start(date, time)).collect();
            prop_assert!(starts.is_sorted_by(|one, next| one < next), "{:?}", starts);
        }

        #[test]
        fn a_stretch_is_what_no_hole_interrupts(
            mut spans in prop::collection::vec((0..60i64, 1..12i64), 0..9), now in 0..70i64
        ) {
            spans.sort_unstable();
            let instant = |minute| Timestamp::from_unix_ms(minute);
            let periods = || spans.iter().filter_map(|(from, long)| Period::new(instant(*from), instant(from + long)));
            let is_in = |minute: i64| spans.iter().any(|(from, long)| (*from..from + long).contains(&minute));
            let end = (now..).find(|minute| !is_in(*minute)).unwrap();
            prop_assert_eq!(stretch_end(periods(), instant(now)), is_in(now).then_some(instant(end)));
            let next = (end..80).find(|minute| is_in(*minute)).map(instant);
            prop_assert_eq!(next_stretch(periods(), instant(now)), next);
        }
    }
}
