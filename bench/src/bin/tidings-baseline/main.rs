//! The machine's upper limits: group-committed rows, signatures, and a minimal event pipeline.

mod pipeline;
mod rows;
mod signatures;
mod tables;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use tidings_bench::target::Target;

/// The server's own, so that the allocator makes no difference.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures upper limits of the server's performance on this machine
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Accept and settle events in SQLite as the server's store does: WAL, synchronous=FULL, group commit
    Rows {
        /// An existing directory on the disk to measure; the database is created in it
        #[arg(long)]
        dir: PathBuf,
        /// Duration
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// Operations per commit, half accepts and half settles
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(2..=10_000))]
        operations: u16,
        /// Bytes of one event
        #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u16).range(1..))]
        body_bytes: u16,
    },
    /// Sign bodies with HMAC-SHA256, one after another
    Hmac {
        /// Duration
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// Bytes of one body
        #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u16).range(1..))]
        body_bytes: u16,
    },
    /// Run a minimal event pipeline until killed: POST in, commit, 202, sign, POST out, settle
    ///
    /// Each element of an array body is an event; any other body is one event. Prints the address that it listens on.
    /// GET returns the number of settled deliveries.
    Pipeline {
        /// An existing directory on the disk to measure; the database is created in it
        #[arg(long)]
        dir: PathBuf,
        /// Base URL of deliveries, such as http://127.0.0.1:8081/ok/pipeline for /ok/pipeline/0 and so on; loopback
        /// only
        #[arg(long)]
        target: String,
        /// Deliveries per event, each with its own path and keys
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
        fan_out: u16,
        /// Address to listen on; port 0 selects a free port
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Exit when standard input closes, that is, when the parent process ends
        #[arg(long)]
        with_parent: bool,
    },
}

fn main() -> anyhow::Result<()> {
    let line = match Args::parse().mode {
        Mode::Rows { dir, seconds, operations, body_bytes } => {
            rows::measure(&dir, Duration::from_secs(seconds), operations.into(), body_bytes.into())?
        }
        Mode::Hmac { seconds, body_bytes } => signatures::measure(Duration::from_secs(seconds), body_bytes.into()),
        Mode::Pipeline { dir, target, fan_out, listen, with_parent } => {
            anyhow::ensure!(listen.ip().is_loopback(), "it listens on loopback only");
            if with_parent {
                tidings_bench::process::exit_with_parent();
            }
            return pipeline::serve(&dir, &Target::parse(&target)?, fan_out, listen);
        }
    };
    println!("{line}");
    Ok(())
}
