//! Channels: connectivity, health, delivery log, quota, and the counter of sent notifications.

use serde_json::{Value, json};

use crate::support::{Receiver, Reply, Setup, eventually};

#[test]
fn channel_list_has_type_and_connectivity_after_tests() {
    let receivers = [Receiver::always(200), Receiver::always(500)];
    let server = Setup::new().start();
    let api = server.api();
    let url = |receiver: &Receiver, path: &str| format!("http://{}{path}", receiver.address());
    let up = json!({"name": "#ops", "type": "slack", "config": {"webhookUrl": url(&receivers[0], "/services/T/B/x")}});
    let down = json!({"name": "hook", "type": "webhook", "config": {"url": url(&receivers[1], "/hook")}});
    let channels = [up, down].map(|body| api.make_channel(body));
    let rows = || api.get("/channels").expect(200)["data"].as_array().unwrap().clone();
    let facts = |row: &Value| {
        let is_set = |key: &str| row[key].is_string();
        (row["isConnected"].clone(), is_set("lastTestedAt"), is_set("lastSuccessAt"), is_set("lastFailureAt"))
    };
    let types: Vec<_> = rows().iter().map(|row| (row["name"].clone(), row["type"].clone())).collect();
    assert_eq!(types, [(json!("#ops"), json!("slack")), (json!("hook"), json!("webhook"))]);
    assert!(rows().iter().all(|row| facts(row) == (Value::Null, false, false, false)), "unknown before a test");

    let tested = channels.each_ref().map(|id| api.post(&format!("/channels/{id}/test"), json!({})).expect(200));
    assert_eq!((&tested[0]["ok"], &tested[1]["ok"]), (&json!(true), &json!(false)), "{tested:?}");
    assert_eq!((&tested[1]["httpStatus"], receivers[1].count()), (&json!(500), 1), "a test is one attempt");
    assert_eq!(facts(&rows()[0]), (json!(true), true, true, false));
    assert_eq!(facts(&rows()[1]), (json!(false), true, false, true));
    for (channel, status) in channels.iter().zip(["sent", "failed"]) {
        let logged = api.deliveries(&format!("&channel={channel}"));
        assert_eq!(logged.len(), 1, "{logged:?}");
        let row = &logged[0];
        assert_eq!(
            (&row["kind"], &row["test"], &row["severity"]),
            (&json!("channel_test"), &json!(true), &json!("info"))
        );
        assert_eq!(row["status"], status, "{row}");
    }
}

#[test]
fn live_sends_update_health_and_not_connectivity() {
    // The test succeeds; the live delivery fails once and then succeeds.
    let receiver = Receiver::start(|_, number| Reply::Status(if number == 2 { 500 } else { 204 }));
    let server = Setup::new().start();
    let api = server.api();
    let hook = api.make_webhook(&receiver, json!({"retryDelaysSeconds": [1]}));
    let tested = || {
        let channel = api.get(&format!("/channels/{hook}")).expect(200);
        ["isConnected", "lastTestedAt", "lastSuccessAt", "lastFailureAt"].map(|key| channel[key].clone())
    };
    api.post(&format!("/channels/{hook}/test"), json!({})).expect(200);
    let before = tested();
    let health = api.get(&format!("/channels/{hook}")).expect(200)["health"].clone();
    assert_eq!(health["lastSentAt"], Value::Null, "a test counts in connectivity alone: {health}");
    let endpoint = api.make_endpoint(json!({}));
    api.wire(&endpoint, &[&hook]);
    let incident = api.open(&endpoint, "down");
    api.incident_delivery_once(&incident, "opened", &hook, "sent");
    let health = eventually("the sends are counted", || {
        let health = api.get(&format!("/channels/{hook}")).expect(200)["health"].clone();
        health["lastSentAt"].is_string().then_some(health)
    });
    assert_eq!((health["lastFailedAt"].is_string(), &health["failingSince"]), (true, &Value::Null), "{health}");
    assert_eq!(health["successRate"], 0.5, "{health}");
    assert_eq!(tested(), before);
}

#[test]
fn delivery_log_has_successful_and_failed_attempts() {
    let receiver = Receiver::start(|_, number| Reply::Status(if number == 1 { 503 } else { 204 }));
    let server = Setup::new().start();
    let api = server.api();
    let hook = api.make_webhook(&receiver, json!({"retryDelaysSeconds": [1]}));
    let endpoint = api.make_endpoint(json!({}));
    api.wire(&endpoint, &[&hook]);
    let incident = api.open(&endpoint, "down");
    let sent = api.incident_delivery_once(&incident, "opened", &hook, "sent");
    let shown = api.get(&format!("/deliveries/{}", sent["id"].as_str().unwrap())).expect(200);
    let attempts: Vec<_> = shown["attempts"].as_array().unwrap().iter().map(|it| it["httpStatus"].clone()).collect();
    assert_eq!(attempts, [json!(503), json!(204)], "{shown}");
    assert_eq!(api.deliveries(&format!("&incident={incident}&kind=incident_opened")).len(), 1);
}

#[test]
fn channel_over_quota_returns_pt403() {
    let receiver = Receiver::good();
    let server = Setup::new().with("TIDINGS_CHANNELS_MAX", "2").start();
    let api = server.api();
    let quota = || api.get("/channels").expect(200)["quota"].clone();
    let channels = [(); 2].map(|()| api.make_webhook(&receiver, json!({})));
    assert_eq!(quota(), json!({"used": 2, "max": 2}), "by which a page knows that Add is to be disabled");
    let third = json!({"name": "one too many", "type": "webhook", "config": {"url": receiver.url()}});
    let refused = api.post("/channels", third.clone());
    refused.expect_problem(403, "PT403");
    assert!(refused.json()["detail"].as_str().unwrap().contains('2'), "{}", refused.text());
    api.edit_channel(&channels[0], json!({"name": "what is there may be edited"}));
    // A channel that a rule owns does not count.
    let rule = json!({"resourceType": "job", "resourceId": "*", "triggers": ["failure"], "channelType": "webhook",
                      "url": receiver.url()});
    api.post("/notification-rules", rule).expect(201);
    api.delete(&format!("/channels/{}", channels[1])).expect(204);
    assert_eq!(quota(), json!({"used": 1, "max": 2}));
    api.post("/channels", third).expect(201);
}

#[test]
fn incident_counts_its_sent_notifications() {
    let receiver = Receiver::good();
    let setup = Setup::new();
    let server = setup.start();
    let api = server.api();
    let endpoint = api.make_endpoint(json!({}));
    let [one, other] = [(); 2].map(|()| api.make_webhook(&receiver, json!({})));
    api.wire(&endpoint, &[&one, &other]);
    let incident = api.open(&endpoint, "down");
    let sent = api.incident_delivery_once(&incident, "opened", &one, "sent");
    api.incident_delivery_once(&incident, "opened", &other, "sent");
    assert_eq!(api.incident(&incident)["notificationsSent"], 2);
    // A manual resend is still the same notification.
    api.post(&format!("/deliveries/{}/resend", sent["id"].as_str().unwrap()), json!({})).expect(202);
    receiver.wait_for(3);
    api.resolve(&endpoint);
    receiver.wait_for(5);
    api.wait_until_settled();
    assert_eq!(api.incident(&incident)["notificationsSent"], 4);
    server.kill();
    assert_eq!(setup.start().api().incident(&incident)["notificationsSent"], 4);
}
