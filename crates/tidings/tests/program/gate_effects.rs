//! The effects of scoped mutes, delivery priority, quiet hours, rate limits, retries and escalation.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::incidents::quiet_now;
use crate::support::{Api, Receiver, Reply, Server, Setup, ahead};

/// A server and two endpoints.
struct World {
    api: Api,
    shop: String,
    search: String,
    _server: Server,
}

fn world() -> World {
    let server = Setup::new().start();
    let api = server.api();
    let [shop, search] = ["Shop", "Search"].map(|name| api.make_endpoint(json!({"name": name})));
    World { api, shop, search, _server: server }
}

impl World {
    /// A webhook with these policies, wired to both endpoints.
    fn webhook(&self, receiver: &Receiver, policies: Value) -> String {
        let channel = self.api.make_webhook(receiver, policies);
        self.wire(&channel);
        channel
    }

    /// A Slack channel, which supports digests, with these policies, wired to both endpoints.
    fn slack(&self, receiver: &Receiver, policies: Value) -> String {
        let channel = self.api.make_slack(receiver, policies);
        self.wire(&channel);
        channel
    }

    fn wire(&self, channel: &str) {
        self.api.wire(&self.shop, &[channel]);
        self.api.wire(&self.search, &[channel]);
    }

    fn mute(&self, body: Value) -> String {
        crate::support::api::id(&self.api.post("/mutes", body).expect(201)["mute"])
    }
}

#[test]
fn scoped_mute_suppresses_its_endpoint_or_channel_only() {
    let world = world();
    let World { api, shop, search, .. } = &world;
    let receiver = Receiver::good();
    let [one, other] = [(); 2].map(|()| world.webhook(&receiver, json!({})));
    let expect = |muted: &[(&String, &String)], mute: &str| {
        for endpoint in [shop, search] {
            let incident = api.open(endpoint, "down");
            for channel in [&one, &other] {
                if muted.contains(&(endpoint, channel)) {
                    let verdict = api.stopped(&incident, "opened", channel, "muted");
                    assert_eq!(verdict["muteId"], mute, "{verdict}");
                } else {
                    api.incident_delivery_once(&incident, "opened", channel, "sent");
                }
            }
            api.resolve(endpoint);
        }
    };
    let mutes = || api.get("/mutes").expect(200)["data"].as_array().unwrap().clone();
    for (scope, target, muted) in [
        ("endpoint", json!(shop), vec![(shop, &one), (shop, &other)]),
        ("channel", json!(one), vec![(shop, &one), (search, &one)]),
        ("global", Value::Null, vec![(shop, &one), (shop, &other), (search, &one), (search, &other)]),
    ] {
        let mute = world.mute(json!({"scope": scope, "targetId": target, "reason": "planned work"}));
        let listed = mutes();
        assert_eq!((listed.len(), &listed[0]["id"]), (1, &json!(mute)), "{listed:?}");
        assert_eq!((&listed[0]["scope"], &listed[0]["reason"]), (&json!(scope), &json!("planned work")));
        expect(&muted, &mute);
        api.delete(&format!("/mutes/{mute}")).expect(204);
        assert_eq!(mutes(), Vec::<Value>::new());
        expect(&[], "");
    }
}

#[test]
fn expired_mute_sends_deferred_opening_of_active_incident() {
    let world = world();
    let World { api, shop, .. } = &world;
    let receiver = Receiver::good();
    let hook = world.webhook(&receiver, json!({}));
    let expires_at = ahead(Duration::from_secs(2)).to_string();
    world.mute(json!({"scope": "endpoint", "targetId": shop, "expiresAt": expires_at}));
    let incident = api.open(shop, "down");
    let verdict = api.stopped(&incident, "opened", &hook, "muted");
    assert_eq!(verdict["until"], expires_at, "{verdict}");
    let body = receiver.wait_for(1)[0].json();
    assert_eq!((&body["event"], &body["incident"]["id"]), (&json!("incident_opened"), &json!(incident)));
    let deliveries = api.incident_deliveries(&incident, "opened", &hook);
    assert_eq!((deliveries.len(), &deliveries[1]["replacesDeliveryId"]), (2, &deliveries[0]["id"]), "{deliveries:?}");
    assert!(deliveries[1]["verdicts"][0]["evaluatedAt"].as_str() >= Some(expires_at.as_str()), "{deliveries:?}");
    assert_eq!(api.get("/mutes").expect(200)["data"], json!([]), "it is over");
}

#[test]
fn critical_priority_bypasses_cooldown_and_rate_limit() {
    let world = world();
    let World { api, shop, search, .. } = &world;
    let receiver = Receiver::good();
    let one_a_minute = json!({"maxPerMinute": 1, "action": "drop"});
    let standard = world.webhook(&receiver, json!({"rateLimit": one_a_minute}));
    let critical = world.webhook(&receiver, json!({"rateLimit": one_a_minute, "deliveryPriority": "critical"}));
    api.patch(&format!("/endpoints/{shop}"), json!({"cooldownSeconds": 3_600})).expect(200);
    let first = api.open(shop, "down");
    for channel in [&standard, &critical] {
        api.incident_delivery_once(&first, "opened", channel, "sent");
    }
    api.resolve(shop);
    for channel in [&standard, &critical] {
        // The resolution of a sent incident passes the limit.
        api.incident_delivery_once(&first, "resolved", channel, "sent");
    }
    let again = api.open(shop, "down");
    assert_eq!(api.stopped(&again, "opened", &standard, "cooldown")["gate"], "cooldown");
    api.incident_delivery_once(&again, "opened", &critical, "sent");
    let beside = api.open(search, "down");
    let verdict = api.stopped(&beside, "opened", &standard, "rate_limit");
    assert!(verdict["detail"].as_str().unwrap().contains("takes at most 1 message a minute"), "{verdict}");
    api.incident_delivery_once(&beside, "opened", &critical, "sent");
}

#[test]
fn quiet_hours_hold_non_critical_deliveries_for_one_digest() {
    let world = world();
    let World { api, shop, search, .. } = &world;
    let receiver = Receiver::always(200);
    let slack = world.slack(&receiver, quiet_now(json!({})));
    let over = api.open(shop, "degraded");
    let held = api.incident_delivery_once(&over, "opened", &slack, "held");
    assert_eq!(held["heldReason"], "quiet_hours", "{held}");
    assert!(held["heldUntil"].as_str().is_some_and(|until| until > held["createdAt"].as_str().unwrap()), "{held}");
    let burning = api.open(search, "degraded");
    api.incident_delivery_once(&burning, "opened", &slack, "held");
    api.resolve(shop);
    api.incident_delivery_once(&over, "resolved", &slack, "held");
    assert_eq!(receiver.count(), 0);

    // Critical notifications pass; here one of the two incidents worsens.
    assert_eq!(api.check(search, "down")["transition"], "worsened");
    api.incident_delivery_once(&burning, "worsened", &slack, "sent");
    assert_eq!(receiver.wait_for(1).len(), 1);

    api.edit_channel(&slack, json!({"quietHours": null}));
    let digest = String::from_utf8(receiver.wait_for(2)[1].body().to_vec()).unwrap();
    let places = ["Search", "Shop"].map(|name| digest.find(name).unwrap_or_else(|| panic!("no {name} in {digest}")));
    assert!(places[0] < places[1], "what is still open comes first: {digest}");
    let carried = api.incident_delivery_once(&over, "opened", &slack, "sent");
    assert!(carried["digestId"].is_string(), "{carried}");
    for (incident, trigger) in [(&over, "resolved"), (&burning, "opened")] {
        assert_eq!(api.incident_delivery_once(incident, trigger, &slack, "sent")["digestId"], carried["digestId"]);
    }
    assert_eq!(receiver.count(), 2, "one digest, and nothing besides");
}

#[test]
fn quiet_hours_can_drop_and_can_include_critical_deliveries() {
    let world = world();
    let World { api, shop, .. } = &world;
    let receiver = Receiver::good();
    let drop = world.webhook(&receiver, quiet_now(json!({"action": "drop"})));
    let hold_all = world.webhook(&receiver, quiet_now(json!({"criticalPasses": false})));
    let loud = world.webhook(&receiver, json!({}));
    let warning = api.open(shop, "degraded");
    api.stopped(&warning, "opened", &drop, "quiet_hours");
    api.incident_delivery_once(&warning, "opened", &hold_all, "held");
    api.incident_delivery_once(&warning, "opened", &loud, "sent");
    api.resolve(shop);
    let critical = api.open(shop, "down");
    api.incident_delivery_once(&critical, "opened", &drop, "sent");
    api.incident_delivery_once(&critical, "opened", &hold_all, "held");
}

#[test]
fn deliveries_over_the_rate_limit_are_held_for_one_digest() {
    let world = world();
    let World { api, shop, search, .. } = &world;
    let receiver = Receiver::always(200);
    let slack = world.slack(&receiver, json!({"rateLimit": {"maxPerMinute": 1}}));
    let incident = api.open(shop, "down");
    api.incident_delivery_once(&incident, "opened", &slack, "sent");
    let too_many = api.open(search, "down");
    let held = api.incident_delivery_once(&too_many, "opened", &slack, "held");
    assert_eq!(held["heldReason"], "rate_limit", "{held}");
    assert!(held["heldUntil"].is_string(), "{held}");
    api.edit_channel(&slack, json!({"rateLimit": null}));
    let digest = receiver.wait_for(2)[1].clone();
    assert!(String::from_utf8_lossy(digest.body()).contains("Search"), "{digest:?}");
    assert!(api.incident_delivery_once(&too_many, "opened", &slack, "sent")["digestId"].is_string());
}

#[test]
fn failed_delivery_is_retried_if_the_channel_allows() {
    let world = world();
    let World { api, shop, .. } = &world;
    let flaky = || Receiver::start(|_, number| Reply::Status(if number == 1 { 500 } else { 204 }));
    let receivers = [(); 3].map(|()| flaky());
    let policies = [json!({"retryDelaysSeconds": [1]}), json!({"retryOnFailure": false}), json!({})];
    let [soon, never, later] = [0, 1, 2].map(|number| world.webhook(&receivers[number], policies[number].clone()));
    let incident = api.open(shop, "down");
    let failed = api.incident_delivery_once(&incident, "opened", &never, "failed");
    assert_eq!((&failed["attemptCount"], receivers[1].count()), (&json!(1), 1), "{failed}");
    let sent = api.incident_delivery_once(&incident, "opened", &soon, "sent");
    assert_eq!((&sent["attemptCount"], receivers[0].count()), (&json!(2), 2), "{sent}");
    let waiting = api.incident_delivery_once(&incident, "opened", &later, "pending");
    assert_eq!(waiting["attemptCount"], 1, "by default the first retry is after 15 seconds: {waiting}");
    let next = waiting["nextAttemptAt"].as_str().unwrap();
    assert!(next > ahead(Duration::from_secs(2)).to_string().as_str(), "{waiting}");
}

#[test]
fn unacknowledged_incident_escalates_to_the_next_channel() {
    let world = world();
    let World { api, shop, search, .. } = &world;
    let receivers = [(); 2].map(|()| Receiver::good());
    let first = world.webhook(&receivers[0], json!({}));
    let boss = api.make_webhook(&receivers[1], json!({}));
    for endpoint in [shop, search] {
        let escalation = json!({"escalation": [{"afterSeconds": 1, "channelId": boss}]});
        api.patch(&format!("/endpoints/{endpoint}"), escalation).expect(200);
    }
    let taken = api.open(search, "down");
    api.post(&format!("/incidents/{taken}/acknowledge"), json!({"note": "on it"})).expect(200);
    let ignored = api.open(shop, "down");
    let body = receivers[1].wait_for(1)[0].json();
    assert_eq!((&body["event"], &body["severity"]), (&json!("incident_escalated"), &json!("critical")), "{body}");
    assert_eq!(
        (&body["incident"]["id"], receivers[1].count()),
        (&json!(ignored), 1),
        "the acknowledged incident does not escalate"
    );
    assert!(
        api.incident_deliveries(&ignored, "escalated:1", &first).is_empty(),
        "a step speaks through its own channel alone"
    );
}
