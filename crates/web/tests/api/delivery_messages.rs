//! A delivery's message as its channel sends it, and what an attempt keeps of the response.

use serde_json::{Value, json};
use tidings_domain::id::DeliveryId;

use crate::harness::{Service, unknown_id};
use crate::receiver::Receiver;

#[tokio::test]
async fn message_is_the_request_without_secrets() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let url = format!("{}?token=sk_live_abcdefgh", receiver.url);
    let config = json!({"url": url, "headers": {"X-Team": "secret-team-token"}});
    let channel = json!({"name": "hook", "type": "webhook", "config": config});
    let channel = service.post("/channels", &channel).await.expect(201)["channel"].clone();
    let path = format!("/channels/{}", channel["id"].as_str().unwrap());
    let rule = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "channelId": channel["id"]});
    service.post("/notification-rules", &rule).await.expect(201);
    service.failed("run-1").await;
    let received = receiver.next().await;
    let id = received.header("webhook-id").to_owned();
    service.settled("run-1", &["sent"]).await;

    let answered = service.get(&format!("/deliveries/{id}/message")).await;
    for secret in ["sk_live_abcdefgh", "secret-team-token", received.header("webhook-signature")] {
        assert!(!answered.text.contains(secret), "{secret}: {}", answered.text);
    }
    let mut message = answered.expect(200);
    let request = message.as_object_mut().unwrap().remove("request").unwrap();
    let expected = json!({
        "deliveryId": id, "channelId": channel["id"], "channelType": "webhook", "renderedWith": 1, "attemptedWith": 1,
        "channelChanged": false, "unavailable": null, "mail": null,
    });
    assert_eq!(message, expected);
    assert_eq!(request["body"].as_str().unwrap().as_bytes(), received.body);
    assert_eq!((&request["method"], &request["note"]), (&json!("POST"), &Value::Null));
    let headers = request["headers"].as_array().unwrap();
    for (name, value) in [("webhook-id", &*id), ("webhook-signature", "•••"), ("x-team", "•••")] {
        assert!(headers.contains(&json!({"name": name, "value": value})), "{name}: {headers:?}");
    }

    service.patch(&path, &json!({"name": "renamed"})).await.expect(200);
    let message = service.get(&format!("/deliveries/{id}/message")).await.expect(200);
    assert_eq!((&message["renderedWith"], &message["channelChanged"]), (&json!(2), &json!(true)));
    service.delete(&format!("{path}?force=true")).await.expect(204);
    let message = service.get(&format!("/deliveries/{id}/message")).await.expect(200);
    assert_eq!(message["unavailable"], "the channel was deleted");
    assert_eq!((&message["request"], &message["channelChanged"]), (&Value::Null, &Value::Null));
    let absent = format!("/deliveries/{}/message", unknown_id::<DeliveryId>());
    service.get(&absent).await.problem(404, "not_found");
}

#[tokio::test]
async fn message_of_waiting_mail_has_subject_text_and_html() {
    let service = Service::start().await;
    let smtp = json!({"host": "127.0.0.1", "port": 1, "from": "alerts@example.com", "tls": "none"});
    let config = json!({"recipients": ["ana@example.com"], "smtp": smtp});
    let channel = json!({"name": "mail", "type": "email", "config": config});
    let channel = service.post("/channels", &channel).await.expect(201)["channel"]["id"].clone();
    let rule = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "channelId": channel});
    service.post("/notification-rules", &rule).await.expect(201);
    service.failed("run-1").await;
    let id = service.settled("run-1", &["pending", "sending", "failed"]).await[0]["id"].as_str().unwrap().to_owned();
    let message = service.get(&format!("/deliveries/{id}/message")).await.expect(200);
    let mail = &message["mail"];
    assert_eq!((&mail["from"], &mail["recipients"]), (&json!("alerts@example.com"), &json!(["ana@example.com"])));
    assert!(mail["subject"].as_str().unwrap().contains("f1 failed"), "{mail}");
    assert!(mail["text"].as_str().unwrap().contains("f1") && mail["html"].as_str().unwrap().contains("<html"));
    assert_eq!(message["request"], Value::Null);
}

#[tokio::test]
async fn attempt_keeps_headers_of_the_response() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    receiver.header("x-request-id", "r-1");
    receiver.header("set-cookie", "sid=abc");
    service.rule_to(&receiver.url).await;
    service.failed("run-1").await;
    let id = receiver.next().await.header("webhook-id").to_owned();
    service.settled("run-1", &["sent"]).await;
    let delivery = service.get(&format!("/deliveries/{id}")).await.expect(200);
    let attempt = &delivery["attempts"][0];
    let headers = json!([{"name": "x-request-id", "value": "r-1"}, {"name": "set-cookie", "value": "•••"}]);
    assert_eq!((&attempt["responseHeaders"], &attempt["channelRevision"]), (&headers, &json!(1)));
}
