//! Load generator: reports runs at full speed or at a constant rate and prints one line of JSON.
//!
//! Requests are prepared bytes in which only the send times change, and of responses only the status is parsed: this
//! program shares the cores with the server that it measures.

mod closed;
mod paced;
mod report;
mod request;

use std::time::Duration;

use clap::Parser;
use tidings_bench::target::Target;

use crate::request::{Body, Template};

/// Reports runs over HTTP and prints one line of JSON with counts, rates and latencies
///
/// Without --rate each connection sends the next request after the previous response (closed loop). With --rate
/// requests are sent at even intervals, however slow the responses are (open loop). Every run id holds the send time.
#[derive(Parser)]
struct Args {
    /// Where to, such as http://127.0.0.1:8080/api/workspaces/default/runs; loopback only
    #[arg(long)]
    url: String,
    /// The API key; better given as the variable, which other users cannot see
    #[arg(long, env = "TIDINGS_API_KEY", hide_env_values = true, default_value = "")]
    key: String,
    /// Keep-alive connections
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// Events in all
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    events: u64,
    /// No more requests after this many seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Events per request; more than one makes the body an array
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    batch: u16,
    /// Requests per second, evenly spaced
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: Option<u64>,
    /// The runs' resourceType
    #[arg(long, default_value = "flow")]
    resource_type: String,
    /// The runs' resourceId
    #[arg(long, default_value = "bench")]
    resource_id: String,
    /// Bytes of one event, filled up with output; never fewer than its fields need
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u16).range(0..=60_000))]
    body_bytes: u16,
}

/// Amount of load.
#[derive(Debug, Clone, Copy)]
struct Plan {
    connections: u64,
    requests: u64,
    batch: u64,
    limit: Duration,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let body = Body {
        resource_type: args.resource_type,
        resource_id: args.resource_id,
        bytes: args.body_bytes.into(),
        batch: args.batch.into(),
    };
    let target = Target::parse(&args.url)?;
    let template = Template::new(&target, &args.key, &body)?;
    let batch = u64::from(args.batch);
    let requests = args.events.div_ceil(batch);
    let connections = u64::from(args.connections).min(requests);
    let plan = Plan { connections, requests, batch, limit: Duration::from_secs(args.seconds) };
    let report = match args.rate {
        None => closed::run(target.address, &template, plan)?,
        Some(rate) => paced::run(target.address, &template, plan, rate)?,
    };
    println!("{}", report.to_json()?);
    Ok(())
}
