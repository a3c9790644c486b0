//! Tests of maintenance windows: by example for clock changes and bounds, and by property against the local clock.

use super::MaintenanceWindow::{Once, Recurring as Again};
use super::*;
use crate::calendar::TimeOfDay;
use crate::calendar::tests::{
    at, days, format_time, is_unambiguous, local_time, minutes_of_day, zone, zone_and_instant,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

const DAY_MS: u64 = 86_400_000;

fn once(starts_at: &str, ends_at: &str) -> MaintenanceWindow {
    Once { starts_at: at(starts_at), ends_at: at(ends_at) }
}

fn weekly(days: &[&str], start: &str, duration_minutes: u32, timezone: &str) -> Recurring {
    Recurring {
        days: days.iter().map(|day| (*day).into()).collect(),
        month_day: None,
        start: start.into(),
        duration_minutes,
        timezone: timezone.into(),
        from: None,
        until: None,
    }
}

fn monthly(month_day: u32, start: &str, duration_minutes: u32, timezone: &str) -> Recurring {
    Recurring { month_day: Some(month_day), ..weekly(&[], start, duration_minutes, timezone) }
}

/// Asserts the end of the maintenance at each instant; an empty text for none.
#[track_caller]
fn assert_ends(windows: &[MaintenanceWindow], cases: &[(&str, &str)]) {
    assert_eq!(violations(windows), []);
    for (now, end) in cases {
        assert_eq!(ends_at(windows, at(now)), Timestamp::parse(end), "{now}");
    }
}

#[test]
fn windows_round_trip_through_json() {
    let once = json!({"kind": "once", "startsAt": "2026-05-02T01:00:00.000Z", "endsAt": "2026-05-02T02:00:00.000Z"});
    let weekly = json!({
        "kind": "recurring", "days": ["sat"], "start": "02:00", "durationMinutes": 60, "timezone": "Europe/Zurich",
    });
    let monthly = json!({
        "kind": "recurring", "days": [], "monthDay": 31, "start": "02:00", "durationMinutes": 60, "timezone": "UTC",
        "from": "2026-01-01T00:00:00.000Z", "until": "2027-01-01T00:00:00.000Z",
    });
    for json in [once, weekly, monthly] {
        let read: MaintenanceWindow = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), json);
    }
}

#[test]
fn unknown_fields_are_rejected() {
    for wrong in [
        json!({"kind": "recurring", "monthday": 1, "start": "02:00", "durationMinutes": 60, "timezone": "UTC"}),
        json!({"kind": "once", "startsAt": "2026-05-02T01:00:00Z", "endsAt": "2026-05-02T02:00:00Z", "days": []}),
        json!({"kind": "weekly", "start": "02:00", "durationMinutes": 60, "timezone": "UTC"}),
    ] {
        assert!(serde_json::from_value::<MaintenanceWindow>(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn invalid_windows_are_reported_by_field_and_never_apply() {
    let noon = "2026-05-02T12:00:00Z";
    let bounds = |from, until| Recurring { from, until, ..weekly(&[], "12:00", 60, "UTC") };
    let beside_days = Recurring { month_day: Some(2), ..weekly(&["sat"], "12:00", 60, "UTC") };
    let windows = [
        (once("2026-05-02T11:00:00Z", "2026-05-02T13:00:00Z"), &[][..]),
        (once(noon, noon), &["/1/endsAt"]),
        (once(noon, "2026-05-02T11:59:59.999Z"), &["/2/endsAt"]),
        (once(noon, "2027-05-03T12:00:00.001Z"), &["/3/endsAt"]),
        (Again(weekly(&["x"], "2:00", 0, "CH")), &["/4/days/0", "/4/start", "/4/durationMinutes", "/4/timezone"]),
        (Again(weekly(&["sat"], "24:00", 10_081, "UTC")), &["/5/start", "/5/durationMinutes"]),
        (Again(weekly(&[], "12:00", 1_440, "UTC")), &["/6/durationMinutes"]),
        (Again(weekly(&["sat"], "12:00", 10_080, "UTC")), &["/7/durationMinutes"]),
        (Again(weekly(&["mon", "fri"], "12:00", 5_760, "UTC")), &["/8/durationMinutes"]),
        (Again(monthly(0, "12:00", 60, "UTC")), &["/9/monthDay"]),
        (Again(monthly(258, "12:00", 60, "UTC")), &["/10/monthDay"]),
        (Again(beside_days), &["/11/monthDay"]),
        (Again(bounds(Some(at(noon)), Some(at(noon)))), &["/12/until"]),
    ];
    let (all, named): (Vec<_>, Vec<_>) = windows.into_iter().unzip();
    let pointers: Vec<_> = violations(&all).into_iter().map(|violation| violation.pointer).collect();
    assert_eq!(pointers, named.concat());
    assert_eq!(all.iter().filter(|window| window.ends_at(at(noon)).is_some()).count(), 1, "the first only");
}

#[test]
fn number_of_windows_is_bounded() {
    let window = Again(weekly(&[], "02:00", 60, "UTC"));
    assert_eq!(violations(&vec![window.clone(); WINDOWS_MAX]), []);
    assert_eq!(violations(&vec![window; WINDOWS_MAX + 1]), [Violation::new("", "must have at most 20 windows")]);
}

#[test]
fn window_lasts_its_duration_across_clock_changes() {
    // In this night the clock skips from 02:00 to 03:00.
    assert_ends(
        &[Again(weekly(&["sun"], "01:30", 60, "Europe/Zurich"))],
        &[
            ("2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"),
            ("2026-03-29T03:30:00+02:00", ""),
            ("2026-03-28T01:30:00+01:00", ""),
        ],
    );
    let weekend = Again(weekly(&["fri"], "22:00", 3_360, "Europe/Zurich"));
    assert_ends(&[weekend], &[("2026-03-29T12:00:00+02:00", "2026-03-30T07:00:00+02:00")]);
    // Samoa skipped Friday, 2011-12-30.
    let night = Again(weekly(&["thu"], "22:00", 600, "Pacific/Apia"));
    assert_ends(&[night], &[("2011-12-31T07:00:00+14:00", "2011-12-31T08:00:00+14:00")]);
}

#[test]
fn skipped_start_is_shifted_and_repeated_start_counts_once() {
    let night = [Again(weekly(&[], "02:30", 20, "Europe/Zurich"))];
    assert_ends(
        &night,
        &[
            ("2026-03-29T03:29:59+02:00", ""),
            ("2026-03-29T03:30:00+02:00", "2026-03-29T03:50:00+02:00"),
            ("2026-10-25T02:30:00+02:00", "2026-10-25T02:50:00+02:00"),
            ("2026-10-25T02:30:00+01:00", ""),
        ],
    );
}

#[test]
fn month_without_the_day_has_no_window() {
    assert_ends(
        &[Again(monthly(31, "23:00", 120, "UTC"))],
        &[
            ("2026-03-31T23:00:00Z", "2026-04-01T01:00:00Z"),
            ("2026-04-01T00:59:59.999Z", "2026-04-01T01:00:00Z"),
            ("2026-04-30T23:30:00Z", ""),
            ("2026-05-01T00:30:00Z", ""),
        ],
    );
}

#[test]
fn window_is_cut_off_at_its_bounds() {
    let bounded = Recurring {
        from: Some(at("2026-05-02T02:30:00Z")),
        until: Some(at("2026-05-03T02:30:00Z")),
        ..weekly(&[], "02:00", 60, "UTC")
    };
    assert_ends(
        &[Again(bounded)],
        &[
            ("2026-05-02T02:29:00Z", ""),
            ("2026-05-02T02:30:00Z", "2026-05-02T03:00:00Z"),
            ("2026-05-03T02:00:00Z", "2026-05-03T02:30:00Z"),
            ("2026-05-03T02:30:00Z", ""),
        ],
    );
}

#[test]
fn overlapping_and_touching_windows_are_joined() {
    let windows = [
        once("2026-05-02T04:00:00Z", "2026-05-02T05:00:00Z"),
        Again(weekly(&["sat"], "02:00", 60, "UTC")),
        once("2026-05-02T02:30:00Z", "2026-05-02T04:00:00Z"),
        once("2026-05-02T05:00:00.001Z", "2026-05-02T06:00:00Z"),
    ];
    assert_ends(
        &windows,
        &[
            ("2026-05-02T02:00:00Z", "2026-05-02T05:00:00Z"),
            ("2026-05-02T05:00:00Z", ""),
            ("2026-05-02T05:30:00Z", "2026-05-02T06:00:00Z"),
        ],
    );
    assert_ends(&[], &[("2026-05-02T02:00:00Z", "")]);
}

#[test]
fn endless_windows_end_some_months_ahead() {
    let halves = ["00:00", "12:00"].map(|start| Again(weekly(&[], start, 720, "UTC")));
    let now = at("2026-05-02T06:00:00Z");
    assert!(ends_at(&halves, now).unwrap() > now.plus_ms(100 * DAY_MS));
}

#[test]
fn description_gives_the_end_in_local_time() {
    let (end, now) = (at("2026-05-02T02:00:00Z"), at("2026-05-02T01:00:00Z"));
    let expected = "Production API is in maintenance until 04:00 Europe/Zurich";
    assert_eq!(describe("Production API", end, now, &zone("Europe/Zurich")), expected);
}

/// Asserts the occurrences of a window in a span.
#[track_caller]
fn assert_occurrences(window: &MaintenanceWindow, span: (&str, &str), expected: &[(&str, &str)]) {
    let found: Vec<_> = window.occurrences(at(span.0), at(span.1)).collect();
    let expected: Vec<_> =
        expected.iter().map(|(from, until)| Occurrence { starts_at: at(from), ends_at: at(until) }).collect();
    assert_eq!(found, expected);
}

#[test]
fn occurrences_are_right_on_days_when_clocks_change() {
    let night = Again(weekly(&[], "02:30", 60, "Europe/Zurich"));
    assert_occurrences(
        &night,
        ("2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z"),
        &[
            ("2026-03-28T02:30:00+01:00", "2026-03-28T03:30:00+01:00"),
            ("2026-03-29T03:30:00+02:00", "2026-03-29T04:30:00+02:00"),
            ("2026-03-30T02:30:00+02:00", "2026-03-30T03:30:00+02:00"),
        ],
    );
    assert_occurrences(
        &night,
        ("2026-10-25T00:00:00Z", "2026-10-26T00:00:00Z"),
        &[("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00")],
    );
    // Samoa skipped Friday, 2011-12-30.
    let friday = Again(weekly(&["fri"], "12:00", 60, "Pacific/Apia"));
    assert_occurrences(
        &friday,
        ("2011-12-24T00:00:00Z", "2012-01-06T12:00:00Z"),
        &[("2012-01-06T12:00:00+14:00", "2012-01-06T13:00:00+14:00")],
    );
}

#[test]
fn occurrences_that_overlap_the_span_have_their_whole_length() {
    let long = Again(weekly(&["fri"], "22:00", 3_360, "UTC"));
    assert_occurrences(
        &long,
        ("2026-05-03T12:00:00Z", "2026-05-08T22:00:00Z"),
        &[("2026-05-01T22:00:00Z", "2026-05-04T06:00:00Z")],
    );
    let single = once("2026-05-02T01:00:00Z", "2026-05-02T02:00:00Z");
    let own = [("2026-05-02T01:00:00Z", "2026-05-02T02:00:00Z")];
    assert_occurrences(&single, ("2026-05-02T01:59:59.999Z", "2026-05-03T00:00:00Z"), &own);
    assert_occurrences(&single, ("2026-05-02T02:00:00Z", "2026-05-03T00:00:00Z"), &[]);
    assert_occurrences(&single, ("2026-05-01T00:00:00Z", "2026-05-02T01:00:00Z"), &[]);
    let invalid = Again(weekly(&["sat"], "02:00", 0, "UTC"));
    assert_occurrences(&invalid, ("2026-05-01T00:00:00Z", "2026-06-02T01:00:00Z"), &[]);
}

/// Valid recurring windows of at most `duration_minutes_max`.
fn any_recurring(timezone: String, duration_minutes_max: u32) -> impl Strategy<Value = Recurring> {
    let of_week = days().prop_map(|days| (days, None));
    let dates = prop_oneof![3 => of_week, 1 => (1..=31u32).prop_map(|day| (vec![], Some(day)))];
    let duration = prop_oneof![1..180u32, 1..=duration_minutes_max, Just(1_440.min(duration_minutes_max))];
    (dates, minutes_of_day(), duration).prop_filter_map(
        "it has violations",
        move |((days, month_day), start, duration)| {
            let recurring = Recurring { days, month_day, ..weekly(&[], &format_time(start), duration, &timezone) };
            recurring.violations().is_empty().then_some(recurring)
        },
    )
}

/// Some windows of each kind, and an instant near them and near a clock change.
fn windows_and_instant() -> impl Strategy<Value = (Vec<MaintenanceWindow>, Timestamp)> {
    zone_and_instant().prop_flat_map(|(zone, now)| {
        let near = move || {
            (-3_000..3_000i64).prop_map(move |minutes| Timestamp::from_unix_ms(now.unix_ms() + minutes * 60_000))
        };
        let once =
            (near(), 1..600u64).prop_map(|(at, minutes)| Once { starts_at: at, ends_at: at.plus_ms(minutes * 60_000) });
        let bounds = (option::weighted(0.2, near()), option::weighted(0.2, near()));
        let again = (any_recurring(zone.name().to_owned(), 4_000), bounds)
            .prop_map(|(recurring, (from, until))| Recurring { from, until, ..recurring });
        let again = again.prop_filter("it has violations", |recurring| recurring.violations().is_empty());
        (vec(prop_oneof![once, again.prop_map(Again)], 1..6), Just(now))
    })
}

proptest! {
    #[test]
    fn maintenance_applies_up_to_its_end(
        (windows, now) in windows_and_instant(), share in 0.0..1.0f64
    ) {
        let end = ends_at(&windows, now);
        prop_assert_eq!(end.is_some(), windows.iter().any(|window| window.ends_at(now).is_some()));
        let Some(end) = end else { return Ok(()) };
        prop_assert!(end > now);
        if end.since_ms(now) > 100 * DAY_MS {
            return Ok(()); // They may have no end.
        }
        prop_assert_eq!(ends_at(&windows, end), None, "touching windows are joined");
        let between = now.plus_ms((end.since_ms(now) as f64 * share) as u64);
        prop_assert_eq!(ends_at(&windows, between), Some(end));
        prop_assert_eq!(ends_at(&windows, end.minus_ms(1)), Some(end));
    }

    /// The occurrences of a span cover exactly the instants at which the window applies.
    #[test]
    fn occurrences_cover_exactly_when_the_window_applies(
        (windows, now) in windows_and_instant(), before in 0..3_000u64, minutes in 1..6_000u64, at in 0.0..1.0f64
    ) {
        let since = now.minus_ms(before * 60_000);
        let until = since.plus_ms(minutes * 60_000);
        let instant = since.plus_ms((minutes as f64 * 60_000.0 * at) as u64);
        for window in &windows {
            let found: Vec<_> = window.occurrences(since, until).collect();
            let applies = found.iter().any(|it| it.starts_at <= instant && instant < it.ends_at);
            prop_assert_eq!(applies, window.ends_at(instant).is_some(), "{:?} {:?}", window, found);
            prop_assert!(found.iter().all(|it| it.starts_at < until && it.ends_at > since));
            prop_assert!(found.is_sorted_by_key(|it| it.starts_at));
        }
    }

    /// The oracle searches back minute by minute, as long as a window lasts, for a local time equal to its start.
    #[test]
    fn maintenance_applies_if_a_start_was_within_the_duration(
        (recurring, now) in zone_and_instant()
            .prop_flat_map(|(zone, now)| (any_recurring(zone.name().to_owned(), 1_600), Just(now)))
    ) {
        let zone = zone(&recurring.timezone);
        let this_minute = now.unix_ms() - now.unix_ms().rem_euclid(60_000);
        let starts = (0..i64::from(recurring.duration_minutes)).any(|ago| {
            let (local, _) = local_time(&zone, Timestamp::from_unix_ms(this_minute - ago * 60_000));
            let day = local.strftime("%a").to_string().to_lowercase();
            let is_named = recurring.month_day.map_or(
                recurring.days.is_empty() || recurring.days.contains(&day), |day| day == local.day() as u32
            );
            is_named && local.strftime("%H:%M").to_string() == recurring.start
        });
        let start = TimeOfDay::parse(&recurring.start).unwrap();
        let mut starts_nearby = zone.nearby_dates(now, 3).take(5).filter_map(|date| start.on(date));
        prop_assume!(starts_nearby.all(|start| is_unambiguous(&zone, start)));
        prop_assert_eq!(Again(recurring).ends_at(now).is_some(), starts);
    }

    #[test]
    fn any_input_ends_in_the_future_or_never_applies(
        days in vec("mon|sun|\\PC{0,4}", 0..9), month_day: Option<u32>, start in "[0-2][0-9]:[0-5][0-9]|\\PC{0,6}",
        duration_minutes: u32, timezone in "UTC|\\PC{0,9}", bounds: (Option<i64>, Option<i64>), now: i64
    ) {
        let (from, until) = (bounds.0.map(Timestamp::from_unix_ms), bounds.1.map(Timestamp::from_unix_ms));
        let window = Again(Recurring { days, month_day, start, duration_minutes, timezone, from, until });
        let one = Once { starts_at: from.unwrap_or_default(), ends_at: until.unwrap_or_default() };
        let (windows, now) = ([window, one], Timestamp::from_unix_ms(now));
        let ends = windows.each_ref().map(|window| window.ends_at(now));
        for (window, end) in windows.iter().zip(ends) {
            prop_assert!(end.is_none_or(|end| end > now), "an end lies in the future");
            prop_assert!(window.violations().is_empty() || end.is_none(), "an invalid window never applies");
        }
        let joined = ends_at(&windows, now);
        prop_assert_eq!(joined.is_some(), ends.iter().any(Option::is_some));
        prop_assert!(joined >= ends.into_iter().max().flatten(), "joined windows end no earlier than each of them");
    }
}
