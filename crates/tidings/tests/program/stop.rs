//! SIGTERM: what is being sent is finished within the bound, and nothing is lost.

use std::time::Duration;

use serde_json::json;

use crate::support::{Receiver, Reply, Setup};

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
    assert!(finished.stderr.contains("nothing was left behind"), "{}", finished.stderr);

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
