//! The measured server, controlled from outside like any user would.

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

/// The API key of servers that exist for minutes, on loopback.
pub const KEY: &str = "tdg_benchmark-benchmark-benchmark-benchmark";
/// Path of runs of the default workspace.
pub const DEFAULT_RUNS_PATH: &str = "/api/workspaces/default/runs";
/// Settled deliveries by final status.
pub const SETTLED: &str = "tidings_deliveries_settled_total";
const READY_WITHIN: Duration = Duration::from_secs(15);
const ENDED_WITHIN: Duration = Duration::from_secs(60);

/// A running server.
pub struct Server {
    process: Process,
    address: SocketAddr,
    /// Time from its start until `/readyz` succeeded.
    pub ready_ms: f64,
}

/// A workspace and its API key.
pub struct Workspace {
    pub address: SocketAddr,
    slug: String,
    pub key: String,
}

impl Server {
    /// Starts one on a data directory, new or existing.
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
        anyhow::bail!("the server was not ready within {READY_WITHIN:?}; its log ends with:\n{}", process.log_tail())
    }

    /// Starts one on a new data directory.
    pub fn start_fresh(bench: &Bench) -> anyhow::Result<Self> {
        Self::start(bench, &bench.scratch.dir("data")?)
    }

    /// Starts one with a second workspace, `other`.
    pub fn start_with_another(bench: &Bench) -> anyhow::Result<(Self, Workspace)> {
        let dir = bench.scratch.dir("data")?;
        Self::start(bench, &dir)?.process.terminate(ENDED_WITHIN)?;
        let mut command = Command::new(&bench.tidings);
        let output = command.args(["workspace", "create", "other", "--data-dir"]).arg(&dir).output()?;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        anyhow::ensure!(output.status.success(), "`tidings workspace create` failed: {stdout}{stderr}");
        let key = key_in(&stdout).with_context(|| format!("`tidings workspace create` printed no key: {stdout}"))?;
        let server = Self::start(bench, &dir)?;
        let other = Workspace { address: server.address, slug: "other".to_owned(), key: key.to_owned() };
        Ok((server, other))
    }

    /// The default workspace.
    pub fn workspace(&self) -> Workspace {
        Workspace { address: self.address, slug: "default".to_owned(), key: KEY.to_owned() }
    }

    /// Kills it and deletes its directory.
    pub fn discard(self) -> anyhow::Result<()> {
        self.process.discard()
    }

    /// Fails with the end of its log if it has exited.
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.process.check()
    }

    /// Reads `/metrics`.
    pub fn metrics(&self) -> anyhow::Result<Metrics> {
        let answer = http::call(self.address, "GET", "/metrics", KEY, "")?;
        anyhow::ensure!(answer.status == 200, "/metrics answered {}", answer.status);
        Ok(Metrics::new(answer.body))
    }

    /// Resident memory in MiB.
    pub fn memory_mib(&self) -> anyhow::Result<f64> {
        self.process.memory_mib("VmRSS")
    }

    /// Peak resident memory in MiB.
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
    /// Load of runs of this resource.
    pub fn load<'a>(&'a self, resource_id: &'a str) -> Load<'a> {
        Load { key: &self.key, resource_id, ..Load::one(self.address, &self.path("runs")) }
    }

    /// API path of a collection.
    pub fn path(&self, what: &str) -> String {
        format!("/api/workspaces/{}/{what}", self.slug)
    }

    /// Creates a webhook channel for `url` and a rule for the runs of `resource_id`.
    pub fn subscribe(&self, resource_id: &str, url: &str) -> anyhow::Result<()> {
        self.subscribe_with_timeout(resource_id, url, None)
    }

    /// The same with a timeout.
    pub fn subscribe_with_timeout(&self, resource_id: &str, url: &str, timeout_ms: Option<u64>) -> anyhow::Result<()> {
        let mut channel = json!({"name": format!("{resource_id} to {url}"), "type": "webhook", "config": {"url": url}});
        if let Some(timeout_ms) = timeout_ms {
            channel["timeoutMs"] = timeout_ms.into();
        }
        self.rule("flow", resource_id, &["success", "failure"], &channel)
    }

    /// Creates a webhook channel for `url` and a rule for all opened incidents.
    pub fn subscribe_to_incidents(&self, url: &str) -> anyhow::Result<()> {
        let channel = json!({"name": format!("incidents to {url}"), "type": "webhook", "config": {"url": url}});
        self.rule("endpoint", "*", &["opened"], &channel)
    }

    fn rule(&self, kind: &str, resource_id: &str, triggers: &[&str], channel: &Value) -> anyhow::Result<()> {
        let created = self.create("channels", channel)?;
        let channel_id =
            created["channel"]["id"].as_str().with_context(|| format!("the channel has no id: {created}"))?;
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
    fn load_of_the_default_workspace_has_its_path() {
        let address = "127.0.0.1:1".parse().unwrap();
        let workspace = Workspace { address, slug: "default".to_owned(), key: KEY.to_owned() };
        assert_eq!(workspace.load("bench").path, DEFAULT_RUNS_PATH);
    }

    #[test]
    fn key_in_finds_the_key_in_output() {
        let key = "tdg_0123456789abcdef0123456789abcdef";
        assert_eq!(key_in(&format!("workspace `other` made\n  key: {key}\n")), Some(key));
        assert_eq!(key_in(&format!("{{\"key\":\"{key}\"}}")), Some(key));
        assert_eq!(key_in("keys start with tdg_"), None);
    }
}
