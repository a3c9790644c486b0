//! Request bodies: bounded in size and time, unpacked as `Content-Encoding` names it, and read in the format that
//! `Content-Type` names. A byte order mark, which some programs write at the beginning of UTF-8, is skipped.

use std::io::Read as _;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::extract::{FromRequest, OptionalFromRequest};
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use serde::Serialize;
use serde_json::{Map, Value};
use tidings_app::contract::{self, Input};
use tidings_app::runs::{RUNS_MAX, RunDraft};
use tidings_domain::text::truncate_chars;
use tidings_domain::violation::Violations;

use crate::auth::AppState;
use crate::json;
use crate::openapi::Description;
use crate::operation::Argument;
use crate::problem::{Code, Problem};

pub(crate) const BODY_BYTES_MAX: usize = 1_048_576;
/// Of a report of runs: a failure must not be lost for the length of its log.
pub(crate) const RUNS_BODY_BYTES_MAX: usize = 8 * BODY_BYTES_MAX;
/// Packed bodies from this size on are unpacked on a thread of their own: it may take tens of milliseconds.
const LARGE_PACKED_BYTES: usize = 16 * 1_024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads the body, unpacked and without a byte order mark, of at most `bytes_max` bytes in either form.
fn read(request: Request<HttpBody>, bytes_max: usize) -> impl Future<Output = Result<Bytes, Problem>> {
    let coding = content_coding(request.headers());
    let reading = read_packed(request, bytes_max);
    async move {
        let bytes = match coding? {
            Coding::Identity => reading.await?,
            Coding::Gzip => unpack(reading.await?, bytes_max).await?,
        };
        Ok(if bytes.starts_with(b"\xef\xbb\xbf") { bytes.slice(3..) } else { bytes })
    }
}

enum Coding {
    Identity,
    Gzip,
}

/// The content coding of the body.
fn content_coding(headers: &HeaderMap) -> Result<Coding, Problem> {
    let mut coding = Coding::Identity;
    for value in headers.get_all(CONTENT_ENCODING) {
        for word in value.to_str().unwrap_or("?").split(',').map(str::trim) {
            let is = |name: &str| word.eq_ignore_ascii_case(name);
            coding = match coding {
                coding if is("") || is("identity") => coding,
                Coding::Identity if is("gzip") || is("x-gzip") => Coding::Gzip,
                _ => {
                    let shown = truncate_chars(&word.escape_debug().to_string(), 60);
                    let detail = format!("Content-Encoding {shown} is not read here: send gzip, once, or none");
                    return Err(Problem::new(Code::UnsupportedEncoding, detail));
                }
            };
        }
    }
    Ok(coding)
}

async fn unpack(packed: Bytes, bytes_max: usize) -> Result<Bytes, Problem> {
    if packed.len() < LARGE_PACKED_BYTES {
        return unpack_now(&packed, bytes_max);
    }
    let unpacking = tokio::task::spawn_blocking(move || unpack_now(&packed, bytes_max));
    unpacking.await.unwrap_or_else(|error| {
        tracing::error!(%error, "unpacking a body failed");
        Err(Problem::internal())
    })
}

/// Stops at `bytes_max`, however much a few packed bytes would become.
fn unpack_now(packed: &[u8], bytes_max: usize) -> Result<Bytes, Problem> {
    let mut bytes = Vec::new();
    let unpacked = MultiGzDecoder::new(packed).take(bytes_max as u64 + 1).read_to_end(&mut bytes);
    match unpacked {
        Ok(_) if bytes.len() > bytes_max => Err(too_large(bytes_max)),
        Ok(_) => Ok(bytes.into()),
        Err(error) => {
            let detail = format!("the body is not valid gzip, as Content-Encoding says: {error}");
            Err(Problem::new(Code::InvalidEncoding, detail))
        }
    }
}

/// Reads the body as it was sent. The rest of the request is dropped first, so that a slow body holds no more memory than
/// needed.
fn read_packed(request: Request<HttpBody>, bytes_max: usize) -> impl Future<Output = Result<Bytes, Problem>> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let body = request.into_body();
    async move {
        if declared.is_some_and(|bytes| bytes > bytes_max) {
            return Err(too_large(bytes_max));
        }
        let mut collecting = pin!(collect(body, bytes_max));
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
async fn collect(mut body: HttpBody, bytes_max: usize) -> Result<Bytes, Problem> {
    let Some(first) = next_chunk(&mut body, 0, bytes_max).await? else { return Ok(Bytes::new()) };
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut bytes = Vec::from(first);
    while let Some(chunk) = next_chunk(&mut body, bytes.len(), bytes_max).await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

/// The next chunk of the body, which has `before` bytes so far and may have `bytes_max`.
async fn next_chunk(body: &mut HttpBody, before: usize, bytes_max: usize) -> Result<Option<Bytes>, Problem> {
    while let Some(frame) = body.frame().await {
        // The client is gone: only the request metrics see this problem.
        let frame = frame
            .map_err(|_| Problem::new(Code::RequestTimeout, "the connection closed before the body was complete"))?;
        match frame.into_data() {
            Ok(data) if data.len() > bytes_max - before => return Err(too_large(bytes_max)),
            Ok(data) => return Ok(Some(data)),
            // Trailers are ignored.
            Err(_) => {}
        }
    }
    Ok(None)
}

fn too_large(bytes_max: usize) -> Problem {
    let detail = if bytes_max == RUNS_BODY_BYTES_MAX {
        "a report of runs may have at most 8 MiB (8,388,608 bytes), also unpacked: send fewer runs at once, or less of each \
            output and errorMessage (16 KiB of an error are kept)"
    } else {
        "a body may have at most 1 MiB (1,048,576 bytes), also unpacked"
    };
    Problem::new(Code::TooLarge, detail)
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

/// A report of runs that is not parsed yet, with its format.
pub(crate) struct RunsBody {
    pub format: BodyFormat,
    pub bytes: Bytes,
}

impl FromRequest<AppState> for RunsBody {
    type Rejection = Problem;

    fn from_request(request: Request<HttpBody>, _: &AppState) -> impl Future<Output = Result<Self, Problem>> + Send {
        let format = body_format(request.headers());
        let reading = read(request, RUNS_BODY_BYTES_MAX);
        async move { Ok(Self { format: format?, bytes: reading.await? }) }
    }
}

impl Argument for RunsBody {
    const READS_BODY: bool = true;

    fn describe(description: &mut Description) {
        description.one_or_many::<RunDraft>(RUNS_MAX);
    }
}

/// A body that is read as a `T`.
pub(crate) struct Body<T> {
    value: Value,
    contract: PhantomData<T>,
}

impl<T: contract::Request> Body<T> {
    /// The request, as far as it can be read.
    pub(crate) fn read(self) -> Result<Input<T>, Problem> {
        contract::read(self.value).map_err(Problem::invalid)
    }

    /// The same with other defaults than those of the type.
    pub(crate) fn read_over(self, defaults: &T) -> Result<Input<T>, Problem>
    where
        T: Serialize,
    {
        contract::read_over(defaults, self.value).map_err(Problem::invalid)
    }
}

impl<T: Send> FromRequest<AppState> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request<HttpBody>, state: &AppState) -> Result<Self, Problem> {
        let Object(object) = <Object as FromRequest<AppState>>::from_request(request, state).await?;
        Ok(Self { value: Value::Object(object), contract: PhantomData })
    }
}

impl<T: contract::Request> Argument for Body<T> {
    const READS_BODY: bool = true;

    fn describe(description: &mut Description) {
        description.body::<T>(true);
    }
}

/// The same where the body may be absent, which is the same as an empty object.
pub(crate) struct OptionalBody<T>(Body<T>);

impl<T: contract::Request> OptionalBody<T> {
    /// The request, as far as it can be read.
    pub(crate) fn read(self) -> Result<Input<T>, Problem> {
        self.0.read()
    }
}

impl<T: Send> FromRequest<AppState> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request<HttpBody>, state: &AppState) -> Result<Self, Problem> {
        let object = <Object as OptionalFromRequest<AppState>>::from_request(request, state).await?;
        let value = Value::Object(object.map(|Object(object)| object).unwrap_or_default());
        Ok(Self(Body { value, contract: PhantomData }))
    }
}

impl<T: contract::Request> Argument for OptionalBody<T> {
    const READS_BODY: bool = true;

    fn describe(description: &mut Description) {
        description.body::<T>(false);
    }
}

/// A body that is a JSON merge patch (RFC 7396) of a `T`.
pub(crate) struct Patch<T> {
    patch: Map<String, Value>,
    contract: PhantomData<T>,
}

impl<T: contract::Request + Serialize> Patch<T> {
    /// The fields as they were sent.
    pub(crate) const fn fields(&self) -> &Map<String, Value> {
        &self.patch
    }

    /// The draft with the patch applied, as far as the patch can be read.
    pub(crate) fn apply(&self, draft: &T) -> Result<Input<T>, Violations> {
        contract::merge(draft, &self.patch)
    }
}

impl<T> Patch<T> {
    /// Whether it sets the field, be it to what it is.
    pub(crate) fn sets(&self, field: &str) -> bool {
        self.patch.contains_key(field)
    }
}

impl<T: Send> FromRequest<AppState> for Patch<T> {
    type Rejection = Problem;

    async fn from_request(request: Request<HttpBody>, state: &AppState) -> Result<Self, Problem> {
        let Object(patch) = <Object as FromRequest<AppState>>::from_request(request, state).await?;
        Ok(Self { patch, contract: PhantomData })
    }
}

impl<T: contract::Request> Argument for Patch<T> {
    const READS_BODY: bool = true;

    fn describe(description: &mut Description) {
        description.merge_patch::<T>();
    }
}

/// The body of an operation that reads none. An empty object is accepted: many clients send one where there is nothing to
/// say, and nothing in it can be ignored.
pub(crate) async fn read_ignored(mut body: HttpBody) -> Result<(), Problem> {
    const BYTES_MAX: usize = 64;
    let mut bytes = Vec::new();
    while let Some(chunk) =
        next_chunk(&mut body, bytes.len(), BYTES_MAX).await.map_err(|problem| match problem.code() {
            Code::TooLarge => unread_body(),
            _ => problem,
        })?
    {
        bytes.extend_from_slice(&chunk);
    }
    let text: Vec<_> = bytes.iter().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if text.is_empty() || text == [&b'{', &b'}'] { Ok(()) } else { Err(unread_body()) }
}

fn unread_body() -> Problem {
    Problem::invalid_field("", "must be absent: this route reads no body")
}

/// A body that is a JSON object.
pub(crate) struct Object(pub Map<String, Value>);

impl FromRequest<AppState> for Object {
    type Rejection = Problem;

    async fn from_request(request: Request<HttpBody>, _: &AppState) -> Result<Self, Problem> {
        if body_format(request.headers())? == BodyFormat::Lines {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                "send one JSON object with Content-Type: application/json",
            ));
        }
        let bytes = read(request, BODY_BYTES_MAX).await?;
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

    async fn from_request(request: Request<HttpBody>, state: &AppState) -> Result<Option<Self>, Problem> {
        if request.body().is_end_stream() {
            Ok(None)
        } else {
            <Self as FromRequest<AppState>>::from_request(request, state).await.map(Some)
        }
    }
}

#[cfg(test)]
mod tests;
