//! Evaluates assertions and describes the result.
//!
//! The rules for the less obvious cases:
//!
//! - A missing value equals nothing and contains nothing: `neq`, `not_contains` and `not_exists` pass, all others fail.
//! - A text that has the form of a number is compared as a number, be it a JSON number, a string or a header; see
//!   [`Number`]. Only `equals` compares spellings.
//! - A body that was cut at the size cap passes only if the part that was read proves the assertion. A text that was not
//!   found may be in the rest, so `not_contains` and `not_exists` never pass. The description states the size read.
//! - A body that cannot be read as JSON fails every JSON assertion, `not_exists` included.

use std::cmp::Ordering;

use super::describe::{ACTUAL_CHARS_MAX, quoted, shortened, single_line};
use super::extract::{Extracted, extract};
use super::number::Number;
use super::{Answer, Assertion, AssertionKind, AssertionResult, Observation, Operator};
use crate::text::with_thousands_separators;

/// Evaluates one assertion. `index` is its position in the definition's list.
pub(super) fn evaluate(index: usize, assertion: &Assertion, observation: &Observation) -> AssertionResult {
    let extracted = match assertion.value {
        None if assertion.operator.needs_value() => {
            Extracted::Unreadable("there is nothing to compare with".to_owned())
        }
        _ => extract(assertion, observation),
    };
    let cut_at = match &observation.outcome {
        Ok(Answer::Http { body, is_complete: false, .. })
            if matches!(assertion.kind, AssertionKind::Body | AssertionKind::Json) =>
        {
            Some(body.len())
        }
        _ => None,
    };
    let passed = match &extracted {
        Extracted::Unreadable(_) => false,
        Extracted::Missing => {
            matches!(assertion.operator, Operator::Neq | Operator::NotContains | Operator::NotExists)
        }
        Extracted::Value { text, .. } if cut_at.is_some() => matches_prefix(assertion, text),
        Extracted::Value { text, .. } => matches(assertion, text),
    };
    let actual = match &extracted {
        Extracted::Value { text, .. } => Some(single_line(text, ACTUAL_CHARS_MAX)),
        _ => None,
    };
    AssertionResult { index, passed, actual, description: describe(assertion, &extracted, cut_at) }
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

/// Whether a prefix of the body proves that the whole body satisfies the assertion.
fn matches_prefix(assertion: &Assertion, prefix: &str) -> bool {
    let value = assertion.value.as_deref().unwrap_or("").trim();
    match assertion.operator {
        Operator::Contains | Operator::Exists => matches(assertion, prefix),
        Operator::Neq => {
            // Unequal for certain only if the value does not start with what was read. A multi-byte character may be cut
            // at the end, and a number may go on with digits that leave it equal (`1` and `1.00`).
            let read = prefix.trim().trim_end_matches(char::REPLACEMENT_CHARACTER);
            let may_be_number = read.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
            !(value.starts_with(read) || may_be_number && Number::parse(value).is_some())
        }
        _ => false,
    }
}

/// Such as `JSON status: expected to equal "ok", is "starting"`.
fn describe(assertion: &Assertion, extracted: &Extracted<'_>, cut_at: Option<usize>) -> String {
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
        Extracted::Unreadable(why) => format!(", but {why}"),
    };
    let cut = match cut_at {
        Some(bytes) => format!("; only the first {} bytes were read", with_thousands_separators(bytes as u64)),
        None => String::new(),
    };
    format!("{subject}: expected {}{actual}{cut}", describe_expectation(assertion))
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
