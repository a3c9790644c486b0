//! The compatibility contract of `/notification-rules`: literal requests and responses of the API that its clients know.

use http_body_util::Full;
use serde_json::{Value, json};
use tidings_domain::secret::Secret;
use tidings_domain::signature::Signer;

use crate::harness::{ApiResponse, Service};
use crate::receiver::{Received, Receiver};

/// The contract's request to create a rule.
async fn create_as_documented(service: &Service, url: &str) -> ApiResponse {
    let body = format!(
        r#"{{
"resourceType": "scheduled_query",
"resourceId": "65f...",
"enabled": true,
"triggers": ["failure"],
"channelType": "webhook",
"url": "{url}"
}}"#
    );
    let path = format!("/api/workspaces/{}/notification-rules", service.workspace_id);
    let request = service
        .bare("POST", &path)
        .header("Authorization", format!("Bearer {}", service.key))
        .header("Content-Type", "application/json");
    service.execute(request.body(Full::from(body)).unwrap()).await
}

#[track_caller]
fn is_signing_secret(secret: &Value) -> String {
    let text = secret.as_str().unwrap().to_owned();
    let digits = text.strip_prefix("whsec_").unwrap();
    assert!(digits.len() == 64 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{text}");
    text
}

/// The contract's `verifyMakoSignature`.
fn verifies(received: &Received, secret: &str) -> bool {
    let expected = Signer::new(&Secret::new(secret), None).body_hex(&received.body);
    received.header("X-Mako-Signature") == expected
}

fn report(run_id: &str) -> Value {
    json!({
        "resourceType": "scheduled_query", "resourceId": "65f...", "resourceName": "Daily revenue rollup",
        "runId": run_id, "status": "failure", "completedAt": "2026-05-02T04:00:12.345Z", "durationMs": 1842,
        "rowCount": 124, "triggerType": "scheduled", "deepLink": "https://app.mako.ai/workspace/65a.../console/65f...",
    })
}

#[tokio::test]
async fn webhook_rule_create_read_and_delivery_match_the_contract() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let answered = create_as_documented(&service, &receiver.url).await;
    assert_eq!(answered.header("cache-control"), Some("no-store"));
    let made = answered.expect(201);
    let secret = is_signing_secret(&made["signingSecretOnce"]);
    let rule = made["rule"].clone();
    let object = rule.as_object().unwrap();
    let mut keys: Vec<_> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected = [
        "channelDisabledReason",
        "channelId",
        "channelType",
        "createdAt",
        "enabled",
        "failureSeverity",
        "id",
        "paused",
        "resourceId",
        "resourceType",
        "revision",
        "triggerTypes",
        "triggers",
        "updatedAt",
        "url",
    ];
    assert_eq!(keys, expected);
    assert_eq!(rule["triggers"], json!(["failure"]));
    assert_eq!((&rule["resourceId"], &rule["url"]), (&json!("65f..."), &json!(receiver.url)));

    let base = format!("/api/workspaces/{}/notification-rules", service.workspace_id);
    let ask = async |path: &str| {
        let request =
            service.bare("GET", &format!("{base}{path}")).header("Authorization", format!("Bearer {}", service.key));
        service.execute(request.body(Full::default()).unwrap()).await.expect(200)
    };
    for path in ["?resourceType=scheduled_query&resourceId=65f...", "/?resourceType=scheduled_query&resourceId=65f..."]
    {
        assert_eq!(ask(path).await, json!({"data": [rule], "nextCursor": null}));
    }

    service.post("/runs", &report("01HX...")).await.expect(202);
    let received = receiver.next().await;
    assert_eq!(received.header("content-type"), "application/json");
    assert!(verifies(&received, &secret));
    assert_eq!(
        received.json(),
        json!({
            "version": 1, "event": "flow.run.terminal", "trigger": "failure", "resourceType": "scheduled_query",
            "resourceId": "65f...", "resourceName": "Daily revenue rollup", "runId": "01HX...",
            "completedAt": "2026-05-02T04:00:12.345Z", "durationMs": 1842, "rowCount": 124, "errorMessage": null,
            "triggerType": "scheduled", "workspaceId": service.workspace_id.to_string(),
            "deepLink": "https://app.mako.ai/workspace/65a.../console/65f...",
        })
    );

    service.settled("01HX", &["sent"]).await;
    let log = ask("/deliveries?resourceType=scheduled_query&resourceId=65f...&limit=50").await;
    let mut row = log["data"][0].clone();
    let row = row.as_object_mut().unwrap();
    assert_eq!(row.remove("id").unwrap(), received.header("webhook-id"));
    assert!(row.remove("sentAt").unwrap().is_string() && row.remove("completedAt").unwrap().is_string());
    let expected = json!({
        "ruleId": rule["id"], "runId": "01HX...", "trigger": "failure", "channelType": "webhook", "status": "sent",
        "attempts": 1, "httpStatus": 200, "lastError": null,
    });
    assert_eq!(Value::from(row.clone()), expected);
}

#[tokio::test]
async fn rotated_secret_is_returned_once() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let made = create_as_documented(&service, &receiver.url).await.expect(201);
    let path = format!("/notification-rules/{}", made["rule"]["id"].as_str().unwrap());
    let same = json!({"channelType": "webhook", "url": receiver.url, "rotateWebhookSecret": false});
    assert_eq!(service.patch(&path, &same).await.expect(200).get("signingSecretOnce"), None);
    let rotate = json!({"channelType": "webhook", "url": receiver.url, "rotateWebhookSecret": true});
    let rotated = service.patch(&path, &rotate).await.expect(200);
    let fresh = is_signing_secret(&rotated["signingSecretOnce"]);
    assert_ne!(rotated["signingSecretOnce"], made["signingSecretOnce"]);
    service.post("/runs", &report("run-2")).await.expect(202);
    assert!(verifies(&receiver.next().await, &fresh), "the newest secret signs");
    for path in [path.as_str(), "/notification-rules?resourceType=scheduled_query&resourceId=65f..."] {
        assert!(!service.get(path).await.text.contains("whsec_"));
    }
}

#[tokio::test]
async fn rule_can_be_disabled_and_deleted() {
    let service = Service::start().await;
    let made = create_as_documented(&service, "https://example.com/hooks/mako").await.expect(201);
    let path = format!("/notification-rules/{}", made["rule"]["id"].as_str().unwrap());
    let edited = service.patch(&path, &json!({"enabled": false})).await.expect(200);
    assert_eq!(edited["rule"]["enabled"], false);
    let accepted = service.post("/runs", &report("run-1")).await.expect(202);
    assert_eq!(accepted["deliveries"], json!({"pending": 0, "held": 0, "suppressed": 0}));
    let gone = service.delete(&path).await;
    assert_eq!((gone.status.as_u16(), gone.text.as_str()), (204, ""));
    service.delete(&path).await.problem(404, "not_found");
}

#[tokio::test]
async fn rules_with_other_channel_types_match_the_contract() {
    let service = Service::start().await;
    let base = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["success", "failure"]});
    let slack = json!({
        "channelType": "slack", "slackWebhookUrl": "https://hooks.slack.com/services/T.../B.../...", "displayLabel": "#data-alerts",
    });
    let mut body = base.clone();
    body.as_object_mut().unwrap().extend(slack.as_object().unwrap().clone());
    let rule = service.post("/notification-rules", &body).await.expect(201);
    assert_eq!(rule.get("signingSecretOnce"), None);
    assert_eq!(rule["rule"]["displayLabel"], "#data-alerts");
    assert_eq!(rule["rule"]["slackWebhookUrl"], "https://hooks.slack.com/services/•••/•••/•••");

    let email = json!({"channelType": "email", "recipients": ["alerts@example.com", "ops@example.com"]});
    let mut body = base;
    body.as_object_mut().unwrap().extend(email.as_object().unwrap().clone());
    let refused = service.post("/notification-rules", &body).await;
    assert!(
        refused.text.contains("TIDINGS_SMTP_URL"),
        "without a mail server the error names the setting: {}",
        refused.text
    );
    refused.problem(422, "invalid");
}

#[tokio::test]
async fn rule_test_is_sent_and_not_in_rule_log() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let adhoc = json!({"channelType": "webhook", "url": receiver.url});
    let tested = service.post("/notification-rules/test", &adhoc).await.expect(200);
    assert_eq!((&tested["ok"], &tested["httpStatus"], &tested["error"]), (&json!(true), &json!(200), &Value::Null));
    assert!(tested["durationMs"].is_u64());
    let secret = is_signing_secret(&tested["signingSecretOnce"]);
    let received = receiver.next().await;
    assert!(verifies(&received, &secret), "signed with the throwaway secret");
    assert_eq!(received.json()["event"], "channel_test");

    let made = create_as_documented(&service, &receiver.url).await.expect(201);
    receiver.answer(503);
    let tested = service.post("/notification-rules/test", &json!({"ruleId": made["rule"]["id"]})).await.expect(200);
    assert_eq!((&tested["ok"], &tested["httpStatus"]), (&json!(false), &json!(503)));
    assert!(tested["error"].as_str().unwrap().contains("503"));
    assert_eq!(tested.get("signingSecretOnce"), None);
    assert!(verifies(&receiver.next().await, made["signingSecretOnce"].as_str().unwrap()));

    let refused = json!({"channelType": "webhook", "url": "https://192.168.0.1/"});
    assert_eq!(service.post("/notification-rules/test", &refused).await.problem(422, "invalid"), ["/url"]);
    let unsaved = json!({
        "resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "enabled": true,
        "channelType": "webhook", "url": receiver.url, "rotateWebhookSecret": false,
    });
    service.post("/notification-rules/test", &unsaved).await.expect(200);
    for path in ["/deliveries", "/events", "/runs"] {
        assert_eq!(service.get(path).await.expect(200)["data"], json!([]), "{path}");
    }
}
