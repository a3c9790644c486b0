//! The load generator `tidings-load`, and its report.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use serde_json::Value;

use super::{Bench, process::Process};

/// Longer than the generator's timeout of a response.
const GRACE: Duration = Duration::from_secs(40);

/// What to send, and where to.
#[derive(Clone)]
pub struct Load<'a> {
    pub address: SocketAddr,
    pub path: String,
    pub key: &'a str,
    pub resource_id: &'a str,
    /// Keep-alive connections.
    pub connections: u64,
    /// Events per request.
    pub batch: u64,
    /// Events in all.
    pub events: u64,
    /// Requests per second; `None` for full speed.
    pub rate: Option<u64>,
    /// No more requests after this time.
    pub limit: Duration,
}

/// The generator's report.
pub struct Sent {
    /// Accepted events.
    pub events: u64,
    /// Responses per second.
    pub requests_per_second: f64,
    /// Start of the first request.
    pub start_nanos: u64,
}

/// Quantiles of latencies, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Quantiles {
    /// Number of latencies.
    pub count: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl Quantiles {
    /// Parses the JSON of generator or sink.
    pub fn read(summary: &Value) -> anyhow::Result<Self> {
        let number = |name: &str| summary[name].as_f64().with_context(|| format!("there is no {name} in {summary}"));
        let count = summary["count"].as_u64().context("nothing was timed: did the run's id not reach the receiver?")?;
        Ok(Self { count, p50_ms: number("p50Ms")?, p99_ms: number("p99Ms")? })
    }
}

impl Load<'static> {
    /// A minimal load, for struct update syntax.
    pub fn one(address: SocketAddr, path: &str) -> Self {
        Self {
            address,
            path: path.to_owned(),
            key: "",
            resource_id: "bench",
            connections: 4,
            batch: 1,
            events: 1,
            rate: None,
            limit: Duration::from_secs(120),
        }
    }
}

impl Load<'_> {
    /// Sends everything and waits. Fails unless all of it is accepted.
    pub fn send(&self, bench: &Bench) -> anyhow::Result<Sent> {
        let (mut process, output) = self.start(bench)?;
        process.wait(self.limit + GRACE)?;
        let text = fs::read_to_string(&output).with_context(|| format!("cannot read {}", output.display()))?;
        let report: Value = serde_json::from_str(&text).with_context(|| format!("the generator printed: {text}"))?;
        let number = |name: &str| report[name].as_f64().with_context(|| format!("there is no {name} in {report}"));
        let errors = report["errors"].as_u64().unwrap_or(u64::MAX);
        anyhow::ensure!(errors == 0, "{errors} requests failed, the first with: {}", report["firstError"]);
        let events = report["events"].as_u64().unwrap_or(0);
        anyhow::ensure!(events > 0, "nothing was sent: {report}");
        Ok(Sent {
            events,
            requests_per_second: number("requestsPerSecond")?,
            start_nanos: report["startNanos"].as_u64().context("the generator's report has no startNanos")?,
        })
    }

    /// Sends in the background, until the returned process is dropped.
    pub fn send_meanwhile(&self, bench: &Bench) -> anyhow::Result<Process> {
        self.start(bench).map(|(process, _)| process)
    }

    fn start(&self, bench: &Bench) -> anyhow::Result<(Process, PathBuf)> {
        let dir = bench.scratch.dir("load")?;
        let process = Process::start(&bench.binaries.join("tidings-load"), &dir, "tidings-load", |command| {
            command.env("TIDINGS_API_KEY", self.key);
            command.args(["--url", &format!("http://{}{}", self.address, self.path)]);
            command.args(["--resource-id", self.resource_id]);
            let numbers = [
                ("--connections", self.connections),
                ("--batch", self.batch),
                ("--events", self.events),
                ("--seconds", self.limit.as_secs()),
            ];
            for (name, number) in numbers.into_iter().chain(self.rate.map(|rate| ("--rate", rate))) {
                command.args([name, &number.to_string()]);
            }
        })?;
        Ok((process, dir.join("tidings-load.log")))
    }
}
