//! Creates endpoints through the API.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use super::{INTERVAL_SECONDS, targets::Targets};
use crate::bench::{
    clock,
    http::{self, Connection},
    server::Workspace,
};

/// Concurrent connections.
const CONNECTIONS: u64 = 8;

/// Endpoints to create, one per host.
pub struct Endpoints<'a> {
    pub targets: &'a Targets,
    pub count: u64,
    /// Endpoints created per second; `None` for full speed.
    pub rate: Option<u64>,
    /// Path of the probed URL.
    pub path: &'a str,
    /// Additional fields.
    pub fields: Value,
}

impl Endpoints<'_> {
    /// Creates them and returns how many seconds that took.
    pub fn create(&self, workspace: &Workspace) -> anyhow::Result<f64> {
        let start_nanos = clock::now_nanos();
        thread::scope(|scope| {
            let threads: Vec<_> = (0..CONNECTIONS)
                .map(|first| scope.spawn(move || self.create_every(first, start_nanos, workspace)))
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a connection's thread failed"))?)
        })?;
        Ok(clock::seconds_between(start_nanos, clock::now_nanos()))
    }

    fn create_every(&self, first: u64, start_nanos: u64, workspace: &Workspace) -> anyhow::Result<()> {
        let (mut connection, path) = (Connection::open(workspace.address)?, workspace.path("endpoints"));
        for number in (first..self.count).step_by(CONNECTIONS as usize) {
            if let Some(rate) = self.rate {
                let planned_nanos = start_nanos + number * 1_000_000_000 / rate;
                thread::sleep(Duration::from_nanos(planned_nanos.saturating_sub(clock::now_nanos())));
            }
            let body = self.body(number)?.to_string();
            let answer = connection.call("POST", &path, &workspace.key, &body)?;
            anyhow::ensure!(answer.status == 201, "POST {path} answered {}: {}", answer.status, answer.body);
        }
        Ok(())
    }

    fn body(&self, number: u64) -> anyhow::Result<Value> {
        let url = self.targets.url(number, self.path)?;
        let mut body = json!({
            "name": format!("Endpoint {number} of {}", self.path),
            "type": "http",
            "url": url,
            "intervalSeconds": INTERVAL_SECONDS,
        });
        for (name, value) in self.fields.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        Ok(body)
    }
}

/// Fails if any endpoint is not healthy.
pub fn ensure_healthy(workspace: &Workspace) -> anyhow::Result<()> {
    for status in ["down", "degraded", "inconclusive", "pending", "paused"] {
        let path = format!("{}?status={status}&limit=1", workspace.path("endpoints"));
        let answer = http::call(workspace.address, "GET", &path, &workspace.key, "")?;
        anyhow::ensure!(answer.status == 200, "GET {path} answered {}: {}", answer.status, answer.body);
        let list: Value = serde_json::from_str(&answer.body)?;
        let is_none = list["data"].as_array().is_some_and(Vec::is_empty);
        anyhow::ensure!(is_none, "an endpoint is {status}: {}", list["data"][0]);
    }
    Ok(())
}
