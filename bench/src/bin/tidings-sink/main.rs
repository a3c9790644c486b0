//! Webhook receiver, as cheap as possible, so that the server dominates.
//!
//! The path selects the behaviour, and requests are counted by their whole path: `/ok/a` and `/ok/b` separately.
//! Latency is measured from the send time in the body (see `tidings_bench::send_time`) to the arrival.

mod connection;
mod stats;

use std::{cell::RefCell, net::SocketAddr, rc::Rc};

use anyhow::Context as _;
use clap::Parser;
use tidings_bench::process;
use tokio::{net::TcpListener, task::LocalSet};

use crate::stats::Stats;

/// Receives webhooks, counts them and measures their latency
///
/// /ok/… answers 200 · /status/<code>/… answers <code> · /slow/<ms>/… answers 200 after <ms> · /hang/… never answers.
/// GET /_stats returns counts and latencies by path (?distinct: also distinct webhook-ids) · POST /_reset clears them.
#[derive(Parser)]
struct Args {
    /// Address to listen on; port 0 selects a free port
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Exit when standard input closes, that is, when the parent process ends
    #[arg(long)]
    with_parent: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    anyhow::ensure!(args.listen.ip().is_loopback(), "it listens on loopback only");
    if args.with_parent {
        process::exit_with_parent();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, listen(args.listen))
}

async fn listen(address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    println!("{}", listener.local_addr()?);
    let stats = Rc::new(RefCell::new(Stats::default()));
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept a connection")?;
        let _ = stream.set_nodelay(true);
        let stats = Rc::clone(&stats);
        tokio::task::spawn_local(async move {
            // Clients may disconnect at any time: kill tests and timeouts do that. Only malformed requests are printed.
            if let Err(error) = connection::serve(stream, &stats).await
                && error.kind() == std::io::ErrorKind::Other
            {
                eprintln!("{error}");
            }
        });
    }
}
