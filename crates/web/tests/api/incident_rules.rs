//! Rules of endpoints and alerts.

use http_body_util::Full;
use serde_json::{Value, json};
use tidings_domain::id::EndpointId;

use crate::endpoints::{channel, made};
use crate::harness::{Service, unknown_id};
use crate::receiver::Receiver;

fn rule(resource_type: &str, resource_id: &Value, channel: &str) -> Value {
    json!({"resourceType": resource_type, "resourceId": resource_id, "channelId": channel})
}

#[tokio::test]
async fn endpoint_rule_has_all_incident_triggers_by_default() {
    let service = Service::start().await;
    let (id, endpoint) = (channel(&service, "https://example.com/1").await, made(&service, json!({})).await);
    let of_one = service.post("/notification-rules", &rule("endpoint", &endpoint["id"], &id)).await.expect(201);
    assert_eq!(of_one["rule"]["triggers"], json!(["opened", "resolved", "escalated"]));
    let mut of_all = rule("endpoint", &json!("*"), &id);
    of_all["triggers"] = json!(["opened"]);
    let of_all = service.post("/notification-rules", &of_all).await.expect(201)["rule"].clone();
    assert_eq!(of_all["triggers"], json!(["opened"]));
    let alert = service.post("/notification-rules", &rule("alert", &json!("disk:/var"), &id)).await.expect(201);
    assert_eq!(alert["rule"]["triggers"], json!(["opened", "resolved", "escalated"]));
    let path = format!("/notification-rules?resourceType=endpoint&resourceId={}", endpoint["id"].as_str().unwrap());
    let listed = service.get(&path).await.expect(200);
    assert_eq!(listed["data"], json!([of_one["rule"], of_all]));

    let path = format!("/notification-rules/{}", of_all["id"].as_str().unwrap());
    let edited = service.patch(&path, &json!({"triggers": ["resolved", "escalated"]})).await.expect(200);
    assert_eq!(edited["rule"]["triggers"], json!(["resolved", "escalated"]));
    for (edit, pointer) in [
        (json!({"triggers": ["failure"]}), "/triggers/0"),
        (json!({"triggers": []}), "/triggers"),
        (json!({"triggers": null}), "/triggers"),
        (json!({"triggerTypes": ["manual"]}), "/triggerTypes"),
    ] {
        assert_eq!(service.patch(&path, &edit).await.problem(422, "invalid"), [pointer], "{edit}");
    }
    service.delete(&format!("/endpoints/{}", endpoint["id"].as_str().unwrap())).await.expect(204);
    let of_one = format!("/notification-rules/{}", of_one["rule"]["id"].as_str().unwrap());
    service.get(&of_one).await.problem(404, "not_found");
}

#[tokio::test]
async fn invalid_incident_rule_returns_422_with_pointers() {
    let service = Service::start().await;
    let (id, endpoint) = (channel(&service, "https://example.com/1").await, made(&service, json!({})).await);
    for (key, value, pointer) in [
        ("triggers", json!(["opened", "failure"]), "/triggers/1"),
        ("triggers", json!([]), "/triggers"),
        ("triggerTypes", json!(["scheduled"]), "/triggerTypes"),
        ("resourceId", json!(unknown_id::<EndpointId>()), "/resourceId"),
        ("resourceId", json!("Production API"), "/resourceId"),
        ("resourceType", json!("flow"), "/triggers"),
        ("channelId", json!("#ops"), "/channelId"),
    ] {
        let mut body = rule("endpoint", &endpoint["id"], &id);
        body[key] = value;
        assert_eq!(service.post("/notification-rules", &body).await.problem(422, "invalid"), [pointer], "{body}");
    }
    let theirs = service.bare("POST", "/api/workspaces/other/notification-rules");
    let theirs = theirs.header("authorization", format!("Bearer {}", service.other_key));
    let body = json!({
        "resourceType": "endpoint", "resourceId": endpoint["id"], "channelType": "webhook", "url": "https://example.com/",
    });
    let answered = service.execute(theirs.body(Full::from(body.to_string())).unwrap()).await;
    assert_eq!(answered.problem(422, "invalid"), ["/resourceId"], "another workspace's endpoint is not there");
}

#[tokio::test]
async fn endpoint_rule_can_be_tested() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let (id, endpoint) = (channel(&service, &receiver.url).await, made(&service, json!({})).await);
    let made = service.post("/notification-rules", &rule("endpoint", &endpoint["id"], &id)).await.expect(201);
    let unsaved = json!({
        "resourceType": "endpoint", "resourceId": endpoint["id"], "channelType": "webhook", "url": receiver.url,
    });
    for body in [json!({"ruleId": made["rule"]["id"]}), unsaved] {
        let tested = service.post("/notification-rules/test", &body).await.expect(200);
        assert_eq!(tested["ok"], true, "{tested}");
        assert_eq!(receiver.next().await.json()["event"], "channel_test");
    }
}
