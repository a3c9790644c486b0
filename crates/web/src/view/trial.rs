//! What a test came to, as it is shown.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use tidings_engine::TestSend;

use crate::answer::{json, not_stored, shown_once};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    ok: bool,
    http_status: Option<u16>,
    error: Option<&'a str>,
    duration_ms: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret_once: Option<&'a str>,
}

/// The answer to a test: 200, whatever it came to.
pub(crate) fn answer(trial: &TestSend) -> Response {
    let body = Body {
        ok: trial.ok,
        http_status: trial.http_status,
        error: trial.error.as_deref(),
        duration_ms: trial.duration_ms,
        signing_secret_once: shown_once(&trial.signing_secret_once),
    };
    not_stored(json(StatusCode::OK, &body))
}
