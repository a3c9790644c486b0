//! What Slack's responses mean, and that only its own words end a delivery.

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
fn webhook_refusals_are_permanent_by_their_word_only() {
    const RETRY: Outcome = Outcome::Retry { after_ms: None };
    for (status, body, outcome, error) in [
        (200, "ok", Outcome::Delivered, None),
        (204, "", Outcome::Delivered, None),
        (400, "invalid_payload", Outcome::PermanentFailure, Some("HTTP 400 Bad Request: invalid_payload")),
        (400, "no_text\n", Outcome::PermanentFailure, Some("HTTP 400 Bad Request: no_text")),
        (403, "invalid_token", Outcome::PermanentFailure, Some("HTTP 403 Forbidden: invalid_token")),
        (404, "no_service", Outcome::PermanentFailure, Some("HTTP 404 Not Found: no_service")),
        (404, "no_team", Outcome::PermanentFailure, Some("HTTP 404 Not Found: no_team")),
        (410, "channel_is_archived", Outcome::PermanentFailure, Some("HTTP 410 Gone: channel_is_archived")),
        (429, "", Outcome::Retry { after_ms: Some(30_000) }, Some("HTTP 429 Too Many Requests")),
        (500, "rollup_error", RETRY, Some("HTTP 500 Internal Server Error: rollup_error")),
        (502, "<html>", RETRY, Some("HTTP 502 Bad Gateway")),
        // Anything on the way can send these.
        (400, "<html><h1>400 Bad Request</h1><center>cloudflare</center></html>", RETRY, Some("HTTP 400 Bad Request")),
        (401, "", RETRY, Some("HTTP 401 Unauthorized")),
        (403, "<!DOCTYPE html><title>Attention Required! | Cloudflare</title>", RETRY, Some("HTTP 403 Forbidden")),
        (403, "error code: 1020", RETRY, Some("HTTP 403 Forbidden")),
        (403, "new_word", RETRY, Some("HTTP 403 Forbidden: new_word")),
        (404, "<html>default backend - no_service</html>", RETRY, Some("HTTP 404 Not Found")),
        (410, "", RETRY, Some("HTTP 410 Gone")),
        (
            503,
            "no_service",
            Outcome::Retry { after_ms: Some(30_000) },
            Some("HTTP 503 Service Unavailable: no_service"),
        ),
    ] {
        let result = classify_webhook_response(&response(status, body), NOW);
        assert_eq!((result.outcome, result.error.as_deref()), (outcome, error), "{status} {body}");
    }
    assert!(matches!(classify_webhook_response(&response(302, "no_service"), NOW).outcome, Outcome::Retry { .. }));
}

#[test]
fn api_responses_are_classified_by_their_word() {
    let cut = format!("{{\n \"ok\": true,\"message\":\"{}", "x".repeat(5_000));
    const LATER: Outcome = Outcome::Retry { after_ms: Some(30_000) };
    for (status, body, outcome) in [
        (200, r#"{"ok":true,"ts":"1.2"}"#, Outcome::Delivered),
        (200, &*cut, Outcome::Delivered),
        (200, r#"{"ok":false,"error":"channel_not_found"}"#, Outcome::PermanentFailure),
        (200, r#"{"ok":false,"error":"token_revoked"}"#, Outcome::PermanentFailure),
        (200, r#"{"ok":false,"error":"invalid_blocks"}"#, Outcome::PermanentFailure),
        (401, r#"{"ok":false,"error":"invalid_auth"}"#, Outcome::PermanentFailure),
        (200, r#"{"ok":false,"error":"ratelimited"}"#, LATER),
        (200, r#"{"ok":false,"error":"a_new_word"}"#, LATER),
        (200, r#"{"ok":false,"error":"org_login_required"}"#, LATER),
        (429, r#"{"ok":false,"error":"ratelimited"}"#, LATER),
        (200, r#"{"ok":false}"#, LATER),
        (200, "<html>", Outcome::Retry { after_ms: None }),
        (200, "", Outcome::Retry { after_ms: None }),
        (200, r#"{"channel":"C1"}"#, Outcome::Retry { after_ms: None }),
        (403, r#"{"ok":true}"#, Outcome::Retry { after_ms: None }),
        (403, "<html>invalid_auth</html>", Outcome::Retry { after_ms: None }),
        (500, r#"{"ok":false,"error":"invalid_auth"}"#, Outcome::Retry { after_ms: None }),
        (503, "", LATER),
    ] {
        let result = classify_api_response(&response(status, body), NOW);
        assert_eq!(result.outcome, outcome, "{status} {body}");
        assert_eq!(result.rate.is_some(), body.contains("ratelimited"), "{status} {body}");
    }
}

#[test]
fn lists_of_words_are_sorted_and_disjoint() {
    assert!(WEBHOOK_GONE.is_sorted() && API_GONE.is_sorted() && CONTENT.is_sorted());
    assert!(!CONTENT.iter().any(|word| WEBHOOK_GONE.contains(word) || API_GONE.contains(word)));
}
