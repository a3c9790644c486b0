//! SIGKILL during an incident: sent notifications are not repeated, and the remaining ones are sent.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::incidents::quiet_now;
use crate::support::{Page, Receiver, Reply, Setup, ahead};

/// Event and incident of each request, oldest first.
fn received(receiver: &Receiver) -> Vec<(Value, Value)> {
    let of = |body: Value| (body["event"].clone(), body["incident"]["id"].clone());
    receiver.requests().iter().map(|request| of(request.json())).collect()
}

#[test]
fn kill_between_opening_and_resolution_repeats_nothing() {
    let (page, receiver) = (Page::answering(200), Receiver::good());
    let setup = Setup::new().with("TIDINGS_WATCH_INTERVAL_SECONDS_MIN", "1");
    let server = setup.start();
    let api = server.api();
    let hook = api.make_webhook(&receiver, json!({}));
    let more = json!({"intervalSeconds": 1, "timeoutMs": 1_000, "failureThreshold": 2, "recoveryThreshold": 2});
    let endpoint = api.make_monitored(&page.url(), more);
    api.wire(&endpoint, &[&hook]);
    api.endpoint_once(&endpoint, "healthy");
    page.stop();
    let incident = receiver.wait_for(1)[0].json()["incident"]["id"].as_str().unwrap().to_owned();
    api.incident_delivery_once(&incident, "opened", &hook, "sent");
    server.kill();

    page.start();
    let server = setup.start();
    receiver.wait_for(2);
    let api = server.api();
    api.incident_delivery_once(&incident, "resolved", &hook, "sent");
    let both = ["incident_opened", "incident_resolved"].map(|event| (json!(event), json!(incident)));
    assert_eq!(received(&receiver), both, "each once, and of one incident");
    let seen = api.incident(&incident);
    assert_eq!((&seen["status"], &seen["notificationsSent"]), (&json!("resolved"), &json!(2)), "{seen}");
    assert_eq!(api.get("/incidents").expect(200)["data"].as_array().map(Vec::len), Some(1));
}

#[test]
fn kill_during_the_opening_send_repeats_it_with_its_id() {
    // The first attempt never gets a response.
    let receiver = Receiver::start(|_, number| if number == 1 { Reply::Hang } else { Reply::Status(204) });
    let setup = Setup::new();
    let server = setup.start();
    let api = server.api();
    let hook = api.make_webhook(&receiver, json!({}));
    let endpoint = api.make_endpoint(json!({}));
    api.wire(&endpoint, &[&hook]);
    let incident = api.open(&endpoint, "down");
    receiver.wait_for(1);
    api.resolve(&endpoint);
    assert_eq!(receiver.count(), 1, "the end waits for the beginning");
    server.kill();

    let server = setup.start();
    let requests = receiver.wait_for(3);
    server.api().incident_delivery_once(&incident, "resolved", &hook, "sent");
    let opened = json!("incident_opened");
    let events: Vec<_> = received(&receiver).into_iter().map(|(event, _)| event).collect();
    assert_eq!(events, [opened.clone(), opened, json!("incident_resolved")], "in their order");
    assert_eq!(
        requests[0].header("webhook-id"),
        requests[1].header("webhook-id"),
        "so that the receiver can recognise the duplicate"
    );
    assert_ne!(requests[1].header("webhook-id"), requests[2].header("webhook-id"));
}

#[test]
fn kill_while_deliveries_are_held_keeps_them() {
    let receivers = [(); 2].map(|()| Receiver::always(200));
    let setup = Setup::new();
    let server = setup.start();
    let api = server.api();
    let quiet = api.make_slack(&receivers[0], quiet_now(json!({})));
    let limited = api.make_slack(&receivers[1], json!({"rateLimit": {"maxPerMinute": 1}}));
    let [shop, search] = ["Shop", "Search"].map(|name| api.make_endpoint(json!({"name": name})));
    for endpoint in [&shop, &search] {
        api.wire(endpoint, &[&quiet, &limited]);
    }
    let first = api.open(&shop, "degraded");
    api.incident_delivery_once(&first, "opened", &limited, "sent");
    let second = api.open(&search, "degraded");
    for (incident, channel) in [(&first, &quiet), (&second, &quiet), (&second, &limited)] {
        api.incident_delivery_once(incident, "opened", channel, "held");
    }
    server.kill();

    let server = setup.start();
    let api = server.api();
    for (incident, channel) in [(&first, &quiet), (&second, &quiet), (&second, &limited)] {
        api.incident_delivery_once(incident, "opened", channel, "held");
    }
    api.resolve(&shop);
    assert_eq!(receivers.each_ref().map(Receiver::count)[0], 0);
    api.edit_channel(&quiet, json!({"quietHours": null}));
    api.edit_channel(&limited, json!({"rateLimit": null}));
    receivers[0].wait_for(1);
    for (incident, channel) in [(&first, &quiet), (&second, &quiet), (&second, &limited)] {
        assert!(api.incident_delivery_once(incident, "opened", channel, "sent")["digestId"].is_string());
    }
    let digest = String::from_utf8(receivers[0].requests()[0].body().to_vec()).unwrap();
    assert!(digest.contains("Shop") && digest.contains("Search"), "{digest}");
    api.wait_until_settled();
    assert_eq!(receivers[0].count(), 1, "all that the night held is one message");
}

#[test]
fn kill_during_a_failure_streak_keeps_its_count() {
    let receiver = Receiver::good();
    let setup = Setup::new();
    let server = setup.start();
    let api = server.api();
    let hook = api.make_webhook(&receiver, json!({}));
    let endpoint = api.make_endpoint(json!({"failureThreshold": 3}));
    api.wire(&endpoint, &[&hook]);
    for _ in 0..2 {
        assert_eq!(api.check(&endpoint, "down"), Value::Null);
    }
    server.kill();
    let server = setup.start();
    let incident = server.api().open(&endpoint, "down");
    receiver.wait_for(1);
    assert_eq!(received(&receiver), [(json!("incident_opened"), json!(incident))]);
}

#[test]
fn kill_before_escalation_and_deferred_opening_sends_both() {
    let receivers = [(); 2].map(|()| Receiver::good());
    let setup = Setup::new();
    let server = setup.start();
    let api = server.api();
    let [hook, boss] = receivers.each_ref().map(|receiver| api.make_webhook(receiver, json!({})));
    let endpoint = api.make_endpoint(json!({"escalation": [{"afterSeconds": 2, "channelId": boss}]}));
    api.wire(&endpoint, &[&hook]);
    let expires_at = ahead(Duration::from_secs(2)).to_string();
    api.post("/mutes", json!({"scope": "channel", "targetId": hook, "expiresAt": expires_at})).expect(201);
    let incident = api.open(&endpoint, "down");
    api.stopped(&incident, "opened", &hook, "muted");
    server.kill();
    let _server = setup.start();
    for (receiver, event) in receivers.iter().zip(["incident_opened", "incident_escalated"]) {
        receiver.wait_for(1);
        assert_eq!(
            received(receiver),
            [(json!(event), json!(incident))],
            "when it is due, or as soon as the gate allows"
        );
    }
}
