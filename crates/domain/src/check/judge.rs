//! The verdict: from what a prober saw to how the endpoint stood, and why.
//!
//! In this order: no answer → `down` (or `inconclusive`, if this machine's own network is at fault); an answer that
//! is not the expected one → `down`; a slow one, or a certificate that ends soon or has ended → `degraded`. Then,
//! unless it is down, the assertions. The worst decides; the words name the first of the worst and count the others.

use std::net::IpAddr;

use super::words::{DAY_MS, any_of, certificate, counted, shown};
use super::{Answer, Check, CheckStatus, Failure, FailureClass, Observation, REASON_CHARS_MAX, compare};
use crate::endpoint::{Definition, Probe};
use crate::text::with_thousands_separators;

/// Records that are named where the wanted one is not among them.
const RECORDS_SHOWN_MAX: usize = 5;

/// How serious it is, and why.
type Problem = (CheckStatus, String);

/// What the observation means for an endpoint of this definition.
pub fn judge(definition: &Definition, observation: &Observation) -> Check {
    let mut check = Check {
        checked_at: observation.started_at,
        status: CheckStatus::Healthy,
        reason: None,
        failure: observation.outcome.as_ref().err().map(|failure| failure.class),
        status_code: match observation.outcome {
            Ok(Answer::Http { status, .. }) => Some(status),
            _ => None,
        },
        response_time_ms: observation.outcome.is_ok().then_some(observation.timings.total_ms),
        timings: observation.timings,
        certificate: observation.certificate.clone(),
        assertions: Vec::new(),
    };
    let mut problems: Vec<Problem> = match &observation.outcome {
        Err(failure) => vec![failed(failure)],
        Ok(answer) => match refused(&definition.probe, answer) {
            Some(reason) => vec![(CheckStatus::Down, reason)],
            None => weaknesses(definition, observation),
        },
    };
    if problems.iter().all(|(status, _)| *status == CheckStatus::Degraded) {
        for (index, assertion) in definition.assertions.iter().enumerate() {
            let result = compare::check(index, assertion, observation);
            if !result.passed {
                // Whatever is not `down` is the lesser of the two.
                let is_down = assertion.severity == CheckStatus::Down;
                let status = if is_down { CheckStatus::Down } else { CheckStatus::Degraded };
                problems.push((status, result.description.clone()));
            }
            check.assertions.push(result);
        }
    }
    if let Some(worst) = problems.iter().map(|(status, _)| *status).max() {
        check.status = worst;
        check.reason = problems.iter().find(|(status, _)| *status == worst).map(|(_, words)| {
            let others = match problems.len() - 1 {
                0 => String::new(),
                others => format!(" (and {})", counted(others as u64, "more problem")),
            };
            format!("{}{others}", shown(words, REASON_CHARS_MAX - others.len()))
        });
    }
    check
}

fn failed(failure: &Failure) -> Problem {
    let status = match failure.class {
        FailureClass::OwnNetwork => CheckStatus::Inconclusive,
        _ => CheckStatus::Down,
    };
    let words = if failure.message.trim().is_empty() { without_words(failure.class) } else { failure.message.trim() };
    (status, words.to_owned())
}

/// What is said of a failure that came without words, as from a prober elsewhere.
const fn without_words(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Dns => "the name has no address",
        FailureClass::Connect => "no connection",
        FailureClass::Refused => "connection refused",
        FailureClass::Timeout => "timed out",
        FailureClass::Tls => "no trusted TLS connection",
        FailureClass::Protocol => "broke off, or answered something else than expected",
        FailureClass::Redirect => "redirected too often, or to where it cannot be followed",
        FailureClass::Forbidden => "the address may not be watched from here",
        FailureClass::OwnNetwork => "the network of the prober itself is at fault",
    }
}

/// Why this is not the answer that was expected; `None` if it is.
fn refused(probe: &Probe, answer: &Answer) -> Option<String> {
    match (probe, answer) {
        (Probe::Http(http), Answer::Http { status, .. }) => {
            let codes = &http.expected_status_codes;
            (!codes.contains(status)).then(|| format!("HTTP {status} — expected {}", any_of(codes)))
        }
        (Probe::Http(_), _) => Some("no HTTP answer was reported".to_owned()),
        (Probe::Dns { host, record_type, expected_value }, Answer::Records(records)) => {
            let expected = expected_value.as_deref().unwrap_or("");
            let is_there = |record: &String| expected.is_empty() || is_same_record(record_type, expected, record);
            (!records.iter().any(is_there)).then(|| {
                let wanted = if expected.is_empty() { "one".to_owned() } else { shown(expected, 100) };
                format!("DNS {record_type} of {host}: {} — expected {wanted}", listed(records))
            })
        }
        (Probe::Dns { .. }, _) => Some("no DNS records were reported".to_owned()),
        (Probe::Tcp { .. } | Probe::Icmp { .. } | Probe::Tls { .. }, _) => None,
    }
}

fn listed(records: &[String]) -> String {
    let mut words: Vec<String> = records.iter().take(RECORDS_SHOWN_MAX).map(|record| shown(record, 60)).collect();
    if records.len() > words.len() {
        words.push(format!("{} more", records.len() - words.len()));
    }
    if words.is_empty() { "no record".to_owned() } else { words.join(", ") }
}

/// Whether the record is the expected one. Addresses and names have more than one spelling; of an MX record the name
/// alone will do.
fn is_same_record(record_type: &str, expected: &str, record: &str) -> bool {
    let name =
        |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_ascii_lowercase();
    match record_type {
        "A" | "AAAA" => match (expected.trim().parse::<IpAddr>(), record.trim().parse::<IpAddr>()) {
            (Ok(expected), Ok(record)) => expected == record,
            _ => expected.trim() == record.trim(),
        },
        "CNAME" | "NS" => name(expected) == name(record),
        "MX" => {
            let (expected, record) = (name(expected), name(record));
            expected == record || record.split_once(' ').is_some_and(|(_, host)| host == expected)
        }
        _ => expected == record,
    }
}

/// What is `degraded` about an answer that is the expected one.
fn weaknesses(definition: &Definition, observation: &Observation) -> Vec<Problem> {
    let (total_ms, threshold_ms) = (observation.timings.total_ms, definition.latency_threshold_ms);
    let slow = (total_ms > threshold_ms).then(|| {
        format!(
            "slow: {} ms — expected at most {} ms",
            with_thousands_separators(total_ms.into()),
            with_thousands_separators(threshold_ms.into())
        )
    });
    let now = observation.started_at;
    let warned_from = now.plus_ms(u64::from(definition.ssl_warning_days) * DAY_MS);
    let ending =
        observation.certificate.as_ref().filter(|it| it.not_after <= warned_from).map(|it| certificate(it, now));
    slow.into_iter().chain(ending).map(|words| (CheckStatus::Degraded, words)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::assertion::tests::assertion;
    use crate::check::tests::{answer, certificate as certificate_until};
    use crate::check::{Assertion, AssertionKind, Operator};
    use crate::endpoint::HttpProbe;
    use crate::time::Timestamp;
    use proptest::prelude::*;

    fn http() -> Definition {
        Definition::new(Probe::Http(HttpProbe::new("https://example.com/health")))
    }

    fn failure(class: FailureClass, words: &str) -> Observation {
        Observation { outcome: Err(Failure { class, message: words.into() }), ..answer(200, "") }
    }

    fn verdict(definition: &Definition, observation: &Observation) -> (CheckStatus, Option<String>) {
        let check = judge(definition, observation);
        (check.status, check.reason)
    }

    fn said(status: CheckStatus, reason: &str) -> (CheckStatus, Option<String>) {
        (status, Some(reason.to_owned()))
    }

    /// The body must be `ok`.
    fn must_be_ok(severity: CheckStatus) -> Assertion {
        Assertion { severity, ..assertion(AssertionKind::Body, Operator::Equals, "", "ok") }
    }

    #[test]
    fn a_good_answer_is_healthy_and_needs_no_reason() {
        let mut definition = http();
        definition.assertions = vec![must_be_ok(CheckStatus::Down)];
        let check = judge(&definition, &answer(200, "ok"));
        assert_eq!((check.status, check.reason, check.failure), (CheckStatus::Healthy, None, None));
        assert_eq!((check.status_code, check.assertions.len(), check.response_time_ms), (Some(200), 1, Some(1234)));
    }

    #[test]
    fn without_an_answer_it_is_down_and_no_assertion_is_looked_at() {
        let mut definition = http();
        definition.assertions = vec![must_be_ok(CheckStatus::Degraded)];
        for class in FailureClass::ALL {
            let check = judge(&definition, &failure(class, "connection refused by 10.0.0.7:443"));
            let inconclusive = class == FailureClass::OwnNetwork;
            assert_eq!(check.status, if inconclusive { CheckStatus::Inconclusive } else { CheckStatus::Down });
            assert_eq!(check.reason.as_deref(), Some("connection refused by 10.0.0.7:443"));
            assert_eq!((check.failure, check.assertions.len()), (Some(class), 0));
            assert_eq!((check.status_code, check.response_time_ms), (None, None));
            assert!(judge(&definition, &failure(class, " ")).reason.is_some_and(|words| words.len() > 5), "{class:?}");
        }
    }

    #[test]
    fn an_unexpected_status_is_down_however_slow() {
        let mut definition = http();
        definition.latency_threshold_ms = 1;
        definition.assertions = vec![must_be_ok(CheckStatus::Down)];
        let check = judge(&definition, &answer(502, "bad"));
        assert_eq!(check.reason.as_deref(), Some("HTTP 502 — expected 200"));
        assert_eq!((check.status, check.status_code, check.assertions.len()), (CheckStatus::Down, Some(502), 0));
        if let Probe::Http(http) = &mut definition.probe {
            http.expected_status_codes = vec![200, 204];
        }
        assert_eq!(verdict(&definition, &answer(301, "")), said(CheckStatus::Down, "HTTP 301 — expected 200 or 204"));
    }

    #[test]
    fn slower_than_the_threshold_is_degraded() {
        let (definition, mut seen) = (http(), answer(200, ""));
        seen.timings.total_ms = 5000;
        assert_eq!(verdict(&definition, &seen), (CheckStatus::Healthy, None));
        seen.timings.total_ms = 5231;
        let slow = said(CheckStatus::Degraded, "slow: 5,231 ms — expected at most 5,000 ms");
        assert_eq!(verdict(&definition, &seen), slow);
        let tcp = Definition::new(Probe::Tcp { host: "db".into(), port: 5432 });
        seen.outcome = Ok(Answer::Reached);
        assert_eq!(verdict(&tcp, &seen), slow);
    }

    #[test]
    fn a_certificate_within_the_window_or_past_its_end_is_degraded() {
        let (mut definition, mut seen) = (http(), answer(200, ""));
        let mut until = |days: i64, ms: i64, definition: &Definition| {
            let end = seen.started_at.unix_ms() + days * DAY_MS as i64 + ms;
            seen.certificate = Some(certificate_until(Timestamp::from_unix_ms(end)));
            verdict(definition, &seen)
        };
        assert_eq!(until(14, 1, &definition).0, CheckStatus::Healthy);
        assert_eq!(until(14, 0, &definition).0, CheckStatus::Degraded);
        let (status, reason) = until(3, 0, &definition);
        assert_eq!(
            (status, reason.as_deref()),
            (CheckStatus::Degraded, Some("certificate of R11 ends in 3 days, on 2026-05-05"))
        );
        let ended = said(CheckStatus::Degraded, "certificate of R11 ended 1 day ago, on 2026-05-01");
        assert_eq!(until(-1, 0, &definition), ended);
        definition.ssl_warning_days = 0;
        assert_eq!(until(0, 1, &definition).0, CheckStatus::Healthy);
        assert_eq!(until(-1, 0, &definition), ended);
    }

    #[test]
    fn the_worst_decides_and_the_first_of_the_worst_is_named() {
        let (mut definition, mut seen) = (http(), answer(200, "no"));
        definition.assertions = vec![must_be_ok(CheckStatus::Degraded)];
        let words = "body: expected to equal \"ok\", is \"no\"";
        assert_eq!(verdict(&definition, &seen), said(CheckStatus::Degraded, words));
        seen.timings.total_ms = 5001;
        seen.certificate = Some(certificate_until(seen.started_at));
        let (status, reason) = verdict(&definition, &seen);
        assert_eq!(status, CheckStatus::Degraded);
        assert_eq!(reason.as_deref(), Some("slow: 5,001 ms — expected at most 5,000 ms (and 2 more problems)"));
        definition.assertions.push(must_be_ok(CheckStatus::Down));
        let check = judge(&definition, &seen);
        assert_eq!(check.status, CheckStatus::Down);
        assert_eq!(check.reason, Some(format!("{words} (and 3 more problems)")));
        assert_eq!(check.assertions.iter().map(|result| result.index).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_reason_is_bounded_with_all_that_is_added_to_it() {
        let (mut definition, mut seen) = (http(), failure(FailureClass::Protocol, &"é".repeat(600)));
        let reason = verdict(&definition, &seen).1.unwrap_or_default();
        assert_eq!(reason.chars().count(), REASON_CHARS_MAX);
        let long = "x".repeat(REASON_CHARS_MAX);
        definition.assertions =
            vec![assertion(AssertionKind::Json, Operator::Equals, &format!("[\"{long}\"]"), "y"); 2];
        seen = answer(200, "{}");
        let reason = verdict(&definition, &seen).1.unwrap_or_default();
        assert!(reason.chars().count() <= REASON_CHARS_MAX && reason.ends_with(" (and 1 more problem)"), "{reason}");
    }

    #[test]
    fn the_expected_record_must_be_among_those_found() {
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
        for (record_type, expected, found, is_there) in [
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
            let (status, _) = verdict(&probe(record_type, expected), &records(found));
            let expected_status = if is_there { CheckStatus::Healthy } else { CheckStatus::Down };
            assert_eq!(status, expected_status, "{record_type} {expected:?} {found:?}");
        }
        let many = records(&["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4", "5.5.5.5", "6.6.6.6"]);
        assert_eq!(
            verdict(&probe("A", Some("10.0.0.1")), &many),
            said(
                CheckStatus::Down,
                "DNS A of example.com: 1.1.1.1, 2.2.2.2, 3.3.3.3, 4.4.4.4, 5.5.5.5, 1 more — expected 10.0.0.1"
            )
        );
        let none = said(CheckStatus::Down, "DNS A of example.com: no record — expected one");
        assert_eq!(verdict(&probe("A", None), &records(&[])), none);
    }

    #[test]
    fn an_answer_of_another_kind_is_not_taken_for_a_good_one() {
        let reached = Observation { outcome: Ok(Answer::Reached), ..answer(200, "") };
        let dns = Definition::new(Probe::Dns { host: "a".into(), record_type: "A".into(), expected_value: None });
        assert_eq!(verdict(&http(), &reached), said(CheckStatus::Down, "no HTTP answer was reported"));
        assert_eq!(verdict(&dns, &reached), said(CheckStatus::Down, "no DNS records were reported"));
    }

    proptest! {
        #[test]
        fn status_and_reason_follow_the_order_of_the_contract(
            class in proptest::option::of(0..9usize), status in 199u16..203, total_ms in 4_998u32..5_003,
            days in proptest::option::of(-2i64..20), failing in proptest::collection::vec(0..3usize, 0..10)
        ) {
            let (mut definition, mut seen) = (http(), answer(status, "no"));
            seen.timings.total_ms = total_ms;
            seen.certificate = days.map(|days| {
                certificate_until(Timestamp::from_unix_ms(seen.started_at.unix_ms() + days * DAY_MS as i64))
            });
            definition.assertions = failing.iter().map(|kind| match kind {
                0 => assertion(AssertionKind::Body, Operator::Equals, "", "no"),
                1 => must_be_ok(CheckStatus::Degraded),
                _ => must_be_ok(CheckStatus::Down),
            }).collect();
            if let Some(class) = class {
                seen.outcome = Err(Failure { class: FailureClass::ALL[class], message: "x".into() });
            }
            let check = judge(&definition, &seen);
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
            let looked_at = class.is_none() && status == 200;
            prop_assert_eq!(check.assertions.len(), if looked_at { failing.len() } else { 0 });
        }
    }
}
