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

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredAttempt<T> {
    number: u32,
    trigger: T,
    started_ms: i64,
    duration_ms: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_class: Option<T>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<T>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response_body: Option<T>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<T>,
}

/// Encodes an attempt, to be appended to those before it.
pub(super) fn encode(attempt: &Attempt) -> Result<String> {
    to_json(&StoredAttempt {
        number: attempt.number,
        trigger: attempt.trigger.as_str(),
        started_ms: attempt.started_at.unix_ms(),
        duration_ms: attempt.duration_ms,
        http_status: attempt.http_status,
        error_class: attempt.error_class.as_deref(),
        error: attempt.error.as_deref(),
        response_body: attempt.response_body.as_deref(),
        note: attempt.note.as_deref(),
    })
}

/// Decodes the whole column.
pub(super) fn decode_all(text: &str) -> Result<Vec<Attempt>> {
    let stored = serde_json::Deserializer::from_str(text).into_iter::<StoredAttempt<String>>();
    stored
        .map(|stored| {
            let stored = stored.map_err(|error| corrupt("attempts", error.to_string()))?;
            let trigger = AttemptTrigger::parse(&stored.trigger);
            Ok(Attempt {
                number: stored.number,
                trigger: trigger.ok_or_else(|| corrupt("attempt trigger", &stored.trigger))?,
                started_at: Timestamp::from_unix_ms(stored.started_ms),
                duration_ms: stored.duration_ms,
                http_status: stored.http_status,
                error_class: stored.error_class,
                error: stored.error,
                response_body: stored.response_body,
                note: stored.note,
            })
        })
        .collect()
}
