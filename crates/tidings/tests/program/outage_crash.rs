//! `kill -9` in the middle of an outage: what was said is not said again, what is left to say is said.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::outages::quiet_now;
use crate::support::{Page, Receiver, Reply, Setup, ahead};

/// What was said of incidents, oldest first.
fn said(receiver: &Receiver) -> Vec<(Value, Value)> {
    let of = |body: Value| (body["event"].clone(), body["incident"]["id"].clone());
    receiver.requests().iter().map(|request| of(request.json())).collect()
}

#[test]
fn between_the_opening_and_the_end() {
    let (page, receiver) = (Page::answering(200), Receiver::good());
    let setup = Setup::new().with("TIDINGS_WATCH_INTERVAL_SECONDS_MIN", "1");
    let server = setup.start();
    let api = server.api();
    let hook = api.make_webhook(&receiver, json!({}));
    let more = json!({"intervalSeconds": 1, "timeoutMs": 1_000, "failureThreshold": 2, "recoveryThreshold": 2});
    let endpoint = api.make_watched(&page.url(), more);
    api.wire(&endpoint, &[&hook]);
    api.endpoint_once(&endpoint, "healthy");
    page.stop();
    let incident = receiver.wait_for(1)[0].json()["incident"]["id"].as_str().unwrap().to_owned();
    api.told_once(&incident, "opened", &hook, "sent");
    server.kill();

    page.start();
    let server = setup.start();
    receiver.wait_for(2);
    let api = server.api();
    api.told_once(&incident, "resolved", &hook, "sent");
    let both = ["incident_opened", "incident_resolved"].map(|event| (json!(event), json!(incident)));
    assert_eq!(said(&receiver), both, "each once, and of one incident");
    let seen = api.incident(&incident);
    assert_eq!((&seen["status"], &seen["notificationsSent"]), (&json!("resolved"), &json!(2)), "{seen}");
    assert_eq!(api.get("/incidents").expect(200)["data"].as_array().map(Vec::len), Some(1));
}

#[test]
fn while_the_opening_is_being_sent() {
    // The first try never gets an answer.
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
    server.api().told_once(&incident, "resolved", &hook, "sent");
    let opened = json!("incident_opened");
    let events: Vec<_> = said(&receiver).into_iter().map(|(event, _)| event).collect();
    assert_eq!(events, [opened.clone(), opened, json!("incident_resolved")], "in their order");
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"), "so that a receiver can tell");
    assert_ne!(requests[1].header("webhook-id"), requests[2].header("webhook-id"));
}

#[test]
fn while_something_is_held() {
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
    api.told_once(&first, "opened", &limited, "sent");
    let second = api.open(&search, "degraded");
    for (incident, channel) in [(&first, &quiet), (&second, &quiet), (&second, &limited)] {
        api.told_once(incident, "opened", channel, "held");
    }
    server.kill();

    let server = setup.start();
    let api = server.api();
    for (incident, channel) in [(&first, &quiet), (&second, &quiet), (&second, &limited)] {
        api.told_once(incident, "opened", channel, "held");
    }
    api.resolve(&shop);
    assert_eq!(receivers.each_ref().map(Receiver::count)[0], 0);
    api.edit_channel(&quiet, json!({"quietHours": null}));
    api.edit_channel(&limited, json!({"rateLimit": null}));
    receivers[0].wait_for(1);
    for (incident, channel) in [(&first, &quiet), (&second, &quiet), (&second, &limited)] {
        assert!(api.told_once(incident, "opened", channel, "sent")["digestId"].is_string());
    }
    let digest = String::from_utf8(receivers[0].requests()[0].body().to_vec()).unwrap();
    assert!(digest.contains("Shop") && digest.contains("Search"), "{digest}");
    api.wait_until_settled();
    assert_eq!(receivers[0].count(), 1, "all that the night held is one message");
}

#[test]
fn in_the_middle_of_a_streak() {
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
    assert_eq!(said(&receiver), [(json!("incident_opened"), json!(incident))]);
}

#[test]
fn before_an_escalation_and_while_a_mute_stops_the_opening() {
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
        assert_eq!(said(receiver), [(json!(event), json!(incident))], "when it is due, or as soon as it can be");
    }
}
