//! Gates: their order, the log of their verdicts, and what each filter passes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, Receiver, Server, Setup, ahead, eventually};

/// An endpoint that is wired to a webhook.
struct World {
    api: Api,
    receiver: Receiver,
    hook: String,
    endpoint: String,
    _server: Server,
}

fn world() -> World {
    let receiver = Receiver::good();
    let server = Setup::new().start();
    let api = server.api();
    let hook = api.make_webhook(&receiver, json!({}));
    let endpoint = api.make_endpoint(json!({}));
    api.wire(&endpoint, &[&hook]);
    World { api, receiver, hook, endpoint, _server: server }
}

impl World {
    fn preferences(&self, change: Value) {
        self.api.patch("/notification-preferences", change).expect(200);
    }
}

#[test]
fn first_stopping_gate_decides_and_is_logged() {
    let World { api, receiver, hook, endpoint, .. } = &world();
    let global = |until: Value| api.patch("/notification-preferences", json!({"globalMuteUntil": until})).expect(200);
    let filters = |severity: &str, open: bool| {
        api.edit_channel(hook, json!({"severityFilter": severity, "eventFilters": {"sendOpen": open}}));
    };
    // All gates stop at first. Each is opened after it was the one that decided.
    api.pause(endpoint, hook, true);
    api.edit_channel(hook, json!({"enabled": false}));
    global(json!("2099-01-01T00:00:00Z"));
    filters("critical", false);
    let open: [(&str, &str, &dyn Fn()); 5] = [
        ("rule_paused", "rule_paused", &|| api.pause(endpoint, hook, false)),
        ("channel_disabled", "channel_disabled", &|| api.edit_channel(hook, json!({"enabled": true}))),
        ("global_mute", "muted", &|| drop(global(Value::Null))),
        ("severity_filter", "severity_filter", &|| filters("warning+", false)),
        ("event_filter", "event_filter", &|| filters("warning+", true)),
    ];
    let mut passed = Vec::new();
    for (gate, reason, open) in open {
        let incident = api.open(endpoint, "degraded");
        let verdict = api.stopped(&incident, "opened", hook, reason);
        assert_eq!(verdict["gate"], gate);
        let delivery = &api.incident_deliveries(&incident, "opened", hook)[0];
        assert_eq!((&delivery["attemptCount"], &delivery["sentAt"]), (&json!(0), &Value::Null), "{delivery}");
        let verdicts = delivery["verdicts"].as_array().unwrap();
        let before: Vec<_> = verdicts[..verdicts.len() - 1].iter().map(|verdict| verdict["gate"].clone()).collect();
        assert!(passed.iter().all(|gate| before.contains(&json!(gate))), "{before:?}");
        assert!(verdicts.iter().all(|verdict| verdict["evaluatedAt"].is_string()), "{delivery}");
        api.resolve(endpoint);
        passed.push(gate);
        open();
    }
    let incident = api.open(endpoint, "degraded");
    let delivery = api.incident_delivery_once(&incident, "opened", hook, "sent");
    assert_eq!((&delivery["suppressedReason"], &delivery["httpStatus"]), (&Value::Null, &json!(204)), "{delivery}");
    let bodies: Vec<_> = receiver.requests().iter().map(|request| request.json()).collect();
    let opened: Vec<_> = bodies.iter().filter(|body| body["event"] == "incident_opened").collect();
    assert_eq!((opened.len(), &opened[0]["incident"]["id"]), (1, &json!(incident)), "only the last was sent");
}

#[test]
fn passed_delivery_is_sent_and_its_outcome_logged() {
    let World { api, hook, endpoint, .. } = &world();
    let broken = api.make_webhook(&Receiver::always(502), json!({"retryOnFailure": false}));
    api.wire(endpoint, &[&broken]);
    let incident = api.open(endpoint, "down");
    let sent = api.incident_delivery_once(&incident, "opened", hook, "sent");
    assert_eq!((&sent["httpStatus"], &sent["lastError"]), (&json!(204), &Value::Null), "{sent}");
    let failed = api.incident_delivery_once(&incident, "opened", &broken, "failed");
    assert_eq!(
        (&failed["httpStatus"], &failed["lastError"]),
        (&json!(502), &json!("HTTP 502 Bad Gateway")),
        "{failed}"
    );
    assert_eq!(api.incident(&incident)["notificationsSent"], 1, "what failed is no notification sent");
}

#[test]
fn resolution_without_recovery_alert_creates_no_delivery() {
    let World { api, receiver, hook, endpoint, .. } = &world();
    api.patch(&format!("/endpoints/{endpoint}"), json!({"recoveryAlert": false})).expect(200);
    // It is evaluated before the mute, which would create a delivery.
    let incident = api.open(endpoint, "down");
    api.incident_delivery_once(&incident, "opened", hook, "sent");
    api.patch("/notification-preferences", json!({"globalMuteUntil": "2099-01-01T00:00:00Z"})).expect(200);
    api.resolve(endpoint);
    assert_eq!(api.incident_deliveries(&incident, "resolved", hook), Vec::<Value>::new());
    let events = api.get("/events?trigger=resolved").expect(200);
    assert_eq!(events["data"][0]["runId"], incident);
    assert_eq!(events["data"][0]["notRouted"][0]["reason"], "recovery_disabled", "{events}");
    assert_eq!(receiver.count(), 1);
}

#[test]
fn global_mute_suppresses_every_delivery() {
    let world = world();
    let World { api, receiver, hook, endpoint, .. } = &world;
    api.make_rule("backup", hook);
    let incident = api.open(endpoint, "down");
    api.incident_delivery_once(&incident, "opened", hook, "sent");
    world.preferences(json!({"globalMuteUntil": "2099-01-01T00:00:00Z"}));
    api.resolve(endpoint);
    api.stopped(&incident, "resolved", hook, "muted");
    let resolved = incident;
    let incident = api.open(endpoint, "down");
    api.stopped(&incident, "opened", hook, "muted");
    let run = api.delivery_once(&api.fail("backup", "1"), "suppressed");
    assert_eq!(run["suppressedReason"], "muted", "runs, too: {run}");
    assert_eq!(receiver.count(), 1);
    let why = api.get(&format!("/events/{}/why", run["eventId"].as_str().unwrap())).expect(200);
    assert!(why["answer"].as_str().unwrap().to_lowercase().contains("muted"), "{why}");

    // After its end those who were notified of the first incident are notified of its end, and the opening of the active
    // one is sent.
    let (first, second) = (resolved, incident);
    world.preferences(json!({"globalMuteUntil": ahead(Duration::from_secs(1)).to_string()}));
    eventually("the deferred opening is sent", || {
        let deliveries = api.incident_deliveries(&second, "opened", hook);
        let deferred = deliveries.get(1).filter(|deferred| deferred["status"] == "sent")?;
        assert_eq!(
            (&deferred["sequence"], &deferred["replacesDeliveryId"]),
            (&json!(2), &deliveries[0]["id"]),
            "{deferred}"
        );
        assert_eq!(deliveries[0]["status"], "suppressed", "the row stays");
        Some(())
    });
    let received = receiver.wait_for(3);
    let received = |event: &str, incident: &str| {
        let mut bodies = received[1..].iter().map(|request| request.json());
        bodies.any(|body| body["event"] == event && body["incident"]["id"] == incident)
    };
    assert!(received("incident_resolved", &first) && received("incident_opened", &second));
    api.delivery_once(&api.fail("backup", "2"), "sent");
}

#[test]
fn severity_filter_passes_its_severities() {
    let World { api, endpoint, .. } = &world();
    let receiver = Receiver::good();
    let filtered = |filter: &str| api.make_webhook(&receiver, json!({"severityFilter": filter}));
    let channels = ["info+", "warning+", "critical"].map(filtered);
    api.wire(endpoint, &channels.each_ref().map(String::as_str));
    for channel in &channels {
        let rule = json!({"resourceType": "job", "resourceId": "backup", "triggers": ["success", "failure"],
                          "failureSeverity": "info", "channelId": channel});
        api.post("/notification-rules", rule).expect(201);
    }
    let expect = |incident: &str, trigger: &str, through: [bool; 3]| {
        for (channel, passes) in channels.iter().zip(through) {
            if passes {
                api.incident_delivery_once(incident, trigger, channel, "sent");
            } else {
                api.stopped(incident, trigger, channel, "severity_filter");
            }
        }
    };
    for status in ["success", "failure"] {
        let run = json!({"resourceType": "job", "resourceId": "backup", "runId": "1", "status": status});
        let event = api.post("/runs", run).expect(202)["eventId"].as_str().unwrap().to_owned();
        api.wait_until_settled();
        let deliveries = api.deliveries(&format!("&event={event}"));
        let of = |channel: &String| deliveries.iter().find(|delivery| delivery["channelId"] == *channel).unwrap();
        let came_to = channels.each_ref().map(|channel| of(channel)["status"].as_str().unwrap());
        assert_eq!(came_to, ["sent", "suppressed", "suppressed"], "info: a run's {status}");
    }
    let warning = api.open(endpoint, "degraded");
    expect(&warning, "opened", [true, true, false]);
    api.resolve(endpoint);
    expect(&warning, "resolved", [true, true, true]);
    let critical = api.open(endpoint, "down");
    expect(&critical, "opened", [true, true, true]);
    api.resolve(endpoint);
    expect(&critical, "resolved", [true, true, true]);
}

#[test]
fn event_filters_suppress_their_event_and_default_to_all() {
    let World { api, hook, endpoint, .. } = &world();
    let shown = api.get(&format!("/channels/{hook}")).expect(200);
    assert_eq!(shown["eventFilters"], json!({"sendOpen": true, "sendResolved": true, "sendEscalated": true}));
    let receivers = [(); 2].map(|()| Receiver::good());
    let [clear, page] = [(&receivers[0], json!({"sendOpen": false})), (&receivers[1], json!({"sendResolved": false}))]
        .map(|(receiver, filters)| api.make_webhook(receiver, json!({"eventFilters": filters})));
    api.wire(endpoint, &[&clear, &page]);
    let incident = api.open(endpoint, "down");
    for channel in [hook, &page] {
        api.incident_delivery_once(&incident, "opened", channel, "sent");
    }
    api.stopped(&incident, "opened", &clear, "event_filter");
    api.resolve(endpoint);
    for channel in [hook, &clear] {
        api.incident_delivery_once(&incident, "resolved", channel, "sent");
    }
    api.stopped(&incident, "resolved", &page, "event_filter");
    let events = receivers
        .each_ref()
        .map(|receiver| receiver.requests().iter().map(|it| it.json()["event"].clone()).collect::<Vec<_>>());
    assert_eq!(events, [vec![json!("incident_resolved")], vec![json!("incident_opened")]]);
}

#[test]
fn disabled_channel_is_silent_and_pause_affects_one_endpoint() {
    let World { api, hook, endpoint, .. } = &world();
    let other = api.make_endpoint(json!({"name": "Search"}));
    api.wire(&other, &[hook]);
    api.edit_channel(hook, json!({"enabled": false}));
    for endpoint in [endpoint, &other] {
        let incident = api.open(endpoint, "down");
        api.stopped(&incident, "opened", hook, "channel_disabled");
        api.resolve(endpoint);
    }
    api.edit_channel(hook, json!({"enabled": true}));
    api.pause(endpoint, hook, true);
    let incident = api.open(endpoint, "down");
    api.stopped(&incident, "opened", hook, "rule_paused");
    let incident = api.open(&other, "down");
    api.incident_delivery_once(&incident, "opened", hook, "sent");
}
