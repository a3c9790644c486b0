//! The bare way of an event: what is left of the server when everything that makes it the product is taken away.
//!
//! ```text
//!  POST ──▶ commit, with all that waits ──▶ 202
//!                     └──▶ sign twice, POST to the sink ──▶ settle, with all that waits
//! ```
//!
//! No routing, no authentication, no validation, no JSON, no retries: the first thing that goes wrong ends the program.
//! The libraries, the allocator and the durability are the server's, and so is whatever this machine makes of them.

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
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};

use self::{sender::Sender, writer::Writer};
use crate::tables;

/// Events that may be on their way, from before their commit until they are settled. Further ones wait to be read.
const PLACES: usize = 1_024;
/// Bytes of one event at most.
const BODY_BYTES_MAX: usize = 64 * 1_024;
/// How long an event may take from its commit to the sink's answer: long enough for any machine that is not stuck.
const SENT_WITHIN: Duration = Duration::from_secs(60);

/// What all connections share.
struct Way {
    next: AtomicU64,
    places: Arc<Semaphore>,
    writer: Writer,
    sender: Sender,
}

/// Serves until the program is killed or something goes wrong.
pub fn serve(dir: &Path, target: Target, listen: SocketAddr) -> anyhow::Result<()> {
    let path = dir.join("way.db");
    anyhow::ensure!(!path.exists(), "{} is there already", path.display());
    let way = Arc::new(Way {
        next: AtomicU64::new(0),
        places: Arc::new(Semaphore::new(PLACES)),
        writer: Writer::start(tables::open(&path)?),
        sender: Sender::new(target)?,
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
    match take(&way, body).await {
        Ok(()) => Ok(json(StatusCode::ACCEPTED, Bytes::from_static(b"{\"accepted\":1,\"duplicates\":0}"))),
        Err(error) => give_up(&error),
    }
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Commits an event, and sends it on its way. A caller that is gone by then takes the event with it: the generator
/// never does that, except to fail.
async fn take(way: &Arc<Way>, body: Bytes) -> anyhow::Result<()> {
    let place = Arc::clone(&way.places).acquire_owned().await?;
    let number = way.next.fetch_add(1, Ordering::Relaxed);
    way.writer.accept(number, body.clone()).await?;
    let way = Arc::clone(way);
    tokio::spawn(async move {
        let sent = match timeout(SENT_WITHIN, way.sender.send(number, body)).await {
            Ok(Ok(())) => way.writer.settle(number, place),
            Ok(Err(error)) => Err(error.context("an event could not be sent")),
            Err(_) => Err(anyhow::anyhow!("the sink did not answer within {} s", SENT_WITHIN.as_secs())),
        };
        sent.unwrap_or_else(|error| give_up(&error));
    });
    Ok(())
}
