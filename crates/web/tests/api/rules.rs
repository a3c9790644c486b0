//! Rules: edits, shared channels, revisions.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_domain::audit::AuditTarget;
use tidings_domain::channel::DisabledReason;
use tidings_domain::id::RuleId;
use tidings_engine::Options;
use tidings_engine::clock::SystemClock;
use tidings_engine::settings::SettingsLimits;
use tidings_store::accounts::AuditFilter;
use tidings_store::settings::{ConfigChange, Precondition};

use crate::harness::{Service, unknown_id};
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

/// What the audit log holds about rules, oldest first.
async fn audited(service: &Service) -> Vec<(String, Value)> {
    let filter = AuditFilter { limit: 100, target: Some(AuditTarget::Rule), ..AuditFilter::default() };
    let entries = service.store.audit_log(Some(service.workspace_id), filter).await.unwrap();
    let changes = |changes| serde_json::to_value(changes).unwrap();
    entries.iter().rev().map(|entry| (entry.action.to_string(), changes(&entry.changes))).collect()
}

#[tokio::test]
async fn rule_changes_are_audited_with_secrets_masked() {
    let service = Service::start().await;
    let id = service.rule_to("https://example.com/a/very-secret-token-0123").await;
    let path = format!("/notification-rules/{id}");
    service
        .patch(&path, &json!({"paused": true, "url": "https://example.com/a/very-secret-token-4567"}))
        .await
        .expect(200);
    service.patch(&path, &json!({"rotateWebhookSecret": true})).await.expect(200);
    service.patch(&path, &json!({"triggers": []})).await.problem(422, "invalid");
    service.delete(&path).await.expect(204);
    let mut entries = audited(&service).await;
    entries.retain(|(action, _)| action.starts_with("rule."));
    let actions: Vec<_> = entries.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ["rule.created", "rule.updated", "rule.updated", "rule.deleted"]);
    assert_eq!(entries[0].1["url"], json!({"before": null, "after": "https://example.com/a/very…"}));
    let edited = entries[1].1.as_object().unwrap();
    assert_eq!(edited["paused"], json!({"before": false, "after": true}));
    assert_eq!(edited.keys().collect::<Vec<_>>(), ["paused", "secrets"], "what did not change is left out");
    assert_eq!(entries[2].1.as_object().unwrap().keys().collect::<Vec<_>>(), ["secrets"]);
    assert_eq!(entries[3].1["triggers"]["after"], Value::Null);
    let text = format!("{entries:?}");
    assert!(!text.contains("secret-token") && !text.contains("whsec_"), "{text}");
}

#[tokio::test]
async fn rules_that_go_or_come_with_something_else_are_audited() {
    let service = Service::start().await;
    let channel = shared_channel(&service, "https://example.com/shared").await;
    let endpoint = json!({"name": "API", "type": "http", "url": "https://example.com/",
                          "escalation": [{"afterSeconds": 60, "channelId": channel}]});
    let made = service.post("/endpoints", &endpoint).await.expect(201)["endpoint"]["id"].clone();
    let path = format!("/endpoints/{}", made.as_str().unwrap());
    let rule = json!({"resourceType": "endpoint", "resourceId": made, "triggers": ["opened"], "channelId": channel});
    service.post("/notification-rules", &rule).await.expect(201);
    let copy = service.send("POST", &format!("{path}/clone"), None).await.expect(201)["endpoint"]["id"].clone();
    service.delete(&path).await.expect(204);
    service.delete(&format!("/channels/{channel}?force=true")).await.expect(204);
    let actions: Vec<_> = audited(&service).await.into_iter().map(|(action, _)| action).collect();
    assert_eq!(actions, ["rule.created", "rule.created", "rule.deleted", "rule.deleted"]);
    let filter = AuditFilter { limit: 100, target_id: copy.as_str().map(Into::into), ..AuditFilter::default() };
    let entries = service.store.audit_log(Some(service.workspace_id), filter).await.unwrap();
    assert_eq!(entries[0].action.to_string(), "endpoint.updated");
    assert!(entries[0].changes.contains_key("escalation"), "{:?}", entries[0].changes);
}

async fn with_limits(limits: SettingsLimits) -> Service {
    let options = Options { settings: limits, ..Options::default() };
    Service::start_with(options, Arc::new(SystemClock::default())).await
}

/// A rule of the flow with a webhook of its own.
fn own(flow: &str) -> Value {
    json!({"resourceType": "flow", "resourceId": flow, "triggers": ["failure"], "channelType": "webhook",
           "url": "https://example.com/"})
}

#[tokio::test]
async fn rule_and_private_channel_quotas_return_403() {
    let limits = SettingsLimits { rules_max: 4, private_channels_max: 2, ..SettingsLimits::default() };
    let service = with_limits(limits).await;
    let quota = |refused: Value| (refused["used"].clone(), refused["max"].clone());
    for flow in ["f1", "f2"] {
        service.post("/notification-rules", &own(flow)).await.expect(201);
    }
    let refused = service.post("/notification-rules", &own("f3")).await;
    assert!(refused.text.contains("2 private channels"), "{}", refused.text);
    assert_eq!(quota(refused.json()), (json!(2), json!(2)));
    refused.problem(403, "PT403");
    let webhook = json!({"url": "https://example.com/", "events": ["workflow.failed"]});
    service.post("/use-cases/uc/webhooks", &webhook).await.problem(403, "PT403");

    let shared = rule_on(&shared_channel(&service, "https://example.com/shared").await);
    let id = service.post("/notification-rules", &shared).await.expect(201)["rule"]["id"].clone();
    let path = format!("/notification-rules/{}", id.as_str().unwrap());
    let to_own = json!({"channelType": "webhook", "url": "https://example.com/"});
    service.patch(&path, &to_own).await.problem(403, "PT403");
    let invalid =
        json!({"resourceType": "flow", "resourceId": "f3", "triggers": ["failure"], "channelType": "webhook"});
    assert_eq!(
        service.post("/notification-rules", &invalid).await.problem(422, "invalid"),
        ["/url"],
        "first what is wrong"
    );
    let mut fourth = shared.clone();
    fourth["resourceId"] = "f4".into();
    service.post("/notification-rules", &fourth).await.expect(201);
    fourth["resourceId"] = "f5".into();
    let refused = service.post("/notification-rules", &fourth).await;
    assert_eq!(quota(refused.json()), (json!(4), json!(4)));
    service.delete(&path).await.expect(204);
    service.post("/notification-rules", &fourth).await.expect(201);
}

#[tokio::test]
async fn rules_that_can_match_one_event_are_bounded() {
    let service = with_limits(SettingsLimits { matching_rules_max: 3, ..SettingsLimits::default() }).await;
    for flow in ["f1", "f1", "f2", "*"] {
        service.post("/notification-rules", &own(flow)).await.expect(201);
    }
    for flow in ["f1", "*"] {
        let refused = service.post("/notification-rules", &own(flow)).await;
        assert!(refused.text.contains("match one event"), "{}", refused.text);
        refused.problem(403, "PT403");
    }
    service.post("/notification-rules", &own("f2")).await.expect(201);
    let mut job = own("*");
    job["resourceType"] = "job".into();
    service.post("/notification-rules", &job).await.expect(201);
}

#[tokio::test]
async fn concurrent_edits_of_different_fields_are_all_applied() {
    let service = Service::start().await;
    for _ in 0..5 {
        let path = format!("/notification-rules/{}", service.rule_to("https://example.com/a").await);
        let edit = async |edit: Value| service.patch(&path, &edit).await.expect(200);
        tokio::join!(
            edit(json!({"paused": true})),
            edit(json!({"url": "https://example.com/b"})),
            edit(json!({"failureSeverity": "info"}))
        );
        let rule = service.get(&path).await.expect(200);
        let fields = (&rule["paused"], &rule["url"], &rule["failureSeverity"], &rule["revision"]);
        assert_eq!(fields, (&json!(true), &json!("https://example.com/b"), &json!("info"), &json!(4)));
    }
}

#[tokio::test]
async fn all_violations_of_a_rule_are_reported_at_once() {
    let service = Service::start().await;
    let wrong = json!({"resourceType": "endpoint", "resourceId": "Production", "triggers": ["failure"], "paused": "no",
        "triggerTypes": ["manual"], "channelType": "slack", "slackWebhookUrl": "nonsense", "rotateWebhookSecret": true,
        "colour": "red"});
    let mut pointers = service.post("/notification-rules", &wrong).await.problem(422, "invalid");
    pointers.sort_unstable();
    let expected = ["/colour", "/paused", "/resourceId", "/slackWebhookUrl", "/triggerTypes", "/triggers/0"];
    assert_eq!(pointers, expected, "whether it can rotate is not known yet");
    let mixed = json!({"ruleId": unknown_id::<RuleId>(), "channelType": "webhook", "url": "https://example.com/"});
    assert_eq!(service.post("/notification-rules/test", &mixed).await.problem(422, "invalid"), ["/ruleId"]);
}
