//! Incidents of monitored endpoints: channels that are wired to them, and which notification is sent when. Gates are tested
//! in `gates` and `gate_effects`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::id;
use crate::support::{Api, Mailbox, Page, Receiver, Reply, Setup, eventually, now};

/// Checks every second.
fn setup() -> Setup {
    Setup::new().with("TIDINGS_WATCH_INTERVAL_SECONDS_MIN", "1")
}

/// A channel of this type and configuration.
fn channel(api: &Api, name: &str, config: Value) -> String {
    api.make_channel(json!({"name": name, "type": name, "config": config}))
}

#[test]
fn incident_arrives_by_mail_slack_discord_and_webhook_as_one_thread() {
    let (mailbox, page) = (Mailbox::start(), Page::answering(200));
    // Slack requires this body; the others accept any success.
    let receivers = [(); 3].map(|()| Receiver::always(200));
    let [slack, discord, webhook] = &receivers;
    let server = setup().start();
    let api = server.api();
    let smtp = json!({"host": "127.0.0.1", "port": mailbox.port, "tls": "none", "from": "tidings@example.com"});
    let at = |receiver: &Receiver, path: &str| format!("http://{}{path}", receiver.address());
    let channels = [
        channel(&api, "email", json!({"recipients": ["ops@example.com"], "smtp": smtp})),
        channel(&api, "slack", json!({"webhookUrl": at(slack, "/services/T0/B0/xyz")})),
        channel(&api, "discord", json!({"webhookUrl": at(discord, "/api/webhooks/1/xyz")})),
        channel(&api, "webhook", json!({"url": webhook.url()})),
    ];
    let more = json!({"intervalSeconds": 1, "timeoutMs": 1_000, "failureThreshold": 2, "recoveryThreshold": 2});
    let endpoint = api.make_monitored(&page.url(), more);
    api.wire(&endpoint, &channels.each_ref().map(String::as_str));
    api.endpoint_once(&endpoint, "healthy");

    page.stop();
    let opened = webhook.wait_for(1)[0].json();
    assert_eq!((&opened["event"], &opened["severity"]), (&json!("incident_opened"), &json!("critical")), "{opened}");
    assert_eq!(opened["incident"]["status"], "active");
    let open_mail = mailbox.wait_for(1)[0].clone();
    receivers.iter().for_each(|receiver| drop(receiver.wait_for(1)));

    page.start();
    let resolved = webhook.wait_for(2)[1].json();
    assert_eq!((&resolved["event"], &resolved["severity"]), (&json!("incident_resolved"), &json!("success")));
    let clear_mail = mailbox.wait_for(2)[1].clone();
    receivers.iter().for_each(|receiver| drop(receiver.wait_for(2)));

    let incident = resolved["incident"]["id"].as_str().unwrap();
    assert_eq!((opened["incident"]["id"].as_str(), &resolved["endpoint"]["id"]), (Some(incident), &json!(endpoint)));
    let thread = format!("<incident.{incident}@example.com>");
    for (mail, word) in [(&open_mail, "down"), (&clear_mail, "recovered")] {
        assert_eq!((mail.header("References"), mail.header("In-Reply-To")), (thread.clone(), thread.clone()));
        let subject = mail.header("Subject");
        assert!(subject.contains("Production API") && subject.contains(word), "{subject}");
        assert!(mail.text().contains(incident), "{}", mail.text());
        assert_eq!(mail.complaints(), &json!([]));
    }
    api.wait_until_settled();
    let seen = api.incident(incident);
    assert_eq!((&seen["status"], &seen["cause"]), (&json!("resolved"), &json!("endpoint_down")));
    assert_eq!(seen["notificationsSent"], 8, "two events through four channels: {seen}");
    for channel in &channels {
        for trigger in ["opened", "resolved"] {
            api.incident_delivery_once(incident, trigger, channel, "sent");
        }
    }
    assert_eq!(receivers.each_ref().map(Receiver::count), [2, 2, 2], "and nothing else");
}

#[test]
fn failure_streak_opens_one_incident() {
    // Fails every other time, and from the fifth on always. A failure over a connection of a good response is confirmed over
    // another one: the third check takes the third and the fourth request.
    let page = Receiver::start(|_, number| Reply::Status(if number == 2 || number == 5 { 200 } else { 500 }));
    let receiver = Receiver::good();
    let server = setup().start();
    let api = server.api();
    let hook = api.make_webhook(&receiver, json!({}));
    let more = json!({"intervalSeconds": 1, "timeoutMs": 1_000, "failureThreshold": 2, "recoveryThreshold": 2});
    let endpoint = api.make_monitored(&page.url(), more);
    api.wire(&endpoint, &[&hook]);

    let opened = receiver.wait_for(1)[0].json();
    assert_eq!((&opened["event"], &opened["detail"]), (&json!("incident_opened"), &json!("HTTP 500 — expected 200")));
    page.wait_for(10);
    let incident = opened["incident"]["id"].as_str().unwrap();
    let timeline = eventually("the checks are on the timeline", || {
        let timeline = api.incident(incident)["timeline"].as_array().unwrap().clone();
        (timeline.len() >= 2).then_some(timeline)
    });
    assert_eq!(timeline[0]["kind"], "opened", "{timeline:?}");
    assert!(timeline[1..].iter().all(|entry| entry["kind"] == "check"), "{timeline:?}");
    let checks = api.get(&format!("/endpoints/{endpoint}/checks?limit=200")).expect(200);
    let checks: Vec<_> = checks["data"].as_array().unwrap().iter().rev().collect();
    let statuses: Vec<_> = checks.iter().take(6).map(|check| check["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["down", "healthy", "down", "healthy", "down", "down"]);
    assert_eq!(api.incident(incident)["failingSince"], checks[4]["checkedAt"], "the streak began with the fifth");
    let incidents = api.get("/incidents").expect(200);
    assert_eq!(incidents["data"].as_array().map(Vec::len), Some(1), "{incidents}");
    assert_eq!(receiver.count(), 1, "and an active incident is not sent again");
}

#[test]
fn channel_can_be_wired_to_many_endpoints() {
    let receiver = Receiver::good();
    let server = Setup::new().start();
    let api = server.api();
    let hook = api.make_webhook(&receiver, json!({}));
    let names = ["Shop", "Search", "Billing"];
    for (count, name) in names.into_iter().enumerate() {
        let endpoint = api.make_endpoint(json!({"name": name}));
        api.wire(&endpoint, &[&hook]);
        let reported_at = now();
        api.open(&endpoint, "down");
        let request = receiver.wait_for(count + 1)[count].clone();
        assert_eq!(request.json()["endpoint"]["name"], name);
        // The first notification is sent with the incident, without a timer.
        assert!(request.at - reported_at < Duration::from_secs(5), "{:?}", request.at - reported_at);
    }
}

#[test]
fn wired_and_paused_are_independent_for_each_endpoint() {
    let receivers = [(); 2].map(|()| Receiver::good());
    let server = Setup::new().start();
    let api = server.api();
    let [one, other] = receivers.each_ref().map(|receiver| api.make_webhook(receiver, json!({})));
    let [shop, search] = ["Shop", "Search"].map(|name| api.make_endpoint(json!({"name": name})));
    let switches = |endpoint: &str| {
        let shown = api.get(&format!("/endpoints/{endpoint}/notifications")).expect(200);
        let switches = |row: &Value| (id_of(row), row["wired"] == true, row["paused"] == true);
        shown["channels"].as_array().unwrap().iter().map(switches).collect::<Vec<_>>()
    };
    let off = |channel: &String| (channel.clone(), false, false);
    assert_eq!(switches(&shop), [off(&one), off(&other)], "every channel is listed");
    let open_and_resolve = |endpoint: &str| {
        let incident = api.open(endpoint, "down");
        api.resolve(endpoint);
        incident
    };
    let unwired = open_and_resolve(&shop);
    assert!(api.deliveries(&format!("&incident={unwired}")).is_empty(), "a channel that is not wired has no delivery");

    for endpoint in [&shop, &search] {
        api.wire(endpoint, &[&one, &other]);
    }
    api.pause(&shop, &one, true);
    assert_eq!(switches(&shop), [(one.clone(), true, true), (other.clone(), true, false)], "it stays wired");
    assert_eq!(switches(&search), [(one.clone(), true, false), (other.clone(), true, false)]);
    let incident = open_and_resolve(&shop);
    for trigger in ["opened", "resolved"] {
        api.stopped(&incident, trigger, &one, "rule_paused");
        api.incident_delivery_once(&incident, trigger, &other, "sent");
    }
    let incident = open_and_resolve(&search);
    api.incident_delivery_once(&incident, "resolved", &one, "sent");
    assert_eq!(receivers[0].wait_for(2)[0].json()["endpoint"]["name"], "Search", "only the other endpoint notifies");

    // For every notification: an incident that opened before the pause has no resolution notice during it.
    api.pause(&shop, &one, false);
    let incident = api.open(&shop, "down");
    api.incident_delivery_once(&incident, "opened", &one, "sent");
    api.pause(&shop, &one, true);
    api.resolve(&shop);
    api.stopped(&incident, "resolved", &one, "rule_paused");

    let wires = json!({"channels": [{"channelId": one, "wired": false}]});
    api.put(&format!("/endpoints/{shop}/notifications"), wires).expect(200);
    assert_eq!(switches(&shop), [(one.clone(), false, true), (other.clone(), true, false)], "the pause is remembered");
    let incident = open_and_resolve(&shop);
    assert!(api.incident_deliveries(&incident, "opened", &one).is_empty());
    api.incident_delivery_once(&incident, "resolved", &other, "sent");
}

fn id_of(row: &Value) -> String {
    row["channelId"].as_str().unwrap().to_owned()
}

#[test]
fn each_kind_of_notification_has_its_severity() {
    let receiver = Receiver::good();
    let server = Setup::new().start();
    let api = server.api();
    let hook = api.make_webhook(&receiver, json!({}));
    let endpoint = api.make_endpoint(json!({}));
    api.wire(&endpoint, &[&hook]);
    let mut bodies = Vec::new();
    for cause in ["down", "degraded"] {
        let incident = api.open(&endpoint, cause);
        assert_eq!(api.incident(&incident)["cause"], format!("endpoint_{cause}"));
        receiver.wait_for(bodies.len() + 1);
        api.resolve(&endpoint);
        bodies = receiver.wait_for(bodies.len() + 2);
    }
    let tested = api.post(&format!("/channels/{hook}/test"), json!({})).expect(200);
    assert_eq!(tested["ok"], true, "{tested}");
    let bodies: Vec<_> = receiver.wait_for(5).iter().map(|request| request.json()).collect();
    let bodies: Vec<_> =
        bodies.iter().map(|body| [&body["event"], &body["severity"]].map(|it| it.as_str().unwrap())).collect();
    assert_eq!(
        bodies,
        [
            ["incident_opened", "critical"],
            ["incident_resolved", "success"],
            ["incident_opened", "warning"],
            ["incident_resolved", "success"],
            ["channel_test", "info"]
        ]
    );
}

#[test]
fn active_incident_opens_once_and_may_open_again_after_resolution() {
    let receiver = Receiver::good();
    let server = Setup::new().start();
    let api = server.api();
    let hook = api.make_webhook(&receiver, json!({}));
    let endpoint = api.make_endpoint(json!({}));
    api.wire(&endpoint, &[&hook]);
    let first = api.open(&endpoint, "down");
    assert_eq!(
        (id(&api.check(&endpoint, "down")), &api.check(&endpoint, "down")["transition"]),
        (first.clone(), &Value::Null)
    );
    api.resolve(&endpoint);
    assert_eq!(api.check(&endpoint, "healthy"), Value::Null);
    // Notifications of different incidents have no order; those of one incident do.
    receiver.wait_for(2);
    let second = api.open(&endpoint, "down");
    assert_ne!(first, second);
    let bodies: Vec<_> = receiver.wait_for(3).iter().map(|request| request.json()).collect();
    let of =
        |number: usize| (bodies[number]["event"].as_str().unwrap(), bodies[number]["incident"]["id"].as_str().unwrap());
    assert_eq!([of(0), of(1)], [("incident_opened", first.as_str()), ("incident_resolved", first.as_str())]);
    assert_eq!(of(2), ("incident_opened", second.as_str()));
}
