//! `kill -9` under load, again and again: what was answered 202 is delivered, and what is told twice carries the same id.

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::failed;
use crate::support::server::API_KEY;
use crate::support::wire::{self, Wire};
use crate::support::{Receiver, Reply, Setup, eventually};

/// How often it is killed.
const ROUNDS: usize = 8;
/// Clients that report at once.
const CLIENTS: usize = 4;
/// Every so many requests tell of several runs.
const BATCH_EVERY: usize = 5;
/// How many runs those tell of.
const BATCH: usize = 20;
/// Attempts under way at once: what may be sent and not yet written down when the process is killed.
const IN_FLIGHT_MAX: usize = 512;

/// A client that reports runs until its connection breaks.
struct Client {
    name: String,
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Client {
    /// The runs whose report was answered 202.
    fn report_until_killed(&self) -> Vec<String> {
        let mut answered = Vec::new();
        let Ok(mut wire) = Wire::connect(self.address) else { return answered };
        for number in 0.. {
            let count = if number % BATCH_EVERY == 0 { BATCH } else { 1 };
            let runs: Vec<_> = (0..count).map(|item| format!("{}-{number}-{item}", self.name)).collect();
            let Ok(status) = report(&mut wire, &runs) else { break };
            assert_eq!(status, "202");
            self.accepted.fetch_add(runs.len(), Ordering::SeqCst);
            answered.extend(runs);
        }
        answered
    }
}

/// Reports runs on an open connection; the status of the answer, or an error if there was none.
fn report(wire: &mut Wire, runs: &[String]) -> std::io::Result<String> {
    let bodies: Vec<_> = runs.iter().map(|run| failed("backup", run)).collect();
    let body = if let [only] = bodies.as_slice() { only.clone() } else { Value::from(bodies) };
    let key = format!("Bearer {API_KEY}");
    let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
    let target = "/api/workspaces/default/runs";
    let answer = wire.exchange(&wire::request("POST", target, &headers, body.to_string().as_bytes()))?;
    Ok(answer.first.split(' ').nth(1).unwrap_or_default().to_owned())
}

fn start_clients(round: usize, address: SocketAddr, accepted: &Arc<AtomicUsize>) -> Vec<JoinHandle<Vec<String>>> {
    let client = |number| Client { name: format!("{round}-{number}"), address, accepted: Arc::clone(accepted) };
    (0..CLIENTS).map(|number| client(number)).map(|client| spawn(move || client.report_until_killed())).collect()
}

/// How many runs a round takes in before the kill: different each time, so that it strikes at different moments.
fn runs_before_kill(round: usize) -> usize {
    [40, 700, 150, 1_200, 300, 90, 900, 500][round % 8]
}

#[test]
fn what_was_accepted_is_delivered_however_often_it_is_killed() {
    let setup = Setup::new();
    // Every seventh request takes a moment, so that there is always something in flight.
    let receiver = Receiver::start(|_, number| {
        if number % 7 == 0 {
            sleep(Duration::from_millis(20));
        }
        Reply::Status(204)
    });
    let mut answered = Vec::new();
    for round in 0..ROUNDS {
        let server = setup.start();
        if round == 0 {
            let channel = server.api().make_webhook(&receiver, json!({}));
            server.api().make_rule("backup", &channel);
        }
        let accepted = Arc::default();
        let clients = start_clients(round, server.address, &accepted);
        eventually("enough is accepted", || (accepted.load(Ordering::SeqCst) >= runs_before_kill(round)).then_some(()));
        server.kill();
        let runs = clients.into_iter().flat_map(|client| client.join().expect("every answer was 202"));
        answered.extend(runs);
    }
    let server = setup.start();
    let api = server.api();
    api.wait_until_settled();

    let received = receiver.webhook_ids_by_run();
    let missing: Vec<_> = answered.iter().filter(|run| !received.contains_key(*run)).collect();
    assert!(missing.is_empty(), "{} of {} accepted runs were never told: {missing:?}", missing.len(), answered.len());
    for (run, ids) in &received {
        assert_eq!(BTreeSet::from_iter(ids).len(), 1, "{run} came under several ids: {ids:?}");
    }
    let repeats = receiver.count() - received.len();
    println!("{} accepted, {} told, {repeats} of them twice, in {ROUNDS} crashes", answered.len(), received.len());
    assert!(repeats <= ROUNDS * IN_FLIGHT_MAX, "{repeats} repeats");

    let log = api.deliveries("");
    let sent: HashSet<_> =
        log.iter().filter(|row| row["status"] == "sent").map(|row| row["runId"].to_string()).collect();
    assert_eq!((log.len(), sent.len()), (received.len(), received.len()), "one row each, and all of them sent");
    let again = api.post("/runs", failed("backup", answered.last().unwrap())).expect(202);
    assert_eq!(again["duplicate"], true);
    assert_eq!(receiver.count() - received.len(), repeats, "and it is not told again");
}

#[test]
fn what_waits_for_its_next_try_survives() {
    let setup = Setup::new();
    let receiver = Receiver::start(|_, number| Reply::Status(if number <= 30 { 503 } else { 204 }));
    let server = setup.start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({"retryDelaysSeconds": [1, 1, 1, 1]}));
    api.make_rule("backup", &channel);
    let events: Vec<_> = (0..30).map(|run| api.fail("backup", &run.to_string())).collect();
    receiver.wait_for(1);
    server.kill();

    let server = setup.start();
    let api = server.api();
    let mut ids = BTreeSet::new();
    for event in &events {
        let delivery = api.delivery_once(event, "sent");
        let attempts = delivery["attempts"].as_array().unwrap();
        assert_eq!(delivery["attemptCount"], json!(attempts.len()), "{delivery}");
        assert_eq!(attempts.last().unwrap()["httpStatus"], 204);
        ids.insert(delivery["id"].as_str().unwrap().to_owned());
    }
    let told: BTreeSet<_> = receiver.requests().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    assert_eq!(told, ids, "every try of a delivery carried its id");
}
