//! The bare way of an event: `tidings-floor way`, which accepts, commits, signs, sends and settles with the server's
//! libraries and nothing of the server. It takes turns with the server, so that what changes on the machine meets both.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::Context as _;
use serde_json::Value;

use super::{
    Bench,
    flow::{self, Flow, Serves},
    http,
    load::Load,
    median,
    process::Process,
    sink::Sink,
};

const STARTED_WITHIN: Duration = Duration::from_secs(30);
/// What it is, for those who read the table.
pub const WORDS: &str = "The bare way: POST in, commit, POST out with two signatures, commit; the server's libraries \
    and nothing of the server.";

/// A running one.
pub struct Way {
    process: Process,
    address: SocketAddr,
    rounds: Vec<Flow>,
}

impl Way {
    /// Starts one that sends everything to a path of the sink.
    pub fn start(bench: &Bench, sink: &Sink) -> anyhow::Result<Self> {
        let dir = bench.scratch.dir("way")?;
        let mut process = Process::start(&bench.binaries.join("tidings-floor"), &dir, "tidings-floor", |command| {
            command.args(["way", "--with-parent", "--target", &sink.url("/ok/way"), "--dir"]).arg(&dir);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        })?;
        let address = process.address(STARTED_WITHIN)?;
        Ok(Self { process, address, rounds: Vec::new() })
    }

    /// Takes the load that is meant for the server, to warm up.
    pub fn warm_up(&mut self, bench: &Bench, load: &Load<'_>, sink: &Sink) -> anyhow::Result<Flow> {
        let load = Load { address: self.address, ..load.clone() };
        flow::measure(bench, &load, 1, sink, self).context("on the bare way")
    }

    /// Takes the load that is meant for the server, and remembers how that went.
    pub fn measure(&mut self, bench: &Bench, load: &Load<'_>, sink: &Sink) -> anyhow::Result<Flow> {
        let round = self.warm_up(bench, load, sink)?;
        self.rounds.push(round);
        Ok(round)
    }

    /// The median of what was measured.
    pub fn events_per_second(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.events_per_second).collect())
    }

    /// The median of what was measured.
    pub fn cpu_ms_per_event(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.cpu_ms_per_event).collect())
    }
}

impl Serves for Way {
    fn check(&mut self) -> anyhow::Result<()> {
        self.process.check()
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
