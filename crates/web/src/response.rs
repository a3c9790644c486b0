//! Successful responses. Failed ones are [`Problem`]s.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::openapi::Description;
use crate::operation::Answer;
use crate::problem::Problem;
use crate::revision::with_etag;

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

/// The answer of an operation, with its status.
#[derive(Debug)]
pub(crate) struct Reply<T, const STATUS: u16 = 200>(pub T);

/// The answer to a creation.
pub(crate) type Created<T> = Reply<T, 201>;

impl<T: tidings_app::Response, const STATUS: u16> IntoResponse for Reply<T, STATUS> {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(STATUS).unwrap_or_default();
        let mut response = json(status, &self.0);
        if self.0.holds_secret() {
            response = no_store(response);
        }
        match self.0.revision() {
            Some(revision) => with_etag(response, revision),
            None => response,
        }
    }
}

impl<T: tidings_app::Response, const STATUS: u16> Answer for Reply<T, STATUS> {
    fn describe(description: &mut Description) {
        let status = StatusCode::from_u16(STATUS).unwrap_or_default();
        description.response::<T>(STATUS, status.canonical_reason().unwrap_or_default());
        if T::IS_VERSIONED {
            description.etag(STATUS);
        }
    }
}

/// An answer without a body.
#[derive(Debug)]
pub(crate) struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl Answer for NoContent {
    fn describe(description: &mut Description) {
        description.response_content(204, "Done", serde_json::Value::Null);
    }
}

/// A JSON response with status 200.
pub(crate) fn ok(body: &impl Serialize) -> ApiResult {
    Ok(json(StatusCode::OK, body))
}

/// Sets `Cache-Control: no-store`, for responses that may hold a secret which is returned only once.
pub(crate) fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
