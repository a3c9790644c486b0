//! Tests of `check::judge`.

use super::*;
use crate::check::assertion::tests::assertion;
use crate::check::tests::{answer, certificate};
use crate::check::{Assertion, AssertionKind, Operator};
use crate::endpoint::{ExpectedStatus, HttpProbe};
use crate::time::Timestamp;
use proptest::prelude::*;

fn http() -> Definition {
    Definition::new(Probe::Http(HttpProbe::new("https://example.com/health")))
}

fn failure(class: FailureClass, message: &str) -> Observation {
    Observation { outcome: Err(Failure { class, message: message.into() }), ..answer(200, "") }
}

fn verdict(definition: &Definition, observation: &Observation) -> (CheckStatus, Option<String>) {
    let check = judge(definition, observation);
    (check.status, check.reason)
}

fn expect(status: CheckStatus, reason: &str) -> (CheckStatus, Option<String>) {
    (status, Some(reason.to_owned()))
}

/// The body must be `ok`.
fn must_be_ok(severity: CheckStatus) -> Assertion {
    Assertion { severity, ..assertion(AssertionKind::Body, Operator::Equals, "", "ok") }
}

#[test]
fn expected_response_is_healthy_without_a_reason() {
    let mut definition = http();
    definition.assertions = vec![must_be_ok(CheckStatus::Down)];
    let check = judge(&definition, &answer(200, "ok"));
    assert_eq!((check.status, check.reason, check.failure), (CheckStatus::Healthy, None, None));
    assert_eq!((check.status_code, check.assertions.len(), check.response_time_ms), (Some(200), 1, Some(1234)));
}

#[test]
fn failure_is_down_or_inconclusive_and_skips_assertions() {
    let mut definition = http();
    definition.assertions = vec![must_be_ok(CheckStatus::Degraded)];
    for class in FailureClass::ALL {
        let check = judge(&definition, &failure(class, "connection refused by 10.0.0.7:443"));
        let inconclusive = class == FailureClass::OwnNetwork;
        assert_eq!(check.status, if inconclusive { CheckStatus::Inconclusive } else { CheckStatus::Down });
        assert_eq!(check.reason.as_deref(), Some("connection refused by 10.0.0.7:443"));
        assert_eq!((check.failure, check.assertions.len()), (Some(class), 0));
        assert_eq!((check.status_code, check.response_time_ms), (None, None));
        assert!(judge(&definition, &failure(class, " ")).reason.is_some_and(|reason| reason.len() > 5), "{class:?}");
    }
}

#[test]
fn unexpected_status_code_is_down_even_if_slow() {
    let mut definition = http();
    definition.latency_threshold_ms = 1;
    definition.assertions = vec![must_be_ok(CheckStatus::Down)];
    let check = judge(&definition, &answer(502, "bad"));
    assert_eq!(check.reason.as_deref(), Some("HTTP 502 — expected 200"));
    assert_eq!((check.status, check.status_code, check.assertions.len()), (CheckStatus::Down, Some(502), 0));
    if let Probe::Http(http) = &mut definition.probe {
        http.expected_status_codes = ["200", "204-206"].iter().filter_map(|it| ExpectedStatus::parse(it)).collect();
    }
    assert_eq!(verdict(&definition, &answer(301, "")), expect(CheckStatus::Down, "HTTP 301 — expected 200, 204-206"));
    for status in [200, 204, 205, 206] {
        assert_ne!(judge(&definition, &answer(status, "ok")).status, CheckStatus::Down, "{status}");
    }
    assert_eq!(judge(&definition, &answer(207, "ok")).status, CheckStatus::Down);
}

#[test]
fn latency_above_threshold_is_degraded() {
    let (definition, mut observation) = (http(), answer(200, ""));
    observation.timings.total_ms = 5000;
    assert_eq!(verdict(&definition, &observation), (CheckStatus::Healthy, None));
    observation.timings.total_ms = 5231;
    let slow = expect(CheckStatus::Degraded, "slow: 5,231 ms — expected at most 5,000 ms");
    assert_eq!(verdict(&definition, &observation), slow);
    let tcp = Definition::new(Probe::Tcp { host: "db".into(), port: 5432 });
    observation.outcome = Ok(Answer::Reached);
    assert_eq!(verdict(&tcp, &observation), slow);
}

#[test]
fn certificate_near_or_past_expiry_is_degraded() {
    let (mut definition, mut observation) = (http(), answer(200, ""));
    let mut until = |days: i64, ms: i64, definition: &Definition| {
        let end = observation.started_at.unix_ms() + days * DAY_MS as i64 + ms;
        observation.certificate = Some(certificate(Timestamp::from_unix_ms(end)));
        verdict(definition, &observation)
    };
    assert_eq!(until(14, 1, &definition).0, CheckStatus::Healthy);
    assert_eq!(until(14, 0, &definition).0, CheckStatus::Degraded);
    let (status, reason) = until(3, 0, &definition);
    assert_eq!(
        (status, reason.as_deref()),
        (CheckStatus::Degraded, Some("certificate of R11 ends in 3 days, on 2026-05-05"))
    );
    let ended = expect(CheckStatus::Degraded, "certificate of R11 ended 1 day ago, on 2026-05-01");
    assert_eq!(until(-1, 0, &definition), ended);
    definition.ssl_warning_days = 0;
    assert_eq!(until(0, 1, &definition).0, CheckStatus::Healthy);
    assert_eq!(until(-1, 0, &definition), ended);
}

#[test]
fn worst_status_decides_and_its_first_problem_is_the_reason() {
    let (mut definition, mut observation) = (http(), answer(200, "no"));
    definition.assertions = vec![must_be_ok(CheckStatus::Degraded)];
    let mismatch = "body: expected to equal \"ok\", is \"no\"";
    assert_eq!(verdict(&definition, &observation), expect(CheckStatus::Degraded, mismatch));
    observation.timings.total_ms = 5001;
    observation.certificate = Some(certificate(observation.started_at));
    let (status, reason) = verdict(&definition, &observation);
    assert_eq!(status, CheckStatus::Degraded);
    assert_eq!(reason.as_deref(), Some("slow: 5,001 ms — expected at most 5,000 ms (and 2 more problems)"));
    definition.assertions.push(must_be_ok(CheckStatus::Down));
    let check = judge(&definition, &observation);
    assert_eq!(check.status, CheckStatus::Down);
    assert_eq!(check.reason, Some(format!("{mismatch} (and 3 more problems)")));
    assert_eq!(check.assertions.iter().map(|result| result.index).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn reason_is_bounded_including_its_suffix() {
    let (mut definition, mut observation) = (http(), failure(FailureClass::Protocol, &"é".repeat(600)));
    let reason = verdict(&definition, &observation).1.unwrap_or_default();
    assert_eq!(reason.chars().count(), REASON_CHARS_MAX);
    let long = "x".repeat(REASON_CHARS_MAX);
    definition.assertions = vec![assertion(AssertionKind::Json, Operator::Equals, &format!("[\"{long}\"]"), "y"); 2];
    observation = answer(200, "{}");
    let reason = verdict(&definition, &observation).1.unwrap_or_default();
    assert!(reason.chars().count() <= REASON_CHARS_MAX && reason.ends_with(" (and 1 more problem)"), "{reason}");
}

#[test]
fn expected_dns_record_must_be_among_the_records() {
    let probe = |record_type: &str, expected: Option<&str>| {
        Definition::new(Probe::Dns {
            host: "example.com".into(),
            record_type: record_type.into(),
            expected_value: expected.map(str::to_owned),
        })
    };
    let records = |texts: &[&str]| Observation {
        outcome: Ok(Answer::Records(texts.iter().map(|text| (*text).to_owned()).collect())),
        ..answer(200, "")
    };
    for (record_type, expected, records_found, is_match) in [
        ("A", Some("10.0.0.1"), &["10.0.0.2", "10.0.0.1"][..], true),
        ("AAAA", Some("2001:DB8:0::1"), &["2001:db8::1"], true),
        ("CNAME", Some("Example.net"), &["example.net."], true),
        ("MX", Some("10 mail.example.com"), &["10 mail.example.com."], true),
        ("MX", Some("mail.example.com."), &["10 mail.example.com."], true),
        ("MX", Some("20 mail.example.com"), &["10 mail.example.com."], false),
        ("TXT", Some("v=spf1 -all"), &["v=spf1 -all"], true),
        ("TXT", Some("v=spf1"), &["v=spf1 -all"], false),
        ("TXT", None, &["anything"], true),
        ("A", None, &[], false),
    ] {
        let (status, _) = verdict(&probe(record_type, expected), &records(records_found));
        let expected_status = if is_match { CheckStatus::Healthy } else { CheckStatus::Down };
        assert_eq!(status, expected_status, "{record_type} {expected:?} {records_found:?}");
    }
    let many = records(&["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4", "5.5.5.5", "6.6.6.6"]);
    assert_eq!(
        verdict(&probe("A", Some("10.0.0.1")), &many),
        expect(
            CheckStatus::Down,
            "DNS A of example.com: 1.1.1.1, 2.2.2.2, 3.3.3.3, 4.4.4.4, 5.5.5.5, 1 more — expected 10.0.0.1"
        )
    );
    let none = expect(CheckStatus::Down, "DNS A of example.com: no record — expected one");
    assert_eq!(verdict(&probe("A", None), &records(&[])), none);
}

#[test]
fn response_of_another_probe_type_is_down() {
    let reached = Observation { outcome: Ok(Answer::Reached), ..answer(200, "") };
    let dns = Definition::new(Probe::Dns { host: "a".into(), record_type: "A".into(), expected_value: None });
    assert_eq!(verdict(&http(), &reached), expect(CheckStatus::Down, "no HTTP response was reported"));
    assert_eq!(verdict(&dns, &reached), expect(CheckStatus::Down, "no DNS records were reported"));
}

proptest! {
    #[test]
    fn status_and_reason_follow_the_documented_order(
        class in proptest::option::of(0..9usize), status in 199u16..203, total_ms in 4_998u32..5_003,
        days in proptest::option::of(-2i64..20), failing in proptest::collection::vec(0..3usize, 0..10)
    ) {
        let (mut definition, mut observation) = (http(), answer(status, "no"));
        observation.timings.total_ms = total_ms;
        observation.certificate = days.map(|days| {
            certificate(Timestamp::from_unix_ms(observation.started_at.unix_ms() + days * DAY_MS as i64))
        });
        definition.assertions = failing.iter().map(|kind| match kind {
            0 => assertion(AssertionKind::Body, Operator::Equals, "", "no"),
            1 => must_be_ok(CheckStatus::Degraded),
            _ => must_be_ok(CheckStatus::Down),
        }).collect();
        if let Some(class) = class {
            observation.outcome = Err(Failure { class: FailureClass::ALL[class], message: "x".into() });
        }
        let check = judge(&definition, &observation);
        let expected = match class.map(|class| FailureClass::ALL[class]) {
            Some(FailureClass::OwnNetwork) => CheckStatus::Inconclusive,
            Some(_) => CheckStatus::Down,
            None if status != 200 || failing.contains(&2) => CheckStatus::Down,
            None if failing.contains(&1) => CheckStatus::Degraded,
            None if total_ms > 5_000 || days.is_some_and(|days| days <= 14) => CheckStatus::Degraded,
            None => CheckStatus::Healthy,
        };
        prop_assert_eq!(check.status, expected);
        prop_assert_eq!(check.reason.is_none(), expected == CheckStatus::Healthy);
        let is_evaluated = class.is_none() && status == 200;
        prop_assert_eq!(check.assertions.len(), if is_evaluated { failing.len() } else { 0 });
    }
}

#[test]
fn assertion_about_what_was_not_seen_is_inconclusive_unless_something_is_wrong() {
    let (mut definition, mut observation) = (http(), answer(200, ""));
    if let Ok(Answer::Http { body, .. }) = &mut observation.outcome {
        *body = crate::check::Body { searched_bytes: 4_194_304, ..crate::check::Body::default() };
    }
    definition.assertions = vec![assertion(AssertionKind::Body, Operator::Contains, "", "ok")];
    let reason =
        "body: expected to contain \"ok\", but only the first 4,194,304 bytes were read, which do not decide it";
    assert_eq!(verdict(&definition, &observation), expect(CheckStatus::Inconclusive, reason));
    let check = judge(&definition, &observation);
    assert!(!check.assertions[0].passed && check.assertions[0].inconclusive);
    observation.timings.total_ms = 5_231;
    let (status, reason) = verdict(&definition, &observation);
    assert_eq!(status, CheckStatus::Degraded);
    assert!(reason.is_some_and(|reason| reason.starts_with("slow: ") && reason.ends_with("(and 1 more problem)")));
    definition.assertions.push(assertion(AssertionKind::Header, Operator::Exists, "x-none", ""));
    assert_eq!(verdict(&definition, &observation).0, CheckStatus::Down);
}
