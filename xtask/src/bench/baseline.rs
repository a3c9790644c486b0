//! The bare way of an event: `tidings-floor way`, which accepts, commits, signs, sends and settles with the server's
//! libraries and nothing of the server. It takes turns with the server, so that what changes on the machine meets both.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::Context as _;
use serde_json::Value;

use super::{Bench, flow::Serves, http, load::Load, process::Process, server, sink::Sink};

const STARTED_WITHIN: Duration = Duration::from_secs(30);
/// Below this path of the sink are the places that it sends to.
const PATH: &str = "/ok/way";
/// Where the first delivery of each event goes.
pub const FIRST_PATH: &str = "/ok/way/0";
/// What it is, for those who read the table.
pub const WORDS: &str = "The bare way: POST in, commit, POST out with two signatures, commit; the server's libraries \
    and nothing of the server.";

/// A running one.
pub struct Way {
    process: Process,
    address: SocketAddr,
}

impl Way {
    /// Starts one that sends each event to so many paths of the sink.
    pub fn start(bench: &Bench, sink: &Sink, fan_out: u64) -> anyhow::Result<Self> {
        let dir = bench.scratch.dir("way")?;
        let mut process = Process::start(&bench.binaries.join("tidings-floor"), &dir, "tidings-floor", |command| {
            command.args(["way", "--with-parent", "--fan-out", &fan_out.to_string()]);
            command.args(["--target", &sink.url(PATH), "--dir"]).arg(&dir);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        })?;
        let address = process.address(STARTED_WITHIN)?;
        Ok(Self { process, address })
    }

    /// An event to it, which is to the byte one to the server: the key is read over.
    pub fn load(&self) -> Load<'static> {
        Load { key: server::KEY, ..Load::one(self.address, server::DEFAULT_RUNS_PATH) }
    }

    /// Ends it, and takes away what it wrote.
    pub fn discard(self) -> anyhow::Result<()> {
        self.process.discard()
    }
}

impl Serves for Way {
    fn check(&mut self) -> anyhow::Result<()> {
        self.process.check().context("on the bare way")
    }

    fn cpu_seconds(&self) -> anyhow::Result<f64> {
        self.process.cpu_seconds()
    }

    fn settled(&self) -> anyhow::Result<u64> {
        let answer = http::call(self.address, "GET", "/", "", "")?;
        let told: Value = serde_json::from_str(&answer.body).context("what the bare way tells is not JSON")?;
        told["settled"].as_u64().with_context(|| format!("the bare way does not tell what it settled: {told}"))
    }
}
