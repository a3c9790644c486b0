//! The check engine in a process of its own, without server and store: the prober, and the schedule over it.
//!
//! What is measured is what looking costs, not what becomes of it: nothing is judged and nothing is written down. It
//! prints one line of JSON: how many checks, and the processor time and memory of this process, from `/proc`.

mod bare;
mod flat_out;
mod report;
mod schedule;
mod watched;

use std::{net::SocketAddrV4, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use tidings_bench::files;

/// The server's own, so that the allocator makes no difference.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Watches what `tidings-target` serves and prints one line of JSON about it
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    how: How,
}

#[derive(Subcommand)]
enum How {
    /// Probes as fast as it can: each of a number of loops begins the next when the last has ended
    FlatOut(FlatOut),
    /// The same without the prober: requests as finished bytes over connections that stay open
    Bare(FlatOut),
    /// Watches endpoints on schedule, each a host of its own
    Schedule(Schedule),
}

/// What is watched.
#[derive(Args)]
struct Hosts {
    /// The first host of each target process, such as 127.1.0.1:8080; loopback only
    #[arg(long, required = true)]
    first: Vec<SocketAddrV4>,
    /// How many hosts there are in all; over TLS they are names for the first address
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    hosts: u32,
    /// Speak TLS, and trust the authority whose certificate (DER) is in this file
    #[arg(long)]
    tls: Option<PathBuf>,
    /// What is asked for; after `/close` the connection has to be made anew
    #[arg(long, default_value = "/health")]
    path: String,
}

#[derive(Args)]
struct FlatOut {
    #[command(flatten)]
    hosts: Hosts,
    /// How many loops
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    at_once: u32,
    /// How long it is measured, after a second to warm up
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

#[derive(Args)]
struct Schedule {
    #[command(flatten)]
    hosts: Hosts,
    /// How often each endpoint is looked at
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=3_600))]
    interval_seconds: u32,
    /// How long it is measured, after two intervals to warm up
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
}

fn main() -> anyhow::Result<()> {
    let how = Cli::parse().how;
    files::as_many_as_granted();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = match how {
        How::FlatOut(it) => runtime.block_on(flat_out::run(&it.hosts, it.at_once, Duration::from_secs(it.seconds)))?,
        How::Bare(it) => runtime.block_on(bare::run(&it.hosts, it.at_once, Duration::from_secs(it.seconds)))?,
        How::Schedule(it) => {
            runtime.block_on(schedule::run(&it.hosts, it.interval_seconds, Duration::from_secs(it.seconds)))?
        }
    };
    println!("{}", report.to_json()?);
    Ok(())
}
