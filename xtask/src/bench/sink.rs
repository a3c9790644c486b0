//! The receiver of webhooks: `tidings-sink`, and what it has counted.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::Context as _;
use serde_json::Value;

use super::{Bench, http, load::Quantiles, process::Process};

const STARTED_WITHIN: Duration = Duration::from_secs(30);

/// A running sink.
pub struct Sink {
    process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What arrived on all paths with one beginning.
#[derive(Debug, Default, Clone, Copy)]
pub struct Arrived {
    /// Requests.
    pub requests: u64,
    /// How many had a webhook-id.
    pub with_id: u64,
    /// How many different webhook-ids there were, if asked.
    pub distinct: u64,
    /// When the last arrived.
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

    /// Forgets all that it counted.
    pub fn reset(&self) -> anyhow::Result<()> {
        let answer = http::call(self.address, "POST", "/_reset", "", "")?;
        anyhow::ensure!(answer.status == 200, "the sink answered {}", answer.status);
        Ok(())
    }

    /// What arrived on paths that begin with `prefix`.
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

    /// How long requests of this path were on their way.
    pub fn latency(&self, path: &str) -> anyhow::Result<Quantiles> {
        let paths = self.paths(path, false)?;
        let told = paths.iter().find(|told| told["path"] == path).with_context(|| format!("nothing came to {path}"))?;
        Quantiles::read(&told["latency"])
    }

    /// Seconds of processor time that it has used.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        self.process.cpu_seconds()
    }

    fn paths(&self, prefix: &str, with_distinct: bool) -> anyhow::Result<Vec<Value>> {
        let what = if with_distinct { "/_stats?distinct" } else { "/_stats" };
        let answer = http::call(self.address, "GET", what, "", "")?;
        let mut stats: Value = serde_json::from_str(&answer.body).context("the sink's figures are not JSON")?;
        let Value::Array(mut paths) = stats["paths"].take() else { anyhow::bail!("the sink's figures have no paths") };
        paths.retain(|told| told["path"].as_str().is_some_and(|path| path.starts_with(prefix)));
        Ok(paths)
    }
}
