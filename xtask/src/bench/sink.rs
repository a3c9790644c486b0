//! The webhook receiver `tidings-sink`, and its statistics.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::Context as _;
use serde_json::Value;

use super::{Bench, http, load::Quantiles, process::Process};

const STARTED_WITHIN: Duration = Duration::from_secs(30);

/// A running sink.
pub struct Sink {
    process: Process,
    pub address: SocketAddr,
}

/// Requests received on all paths with one prefix.
#[derive(Debug, Default, Clone, Copy)]
pub struct Arrived {
    pub requests: u64,
    /// Requests with a webhook-id.
    pub with_id: u64,
    /// Distinct webhook-ids, if queried.
    pub distinct: u64,
    pub last_nanos: u64,
}

impl Sink {
    /// Starts one on a free port.
    pub fn start(bench: &Bench) -> anyhow::Result<Self> {
        let dir = bench.scratch.dir("sink")?;
        let mut process = Process::start(&bench.binaries.join("tidings-sink"), &dir, "tidings-sink", |command| {
            command.arg("--with-parent").stdin(Stdio::piped()).stdout(Stdio::piped());
        })?;
        let address = process.address(STARTED_WITHIN)?;
        Ok(Self { process, address })
    }

    /// The URL of one of its paths.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Resets its counters.
    pub fn reset(&self) -> anyhow::Result<()> {
        let answer = http::call(self.address, "POST", "/_reset", "", "")?;
        anyhow::ensure!(answer.status == 200, "the sink answered {}", answer.status);
        Ok(())
    }

    /// Requests received on paths that start with `prefix`.
    pub fn arrived(&self, prefix: &str, with_distinct: bool) -> anyhow::Result<Arrived> {
        let mut arrived = Arrived::default();
        for path in self.paths(prefix, with_distinct)? {
            let number = |name: &str| path[name].as_u64().unwrap_or_default();
            arrived.requests += number("requests");
            arrived.with_id += number("withId");
            arrived.distinct += number("distinct");
            arrived.last_nanos = arrived.last_nanos.max(number("lastNanos"));
        }
        Ok(arrived)
    }

    /// Latency of this path's requests.
    pub fn latency(&self, path: &str) -> anyhow::Result<Quantiles> {
        let paths = self.paths(path, false)?;
        let stats = paths
            .iter()
            .find(|stats| stats["path"] == path)
            .with_context(|| format!("nothing was received at {path}"))?;
        Quantiles::read(&stats["latency"])
    }

    /// Processor time in seconds.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        self.process.cpu_seconds()
    }

    fn paths(&self, prefix: &str, with_distinct: bool) -> anyhow::Result<Vec<Value>> {
        let what = if with_distinct { "/_stats?distinct" } else { "/_stats" };
        let answer = http::call(self.address, "GET", what, "", "")?;
        let mut stats: Value = serde_json::from_str(&answer.body).context("the sink's statistics are not JSON")?;
        let Value::Array(mut paths) = stats["paths"].take() else {
            anyhow::bail!("the sink's statistics have no paths")
        };
        paths.retain(|stats| stats["path"].as_str().is_some_and(|path| path.starts_with(prefix)));
        Ok(paths)
    }
}
