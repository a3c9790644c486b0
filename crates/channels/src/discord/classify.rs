//! What Discord's responses mean.
//!
//! Sources: Discord's developer documentation "Webhook Resource", "Rate Limits" and "Opcodes and Status Codes".

use serde::Deserialize;
use tidings_domain::delivery::Outcome;
use tidings_domain::text::truncate_chars;
use tidings_domain::time::Timestamp;

use crate::attempt::RateSignal;
use crate::egress::HttpResponse;
use crate::http_channel::{self, describe_status};
use crate::retry_after::retry_after_ms;
use crate::{AttemptResult, ErrorClass};

/// Discord's error response.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorBody {
    message: Option<String>,
    code: Option<i64>,
    /// Seconds.
    retry_after: Option<f64>,
}

/// Adds Discord's own error message and the waiting time of its rate limits to the default meaning.
pub(super) fn classify_response(response: &HttpResponse, now: Timestamp) -> AttemptResult {
    let mut result = http_channel::classify_response(response, now);
    if result.is_delivered() || response.status.is_redirection() {
        return result;
    }
    let error: ErrorBody = serde_json::from_slice(&response.body).unwrap_or_default();
    if let Some(message) = &error.message {
        let code = error.code.filter(|code| *code != 0).map(|code| format!(" ({code})")).unwrap_or_default();
        result.error = Some(format!("{}: {}{code}", describe_status(response.status), truncate_chars(message, 200)));
    }
    match response.status.as_u16() {
        // The webhook was removed or lacks a permission, or Discord does not accept this embed.
        400 | 401 | 403 | 404 => {
            result.outcome = Outcome::PermanentFailure;
            result.error_class = Some(ErrorClass::Rejected);
        }
        429 => {
            let in_body = error.retry_after.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
            let in_body = in_body.map(|seconds| (seconds * 1_000.0).ceil() as u64);
            let in_header = retry_after_ms(response, now);
            // Discord sends both; the longer one is safe.
            let after_ms = in_body.max(in_header);
            result.outcome = Outcome::Retry { after_ms };
            result.rate = Some(RateSignal::Refused { after_ms });
        }
        _ => {}
    }
    result
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;

    #[test]
    fn classify_response_by_status_and_body() {
        let unknown = r#"{"message": "Unknown Webhook", "code": 10015}"#;
        let limited = r#"{"message": "You are being rate limited.", "retry_after": 64.571, "global": false}"#;
        let later = |after_ms| Outcome::Retry { after_ms };
        for (status, header, body, outcome, error) in [
            (204, None, "", Outcome::Delivered, None),
            (200, None, "{}", Outcome::Delivered, None),
            (404, None, unknown, Outcome::PermanentFailure, Some("HTTP 404 Not Found: Unknown Webhook (10015)")),
            (401, None, "", Outcome::PermanentFailure, Some("HTTP 401 Unauthorized")),
            (400, None, "{}", Outcome::PermanentFailure, Some("HTTP 400 Bad Request")),
            (
                429,
                Some("65"),
                limited,
                later(Some(65_000)),
                Some("HTTP 429 Too Many Requests: You are being rate limited."),
            ),
            (429, None, limited, later(Some(64_571)), Some("HTTP 429 Too Many Requests: You are being rate limited.")),
            (429, None, r#"{"retry_after": -1}"#, later(None), Some("HTTP 429 Too Many Requests")),
            (502, None, "<html>", later(None), Some("HTTP 502 Bad Gateway")),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(header.map(|value| (http::header::RETRY_AFTER, HeaderValue::from_static(value))));
            let response = HttpResponse { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() };
            let result = classify_response(&response, Timestamp::from_unix_ms(0));
            assert_eq!((result.outcome, result.error.as_deref()), (outcome, error), "{status} {body}");
        }
    }
}
