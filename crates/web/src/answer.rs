//! Answers that went well.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use tidings_domain::secret::Secret;

use crate::problem::Problem;

/// What every handler answers.
pub(crate) type Answer = Result<Response, Problem>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let mut bytes = Vec::with_capacity(192);
    if let Err(error) = serde_json::to_writer(&mut bytes, body) {
        tracing::error!(%error, "an answer has no JSON form");
        return Problem::internal().into_response();
    }
    // Without room to spare the bytes need no second allocation to be shared.
    let mut response = Response::new(Bytes::from(bytes.into_boxed_slice()).into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// A JSON answer, 200.
pub(crate) fn ok(body: &impl Serialize) -> Answer {
    Ok(json(StatusCode::OK, body))
}

/// Nothing to say: it is done.
pub(crate) fn no_content() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Notes that the answer holds a secret that is shown once, so that nobody on the way keeps it.
pub(crate) fn not_stored(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The one place where a signing secret goes out.
pub(crate) fn shown_once(secret: &Option<Secret>) -> Option<&str> {
    secret.as_ref().map(Secret::expose)
}
