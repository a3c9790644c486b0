//! What a text must be: one of some words, an id, an instant, a word of a class of characters, or a text of some length.

use serde_json::Value;
use tidings_domain::endpoint::{ExpectedStatus, STATUS_RANGE_FORMAT};
use tidings_domain::time::Timestamp;

use super::word::Word;

#[derive(Debug, Default)]
pub(super) struct Text {
    pub(super) words: Vec<String>,
    pub(super) chars_min: usize,
    pub(super) chars_max: Option<usize>,
    /// The prefix of an id.
    pub(super) id_prefix: Option<String>,
    pub(super) is_instant: bool,
    /// A range of status codes.
    pub(super) is_status_range: bool,
    /// The characters that it may consist of, and how many.
    pub(super) word: Option<Word>,
    /// A caller's own id: an integer is taken as its digits.
    pub(super) accepts_integer: bool,
}

impl Text {
    pub(super) fn fault(&self, given: &str) -> Option<String> {
        if !self.words.is_empty() {
            let is_known = self.words.iter().any(|word| word == given);
            return (!is_known).then(|| one_of(self.words.iter().map(String::as_str)));
        }
        if let Some(prefix) = &self.id_prefix {
            let is_id = given.strip_prefix(prefix.as_str()).is_some_and(|digits| {
                digits.len() == 32 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            });
            return (!is_id).then(|| format!("must be an id of the form {prefix}<32 hex digits>"));
        }
        if self.is_instant {
            return Timestamp::parse(given)
                .is_none()
                .then(|| "must be an RFC 3339 timestamp, such as 2026-05-02T04:00:12.345Z".to_owned());
        }
        if self.is_status_range {
            return ExpectedStatus::parse(given)
                .is_none()
                .then(|| "must be a status code, such as 200, or a range, such as \"200-299\"".to_owned());
        }
        if let Some(word) = &self.word {
            return (!word.fits(given)).then(|| word.form());
        }
        match self.chars_max {
            Some(max) if given.chars().nth(max).is_some() => Some(format!("must be at most {max} characters")),
            _ if self.chars_min == 1 && given.is_empty() => Some("must not be empty".to_owned()),
            _ if self.chars_min > 1 && given.chars().nth(self.chars_min - 1).is_none() => {
                Some(format!("must be at least {} characters", self.chars_min))
            }
            _ => None,
        }
    }
}

/// `a, b or c`, for messages.
pub(super) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().collect();
    match words.as_slice() {
        [] => "must be absent".to_owned(),
        [only] => format!("must be {only}"),
        [rest @ .., last] => format!("must be {} or {last}", rest.join(", ")),
    }
}

pub(super) fn bound(schema: &Value, key: &str) -> Option<usize> {
    schema[key].as_u64().and_then(|bound| bound.try_into().ok())
}

pub(super) fn text(schema: &Value, accepts_integer: bool) -> Text {
    let words = schema["enum"].as_array().into_iter().flatten();
    let pattern = schema["pattern"].as_str().unwrap_or_default();
    let id_prefix = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix("[0-9a-f]{32}$"));
    Text {
        words: words.filter_map(|word| word.as_str().map(str::to_owned)).collect(),
        chars_min: bound(schema, "minLength").unwrap_or(0),
        chars_max: bound(schema, "maxLength"),
        id_prefix: id_prefix.map(str::to_owned),
        is_instant: schema["format"] == "date-time",
        is_status_range: schema["format"] == STATUS_RANGE_FORMAT,
        word: Word::parse(pattern),
        accepts_integer,
    }
}
