//! Shutdown on SIGTERM: deliveries in flight finish within the drain period, and nothing is lost.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::support::load::Load;
use crate::support::server::API_KEY;
use crate::support::{Receiver, Reply, Setup, wire};

#[test]
fn shutdown_finishes_deliveries_in_flight() {
    let setup = Setup::new();
    let receiver = Receiver::start(|_, _| Reply::Held);
    let mut server = setup.start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({}));
    api.make_rule("backup", &channel);
    let events: Vec<_> = (0..5).map(|run| api.fail("backup", &run.to_string())).collect();
    receiver.wait_for(5);

    server.terminate();
    server.wait_for_log("shutdown requested");
    receiver.release();
    let finished = server.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stderr.contains("shutdown complete"), "{}", finished.stderr);

    let server = setup.start();
    for event in events {
        let delivery = server.api().delivery(&event);
        assert_eq!((&delivery["status"], &delivery["attemptCount"]), (&json!("sent"), &json!(1)), "{delivery}");
    }
    assert_eq!(receiver.count(), 5, "nothing is sent twice");
}

#[test]
fn hanging_receiver_does_not_delay_shutdown_and_is_retried() {
    let setup = Setup::new().with("TIDINGS_DRAIN_SECONDS", "1");
    let receiver = Receiver::start(|_, number| if number == 1 { Reply::Hang } else { Reply::Status(204) });
    let server = setup.start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({"timeoutMs": 60_000}));
    api.make_rule("backup", &channel);
    let event = api.fail("backup", "1");
    receiver.wait_for(1);

    let finished = server.stop();
    println!("ended {} ms after SIGTERM", finished.took.as_millis());
    assert!(finished.took < Duration::from_secs(20), "the attempt alone would have taken 60 s");
    assert!(finished.stderr.contains("retried at the next start"), "{}", finished.stderr);

    let server = setup.start();
    let requests = receiver.wait_for(2);
    let delivery = server.api().delivery_once(&event, "sent");
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    assert_eq!(delivery["id"], requests[0].header("webhook-id"));
}

#[test]
fn drain_period_covers_clients_and_receivers_together() {
    let receiver = Receiver::start(|_, _| Reply::Hang);
    let server = Setup::new().with("TIDINGS_DRAIN_SECONDS", "3").start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({"timeoutMs": 60_000}));
    api.make_rule("backup", &channel);
    api.fail("backup", "1");
    receiver.wait_for(1);
    // A client that does not send the rest of its body.
    let request = wire::request(
        "POST",
        &format!("{}/runs", api.base()),
        &[("authorization", &format!("Bearer {API_KEY}"))],
        b"{...",
    );
    let mut caller = TcpStream::connect(server.address).unwrap();
    caller.write_all(&request[..request.len() - 1]).unwrap();
    api.get("/runs").expect(200);

    let finished = server.stop();
    println!("ended {} ms after SIGTERM", finished.took.as_millis());
    assert!(finished.took < Duration::from_millis(5_500), "3 s in all, not for each: {:?}", finished.took);
}

#[test]
fn shutdown_under_load_delivers_exactly_once() {
    let setup = Setup::new();
    let receiver = Receiver::good();
    let mut answered = Vec::new();
    for round in 0..3 {
        let server = setup.start();
        if round == 0 {
            let api = server.api();
            api.make_rule("backup", &api.make_webhook(&receiver, json!({})));
        }
        let load = Load::start(&server, &round.to_string());
        load.wait_for(1_500);
        let finished = server.stop();
        assert!(finished.stderr.contains("shutdown complete"), "{}", finished.stderr);
        answered.extend(load.finish());
    }
    let server = setup.start();
    server.api().wait_until_settled();
    let sent = receiver.webhook_ids_by_run();
    assert!(answered.iter().all(|run| sent.contains_key(run)), "all accepted runs are sent");
    println!("{} accepted, {} sent", answered.len(), sent.len());
    assert_eq!(receiver.count(), sent.len(), "exactly once");
}

#[test]
fn pending_retry_survives_a_shutdown() {
    let setup = Setup::new();
    let receiver = Receiver::start(|_, number| Reply::Status(if number == 1 { 503 } else { 204 }));
    let server = setup.start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({"retryDelaysSeconds": [2]}));
    api.make_rule("backup", &channel);
    let event = api.fail("backup", "1");
    let waiting = api.delivery_once(&event, "pending");
    assert!(waiting["nextAttemptAt"].is_string(), "{waiting}");
    server.stop();

    let server = setup.start();
    let delivery = server.api().delivery_once(&event, "sent");
    assert_eq!((&delivery["attemptCount"], receiver.count()), (&json!(2), 2), "{delivery}");
}
