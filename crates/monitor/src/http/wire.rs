//! One request and its answer over an open connection.
//!
//! Between probes a connection is only a socket: what HTTP needs is made anew for each exchange and taken apart after
//! it, so that ten thousand idle ones hold no buffers.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, LOCATION, TRANSFER_ENCODING};
use http::{HeaderValue, Request, StatusCode, response};
use http_body_util::Full;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tidings_channels::egress::{self, Stream, drive, is_tls};
use tidings_domain::check::{Certificate, Failure, FailureClass};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::body::{self, End};
use super::redirect;
use crate::failure::failure;
use crate::target::Target;
use crate::trace::{Stage, Trace};

/// How many bytes an answer's head may have. Beyond 100 headers it is refused too (hyper's own limit).
const HEAD_BYTES_MAX: usize = 64 * 1_024;
/// How much a connection reads ahead, in bytes.
const BUFFER_BYTES_MAX: usize = 128 * 1_024;

/// An open connection.
pub(crate) struct Wire {
    pub stream: Stream,
    /// When it was made.
    pub made: Instant,
    /// What was shown when it was made.
    pub certificate: Option<Arc<Certificate>>,
}

/// An answer.
pub(crate) struct Exchanged {
    pub head: response::Parts,
    pub body: Vec<u8>,
    pub is_whole: bool,
    /// The connection, if it waits for another request.
    pub wire: Option<Wire>,
}

impl Exchanged {
    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// Whether it is what servers say on connections that lay idle for too long, not to the request at all.
    pub fn is_farewell(&self) -> bool {
        self.head.status == StatusCode::REQUEST_TIMEOUT
    }

    /// Where it leads to, if it leads elsewhere.
    pub fn location(&self) -> Option<&HeaderValue> {
        if redirect::is_one(self.status()) { self.head.headers.get(LOCATION) } else { None }
    }
}

/// Why there is no answer.
pub(crate) struct Broken {
    pub failure: Failure,
    /// The connection broke before an answer came: of a kept one that says nothing.
    pub unanswered: bool,
}

impl Wire {
    /// Whether the other end neither closed nor said anything while nothing was asked.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut buf = ReadBuf::new(&mut byte);
        Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf).is_pending()
    }
}

/// Sends the request and takes the answer in, to as many bytes of its body as `body_max` gives for its status.
pub(crate) async fn exchange(
    wire: Wire,
    target: &Target,
    request: Request<Full<Bytes>>,
    body_max: impl Fn(u16) -> usize,
    trace: &mut Trace,
) -> Result<Exchanged, Broken> {
    trace.waits_for(Stage::Answer);
    let since = Instant::now();
    let Wire { stream, made, certificate } = wire;
    let mut builder = Builder::new();
    builder.max_header_size(HEAD_BYTES_MAX).max_buf_size(BUFFER_BYTES_MAX);
    // What browsers forgive is forgiven here: a page that its readers see is not down.
    builder.allow_obsolete_multiline_headers_in_responses(true).ignore_invalid_headers_in_responses(true);
    let opened = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| broken(target, &error, false))?;
    let mut connection = Some(connection);
    let sent = sender.try_send_request(request);
    let response = match drive(&mut connection, sent).await {
        Ok(response) => response,
        Err(mut failed) => {
            let is_unsent = failed.take_message().is_some();
            return Err(broken(target, failed.error(), is_unsent));
        }
    };
    trace.got(since);
    trace.waits_for(Stage::Body);
    let (head, new_event) = response.into_parts();
    let is_open = !head.headers.contains_key(CONTENT_LENGTH) && !head.headers.contains_key(TRANSFER_ENCODING);
    let read = body::read(new_event, body_max(head.status.as_u16()), is_open);
    let (body, end) = drive(&mut connection, read).await;
    let wire = match end {
        End::Broken(error) => return Err(broken_body(target, &error)),
        End::Whole => take_back(connection, &sender).await.map(|stream| Wire { stream, made, certificate }),
        End::Capped => None,
    };
    Ok(Exchanged { head, body, is_whole: matches!(end, End::Whole), wire })
}

/// The socket, once the connection has seen that the answer is over, if another request may follow on it.
async fn take_back(connection: Option<egress::Http>, sender: &SendRequest<Full<Bytes>>) -> Option<Stream> {
    let mut connection = connection?;
    let is_open = poll_fn(|cx| Poll::Ready(Pin::new(&mut connection).poll(cx).is_pending())).await;
    if !is_open || !sender.is_ready() {
        return None;
    }
    let parts = connection.into_parts();
    parts.read_buf.is_empty().then(|| parts.io.into_inner())
}

/// What it means that no head came; `is_unsent` if not a byte was written.
fn broken(target: &Target, error: &hyper::Error, is_unsent: bool) -> Broken {
    let name = &target.name;
    let (class, words) = if error.is_parse_too_large() {
        let words = format!("{name} answered with too large a head: over {HEAD_BYTES_MAX} bytes or 100 headers");
        (FailureClass::Protocol, words)
    } else if error.is_parse() {
        (FailureClass::Protocol, format!("what {name} answered is no HTTP"))
    } else if is_tls(error) {
        (FailureClass::Tls, format!("{name} broke TLS off"))
    } else if is_reset(error) {
        (FailureClass::Protocol, format!("connection reset by {name}, without an answer"))
    } else if is_unsent || error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        (FailureClass::Protocol, format!("{name} closed the connection without an answer"))
    } else {
        (FailureClass::Protocol, format!("the connection to {name} broke"))
    };
    Broken { failure: failure(class, words), unanswered: !error.is_parse() }
}

fn broken_body(target: &Target, error: &hyper::Error) -> Broken {
    let name = &target.name;
    let words = if is_reset(error) {
        format!("connection reset by {name} in the middle of its answer")
    } else if error.is_parse() {
        format!("what {name} answered is no HTTP")
    } else {
        format!("{name} closed the connection in the middle of its answer")
    };
    Broken { failure: failure(FailureClass::Protocol, words), unanswered: false }
}

/// Whether the other end dropped the connection, however deep that is told.
fn is_reset(error: &(dyn StdError + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(kind, Some(BrokenPipe | ConnectionAborted | ConnectionReset)) || error.source().is_some_and(is_reset)
}
