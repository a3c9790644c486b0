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
/// them. Where clocks change, `start` and `end` are instants as [`crate::calendar`] says, and all between them is
/// quiet, be it an hour more or less; if nothing is between them, there are none that day. Periods that touch or
/// overlap are one.
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
    /// Whether they are for critical events too.
    #[serde(default)]
    pub include_critical: bool,
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
        self.include_critical || severity != Severity::Critical
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
    pub fn words(&self, channel_name: &str, ends_at: Timestamp, now: Timestamp) -> String {
        let until = Zone::named(&self.timezone).unwrap_or(Zone::UTC).words(ends_at, now);
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
        (!never_ends).then_some(Hours { start, end, zone: Zone::named(&self.timezone)?, days })
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
    /// Those that `now` can lie in and those after it, in their order. They last a day at most, but a date that was
    /// left out or repeated may lie between.
    fn around(&self, now: Timestamp) -> impl Iterator<Item = Period> {
        let dates = self.zone.dates_around(now, 2).filter(|date| self.days.has(date.weekday()));
        dates.filter_map(|date| {
            let ends_on = if self.start < self.end { date } else { date.tomorrow().ok()? };
            Period::new(self.zone.instant_of_start(date, self.start)?, self.zone.instant(ends_on, self.end)?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::tests::{at, clock_shows, days, is_plain, minutes_of_day, written, zone, zone_and_instant};
    use jiff::civil::{Date, DateTime};
    use proptest::prelude::*;
    use serde_json::json;

    fn quiet(start: &str, end: &str, timezone: &str, days: &[&str]) -> QuietHours {
        QuietHours {
            start: start.into(),
            end: end.into(),
            timezone: timezone.into(),
            days: days.iter().map(|day| (*day).into()).collect(),
            action: QuietAction::Hold,
            include_critical: false,
        }
    }

    /// Asserts when the quiet ends that each instant lies in; an empty text says that it lies in none.
    #[track_caller]
    fn assert_ends(hours: &QuietHours, cases: &[(&str, &str)]) {
        assert_eq!(hours.violations(), []);
        for (now, end) in cases {
            assert_eq!(hours.ends_at(at(now)), Timestamp::parse(end), "{now}");
        }
    }

    #[test]
    fn the_json_is_that_of_the_api() {
        let json = json!({
            "start": "22:00", "end": "07:00", "timezone": "Europe/Zurich", "days": ["mon", "tue"], "action": "hold",
            "includeCritical": false,
        });
        let read: QuietHours = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(read, quiet("22:00", "07:00", "Europe/Zurich", &["mon", "tue"]));
        assert_eq!(serde_json::to_value(&read).unwrap(), json);
        let short = r#"{"start":"22:00","end":"07:00","timezone":"UTC"}"#;
        assert_eq!(serde_json::from_str::<QuietHours>(short).unwrap(), quiet("22:00", "07:00", "UTC", &[]));
        let misspelt = r#"{"start":"22:00","end":"07:00","timezone":"UTC","includeCritcal":true}"#;
        assert!(serde_json::from_str::<QuietHours>(misspelt).is_err());
        for action in QuietAction::ALL {
            assert_eq!(QuietAction::parse(action.as_str()), Some(action));
        }
    }

    #[test]
    fn what_is_wrong_is_named_field_by_field_and_never_quiet() {
        for (wrong, pointers) in [
            (quiet("7:00", "22.00", "Zurich", &["mon", "mon"]), &["/start", "/end", "/timezone", "/days/1"][..]),
            (quiet("22:00", "22:00", "UTC", &[]), &["/end"]),
            (quiet("24:00", "07:00", "UTC", &[]), &["/start"]),
            (quiet("24:00", "24:00", "UTC", &[]), &["/start", "/end"]),
            (quiet("22:00", "07:00", "UTC", &["monday"]), &["/days/0"]),
            (quiet("22:00", "07:00", "UTC", &["fri", "fri"]), &["/days/1"]),
            (quiet("00:00", "24:00", "UTC", &[]), &["/days"]),
            (quiet("00:00", "24:00", "UTC", &["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), &["/days"]),
        ] {
            let named: Vec<_> = wrong.violations().into_iter().map(|violation| violation.pointer).collect();
            assert_eq!(named, pointers, "{wrong:?}");
            let now = at("2026-05-02T00:00:00Z");
            assert_eq!((wrong.ends_at(now), wrong.next_start(now)), (None, None), "{wrong:?}");
        }
    }

    #[test]
    fn critical_events_pass_unless_they_are_included() {
        let mut hours = quiet("22:00", "07:00", "UTC", &[]);
        assert!(
            hours.covers(Severity::Warning) && hours.covers(Severity::Success) && !hours.covers(Severity::Critical)
        );
        hours.include_critical = true;
        assert!(hours.covers(Severity::Critical));
    }

    #[test]
    fn a_night_starts_on_its_day_and_crosses_midnight() {
        // 2026-05-04 is a Monday.
        let hours = quiet("22:00", "07:00", "Europe/Zurich", &["mon"]);
        let cases = [
            ("2026-05-04T06:59:00+02:00", ""),
            ("2026-05-04T21:59:59.999+02:00", ""),
            ("2026-05-04T22:00:00+02:00", "2026-05-05T07:00:00+02:00"),
            ("2026-05-05T06:59:59.999+02:00", "2026-05-05T07:00:00+02:00"),
            ("2026-05-05T07:00:00+02:00", ""),
            ("2026-05-05T23:00:00+02:00", ""),
        ];
        assert_ends(&hours, &cases);
        assert_eq!(hours.next_start(at("2026-05-04T23:00:00+02:00")), Some(at("2026-05-11T22:00:00+02:00")));
        assert_eq!(hours.next_start(at("2026-05-04T21:00:00+02:00")), Some(at("2026-05-04T22:00:00+02:00")));
    }

    #[test]
    fn periods_that_touch_are_one_and_those_that_almost_do_are_not() {
        let weekend = quiet("00:00", "24:00", "America/New_York", &["sun", "sat"]);
        assert_ends(
            &weekend,
            &[
                ("2026-05-01T23:59:00-04:00", ""),
                ("2026-05-02T00:00:00-04:00", "2026-05-04T00:00:00-04:00"),
                ("2026-05-03T12:00:00-04:00", "2026-05-04T00:00:00-04:00"),
                ("2026-05-04T00:00:00-04:00", ""),
            ],
        );
        let but_sunday = quiet("00:00", "24:00", "UTC", &["mon", "tue", "wed", "thu", "fri", "sat"]);
        assert_ends(&but_sunday, &[("2026-05-04T00:00:00Z", "2026-05-10T00:00:00Z"), ("2026-05-10T00:00:00Z", "")]);
        let almost = quiet("00:00", "23:59", "UTC", &[]);
        assert_ends(&almost, &[("2026-05-02T12:00:00Z", "2026-05-02T23:59:00Z"), ("2026-05-02T23:59:30Z", "")]);
    }

    #[test]
    fn a_night_with_a_clock_change_is_an_hour_shorter_or_longer() {
        let hours = quiet("22:00", "07:00", "Europe/Zurich", &[]);
        assert_ends(
            &hours,
            &[
                ("2026-03-28T22:00:00+01:00", "2026-03-29T05:00:00Z"),
                ("2026-10-24T22:00:00+02:00", "2026-10-25T06:00:00Z"),
            ],
        );
    }

    #[test]
    fn times_that_the_clock_skips_come_as_much_later() {
        // At 02:00 of 2026-03-29 it becomes 03:00.
        let morning = quiet("02:30", "05:00", "Europe/Zurich", &[]);
        assert_ends(
            &morning,
            &[("2026-03-29T03:29:59+02:00", ""), ("2026-03-29T03:30:00+02:00", "2026-03-29T05:00:00+02:00")],
        );
        let night = quiet("22:00", "02:30", "Europe/Zurich", &[]);
        assert_ends(&night, &[("2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00")]);
        let nothing_left = quiet("02:50", "03:10", "Europe/Zurich", &[]);
        assert_ends(
            &nothing_left,
            &[
                ("2026-03-28T03:00:00+01:00", "2026-03-28T03:10:00+01:00"),
                ("2026-03-29T03:05:00+02:00", ""),
                ("2026-03-29T03:55:00+02:00", ""),
            ],
        );
        let moved_together = quiet("02:30", "03:30", "Europe/Zurich", &[]);
        let (saturday, monday) = (at("2026-03-28T12:00:00+01:00"), at("2026-03-30T02:30:00+02:00"));
        assert_eq!(moved_together.next_start(saturday), Some(monday), "03:30 to 03:30 is nothing");
        // The hole of 20 minutes closes for a day: 02:50 becomes 03:50.
        let joined = quiet("03:10", "02:50", "Europe/Zurich", &[]);
        assert_ends(&joined, &[("2026-03-28T12:00:00+01:00", "2026-03-30T02:50:00+02:00")]);
    }

    #[test]
    fn times_that_the_clock_repeats_count_the_first_time() {
        // At 03:00 of 2026-10-25 it becomes 02:00 again.
        let night = quiet("22:00", "02:30", "Europe/Zurich", &[]);
        assert_ends(
            &night,
            &[
                ("2026-10-25T02:29:00+02:00", "2026-10-25T02:30:00+02:00"),
                ("2026-10-25T02:30:00+02:00", ""),
                ("2026-10-25T02:10:00+01:00", ""),
            ],
        );
        let morning = quiet("02:30", "05:00", "Europe/Zurich", &[]);
        assert_ends(&morning, &[("2026-10-25T02:10:00+01:00", "2026-10-25T05:00:00+01:00")]);
    }

    #[test]
    fn a_date_that_was_left_out_has_no_quiet_hours() {
        // In Samoa 2011-12-30, a Friday, did not take place.
        let fridays = quiet("22:00", "07:00", "Pacific/Apia", &["fri"]);
        assert_ends(&fridays, &[("2011-12-29T23:00:00-10:00", ""), ("2011-12-31T23:00:00+14:00", "")]);
        let thursdays = quiet("22:00", "07:00", "Pacific/Apia", &["thu"]);
        for now in ["2011-12-29T23:00:00-10:00", "2011-12-31T03:00:00+14:00"] {
            assert_ends(&thursdays, &[(now, "2011-12-31T07:00:00+14:00")]);
        }
        let but_fridays = quiet("00:00", "24:00", "Pacific/Apia", &["sat", "sun", "mon", "tue", "wed", "thu"]);
        assert_ends(&but_fridays, &[("2011-12-24T00:00:00-10:00", "2012-01-06T00:00:00+14:00")]);
    }

    #[test]
    fn the_words_say_until_when_by_the_channels_clock() {
        let mut hours = quiet("22:00", "07:00", "Europe/Zurich", &[]);
        let end = at("2026-05-03T05:00:00Z");
        let words = |hours: &QuietHours, now| hours.words("#data-alerts", end, at(now));
        let tonight = "Held until 07:00 Europe/Zurich: quiet hours of #data-alerts";
        assert_eq!(words(&hours, "2026-05-02T23:00:00Z"), tonight);
        let before_midnight = "Held until 2026-05-03 07:00 Europe/Zurich: quiet hours of #data-alerts";
        assert_eq!(words(&hours, "2026-05-02T21:00:00Z"), before_midnight);
        hours.action = QuietAction::Drop;
        let dropped = "Dropped: quiet hours of #data-alerts until 07:00 Europe/Zurich";
        assert_eq!(words(&hours, "2026-05-02T23:00:00Z"), dropped);
    }

    /// Quiet hours without violations.
    fn any_hours(timezone: String) -> impl Strategy<Value = QuietHours> {
        let (any, late) = ((minutes_of_day(), minutes_of_day()), (minutes_of_day(), Just(1440)));
        let times = prop_oneof![4 => any, 1 => late, 1 => Just((0, 1440))];
        (times, days()).prop_filter_map("they have violations", move |((start, end), days)| {
            let days: Vec<_> = days.iter().map(String::as_str).collect();
            let hours = quiet(&written(start), &written(end), &timezone, &days);
            hours.violations().is_empty().then_some(hours)
        })
    }

    fn hours_and_instant() -> impl Strategy<Value = (QuietHours, Timestamp)> {
        zone_and_instant().prop_flat_map(|(zone, now)| (any_hours(zone.name().to_owned()), Just(now)))
    }

    /// What somebody would say who looks at the calendar and the clock on the wall.
    fn is_quiet_by_the_wall(hours: &QuietHours, shown: DateTime) -> bool {
        let is_named = |date: Date| {
            let name = date.strftime("%a").to_string().to_lowercase();
            hours.days.is_empty() || hours.days.contains(&name)
        };
        let clock = shown.strftime("%H:%M").to_string();
        let (since_start, until_end) = (clock >= hours.start, clock < hours.end);
        if hours.start < hours.end {
            since_start && until_end && is_named(shown.date())
        } else {
            since_start && is_named(shown.date()) || until_end && is_named(shown.date().yesterday().unwrap())
        }
    }

    /// Whether a clock change or a date that was left out touches what the wall would say.
    fn is_plain_on_the_wall(hours: &QuietHours, shown: DateTime) -> bool {
        let zone = zone(&hours.timezone);
        let dates = [shown.date().yesterday().unwrap(), shown.date(), shown.date().tomorrow().unwrap()];
        let times = [&*hours.start, &hours.end, "00:00", "12:00"].map(|text| TimeOfDay::parse(text).unwrap());
        let mut all = dates.iter().flat_map(|date| times.iter().filter_map(|time| time.on(*date)));
        all.all(|boundary| is_plain(&zone, boundary))
    }

    proptest! {
        #[test]
        fn it_is_quiet_up_to_the_end_and_not_at_it((hours, now) in hours_and_instant(), share in 0.0..1.0f64) {
            let Some(end) = hours.ends_at(now) else { return Ok(()) };
            prop_assert!(end > now);
            prop_assert_eq!(hours.ends_at(end), None, "what touches is joined");
            let between = now.plus_ms((end.since_ms(now) as f64 * share) as u64);
            prop_assert_eq!(hours.ends_at(between), Some(end));
            prop_assert_eq!(hours.ends_at(end.minus_ms(1)), Some(end));
        }

        #[test]
        fn it_is_loud_up_to_the_next_start_and_quiet_at_it((hours, now) in hours_and_instant(), share in 0.0..1.0f64) {
            let loud_from = hours.ends_at(now).unwrap_or(now);
            let start = hours.next_start(now).unwrap();
            prop_assert!(start > loud_from);
            prop_assert!(hours.ends_at(start).is_some());
            let between = loud_from.plus_ms((start.since_ms(loud_from) as f64 * share) as u64);
            for loud in [between, start.minus_ms(1)] {
                prop_assert_eq!((hours.ends_at(loud), hours.next_start(loud)), (None, Some(start)));
            }
        }

        #[test]
        fn it_is_quiet_when_the_clock_on_the_wall_says_so((hours, now) in hours_and_instant()) {
            let (shown, is_plain_now) = clock_shows(&zone(&hours.timezone), now);
            prop_assume!(is_plain_now && is_plain_on_the_wall(&hours, shown));
            prop_assert_eq!(hours.ends_at(now).is_some(), is_quiet_by_the_wall(&hours, shown));
        }

        #[test]
        fn nothing_that_is_written_makes_it_fail(
            start in "\\PC{0,6}|[0-9]{2}:[0-9]{2}", end in "[0-2][0-9]:[0-5][0-9]", timezone in "\\PC{0,9}|UTC",
            days in prop::collection::vec("mon|sun|\\PC{0,4}", 0..9), now: i64
        ) {
            let days: Vec<_> = days.iter().map(String::as_str).collect();
            let hours = quiet(&start, &end, &timezone, &days);
            let now = Timestamp::from_unix_ms(now);
            let _ = (hours.ends_at(now), hours.next_start(now), hours.words("ops", now, now), hours.violations());
            let json = serde_json::to_string(&hours).unwrap();
            prop_assert_eq!(serde_json::from_str::<QuietHours>(&json).unwrap(), hours);
        }
    }
}
