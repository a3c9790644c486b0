//! SIGTERM: what is being sent is finished within the bound, and nothing is lost.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::support::load::Load;
use crate::support::server::API_KEY;
use crate::support::{Receiver, Reply, Setup, wire};

#[test]
fn what_is_being_sent_is_finished_first() {
    let setup = Setup::new();
    let receiver = Receiver::start(|_, _| Reply::Held);
    let mut server = setup.start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({}));
    api.make_rule("backup", &channel);
    let events: Vec<_> = (0..5).map(|run| api.fail("backup", &run.to_string())).collect();
    receiver.wait_for(5);

    server.tell_to_end();
    server.wait_for_log("told to end");
    receiver.release();
    let finished = server.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stderr.contains("what was being sent is sent and written down"), "{}", finished.stderr);

    let server = setup.start();
    for event in events {
        let delivery = server.api().delivery(&event);
        assert_eq!((&delivery["status"], &delivery["attemptCount"]), (&json!("sent"), &json!(1)), "{delivery}");
    }
    assert_eq!(receiver.count(), 5, "nothing is sent twice");
}

#[test]
fn who_hangs_does_not_hold_it_up_beyond_the_bound_and_is_told_after_the_next_start() {
    let setup = Setup::new().with("TIDINGS_DRAIN_SECONDS", "1");
    let receiver = Receiver::start(|_, number| if number == 1 { Reply::Hang } else { Reply::Status(204) });
    let server = setup.start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({"timeoutMs": 60_000}));
    api.make_rule("backup", &channel);
    let event = api.fail("backup", "1");
    receiver.wait_for(1);

    let finished = server.stop();
    println!("ended {} ms after it was told to", finished.took.as_millis());
    assert!(finished.took < Duration::from_secs(20), "the attempt alone would have taken 60 s");
    assert!(finished.stderr.contains("made again at the next start"), "{}", finished.stderr);

    let server = setup.start();
    let requests = receiver.wait_for(2);
    let delivery = server.api().delivery_once(&event, "sent");
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    assert_eq!(delivery["id"], requests[0].header("webhook-id"));
}

#[test]
fn the_bound_is_one_for_callers_and_receivers_together() {
    let receiver = Receiver::start(|_, _| Reply::Hang);
    let server = Setup::new().with("TIDINGS_DRAIN_SECONDS", "3").start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({"timeoutMs": 60_000}));
    api.make_rule("backup", &channel);
    api.fail("backup", "1");
    receiver.wait_for(1);
    // A caller that never comes to the end of its body.
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
    println!("ended {} ms after it was told to", finished.took.as_millis());
    assert!(finished.took < Duration::from_millis(5_500), "3 s in all, not for each: {:?}", finished.took);
}

#[test]
fn ended_in_order_under_load_everything_is_told_exactly_once() {
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
        assert!(finished.stderr.contains("what was being sent is sent and written down"), "{}", finished.stderr);
        answered.extend(load.finish());
    }
    let server = setup.start();
    server.api().wait_until_settled();
    let told = receiver.webhook_ids_by_run();
    assert!(answered.iter().all(|run| told.contains_key(run)), "all that was accepted is told");
    println!("{} accepted, {} told", answered.len(), told.len());
    assert_eq!(receiver.count(), told.len(), "and told once");
}

#[test]
fn what_waits_is_kept() {
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
