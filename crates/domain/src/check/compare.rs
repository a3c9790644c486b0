//! Whether an assertion holds of what was seen, and the words for it.
//!
//! The rules where the obvious ones end:
//!
//! - What is not there is not equal to anything and contains nothing: `neq`, `not_contains` and `not_exists` hold of
//!   it, all others fail.
//! - Whatever reads as a number is one, be it a JSON number, a string or a header; see [`Number`]. `equals` compares
//!   spellings.
//! - Of a body that was cut at the cap an assertion holds only if what was read proves it: a text that was found is
//!   there, but one that was not found may stand further on. So `not_contains` and `not_exists` never hold of a cut
//!   body, and the words always say how much was looked at.
//! - What must be read as JSON and cannot be fails every assertion, `not_exists` included.

use std::cmp::Ordering;

use super::look::{Found, look};
use super::number::Number;
use super::words::{ACTUAL_CHARS_MAX, bare, quoted, shown};
use super::{Answer, Assertion, AssertionKind, AssertionResult, Observation, Operator};
use crate::text::with_thousands_separators;

/// What became of the assertion, `index` being its place in the list.
pub(super) fn check(index: usize, assertion: &Assertion, observation: &Observation) -> AssertionResult {
    let found = match assertion.value {
        None if assertion.operator.needs_value() => Found::Unreadable("there is nothing to compare with".to_owned()),
        _ => look(assertion, observation),
    };
    let cut_at = match &observation.outcome {
        Ok(Answer::Http { body, is_whole: false, .. })
            if matches!(assertion.kind, AssertionKind::Body | AssertionKind::Json) =>
        {
            Some(body.len())
        }
        _ => None,
    };
    let passed = match &found {
        Found::Unreadable(_) => false,
        Found::Nothing => {
            matches!(assertion.operator, Operator::Neq | Operator::NotContains | Operator::NotExists)
        }
        Found::Value { text, .. } if cut_at.is_some() => holds_of_beginning(assertion, text),
        Found::Value { text, .. } => holds(assertion, text),
    };
    let actual = match &found {
        Found::Value { text, .. } => Some(shown(text, ACTUAL_CHARS_MAX)),
        _ => None,
    };
    AssertionResult { index, passed, actual, description: describe(assertion, &found, cut_at) }
}

/// Whether the assertion holds of this text. Blank space around a body does not count where all of it is compared.
fn holds(assertion: &Assertion, text: &str) -> bool {
    let value = assertion.value.as_deref().unwrap_or("");
    let is_body = assertion.kind == AssertionKind::Body;
    let (whole, wanted) = if is_body { (text.trim(), value.trim()) } else { (text, value) };
    let numbers = || Some(Number::parse(whole)?.cmp(&Number::parse(wanted)?));
    let equal = || numbers().map_or(whole == wanted, Ordering::is_eq);
    match assertion.operator {
        Operator::Lt => numbers().is_some_and(Ordering::is_lt),
        Operator::Lte => numbers().is_some_and(Ordering::is_le),
        Operator::Gt => numbers().is_some_and(Ordering::is_gt),
        Operator::Gte => numbers().is_some_and(Ordering::is_ge),
        Operator::Eq => equal(),
        Operator::Neq => !equal(),
        Operator::Contains => text.contains(value),
        Operator::NotContains => !text.contains(value),
        Operator::Equals => whole == wanted,
        Operator::Exists => !(is_body && whole.is_empty()),
        Operator::NotExists => is_body && whole.is_empty(),
    }
}

/// Whether this beginning of a body proves that the assertion holds of all of it.
fn holds_of_beginning(assertion: &Assertion, beginning: &str) -> bool {
    let value = assertion.value.as_deref().unwrap_or("").trim();
    match assertion.operator {
        Operator::Contains | Operator::Exists => holds(assertion, beginning),
        Operator::Neq => {
            // The last character may be cut in two, and a number has many spellings, some of them long.
            let read = beginning.trim().trim_end_matches(char::REPLACEMENT_CHARACTER);
            let may_be_number = read.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
            !(value.starts_with(read) || may_be_number && Number::parse(value).is_some())
        }
        _ => false,
    }
}

/// `JSON status: expected to equal "ok", is "starting"`.
fn describe(assertion: &Assertion, found: &Found<'_>, cut_at: Option<usize>) -> String {
    let target = bare(assertion.target.as_deref().unwrap_or(""));
    let subject = match assertion.kind {
        AssertionKind::Latency => "latency".to_owned(),
        AssertionKind::Body => "body".to_owned(),
        AssertionKind::Header => format!("header {target}"),
        AssertionKind::Json => format!("JSON {target}"),
        AssertionKind::Ssl => "certificate's days left".to_owned(),
    };
    let actual = match found {
        Found::Value { text, .. } if text.is_empty() => ", is empty".to_owned(),
        Found::Value { text, is_text: true } => format!(", is {}", quoted(text)),
        Found::Value { text, .. } => format!(", is {}", measured(assertion.kind, text)),
        Found::Nothing => ", is not there".to_owned(),
        Found::Unreadable(why) => format!(", but {why}"),
    };
    let cut = match cut_at {
        Some(bytes) => format!("; only its first {} bytes were looked at", with_thousands_separators(bytes as u64)),
        None => String::new(),
    };
    format!("{subject}: expected {}{actual}{cut}", expectation(assertion))
}

/// The number, with its unit if it is a time.
fn measured(kind: AssertionKind, number: &str) -> String {
    match (kind, number.trim().parse::<u64>()) {
        (AssertionKind::Latency, Ok(ms)) => format!("{} ms", with_thousands_separators(ms)),
        (AssertionKind::Latency, Err(_)) => format!("{} ms", bare(number)),
        _ => bare(number),
    }
}

fn expectation(assertion: &Assertion) -> String {
    let value = assertion.value.as_deref().unwrap_or("");
    let number = || measured(assertion.kind, value);
    let either = || if Number::parse(value).is_some() { number() } else { quoted(value) };
    match assertion.operator {
        Operator::Lt => format!("to be less than {}", number()),
        Operator::Lte => format!("to be at most {}", number()),
        Operator::Gt => format!("to be more than {}", number()),
        Operator::Gte => format!("to be at least {}", number()),
        Operator::Eq => format!("to be {}", either()),
        Operator::Neq => format!("not to be {}", either()),
        Operator::Contains => format!("to contain {}", quoted(value)),
        Operator::NotContains => format!("not to contain {}", quoted(value)),
        Operator::Equals => format!("to equal {}", quoted(value)),
        Operator::Exists => "to be there".to_owned(),
        Operator::NotExists => "not to be there".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::assertion::tests::assertion;
    use crate::check::tests::{answer, certificate};
    use crate::time::Timestamp;
    use AssertionKind::*;
    use Operator::*;
    use proptest::prelude::*;

    fn result(assertion: &Assertion, body: &str) -> AssertionResult {
        check(0, assertion, &answer(200, body))
    }

    fn passes(kind: AssertionKind, operator: Operator, target: &str, value: &str, body: &str) -> bool {
        result(&assertion(kind, operator, target, value), body).passed
    }

    #[test]
    fn words_say_what_was_expected_and_what_is() {
        let body = r#"{"status": "starting", "count": 1.0, "tags": ["a b", "c"], "none": null, "on": true, "x": ""}"#;
        for (kind, operator, target, value, words, actual) in [
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
            (Json, NotExists, "none", "", "JSON none: expected not to be there, is null", "null"),
            (Json, Contains, "x", "y", "JSON x: expected to contain \"y\", is empty", ""),
            (Latency, Lte, "", "50", "latency: expected to be at most 50 ms, is 1,234 ms", "1234"),
            (Latency, Gt, "", "60000", "latency: expected to be more than 60,000 ms, is 1,234 ms", "1234"),
            (Latency, Lt, "", "0.5", "latency: expected to be less than 0.5 ms, is 1,234 ms", "1234"),
            (Header, Eq, "Server", "b", "header Server: expected to be \"b\", is \"nginx\"", "nginx"),
            (Header, Neq, "vary", "a, b", "header vary: expected not to be \"a, b\", is \"a, b\"", "a, b"),
        ] {
            let found = result(&assertion(kind, operator, target, value), body);
            assert_eq!((found.description.as_str(), found.actual.as_deref()), (words, Some(actual)));
            assert!(!found.passed, "{words}");
        }
        let absent = result(&assertion(Header, Exists, "x-cache", ""), "");
        assert_eq!(absent.description, "header x-cache: expected to be there, is not there");
        assert_eq!((absent.passed, absent.actual), (false, None));
    }

    #[test]
    fn numbers_compare_as_numbers_and_equals_compares_spellings() {
        let body =
            r#"{"n": 1.0, "big": 9007199254740993, "huge": 123456789012345678901, "s": "10", "t": true, "z": null}"#;
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
    fn what_is_not_there_equals_nothing() {
        for operator in Operator::ALL {
            let holds = matches!(operator, Neq | NotContains | NotExists);
            assert_eq!(passes(Json, operator, "missing", "1", "{}"), holds, "{operator:?}");
            assert_eq!(passes(Header, operator, "missing", "1", "{}"), holds, "{operator:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_fails_everything_and_says_why() {
        let json = "JSON a: expected not to be there, but the body is no JSON: ";
        for (body, why) in [
            (&b"<html>"[..], "expected value at line 1 column 1"),
            (b" \n", "it is empty"),
            (b"\"\xff\"", "it is not UTF-8"),
            (b"{\"a\":1} trailing", "trailing characters at line 1 column 9"),
        ] {
            for operator in Operator::ALL {
                let mut seen = answer(200, "");
                if let Ok(Answer::Http { body: place, .. }) = &mut seen.outcome {
                    *place = body.to_vec();
                }
                let found = check(0, &assertion(Json, operator, "a", "1"), &seen);
                assert!(!found.passed && found.actual.is_none(), "{operator:?}");
                if operator == NotExists {
                    assert_eq!(found.description, format!("{json}{why}"));
                }
            }
        }
        let found = result(&assertion(Json, Exists, "a[", ""), "{}");
        assert!(
            !found.passed && found.description.contains("but that is no path: at character 3"),
            "{}",
            found.description
        );
        assert!(passes(Json, Eq, "a", "1", "\u{feff}{\"a\":1}"), "a byte order mark is forgiven");
        let reached = Observation { outcome: Ok(Answer::Reached), ..answer(200, "") };
        let found = check(0, &assertion(Body, NotExists, "", ""), &reached);
        assert_eq!(
            (found.passed, found.description.as_str()),
            (false, "body: expected not to be there, but there is no HTTP answer")
        );
        let found = result(&assertion(Body, Equals, "", ""), "");
        assert_eq!(
            (found.passed, found.description.as_str()),
            (false, "body: expected to equal \"\", but there is nothing to compare with")
        );
    }

    #[test]
    fn a_body_is_compared_without_the_blank_space_around_it() {
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

    #[test]
    fn of_a_cut_body_only_what_was_read_counts() {
        let cut = |kind, operator, value: &str, body: &str| {
            let mut seen = answer(200, body);
            if let Ok(Answer::Http { is_whole, .. }) = &mut seen.outcome {
                *is_whole = false;
            }
            check(0, &assertion(kind, operator, if kind == Json { "$" } else { "" }, value), &seen)
        };
        for (operator, value, body, passed) in [
            (Contains, "err", "an error", true),
            (Contains, "fatal", "an error", false),
            (NotContains, "err", "an error", false),
            (NotContains, "fatal", "an error", false),
            (Exists, "", "x", true),
            (NotExists, "", "", false),
            (Equals, "an", "an", false),
            (Neq, "another", "an", false),
            (Neq, "another", "one", true),
            (Neq, "1", "1.00", false),
            (Lt, "20", "1", false),
        ] {
            let found = cut(Body, operator, value, body);
            assert_eq!(found.passed, passed, "{operator:?} {value} {body}");
            let end = format!("; only its first {} bytes were looked at", body.len());
            assert!(found.description.ends_with(&end), "{}", found.description);
        }
        assert_eq!(
            cut(Json, NotExists, "", "12").description,
            "JSON $: expected not to be there, but what was read of the body is no whole JSON; \
             only its first 2 bytes were looked at"
        );
        let long = cut(Body, NotContains, "x", &"y".repeat(262_144)).description;
        assert!(long.ends_with("only its first 262,144 bytes were looked at") && long.len() < 300, "{long}");
    }

    #[test]
    fn headers_ignore_case_and_join_their_values() {
        assert!(passes(Header, Equals, "VARY", "a, b", ""));
        assert!(passes(Header, Exists, "x-empty", "", ""));
        assert!(passes(Header, Gt, "Content-Length", "9", ""));
        assert!(passes(Header, Eq, "content-length", "10.0", ""));
    }

    #[test]
    fn a_certificate_is_counted_in_days() {
        let mut seen = answer(200, "");
        assert!(check(0, &assertion(Ssl, NotExists, "", ""), &seen).passed);
        assert!(!check(0, &assertion(Ssl, Gt, "", "0"), &seen).passed);
        seen.certificate = Some(certificate(Timestamp::from_unix_ms(seen.started_at.unix_ms() + 10 * 86_400_000 - 1)));
        let found = check(3, &assertion(Ssl, Gte, "", "10"), &seen);
        assert_eq!(found.description, "certificate's days left: expected to be at least 10, is 9");
        assert_eq!((found.index, found.passed), (3, false));
        assert!(check(0, &assertion(Ssl, Gt, "", "8.5"), &seen).passed);
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
        fn nothing_seen_makes_it_panic_or_talk_too_long(
            assertion in any_assertion(), body in proptest::collection::vec(any::<u8>(), 0..600),
            whole: bool, valued: bool
        ) {
            let mut seen = answer(200, "");
            if let Ok(Answer::Http { body: place, is_whole, headers, .. }) = &mut seen.outcome {
                headers.extend(valued.then(|| (assertion.target.clone().unwrap_or_default(), "é".repeat(500))));
                (*place, *is_whole) = (body, whole);
            }
            let found = check(0, &assertion, &seen);
            prop_assert!(found.description.chars().count() < 600, "{}", found.description);
            prop_assert!(found.actual.is_none_or(|actual| actual.chars().count() <= ACTUAL_CHARS_MAX));
            prop_assert!(!found.description.contains(char::is_control));
        }

        #[test]
        fn opposites_are_opposite_wherever_something_can_be_read(value in "[0-9.ab]{1,4}", body in "[0-9.ab]{1,4}") {
            for kind in [Body, Header, Json] {
                let document = if kind == Json { format!("{{\"x\":\"{body}\"}}") } else { body.clone() };
                let passes = |operator| {
                    let mut seen = answer(200, &document);
                    if let Ok(Answer::Http { headers, .. }) = &mut seen.outcome {
                        headers.push(("x".into(), body.clone()));
                    }
                    let target = if kind == Body { "" } else { "x" };
                    check(0, &assertion(kind, operator, target, &value), &seen).passed
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
}
