//! What Discord's answers mean.
//!
//! Sources: Discord's developer documents "Webhook Resource", "Rate Limits" and "Opcodes and Status Codes".

use serde::Deserialize;
use tidings_domain::delivery::Outcome;
use tidings_domain::text::truncate_chars;
use tidings_domain::time::Timestamp;

use crate::egress::HttpAnswer;
use crate::http_channel::{self, describe_status};
use crate::{AttemptResult, ErrorClass};

/// The body of an error.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Problem {
    message: Option<String>,
    code: Option<i64>,
    /// Seconds.
    retry_after: Option<f64>,
}

pub(super) fn classify_response(answer: &HttpAnswer, now: Timestamp) -> AttemptResult {
    let mut report = http_channel::classify_response(answer, now);
    if report.is_delivered() || answer.status.is_redirection() {
        return report;
    }
    let problem: Problem = serde_json::from_slice(&answer.body).unwrap_or_default();
    if let Some(message) = &problem.message {
        let code = problem.code.filter(|code| *code != 0).map(|code| format!(" ({code})")).unwrap_or_default();
        report.error = Some(format!("{}: {}{code}", describe_status(answer.status), truncate_chars(message, 200)));
    }
    match answer.status.as_u16() {
        // Removed, without a right, or an embed that Discord will never take.
        400 | 401 | 403 | 404 => {
            report.outcome = Outcome::Dead;
            report.error_class = Some(ErrorClass::Rejected);
        }
        429 => {
            let in_body = problem.retry_after.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
            let in_body = in_body.map(|seconds| (seconds * 1_000.0).ceil() as u64);
            let in_header = http_channel::retry_after_ms(answer, now);
            report.outcome = Outcome::Retry { after_ms: in_body.max(in_header) };
        }
        _ => {}
    }
    report
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;

    #[test]
    fn what_discord_says() {
        let unknown = r#"{"message": "Unknown Webhook", "code": 10015}"#;
        let limited = r#"{"message": "You are being rate limited.", "retry_after": 64.571, "global": false}"#;
        let later = |after_ms| Outcome::Retry { after_ms };
        for (status, header, body, outcome, error) in [
            (204, None, "", Outcome::Delivered, None),
            (200, None, "{}", Outcome::Delivered, None),
            (404, None, unknown, Outcome::Dead, Some("HTTP 404 Not Found: Unknown Webhook (10015)")),
            (401, None, "", Outcome::Dead, Some("HTTP 401 Unauthorized")),
            (400, None, "{}", Outcome::Dead, Some("HTTP 400 Bad Request")),
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
            let answer = HttpAnswer { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() };
            let report = classify_response(&answer, Timestamp::from_unix_ms(0));
            assert_eq!((report.outcome, report.error.as_deref()), (outcome, error), "{status} {body}");
        }
    }
}
