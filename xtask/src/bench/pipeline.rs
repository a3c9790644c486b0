//! The baseline pipeline: `tidings-baseline pipeline` accepts, commits, signs, sends and settles with the server's
//! libraries but without the server. It alternates with the server, so that changes of the machine's load affect both.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::Context as _;
use serde_json::Value;

use super::{Bench, flow::Serves, http, load::Load, process::Process, server, sink::Sink};

const STARTED_WITHIN: Duration = Duration::from_secs(30);
/// Base path of its deliveries at the sink.
const PATH: &str = "/ok/pipeline";
/// Path of the first delivery of each event.
pub const FIRST_PATH: &str = "/ok/pipeline/0";
/// Explains it below the table.
pub const REMARK: &str = "Baseline pipeline: POST in, commit, POST out with two signatures, commit; with the server's \
    libraries, without the server.";

/// A running pipeline.
pub struct BaselinePipeline {
    process: Process,
    address: SocketAddr,
}

impl BaselinePipeline {
    /// Starts one that sends each event to `fan_out` paths of the sink.
    pub fn start(bench: &Bench, sink: &Sink, fan_out: u64) -> anyhow::Result<Self> {
        let dir = bench.scratch.dir("pipeline")?;
        let mut process =
            Process::start(&bench.binaries.join("tidings-baseline"), &dir, "tidings-baseline", |command| {
                command.args(["pipeline", "--with-parent", "--fan-out", &fan_out.to_string()]);
                command.args(["--target", &sink.url(PATH), "--dir"]).arg(&dir);
                command.stdin(Stdio::piped()).stdout(Stdio::piped());
            })?;
        let address = process.address(STARTED_WITHIN)?;
        Ok(Self { process, address })
    }

    /// Load with the same bytes as for the server; it ignores the key.
    pub fn load(&self) -> Load<'static> {
        Load { key: server::KEY, ..Load::one(self.address, server::DEFAULT_RUNS_PATH) }
    }

    /// Kills it and deletes its files.
    pub fn discard(self) -> anyhow::Result<()> {
        self.process.discard()
    }
}

impl Serves for BaselinePipeline {
    fn check(&mut self) -> anyhow::Result<()> {
        self.process.check().context("in the baseline pipeline")
    }

    fn cpu_seconds(&self) -> anyhow::Result<f64> {
        self.process.cpu_seconds()
    }

    fn settled(&self) -> anyhow::Result<u64> {
        let answer = http::call(self.address, "GET", "/", "", "")?;
        let status: Value = serde_json::from_str(&answer.body).context("the baseline pipeline's status is not JSON")?;
        status["settled"].as_u64().with_context(|| format!("the baseline pipeline's status has no `settled`: {status}"))
    }
}
