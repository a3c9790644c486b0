//! The accept loop: accepts connections, serves each on a task, and drains them at shutdown.
//!
//! Slow clients cannot exhaust the server: it serves at most [`CONNECTIONS_MAX`] at once, headers must arrive within
//! [`HEADER_TIMEOUT`] (which also closes idle connections), and `body` bounds the time that a body may take.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use metrics::gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::client_address::PeerAddress;
use crate::instrument::CONNECTIONS;

/// Connections served at once; further ones wait in the listener's backlog.
pub const CONNECTIONS_MAX: usize = 8_192;
/// How long the headers of a request may take to arrive. Also the time that a connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_BYTES_MAX: usize = 32 * 1_024;
const HEADERS_MAX: usize = 100;
/// The pause after a failed accept, which usually means that no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` completes, then accepts no more connections and waits up to `drain_bound` for requests in
/// flight. Returns whether all of them finished.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
    drain_bound: Duration,
) -> bool {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let closing = watch::Sender::new(());
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            (stream, peer, slot) = accept(&listener, &slots) => {
                serve_connection(stream, peer, slot, &router, closing.subscribe());
            }
        }
    }
    drop(listener);
    closing.send_replace(());
    // Each connection holds a receiver until it has ended.
    tokio::time::timeout(drain_bound, closing.closed()).await.is_ok()
}

/// The next connection, with its peer and its slot. The slot comes first, so that a connection beyond the limit stays in the backlog.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, IpAddr, OwnedSemaphorePermit) {
    loop {
        let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
            // The semaphore is never closed.
            std::future::pending().await
        };
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer.ip(), slot),
            Err(error) if is_connection_error(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether the error concerns that one connection, which failed before it was accepted, and not the listener.
fn is_connection_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Serves one connection on a task of its own.
fn serve_connection(
    stream: TcpStream,
    peer: IpAddr,
    slot: OwnedSemaphorePermit,
    router: &Router,
    closing: watch::Receiver<()>,
) {
    // Responses are small and written at once: Nagle's algorithm would only delay them.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_header_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX * 2)
        // For short responses one copy into the buffer costs less than a vectored write.
        .writev(false)
        .serve_connection(TokioIo::new(stream), WithPeer { router: TowerToHyperService::new(router.clone()), peer });
    tokio::spawn(async move {
        gauge!(CONNECTIONS).increment(1.0);
        // Not a warning: connections fail because of clients and networks, not of this server.
        if let Err(error) = until_shutdown(connection, closing).await {
            tracing::debug!(%error, "connection ended early");
        }
        gauge!(CONNECTIONS).decrement(1.0);
        drop(slot);
    });
}

/// Adds the peer's address to each request. An extension layer around the router would cost each connection a rebuilt
/// router.
struct WithPeer {
    router: TowerToHyperService<Router>,
    peer: IpAddr,
}

impl Service<Request<Incoming>> for WithPeer {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(PeerAddress(self.peer));
        self.router.call(request)
    }
}

/// Serves a connection to its end. After `closing` changes, that is after the response in flight.
async fn until_shutdown<C: GracefulConnection>(connection: C, closing: watch::Receiver<()>) -> Result<(), C::Error> {
    let mut connection = pin!(connection);
    let mut receiver = closing.clone();
    let mut closed = pin!(receiver.changed());
    let mut is_closing = false;
    let mut registered: Option<Waker> = None;
    std::future::poll_fn(|context| {
        // Polling `closed` registers the waker under a lock that all connections share, so it is done only once for each
        // waker: a registered one is woken by the change, and `has_changed` reads an atomic.
        let is_registered = registered.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
        if !is_closing && (!is_registered || closing.has_changed().unwrap_or(true)) {
            is_closing = closed.as_mut().poll(context).is_ready();
            registered = Some(context.waker().clone());
            if is_closing {
                connection.as_mut().graceful_shutdown();
            }
        }
        connection.as_mut().poll(context)
    })
    .await
}
