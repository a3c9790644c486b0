//! Evaluates assertions and describes the result.
//!
//! The rules for the less obvious cases:
//!
//! - A missing value equals nothing and contains nothing: `neq`, `not_contains` and `not_exists` pass, all others fail.
//! - A text that has the form of a number is compared as a number, be it a JSON number, a string or a header; see
//!   [`Number`]. Only `equals` compares spellings.
//! - What was not seen is never a failure. A body that is longer than the caps fails or passes an assertion only by what
//!   the part that was seen proves; else the result is inconclusive, and the description states the size seen. A text
//!   that was not found may be in the rest.
//! - A body that cannot be read as JSON fails every JSON assertion, `not_exists` included. So does one that is not what its
//!   content coding announces.

use std::cmp::Ordering;

use super::describe::{ACTUAL_CHARS_MAX, quoted, shortened, single_line};
use super::extract::{Extracted, describe_fault, extract};
use super::number::Number;
use super::{Answer, Assertion, AssertionKind, AssertionResult, Body, BodyFault, Observation, Operator};
use crate::text::with_thousands_separators;

/// What an assertion comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    /// What was seen does not decide it.
    Inconclusive,
}

impl Outcome {
    const fn of(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }
}

/// Evaluates one assertion. `index` is its position in the definition's list.
pub(super) fn evaluate(index: usize, assertion: &Assertion, observation: &Observation) -> AssertionResult {
    let extracted = match assertion.value {
        None if assertion.operator.needs_value() => {
            Extracted::Unreadable("there is nothing to compare with".to_owned())
        }
        _ => extract(assertion, observation),
    };
    let body = match &observation.outcome {
        Ok(Answer::Http { body, .. }) if assertion.kind == AssertionKind::Body => Some(body),
        _ => None,
    };
    let outcome = match (&extracted, body) {
        (Extracted::Unreadable(_), _) => Outcome::Failed,
        (Extracted::Unseen(_), _) => Outcome::Inconclusive,
        (Extracted::Missing, _) => {
            let is_negative = matches!(assertion.operator, Operator::Neq | Operator::NotContains | Operator::NotExists);
            Outcome::of(is_negative)
        }
        (Extracted::Value { text, .. }, None) => Outcome::of(matches(assertion, text)),
        (Extracted::Value { .. }, Some(body)) => compare_body(assertion, body),
    };
    let actual = match &extracted {
        Extracted::Value { text, .. } => Some(single_line(text, ACTUAL_CHARS_MAX)),
        _ => None,
    };
    let unseen = body.filter(|body| !body.is_complete && outcome != Outcome::Passed);
    AssertionResult {
        index,
        passed: outcome == Outcome::Passed,
        inconclusive: outcome == Outcome::Inconclusive,
        actual,
        description: describe(assertion, &extracted, outcome, unseen),
    }
}

/// Compares a body of which perhaps only a part was seen.
fn compare_body(assertion: &Assertion, body: &Body) -> Outcome {
    let value = assertion.value.as_deref().unwrap_or("");
    let decided = match assertion.operator {
        Operator::Contains if body.contains(value) => Some(true),
        Operator::NotContains if body.contains(value) => Some(false),
        Operator::Contains => body.is_searched.then_some(false),
        Operator::NotContains => body.is_searched.then_some(true),
        _ if body.is_complete => Some(matches(assertion, &body.text)),
        _ => matches_prefix(assertion, &body.text),
    };
    match (decided, &body.fault) {
        (Some(passed), _) => Outcome::of(passed),
        (None, Some(BodyFault::Malformed(_))) => Outcome::Failed,
        (None, _) => Outcome::Inconclusive,
    }
}

/// Whether the text satisfies the assertion. Whitespace around a body is ignored where all of it is compared.
fn matches(assertion: &Assertion, text: &str) -> bool {
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

/// Whether the whole body satisfies the assertion, if a prefix of it proves that.
fn matches_prefix(assertion: &Assertion, prefix: &str) -> Option<bool> {
    let value = assertion.value.as_deref().unwrap_or("").trim();
    // Unequal for certain only if the value does not start with what was read. A number may go on with digits that leave
    // it equal (`1` and `1.00`).
    let read = prefix.trim();
    let may_be_number = read.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    let is_unequal = !(value.starts_with(read) || may_be_number && Number::parse(value).is_some());
    match assertion.operator {
        Operator::Exists => (!read.is_empty()).then_some(true),
        Operator::NotExists => (!read.is_empty()).then_some(false),
        Operator::Neq => is_unequal.then_some(true),
        Operator::Eq | Operator::Equals => is_unequal.then_some(false),
        Operator::Lt | Operator::Lte | Operator::Gt | Operator::Gte => (!may_be_number).then_some(false),
        // Decided by the search.
        Operator::Contains | Operator::NotContains => None,
    }
}

/// Such as `JSON status: expected to equal "ok", is "starting"`.
fn describe(assertion: &Assertion, extracted: &Extracted<'_>, outcome: Outcome, unseen: Option<&Body>) -> String {
    let target = shortened(assertion.target.as_deref().unwrap_or(""));
    let subject = match assertion.kind {
        AssertionKind::Latency => "latency".to_owned(),
        AssertionKind::Body => "body".to_owned(),
        AssertionKind::Header => format!("header {target}"),
        AssertionKind::Json => format!("JSON {target}"),
        AssertionKind::Ssl => "certificate's days left".to_owned(),
    };
    let actual = match extracted {
        Extracted::Value { text, .. } if text.is_empty() => ", is empty".to_owned(),
        Extracted::Value { text, is_text: true } => format!(", is {}", quoted(text)),
        Extracted::Value { text, .. } => format!(", is {}", format_number(assertion.kind, text)),
        Extracted::Missing => ", is missing".to_owned(),
        Extracted::Unreadable(why) | Extracted::Unseen(why) => format!(", but {why}"),
    };
    let expectation = format!("{subject}: expected {}", describe_expectation(assertion));
    match unseen {
        Some(Body { fault: Some(fault), .. }) => format!("{expectation}, but {}", describe_fault(fault)),
        Some(body) if outcome == Outcome::Inconclusive => {
            let seen = with_thousands_separators(body.searched_bytes.max(body.text.len() as u64));
            format!("{expectation}, but only the first {seen} bytes were read, which do not decide it")
        }
        _ => format!("{expectation}{actual}"),
    }
}

/// The number, with its unit if it is a duration.
fn format_number(kind: AssertionKind, number: &str) -> String {
    match (kind, number.trim().parse::<u64>()) {
        (AssertionKind::Latency, Ok(ms)) => format!("{} ms", with_thousands_separators(ms)),
        (AssertionKind::Latency, Err(_)) => format!("{} ms", shortened(number)),
        _ => shortened(number),
    }
}

fn describe_expectation(assertion: &Assertion) -> String {
    let value = assertion.value.as_deref().unwrap_or("");
    let number = || format_number(assertion.kind, value);
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
        Operator::Exists => "to exist".to_owned(),
        Operator::NotExists => "not to exist".to_owned(),
    }
}

#[cfg(test)]
mod tests;
