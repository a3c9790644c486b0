//! The second origin document as a evaluation, its first part: endpoints that are watched, channels that are wired to them, and
//! when whom is told what. Its gates, and what it keeps and does not do itself, are walked in the files beside this.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::id;
use crate::support::{Api, Mailbox, Page, Receiver, Reply, Setup, eventually, now};

/// Watches every second.
fn setup() -> Setup {
    Setup::new().with("TIDINGS_WATCH_INTERVAL_SECONDS_MIN", "1")
}

/// A channel of this type and configuration.
fn channel(api: &Api, name: &str, config: Value) -> String {
    api.make_channel(json!({"name": name, "type": name, "config": config}))
}

#[test]
fn an_outage_and_its_end_arrive_by_mail_slack_discord_and_webhook_as_one_thread() {
    let (mailbox, page) = (Mailbox::start(), Page::answering(200));
    // What Slack answers; the others take any success.
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
    let endpoint = api.make_watched(&page.url(), more);
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
            api.told_once(incident, trigger, channel, "sent");
        }
    }
    assert_eq!(receivers.each_ref().map(Receiver::count), [2, 2, 2], "and nothing else");
}

#[test]
fn not_every_failed_check_is_told_but_a_streak_of_them_is_once() {
    // Fails every other time, and from the fifth on always.
    let page = Receiver::start(|_, number| Reply::Status(if number % 2 == 0 && number < 5 { 200 } else { 500 }));
    let receiver = Receiver::good();
    let server = setup().start();
    let api = server.api();
    let hook = api.make_webhook(&receiver, json!({}));
    let more = json!({"intervalSeconds": 1, "timeoutMs": 1_000, "failureThreshold": 2, "recoveryThreshold": 2});
    let endpoint = api.make_watched(&page.url(), more);
    api.wire(&endpoint, &[&hook]);

    let opened = receiver.wait_for(1)[0].json();
    assert_eq!((&opened["event"], &opened["detail"]), (&json!("incident_opened"), &json!("HTTP 500 — expected 200")));
    page.wait_for(8);
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
    assert_eq!(receiver.count(), 1, "and an incident that goes on is not told again");
}

#[test]
fn a_channel_is_made_once_and_wired_to_many_endpoints() {
    let receiver = Receiver::good();
    let server = Setup::new().start();
    let api = server.api();
    let hook = api.make_webhook(&receiver, json!({}));
    let names = ["Shop", "Search", "Billing"];
    for (count, name) in names.into_iter().enumerate() {
        let endpoint = api.make_endpoint(json!({"name": name}));
        api.wire(&endpoint, &[&hook]);
        let told = now();
        api.open(&endpoint, "down");
        let request = receiver.wait_for(count + 1)[count].clone();
        assert_eq!(request.json()["endpoint"]["name"], name);
        // The first message leaves with the incident, and waits for no timer.
        assert!(request.at - told < Duration::from_secs(5), "{:?}", request.at - told);
    }
}

#[test]
fn wired_and_paused_are_two_switches_of_each_endpoint() {
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
    assert_eq!(switches(&shop), [off(&one), off(&other)], "every channel is shown");
    let outage = |endpoint: &str| {
        let incident = api.open(endpoint, "down");
        api.resolve(endpoint);
        incident
    };
    let unheard = outage(&shop);
    assert!(api.deliveries(&format!("&incident={unheard}")).is_empty(), "what is not wired is not told, nor logged");

    for endpoint in [&shop, &search] {
        api.wire(endpoint, &[&one, &other]);
    }
    api.pause(&shop, &one, true);
    assert_eq!(switches(&shop), [(one.clone(), true, true), (other.clone(), true, false)], "it stays wired");
    assert_eq!(switches(&search), [(one.clone(), true, false), (other.clone(), true, false)]);
    let incident = outage(&shop);
    for trigger in ["opened", "resolved"] {
        api.stopped(&incident, trigger, &one, "rule_paused");
        api.told_once(&incident, trigger, &other, "sent");
    }
    let incident = outage(&search);
    api.told_once(&incident, "resolved", &one, "sent");
    assert_eq!(receivers[0].wait_for(2)[0].json()["endpoint"]["name"], "Search", "only the other endpoint is heard");

    // On every dispatch: what opened before the pause is not resolved aloud in it.
    api.pause(&shop, &one, false);
    let incident = api.open(&shop, "down");
    api.told_once(&incident, "opened", &one, "sent");
    api.pause(&shop, &one, true);
    api.resolve(&shop);
    api.stopped(&incident, "resolved", &one, "rule_paused");

    let wires = json!({"channels": [{"channelId": one, "wired": false}]});
    api.put(&format!("/endpoints/{shop}/notifications"), wires).expect(200);
    assert_eq!(switches(&shop), [(one.clone(), false, true), (other.clone(), true, false)], "the pause is remembered");
    let incident = outage(&shop);
    assert!(api.told(&incident, "opened", &one).is_empty());
    api.told_once(&incident, "resolved", &other, "sent");
}

fn id_of(row: &Value) -> String {
    row["channelId"].as_str().unwrap().to_owned()
}

#[test]
fn each_kind_of_message_has_the_documents_severity() {
    let receiver = Receiver::good();
    let server = Setup::new().start();
    let api = server.api();
    let hook = api.make_webhook(&receiver, json!({}));
    let endpoint = api.make_endpoint(json!({}));
    api.wire(&endpoint, &[&hook]);
    let mut said = Vec::new();
    for cause in ["down", "degraded"] {
        let incident = api.open(&endpoint, cause);
        assert_eq!(api.incident(&incident)["cause"], format!("endpoint_{cause}"));
        receiver.wait_for(said.len() + 1);
        api.resolve(&endpoint);
        said = receiver.wait_for(said.len() + 2);
    }
    let tested = api.post(&format!("/channels/{hook}/test"), json!({})).expect(200);
    assert_eq!(tested["ok"], true, "{tested}");
    let said: Vec<_> = receiver.wait_for(5).iter().map(|request| request.json()).collect();
    let said: Vec<_> =
        said.iter().map(|body| [&body["event"], &body["severity"]].map(|it| it.as_str().unwrap())).collect();
    assert_eq!(
        said,
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
fn an_incident_that_goes_on_opens_once_and_one_that_is_over_may_open_again() {
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
    // What is said of two incidents keeps no order; what is said of one does.
    receiver.wait_for(2);
    let second = api.open(&endpoint, "down");
    assert_ne!(first, second);
    let said: Vec<_> = receiver.wait_for(3).iter().map(|request| request.json()).collect();
    let of =
        |number: usize| (said[number]["event"].as_str().unwrap(), said[number]["incident"]["id"].as_str().unwrap());
    assert_eq!([of(0), of(1)], [("incident_opened", first.as_str()), ("incident_resolved", first.as_str())]);
    assert_eq!(of(2), ("incident_opened", second.as_str()));
}
