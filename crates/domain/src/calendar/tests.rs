//! Tests of zones, days and times of day, and the strategies that the tests of recurring periods share.

use super::*;
use proptest::prelude::*;

const DAY_MS: i64 = 86_400_000;

/// Zones with clock changes of every kind: half an hour, two hours, at midnight, negative summer time, a whole day; and
/// two without any.
const SAMPLE_ZONES: [&str; 13] = [
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
    Zone::from_name(name).unwrap()
}

/// Parses an instant with its offset.
pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// A zone and an instant near one of its clock changes, if it has any.
pub(crate) fn zone_and_instant() -> impl Strategy<Value = (Zone, Timestamp)> {
    let years = at("1990-01-01T00:00:00Z").unix_ms()..at("2038-01-01T00:00:00Z").unix_ms();
    let date_line = [at("2011-12-01T00:00:00Z"), at("1993-08-01T00:00:00Z")].map(Timestamp::unix_ms);
    let before = prop_oneof![8 => years, 1 => prop::sample::select(date_line.to_vec())];
    let minutes = prop_oneof![-360..360i64, -3 * 1440..3 * 1440i64];
    let off = prop_oneof![minutes.prop_map(|minutes| minutes * 60_000), -3 * DAY_MS..3 * DAY_MS];
    (prop::sample::select(SAMPLE_ZONES.to_vec()), before, off).prop_map(|(name, before, off)| {
        let before = Timestamp::from_unix_ms(before);
        let zone = zone(name);
        let change = zone.0.following(before.to_jiff()).next().map(|change| change.timestamp().as_millisecond());
        let around = change.unwrap_or(before.unix_ms());
        (zone, Timestamp::from_unix_ms(around + off))
    })
}

/// Minutes of the day, often those at which clocks change.
pub(crate) fn minutes_of_day() -> impl Strategy<Value = u16> {
    prop_oneof![0..240u16, 1320..1440u16, 0..1440u16, Just(0u16)]
}

/// `22:00`; the end of the day is `24:00`.
pub(crate) fn format_time(minutes: u16) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// A set of weekday names; the empty one means every day.
pub(crate) fn days() -> impl Strategy<Value = Vec<String>> {
    let bits = prop_oneof![Just(0u8), 0..128u8];
    bits.prop_map(|bits| (0..7).filter(|day| bits & 1 << day != 0).map(|day| DAYS[day].to_owned()).collect())
}

/// The local time, and whether it occurs exactly once.
pub(crate) fn local_time(zone: &Zone, at: Timestamp) -> (DateTime, bool) {
    let local = zone.local_time(at);
    (local, is_unambiguous(zone, local))
}

/// Whether the local time occurs exactly once.
pub(crate) fn is_unambiguous(zone: &Zone, local: DateTime) -> bool {
    !zone.0.to_ambiguous_timestamp(local).is_ambiguous()
}

/// Whether the zone did not skip the date.
pub(crate) fn has_date(zone: &Zone, date: Date) -> bool {
    zone.has(date)
}

#[test]
fn time_of_day_has_one_spelling() {
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
fn zone_is_found_by_iana_name_only() {
    for name in SAMPLE_ZONES {
        assert_eq!(zone(name).name(), name);
        assert_eq!(validate_timezone(name), None);
    }
    assert_eq!(zone("europe/zurich").name(), "Europe/Zurich", "in any case");
    for wrong in ["", "Zurich", "CEST", "UTC+2", "+02:00", "Etc/Unknown", "../Europe/Zurich", "Europe/Zurich "] {
        assert_eq!(
            validate_timezone(wrong).map(|violation| violation.pointer).as_deref(),
            Some("/timezone"),
            "{wrong}"
        );
    }
}

#[test]
fn zone_describe_adds_date_and_seconds_if_needed() {
    let zurich = zone("Europe/Zurich");
    let now = at("2026-05-02T03:00:00+02:00");
    for (instant, text) in [
        ("2026-05-02T07:00:00+02:00", "07:00 Europe/Zurich"),
        ("2026-05-02T07:00:21+02:00", "07:00:21 Europe/Zurich"),
        ("2026-05-02T07:00:20.001+02:00", "07:00:21 Europe/Zurich"),
        ("2026-05-02T23:59:59.999+02:00", "2026-05-03 00:00 Europe/Zurich"),
        ("2026-05-03T07:00:00+02:00", "2026-05-03 07:00 Europe/Zurich"),
        ("2026-05-01T23:00:00+02:00", "2026-05-01 23:00 Europe/Zurich"),
    ] {
        assert_eq!(zurich.describe(at(instant), now), text, "{instant}");
    }
    assert_eq!(Zone::UTC.describe(at("2026-05-02T07:00:00+02:00"), now), "05:00 UTC");
    for extreme in [i64::MIN, i64::MAX] {
        assert!(zurich.describe(Timestamp::from_unix_ms(extreme), now).ends_with(" Europe/Zurich"));
    }
}

#[test]
fn invalid_days_are_reported_at_their_index() {
    let pointers = |names: &[&str]| -> Vec<String> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        days_violations(&names).into_iter().map(|violation| violation.pointer).collect()
    };
    assert_eq!(pointers(&DAYS), [""; 0]);
    assert_eq!(pointers(&[]), [""; 0]);
    assert_eq!(pointers(&["mon", "Tue", "mon", "monday", ""]), ["/days/1", "/days/2", "/days/3", "/days/4"]);
    assert_eq!(pointers(&["mon"; 8]), ["/days"], "a long list is not reported item by item");
}

#[test]
fn longest_step_between_weekdays() {
    let step = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        Weekdays::parse(&names).unwrap().longest_step_minutes() / DAY_MINUTES
    };
    assert_eq!((step(&[]), step(&DAYS)), (1, 1));
    assert_eq!((step(&["sun"]), step(&["mon"]), step(&["wed"])), (7, 7, 7));
    assert_eq!((step(&["sat", "sun"]), step(&["mon", "thu"]), step(&["sun", "mon", "wed", "fri"])), (6, 4, 2));
    for wrong in [["x", "mon"], ["mon", "mon"]] {
        assert_eq!(Weekdays::parse(&wrong.map(str::to_owned)), None);
    }
}

#[test]
fn skipped_date_has_no_start() {
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
    fn unambiguous_local_time_maps_to_its_instant((zone, at) in zone_and_instant()) {
        let at = Timestamp::from_unix_ms(at.unix_ms() - at.unix_ms().rem_euclid(60_000));
        let (local, is_unambiguous) = local_time(&zone, at);
        prop_assume!(is_unambiguous && local.second() == 0);
        let time = TimeOfDay::parse(&local.strftime("%H:%M").to_string()).unwrap();
        prop_assert_eq!(zone.instant(local.date(), time), Some(at));
        prop_assert_eq!(zone.instant_of_start(local.date(), time), Some(at));
        let dates: Vec<_> = zone.nearby_dates(at, 2).collect();
        prop_assert_eq!(dates[2], local.date());
        prop_assert!(dates.windows(2).all(|pair| pair[0].tomorrow().ok() == Some(pair[1])));
    }

    #[test]
    fn starts_on_later_dates_are_later((zone, at) in zone_and_instant(), minutes in minutes_of_day()) {
        let time = TimeOfDay(minutes);
        let starts: Vec<_> =
            zone.nearby_dates(at, 3).filter_map(|date| zone.instant_of_start(date, time)).collect();
        prop_assert!(starts.is_sorted_by(|one, next| one < next), "{:?}", starts);
    }

    #[test]
    fn interval_ends_at_the_first_gap(
        mut spans in prop::collection::vec((0..60i64, 1..12i64), 0..9), now in 0..70i64
    ) {
        spans.sort_unstable();
        let instant = |minute| Timestamp::from_unix_ms(minute);
        let periods = || spans.iter().filter_map(|(from, long)| Period::new(instant(*from), instant(from + long)));
        let is_in = |minute: i64| spans.iter().any(|(from, long)| (*from..from + long).contains(&minute));
        let end = (now..).find(|minute| !is_in(*minute)).unwrap();
        prop_assert_eq!(interval_end(periods(), instant(now)), is_in(now).then_some(instant(end)));
        let next = (end..80).find(|minute| is_in(*minute)).map(instant);
        prop_assert_eq!(next_interval(periods(), instant(now)), next);
    }
}

#[test]
fn format_instant_shows_abbreviation_or_offset() {
    for (at, zone, text) in [
        ("2026-05-02T04:00:12.345Z", "UTC", "2026-05-02 04:00:12 UTC"),
        ("2026-05-02T04:00:12Z", "Europe/Zurich", "2026-05-02 06:00:12 CEST"),
        ("2026-12-31T23:30:00Z", "Europe/Zurich", "2027-01-01 00:30:00 CET"),
        ("2026-05-02T04:00:12Z", "America/Sao_Paulo", "2026-05-02 01:00:12 UTC-03"),
        ("2026-05-02T04:00:12Z", "Asia/Kathmandu", "2026-05-02 09:45:12 UTC+0545"),
    ] {
        let zone = Zone::from_name(zone).unwrap();
        assert_eq!(zone.format_instant(Timestamp::parse(at).unwrap()), text);
    }
}
