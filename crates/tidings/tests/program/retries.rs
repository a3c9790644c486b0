//! Automatic retries, manual resends and recovery.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Receiver, Reply, Setup};

/// The attempts of a delivery: number, trigger and status code.
fn attempts(delivery: &Value) -> Vec<(u64, &str, u64)> {
    let attempts = delivery["attempts"].as_array().unwrap().iter();
    let parts = |attempt: &Value| (attempt["number"].as_u64(), attempt["httpStatus"].as_u64());
    attempts
        .map(|attempt| match parts(attempt) {
            (Some(number), Some(status)) => (number, attempt["trigger"].as_str().unwrap(), status),
            _ => panic!("{attempt}"),
        })
        .collect()
}

#[test]
fn retries_follow_the_delays_of_the_channel() {
    let receiver = Receiver::always(500);
    let server = Setup::new().start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({"retryDelaysSeconds": [1, 1]}));
    api.make_rule("backup", &channel);
    let delivery = api.delivery_once(&api.fail("backup", "1"), "failed");
    assert_eq!(attempts(&delivery), [(1, "scheduled", 500), (2, "scheduled", 500), (3, "scheduled", 500)]);
    assert_eq!((&delivery["nextAttemptAt"], &delivery["sentAt"]), (&Value::Null, &Value::Null));
    assert!(delivery["completedAt"].is_string(), "{delivery}");
    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    for pair in requests.windows(2) {
        // 10 % jitter, and the duration of the request.
        assert!(pair[1].at - pair[0].at >= Duration::from_millis(850), "{:?}", pair[1].at - pair[0].at);
        assert_eq!(pair[0].header("webhook-id"), pair[1].header("webhook-id"));
        assert_eq!(pair[0].body(), pair[1].body());
    }
    let timestamps = [&requests[0], &requests[2]].map(|request| request.header("webhook-timestamp").to_owned());
    assert_ne!(timestamps[0], timestamps[1], "timestamps are the attempt's");
}

#[test]
fn retry_on_failure_false_means_one_attempt() {
    let receiver = Receiver::always(500);
    let server = Setup::new().start();
    let api = server.api();
    for (job, policies) in [
        ("flag", json!({"retryOnFailure": false, "retryDelaysSeconds": [1]})),
        ("list", json!({"retryDelaysSeconds": []})),
    ] {
        api.make_rule(job, &api.make_webhook(&receiver, policies));
        assert_eq!(attempts(&api.delivery_once(&api.fail(job, "1"), "failed")), [(1, "scheduled", 500)], "{job}");
    }
    assert_eq!(receiver.count(), 2);
}

#[test]
fn retry_after_of_the_receiver_is_honoured() {
    let receiver = Receiver::start(|_, number| match number {
        1 => Reply::Bytes(b"HTTP/1.1 429 Too Many\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n".to_vec()),
        _ => Reply::Status(204),
    });
    let server = Setup::new().start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({"retryDelaysSeconds": [1]}));
    api.make_rule("backup", &channel);
    let delivery = api.delivery_once(&api.fail("backup", "1"), "sent");
    assert_eq!(attempts(&delivery), [(1, "scheduled", 429), (2, "scheduled", 204)]);
    let requests = receiver.requests();
    let waited = requests[1].at - requests[0].at;
    println!("asked for 2 s, left alone for {} ms", waited.as_millis());
    assert!(waited >= Duration::from_millis(1_990), "{waited:?}");
}

#[test]
fn few_410_leave_the_channel_enabled() {
    let receiver = Receiver::always(410);
    let server = Setup::new().start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({"retryDelaysSeconds": [1]}));
    api.make_rule("backup", &channel);
    let delivery = api.delivery_once(&api.fail("backup", "1"), "failed");
    assert_eq!(
        attempts(&delivery),
        [(1, "scheduled", 410), (2, "scheduled", 410)],
        "a 410 is retried like any failure"
    );
    // The next delivery is attempted: the settlement before it, which could have disabled the channel, is written.
    api.delivery_once(&api.fail("backup", "2"), "failed");
    let channel = api.get(&format!("/channels/{channel}")).expect(200);
    assert_eq!((&channel["enabled"], &channel["disabledReason"]), (&json!(true), &Value::Null));
}

#[test]
fn manual_resend_keeps_the_id() {
    let receiver = Receiver::start(|_, number| Reply::Status(if number == 1 { 500 } else { 204 }));
    let server = Setup::new().start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({"retryOnFailure": false}));
    api.make_rule("backup", &channel);
    let event = api.fail("backup", "1");
    let failed = api.delivery_once(&event, "failed");
    let path = format!("/deliveries/{}/resend", failed["id"].as_str().unwrap());
    let resent = api.post(&path, json!({})).expect(202);
    assert_eq!(resent["id"], failed["id"]);
    let requests = receiver.wait_for(2);
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    let sent = api.delivery_after_attempts(&event, 2);
    assert_eq!(attempts(&sent), [(1, "scheduled", 500), (2, "resend", 204)]);
    assert_eq!(sent["status"], "sent");

    api.post(&path, json!({})).expect(202);
    receiver.wait_for(3);
    let again = api.delivery_after_attempts(&event, 3);
    assert_eq!((&again["status"], &again["attemptCount"]), (&json!("sent"), &json!(3)), "what was sent may be too");
}

#[test]
fn recover_resends_failures_of_a_receiver_outage() {
    let receiver = Receiver::start(|request, number| match request.json()["runId"].as_str() {
        Some(_) if number <= 3 => Reply::Status(503),
        _ => Reply::Status(204),
    });
    let server = Setup::new().start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({"retryOnFailure": false}));
    api.make_rule("backup", &channel);
    let events: Vec<_> = (0..3).map(|run| api.fail("backup", &run.to_string())).collect();
    let failed: Vec<_> = events.iter().map(|event| api.delivery_once(event, "failed")).collect();
    let since = failed[0]["createdAt"].clone();
    let recover = |body: Value| api.post("/deliveries/recover", body).expect(200);
    let future = json!("2099-01-01T00:00:00Z");
    assert_eq!(recover(json!({"channelId": channel, "since": future, "dryRun": true})), json!({"matched": 0}));
    assert_eq!(recover(json!({"channelId": channel, "since": since, "dryRun": true})), json!({"matched": 3}));
    assert_eq!(receiver.count(), 3, "counting sends nothing");
    assert_eq!(recover(json!({"channelId": channel, "since": since})), json!({"recovered": 3}));
    receiver.wait_for(6);
    for (event, before) in events.iter().zip(failed) {
        let sent = api.delivery_after_attempts(event, 2);
        assert_eq!((&sent["status"], &sent["id"]), (&json!("sent"), &before["id"]));
    }
    assert_eq!(recover(json!({"channelId": channel, "since": since})), json!({"recovered": 0}));
    assert!(receiver.webhook_ids_by_run().values().all(|ids| ids.len() == 2 && ids[0] == ids[1]));
}

#[test]
fn retries_and_resends_open_new_connections() {
    let receiver = Receiver::start(|_, number| Reply::Status(if number == 3 { 503 } else { 204 }));
    let server = Setup::new().start();
    let api = server.api();
    let channel = api.make_webhook(&receiver, json!({"retryDelaysSeconds": [1]}));
    api.make_rule("backup", &channel);
    for (run, requests) in [("1", 1), ("2", 2), ("3", 4), ("4", 5)] {
        api.delivery_once(&api.fail("backup", run), "sent");
        assert_eq!(receiver.count(), requests);
    }
    let delivery = api.deliveries(&format!("&channel={channel}")).remove(0);
    api.post(&format!("/deliveries/{}/resend", delivery["id"].as_str().unwrap()), json!({})).expect(202);
    let connections: Vec<_> = receiver.wait_for(6).iter().map(|request| request.connection).collect();
    // Kept after a success, closed after the error; the retry and the resend do not use what is kept.
    assert_eq!(connections, [1, 1, 1, 2, 2, 3]);
}
