//! Held deliveries, and the digest in which they are sent.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_domain::id::DeliveryId;
use tidings_domain::time::Timestamp;
use tidings_engine::clock::ManualClock;

use crate::harness::{Service, unknown_id};
use crate::receiver::Receiver;

/// A service at night, with a channel in quiet hours and a rule of the flow `f1`.
async fn at_night(url: &str) -> (Service, String) {
    let clock = ManualClock::at(Timestamp::parse("2026-05-02T23:30:00Z").unwrap());
    let service = Service::start_at(Arc::new(clock)).await;
    let channel = json!({
        "name": "#night", "type": "discord", "config": {"webhookUrl": url},
        "quietHours": {"start": "22:00", "end": "07:00", "timezone": "UTC"},
    });
    let id = service.post("/channels", &channel).await.expect(201)["channel"]["id"].as_str().unwrap().to_owned();
    let rule = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "channelId": id});
    service.post("/notification-rules", &rule).await.expect(201);
    (service, id)
}

fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn held_delivery_has_reason_and_release_time() {
    let (service, channel) = at_night("https://discord.com/api/webhooks/1/0123456789abcdef").await;
    let accepted = service.failed("run-1").await;
    assert_eq!(accepted["deliveries"], json!({"pending": 0, "held": 1, "suppressed": 0}));
    let held = service.settled("run-1", &["held"]).await[0].clone();
    assert_eq!((&held["heldReason"], &held["suppressedReason"]), (&json!("quiet_hours"), &Value::Null));
    assert_eq!((&held["heldUntil"], &held["digestId"]), (&json!("2026-05-03T07:00:00.000Z"), &Value::Null));
    let expected = json!({
        "gate": "quiet_hours", "verdict": "hold", "evaluatedAt": "2026-05-02T23:30:00.000Z",
        "until": "2026-05-03T07:00:00.000Z", "detail": "Held until 2026-05-03 07:00 UTC: quiet hours of #night",
    });
    assert_eq!(held["verdicts"].as_array().unwrap().last().unwrap(), &expected);
    for (query, is_found) in [
        ("status=held&reason=quiet_hours".to_owned(), true),
        (format!("channel={channel}&kind=flow.run.terminal"), true),
        ("reason=rate_limit".to_owned(), false),
        (format!("digest={}", held["id"].as_str().unwrap()), false),
    ] {
        let found = service.get(&format!("/deliveries?{query}")).await.expect(200);
        assert_eq!(!ids(&found).is_empty(), is_found, "{query}");
    }
    let why = service.get(&format!("/events/{}/why", accepted["eventId"].as_str().unwrap())).await.expect(200);
    assert_eq!(why["answer"], expected["detail"]);
}

#[tokio::test]
async fn released_deliveries_share_the_outcome_of_their_digest() {
    let mut receiver = Receiver::start().await;
    let (service, channel) = at_night(&receiver.url).await;
    let first = service.failed("run-1").await["eventId"].clone();
    service.failed("run-2").await;
    service.settled("run-", &["held"]).await;
    service.patch(&format!("/channels/{channel}"), &json!({"quietHours": null})).await.expect(200);
    receiver.next().await;
    let members = service.settled("run-", &["sent"]).await;
    assert!(receiver.is_quiet(), "both are sent in one digest");

    let digest = members[0]["digestId"].as_str().unwrap();
    let shown = service.get(&format!("/deliveries/{digest}")).await.expect(200);
    assert_eq!((&shown["kind"], &shown["status"], &shown["ruleId"]), (&json!("digest"), &json!("sent"), &Value::Null));
    assert_eq!((&shown["trigger"], &shown["severity"]), (&Value::Null, &json!("warning")));
    assert_eq!((&shown["resourceType"], &shown["resourceId"]), (&json!("channel"), &json!(channel)));
    for one in &members {
        assert_eq!((&one["digestId"], &one["attemptCount"]), (&json!(digest), &json!(0)));
        assert_eq!((&one["heldReason"], &one["suppressedReason"]), (&Value::Null, &Value::Null));
        assert!(one["sentAt"].is_string() && one["heldUntil"].is_null(), "{one}");
    }
    let found = service.get(&format!("/deliveries?digest={digest}")).await.expect(200);
    assert_eq!(ids(&found), members.iter().map(|one| one["id"].as_str().unwrap()).collect::<Vec<_>>());
    let unknown_id = service.get(&format!("/deliveries?digest={}", unknown_id::<DeliveryId>())).await.expect(200);
    assert_eq!(ids(&unknown_id), [""; 0]);
    assert_eq!(ids(&service.get("/deliveries?kind=digest").await.expect(200)), [digest]);

    let event = service.get(&format!("/events/{}", shown["eventId"].as_str().unwrap())).await.expect(200);
    assert_eq!((&event["reason"], &event["entriesTotal"]), (&json!("quiet hours"), &json!(2)));
    assert_eq!((&event["entries"][0]["state"], event.get("incident")), (&json!("one_off"), None));
    assert_eq!(service.get("/runs").await.expect(200)["data"].as_array().unwrap().len(), 2, "a digest is no run");
    let why = service.get(&format!("/events/{}/why?channel={channel}", first.as_str().unwrap())).await.expect(200);
    assert_eq!(why["answer"], format!("Sent at 23:30 UTC in the digest {digest}"));
}
