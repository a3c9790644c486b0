//! What Slack's responses mean.
//!
//! Sources: Slack's documentation "Sending messages using incoming webhooks" (errors), `chat.postMessage` (errors) and
//! "Rate limits".

use serde::Deserialize;
use tidings_domain::delivery::Outcome;
use tidings_domain::time::Timestamp;

use super::thread::ThreadRef;
use crate::egress::HttpResponse;
use crate::http_channel::{self, describe_status, excerpt};
use crate::retry_after::retry_after;
use crate::{AttemptResult, ErrorClass};

/// Errors of the Web API that a retry does not fix.
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

/// The response of an incoming webhook: `ok`, or a status with an error code such as `no_service` as its body.
pub(super) fn classify_webhook_response(response: &HttpResponse, now: Timestamp) -> AttemptResult {
    let mut result = http_channel::classify_response(response, now);
    if result.is_delivered() || response.status.is_redirection() {
        return result;
    }
    if let Some(code) = error_code(&response.body) {
        result.error = Some(format!("{}: {code}", describe_status(response.status)));
    }
    // The webhook was revoked or removed, the channel is archived, or Slack does not accept this payload.
    if matches!(response.status.as_u16(), 400 | 401 | 403 | 404 | 410) {
        result.outcome = Outcome::PermanentFailure;
        result.error_class = Some(ErrorClass::Rejected);
    }
    result
}

#[derive(Deserialize)]
struct ApiResponse {
    ok: bool,
    error: Option<String>,
}

/// The response of the Web API, which sends errors with status 200 in the body.
pub(super) fn classify_api_response(response: &HttpResponse, now: Timestamp) -> AttemptResult {
    if !response.status.is_success() {
        return http_channel::classify_response(response, now);
    }
    let status = Some(response.status.as_u16());
    let mut result = match serde_json::from_slice::<ApiResponse>(&response.body) {
        Ok(ApiResponse { ok: true, .. }) => return delivered(response),
        // A success echoes the whole message, so the kept body may be cut and no longer parse.
        Err(_) if response.body.starts_with(br#"{"ok":true"#) => return delivered(response),
        Ok(ApiResponse { error, .. }) => {
            let error = error.unwrap_or_else(|| "unknown_error".into());
            let error_text = format!("Slack returned an error: {}", tidings_domain::text::truncate_chars(&error, 100));
            if PERMANENT.contains(&error.as_str()) {
                AttemptResult::permanent_failure(ErrorClass::Rejected, error_text)
            } else {
                let mut result = AttemptResult::retry(ErrorClass::Status, error_text);
                result.outcome = Outcome::Retry { after_ms: retry_after(&response.headers, now) };
                result
            }
        }
        Err(_) => AttemptResult::retry(ErrorClass::Protocol, "the response is not from Slack's Web API"),
    };
    result.http_status = status;
    result.response_body = excerpt(&response.body);
    result
}

/// Delivered. The thread is left for later messages about the same incident.
fn delivered(response: &HttpResponse) -> AttemptResult {
    let attempt_state = ThreadRef::from_response(&response.body).and_then(|thread| thread.to_state());
    AttemptResult { attempt_state, ..AttemptResult::delivered(Some(response.status.as_u16()), excerpt(&response.body)) }
}

/// The body, if it is one of Slack's short error codes (and not, for example, a proxy's HTML page).
fn error_code(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let short = !text.is_empty() && text.len() <= 64;
    (short && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b' ')).then_some(text)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(0);

    fn response(status: u16, body: &str) -> HttpResponse {
        HttpResponse {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from_static("30"))]),
            body: body.into(),
        }
    }

    #[test]
    fn classify_webhook_response_by_status() {
        for (status, body, outcome, error) in [
            (200, "ok", Outcome::Delivered, None),
            (400, "invalid_payload", Outcome::PermanentFailure, Some("HTTP 400 Bad Request: invalid_payload")),
            (403, "invalid_token", Outcome::PermanentFailure, Some("HTTP 403 Forbidden: invalid_token")),
            (404, "no_service", Outcome::PermanentFailure, Some("HTTP 404 Not Found: no_service")),
            (410, "channel_is_archived", Outcome::PermanentFailure, Some("HTTP 410 Gone: channel_is_archived")),
            (429, "", Outcome::Retry { after_ms: Some(30_000) }, Some("HTTP 429 Too Many Requests")),
            (
                500,
                "rollup_error",
                Outcome::Retry { after_ms: None },
                Some("HTTP 500 Internal Server Error: rollup_error"),
            ),
            (502, "<html>", Outcome::Retry { after_ms: None }, Some("HTTP 502 Bad Gateway")),
        ] {
            let result = classify_webhook_response(&response(status, body), NOW);
            assert_eq!((result.outcome, result.error.as_deref()), (outcome, error), "{status} {body}");
        }
    }

    #[test]
    fn classify_api_response_by_body() {
        let cut = format!("{{\"ok\":true,\"message\":\"{}", "x".repeat(5_000));
        for (status, body, outcome) in [
            (200, r#"{"ok":true,"ts":"1.2"}"#, Outcome::Delivered),
            (200, &*cut, Outcome::Delivered),
            (200, r#"{"ok":false,"error":"channel_not_found"}"#, Outcome::PermanentFailure),
            (200, r#"{"ok":false,"error":"token_revoked"}"#, Outcome::PermanentFailure),
            (200, r#"{"ok":false,"error":"ratelimited"}"#, Outcome::Retry { after_ms: Some(30_000) }),
            (429, r#"{"ok":false,"error":"ratelimited"}"#, Outcome::Retry { after_ms: Some(30_000) }),
            (200, r#"{"ok":false}"#, Outcome::Retry { after_ms: Some(30_000) }),
            (200, "<html>", Outcome::Retry { after_ms: None }),
            (503, "", Outcome::Retry { after_ms: Some(30_000) }),
        ] {
            assert_eq!(classify_api_response(&response(status, body), NOW).outcome, outcome, "{status} {body}");
        }
    }

    #[test]
    fn permanent_errors_are_sorted() {
        assert!(PERMANENT.is_sorted());
    }
}
