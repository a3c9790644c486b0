//! Successful responses. Failed ones are [`Problem`]s.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use tidings_domain::secret::Secret;

use crate::problem::Problem;

/// What every handler returns.
pub(crate) type ApiResult = Result<Response, Problem>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A JSON response.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let mut bytes = Vec::with_capacity(192);
    if let Err(error) = serde_json::to_writer(&mut bytes, body) {
        tracing::error!(%error, "failed to serialise a response");
        return Problem::internal().into_response();
    }
    // A boxed slice has no spare capacity, so that `Bytes` takes it over without a second allocation.
    let mut response = Response::new(Bytes::from(bytes.into_boxed_slice()).into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// A JSON response with status 200.
pub(crate) fn ok(body: &impl Serialize) -> ApiResult {
    Ok(json(StatusCode::OK, body))
}

/// 204 without a body.
pub(crate) fn no_content() -> ApiResult {
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Sets `Cache-Control: no-store`, for responses that may hold a secret which is returned only once.
pub(crate) fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A signing secret in plain text. The only function through which one leaves the service; its callers answer with
/// [`no_store`].
pub(crate) fn expose_once(secret: &Option<Secret>) -> Option<&str> {
    secret.as_ref().map(Secret::expose)
}
