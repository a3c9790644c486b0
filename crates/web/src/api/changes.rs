//! `/changes`: server-sent events that name the topics of what changed, and carry nothing else.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::request::Parts;
use hyper::body::{Body, Frame};
use serde_json::json;
use tidings_app::Read;
use tidings_app::changes::{self, ChangesQuery};
use tidings_engine::changes::{Change, Subscription};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::auth::{AppState, Authorized};
use crate::openapi::Description;
use crate::operation::{Answer, Argument};
use crate::problem::{Code, Problem};
use crate::query::Parameters;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Keeps proxies such as nginx from holding the stream back.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// How often a comment is sent, so that proxies do not close the stream, and the caller is checked again.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client may leave the stream unread.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// After this time the stream ends. The client comes again, so that one that is gone without a word occupies it no longer.
const STREAM_MAX: Duration = Duration::from_secs(3_600);
/// How long the client waits before it comes again, in milliseconds.
const RETRY_MS: u32 = 3_000;

pub(super) async fn stream(
    by: Authorized<Read>,
    Parameters(query): Parameters<ChangesQuery>,
    connection: Connection,
) -> Result<EventStream, Problem> {
    let subscription = changes::subscribe(&by, &query, connection.last_event_id())?;
    let (events, received) = mpsc::channel(1);
    tokio::spawn(run(subscription, connection, events));
    Ok(EventStream(received))
}

/// The request of a stream, by which the caller is checked again while it is open.
pub(super) struct Connection {
    parts: Parts,
    state: AppState,
}

impl Connection {
    fn last_event_id(&self) -> Option<&str> {
        self.parts.headers.get(LAST_EVENT_ID)?.to_str().ok()
    }

    /// Whether the caller may still read: its key may have been revoked, or its session have ended.
    async fn is_authorized(&mut self) -> bool {
        Authorized::<Read>::from_request_parts(&mut self.parts, &self.state).await.is_ok()
    }
}

impl FromRequestParts<AppState> for Connection {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        Ok(Self { parts: parts.clone(), state: state.clone() })
    }
}

impl Argument for Connection {
    fn describe(description: &mut Description) {
        description.header("Last-Event-ID", "The id of the last event that was received, to resume after it.");
        description.problems([Code::Unavailable]);
    }
}

/// Sends events until the client is gone or too slow, the caller may not read any more, or the node shuts down.
async fn run(mut subscription: Subscription, mut connection: Connection, events: mpsc::Sender<Bytes>) {
    let shutdown = connection.state.settings().shutdown.clone();
    let mut configuration = connection.state.configuration_changes();
    let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = tokio::time::sleep(STREAM_MAX);
    tokio::pin!(end);
    let mut next = beginning(&subscription, connection.last_event_id().is_some());
    loop {
        if !matches!(tokio::time::timeout(SEND_TIMEOUT, events.send(next)).await, Ok(Ok(()))) {
            return;
        }
        next = loop {
            tokio::select! {
                change = subscription.next() => match change {
                    Some(change) => break changed(&change),
                    None => return,
                },
                _ = heartbeat.tick() => {
                    if !connection.is_authorized().await {
                        return;
                    }
                    break Bytes::from_static(b":\n\n");
                }
                // Keys are configuration: one that was revoked is known at once.
                changed = configuration.changed() => {
                    if changed.is_err() || !connection.is_authorized().await {
                        return;
                    }
                }
                () = shutdown.requested() => return,
                () = events.closed() => return,
                () = &mut end => return,
            }
        };
    }
}

/// The first event. With `reset`, a client that wanted to resume may have missed changes of any topic.
fn beginning(subscription: &Subscription, wants_to_resume: bool) -> Bytes {
    let name = if wants_to_resume && !subscription.is_resumed() { "reset" } else { "ready" };
    let mut text = format!("retry: {RETRY_MS}\n");
    write_event(&mut text, name, &subscription.id(), &json!({}));
    text.into()
}

fn changed(change: &Change) -> Bytes {
    let topics: Vec<_> = change.topics.iter().map(|topic| topic.as_str()).collect();
    let mut text = String::new();
    write_event(&mut text, "changed", &change.id, &json!({ "topics": topics }));
    text.into()
}

fn write_event(text: &mut String, name: &str, id: &str, data: &serde_json::Value) {
    // Writing into a text cannot fail.
    let _ = write!(text, "event: {name}\nid: {id}\ndata: {data}\n\n");
}

/// The body of the answer.
pub(super) struct EventStream(mpsc::Receiver<Bytes>);

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        let mut response = Response::new(HttpBody::new(self));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
        headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
        response
    }
}

impl Answer for EventStream {
    fn describe(description: &mut Description) {
        let content = json!({"text/event-stream": {"schema": {"type": "string"}}});
        description.response_content(200, "Server-sent events, until the client or the server ends them", content);
    }
}
