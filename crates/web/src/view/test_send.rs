//! The result of a channel test in a response.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use tidings_engine::TestSend;

use crate::response::{expose_once, json, no_store};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TestResponse<'a> {
    ok: bool,
    http_status: Option<u16>,
    error: Option<&'a str>,
    duration_ms: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret_once: Option<&'a str>,
}

/// The response to a test: 200 also if the send failed, which `ok` says.
pub(crate) fn response(test_send: &TestSend) -> Response {
    let body = TestResponse {
        ok: test_send.ok,
        http_status: test_send.http_status,
        error: test_send.error.as_deref(),
        duration_ms: test_send.duration_ms,
        signing_secret_once: expose_once(&test_send.signing_secret_once),
    };
    no_store(json(StatusCode::OK, &body))
}
