//! One request and its response over an open connection.
//!
//! Between probes a connection is only a socket: hyper's state is built for each exchange and taken apart after it, so
//! that ten thousand idle connections hold no buffers.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, LOCATION, TRANSFER_ENCODING};
use http::{HeaderValue, Request, StatusCode, response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tidings_channels::egress::decode::{BodyDecoder, Progress};
use tidings_channels::egress::http1::{self, HEAD_BYTES_MAX, HEADERS_MAX, Watched};
use tidings_channels::egress::{self, Stream, drive, is_tls};
use tidings_domain::check::{Body, BodyFault, Certificate, Failure, FailureClass};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::redirect;
use crate::failure::failure;
use crate::target::ProbeTarget;
use crate::timing::{Phase, TimingRecorder};

/// How much of a body that is of no interest is read, in bytes. Read to its end, it lets the connection be used again.
pub const DISCARDED_BYTES_MAX: usize = 256 * 1_024;

/// An open connection without a request in flight.
pub(crate) struct HttpConnection {
    pub stream: Stream,
    pub opened_at: Instant,
    /// The server's certificate, from the handshake.
    pub certificate: Option<Arc<Certificate>>,
}

/// A response, with the connection if it can be used again.
pub(crate) struct RoundTrip {
    pub head: response::Parts,
    pub body: Body,
    pub connection: Option<HttpConnection>,
}

impl RoundTrip {
    /// A response of which only the status line could be read.
    fn of_status_line(status: StatusCode) -> Self {
        let (mut head, ()) = http::Response::new(()).into_parts();
        head.status = status;
        let body = Body { fault: Some(BodyFault::OnlyStatusLine), ..Body::default() };
        Self { head, body, connection: None }
    }

    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// Whether this is the 408 that some servers send before they close an idle connection, rather than a response to
    /// the request.
    pub fn is_idle_close(&self) -> bool {
        self.head.status == StatusCode::REQUEST_TIMEOUT
    }

    /// The `Location` of a redirect.
    pub fn location(&self) -> Option<&HeaderValue> {
        if redirect::is_redirect(self.status()) { self.head.headers.get(LOCATION) } else { None }
    }
}

/// A request that got no complete response.
pub(crate) struct ExchangeError {
    pub failure: Failure,
    /// The connection broke before any response. On a pooled connection this does not count as a failure.
    pub without_response: bool,
}

impl HttpConnection {
    /// Whether the connection is open and no bytes arrived since the last response.
    pub fn is_idle(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut buf = ReadBuf::new(&mut byte);
        // Ready means end of stream, an error or unexpected data: each makes the connection useless.
        Pin::new(&mut self.stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf).is_pending()
    }
}

/// What becomes of a response's body.
pub(crate) enum BodyReader {
    /// It is of no interest. The number is how many more bytes are read.
    Discard(usize),
    Decode(Box<BodyDecoder>),
}

impl BodyReader {
    fn push(&mut self, bytes: &[u8]) -> Progress {
        match self {
            Self::Discard(left) if bytes.len() > *left => Progress::Enough,
            Self::Discard(left) => {
                *left -= bytes.len();
                Progress::More
            }
            Self::Decode(decoder) => decoder.push(bytes),
        }
    }

    fn finish(self, is_whole: bool) -> Body {
        match self {
            Self::Discard(_) => Body::default(),
            Self::Decode(decoder) => decoder.finish(is_whole),
        }
    }
}

/// Sends the request and reads the response. `reader` decides by its head what becomes of its body.
pub(crate) async fn exchange(
    connection: HttpConnection,
    target: &ProbeTarget,
    request: Request<Full<Bytes>>,
    reader: impl FnOnce(&response::Parts) -> BodyReader,
    recorder: &mut TimingRecorder,
) -> Result<RoundTrip, ExchangeError> {
    recorder.start(Phase::FirstByte);
    let HttpConnection { stream, opened_at, certificate } = connection;
    let stream = Watched::new(stream);
    let seen = stream.seen();
    let opened = http1::builder().handshake(TokioIo::new(stream)).await;
    let (mut sender, http) = opened.map_err(|error| head_error(target, &error, false))?;
    let mut http = Some(http);
    let sent = sender.try_send_request(request);
    let response = match drive(&mut http, sent).await {
        Ok(response) => response,
        Err(mut error) => {
            let is_unsent = error.take_message().is_some();
            // The server answered, with header lines that contradict each other or are beyond all measure.
            if error.error().is_parse()
                && let Some(status) = seen.get()
            {
                recorder.finish();
                return Ok(RoundTrip::of_status_line(status));
            }
            return Err(head_error(target, error.error(), is_unsent));
        }
    };
    recorder.finish();
    recorder.start(Phase::Body);
    let (head, incoming) = response.into_parts();
    let ends_with_connection =
        !head.headers.contains_key(CONTENT_LENGTH) && !head.headers.contains_key(TRANSFER_ENCODING);
    let mut reader = reader(&head);
    let end = drive(&mut http, read_body(incoming, &mut reader, ends_with_connection)).await;
    let (connection, is_whole) = match end {
        BodyEnd::Broken(error) => return Err(body_error(target, &error)),
        BodyEnd::Complete => {
            let stream = recover_stream(http, &sender).await;
            (stream.map(|stream| HttpConnection { stream, opened_at, certificate }), true)
        }
        // The rest of the body is still on its way: the connection cannot be used again.
        BodyEnd::Truncated => (None, false),
    };
    Ok(RoundTrip { head, body: reader.finish(is_whole), connection })
}

/// How reading a body ended.
#[derive(Debug)]
enum BodyEnd {
    Complete,
    /// There is more than is wanted.
    Truncated,
    Broken(hyper::Error),
}

/// Reads the body, as far as the reader wants it.
async fn read_body(mut incoming: Incoming, reader: &mut BodyReader, ends_with_connection: bool) -> BodyEnd {
    while let Some(frame) = incoming.frame().await {
        match frame {
            Ok(frame) => {
                let Some(data) = frame.data_ref() else { continue };
                if reader.push(data) == Progress::Enough {
                    return BodyEnd::Truncated;
                }
            }
            // TLS closed without close_notify, which many servers omit. Where the response has a length, hyper itself
            // detects a body that was cut off.
            Err(error) if ends_with_connection && is_unexpected_eof(&error) => break,
            Err(error) => return BodyEnd::Broken(error),
        }
    }
    BodyEnd::Complete
}

fn is_unexpected_eof(error: &(dyn StdError + 'static)) -> bool {
    let is_eof = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
    is_eof || error.source().is_some_and(is_unexpected_eof)
}

/// The socket, if it can carry another request.
async fn recover_stream(http: Option<egress::Http>, sender: &SendRequest<Full<Bytes>>) -> Option<Stream> {
    let mut http = http?;
    // One poll lets hyper process the end of the response. Only then is `is_ready` meaningful.
    let is_open = poll_fn(|cx| Poll::Ready(Pin::new(&mut http).poll(cx).is_pending())).await;
    if !is_open || !sender.is_ready() {
        return None;
    }
    let parts = http.into_parts();
    // Bytes beyond the response would be taken for the response to the next request.
    parts.read_buf.is_empty().then(|| parts.io.into_inner().into_inner())
}

/// The error of a request whose response head did not arrive; `is_unsent` if not a byte of it was written.
fn head_error(target: &ProbeTarget, error: &hyper::Error, is_unsent: bool) -> ExchangeError {
    let name = &target.name;
    let (class, message) = if error.is_parse_too_large() {
        let limits = format!("over {HEAD_BYTES_MAX} bytes or {HEADERS_MAX} headers");
        (FailureClass::Protocol, format!("the response headers of {name} are too large: {limits}"))
    } else if error.is_parse() {
        (FailureClass::Protocol, format!("{name} sent an invalid HTTP response"))
    } else if is_tls(error) {
        (FailureClass::Tls, format!("{name} aborted the TLS connection"))
    } else if is_reset(error) {
        (FailureClass::Protocol, format!("connection reset by {name}, without an answer"))
    } else if is_unsent || error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        (FailureClass::Protocol, format!("{name} closed the connection without an answer"))
    } else {
        (FailureClass::Protocol, format!("the connection to {name} broke"))
    };
    ExchangeError { failure: failure(class, message), without_response: !error.is_parse() }
}

fn body_error(target: &ProbeTarget, error: &hyper::Error) -> ExchangeError {
    let name = &target.name;
    let message = if is_reset(error) {
        format!("connection reset by {name} in the middle of its answer")
    } else if error.is_parse() {
        format!("{name} sent an invalid HTTP response")
    } else {
        format!("{name} closed the connection in the middle of its answer")
    };
    ExchangeError { failure: failure(FailureClass::Protocol, message), without_response: false }
}

/// Whether the peer dropped the connection, at any depth of the error's sources.
fn is_reset(error: &(dyn StdError + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(kind, Some(BrokenPipe | ConnectionAborted | ConnectionReset)) || error.source().is_some_and(is_reset)
}
