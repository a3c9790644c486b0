//! What Discord's responses mean.
//!
//! A refusal is permanent only if it has a `code` on a list below: Discord is behind Cloudflare, and both answer with 4xx
//! for reasons that pass. Sources: Discord's developer documentation "Opcodes and Status Codes" (JSON error codes),
//! "Webhook Resource" and "Rate Limits".

use http::HeaderMap;
use serde::Deserialize;
use tidings_domain::delivery::Outcome;
use tidings_domain::text::truncate_chars;
use tidings_domain::time::Timestamp;

use crate::attempt::RateSignal;
use crate::egress::HttpResponse;
use crate::http_channel::{self, describe_status};
use crate::retry_after::{retry_after_ms, seconds_to_ms};
use crate::{AttemptResult, ErrorClass};

/// Unknown channel (also the thread that the webhook's URL names); unknown webhook; invalid webhook token; a forum channel's
/// webhook without a thread; a thread's name outside of a forum.
const GONE: [i64; 5] = [10_003, 10_015, 50_027, 220_001, 220_003];

/// Request entity too large; empty message; invalid form body; invalid JSON.
const CONTENT: [i64; 4] = [40_005, 50_006, 50_035, 50_109];

/// Discord's error response.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorBody {
    message: Option<String>,
    code: Option<i64>,
    /// Seconds.
    retry_after: Option<f64>,
}

impl ErrorBody {
    fn parse(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }
}

/// Whether Discord refused the message for its content.
pub(super) fn is_content_refusal(response: &HttpResponse) -> bool {
    response.status.is_client_error()
        && ErrorBody::parse(&response.body).code.is_some_and(|code| CONTENT.contains(&code))
}

/// Adds Discord's own error message and its rate limits to the default meaning.
pub(super) fn classify_response(response: &HttpResponse, now: Timestamp) -> AttemptResult {
    let mut result = http_channel::classify_response(response, now);
    // On any response, successes included.
    result.rate = result.rate.or_else(|| allowance(&response.headers));
    if result.is_delivered() || response.status.is_redirection() {
        return result;
    }
    let error = ErrorBody::parse(&response.body);
    if let Some(message) = &error.message {
        let code = error.code.filter(|code| *code != 0).map(|code| format!(" ({code})")).unwrap_or_default();
        result.error = Some(format!("{}: {}{code}", describe_status(response.status), truncate_chars(message, 200)));
    }
    if response.status.as_u16() == 429 {
        // Discord sends the same time in several places and precisions; the longest one is safe.
        let reset = seconds(&response.headers, "x-ratelimit-reset-after").and_then(seconds_to_ms);
        let after_ms = error.retry_after.and_then(seconds_to_ms).max(retry_after_ms(response, now)).max(reset);
        result.outcome = Outcome::Retry { after_ms };
        result.rate = Some(RateSignal::Refused { after_ms });
    } else if response.status.is_client_error()
        && error.code.is_some_and(|code| GONE.contains(&code) || CONTENT.contains(&code))
    {
        result.outcome = Outcome::PermanentFailure;
        result.error_class = Some(ErrorClass::Rejected);
    }
    result
}

/// The requests that are left until the limit is reset.
fn allowance(headers: &HeaderMap) -> Option<RateSignal> {
    let remaining = headers.get("x-ratelimit-remaining")?.to_str().ok()?.trim().parse().ok()?;
    let reset_after_ms = seconds_to_ms(seconds(headers, "x-ratelimit-reset-after")?)?;
    Some(RateSignal::Allowance { remaining, reset_after_ms })
}

fn seconds(headers: &HeaderMap, name: &str) -> Option<f64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, StatusCode};

    use super::*;

    fn classified(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> AttemptResult {
        let headers = headers.iter();
        let headers = headers.map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let response = HttpResponse {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.collect(),
            body: body.to_owned().into(),
        };
        classify_response(&response, Timestamp::from_unix_ms(0))
    }

    #[test]
    fn refusals_are_permanent_by_their_code_only() {
        const RETRY: Outcome = Outcome::Retry { after_ms: None };
        let unknown = r#"{"message": "Unknown Webhook", "code": 10015}"#;
        let invalid = r#"{"message": "Invalid Form Body", "code": 50035, "errors": {}}"#;
        let html = "<!DOCTYPE html><title>Attention Required! | Cloudflare</title>10015";
        for (status, body, outcome, error) in [
            (204, "", Outcome::Delivered, None),
            (200, "{}", Outcome::Delivered, None),
            (404, unknown, Outcome::PermanentFailure, Some("HTTP 404 Not Found: Unknown Webhook (10015)")),
            (400, invalid, Outcome::PermanentFailure, Some("HTTP 400 Bad Request: Invalid Form Body (50035)")),
            (
                401,
                r#"{"message": "401: Unauthorized", "code": 0}"#,
                RETRY,
                Some("HTTP 401 Unauthorized: 401: Unauthorized"),
            ),
            (403, r#"{"code": 99999}"#, RETRY, Some("HTTP 403 Forbidden")),
            (403, html, RETRY, Some("HTTP 403 Forbidden")),
            (400, "<html><center>cloudflare</center></html>", RETRY, Some("HTTP 400 Bad Request")),
            (404, "", RETRY, Some("HTTP 404 Not Found")),
            (410, "", RETRY, Some("HTTP 410 Gone")),
            (502, unknown, RETRY, Some("HTTP 502 Bad Gateway: Unknown Webhook (10015)")),
        ] {
            let result = classified(status, &[], body);
            assert_eq!((result.outcome, result.error.as_deref()), (outcome, error), "{status} {body}");
        }
    }

    #[test]
    fn rate_limits_pause_for_the_longest_of_the_times() {
        let limited = r#"{"message": "You are being rate limited.", "retry_after": 64.571, "global": false}"#;
        let reset = ("x-ratelimit-reset-after", "0.376");
        for (headers, body, after_ms) in [
            (vec![("retry-after", "65"), reset], limited, Some(65_000)),
            (vec![reset], limited, Some(64_571)),
            (vec![reset], "error code: 1015", Some(376)),
            (vec![("retry-after", "3")], "error code: 1015", Some(3_000)),
            (vec![], r#"{"retry_after": -1}"#, None),
        ] {
            let result = classified(429, &headers, body);
            assert_eq!(result.outcome, Outcome::Retry { after_ms }, "{headers:?} {body}");
            assert_eq!(result.rate, Some(RateSignal::Refused { after_ms }));
        }
        for (status, remaining, expected) in [(204, "0", 0), (200, "4", 4), (404, "1", 1)] {
            let result = classified(status, &[("x-ratelimit-remaining", remaining), reset], "");
            assert_eq!(result.rate, Some(RateSignal::Allowance { remaining: expected, reset_after_ms: 376 }));
        }
        assert_eq!(classified(204, &[("x-ratelimit-remaining", "0")], "").rate, None);
    }
}
