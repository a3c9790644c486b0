//! What Slack's answers mean.
//!
//! Sources: Slack's documents "Sending messages using incoming webhooks" (errors), `chat.postMessage` (errors) and
//! "Rate limits".

use serde::Deserialize;
use tidings_domain::delivery::Outcome;
use tidings_domain::time::Timestamp;

use super::thread::Place;
use crate::egress::HttpAnswer;
use crate::http_channel::{self, describe_status, excerpt, retry_after};
use crate::{AttemptResult, ErrorClass};

/// Errors of the Web API that no later try mends.
const PERMANENT: [&str; 31] = [
    "access_denied",
    "account_inactive",
    "as_user_not_supported",
    "channel_not_found",
    "channel_type_not_supported",
    "deprecated_endpoint",
    "ekm_access_denied",
    "enterprise_is_restricted",
    "invalid_arguments",
    "invalid_auth",
    "invalid_blocks",
    "invalid_blocks_format",
    "is_archived",
    "is_inactive",
    "messages_tab_disabled",
    "method_deprecated",
    "missing_scope",
    "msg_blocks_too_long",
    "msg_too_long",
    "no_permission",
    "no_text",
    "not_allowed_token_type",
    "not_authed",
    "not_in_channel",
    "org_login_required",
    "restricted_action",
    "restricted_action_read_only_channel",
    "team_access_not_granted",
    "token_expired",
    "token_revoked",
    "two_factor_setup_required",
];

/// The answer of an incoming webhook: `ok`, or a status and a word such as `no_service`.
pub(super) fn incoming(answer: &HttpAnswer, now: Timestamp) -> AttemptResult {
    let mut report = http_channel::classify_response(answer, now);
    if report.is_delivered() || answer.status.is_redirection() {
        return report;
    }
    if let Some(word) = word(&answer.body) {
        report.error = Some(format!("{}: {word}", describe_status(answer.status)));
    }
    // Revoked, removed, archived, or a message that Slack will never take.
    if matches!(answer.status.as_u16(), 400 | 401 | 403 | 404 | 410) {
        report.outcome = Outcome::Dead;
        report.error_class = Some(ErrorClass::Rejected);
    }
    report
}

#[derive(Deserialize)]
struct ApiAnswer {
    ok: bool,
    error: Option<String>,
}

/// The answer of the Web API: 200 also for errors, which stand in the body.
pub(super) fn api(answer: &HttpAnswer, now: Timestamp) -> AttemptResult {
    if !answer.status.is_success() {
        return http_channel::classify_response(answer, now);
    }
    let status = Some(answer.status.as_u16());
    let mut report = match serde_json::from_slice::<ApiAnswer>(&answer.body) {
        Ok(ApiAnswer { ok: true, .. }) => return taken(answer),
        // A success says the whole message back, which may be more than is kept.
        Err(_) if answer.body.starts_with(br#"{"ok":true"#) => return taken(answer),
        Ok(ApiAnswer { error, .. }) => {
            let error = error.unwrap_or_else(|| "unknown_error".into());
            let words = format!("Slack refused: {}", tidings_domain::text::truncate_chars(&error, 100));
            if PERMANENT.contains(&error.as_str()) {
                AttemptResult::permanent_failure(ErrorClass::Rejected, words)
            } else {
                let mut report = AttemptResult::retry(ErrorClass::Status, words);
                report.outcome = Outcome::Retry { after_ms: retry_after(&answer.headers, now) };
                report
            }
        }
        Err(_) => AttemptResult::retry(ErrorClass::Protocol, "what answered is not Slack's Web API"),
    };
    report.http_status = status;
    report.response_body = excerpt(&answer.body);
    report
}

/// It was taken; where it stands is left for what comes later of the same incident.
fn taken(answer: &HttpAnswer) -> AttemptResult {
    let attempt_state = Place::of_answer(&answer.body).and_then(|place| place.left());
    AttemptResult { attempt_state, ..AttemptResult::delivered(Some(answer.status.as_u16()), excerpt(&answer.body)) }
}

/// The body, if it is one of Slack's short words.
fn word(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let short = !text.is_empty() && text.len() <= 64;
    (short && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b' ')).then_some(text)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(0);

    fn answer(status: u16, body: &str) -> HttpAnswer {
        HttpAnswer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from_static("30"))]),
            body: body.into(),
        }
    }

    #[test]
    fn incoming_webhooks() {
        for (status, body, outcome, error) in [
            (200, "ok", Outcome::Delivered, None),
            (400, "invalid_payload", Outcome::Dead, Some("HTTP 400 Bad Request: invalid_payload")),
            (403, "invalid_token", Outcome::Dead, Some("HTTP 403 Forbidden: invalid_token")),
            (404, "no_service", Outcome::Dead, Some("HTTP 404 Not Found: no_service")),
            (410, "channel_is_archived", Outcome::Dead, Some("HTTP 410 Gone: channel_is_archived")),
            (429, "", Outcome::Retry { after_ms: Some(30_000) }, Some("HTTP 429 Too Many Requests")),
            (
                500,
                "rollup_error",
                Outcome::Retry { after_ms: None },
                Some("HTTP 500 Internal Server Error: rollup_error"),
            ),
            (502, "<html>", Outcome::Retry { after_ms: None }, Some("HTTP 502 Bad Gateway")),
        ] {
            let report = incoming(&answer(status, body), NOW);
            assert_eq!((report.outcome, report.error.as_deref()), (outcome, error), "{status} {body}");
        }
    }

    #[test]
    fn the_web_api() {
        let cut = format!("{{\"ok\":true,\"message\":\"{}", "x".repeat(5_000));
        for (status, body, outcome) in [
            (200, r#"{"ok":true,"ts":"1.2"}"#, Outcome::Delivered),
            (200, &*cut, Outcome::Delivered),
            (200, r#"{"ok":false,"error":"channel_not_found"}"#, Outcome::Dead),
            (200, r#"{"ok":false,"error":"token_revoked"}"#, Outcome::Dead),
            (200, r#"{"ok":false,"error":"ratelimited"}"#, Outcome::Retry { after_ms: Some(30_000) }),
            (429, r#"{"ok":false,"error":"ratelimited"}"#, Outcome::Retry { after_ms: Some(30_000) }),
            (200, r#"{"ok":false}"#, Outcome::Retry { after_ms: Some(30_000) }),
            (200, "<html>", Outcome::Retry { after_ms: None }),
            (503, "", Outcome::Retry { after_ms: Some(30_000) }),
        ] {
            assert_eq!(api(&answer(status, body), NOW).outcome, outcome, "{status} {body}");
        }
    }

    #[test]
    fn the_list_of_permanent_errors_is_in_order() {
        assert!(PERMANENT.is_sorted());
    }
}
