//! What this machine could do at best: rows that are committed in groups, signatures, and the bare way of an event.

mod rows;
mod signatures;
mod tables;
mod way;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use tidings_bench::target::Target;

/// The server's own, so that the allocator makes no difference.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures what the server cannot be faster than on this machine
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Accepts and settles events in SQLite as the server's store does: WAL, synchronous=FULL, many in one commit
    Rows {
        /// An existing directory on the disk to be measured; the database is made in it
        #[arg(long)]
        dir: PathBuf,
        /// How long
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// Operations in one commit, half of them accepts and half settles
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(2..=10_000))]
        operations: u16,
        /// Bytes of one event
        #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u16).range(1..))]
        body_bytes: u16,
    },
    /// HMAC-SHA256 of one body after the other
    Hmac {
        /// How long
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// Bytes of one body
        #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u16).range(1..))]
        body_bytes: u16,
    },
    /// Serves the bare way of an event until it is killed: POST in, committed, 202, signed, POST out, settled
    ///
    /// A body that is an array brings an event with each of its elements; any other body is one event. The first line
    /// that it prints is the address that it listens on. GET tells how many deliveries were settled.
    Way {
        /// An existing directory on the disk to be measured; the database is made in it
        #[arg(long)]
        dir: PathBuf,
        /// Below what deliveries go, such as http://127.0.0.1:8081/ok/way for /ok/way/0 and on; loopback only
        #[arg(long)]
        target: String,
        /// Deliveries of each event, each signed with keys of its own and sent to a path of its own
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
        fan_out: u16,
        /// Where to listen; port 0 takes a free one
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// End when standard input ends, so as not to outlive the program that started it
        #[arg(long)]
        with_parent: bool,
    },
}

fn main() -> anyhow::Result<()> {
    let line = match Args::parse().what {
        What::Rows { dir, seconds, operations, body_bytes } => {
            rows::measure(&dir, Duration::from_secs(seconds), operations.into(), body_bytes.into())?
        }
        What::Hmac { seconds, body_bytes } => signatures::measure(Duration::from_secs(seconds), body_bytes.into()),
        What::Way { dir, target, fan_out, listen, with_parent } => {
            anyhow::ensure!(listen.ip().is_loopback(), "it listens on loopback only");
            if with_parent {
                tidings_bench::parent::end_with_it();
            }
            return way::serve(&dir, &Target::parse(&target)?, fan_out, listen);
        }
    };
    println!("{line}");
    Ok(())
}
