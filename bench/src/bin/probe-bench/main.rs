//! Prober and scheduler in a process of their own, without server and store.
//!
//! Measures the cost of probing only: results are neither evaluated nor persisted. Prints one line of JSON with the
//! number of checks and the processor time and memory of this process.

mod baseline;
mod flat_out;
mod report;
mod schedule;
mod targets;

use std::{net::SocketAddrV4, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use tidings_bench::process;

/// The server's own, so that the allocator makes no difference.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Probes the hosts of tidings-target and prints one line of JSON
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Probe at full speed: each loop starts the next probe when the previous one has finished
    FlatOut(FlatOut),
    /// The same without the prober: prepared requests over keep-alive connections
    Baseline(FlatOut),
    /// Probe endpoints on schedule, one per host
    Schedule(Schedule),
}

/// The hosts to probe.
#[derive(Args)]
struct Hosts {
    /// The first host of each target process, such as 127.1.0.1:8080; loopback only
    #[arg(long, required = true)]
    first: Vec<SocketAddrV4>,
    /// Number of hosts; with TLS they are names of the first address
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    hosts: u32,
    /// Use TLS and trust the authority whose certificate (DER) is in this file
    #[arg(long)]
    tls: Option<PathBuf>,
    /// Path of the requests; after /close the server closes the connection
    #[arg(long, default_value = "/health")]
    path: String,
}

#[derive(Args)]
struct FlatOut {
    #[command(flatten)]
    hosts: Hosts,
    /// Number of loops
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    at_once: u32,
    /// Duration of the measurement, after one second of warm-up
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

#[derive(Args)]
struct Schedule {
    #[command(flatten)]
    hosts: Hosts,
    /// Interval of each endpoint
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=3_600))]
    interval_seconds: u32,
    /// Duration of the measurement, after two intervals of warm-up
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
}

fn main() -> anyhow::Result<()> {
    let mode = Cli::parse().mode;
    process::raise_open_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = match mode {
        Mode::FlatOut(it) => runtime.block_on(flat_out::run(&it.hosts, it.at_once, Duration::from_secs(it.seconds)))?,
        Mode::Baseline(it) => {
            runtime.block_on(baseline::run(&it.hosts, it.at_once, Duration::from_secs(it.seconds)))?
        }
        Mode::Schedule(it) => {
            runtime.block_on(schedule::run(&it.hosts, it.interval_seconds, Duration::from_secs(it.seconds)))?
        }
    };
    println!("{}", report.to_json()?);
    Ok(())
}
