//! Tests of quiet hours: by example for nights with a clock change, and by property against the local clock.

use super::*;
use crate::calendar::tests::{at, days, format_time, has_date, local_time, minutes_of_day, zone, zone_and_instant};
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
        critical_passes: true,
    }
}

/// Asserts the end of the period that contains each instant; an empty text for none.
#[track_caller]
fn assert_ends(hours: &QuietHours, cases: &[(&str, &str)]) {
    assert_eq!(hours.violations(), []);
    for (now, end) in cases {
        assert_eq!(hours.ends_at(at(now)), Timestamp::parse(end), "{now}");
    }
}

#[test]
fn api_json_round_trips() {
    let json = json!({
        "start": "22:00", "end": "07:00", "timezone": "Europe/Zurich", "days": ["mon", "tue"], "action": "hold",
        "criticalPasses": true,
    });
    let read: QuietHours = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(read, quiet("22:00", "07:00", "Europe/Zurich", &["mon", "tue"]));
    assert_eq!(serde_json::to_value(&read).unwrap(), json);
    let short = r#"{"start":"22:00","end":"07:00","timezone":"UTC"}"#;
    assert_eq!(serde_json::from_str::<QuietHours>(short).unwrap(), quiet("22:00", "07:00", "UTC", &[]));
    let misspelt = r#"{"start":"22:00","end":"07:00","timezone":"UTC","criticalPases":true}"#;
    assert!(serde_json::from_str::<QuietHours>(misspelt).is_err());
    for action in QuietAction::ALL {
        assert_eq!(QuietAction::parse(action.as_str()), Some(action));
    }
}

#[test]
fn invalid_quiet_hours_are_reported_by_field_and_never_apply() {
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
fn critical_events_pass_unless_configured_otherwise() {
    let mut hours = quiet("22:00", "07:00", "UTC", &[]);
    assert!(hours.covers(Severity::Warning) && hours.covers(Severity::Success) && !hours.covers(Severity::Critical));
    hours.critical_passes = false;
    assert!(hours.covers(Severity::Critical));
}

#[test]
fn period_starts_on_its_day_and_crosses_midnight() {
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
fn touching_periods_are_joined_and_others_are_not() {
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
fn clock_change_makes_the_night_shorter_or_longer() {
    let hours = quiet("22:00", "07:00", "Europe/Zurich", &[]);
    assert_ends(
        &hours,
        &[("2026-03-28T22:00:00+01:00", "2026-03-29T05:00:00Z"), ("2026-10-24T22:00:00+02:00", "2026-10-25T06:00:00Z")],
    );
}

#[test]
fn skipped_local_times_map_to_the_clock_change() {
    // At 02:00 of 2026-03-29 it becomes 03:00.
    let morning = quiet("02:30", "05:00", "Europe/Zurich", &[]);
    assert_ends(
        &morning,
        &[("2026-03-29T01:59:59.999+01:00", ""), ("2026-03-29T03:00:00+02:00", "2026-03-29T05:00:00+02:00")],
    );
    let night = quiet("22:00", "02:30", "Europe/Zurich", &[]);
    assert_ends(
        &night,
        &[("2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00"), ("2026-03-29T03:00:00+02:00", "")],
    );
    let short = quiet("02:50", "03:10", "Europe/Zurich", &[]);
    assert_ends(
        &short,
        &[
            ("2026-03-28T03:00:00+01:00", "2026-03-28T03:10:00+01:00"),
            ("2026-03-29T01:55:00+01:00", ""),
            ("2026-03-29T03:05:00+02:00", "2026-03-29T03:10:00+02:00"),
        ],
    );
    let skipped = quiet("02:00", "03:00", "Europe/Zurich", &[]);
    let (saturday, monday) = (at("2026-03-28T12:00:00+01:00"), at("2026-03-30T02:00:00+02:00"));
    assert_eq!(skipped.next_start(saturday), Some(monday), "the period is skipped entirely");
    // The gap of 20 minutes is skipped, so that two nights become one.
    let joined = quiet("02:30", "02:10", "Europe/Zurich", &[]);
    assert_ends(&joined, &[("2026-03-28T12:00:00+01:00", "2026-03-30T02:10:00+02:00")]);
}

#[test]
fn repeated_local_times_start_first_and_end_last() {
    // At 03:00 of 2026-10-25 it becomes 02:00 again.
    let night = quiet("22:00", "02:30", "Europe/Zurich", &[]);
    assert_ends(
        &night,
        &[
            ("2026-10-25T02:29:00+02:00", "2026-10-25T02:30:00+01:00"),
            ("2026-10-25T02:45:00+02:00", "2026-10-25T02:30:00+01:00"),
            ("2026-10-25T02:10:00+01:00", "2026-10-25T02:30:00+01:00"),
            ("2026-10-25T02:30:00+01:00", ""),
        ],
    );
    // The clock is set back to 02:00, so earlier times are not repeated.
    let until_two = quiet("22:00", "02:00", "Europe/Zurich", &[]);
    assert_ends(
        &until_two,
        &[("2026-10-25T01:59:59+02:00", "2026-10-25T02:00:00+02:00"), ("2026-10-25T02:00:00+01:00", "")],
    );
    let until_three = quiet("22:00", "03:00", "Europe/Zurich", &[]);
    assert_ends(&until_three, &[("2026-10-25T02:59:59+02:00", "2026-10-25T03:00:00+01:00")]);
    let morning = quiet("02:30", "05:00", "Europe/Zurich", &[]);
    assert_ends(
        &morning,
        &[("2026-10-25T02:29:59+02:00", ""), ("2026-10-25T02:10:00+01:00", "2026-10-25T05:00:00+01:00")],
    );
}

#[test]
fn skipped_date_has_no_quiet_hours() {
    // In Samoa 2011-12-30, a Friday, was skipped.
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
fn description_gives_the_end_in_local_time() {
    let mut hours = quiet("22:00", "07:00", "Europe/Zurich", &[]);
    let end = at("2026-05-03T05:00:00Z");
    let describe = |hours: &QuietHours, now| hours.describe("#data-alerts", end, at(now));
    let tonight = "Held until 07:00 Europe/Zurich: quiet hours of #data-alerts";
    assert_eq!(describe(&hours, "2026-05-02T23:00:00Z"), tonight);
    let before_midnight = "Held until 2026-05-03 07:00 Europe/Zurich: quiet hours of #data-alerts";
    assert_eq!(describe(&hours, "2026-05-02T21:00:00Z"), before_midnight);
    hours.action = QuietAction::Drop;
    let dropped = "Dropped: quiet hours of #data-alerts until 07:00 Europe/Zurich";
    assert_eq!(describe(&hours, "2026-05-02T23:00:00Z"), dropped);
}

/// Quiet hours without violations.
fn any_hours(timezone: String) -> impl Strategy<Value = QuietHours> {
    let (any, late) = ((minutes_of_day(), minutes_of_day()), (minutes_of_day(), Just(1440)));
    let times = prop_oneof![4 => any, 1 => late, 1 => Just((0, 1440))];
    (times, days()).prop_filter_map("they have violations", move |((start, end), days)| {
        let days: Vec<_> = days.iter().map(String::as_str).collect();
        let hours = quiet(&format_time(start), &format_time(end), &timezone, &days);
        hours.violations().is_empty().then_some(hours)
    })
}

fn hours_and_instant() -> impl Strategy<Value = (QuietHours, Timestamp)> {
    zone_and_instant().prop_flat_map(|(zone, now)| (any_hours(zone.name().to_owned()), Just(now)))
}

/// The oracle: whether it is quiet by the local date and time alone.
fn is_quiet_by_local_clock(hours: &QuietHours, local: DateTime) -> bool {
    let is_named = |date: Date| {
        let name = date.strftime("%a").to_string().to_lowercase();
        hours.days.is_empty() || hours.days.contains(&name)
    };
    let clock = local.strftime("%H:%M").to_string();
    let (since_start, until_end) = (clock >= hours.start, clock < hours.end);
    if hours.start < hours.end {
        since_start && until_end && is_named(local.date())
    } else {
        since_start && is_named(local.date()) || until_end && is_named(local.date().yesterday().unwrap())
    }
}

proptest! {
    #[test]
    fn quiet_applies_up_to_its_end((hours, now) in hours_and_instant(), share in 0.0..1.0f64) {
        let Some(end) = hours.ends_at(now) else { return Ok(()) };
        prop_assert!(end > now);
        prop_assert_eq!(hours.ends_at(end), None, "touching periods are joined");
        let between = now.plus_ms((end.since_ms(now) as f64 * share) as u64);
        prop_assert_eq!(hours.ends_at(between), Some(end));
        prop_assert_eq!(hours.ends_at(end.minus_ms(1)), Some(end));
    }

    #[test]
    fn quiet_does_not_apply_up_to_the_next_start((hours, now) in hours_and_instant(), share in 0.0..1.0f64) {
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
    fn quiet_applies_whenever_the_local_clock_is_within((hours, now) in hours_and_instant()) {
        let zone = zone(&hours.timezone);
        let (local, is_shown_once) = local_time(&zone, now);
        prop_assume!(has_date(&zone, local.date().yesterday().unwrap()));
        let (is_quiet, by_local_clock) = (hours.ends_at(now).is_some(), is_quiet_by_local_clock(&hours, local));
        prop_assert!(is_quiet || !by_local_clock, "always while the clock is within");
        prop_assert!(by_local_clock || !is_quiet || !is_shown_once, "and otherwise only while local times are repeated");
    }

    #[test]
    fn any_input_ends_in_the_future_or_never_and_round_trips(
        start in "\\PC{0,6}|[0-9]{2}:[0-9]{2}", end in "[0-2][0-9]:[0-5][0-9]", timezone in "\\PC{0,9}|UTC",
        days in prop::collection::vec("mon|sun|\\PC{0,4}", 0..9), now: i64
    ) {
        let days: Vec<_> = days.iter().map(String::as_str).collect();
        let hours = quiet(&start, &end, &timezone, &days);
        let now = Timestamp::from_unix_ms(now);
        let (end, next) = (hours.ends_at(now), hours.next_start(now));
        prop_assert!(end.is_none_or(|end| end > now) && next.is_none_or(|next| next > end.unwrap_or(now)));
        prop_assert!(hours.violations().is_empty() || (end, next) == (None, None), "invalid quiet hours never apply");
        prop_assert!(hours.describe("ops", now, now).contains("quiet hours of ops"));
        let json = serde_json::to_string(&hours).unwrap();
        prop_assert_eq!(serde_json::from_str::<QuietHours>(&json).unwrap(), hours);
    }
}
