//! Attempts as stored in their delivery's row: a sequence of JSON objects, oldest first.
//!
//! An attempt is written together with the state it leads to, so a table of its own would only cost another page write
//! for every delivery.

use serde::{Deserialize, Serialize};
use tidings_domain::delivery::AttemptTrigger;
use tidings_domain::time::Timestamp;

use super::row::{corrupt, to_json};
use crate::Result;
use crate::queue::Attempt;

/// Blanks in the column of a new delivery, which its first attempt replaces. So the row does not grow when it is
/// settled, and its page need not be split.
pub(super) const PADDING: &str = match std::str::from_utf8(&[b' '; 96]) {
    Ok(blanks) => blanks,
    Err(_) => "",
};
/// By how many bytes the rest of the row shrinks when it is sent with its first attempt: lease and due instant go,
/// other instants and the status code come, and the status is shorter. The attempt may be that much longer than the
/// blanks.
const FREED_BYTES: usize = 3;

/// Encodes the first attempt, padded to the size that was reserved for it.
pub(super) fn encode_first(attempt: &Attempt) -> Result<String> {
    let mut text = encode(attempt)?;
    while text.len() < PADDING.len() + FREED_BYTES {
        text.push(' ');
    }
    Ok(text)
}

/// The keys are short, and the usual trigger is left out, so that an attempt whose response has a header or two still fits
/// into [`PADDING`].
#[derive(Serialize, Deserialize)]
struct StoredAttempt<T> {
    #[serde(rename = "n")]
    number: u32,
    /// `None` for [`AttemptTrigger::Scheduled`].
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    trigger: Option<T>,
    #[serde(rename = "at")]
    started_ms: i64,
    #[serde(rename = "ms")]
    duration_ms: u32,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    error_class: Option<T>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    error: Option<T>,
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    response_headers: Option<T>,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    response_body: Option<T>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    channel_revision: Option<u32>,
    #[serde(rename = "note", default, skip_serializing_if = "Option::is_none")]
    note: Option<T>,
}

/// Encodes an attempt, to be appended to those before it.
pub(super) fn encode(attempt: &Attempt) -> Result<String> {
    to_json(&StoredAttempt {
        number: attempt.number,
        trigger: Some(attempt.trigger).filter(|it| *it != AttemptTrigger::Scheduled).map(AttemptTrigger::as_str),
        started_ms: attempt.started_at.unix_ms(),
        duration_ms: attempt.duration_ms,
        http_status: attempt.http_status,
        error_class: attempt.error_class.as_deref(),
        error: attempt.error.as_deref(),
        response_headers: attempt.response_headers.as_deref(),
        response_body: attempt.response_body.as_deref(),
        channel_revision: attempt.channel_revision,
        note: attempt.note.as_deref(),
    })
}

/// Decodes the whole column.
pub(super) fn decode_all(text: &str) -> Result<Vec<Attempt>> {
    let stored = serde_json::Deserializer::from_str(text).into_iter::<StoredAttempt<String>>();
    stored
        .map(|stored| {
            let stored = stored.map_err(|error| corrupt("attempts", error.to_string()))?;
            let trigger = match &stored.trigger {
                None => AttemptTrigger::Scheduled,
                Some(word) => AttemptTrigger::parse(word).ok_or_else(|| corrupt("attempt trigger", word))?,
            };
            Ok(Attempt {
                number: stored.number,
                trigger,
                started_at: Timestamp::from_unix_ms(stored.started_ms),
                duration_ms: stored.duration_ms,
                http_status: stored.http_status,
                error_class: stored.error_class,
                error: stored.error,
                response_headers: stored.response_headers,
                response_body: stored.response_body,
                channel_revision: stored.channel_revision,
                note: stored.note,
            })
        })
        .collect()
}
