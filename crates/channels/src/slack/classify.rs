//! What Slack's responses mean.
//!
//! A refusal is permanent only if its word is on a list below: anything between here and Slack can answer with any status
//! and any page. The words are those that Slack documents: "Sending messages using incoming webhooks", section "Handling
//! errors", and the changelog of 17 May 2016, "Changes to errors for incoming webhooks"; for the Web API the errors of
//! `chat.postMessage`. Temporary ones among them are retried: `org_login_required`, `team_added_to_org`,
//! `ekm_access_denied`, `ratelimited`, `fatal_error`, …

use serde::Deserialize;
use tidings_domain::delivery::Outcome;
use tidings_domain::text::truncate_chars;
use tidings_domain::time::Timestamp;

use super::thread::ThreadRef;
use crate::attempt::RateSignal;
use crate::egress::HttpResponse;
use crate::http_channel::{self, describe_status, excerpt};
use crate::retry_after::retry_after;
use crate::{AttemptResult, ErrorClass};

/// Incoming webhooks: the webhook, its channel or its workspace is gone or does not allow the message.
const WEBHOOK_GONE: [&str; 12] = [
    "action_prohibited",
    "channel_is_archived",
    "channel_not_found",
    "invalid_token",
    "no_active_hooks",
    "no_service",
    "no_service_id",
    "no_team",
    "posting_to_general_channel_denied",
    "team_disabled",
    "token_revoked",
    "user_not_found",
];

/// The Web API: the token or the channel cannot be used.
const API_GONE: [&str; 26] = [
    "access_denied",
    "account_inactive",
    "channel_not_found",
    "channel_type_not_supported",
    "deprecated_endpoint",
    "enterprise_is_restricted",
    "invalid_auth",
    "is_archived",
    "is_inactive",
    "messages_tab_disabled",
    "method_deprecated",
    "missing_scope",
    "no_permission",
    "not_allowed_token_type",
    "not_authed",
    "not_in_channel",
    "restricted_action",
    "restricted_action_non_threadable_channel",
    "restricted_action_read_only_channel",
    "restricted_action_thread_only_channel",
    "team_access_not_granted",
    "thread_not_found",
    "token_expired",
    "token_revoked",
    "two_factor_setup_required",
    "user_not_found",
];

/// Both: the message's form or content is not accepted.
const CONTENT: [&str; 15] = [
    "attachment_payload_limit_exceeded",
    "invalid_arg_name",
    "invalid_arguments",
    "invalid_attachments",
    "invalid_blocks",
    "invalid_blocks_format",
    "invalid_json",
    "invalid_metadata_format",
    "invalid_payload",
    "metadata_too_large",
    "missing_text_or_fallback_or_attachments",
    "msg_blocks_too_long",
    "msg_too_long",
    "no_text",
    "too_many_attachments",
];

/// A permanent refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Of the channel, the webhook or the token.
    Gone,
    /// Of this message.
    Content,
}

fn refusal(word: &str, gone: &[&str]) -> Option<Refusal> {
    if gone.contains(&word) {
        Some(Refusal::Gone)
    } else if CONTENT.contains(&word) {
        Some(Refusal::Content)
    } else {
        None
    }
}

/// The refusal in a response of an incoming webhook: a status and the word as the whole body.
pub(super) fn webhook_refusal(response: &HttpResponse) -> Option<Refusal> {
    let word = std::str::from_utf8(&response.body).ok()?.trim();
    refusal(word, &WEBHOOK_GONE).filter(|_| response.status.is_client_error())
}

/// The refusal in a response of the Web API: JSON, with status 200 as a rule.
pub(super) fn api_refusal(response: &HttpResponse) -> Option<Refusal> {
    let answer = ApiResponse::parse(&response.body).filter(|answer| !answer.ok)?;
    refusal(answer.error.as_deref()?, &API_GONE)
        .filter(|_| response.status.is_success() || response.status.is_client_error())
}

/// The response of an incoming webhook: `ok`, or a status with an error word such as `no_service` as its body.
pub(super) fn classify_webhook_response(response: &HttpResponse, now: Timestamp) -> AttemptResult {
    let mut result = http_channel::classify_response(response, now);
    if result.is_delivered() || response.status.is_redirection() {
        return result;
    }
    if let Some(word) = error_word(&response.body) {
        result.error = Some(format!("{}: {word}", describe_status(response.status)));
    }
    if webhook_refusal(response).is_some() {
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

impl ApiResponse {
    fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

/// The response of the Web API, which sends errors with status 200 in the body.
pub(super) fn classify_api_response(response: &HttpResponse, now: Timestamp) -> AttemptResult {
    let answer = ApiResponse::parse(&response.body);
    let is_success = response.status.is_success();
    let mut result = match &answer {
        Some(ApiResponse { ok: true, .. }) if is_success => return delivered(response),
        // A success echoes the whole message, so the kept body may be cut and no longer parse.
        None if is_success && begins_with_ok(&response.body) => return delivered(response),
        None if is_success => AttemptResult::retry(ErrorClass::Protocol, "the response is not from Slack's Web API"),
        Some(ApiResponse { ok: false, error }) if is_success || response.status.is_client_error() => {
            let word = error.as_deref().unwrap_or("unknown_error");
            let error_text = format!("Slack returned an error: {}", truncate_chars(word, 100));
            if api_refusal(response).is_some() {
                AttemptResult::permanent_failure(ErrorClass::Rejected, error_text)
            } else {
                let after_ms = retry_after(&response.headers, now);
                let mut result = AttemptResult::retry(ErrorClass::Status, error_text);
                result.outcome = Outcome::Retry { after_ms };
                let is_limited = response.status.as_u16() == 429 || matches!(word, "ratelimited" | "rate_limited");
                result.rate = is_limited.then_some(RateSignal::Refused { after_ms });
                result
            }
        }
        _ => return http_channel::classify_response(response, now),
    };
    result.http_status = Some(response.status.as_u16());
    result.response_body = excerpt(&response.body);
    result
}

/// Whether a body that was cut begins with `{"ok":true`.
fn begins_with_ok(body: &[u8]) -> bool {
    let beginning = body.iter().filter(|byte| !byte.is_ascii_whitespace());
    beginning.take(10).eq(br#"{"ok":true"#)
}

/// Delivered. The thread is left for later messages about the same incident.
fn delivered(response: &HttpResponse) -> AttemptResult {
    let attempt_state = ThreadRef::from_response(&response.body).and_then(|thread| thread.to_state());
    AttemptResult { attempt_state, ..AttemptResult::delivered(Some(response.status.as_u16()), excerpt(&response.body)) }
}

/// The body, if it has the form of Slack's error words (and not, for example, of a proxy's HTML page).
fn error_word(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let short = !text.is_empty() && text.len() <= 64;
    (short && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b' ')).then_some(text)
}

#[cfg(test)]
mod tests;
