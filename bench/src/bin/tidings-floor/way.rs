//! The bare way of an event: what is left of the server when everything that makes it the product is taken away.
//!
//! ```text
//!  POST ──▶ commit, with all that waits ──▶ 202
//!                     └──▶ sign twice, POST to the sink ──▶ settle, with all that waits
//! ```
//!
//! A request brings one event or many, and an event has one delivery or many: each is sent, signed and settled by itself.
//!
//! No routing, no authentication, no validation, no JSON, no retries: the first thing that goes wrong ends the program.
//! (Of an array it finds where its elements end: there is no other way to tell one event from the next.) The libraries,
//! the allocator and the durability are the server's, and so is whatever this machine makes of them.

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

/// Deliveries to one path that may be on their way, from before their commit until they are settled: as many as the
/// server holds of one channel in memory. Further events wait to be committed.
const PLACES: usize = 1_024;
/// Bytes of one request at most.
const BODY_BYTES_MAX: usize = 2 * 1_024 * 1_024;
/// How long a delivery may take from its commit to the sink's answer: long enough for any machine that is not stuck.
const SENT_WITHIN: Duration = Duration::from_secs(60);

/// What all connections share.
struct Way {
    /// The number of the next event.
    next: AtomicU64,
    /// Deliveries of each event.
    fan_out: u64,
    places: Arc<Semaphore>,
    places_max: u64,
    writer: Writer,
    sender: Sender,
}

/// Serves until the program is killed or something goes wrong.
pub fn serve(dir: &Path, target: &Target, fan_out: u16, listen: SocketAddr) -> anyhow::Result<()> {
    let path = dir.join("way.db");
    anyhow::ensure!(!path.exists(), "{} is there already", path.display());
    let places = PLACES * usize::from(fan_out);
    let way = Arc::new(Way {
        next: AtomicU64::new(0),
        fan_out: fan_out.into(),
        places: Arc::new(Semaphore::new(places)),
        places_max: places as u64,
        writer: Writer::start(tables::open(&path)?, fan_out.into()),
        sender: Sender::new(target, fan_out.into())?,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(accept(listen, &way))
}

/// Says why, and ends the program: a floor with a hole in it measures nothing.
fn give_up(error: &anyhow::Error) -> ! {
    eprintln!("{error:#}");
    process::exit(1)
}

async fn accept(listen: SocketAddr, way: &Arc<Way>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept a connection")?;
        let _ = stream.set_nodelay(true);
        let way = Arc::clone(way);
        let service = service_fn(move |request| answer(Arc::clone(&way), request));
        // Answers are short: one copy costs less than a list of pieces.
        let connection = http1::Builder::new().writev(false).serve_connection(TokioIo::new(stream), service);
        // How a connection ends is the generator's doing, which tells of it.
        tokio::spawn(async move { drop(connection.await) });
    }
}

async fn answer(way: Arc<Way>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::POST {
        return Ok(json(StatusCode::OK, format!("{{\"settled\":{}}}", way.writer.settled()).into()));
    }
    let body = match Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Ok(json(StatusCode::PAYLOAD_TOO_LARGE, Bytes::new())),
        Err(_) => return Ok(json(StatusCode::BAD_REQUEST, Bytes::new())),
    };
    let Some(events) = elements::of(body) else { return Ok(json(StatusCode::BAD_REQUEST, Bytes::new())) };
    let count = events.len() as u64;
    if count * way.fan_out > way.places_max {
        return Ok(json(StatusCode::PAYLOAD_TOO_LARGE, Bytes::new()));
    }
    match take(&way, events).await {
        Ok(()) => Ok(json(StatusCode::ACCEPTED, format!("{{\"accepted\":{count},\"duplicates\":0}}").into())),
        Err(error) => give_up(&error),
    }
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Commits what one request brought, and sends it on its way. A caller that is gone by then takes its events with it: the
/// generator never does that, except to fail.
async fn take(way: &Arc<Way>, events: Vec<Bytes>) -> anyhow::Result<()> {
    let count = events.len() as u64;
    let mut places = Arc::clone(&way.places).acquire_many_owned(u32::try_from(count * way.fan_out)?).await?;
    let first = way.next.fetch_add(count, Ordering::Relaxed);
    let events = way.writer.accept(first, events).await?;
    for (event, body) in (first..).zip(events) {
        for path in 0..way.fan_out {
            let place = places.split(1).context("a delivery has no place")?;
            tokio::spawn(deliver(Arc::clone(way), event * way.fan_out + path, body.clone(), place));
        }
    }
    Ok(())
}

/// Sends one delivery, and has it settled.
async fn deliver(way: Arc<Way>, delivery: u64, body: Bytes, place: OwnedSemaphorePermit) {
    let sent = match timeout(SENT_WITHIN, way.sender.send(delivery, body)).await {
        Ok(Ok(())) => way.writer.settle(delivery, place),
        Ok(Err(error)) => Err(error.context("an event could not be sent")),
        Err(_) => Err(anyhow::anyhow!("the sink did not answer within {} s", SENT_WITHIN.as_secs())),
    };
    sent.unwrap_or_else(|error| give_up(&error));
}
