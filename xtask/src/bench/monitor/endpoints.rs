//! Endpoints, made over the API as their users make them.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use super::{INTERVAL_SECONDS, targets::Targets};
use crate::bench::{
    clock,
    http::{self, Connection},
    server::Workspace,
};

/// Connections over which they are made.
const CONNECTIONS: u64 = 8;

/// What is to be made: one endpoint for each of the first hosts.
pub struct Endpoints<'a> {
    /// Where the hosts are.
    pub targets: &'a Targets,
    /// How many.
    pub count: u64,
    /// How many in a second, evenly; as fast as they are taken, if not said.
    pub rate: Option<u64>,
    /// What is asked for.
    pub path: &'a str,
    /// Besides what every endpoint has.
    pub fields: Value,
}

impl Endpoints<'_> {
    /// Makes them, and tells how many seconds it took.
    pub fn make(&self, workspace: &Workspace) -> anyhow::Result<f64> {
        let start_nanos = clock::now_nanos();
        thread::scope(|scope| {
            let threads: Vec<_> = (0..CONNECTIONS)
                .map(|first| scope.spawn(move || self.make_every(first, start_nanos, workspace)))
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a connection's thread failed"))?)
        })?;
        Ok(clock::seconds_between(start_nanos, clock::now_nanos()))
    }

    fn make_every(&self, first: u64, start_nanos: u64, workspace: &Workspace) -> anyhow::Result<()> {
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

/// An error if an endpoint is anything else than healthy.
pub fn must_be_healthy(workspace: &Workspace) -> anyhow::Result<()> {
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
