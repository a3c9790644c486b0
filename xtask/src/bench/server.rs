//! The server that is measured: started, set up and watched from outside, as its users do.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{Bench, flow::Serves, http, load::Load, metrics::Metrics, process::Process};
use crate::shell::Stopwatch;

/// What the first key is. It opens a server on loopback that lives for minutes.
pub const KEY: &str = "tdg_benchmark-benchmark-benchmark-benchmark";
/// Where the runs of the workspace that is always there are reported.
pub const DEFAULT_RUNS_PATH: &str = "/api/workspaces/default/runs";
/// How many deliveries ended, by the state in which they did.
pub const SETTLED: &str = "tidings_deliveries_settled_total";
const READY_WITHIN: Duration = Duration::from_secs(15);
const ENDED_WITHIN: Duration = Duration::from_secs(60);

/// A running server.
pub struct Server {
    process: Process,
    address: SocketAddr,
    /// From its start until it said that it is ready.
    pub ready_ms: f64,
}

/// A workspace and the key that opens it.
pub struct Workspace {
    /// Of the server.
    pub address: SocketAddr,
    slug: String,
    /// The API key.
    pub key: String,
}

impl Server {
    /// Starts one on a directory, which may be empty or hold what another left.
    pub fn start(bench: &Bench, dir: &Path) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let watch = Stopwatch::start();
        let mut process = Process::start(&bench.tidings, dir, "tidings", |command| {
            command.args(["serve", "--listen", &address.to_string(), "--data-dir"]).arg(dir);
            command.env("TIDINGS_API_KEY", KEY).env("TIDINGS_ALLOW_TARGETS", "127.0.0.0/8");
        })?;
        while watch.read().0 < READY_WITHIN {
            process.check()?;
            if http::call(address, "GET", "/readyz", "", "").is_ok_and(|answer| answer.status == 200) {
                let ready_ms = watch.read().0.as_secs_f64() * 1e3;
                return Ok(Self { process, address, ready_ms });
            }
            thread::sleep(Duration::from_millis(2));
        }
        anyhow::bail!("the server was not ready within {READY_WITHIN:?}; it said:\n{}", process.last_words())
    }

    /// Starts one on a directory of its own.
    pub fn start_fresh(bench: &Bench) -> anyhow::Result<Self> {
        Self::start(bench, &bench.scratch.dir("data")?)
    }

    /// Starts one that has a second workspace, `other`.
    pub fn start_with_another(bench: &Bench) -> anyhow::Result<(Self, Workspace)> {
        let dir = bench.scratch.dir("data")?;
        Self::start(bench, &dir)?.process.terminate(ENDED_WITHIN)?;
        let mut command = Command::new(&bench.tidings);
        let output = command.args(["workspace", "create", "other", "--data-dir"]).arg(&dir).output()?;
        let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        anyhow::ensure!(output.status.success(), "`tidings workspace create` failed: {said}{errors}");
        let key = key_in(&said).with_context(|| format!("`tidings workspace create` shows no key: {said}"))?;
        let server = Self::start(bench, &dir)?;
        let other = Workspace { address: server.address, slug: "other".to_owned(), key: key.to_owned() };
        Ok((server, other))
    }

    /// The workspace that is always there.
    pub fn workspace(&self) -> Workspace {
        Workspace { address: self.address, slug: "default".to_owned(), key: KEY.to_owned() }
    }

    /// Ends it at once, and takes away its directory.
    pub fn discard(self) -> anyhow::Result<()> {
        self.process.discard()
    }

    /// An error, with the last it said, if it has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.process.check()
    }

    /// Reads `/metrics`.
    pub fn metrics(&self) -> anyhow::Result<Metrics> {
        let answer = http::call(self.address, "GET", "/metrics", KEY, "")?;
        anyhow::ensure!(answer.status == 200, "/metrics answered {}", answer.status);
        Ok(Metrics::new(answer.body))
    }

    /// MiB resident now.
    pub fn memory_mib(&self) -> anyhow::Result<f64> {
        self.process.memory_mib("VmRSS")
    }

    /// The most MiB that ever were resident.
    pub fn memory_peak_mib(&self) -> anyhow::Result<f64> {
        self.process.memory_mib("VmHWM")
    }
}

impl Serves for Server {
    fn check(&mut self) -> anyhow::Result<()> {
        self.process.check()
    }

    fn cpu_seconds(&self) -> anyhow::Result<f64> {
        self.process.cpu_seconds()
    }

    fn settled(&self) -> anyhow::Result<u64> {
        Ok(self.metrics()?.sum(SETTLED, &[("status", "sent")]) as u64)
    }
}

impl Workspace {
    /// A run of this resource, reported to it.
    pub fn load<'a>(&'a self, resource_id: &'a str) -> Load<'a> {
        Load { key: &self.key, resource_id, ..Load::one(self.address, &self.path("runs")) }
    }

    /// Where its things of this kind are.
    pub fn path(&self, what: &str) -> String {
        format!("/api/workspaces/{}/{what}", self.slug)
    }

    /// Makes a webhook channel for `url` and a rule that sends it the runs of `resource_id`.
    pub fn wire(&self, resource_id: &str, url: &str) -> anyhow::Result<()> {
        self.wire_with_timeout(resource_id, url, None)
    }

    /// The same, with a timeout of its own.
    pub fn wire_with_timeout(&self, resource_id: &str, url: &str, timeout_ms: Option<u64>) -> anyhow::Result<()> {
        let mut channel = json!({"name": format!("{resource_id} to {url}"), "type": "webhook", "config": {"url": url}});
        if let Some(timeout_ms) = timeout_ms {
            channel["timeoutMs"] = timeout_ms.into();
        }
        self.rule("flow", resource_id, &["success", "failure"], &channel)
    }

    /// Makes a webhook channel for `url` and a rule that tells it of every endpoint's outages as they begin.
    pub fn wire_outages(&self, url: &str) -> anyhow::Result<()> {
        let channel = json!({"name": format!("outages to {url}"), "type": "webhook", "config": {"url": url}});
        self.rule("endpoint", "*", &["opened"], &channel)
    }

    fn rule(&self, kind: &str, resource_id: &str, triggers: &[&str], channel: &Value) -> anyhow::Result<()> {
        let made = self.create("channels", channel)?;
        let channel_id = made["channel"]["id"].as_str().with_context(|| format!("the channel has no id: {made}"))?;
        let rule = json!({
            "resourceType": kind,
            "resourceId": resource_id,
            "enabled": true,
            "triggers": triggers,
            "channelId": channel_id,
        });
        self.create("notification-rules", &rule).map(drop)
    }

    fn create(&self, what: &str, body: &Value) -> anyhow::Result<Value> {
        let path = self.path(what);
        let answer = http::call(self.address, "POST", &path, &self.key, &body.to_string())?;
        anyhow::ensure!(answer.status == 201, "POST {path} answered {}: {}", answer.status, answer.body);
        serde_json::from_str(&answer.body).with_context(|| format!("POST {path} answered no JSON: {}", answer.body))
    }
}

fn key_in(text: &str) -> Option<&str> {
    let is_of_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.split(|c| !is_of_key(c)).find(|word| word.starts_with("tdg_") && word.len() > 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_the_default_workspace_have_their_path() {
        let address = "127.0.0.1:1".parse().unwrap();
        let workspace = Workspace { address, slug: "default".to_owned(), key: KEY.to_owned() };
        assert_eq!(workspace.load("bench").path, DEFAULT_RUNS_PATH);
    }

    #[test]
    fn the_key_is_found_in_what_is_printed() {
        let key = "tdg_0123456789abcdef0123456789abcdef";
        assert_eq!(key_in(&format!("workspace `other` made\n  key: {key}\n")), Some(key));
        assert_eq!(key_in(&format!("{{\"key\":\"{key}\"}}")), Some(key));
        assert_eq!(key_in("keys begin with tdg_"), None);
    }
}
