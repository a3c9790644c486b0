//! The accept loop: connections are taken, served and, at the end, finished within a bound.
//!
//! Nobody can hold the door shut: there are only so many connections at once, headers must arrive within
//! [`HEADER_TIMEOUT`] (which also ends idle connections), and bodies have a time of their own.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use metrics::gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::observe::CONNECTIONS;

/// The most connections served at once; further ones wait to be taken.
pub const CONNECTIONS_MAX: usize = 8_192;
/// How long the headers of a request may take to arrive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How many bytes of headers a request may have.
const HEADER_BYTES_MAX: usize = 32 * 1_024;
/// How many headers a request may have.
const HEADERS_MAX: usize = 100;
/// How long to wait where the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` is ready. Then takes no more connections, finishes the requests that are being served within
/// `drain_bound`, and answers whether all were finished.
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
            (stream, slot) = next(&listener, &slots) => attend(stream, slot, &router, closing.subscribe()),
        }
    }
    drop(listener);
    closing.send_replace(());
    // Each connection listens until it has ended.
    tokio::time::timeout(drain_bound, closing.closed()).await.is_ok()
}

/// The next connection, with the slot that it takes.
async fn next(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
            // The semaphore is never closed.
            std::future::pending().await
        };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, slot),
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether only the one connection failed, before it was taken.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Serves one connection on a task of its own.
fn attend(stream: TcpStream, slot: OwnedSemaphorePermit, router: &Router, closing: watch::Receiver<()>) {
    // Answers are small and written whole; waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_header_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX * 2)
        // Answers are short: one copy costs less than a list of pieces.
        .writev(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
    tokio::spawn(async move {
        gauge!(CONNECTIONS).increment(1.0);
        // What goes wrong with a connection is the client's doing, or its network's.
        if let Err(error) = until_end(connection, closing).await {
            tracing::debug!(%error, "a connection ended early");
        }
        gauge!(CONNECTIONS).decrement(1.0);
        drop(slot);
    });
}

/// Serves a connection to its end, which comes with its next answer once the door closes.
async fn until_end<C: GracefulConnection>(connection: C, closing: watch::Receiver<()>) -> Result<(), C::Error> {
    let mut connection = pin!(connection);
    let mut listening = closing.clone();
    let mut closed = pin!(listening.changed());
    let mut is_closing = false;
    let mut listener: Option<Waker> = None;
    std::future::poll_fn(|context| {
        // Who listens is woken up. To listen anew in each turn would take a lock that all connections share.
        let listens = listener.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
        if !is_closing && (!listens || closing.has_changed().unwrap_or(true)) {
            is_closing = closed.as_mut().poll(context).is_ready();
            listener = Some(context.waker().clone());
            if is_closing {
                connection.as_mut().graceful_shutdown();
            }
        }
        connection.as_mut().poll(context)
    })
    .await
}
