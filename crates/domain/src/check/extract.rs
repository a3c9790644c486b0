//! Reads the value that an assertion is about out of an observation.

use std::borrow::Cow;

use super::describe::days_left;
use super::json_path::JsonPath;
use super::{Answer, Assertion, AssertionKind, Body, BodyFault, Observation};
use crate::text::with_thousands_separators;

/// The value that an assertion is compared with.
pub(super) enum Extracted<'a> {
    /// A text, a number or compact JSON, in text form.
    Value {
        text: Cow<'a, str>,
        /// Whether descriptions put it in quotes.
        is_text: bool,
    },
    /// There is no such header, JSON value or certificate.
    Missing,
    /// The response cannot be read as the assertion requires; the reason is for people.
    Unreadable(String),
    /// The assertion is about what was not seen; the reason is for people.
    Unseen(String),
}

impl<'a> Extracted<'a> {
    fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Value { text: text.into(), is_text: true }
    }

    fn number(number: i64) -> Self {
        Self::Value { text: number.to_string().into(), is_text: false }
    }
}

/// The value that the assertion is about.
pub(super) fn extract<'a>(assertion: &Assertion, observation: &'a Observation) -> Extracted<'a> {
    let target = assertion.target.as_deref().unwrap_or("");
    match (assertion.kind, &observation.outcome) {
        (AssertionKind::Latency, _) => Extracted::number(observation.timings.total_ms.into()),
        (AssertionKind::Ssl, _) => match &observation.certificate {
            Some(certificate) => Extracted::number(days_left(certificate, observation.started_at)),
            None => Extracted::Missing,
        },
        (
            AssertionKind::Header,
            Ok(Answer::Http { body: Body { fault: Some(fault @ BodyFault::OnlyStatusLine), .. }, .. }),
        ) => Extracted::Unseen(describe_fault(fault)),
        (AssertionKind::Header, Ok(Answer::Http { headers, .. })) => header(headers, target),
        (AssertionKind::Body, Ok(Answer::Http { body, .. })) => Extracted::text(body.text.as_str()),
        (AssertionKind::Json, Ok(Answer::Http { body, .. })) => json(body, target),
        (AssertionKind::Header | AssertionKind::Body | AssertionKind::Json, _) => {
            Extracted::Unreadable("there is no HTTP response".to_owned())
        }
    }
}

/// All values of the header, joined by commas (RFC 9110, 5.3).
fn header<'a>(headers: &'a [(String, String)], wanted: &str) -> Extracted<'a> {
    let mut values =
        headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str());
    match (values.next(), values.next()) {
        (None, _) => Extracted::Missing,
        (Some(only), None) => Extracted::text(only),
        (Some(first), Some(second)) => {
            Extracted::text([first, second].into_iter().chain(values).collect::<Vec<_>>().join(", "))
        }
    }
}

/// The value at `path` in the body.
fn json<'a>(body: &'a Body, path: &str) -> Extracted<'a> {
    let path = match JsonPath::parse(path) {
        Ok(path) => path,
        Err(error) => return Extracted::Unreadable(format!("the path is invalid: {error}")),
    };
    match &body.fault {
        Some(fault @ BodyFault::Malformed(_)) => return Extracted::Unreadable(describe_fault(fault)),
        Some(fault @ (BodyFault::UnknownCoding(_) | BodyFault::OnlyStatusLine)) => {
            return Extracted::Unseen(describe_fault(fault));
        }
        None if !body.is_complete => {
            let bytes = with_thousands_separators(body.text.len() as u64);
            return Extracted::Unseen(format!("the body is longer than the {bytes} bytes that are read as JSON"));
        }
        None => {}
    }
    let text = body.text.as_str();
    // Some servers send a byte order mark, which JSON does not allow (RFC 8259, 8.1).
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Extracted::Unreadable("the body is not JSON: it is empty".to_owned());
    }
    match path.find(text) {
        Err(error) => Extracted::Unreadable(format!("the body is not JSON: {error}")),
        Ok(None) => Extracted::Missing,
        Ok(Some(value)) => match serde_json::from_str::<String>(value) {
            Ok(text) => Extracted::text(text),
            Err(_) => Extracted::Value { text: compact(value).into(), is_text: false },
        },
    }
}

/// Why a body could not be decoded, for people.
pub(super) fn describe_fault(fault: &BodyFault) -> String {
    match fault {
        BodyFault::UnknownCoding(coding) => format!("the body has the content coding {coding}, which is not supported"),
        BodyFault::Malformed(coding) => format!("the body is not valid {coding}, which its Content-Encoding announces"),
        BodyFault::OnlyStatusLine => "only the status line of the response could be read".to_owned(),
    }
}

/// The JSON without whitespace between its tokens. `json` must be valid.
fn compact(json: &str) -> String {
    let (mut is_string, mut is_escaped) = (false, false);
    json.chars()
        .filter(|&c| {
            let kept = is_string || !c.is_ascii_whitespace();
            is_string ^= c == '"' && !is_escaped;
            is_escaped = is_string && c == '\\' && !is_escaped;
            kept
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn compact_json_keeps_strings_and_values(text in "[ \\\\\"a\n]{0,12}") {
            let value = serde_json::json!({ "a b": [text, 1, {"c ": null}] });
            let loose = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compact(&loose), value.to_string());
        }
    }
}
