//! What this machine could do at best: rows that are committed in groups, and signatures. One line of JSON each.

mod rows;
mod signatures;

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};

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
}

fn main() -> anyhow::Result<()> {
    let line = match Args::parse().what {
        What::Rows { dir, seconds, operations, body_bytes } => {
            rows::measure(&dir, Duration::from_secs(seconds), operations.into(), body_bytes.into())?
        }
        What::Hmac { seconds, body_bytes } => signatures::measure(Duration::from_secs(seconds), body_bytes.into()),
    };
    println!("{line}");
    Ok(())
}
