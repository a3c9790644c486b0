//! The baseline: a minimal event pipeline with the server's libraries and durability, but without the product.
//!
//! ```text
//!  POST ──▶ group commit ──▶ 202
//!                └──▶ sign twice, POST to the sink ──▶ settle in a group commit
//! ```
//!
//! A request has one or more events, an event one or more deliveries; each delivery is signed, sent and settled
//! separately.
//!
//! There is no routing, authentication, validation, JSON parsing or retry: the first error ends the program. Array
//! bodies are only split at their elements. Libraries, allocator and durability are the server's.

mod elements;
mod sender;
mod writer;

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tidings_bench::target::Target;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use self::{sender::Sender, writer::Writer};
use crate::tables;

/// Deliveries in flight per path, from before their commit until they are settled: as many as the server keeps in
/// memory per channel. Further events wait before their commit.
const IN_FLIGHT_PER_PATH: usize = 1_024;
/// The largest request in bytes.
const BODY_BYTES_MAX: usize = 2 * 1_024 * 1_024;
/// Timeout of a delivery, from its commit to the sink's response.
const SENT_WITHIN: Duration = Duration::from_secs(60);

/// What all connections share.
struct Pipeline {
    next_event: AtomicU64,
    /// Deliveries per event.
    fan_out: u64,
    permits: Arc<Semaphore>,
    permits_max: u64,
    writer: Writer,
    sender: Sender,
}

/// Serves until the program is killed or an error occurs.
pub fn serve(dir: &Path, target: &Target, fan_out: u16, listen: SocketAddr) -> anyhow::Result<()> {
    let path = dir.join("pipeline.db");
    anyhow::ensure!(!path.exists(), "{} exists already", path.display());
    let permits = IN_FLIGHT_PER_PATH * usize::from(fan_out);
    let pipeline = Arc::new(Pipeline {
        next_event: AtomicU64::new(0),
        fan_out: fan_out.into(),
        permits: Arc::new(Semaphore::new(permits)),
        permits_max: permits as u64,
        writer: Writer::start(tables::open(&path)?, fan_out.into()),
        sender: Sender::new(target, fan_out.into())?,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(accept(listen, &pipeline))
}

/// Prints the error and exits: an incomplete baseline is worthless.
fn abort(error: &anyhow::Error) -> ! {
    eprintln!("{error:#}");
    process::exit(1)
}

async fn accept(listen: SocketAddr, pipeline: &Arc<Pipeline>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept a connection")?;
        let _ = stream.set_nodelay(true);
        let pipeline = Arc::clone(pipeline);
        let service = service_fn(move |request| answer(Arc::clone(&pipeline), request));
        // Responses are short: one copy is cheaper than vectored writes.
        let connection = http1::Builder::new().writev(false).serve_connection(TokioIo::new(stream), service);
        // Connection errors are reported by the generator.
        tokio::spawn(async move { drop(connection.await) });
    }
}

async fn answer(pipeline: Arc<Pipeline>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::POST {
        return Ok(json(StatusCode::OK, format!("{{\"settled\":{}}}", pipeline.writer.settled()).into()));
    }
    let body = match Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Ok(json(StatusCode::PAYLOAD_TOO_LARGE, Bytes::new())),
        Err(_) => return Ok(json(StatusCode::BAD_REQUEST, Bytes::new())),
    };
    let Some(events) = elements::split(body) else { return Ok(json(StatusCode::BAD_REQUEST, Bytes::new())) };
    let count = events.len() as u64;
    if count * pipeline.fan_out > pipeline.permits_max {
        return Ok(json(StatusCode::PAYLOAD_TOO_LARGE, Bytes::new()));
    }
    match accept_events(&pipeline, events).await {
        Ok(()) => Ok(json(StatusCode::ACCEPTED, format!("{{\"accepted\":{count},\"duplicates\":0}}").into())),
        Err(error) => abort(&error),
    }
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Commits the events of a request and starts their deliveries. If the client disconnects first, its events are lost;
/// the generator does that only when it fails.
async fn accept_events(pipeline: &Arc<Pipeline>, events: Vec<Bytes>) -> anyhow::Result<()> {
    let count = events.len() as u64;
    let mut permits =
        Arc::clone(&pipeline.permits).acquire_many_owned(u32::try_from(count * pipeline.fan_out)?).await?;
    let first = pipeline.next_event.fetch_add(count, Ordering::Relaxed);
    let events = pipeline.writer.accept(first, events).await?;
    for (event, body) in (first..).zip(events) {
        for path in 0..pipeline.fan_out {
            let permit = permits.split(1).context("BUG: a delivery without a permit")?;
            tokio::spawn(deliver(Arc::clone(pipeline), event * pipeline.fan_out + path, body.clone(), permit));
        }
    }
    Ok(())
}

/// Sends and settles one delivery.
async fn deliver(pipeline: Arc<Pipeline>, delivery: u64, body: Bytes, permit: OwnedSemaphorePermit) {
    let sent = match timeout(SENT_WITHIN, pipeline.sender.send(delivery, body)).await {
        Ok(Ok(())) => pipeline.writer.settle(delivery, permit),
        Ok(Err(error)) => Err(error.context("failed to send an event")),
        Err(_) => Err(anyhow::anyhow!("the sink did not answer within {} s", SENT_WITHIN.as_secs())),
    };
    sent.unwrap_or_else(|error| abort(&error));
}
