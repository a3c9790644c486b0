//! Clients that report runs as fast as they can, until the service ends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{JoinHandle, spawn};

use serde_json::Value;

use super::api::failed;
use super::eventually;
use super::server::{API_KEY, Server};
use super::wire::{self, Wire};

/// Concurrent clients.
const CLIENTS: usize = 6;
/// Every fifth request of a client is a batch.
const BATCH_EVERY: usize = 5;
/// Runs in a batch.
const BATCH: usize = 20;

/// Running clients.
pub struct Load {
    accepted: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Starts to report failed runs of the job `backup`, whose ids begin with `prefix`.
    pub fn start(server: &Server, prefix: &str) -> Self {
        let accepted: Arc<AtomicUsize> = Arc::default();
        let client = |number| {
            let (name, address, accepted) = (format!("{prefix}-{number}"), server.address, Arc::clone(&accepted));
            spawn(move || report_until_the_end(&name, address, &accepted))
        };
        Self { clients: (0..CLIENTS).map(client).collect(), accepted }
    }

    /// Waits until `count` runs were answered with 202.
    #[track_caller]
    pub fn wait_for(&self, count: usize) {
        eventually("enough runs are accepted", || (self.accepted.load(Ordering::SeqCst) >= count).then_some(()));
    }

    /// The runs that were answered with 202, after the service has ended.
    pub fn finish(self) -> Vec<String> {
        self.clients.into_iter().flat_map(|client| client.join().expect("every answer was 202")).collect()
    }
}

fn report_until_the_end(name: &str, address: SocketAddr, accepted: &AtomicUsize) -> Vec<String> {
    let mut answered = Vec::new();
    let Ok(mut wire) = Wire::connect(address) else { return answered };
    for number in 0.. {
        let count = if number % BATCH_EVERY == 0 { BATCH } else { 1 };
        let runs: Vec<_> = (0..count).map(|item| format!("{name}-{number}-{item}")).collect();
        let Ok(status) = report(&mut wire, &runs) else { break };
        assert_eq!(status, "202");
        accepted.fetch_add(runs.len(), Ordering::SeqCst);
        answered.extend(runs);
    }
    answered
}

/// Reports runs on an open connection. Returns the status of the response.
fn report(wire: &mut Wire, runs: &[String]) -> io::Result<String> {
    let bodies: Vec<_> = runs.iter().map(|run| failed("backup", run)).collect();
    let body = if let [only] = bodies.as_slice() { only.clone() } else { Value::from(bodies) };
    let key = format!("Bearer {API_KEY}");
    let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
    let target = "/api/workspaces/default/runs";
    let answer = wire.exchange(&wire::request("POST", target, &headers, body.to_string().as_bytes()))?;
    Ok(answer.first.split(' ').nth(1).unwrap_or_default().to_owned())
}
