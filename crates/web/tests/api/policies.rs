//! Policies of channels, the channel quota, channel health, and other users of a channel than rules.

use serde_json::{Value, json};

use crate::endpoints::{channel, made, path};
use crate::harness::Service;
use crate::receiver::Receiver;

fn with(key: &str, value: Value) -> Value {
    let mut channel = json!({"name": "a", "type": "webhook", "config": {"url": "https://example.com/hook"}});
    channel[key] = value;
    channel
}

fn night() -> Value {
    json!({
        "start": "22:00", "end": "07:00", "timezone": "Europe/Zurich", "days": ["mon", "tue"], "action": "hold",
        "criticalPasses": true,
    })
}

#[tokio::test]
async fn channel_policies_round_trip() {
    let service = Service::start().await;
    let policies = json!({
        "eventFilters": {"sendOpen": true, "sendResolved": false, "sendEscalated": true},
        "deliveryPriority": "critical", "quietHours": night(), "rateLimit": {"maxPerMinute": 30, "action": "drop"},
    });
    let mut body = with("severityFilter", json!("critical"));
    body.as_object_mut().unwrap().extend(policies.as_object().unwrap().clone());
    let made = service.post("/channels", &body).await.expect(201)["channel"].clone();
    let shown = service.get(&format!("/channels/{}", made["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(shown, made);
    for (key, value) in policies.as_object().unwrap() {
        assert_eq!(shown[key], *value, "{key}");
    }
    let brief = json!({"start": "22:00", "end": "24:00", "timezone": "UTC"});
    let made = service.post("/channels", &with("quietHours", brief)).await.expect(201)["channel"].clone();
    let whole = json!({
        "start": "22:00", "end": "24:00", "timezone": "UTC", "days": [], "action": "hold", "criticalPasses": true,
    });
    assert_eq!(made["quietHours"], whole);
    let made = service.post("/channels", &with("rateLimit", json!({"maxPerMinute": 1}))).await.expect(201);
    assert_eq!(made["channel"]["rateLimit"], json!({"maxPerMinute": 1, "action": "digest"}));
}

#[tokio::test]
async fn invalid_policies_return_422_with_pointers() {
    let service = Service::start().await;
    let id = channel(&service, "https://example.com/hook").await;
    let hours = |key: &str, value: Value| {
        let mut hours = night();
        hours[key] = value;
        hours
    };
    for (key, value, pointers) in [
        ("quietHours", json!("night"), vec!["/quietHours"]),
        ("quietHours", json!({}), vec!["/quietHours/start", "/quietHours/end", "/quietHours/timezone"]),
        ("quietHours", hours("start", json!("24:00")), vec!["/quietHours/start"]),
        ("quietHours", hours("start", json!("9:00")), vec!["/quietHours/start"]),
        ("quietHours", hours("start", json!(22)), vec!["/quietHours/start"]),
        ("quietHours", hours("end", json!("22:00")), vec!["/quietHours/end"]),
        ("quietHours", hours("timezone", json!("Europe/Zuerich")), vec!["/quietHours/timezone"]),
        ("quietHours", hours("days", json!(["mon", "funday"])), vec!["/quietHours/days/1"]),
        ("quietHours", hours("days", json!("mon")), vec!["/quietHours/days"]),
        ("quietHours", hours("action", json!("digest")), vec!["/quietHours/action"]),
        ("quietHours", hours("criticalPasses", json!("no")), vec!["/quietHours/criticalPasses"]),
        ("quietHours", hours("colour", json!("dark")), vec!["/quietHours/colour"]),
        ("quietHours", json!({"start": "00:00", "end": "24:00", "timezone": "UTC"}), vec!["/quietHours/days"]),
        ("rateLimit", json!(30), vec!["/rateLimit"]),
        ("rateLimit", json!({}), vec!["/rateLimit/maxPerMinute"]),
        ("rateLimit", json!({"maxPerMinute": 0}), vec!["/rateLimit/maxPerMinute"]),
        ("rateLimit", json!({"maxPerMinute": 1_001}), vec!["/rateLimit/maxPerMinute"]),
        ("rateLimit", json!({"maxPerMinute": 1.5}), vec!["/rateLimit/maxPerMinute"]),
        ("rateLimit", json!({"maxPerMinute": 1, "action": "hold"}), vec!["/rateLimit/action"]),
        ("rateLimit", json!({"maxPerMinute": 1, "perHour": 5}), vec!["/rateLimit/perHour"]),
    ] {
        let pointers_of_new = service.post("/channels", &with(key, value.clone())).await.problem(422, "invalid");
        assert_eq!(pointers_of_new, pointers, "{key} {value}");
        let edit = service.patch(&format!("/channels/{id}"), &json!({key: value})).await;
        assert_eq!(edit.problem(422, "invalid"), pointers, "{key} {value}");
    }
    let refused = service.patch(&format!("/channels/{id}"), &json!({"deliveryPriority": null})).await;
    assert_eq!(refused.problem(422, "invalid"), ["/deliveryPriority"]);
    assert_eq!(service.get(&format!("/channels/{id}")).await.expect(200)["revision"], 1, "nothing was changed");
}

#[tokio::test]
async fn policy_edit_merges_and_null_removes() {
    let service = Service::start().await;
    let id = channel(&service, "https://example.com/hook").await;
    let path = format!("/channels/{id}");
    let edit = async |edit: Value| service.patch(&path, &edit).await.expect(200)["channel"].clone();
    edit(json!({"eventFilters": {"sendOpen": false}, "quietHours": night()})).await;
    let edited = edit(json!({"eventFilters": {"sendResolved": false}, "quietHours": {"action": "drop"}})).await;
    assert_eq!(edited["eventFilters"], json!({"sendOpen": false, "sendResolved": false, "sendEscalated": true}));
    let mut dropped = night();
    dropped["action"] = "drop".into();
    assert_eq!(edited["quietHours"], dropped);
    let edited = edit(json!({"quietHours": {"days": null}, "rateLimit": {"maxPerMinute": 5, "action": "drop"}})).await;
    assert_eq!(edited["quietHours"]["days"], json!([]));
    let edited = edit(json!({"rateLimit": {"maxPerMinute": 6}})).await;
    assert_eq!(edited["rateLimit"], json!({"maxPerMinute": 6, "action": "drop"}));
    let edited = edit(json!({"quietHours": null, "rateLimit": null})).await;
    assert_eq!((&edited["quietHours"], &edited["rateLimit"]), (&Value::Null, &Value::Null));
    assert_eq!(edited["eventFilters"]["sendOpen"], false, "what is not named stays");
}

#[tokio::test]
async fn concurrent_policy_edits_are_all_applied() {
    let service = Service::start().await;
    for _ in 0..5 {
        let path = format!("/channels/{}", channel(&service, "https://example.com/hook").await);
        let off = async |key: &str| service.patch(&path, &json!({"eventFilters": {key: false}})).await.expect(200);
        tokio::join!(off("sendOpen"), off("sendResolved"), off("sendEscalated"));
        let filters = service.get(&path).await.expect(200)["eventFilters"].clone();
        assert_eq!(filters, json!({"sendOpen": false, "sendResolved": false, "sendEscalated": false}));
    }
}

#[tokio::test]
async fn channel_quota_is_enforced() {
    let service = Service::start_with_quota(2).await;
    let quota = async || service.get("/channels").await.expect(200)["quota"].clone();
    assert_eq!(quota().await, json!({"used": 0, "max": 2}));
    let first = channel(&service, "https://example.com/1").await;
    service.rule_to("https://example.com/own").await;
    channel(&service, "https://example.com/2").await;
    assert_eq!(quota().await, json!({"used": 2, "max": 2}), "a rule's own channel does not count");
    let refused = service.post("/channels", &with("enabled", json!(false))).await;
    assert!(refused.json()["detail"].as_str().unwrap().contains("has 2 shared channels"), "{}", refused.text);
    refused.problem(403, "PT403");
    service.rule_to("https://example.com/own").await;
    service.delete(&format!("/channels/{first}")).await.expect(204);
    channel(&service, "https://example.com/3").await;
}

#[tokio::test]
async fn channel_health_counts_live_sends_and_not_tests() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let id = channel(&service, &receiver.url).await;
    let path = format!("/channels/{id}");
    service.patch(&path, &json!({"retryOnFailure": false})).await.expect(200);
    let rule = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "channelId": id});
    service.post("/notification-rules", &rule).await.expect(201);
    receiver.answer(500);
    service.send("POST", &format!("{path}/test"), None).await.expect(200);
    receiver.next().await;
    let health = async || service.get(&path).await.expect(200)["health"].clone();
    let nothing = json!({"lastSentAt": null, "lastFailedAt": null, "failingSince": null, "successRate": null});
    assert_eq!(health().await, nothing, "a test does not count");
    let mut known = Vec::new();
    for (run, status, settled, rate) in
        [("run-1", 500, "failed", 0.0), ("run-2", 500, "failed", 0.0), ("run-3", 200, "sent", 1.0 / 3.0)]
    {
        receiver.answer(status);
        service.failed(run).await;
        receiver.next().await;
        service.settled(run, &[settled]).await;
        // Health is updated after the delivery is settled.
        let key = if status == 200 { "lastSentAt" } else { "lastFailedAt" };
        let now = loop {
            let now = health().await;
            if known.last().is_none_or(|before: &Value| before[key] != now[key]) && !now[key].is_null() {
                break now;
            }
            tokio::task::yield_now().await;
        };
        assert!((now["successRate"].as_f64().unwrap() - rate).abs() < 1e-9, "{now}");
        known.push(now);
    }
    assert_eq!(known[0]["failingSince"], known[0]["lastFailedAt"]);
    assert_eq!(known[1]["failingSince"], known[0]["failingSince"], "since the first failure");
    assert_ne!(known[1]["lastFailedAt"], known[0]["lastFailedAt"]);
    assert_eq!((&known[2]["failingSince"], &known[2]["lastFailedAt"]), (&Value::Null, &known[1]["lastFailedAt"]));
    assert_eq!(service.get("/channels").await.expect(200)["data"][0]["health"], known[2]);
}

#[tokio::test]
async fn channel_of_an_escalation_step_counts_as_in_use() {
    let service = Service::start().await;
    let (used, other) =
        (channel(&service, "https://example.com/1").await, channel(&service, "https://example.com/2").await);
    let escalation = json!([{"afterSeconds": 60, "channelId": used}, {"afterSeconds": 120, "channelId": other}]);
    let endpoint = made(&service, json!({"escalation": escalation})).await;
    let refused = service.delete(&format!("/channels/{used}")).await;
    assert_eq!((&refused.json()["endpoints"], refused.json().get("rules")), (&json!([endpoint["id"]]), None));
    assert!(refused.json()["detail"].as_str().unwrap().starts_with("the escalation of 1 endpoint uses it;"));
    refused.problem(409, "channel_in_use");
    service.delete(&format!("/channels/{used}?force=true")).await.expect(204);
    let left = service.get(&path(&endpoint)).await.expect(200);
    assert_eq!(left["escalation"], json!([{"afterSeconds": 120, "channelId": other}]));
    assert_eq!(left["revision"], 2);
}
