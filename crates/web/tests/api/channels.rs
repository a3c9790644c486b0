//! Shared channels: creation, edits, tests, secret rotation, deletion.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_domain::secret::Secret;
use tidings_domain::signature::Signer;
use tidings_domain::time::Timestamp;
use tidings_engine::clock::ManualClock;

use crate::harness::Service;
use crate::receiver::{Received, Receiver};

async fn make(service: &Service, url: &str) -> (String, String) {
    let channel = json!({"name": "#ops", "type": "webhook", "config": {"url": url}});
    let made = service.post("/channels", &channel).await.expect(201);
    let secret = made["signingSecretOnce"].as_str().unwrap().to_owned();
    (made["channel"]["id"].as_str().unwrap().to_owned(), secret)
}

/// Whether one of the Standard Webhooks signatures is made with this secret.
fn signed_by(received: &Received, secret: &str) -> bool {
    let seconds: i64 = received.header("webhook-timestamp").parse().unwrap();
    let at = Timestamp::from_unix_ms(seconds * 1_000);
    let expected = Signer::new(&Secret::new(secret), None).standard(received.header("webhook-id"), at, &received.body);
    received.header("webhook-signature").split(' ').any(|signature| signature == expected)
}

#[tokio::test]
async fn channel_response_has_no_secrets() {
    let service = Service::start().await;
    let channel = json!({
        "name": "Ops", "type": "webhook", "enabled": true, "severityFilter": "warning+", "retryOnFailure": true,
        "retryDelaysSeconds": [1, 60], "timeoutMs": 5000,
        "config": {"url": "https://example.com/hook/0123456789abcdef", "headers": {"Authorization": "Bearer hunter2-hunter2"}},
    });
    let answered = service.post("/channels", &channel).await;
    assert!(!answered.text.contains("hunter2") && !answered.text.contains("0123456789abcdef"), "{}", answered.text);
    let made = answered.expect(201);
    assert!(made["signingSecretOnce"].as_str().unwrap().starts_with("whsec_"));
    let mut shown = made["channel"].clone();
    let id = shown["id"].as_str().unwrap().to_owned();
    let path = format!("/channels/{id}");
    assert_eq!(service.get(&path).await.expect(200), shown);
    let list = json!({"data": [shown], "nextCursor": null, "quota": {"used": 1, "max": 100}});
    assert_eq!(service.get("/channels").await.expect(200), list);
    for key in ["createdAt", "updatedAt", "config"] {
        shown.as_object_mut().unwrap().remove(key);
    }
    let expected = json!({
        "id": id, "name": "Ops", "type": "webhook", "enabled": true, "disabledReason": null,
        "severityFilter": "warning+", "deliveryPriority": "standard", "quietHours": null, "rateLimit": null,
        "eventFilters": {"sendOpen": true, "sendResolved": true, "sendEscalated": true}, "retryOnFailure": true, "retryDelaysSeconds": [1, 60], "timeoutMs": 5000,
        "isConnected": null, "lastTestedAt": null, "lastSuccessAt": null, "lastFailureAt": null, "pausedUntil": null, "revision": 1,
        "health": {"lastSentAt": null, "lastFailedAt": null, "failingSince": null, "successRate": null},
        "uses": {"rules": 0, "escalationSteps": 0},
    });
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn channel_edit_changes_named_fields_and_null_is_a_violation() {
    let service = Service::start().await;
    let (id, _) = make(&service, "https://example.com/hook").await;
    let path = format!("/channels/{id}");
    let edit = json!({"name": "Night", "retryDelaysSeconds": [5], "severityFilter": "critical", "enabled": false});
    let edited = service.patch(&path, &edit).await.expect(200)["channel"].clone();
    assert_eq!((&edited["name"], &edited["enabled"], &edited["revision"]), (&json!("Night"), &json!(false), &json!(2)));
    assert_eq!((&edited["retryDelaysSeconds"], &edited["severityFilter"]), (&json!([5]), &json!("critical")));
    assert_eq!(edited["config"]["url"], "https://example.com/hook", "what is not named stays");
    let absent = service.patch(&path, &json!({"timeoutMs": 2000})).await.expect(200);
    assert_eq!(absent["channel"]["retryDelaysSeconds"], json!([5]));
    let null = service.patch(&path, &json!({"retryDelaysSeconds": null})).await.expect(200);
    assert_eq!(null["channel"]["retryDelaysSeconds"], Value::Null);
    for (edit, pointer) in [
        (json!({"name": null}), "/name"),
        (json!({"type": "slack"}), "/type"),
        (json!({"config": {"url": null}}), "/config/url"),
        (json!({"revision": 7}), "/revision"),
    ] {
        assert_eq!(service.patch(&path, &edit).await.problem(422, "invalid"), [pointer], "{edit}");
    }
    service.patch(&path, &json!({"type": "webhook", "config": {"url": ""}})).await.expect(200);
    let stale = service.request("PATCH", &path).header("if-match", "\"1\"").body("{}".into()).unwrap();
    service.execute(stale).await.problem(412, "revision_mismatch");
}

#[tokio::test]
async fn channel_test_is_logged_and_updates_connectivity() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let (id, secret) = make(&service, &receiver.url).await;
    let path = format!("/channels/{id}");
    service.patch(&path, &json!({"enabled": false})).await.expect(200);
    let tested = service.send("POST", &format!("{path}/test"), None).await.expect(200);
    assert_eq!((&tested["ok"], tested.get("signingSecretOnce")), (&json!(true), None), "works on disabled channels");
    assert!(signed_by(&receiver.next().await, &secret));
    let shown = service.get(&path).await.expect(200);
    assert_eq!((&shown["isConnected"], &shown["lastFailureAt"]), (&json!(true), &Value::Null));
    assert_eq!(shown["lastTestedAt"], shown["lastSuccessAt"]);

    receiver.answer(404);
    let tested = service.send("POST", &format!("{path}/test"), None).await.expect(200);
    assert_eq!((&tested["ok"], &tested["httpStatus"]), (&json!(false), &json!(404)));
    let shown = service.get(&path).await.expect(200);
    assert_eq!((&shown["isConnected"], shown["lastFailureAt"].is_string()), (&json!(false), true));
    assert_eq!(shown["revision"], 2, "a test is no edit");

    let log = service.get(&format!("/deliveries?channel={id}&kind=channel_test")).await.expect(200);
    let statuses: Vec<_> = log["data"].as_array().unwrap().iter().map(|row| (&row["status"], &row["test"])).collect();
    assert_eq!(statuses, [(&json!("failed"), &json!(true)), (&json!("sent"), &json!(true))]);
    assert_eq!(log["data"][0]["trigger"], Value::Null, "it reports no success");
    let events = service.get("/events?kind=channel_test").await.expect(200);
    assert_eq!((&events["data"][0]["trigger"], events["data"].as_array().unwrap().len()), (&Value::Null, 2));
    assert_eq!(service.get("/events?trigger=success").await.expect(200)["data"], json!([]));
    assert_eq!(service.get("/runs").await.expect(200)["data"], json!([]), "a test is no run");
    let failed = log["data"][0]["id"].as_str().unwrap();
    service.send("POST", &format!("/deliveries/{failed}/resend"), None).await.problem(409, "not_resendable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_channel_tests_of_a_workspace_are_limited() {
    let service = Arc::new(Service::start().await);
    let mut receiver = Receiver::start_waiting().await;
    let (id, _) = make(&service, &receiver.url).await;
    let path = format!("/channels/{id}/test");
    let under_way: Vec<_> = (0..8)
        .map(|_| {
            let (service, path) = (Arc::clone(&service), path.clone());
            tokio::spawn(async move { service.post(&path, &json!({})).await.expect(200)["ok"].clone() })
        })
        .collect();
    for _ in 0..8 {
        receiver.next().await;
    }
    service.post(&path, &json!({})).await.problem(503, "unavailable");
    let config = json!({"channelType": "webhook", "url": receiver.url});
    service.post("/notification-rules/test", &config).await.problem(503, "unavailable");
    receiver.may_answer.add_permits(9);
    for one in futures_util::future::join_all(under_way).await {
        assert_eq!(one.unwrap(), true);
    }
    assert_eq!(service.post(&path, &json!({})).await.expect(200)["ok"], true, "a slot is free again");
}

#[tokio::test]
async fn signing_secret_rotation_signs_with_both_during_overlap() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let (id, first) = make(&service, &receiver.url).await;
    let path = format!("/channels/{id}/rotate-secret");
    let rotated = service.send("POST", &path, None).await.expect(200);
    let second = rotated["signingSecretOnce"].as_str().unwrap().to_owned();
    assert_eq!(rotated["channel"]["id"], json!(id));
    service.send("POST", &format!("/channels/{id}/test"), None).await.expect(200);
    let received = receiver.next().await;
    assert!(signed_by(&received, &first) && signed_by(&received, &second), "both sign during the overlap");

    let at_once = service.post(&path, &json!({"overlapSeconds": 0})).await.expect(200);
    let third = at_once["signingSecretOnce"].as_str().unwrap();
    service.send("POST", &format!("/channels/{id}/test"), None).await.expect(200);
    let received = receiver.next().await;
    assert!(signed_by(&received, third) && !signed_by(&received, &second));

    for wrong in [json!({"overlapSeconds": 2_592_001}), json!({"overlapSeconds": -1}), json!({"overlapSeconds": "1"})] {
        assert_eq!(service.post(&path, &wrong).await.problem(422, "invalid"), ["/overlapSeconds"], "{wrong}");
    }
    let slack =
        json!({"name": "s", "type": "slack", "config": {"webhookUrl": "https://hooks.slack.com/services/a/b/c"}});
    let slack = service.post("/channels", &slack).await.expect(201);
    assert_eq!(slack.get("signingSecretOnce"), None);
    let path = format!("/channels/{}/rotate-secret", slack["channel"]["id"].as_str().unwrap());
    service.send("POST", &path, None).await.problem(422, "invalid");
}

#[tokio::test]
async fn channel_in_use_is_deleted_with_force_only() {
    let service = Service::start().await;
    let (id, _) = make(&service, "https://example.com/hook").await;
    let rule = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "channelId": id});
    let rule = service.post("/notification-rules", &rule).await.expect(201)["rule"]["id"].clone();
    let path = format!("/channels/{id}");
    let refused = service.delete(&path).await;
    assert_eq!(refused.json()["rules"], json!([rule]));
    assert!(refused.json()["detail"].as_str().unwrap().starts_with("1 rule uses it;"), "{}", refused.text);
    refused.problem(409, "channel_in_use");
    service.delete(&format!("{path}?force=perhaps")).await.problem(422, "invalid");
    service.delete(&format!("{path}?force=true")).await.expect(204);
    service.get(&path).await.problem(404, "not_found");
    service.get(&format!("/notification-rules/{}", rule.as_str().unwrap())).await.problem(404, "not_found");
}

fn manual_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::parse("2026-05-02T12:00:00Z").unwrap()))
}

/// Reports a failed run whose three attempts, over more than ten minutes, are all answered 410.
async fn fail_with_410(service: &Service, clock: &ManualClock, receiver: &mut Receiver, run_id: &str) {
    service.failed(run_id).await;
    for attempt in 1..=3 {
        receiver.next().await;
        if attempt < 3 {
            while service.settled(run_id, &["pending", "sending"]).await[0]["attemptCount"] != attempt {}
            clock.advance_ms(450_000);
        }
    }
    service.settled(run_id, &["failed"]).await;
}

#[tokio::test]
async fn receiver_gone_410_disables_channel_until_enabled() {
    let clock = manual_clock();
    let service = Service::start_at(Arc::clone(&clock)).await;
    let mut receiver = Receiver::start().await;
    receiver.answer(410);
    let channel =
        json!({"name": "gone", "type": "webhook", "config": {"url": receiver.url}, "retryDelaysSeconds": [400, 400]});
    let id = service.post("/channels", &channel).await.expect(201)["channel"]["id"].clone();
    let rule = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "channelId": id});
    let rule = service.post("/notification-rules", &rule).await.expect(201)["rule"]["id"].clone();
    let (path, rule) =
        (format!("/channels/{}", id.as_str().unwrap()), format!("/notification-rules/{}", rule.as_str().unwrap()));
    fail_with_410(&service, &clock, &mut receiver, "run-1").await;
    while service.get(&path).await.expect(200)["enabled"] == true {
        tokio::task::yield_now().await;
    }
    assert_eq!(service.get(&path).await.expect(200)["disabledReason"], "gone");
    assert_eq!(service.get(&rule).await.expect(200)["channelDisabledReason"], "gone");
    service.failed("run-2").await;
    let stopped = service.settled("run-2", &["suppressed"]).await;
    assert_eq!(stopped[0]["suppressedReason"], "channel_disabled");
    let enabled = service.patch(&path, &json!({"enabled": true})).await.expect(200);
    assert_eq!((&enabled["channel"]["enabled"], &enabled["channel"]["disabledReason"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn new_destination_enables_channel_disabled_by_410() {
    let clock = manual_clock();
    let service = Service::start_at(Arc::clone(&clock)).await;
    let mut receiver = Receiver::start().await;
    receiver.answer(410);
    let channel =
        json!({"name": "gone", "type": "webhook", "config": {"url": receiver.url}, "retryDelaysSeconds": [400, 400]});
    let channel = service.post("/channels", &channel).await.expect(201)["channel"]["id"].clone();
    let rule = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "channelId": channel});
    service.post("/notification-rules", &rule).await.expect(201);
    let path = format!("/channels/{}", channel.as_str().unwrap());
    fail_with_410(&service, &clock, &mut receiver, "run-1").await;
    while service.get(&path).await.expect(200)["enabled"] == true {
        tokio::task::yield_now().await;
    }
    let shown = |edited: Value| (edited["channel"]["enabled"].clone(), edited["channel"]["disabledReason"].clone());
    let gone = (json!(false), json!("gone"));
    let elsewhere = json!({"url": format!("{}/other", receiver.url)});
    for same in
        [json!({"name": "twice"}), json!({"config": {"url": receiver.url}}), json!({"config": {"method": "PUT"}})]
    {
        assert_eq!(shown(service.patch(&path, &same).await.expect(200)), gone, "{same}");
    }
    let edited = service.patch(&path, &json!({"config": elsewhere})).await.expect(200);
    assert_eq!(shown(edited), (json!(true), Value::Null));

    service.patch(&path, &json!({"enabled": false})).await.expect(200);
    let edited = service.patch(&path, &json!({"config": {"url": receiver.url}})).await.expect(200);
    assert_eq!(shown(edited), (json!(false), Value::Null), "a channel that a user disabled stays disabled");
}

#[tokio::test]
async fn stale_410_after_destination_change_does_not_disable() {
    let clock = manual_clock();
    let service = Service::start_at(Arc::clone(&clock)).await;
    let mut receiver = Receiver::start_waiting().await;
    receiver.answer(410);
    let channel =
        json!({"name": "gone", "type": "webhook", "config": {"url": receiver.url}, "retryDelaysSeconds": [400, 400]});
    let channel = service.post("/channels", &channel).await.expect(201)["channel"]["id"].clone();
    let rule = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "channelId": channel});
    service.post("/notification-rules", &rule).await.expect(201);
    let path = format!("/channels/{}", channel.as_str().unwrap());
    service.failed("run-1").await;
    for attempt in 1..=2 {
        receiver.next().await;
        receiver.may_answer.add_permits(1);
        while service.settled("run-1", &["pending", "sending"]).await[0]["attemptCount"] != attempt {}
        clock.advance_ms(450_000);
    }
    receiver.next().await;
    let elsewhere = json!({"config": {"url": format!("{}/other", receiver.url)}});
    service.patch(&path, &elsewhere).await.expect(200);
    receiver.may_answer.add_permits(1);
    service.settled("run-1", &["failed"]).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let shown = service.get(&path).await.expect(200);
    assert_eq!((&shown["enabled"], &shown["disabledReason"]), (&json!(true), &Value::Null));
}
