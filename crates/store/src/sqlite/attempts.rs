//! Attempts as they lie in their delivery's row: JSON objects one after the other, the oldest first.
//!
//! They are written with the state that they lead to and read with it, so a table of their own would only cost another
//! place to write to for every delivery.

use serde::{Deserialize, Serialize};
use tidings_domain::delivery::AttemptTrigger;
use tidings_domain::time::Timestamp;

use super::row::{corrupt, to_json};
use crate::Result;
use crate::queue::Attempt;

/// Blanks that a new delivery keeps where its first attempt will stand: settled in place, its row does not grow, and the
/// page that it lies on need not be split.
pub(super) const ROOM: &str = match std::str::from_utf8(&[b' '; 96]) {
    Ok(blanks) => blanks,
    Err(_) => "",
};
/// What a row loses by being sent at its first attempt (the lease and the due instant go, other instants and the status
/// code come, the status's word is shorter), in bytes: so much longer may the attempt be.
const FREED_BYTES: usize = 3;

/// The first attempt, to be put where the blanks are.
pub(super) fn first_to_text(attempt: &Attempt) -> Result<String> {
    let mut text = to_text(attempt)?;
    while text.len() < ROOM.len() + FREED_BYTES {
        text.push(' ');
    }
    Ok(text)
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept<T> {
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
}

/// One attempt, to be put behind those before it.
pub(super) fn to_text(attempt: &Attempt) -> Result<String> {
    to_json(&Kept {
        number: attempt.number,
        trigger: attempt.trigger.as_str(),
        started_ms: attempt.started_at.unix_ms(),
        duration_ms: attempt.duration_ms,
        http_status: attempt.http_status,
        error_class: attempt.error_class.as_deref(),
        error: attempt.error.as_deref(),
        response_body: attempt.response_body.as_deref(),
    })
}

/// All of them.
pub(super) fn from_text(text: &str) -> Result<Vec<Attempt>> {
    let kept = serde_json::Deserializer::from_str(text).into_iter::<Kept<String>>();
    kept.map(|kept| {
        let kept = kept.map_err(|error| corrupt("attempts", error.to_string()))?;
        Ok(Attempt {
            number: kept.number,
            trigger: AttemptTrigger::parse(&kept.trigger).ok_or_else(|| corrupt("attempt trigger", &kept.trigger))?,
            started_at: Timestamp::from_unix_ms(kept.started_ms),
            duration_ms: kept.duration_ms,
            http_status: kept.http_status,
            error_class: kept.error_class,
            error: kept.error,
            response_body: kept.response_body,
        })
    })
    .collect()
}
