//! Rules: edits, shared channels, revisions.

use serde_json::{Value, json};
use tidings_domain::channel::DisabledReason;
use tidings_store::settings::{ConfigChange, Precondition};

use crate::harness::Service;
use crate::receiver::Receiver;

async fn shared_channel(service: &Service, url: &str) -> String {
    let channel = json!({"name": "shared", "type": "webhook", "config": {"url": url}});
    service.post("/channels", &channel).await.expect(201)["channel"]["id"].as_str().unwrap().to_owned()
}

fn rule_on(channel_id: &str) -> Value {
    json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "channelId": channel_id})
}

#[tokio::test]
async fn rule_sends_through_shared_channel() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let channel = shared_channel(&service, &receiver.url).await;
    let made = service.post("/notification-rules", &rule_on(&channel)).await.expect(201);
    assert_eq!(made.get("signingSecretOnce"), None, "the channel's secret was shown when it was made");
    assert_eq!((&made["rule"]["channelId"], &made["rule"]["channelType"]), (&json!(channel), &json!("webhook")));
    assert_eq!(made["rule"].get("url"), None, "the destination is the channel's");
    service.failed("run-1").await;
    receiver.next().await;

    let mut wrong = rule_on(&channel);
    wrong["channelType"] = "slack".into();
    assert_eq!(service.post("/notification-rules", &wrong).await.problem(422, "invalid"), ["/channelType"]);
    wrong["channelType"] = "webhook".into();
    wrong["triggers"] = json!(["success"]);
    service.post("/notification-rules", &wrong).await.expect(201);

    let path = format!("/notification-rules/{}", made["rule"]["id"].as_str().unwrap());
    let rotate = json!({"rotateWebhookSecret": true});
    assert_eq!(service.patch(&path, &rotate).await.problem(422, "invalid"), ["/rotateWebhookSecret"]);
}

#[tokio::test]
async fn rule_edit_changes_named_fields_only() {
    let service = Service::start().await;
    let id = service.rule_to("https://example.com/a/very-secret-token-0123").await;
    let path = format!("/notification-rules/{id}");
    let before = service.get(&path).await.expect(200);
    let edit = json!({"triggers": ["failure"], "triggerTypes": ["in_app", "api"], "paused": true, "failureSeverity": "critical"});
    let after = service.patch(&path, &edit).await.expect(200)["rule"].clone();
    assert_eq!(after["triggerTypes"], json!(["manual", "api"]));
    assert_eq!((&after["paused"], &after["failureSeverity"]), (&json!(true), &json!("critical")));
    assert_eq!((&after["revision"], &after["url"]), (&json!(2), &before["url"]));
    assert_eq!(before["url"], "https://example.com/a/very…");

    let masked = service.patch(&path, &json!({"url": before["url"]})).await.expect(200);
    assert_eq!(masked["rule"]["url"], before["url"], "a masked preview keeps the value");
    assert_eq!(masked.get("signingSecretOnce"), None);
    let moved = service.patch(&path, &json!({"url": "https://example.com/b"})).await.expect(200);
    assert_eq!(
        (&moved["rule"]["url"], &moved["rule"]["channelId"]),
        (&json!("https://example.com/b"), &before["channelId"])
    );

    let slack = json!({"channelType": "slack", "slackWebhookUrl": "https://hooks.slack.com/services/T0/B0/XXXXXXXXXXXXXXXXXXXXXXXX", "displayLabel": "#a"});
    let slack = service.patch(&path, &slack).await.expect(200)["rule"].clone();
    assert_eq!((&slack["channelType"], &slack["displayLabel"]), (&json!("slack"), &json!("#a")));
    assert_eq!(slack["slackWebhookUrl"], "https://hooks.slack.com/services/•••/•••/XXXX…");
    assert_ne!(slack["channelId"], before["channelId"]);
    let label = service.patch(&path, &json!({"displayLabel": null})).await.expect(200);
    assert_eq!(label["rule"]["displayLabel"], Value::Null);
    let rotate = json!({"rotateWebhookSecret": true});
    assert_eq!(service.patch(&path, &rotate).await.problem(422, "invalid"), ["/rotateWebhookSecret"]);

    let channel = shared_channel(&service, "https://example.com/shared").await;
    let shared = service.patch(&path, &json!({"channelId": channel})).await.expect(200);
    assert_eq!(shared["rule"]["channelId"], json!(channel));
    for (edit, pointer) in [
        (json!({"resourceId": "f2"}), "/resourceId"),
        (json!({"resourceType": "job"}), "/resourceType"),
        (json!({"triggers": []}), "/triggers"),
        (json!({"enabled": null}), "/enabled"),
        (json!({"id": id}), "/id"),
        (json!({"channelId": channel, "url": "https://example.com"}), "/url"),
        (json!({"recipients": ["a@example.com"]}), "/recipients"),
    ] {
        assert_eq!(service.patch(&path, &edit).await.problem(422, "invalid"), [pointer], "{edit}");
    }
    let same = json!({"resourceType": "flow", "resourceId": "f1", "enabled": false});
    assert_eq!(service.patch(&path, &same).await.expect(200)["rule"]["enabled"], false);
}

#[tokio::test]
async fn stale_rule_edit_returns_412() {
    let service = Service::start().await;
    let id = service.rule_to("https://example.com/a").await;
    let path = format!("/notification-rules/{id}");
    let shown = service.get(&path).await;
    assert_eq!(shown.header("etag"), Some("\"1\""));
    let conditional = async |method: &str, tag: &str| {
        let request = service.request(method, &path).header("if-match", tag).header("content-type", "application/json");
        let body = if method == "DELETE" { "" } else { "{\"paused\":true}" };
        service.execute(request.body(body.into()).unwrap()).await
    };
    let edited = conditional("PATCH", "\"1\"").await;
    assert_eq!(edited.header("etag"), Some("\"2\""));
    edited.expect(200);
    conditional("PATCH", "\"1\"").await.problem(412, "revision_mismatch");
    conditional("DELETE", "\"1\"").await.problem(412, "revision_mismatch");
    conditional("PATCH", "nonsense").await.problem(412, "invalid_if_match");
    conditional("PATCH", "*").await.expect(200);
    conditional("DELETE", "W/\"3\"").await.expect(204);
    service.get(&path).await.problem(404, "not_found");
}

#[tokio::test]
async fn wildcard_rules_are_listed_for_each_resource() {
    let service = Service::start().await;
    let own = service.rule_to("https://example.com/a").await;
    let mut all = rule_on(&shared_channel(&service, "https://example.com/b").await);
    all["resourceId"] = "*".into();
    let all = service.post("/notification-rules", &all).await.expect(201)["rule"]["id"].clone();
    let ids = async |query: &str| {
        let list = service.get(&format!("/notification-rules?{query}")).await.expect(200);
        assert_eq!(list["nextCursor"], Value::Null);
        list["data"].as_array().unwrap().iter().map(|rule| rule["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids("resourceType=flow&resourceId=f1").await, [json!(own), all.clone()]);
    for query in ["resourceType=flow&resourceId=f2", "resourceType=flow&resourceId=*"] {
        assert_eq!(ids(query).await, std::slice::from_ref(&all), "{query}");
    }
    assert_eq!(ids("resourceType=job&resourceId=f1").await, [json!(null); 0]);
}

#[tokio::test]
async fn channel_owned_by_a_rule_is_visible_through_the_rule_only() {
    let service = Service::start().await;
    let id = service.rule_to("https://example.com/a").await;
    let channel = service.get(&format!("/notification-rules/{id}")).await.expect(200)["channelId"].clone();
    assert_eq!(service.get("/channels").await.expect(200)["data"], json!([]));
    let path = format!("/channels/{}", channel.as_str().unwrap());
    service.get(&path).await.problem(404, "not_found");
    service.patch(&path, &json!({"enabled": false})).await.problem(404, "not_found");
    service.delete(&path).await.problem(404, "not_found");
    service.send("POST", &format!("{path}/test"), None).await.problem(404, "not_found");
    service.send("POST", &format!("{path}/rotate-secret"), None).await.problem(404, "not_found");
    let rule = json!({"resourceType": "flow", "resourceId": "f2", "triggers": ["failure"], "channelId": channel});
    assert_eq!(service.post("/notification-rules", &rule).await.problem(422, "invalid"), ["/channelId"]);
}

/// Disables the only channel as a final 410 does.
async fn mark_gone(service: &Service) {
    let mut kept = service.store.configuration(service.workspace_id, 0).await.unwrap();
    let mut record = kept.channels.pop().unwrap();
    let seen = record.channel.revision;
    (record.channel.enabled, record.channel.disabled_reason) = (false, Some(DisabledReason::ReceiverGone));
    record.channel.revision += 1;
    let put = ConfigChange::PutChannel(record, Precondition::Revision(seen));
    service.store.apply_changes(service.workspace_id, vec![put]).await.unwrap();
}

#[tokio::test]
async fn new_inline_destination_enables_owned_channel() {
    let service = Service::start().await;
    let path = format!("/notification-rules/{}", service.rule_to("https://example.com/hook").await);
    for (edit, reason) in [
        (json!({"rotateWebhookSecret": true}), json!("gone")),
        (json!({"channelType": "webhook", "url": "https://example.com/hook"}), json!("gone")),
        (json!({"channelType": "webhook", "url": "https://example.com/1", "enabled": false}), json!("gone")),
        (json!({"enabled": true}), Value::Null),
        (json!({"channelType": "webhook", "url": "https://example.com/2"}), Value::Null),
    ] {
        mark_gone(&service).await;
        let edited = service.patch(&path, &edit).await.expect(200)["rule"].clone();
        assert_eq!(edited["channelDisabledReason"], reason, "{edit}");
        let kept = service.store.configuration(service.workspace_id, 0).await.unwrap();
        assert_eq!(kept.channels[0].channel.enabled, reason.is_null(), "{edit}");
    }
}
