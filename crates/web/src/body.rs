//! Reading bodies, bounded in size and time, as what they say they are.

use std::time::Duration;

use axum::extract::{FromRequest, OptionalFromRequest};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use serde_json::{Map, Value};

use crate::auth::App;
use crate::json;
use crate::problem::{Code, Problem};

/// The largest body, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 1_048_576;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A request's body.
pub(crate) async fn read(request: Request<axum::body::Body>) -> Result<Bytes, Problem> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    let collect = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_TIMEOUT, collect).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        // Nobody is there any more to read the answer.
        Ok(Err(_)) => Err(Problem::new(Code::RequestTimeout, "the connection broke before the body was complete")),
        Err(_) => Err(Problem::new(
            Code::RequestTimeout,
            format!("the body must arrive within {} seconds", BODY_TIMEOUT.as_secs()),
        )),
    }
}

fn too_large() -> Problem {
    Problem::new(Code::TooLarge, "a body may have at most 1 MiB (1,048,576 bytes)")
}

/// How the body says it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON value.
    Json,
    /// One JSON value a line.
    Lines,
}

/// How the body is written; where nothing is said it is taken for JSON.
pub(crate) fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Form::Json) };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "" | "application/json" | "text/json" => Ok(Form::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Form::Lines),
        other if other.ends_with("+json") => Ok(Form::Json),
        _ => Err(Problem::new(
            Code::UnsupportedMediaType,
            "send JSON with Content-Type: application/json (runs also as application/x-ndjson)",
        )),
    }
}

/// A body that is a JSON object.
pub(crate) struct Object(pub Map<String, Value>);

impl FromRequest<App> for Object {
    type Rejection = Problem;

    async fn from_request(request: Request<axum::body::Body>, _: &App) -> Result<Self, Problem> {
        if form(request.headers())? == Form::Lines {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                "send one JSON object with Content-Type: application/json",
            ));
        }
        let bytes = read(request).await?;
        if bytes.trim_ascii().is_empty() {
            return Err(Problem::invalid_field("", "the body must be a JSON object, and it is empty"));
        }
        match json::read(&bytes)? {
            Value::Object(object) => Ok(Self(object)),
            _ => Err(Problem::invalid_field("", "the body must be a JSON object")),
        }
    }
}

impl OptionalFromRequest<App> for Object {
    type Rejection = Problem;

    async fn from_request(request: Request<axum::body::Body>, app: &App) -> Result<Option<Self>, Problem> {
        if request.body().is_end_stream() {
            Ok(None)
        } else {
            <Self as FromRequest<App>>::from_request(request, app).await.map(Some)
        }
    }
}
