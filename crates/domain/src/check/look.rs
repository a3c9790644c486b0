//! What an assertion looks at, and what it finds there.

use std::borrow::Cow;

use super::json_path::JsonPath;
use super::words::days_left;
use super::{Answer, Assertion, AssertionKind, Observation};

/// What an assertion finds when it looks.
pub(super) enum Found<'a> {
    /// A text, a number or JSON.
    Value {
        /// As text.
        text: Cow<'a, str>,
        /// Whether it stands in quotes where it is quoted.
        is_text: bool,
    },
    /// Nothing.
    Nothing,
    /// What it would have to look at cannot be read, in words.
    Unreadable(String),
}

impl<'a> Found<'a> {
    fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Value { text: text.into(), is_text: true }
    }

    fn number(number: i64) -> Self {
        Self::Value { text: number.to_string().into(), is_text: false }
    }
}

/// What the assertion finds in what was observed.
pub(super) fn look<'a>(assertion: &Assertion, observation: &'a Observation) -> Found<'a> {
    let target = assertion.target.as_deref().unwrap_or("");
    match (assertion.kind, &observation.outcome) {
        (AssertionKind::Latency, _) => Found::number(observation.timings.total_ms.into()),
        (AssertionKind::Ssl, _) => match &observation.certificate {
            Some(certificate) => Found::number(days_left(certificate, observation.started_at)),
            None => Found::Nothing,
        },
        (AssertionKind::Header, Ok(Answer::Http { headers, .. })) => header(headers, target),
        (AssertionKind::Body, Ok(Answer::Http { body, .. })) => Found::text(String::from_utf8_lossy(body)),
        (AssertionKind::Json, Ok(Answer::Http { body, is_whole, .. })) => json(body, *is_whole, target),
        (AssertionKind::Header | AssertionKind::Body | AssertionKind::Json, _) => {
            Found::Unreadable("there is no HTTP answer".to_owned())
        }
    }
}

/// All values of the header, joined as RFC 9110 (5.3) has it.
fn header<'a>(headers: &'a [(String, String)], wanted: &str) -> Found<'a> {
    let mut values =
        headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str());
    match (values.next(), values.next()) {
        (None, _) => Found::Nothing,
        (Some(only), None) => Found::text(only),
        (Some(first), Some(second)) => {
            Found::text([first, second].into_iter().chain(values).collect::<Vec<_>>().join(", "))
        }
    }
}

/// What the path leads to in the body.
fn json<'a>(body: &'a [u8], is_whole: bool, path: &str) -> Found<'a> {
    let path = match JsonPath::parse(path) {
        Ok(path) => path,
        Err(fault) => return Found::Unreadable(format!("that is no path: {fault}")),
    };
    if !is_whole {
        return Found::Unreadable("what was read of the body is no whole JSON".to_owned());
    }
    let Ok(text) = std::str::from_utf8(body) else {
        return Found::Unreadable("the body is no JSON: it is not UTF-8".to_owned());
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Found::Unreadable("the body is no JSON: it is empty".to_owned());
    }
    match path.find(text) {
        Err(fault) => Found::Unreadable(format!("the body is no JSON: {fault}")),
        Ok(None) => Found::Nothing,
        Ok(Some(value)) => match serde_json::from_str::<String>(value) {
            Ok(text) => Found::text(text),
            Err(_) => Found::Value { text: compact(value).into(), is_text: false },
        },
    }
}

/// The JSON without blank space between its tokens.
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
        fn compacting_keeps_the_meaning(text in "[ \\\\\"a\n]{0,12}") {
            let value = serde_json::json!({ "a b": [text, 1, {"c ": null}] });
            let loose = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compact(&loose), value.to_string());
        }
    }
}
