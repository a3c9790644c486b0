//! One HTTP/1.1 request and its answer, over a kept or a fresh connection.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::error::is_tls;
use super::read;
use super::stream::{Http, Stream, drive};
use super::{CONNECT_TIMEOUT, Egress, EgressError, EgressTarget};
use crate::ErrorClass;

/// How many bytes a response's head may have. Beyond 100 headers it is refused too (hyper's own limit).
const HEAD_BYTES_MAX: usize = 32 * 1_024;
/// How much a connection reads ahead, in bytes.
const BUFFER_BYTES_MAX: usize = 64 * 1_024;

/// What a receiver answered.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as far as it is kept (16 KiB).
    pub body: Vec<u8>,
}

/// Whether a request may go over a connection that was kept from an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// It may.
    Kept,
    /// It goes over a fresh one, since a kept one turned out to be closed.
    Fresh,
}

/// An open connection and the handle that puts requests into it.
pub(super) struct Wire {
    sender: SendRequest<Full<Bytes>>,
    connection: Option<Http>,
}

impl Egress {
    /// Sends the request (path and `Host` are the target's) and takes the answer in. With a 2xx head the receiver has
    /// taken it: a body that breaks off or drips past the deadline is cut, not a failure.
    ///
    /// A kept connection that the peer had closed gives an error whose `stale` is set: then [`Reuse::Fresh`] may do.
    pub async fn send(
        &self,
        target: &EgressTarget,
        mut request: Request<Full<Bytes>>,
        reuse: Reuse,
        deadline: Instant,
    ) -> Result<HttpAnswer, EgressError> {
        *request.uri_mut() = target.uri.clone();
        request.headers_mut().insert(HOST, target.host.clone());
        let kept = if reuse == Reuse::Kept { target.origin.take() } else { None };
        let (mut wire, stale) = match kept {
            Some(wire) => (wire, true),
            None => (Box::pin(self.open(target, deadline)).await?, false),
        };
        let sent = wire.sender.try_send_request(request);
        let response = match timeout_at(deadline, drive(&mut wire.connection, sent)).await {
            Ok(Ok(response)) => response,
            Ok(Err(mut failed)) => {
                let unsent = failed.take_message().is_some();
                return Err(unanswered(target, failed.error(), stale, unsent));
            }
            Err(_) => return Err(EgressError::timeout(format!("no answer from {} in time", target.place()))),
        };
        let (head, body) = response.into_parts();
        let (body, ended) = read::body(&mut wire.connection, body, deadline).await;
        if ended && wire.is_reusable().await {
            target.origin.keep(wire);
        }
        Ok(HttpAnswer { status: head.status, headers: head.headers, body })
    }

    async fn open(&self, target: &EgressTarget, deadline: Instant) -> Result<Box<Wire>, EgressError> {
        let deadline = deadline.min(Instant::now() + CONNECT_TIMEOUT);
        let origin = &target.origin;
        let plain = origin.server_name.is_none();
        let tcp = self.dial(&origin.host, origin.port, deadline, |address| self.admit(address.ip(), plain)).await?;
        let stream = match &origin.server_name {
            None => Stream::Plain(tcp),
            Some(name) => {
                let handshake = TlsConnector::from(self.tls.clone()).connect(name.clone(), tcp);
                match timeout_at(deadline, handshake).await {
                    Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
                    Ok(Err(error)) => return Err(EgressError::tls(&origin.host, &error)),
                    Err(_) => {
                        return Err(EgressError::timeout(format!("no TLS with {} in time", target.place())));
                    }
                }
            }
        };
        let mut builder = http1::Builder::new();
        builder.max_header_size(HEAD_BYTES_MAX).max_buf_size(BUFFER_BYTES_MAX);
        // What is sent is short: one copy costs less than a list of pieces.
        builder.writev(false);
        let made = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|error| unanswered(target, &error, false, false))?;
        Ok(Box::new(Wire { sender, connection: Some(connection) }))
    }

    /// The guard's answer, and for plain `http` that the operator lets it go there.
    fn admit(&self, ip: std::net::IpAddr, plain: bool) -> Result<(), super::Refused> {
        let guard = self.guard();
        guard.check(ip)?;
        if plain && !guard.allow_http && !guard.allows(ip) {
            return Err(super::Refused { ip, what: "no target for http without TLS" });
        }
        Ok(())
    }
}

/// What it means that no head came: `stale` if the connection was kept, `unsent` if not a byte was written.
fn unanswered(target: &EgressTarget, error: &hyper::Error, stale: bool, unsent: bool) -> EgressError {
    let place = target.place();
    let reset = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<io::Error>())
        .map(io::Error::kind)
        .is_some_and(|kind| matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe));
    let closed = unsent || reset || error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    let mut failure = if is_tls(error) {
        EgressError::new(ErrorClass::Tls, format!("{place} broke TLS off"))
    } else if error.is_parse_too_large() {
        EgressError::new(ErrorClass::Protocol, format!("{place} answered with too large a head"))
    } else if error.is_parse() {
        EgressError::new(ErrorClass::Protocol, format!("what {place} answered is no HTTP"))
    } else if closed {
        EgressError::new(ErrorClass::Protocol, format!("{place} closed the connection without an answer"))
    } else {
        EgressError::new(ErrorClass::Protocol, format!("the connection to {place} broke"))
    };
    failure.stale = stale && closed;
    failure
}

impl Wire {
    /// Lets the connection see that the last answer is over; whether it then waits for another request.
    async fn is_reusable(&mut self) -> bool {
        let open = poll_fn(|cx| {
            let done = self.connection.as_mut().is_none_or(|connection| Pin::new(connection).poll(cx).is_ready());
            Poll::Ready(!done)
        });
        open.await && self.sender.is_ready()
    }
}
