//! One HTTP/1.1 request and its response, over a pooled or a fresh connection.
//!
//! A response counts from its status line on: whatever follows it, the receiver has the request.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use super::http1::{self, SeenStatus, Watched};
use super::stream::{Http, Stream, drive};
use super::tls::{Handshake, describe_tls_error};
use super::{CONNECT_TIMEOUT, DialOptions, Egress, EgressError, EgressTarget};
use crate::ErrorClass;

/// How much of a response body is kept.
const KEPT_BYTES_MAX: usize = 16 * 1_024;
/// How much of a body is read to reach its end. A connection with more to come is closed instead of reused.
const READ_BYTES_MAX: usize = 64 * 1_024;

/// A receiver's response.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// Any status: errors of the receiver are not an [`EgressError`].
    pub status: StatusCode,
    /// Bounded by the limits of [`http1`]. Empty if they could not be read.
    pub headers: HeaderMap,
    /// The beginning of the body, at most 16 KiB.
    pub body: Vec<u8>,
}

/// An open connection and the handle that sends requests over it.
pub(super) struct Wire {
    sender: SendRequest<Full<Bytes>>,
    connection: Option<Http>,
    seen: SeenStatus,
    opened_at: Instant,
}

impl Egress {
    /// Sends the request (path and `Host` are taken from the target) and reads the response. Once a status line has arrived,
    /// what follows it is kept as far as it can be read, and is no error if it cannot, breaks off or outlasts the deadline:
    /// the receiver has the request.
    ///
    /// A pooled connection that the peer had closed gives an error with `stale` set; repeat it with `dial.fresh`.
    pub async fn send(
        &self,
        target: &EgressTarget,
        mut request: Request<Full<Bytes>>,
        dial: DialOptions,
        deadline: Instant,
    ) -> Result<HttpResponse, EgressError> {
        *request.uri_mut() = target.uri.clone();
        request.headers_mut().insert(HOST, target.host.clone());
        let pooled = if dial.fresh { None } else { target.origin.take_idle() };
        let (mut wire, was_pooled) = match pooled {
            Some(wire) => (wire, true),
            // Boxed: the handshake's future is large, and most requests never need it.
            None => (Box::pin(self.open(target, dial, deadline)).await?, false),
        };
        wire.seen.reset();
        let sent = wire.sender.try_send_request(request);
        let failure = match timeout_at(deadline, drive(&mut wire.connection, sent)).await {
            Ok(Ok(response)) if was_pooled && response.status() == StatusCode::REQUEST_TIMEOUT => {
                // Some servers send 408 before they close an idle connection: it does not answer this request.
                return Err(EgressError { stale: true, ..closed_error(target) });
            }
            Ok(Ok(response)) => return Ok(finish(target, wire, response, deadline).await),
            Ok(Err(mut failed)) => {
                // hyper hands the request back only if it wrote none of it.
                let unsent = failed.take_message().is_some();
                let failure = no_response(target, failed.error(), was_pooled, unsent);
                if unsent {
                    return Err(failure);
                }
                failure
            }
            Err(_) => EgressError::timeout(format!("no response from {} in time", target.host_port())),
        };
        match wire.seen.get() {
            Some(status) if !(was_pooled && status == StatusCode::REQUEST_TIMEOUT) => {
                tracing::debug!(%status, error = failure.message, "only the status line of a response could be read");
                Ok(HttpResponse { status, headers: HeaderMap::new(), body: Vec::new() })
            }
            _ => Err(failure),
        }
    }

    async fn open(
        &self,
        target: &EgressTarget,
        dial: DialOptions,
        deadline: Instant,
    ) -> Result<Box<Wire>, EgressError> {
        let deadline = deadline.min(Instant::now() + CONNECT_TIMEOUT);
        let origin = &target.origin;
        let plain = origin.tls.is_none();
        let check = |address: &std::net::SocketAddr| self.check_http(address.ip(), plain);
        let tcp = self.dial(&origin.host, origin.port, dial, deadline, check).await?;
        let opened_at = Instant::now();
        let stream = match &origin.tls {
            None => Stream::Plain(tcp),
            Some(tls) => {
                // A resumed session presents no certificate: a retry is to see what other clients see.
                let handshake = if dial.fresh { Handshake::Full } else { Handshake::Resume };
                let handshake = tls.connect(&origin.host, &origin.host, tcp, handshake);
                match timeout_at(deadline, handshake).await {
                    Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
                    Ok(Err(error)) => return Err(error.into()),
                    Err(_) => {
                        let host_port = target.host_port();
                        return Err(EgressError::timeout(format!("no TLS handshake with {host_port} in time")));
                    }
                }
            }
        };
        let stream = Watched::new(stream);
        let seen = stream.seen();
        let made = http1::builder().handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|error| no_response(target, &error, false, false))?;
        Ok(Box::new(Wire { sender, connection: Some(connection), seen, opened_at }))
    }

    /// The guard's check, and for `http` without TLS that the operator allows it to this address.
    fn check_http(&self, ip: std::net::IpAddr, plain: bool) -> Result<(), super::Refused> {
        let guard = self.guard();
        guard.check(ip)?;
        // `check_url` cannot decide this for names; here the address is known.
        if plain && !guard.allow_http && !guard.allows(ip) {
            return Err(super::Refused { ip, what: "outside the networks allowed for http without TLS" });
        }
        Ok(())
    }
}

/// Reads the body, and keeps the connection if it may be used again.
async fn finish(
    target: &EgressTarget,
    mut wire: Box<Wire>,
    response: Response<Incoming>,
    deadline: Instant,
) -> HttpResponse {
    let (head, body) = response.into_parts();
    let (body, ended) = read_body(&mut wire.connection, body, deadline).await;
    // With body bytes still on the wire, the next response on this connection would start in the middle of them. After an
    // error the receiver may be one that was replaced and only finishes what is connected to it: the next request dials.
    if ended && head.status.is_success() && wire.is_reusable().await {
        target.origin.put_idle(wire);
    }
    HttpResponse { status: head.status, headers: head.headers, body }
}

fn closed_error(target: &EgressTarget) -> EgressError {
    let message = format!("{} closed the connection without a response", target.host_port());
    EgressError::new(ErrorClass::Protocol, message)
}

/// Why no response head arrived. `unsent`: no byte of the request was written.
fn no_response(target: &EgressTarget, error: &hyper::Error, was_pooled: bool, unsent: bool) -> EgressError {
    let host_port = target.host_port();
    let reset = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<io::Error>())
        .map(io::Error::kind)
        .is_some_and(|kind| matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe));
    let closed = unsent || reset || error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    let mut failure = if let Some(why) = describe_tls_error(error) {
        EgressError::new(ErrorClass::Tls, format!("{host_port} ended the TLS connection: {why}"))
    } else if error.is_parse_too_large() {
        EgressError::new(ErrorClass::Protocol, format!("the response headers from {host_port} are too large"))
    } else if error.is_parse() {
        EgressError::new(ErrorClass::Protocol, format!("the response from {host_port} is not valid HTTP"))
    } else if closed {
        closed_error(target)
    } else {
        EgressError::new(ErrorClass::Protocol, format!("the connection to {host_port} failed"))
    };
    // A pooled connection may be closed by the peer at any time, also while the request is on its way. That is no
    // evidence against the receiver, so the caller repeats the request once on a fresh connection. If the receiver had
    // processed it after all, the repetition carries the same `webhook-id`.
    failure.stale = was_pooled && closed;
    failure
}

impl Wire {
    /// How long ago the connection was opened.
    pub(super) fn age(&self) -> Duration {
        self.opened_at.elapsed()
    }

    /// Lets hyper process the end of the last response, and returns whether the connection accepts another request.
    async fn is_reusable(&mut self) -> bool {
        // One poll only: without it a `Connection: close` or EOF that has already arrived would go unnoticed.
        let open = poll_fn(|cx| {
            let done = self.connection.as_mut().is_none_or(|connection| Pin::new(connection).poll(cx).is_ready());
            Poll::Ready(!done)
        });
        open.await && self.sender.is_ready()
    }
}

/// The beginning of the body, and whether its end was reached. A body that breaks off or outlasts the deadline gives the
/// part that arrived.
async fn read_body(connection: &mut Option<Http>, mut incoming: Incoming, deadline: Instant) -> (Vec<u8>, bool) {
    let announced = incoming.size_hint().lower();
    let mut kept = Vec::with_capacity(announced.min(KEPT_BYTES_MAX as u64) as usize);
    // If the announced length exceeds the limit, its end is never reached: stop once enough is kept.
    let too_long = announced > READ_BYTES_MAX as u64;
    let mut read_bytes = 0;
    let reading = async {
        while let Some(frame) = incoming.frame().await {
            let Ok(frame) = frame else { return false };
            let Some(data) = frame.data_ref() else { continue };
            read_bytes += data.len();
            kept.extend_from_slice(&data[..data.len().min(KEPT_BYTES_MAX - kept.len())]);
            if read_bytes > READ_BYTES_MAX || (too_long && kept.len() == KEPT_BYTES_MAX) {
                return false;
            }
        }
        true
    };
    let ended = timeout_at(deadline, drive(connection, reading)).await.unwrap_or(false);
    (kept, ended)
}
