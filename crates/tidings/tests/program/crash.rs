//! Repeated SIGKILL under load: every run that was answered with 202 is delivered, and duplicates have the same id.

use std::collections::{BTreeSet, HashSet};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::failed;
use crate::support::load::Load;
use crate::support::{Api, Receiver, Reply, Setup};

/// Accepted runs before each kill; different, so that the kills come at different moments.
const ROUNDS: [usize; 8] = [100, 2_000, 400, 3_000, 900, 250, 2_500, 1_500];
/// Concurrent attempts: how many may be sent and not yet recorded at the kill.
const IN_FLIGHT_MAX: usize = 512;

/// Some runs with a settled delivery, each with the number of requests so far.
fn settled(api: &Api, receiver: &Receiver) -> Vec<(String, usize)> {
    let page = api.get("/deliveries?status=sent&limit=200").expect(200);
    let sent_ids = receiver.webhook_ids_by_run();
    let runs = page["data"].as_array().unwrap().iter().map(run_id);
    runs.map(|run| (run.clone(), sent_ids[&run].len())).collect()
}

#[test]
fn accepted_runs_are_delivered_after_repeated_kills() {
    let setup = Setup::new();
    // Every seventh request is slow, so that some are always in flight.
    let receiver = Receiver::start(|_, number| {
        if number % 7 == 0 {
            sleep(Duration::from_millis(20));
        }
        Reply::Status(204)
    });
    let (mut answered, mut over) = (Vec::new(), Vec::new());
    for (round, count) in ROUNDS.into_iter().enumerate() {
        let server = setup.start();
        let api = server.api();
        if round == 0 {
            api.make_rule("backup", &api.make_webhook(&receiver, json!({})));
        }
        let load = Load::start(&server, &round.to_string());
        load.wait_for(count);
        over.extend(settled(&api, &receiver));
        server.kill();
        answered.extend(load.finish());
    }
    let server = setup.start();
    let api = server.api();
    api.wait_until_settled();

    let received = receiver.webhook_ids_by_run();
    let missing: Vec<_> = answered.iter().filter(|run| !received.contains_key(*run)).collect();
    assert!(missing.is_empty(), "{} of {} accepted runs were never sent: {missing:?}", missing.len(), answered.len());
    for (run, ids) in &received {
        assert_eq!(BTreeSet::from_iter(ids).len(), 1, "{run} came under several ids: {ids:?}");
    }
    for (run, times) in &over {
        assert_eq!(received[run].len(), *times, "{run} was settled before a kill and sent again after it");
    }
    let repeats = receiver.count() - received.len();
    println!("{} accepted, {} sent, {repeats} duplicates, {} crashes", answered.len(), received.len(), ROUNDS.len());
    assert!(repeats <= ROUNDS.len() * IN_FLIGHT_MAX, "{repeats} repeats");

    let log = api.deliveries("");
    let sent: HashSet<_> = log.iter().filter(|row| row["status"] == "sent").map(run_id).collect();
    assert_eq!((log.len(), sent.len()), (received.len(), received.len()), "one row each, and all of them sent");
    assert!(received.keys().all(|run| sent.contains(run)));
    let again = api.post("/runs", failed("backup", answered.last().unwrap())).expect(202);
    assert_eq!(again["duplicate"], true);
    assert_eq!(receiver.count() - received.len(), repeats, "and it is not sent again");
}

fn run_id(row: &Value) -> String {
    row["runId"].as_str().unwrap().to_owned()
}

#[test]
fn pending_retry_survives_a_kill() {
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
    let sent_ids: BTreeSet<_> =
        receiver.requests().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    assert_eq!(sent_ids, ids, "every attempt of a delivery has its id");
}
