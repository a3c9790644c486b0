//! Reading bodies, bounded in size and time, as what they say they are.

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

use crate::auth::App;
use crate::json;
use crate::problem::{Code, Problem};

/// The largest body, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 1_048_576;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A request's body. What else there is of the request is let go before the waiting begins.
pub(crate) fn read(request: Request<Body>) -> impl Future<Output = Result<Bytes, Problem>> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let body = request.into_body();
    async move {
        if declared.is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
            return Err(too_large());
        }
        let mut arriving = pin!(whole(body));
        // Most bodies came with their heads, and need no timer.
        if let Poll::Ready(read) = in_two_turns(arriving.as_mut()).await {
            return read;
        }
        tokio::time::timeout(BODY_TIMEOUT, arriving).await.unwrap_or_else(|_| {
            let bound = BODY_TIMEOUT.as_secs();
            Err(Problem::new(Code::RequestTimeout, format!("the body must arrive within {bound} seconds")))
        })
    }
}

/// What the future gives within two turns of its task, if it does. A body takes two even if it is there: in the first
/// turn the server is asked for it, at the beginning of the next it hands it over.
async fn in_two_turns<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    let mut is_second = false;
    std::future::poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        if polled.is_pending() && !is_second {
            is_second = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(polled)
    })
    .await
}

/// All of the body. Nothing is copied if it comes in one piece.
async fn whole(mut body: Body) -> Result<Bytes, Problem> {
    let Some(first) = piece(&mut body, BODY_BYTES_MAX).await? else { return Ok(Bytes::new()) };
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut pieces = Vec::from(first);
    while let Some(next) = piece(&mut body, BODY_BYTES_MAX - pieces.len()).await? {
        pieces.extend_from_slice(&next);
    }
    Ok(pieces.into())
}

/// The next piece of the body, of at most so many bytes.
async fn piece(body: &mut Body, bytes_max: usize) -> Result<Option<Bytes>, Problem> {
    while let Some(frame) = body.frame().await {
        // Where the connection broke, nobody is there any more to read the answer.
        let frame = frame
            .map_err(|_| Problem::new(Code::RequestTimeout, "the connection broke before the body was complete"))?;
        match frame.into_data() {
            Ok(data) if data.len() > bytes_max => return Err(too_large()),
            Ok(data) => return Ok(Some(data)),
            // Trailers say nothing here.
            Err(_) => {}
        }
    }
    Ok(None)
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
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_of = |types: &[&str]| types.iter().any(|known| essence.eq_ignore_ascii_case(known));
    if is_of(&["", "application/json", "text/json"]) {
        return Ok(Form::Json);
    }
    if is_of(&["application/x-ndjson", "application/ndjson", "application/jsonl"]) {
        return Ok(Form::Lines);
    }
    let suffix = essence.rsplit_once('+').map(|(_, suffix)| suffix);
    if suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("json")) {
        return Ok(Form::Json);
    }
    Err(Problem::new(
        Code::UnsupportedMediaType,
        "send JSON with Content-Type: application/json (runs also as application/x-ndjson)",
    ))
}

/// A body as it came, with how it is written.
pub(crate) struct Written {
    pub form: Form,
    pub bytes: Bytes,
}

impl FromRequest<App> for Written {
    type Rejection = Problem;

    fn from_request(request: Request<Body>, _: &App) -> impl Future<Output = Result<Self, Problem>> + Send {
        let form = form(request.headers());
        let reading = read(request);
        async move { Ok(Self { form: form?, bytes: reading.await? }) }
    }
}

/// A body that is a JSON object.
pub(crate) struct Object(pub Map<String, Value>);

impl FromRequest<App> for Object {
    type Rejection = Problem;

    async fn from_request(request: Request<Body>, _: &App) -> Result<Self, Problem> {
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

    async fn from_request(request: Request<Body>, app: &App) -> Result<Option<Self>, Problem> {
        if request.body().is_end_stream() {
            Ok(None)
        } else {
            <Self as FromRequest<App>>::from_request(request, app).await.map(Some)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures_util::stream;

    use super::*;

    async fn read_pieces(pieces: Vec<io::Result<&'static [u8]>>) -> Result<Bytes, Code> {
        let body = Body::from_stream(stream::iter(pieces));
        read(Request::new(body)).await.map_err(|problem| problem.code())
    }

    #[tokio::test]
    async fn a_body_is_whole_however_it_arrives() {
        assert_eq!(read_pieces(vec![]).await.unwrap(), "");
        assert_eq!(read_pieces(vec![Ok(b"all")]).await.unwrap(), "all");
        assert_eq!(read_pieces(vec![Ok(b"one "), Ok(b""), Ok(b"two "), Ok(b"three")]).await.unwrap(), "one two three");
        assert_eq!(read(Request::new(Body::from("all"))).await.unwrap(), "all");
    }

    #[tokio::test]
    async fn a_body_that_breaks_or_grows_too_large_is_refused() {
        const HALF: &[u8] = &[b' '; BODY_BYTES_MAX / 2];
        assert_eq!(read_pieces(vec![Ok(HALF), Ok(HALF)]).await.unwrap().len(), BODY_BYTES_MAX);
        assert_eq!(read_pieces(vec![Ok(HALF), Ok(HALF), Ok(b" ")]).await, Err(Code::TooLarge));
        let broken = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(read_pieces(vec![Ok(b"one "), Err(broken)]).await, Err(Code::RequestTimeout));
    }

    #[tokio::test]
    async fn who_is_ready_in_the_second_turn_is_not_waited_for_longer() {
        for (turns, is_ready) in [(0, true), (1, true), (2, false)] {
            let mut left = turns;
            let mut future = std::future::poll_fn(|_| {
                let is_due = left == 0;
                left -= i32::from(!is_due);
                if is_due { Poll::Ready(()) } else { Poll::Pending }
            });
            assert_eq!(in_two_turns(Pin::new(&mut future)).await.is_ready(), is_ready, "{turns}");
        }
    }

    #[test]
    fn types_are_known_in_any_case_and_with_parameters() {
        let read = |value: &'static str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static(value))]);
            form(&headers).ok()
        };
        for json in ["", "application/json", "Application/JSON; charset=utf-8", "text/json", "application/x.y+Json"] {
            assert_eq!(read(json), Some(Form::Json), "{json}");
        }
        assert_eq!(read("application/X-NDJSON;x"), Some(Form::Lines));
        for other in ["text/plain", "json", "application/json-seq", "application/+jsonx"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
