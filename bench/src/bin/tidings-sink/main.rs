//! A receiver of webhooks for the benchmark: as cheap as possible, so that what is measured is the server.
//!
//! The path says how it behaves; the whole path is the key under which it counts, so `/ok/a` and `/ok/b` count apart.
//! Bodies that carry a stamp (see `tidings_bench::stamp`) are timed from the stamp to their arrival.

mod board;
mod connection;

use std::{cell::RefCell, net::SocketAddr, rc::Rc};

use anyhow::Context as _;
use clap::Parser;
use tidings_bench::parent;
use tokio::{net::TcpListener, task::LocalSet};

use crate::board::Board;

/// Receives webhooks, counts them and measures how long they were on their way
///
/// /ok/… answers 200 · /status/<code>/… answers that · /slow/<ms>/… answers 200 after a while · /hang/… never answers.
/// GET /_stats tells counts and latencies by path (`?distinct`: different webhook-ids too) · POST /_reset forgets them.
#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// End when standard input ends, so as not to outlive the program that started it
    #[arg(long)]
    with_parent: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    anyhow::ensure!(args.listen.ip().is_loopback(), "it listens on loopback only");
    if args.with_parent {
        parent::end_with_it();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, listen(args.listen))
}

async fn listen(address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    println!("{}", listener.local_addr()?);
    let board = Rc::new(RefCell::new(Board::default()));
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept a connection")?;
        let _ = stream.set_nodelay(true);
        let board = Rc::clone(&board);
        tokio::task::spawn_local(async move {
            // A connection that the other side drops in the middle is no news: kill tests and timeouts do that.
            if let Err(error) = connection::serve(stream, &board).await
                && error.kind() == std::io::ErrorKind::Other
            {
                eprintln!("{error}");
            }
        });
    }
}
