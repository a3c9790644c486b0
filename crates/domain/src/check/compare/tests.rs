//! Tests of `check::compare`.

use super::*;
use crate::check::assertion::tests::assertion;
use crate::check::tests::{answer, certificate};
use crate::time::Timestamp;
use AssertionKind::*;
use Operator::*;
use proptest::prelude::*;

fn evaluated(assertion: &Assertion, body: &str) -> AssertionResult {
    evaluate(0, assertion, &answer(200, body))
}

fn passes(kind: AssertionKind, operator: Operator, target: &str, value: &str, body: &str) -> bool {
    evaluated(&assertion(kind, operator, target, value), body).passed
}

#[test]
fn description_states_expectation_and_actual_value() {
    let body = r#"{"status": "starting", "count": 1.0, "tags": ["a b", "c"], "none": null, "on": true, "x": ""}"#;
    for (kind, operator, target, value, description, actual) in [
        (Json, Equals, "status", "ok", "JSON status: expected to equal \"ok\", is \"starting\"", "starting"),
        (Json, Eq, "count", "2", "JSON count: expected to be 2, is 1.0", "1.0"),
        (Json, Eq, "none", "x", "JSON none: expected to be \"x\", is null", "null"),
        (Json, Lt, "count", "1", "JSON count: expected to be less than 1, is 1.0", "1.0"),
        (
            Json,
            NotContains,
            "tags",
            "c",
            "JSON tags: expected not to contain \"c\", is [\"a b\",\"c\"]",
            "[\"a b\",\"c\"]",
        ),
        (Json, NotExists, "none", "", "JSON none: expected not to exist, is null", "null"),
        (Json, Contains, "x", "y", "JSON x: expected to contain \"y\", is empty", ""),
        (Latency, Lte, "", "50", "latency: expected to be at most 50 ms, is 1,234 ms", "1234"),
        (Latency, Gt, "", "60000", "latency: expected to be more than 60,000 ms, is 1,234 ms", "1234"),
        (Latency, Lt, "", "0.5", "latency: expected to be less than 0.5 ms, is 1,234 ms", "1234"),
        (Header, Eq, "Server", "b", "header Server: expected to be \"b\", is \"nginx\"", "nginx"),
        (Header, Neq, "vary", "a, b", "header vary: expected not to be \"a, b\", is \"a, b\"", "a, b"),
    ] {
        let result = evaluated(&assertion(kind, operator, target, value), body);
        assert_eq!((result.description.as_str(), result.actual.as_deref()), (description, Some(actual)));
        assert!(!result.passed, "{description}");
    }
    let absent = evaluated(&assertion(Header, Exists, "x-cache", ""), "");
    assert_eq!(absent.description, "header x-cache: expected to exist, is missing");
    assert_eq!((absent.passed, absent.actual), (false, None));
}

#[test]
fn numeric_texts_compare_as_numbers_except_with_equals() {
    let body = r#"{"n": 1.0, "big": 9007199254740993, "huge": 123456789012345678901, "s": "10", "t": true, "z": null}"#;
    for (operator, target, value, passed) in [
        (Eq, "n", "1", true),
        (Neq, "n", "1", false),
        (Equals, "n", "1", false),
        (Equals, "n", "1.0", true),
        (Eq, "big", "9007199254740992", false),
        (Eq, "big", "9007199254740993.0", true),
        (Gt, "huge", "123456789012345678900", true),
        (Gt, "s", "9", true),
        (Lt, "t", "1", false),
        (Gte, "z", "0", false),
        (Equals, "t", "true", true),
        (Eq, "z", "null", true),
        (Exists, "z", "", true),
    ] {
        assert_eq!(passes(Json, operator, target, value, body), passed, "{operator:?} {target} {value}");
    }
}

#[test]
fn missing_value_passes_only_negative_operators() {
    for operator in Operator::ALL {
        let holds = matches!(operator, Neq | NotContains | NotExists);
        assert_eq!(passes(Json, operator, "missing", "1", "{}"), holds, "{operator:?}");
        assert_eq!(passes(Header, operator, "missing", "1", "{}"), holds, "{operator:?}");
    }
}

#[test]
fn unreadable_body_fails_every_assertion_with_a_reason() {
    let json = "JSON a: expected not to exist, but the body is not JSON: ";
    for (body, why) in [
        ("<html>", "expected value at line 1 column 1"),
        (" \n", "it is empty"),
        ("{\"a\":1} trailing", "trailing characters at line 1 column 9"),
    ] {
        for operator in Operator::ALL {
            let result = evaluated(&assertion(Json, operator, "a", "1"), body);
            assert!(!result.passed && result.actual.is_none(), "{operator:?}");
            if operator == NotExists {
                assert_eq!(result.description, format!("{json}{why}"));
            }
        }
    }
    let result = evaluated(&assertion(Json, Exists, "a[", ""), "{}");
    assert!(
        !result.passed && result.description.contains("but the path is invalid: at character 3"),
        "{}",
        result.description
    );
    assert!(passes(Json, Eq, "a", "1", "\u{feff}{\"a\":1}"), "a byte order mark is ignored");
    let reached = Observation { outcome: Ok(Answer::Reached), ..answer(200, "") };
    let result = evaluate(0, &assertion(Body, NotExists, "", ""), &reached);
    assert_eq!(
        (result.passed, result.description.as_str()),
        (false, "body: expected not to exist, but there is no HTTP response")
    );
    let result = evaluated(&assertion(Body, Equals, "", ""), "");
    assert_eq!(
        (result.passed, result.description.as_str()),
        (false, "body: expected to equal \"\", but there is nothing to compare with")
    );
}

#[test]
fn body_is_compared_without_surrounding_whitespace() {
    for (operator, value, body, passed) in [
        (Equals, "ok", "ok\r\n", true),
        (Eq, "42", " 42.0\n", true),
        (Neq, "ok", "ok\n", false),
        (Contains, "k\n", "ok\n", true),
        (Contains, "K", "ok", false),
        (Exists, "", " \n", false),
        (NotExists, "", " \n", true),
        (Gte, "41", "42", true),
    ] {
        assert_eq!(passes(Body, operator, "", value, body), passed, "{operator:?} {value:?} {body:?}");
    }
}

/// The observation of a body of which a part was seen.
fn partly_seen(body: crate::check::Body) -> Observation {
    let mut observation = answer(200, "");
    if let Ok(Answer::Http { body: target, .. }) = &mut observation.outcome {
        *target = body;
    }
    observation
}

#[test]
fn partly_seen_body_decides_only_what_the_seen_part_proves() {
    let cut = |kind, operator, value: &str, text: &str| {
        let body = crate::check::Body { is_complete: false, is_searched: false, ..crate::check::Body::whole(text) };
        evaluate(0, &assertion(kind, operator, if kind == Json { "$" } else { "" }, value), &partly_seen(body))
    };
    let (yes, no, unknown) = ((true, false), (false, false), (false, true));
    for (operator, value, body, expected) in [
        (Contains, "err", "an error", yes),
        (Contains, "fatal", "an error", unknown),
        (NotContains, "err", "an error", no),
        (NotContains, "fatal", "an error", unknown),
        (Exists, "", "x", yes),
        (Exists, "", " ", unknown),
        (NotExists, "", "x", no),
        (NotExists, "", "", unknown),
        (Equals, "an", "an", unknown),
        (Equals, "another", "one", no),
        (Eq, "1", "1.00", unknown),
        (Neq, "another", "an", unknown),
        (Neq, "another", "one", yes),
        (Neq, "1", "1.00", unknown),
        (Lt, "20", "1", unknown),
        (Lt, "20", "<html>", no),
    ] {
        let result = cut(Body, operator, value, body);
        assert_eq!((result.passed, result.inconclusive), expected, "{operator:?} {value} {body}");
        let words = format!(", but only the first {} bytes were read, which do not decide it", body.len());
        assert_eq!(result.description.ends_with(&words), expected == unknown, "{}", result.description);
    }
    for operator in Operator::ALL {
        let result = cut(Json, operator, "1", "12");
        assert_eq!((result.passed, result.inconclusive), unknown, "{operator:?}");
    }
    assert_eq!(
        cut(Json, NotExists, "", "12").description,
        "JSON $: expected not to exist, but the body is longer than the 2 bytes that are read as JSON"
    );
    let long = cut(Body, NotContains, "x", &"y".repeat(262_144)).description;
    assert!(long.contains("only the first 262,144 bytes were read") && long.len() < 300, "{long}");
}

#[test]
fn response_of_which_only_the_status_line_was_read_decides_nothing() {
    let fault = Some(crate::check::BodyFault::OnlyStatusLine);
    let observation = partly_seen(crate::check::Body { fault, ..crate::check::Body::default() });
    for kind in [Header, Body, Json] {
        for operator in [Contains, NotContains, Exists, NotExists, Equals] {
            let target = if kind == Json { "$" } else { "x" };
            let result = evaluate(0, &assertion(kind, operator, target, "v"), &observation);
            assert_eq!((result.passed, result.inconclusive), (false, true), "{kind:?} {operator:?}");
        }
    }
    let result = evaluate(0, &assertion(Header, Exists, "x", ""), &observation);
    assert!(result.description.ends_with("but only the status line of the response could be read"), "{result:?}");
}

#[test]
fn text_found_beyond_the_kept_part_counts() {
    let seen = |found: &[&str], is_searched| crate::check::Body {
        text: "the beginning".into(),
        is_complete: false,
        found: found.iter().map(|text| (*text).to_owned()).collect(),
        searched_bytes: 4_194_304,
        is_searched,
        fault: None,
    };
    for (operator, found, is_searched, passed, inconclusive) in [
        (Contains, true, true, true, false),
        (Contains, true, false, true, false),
        (Contains, false, true, false, false),
        (Contains, false, false, false, true),
        (NotContains, true, false, false, false),
        (NotContains, false, true, true, false),
        (NotContains, false, false, false, true),
    ] {
        let body = seen(if found { &["far"] } else { &[] }, is_searched);
        let result = evaluate(0, &assertion(Body, operator, "", "far"), &partly_seen(body));
        assert_eq!((result.passed, result.inconclusive), (passed, inconclusive), "{operator:?} {found} {is_searched}");
        assert_eq!(result.description.contains("the first 4,194,304 bytes"), inconclusive, "{}", result.description);
    }
}

#[test]
fn undecoded_body_is_unknown_by_its_coding_and_a_failure_if_malformed() {
    for (fault, inconclusive, words) in [
        (BodyFault::UnknownCoding("zstd".into()), true, "the body has the content coding zstd, which is not supported"),
        (
            BodyFault::Malformed("gzip".into()),
            false,
            "the body is not valid gzip, which its Content-Encoding announces",
        ),
    ] {
        let body = crate::check::Body { text: "seen".into(), fault: Some(fault), ..crate::check::Body::default() };
        for (kind, operator) in [(Body, Contains), (Body, NotContains), (Body, Equals), (Json, Eq), (Json, NotExists)] {
            let target = if kind == Json { "a" } else { "" };
            let result = evaluate(0, &assertion(kind, operator, target, "seer"), &partly_seen(body.clone()));
            let is_decided = operator == Equals;
            assert!(!result.passed, "{operator:?}");
            assert_eq!(result.inconclusive, inconclusive && !is_decided, "{operator:?}");
            assert!(result.description.ends_with(words), "{}", result.description);
        }
        let result = evaluate(0, &assertion(Body, Contains, "", "see"), &partly_seen(body));
        assert!(result.passed, "what was decoded proves it");
    }
}

#[test]
fn header_names_ignore_case_and_values_are_joined() {
    assert!(passes(Header, Equals, "VARY", "a, b", ""));
    assert!(passes(Header, Exists, "x-empty", "", ""));
    assert!(passes(Header, Gt, "Content-Length", "9", ""));
    assert!(passes(Header, Eq, "content-length", "10.0", ""));
}

#[test]
fn certificate_is_compared_in_whole_days() {
    let mut observation = answer(200, "");
    assert!(evaluate(0, &assertion(Ssl, NotExists, "", ""), &observation).passed);
    assert!(!evaluate(0, &assertion(Ssl, Gt, "", "0"), &observation).passed);
    observation.certificate =
        Some(certificate(Timestamp::from_unix_ms(observation.started_at.unix_ms() + 10 * 86_400_000 - 1)));
    let result = evaluate(3, &assertion(Ssl, Gte, "", "10"), &observation);
    assert_eq!(result.description, "certificate's days left: expected to be at least 10, is 9");
    assert_eq!((result.index, result.passed), (3, false));
    assert!(evaluate(0, &assertion(Ssl, Gt, "", "8.5"), &observation).passed);
}

fn any_assertion() -> impl Strategy<Value = Assertion> {
    let text = "[-0-9.a{}\\[\\]\":, ]{0,6}|\\PC{0,6}";
    (0..5usize, 0..11usize, proptest::option::of(text), proptest::option::of(text)).prop_map(
        |(kind, operator, target, value)| Assertion {
            kind: AssertionKind::ALL[kind],
            operator: Operator::ALL[operator],
            target,
            value,
            severity: crate::check::CheckStatus::Degraded,
        },
    )
}

proptest! {
    #[test]
    fn description_is_bounded_and_printable_for_any_input(
        assertion in any_assertion(), body in "\\PC{0,600}",
        whole: bool, valued: bool
    ) {
        let mut observation = answer(200, "");
        if let Ok(Answer::Http { body: target, headers, .. }) = &mut observation.outcome {
            headers.extend(valued.then(|| (assertion.target.clone().unwrap_or_default(), "é".repeat(500))));
            *target = crate::check::Body { is_complete: whole, is_searched: whole, ..crate::check::Body::whole(body) };
        }
        let result = evaluate(0, &assertion, &observation);
        prop_assert!(result.description.chars().count() < 600, "{}", result.description);
        prop_assert!(result.actual.is_none_or(|actual| actual.chars().count() <= ACTUAL_CHARS_MAX));
        prop_assert!(!result.description.contains(char::is_control));
    }

    #[test]
    fn opposite_operators_disagree_on_readable_values(value in "[0-9.ab]{1,4}", body in "[0-9.ab]{1,4}") {
        for kind in [Body, Header, Json] {
            let document = if kind == Json { format!("{{\"x\":\"{body}\"}}") } else { body.clone() };
            let passes = |operator| {
                let mut observation = answer(200, &document);
                if let Ok(Answer::Http { headers, .. }) = &mut observation.outcome {
                    headers.push(("x".into(), body.clone()));
                }
                let target = if kind == Body { "" } else { "x" };
                evaluate(0, &assertion(kind, operator, target, &value), &observation).passed
            };
            prop_assert_ne!(passes(Eq), passes(Neq));
            prop_assert_ne!(passes(Contains), passes(NotContains));
            prop_assert_ne!(passes(Exists), passes(NotExists));
            prop_assert!(!passes(Equals) || passes(Eq));
            let numbers = Number::parse(&value).is_some() && Number::parse(&body).is_some();
            prop_assert_eq!(passes(Lt) || passes(Gte), numbers);
            prop_assert!(!(passes(Lt) && passes(Gte)));
            prop_assert_eq!(passes(Lte) && passes(Gte), numbers && passes(Eq));
        }
    }

}
