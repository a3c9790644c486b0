//! Request bodies: bounded in size and time, and read in the format that `Content-Type` names.

use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, OptionalFromRequest};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use serde_json::{Map, Value};

use crate::auth::AppState;
use crate::json;
use crate::problem::{Code, Problem};

pub(crate) const BODY_BYTES_MAX: usize = 1_048_576;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads the body. The rest of the request is dropped first, so that a slow body holds no more memory than needed.
pub(crate) fn read(request: Request<Body>) -> impl Future<Output = Result<Bytes, Problem>> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let body = request.into_body();
    async move {
        if declared.is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
            return Err(too_large());
        }
        let mut collecting = pin!(collect(body));
        // Most bodies arrive together with their headers: for them the timer is never set.
        if let Poll::Ready(bytes) = poll_twice(collecting.as_mut()).await {
            return bytes;
        }
        tokio::time::timeout(BODY_TIMEOUT, collecting).await.unwrap_or_else(|_| {
            let bound = BODY_TIMEOUT.as_secs();
            Err(Problem::new(Code::RequestTimeout, format!("the body must arrive within {bound} seconds")))
        })
    }
}

/// The future's output if it completes within two polls. Even a body that has arrived takes two: the first asks hyper's
/// connection task for it, which hands it over before the second.
async fn poll_twice<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    let mut polled_before = false;
    std::future::poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        if polled.is_pending() && !polled_before {
            polled_before = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(polled)
    })
    .await
}

/// The whole body; without a copy if it is one chunk.
async fn collect(mut body: Body) -> Result<Bytes, Problem> {
    let Some(first) = next_chunk(&mut body, BODY_BYTES_MAX).await? else { return Ok(Bytes::new()) };
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut bytes = Vec::from(first);
    while let Some(chunk) = next_chunk(&mut body, BODY_BYTES_MAX - bytes.len()).await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

/// The next chunk of the body, of at most `bytes_max` bytes.
async fn next_chunk(body: &mut Body, bytes_max: usize) -> Result<Option<Bytes>, Problem> {
    while let Some(frame) = body.frame().await {
        // The client is gone: only the request metrics see this problem.
        let frame = frame
            .map_err(|_| Problem::new(Code::RequestTimeout, "the connection closed before the body was complete"))?;
        match frame.into_data() {
            Ok(data) if data.len() > bytes_max => return Err(too_large()),
            Ok(data) => return Ok(Some(data)),
            // Trailers are ignored.
            Err(_) => {}
        }
    }
    Ok(None)
}

fn too_large() -> Problem {
    Problem::new(Code::TooLarge, "a body may have at most 1 MiB (1,048,576 bytes)")
}

/// The format of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFormat {
    /// One JSON value.
    Json,
    /// NDJSON: one JSON value a line.
    Lines,
}

/// The format that `Content-Type` names; without the header, JSON.
pub(crate) fn body_format(headers: &HeaderMap) -> Result<BodyFormat, Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(BodyFormat::Json) };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_one_of = |types: &[&str]| types.iter().any(|known| essence.eq_ignore_ascii_case(known));
    if is_one_of(&["", "application/json", "text/json"]) {
        return Ok(BodyFormat::Json);
    }
    if is_one_of(&["application/x-ndjson", "application/ndjson", "application/jsonl"]) {
        return Ok(BodyFormat::Lines);
    }
    let suffix = essence.rsplit_once('+').map(|(_, suffix)| suffix);
    if suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("json")) {
        return Ok(BodyFormat::Json);
    }
    Err(Problem::new(
        Code::UnsupportedMediaType,
        "send JSON with Content-Type: application/json (runs also as application/x-ndjson)",
    ))
}

/// A body that is not parsed yet, with its format.
pub(crate) struct RawBody {
    pub format: BodyFormat,
    pub bytes: Bytes,
}

impl FromRequest<AppState> for RawBody {
    type Rejection = Problem;

    fn from_request(request: Request<Body>, _: &AppState) -> impl Future<Output = Result<Self, Problem>> + Send {
        let format = body_format(request.headers());
        let reading = read(request);
        async move { Ok(Self { format: format?, bytes: reading.await? }) }
    }
}

/// A body that is a JSON object.
pub(crate) struct Object(pub Map<String, Value>);

impl FromRequest<AppState> for Object {
    type Rejection = Problem;

    async fn from_request(request: Request<Body>, _: &AppState) -> Result<Self, Problem> {
        if body_format(request.headers())? == BodyFormat::Lines {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                "send one JSON object with Content-Type: application/json",
            ));
        }
        let bytes = read(request).await?;
        if bytes.trim_ascii().is_empty() {
            return Err(Problem::invalid_field("", "the body must be a JSON object, but it is empty"));
        }
        match json::read(&bytes)? {
            Value::Object(object) => Ok(Self(object)),
            _ => Err(Problem::invalid_field("", "the body must be a JSON object")),
        }
    }
}

impl OptionalFromRequest<AppState> for Object {
    type Rejection = Problem;

    async fn from_request(request: Request<Body>, state: &AppState) -> Result<Option<Self>, Problem> {
        if request.body().is_end_stream() {
            Ok(None)
        } else {
            <Self as FromRequest<AppState>>::from_request(request, state).await.map(Some)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures_util::stream;

    use super::*;

    async fn read_chunks(chunks: Vec<io::Result<&'static [u8]>>) -> Result<Bytes, Code> {
        let body = Body::from_stream(stream::iter(chunks));
        read(Request::new(body)).await.map_err(|problem| problem.code())
    }

    #[tokio::test]
    async fn body_in_any_number_of_chunks_is_complete() {
        assert_eq!(read_chunks(vec![]).await.unwrap(), "");
        assert_eq!(read_chunks(vec![Ok(b"all")]).await.unwrap(), "all");
        assert_eq!(read_chunks(vec![Ok(b"one "), Ok(b""), Ok(b"two "), Ok(b"three")]).await.unwrap(), "one two three");
        assert_eq!(read(Request::new(Body::from("all"))).await.unwrap(), "all");
    }

    #[tokio::test]
    async fn broken_or_too_large_body_is_a_problem() {
        const HALF: &[u8] = &[b' '; BODY_BYTES_MAX / 2];
        assert_eq!(read_chunks(vec![Ok(HALF), Ok(HALF)]).await.unwrap().len(), BODY_BYTES_MAX);
        assert_eq!(read_chunks(vec![Ok(HALF), Ok(HALF), Ok(b" ")]).await, Err(Code::TooLarge));
        let broken = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(read_chunks(vec![Ok(b"one "), Err(broken)]).await, Err(Code::RequestTimeout));
    }

    #[tokio::test]
    async fn poll_twice_returns_after_the_second_poll() {
        for (pending_polls, is_ready) in [(0, true), (1, true), (2, false)] {
            let mut left = pending_polls;
            let mut future = std::future::poll_fn(|_| {
                let is_last = left == 0;
                left -= i32::from(!is_last);
                if is_last { Poll::Ready(()) } else { Poll::Pending }
            });
            assert_eq!(poll_twice(Pin::new(&mut future)).await.is_ready(), is_ready, "{pending_polls}");
        }
    }

    #[test]
    fn content_type_is_matched_in_any_case_and_with_parameters() {
        let read = |value: &'static str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static(value))]);
            body_format(&headers).ok()
        };
        for json in ["", "application/json", "Application/JSON; charset=utf-8", "text/json", "application/x.y+Json"] {
            assert_eq!(read(json), Some(BodyFormat::Json), "{json}");
        }
        assert_eq!(read("application/X-NDJSON;x"), Some(BodyFormat::Lines));
        for other in ["text/plain", "json", "application/json-seq", "application/+jsonx"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
