//! Mutes: creation, list until they end, deletion, and their verdicts.

use std::sync::Arc;

use http_body_util::Full;
use serde_json::{Value, json};
use tidings_domain::id::{ChannelId, EndpointId, MuteId};
use tidings_domain::time::Timestamp;
use tidings_engine::clock::ManualClock;

use crate::endpoints::{channel, made};
use crate::harness::{Service, unknown_id};

#[tokio::test]
async fn mute_is_created_listed_and_deleted() {
    let service = Service::start().await;
    let endpoint = made(&service, json!({})).await;
    let body = json!({
        "scope": "endpoint", "targetId": endpoint["id"], "expiresAt": "2099-01-01T00:00:00Z", "reason": "deploy",
        "endsOnRecovery": true,
    });
    let mut mute = service.post("/mutes", &body).await.expect(201)["mute"].clone();
    let list = service.get("/mutes").await.expect(200);
    assert_eq!(list, json!({"data": [mute], "nextCursor": null}));
    let object = mute.as_object_mut().unwrap();
    let id = object.remove("id").unwrap().as_str().unwrap().to_owned();
    assert!(id.starts_with("mute_") && object.remove("createdAt").unwrap().is_string());
    let expected = json!({
        "scope": "endpoint", "targetId": endpoint["id"], "expiresAt": "2099-01-01T00:00:00.000Z", "reason": "deploy",
        "endsOnRecovery": true, "createdBy": "first key", "endedAt": null, "stoppedDeliveries": 0,
    });
    assert_eq!(mute, expected);
    service.delete(&format!("/mutes/{id}")).await.expect(204);
    service.delete(&format!("/mutes/{id}")).await.problem(404, "not_found");
    service.delete("/mutes/all").await.problem(404, "not_found");
    assert_eq!(service.get("/mutes").await.expect(200)["data"], json!([]));
    let bare = service.post("/mutes", &json!({"scope": "global", "targetId": null})).await.expect(201)["mute"].clone();
    assert_eq!((&bare["targetId"], &bare["expiresAt"], &bare["reason"]), (&Value::Null, &Value::Null, &json!("")));
}

#[tokio::test]
async fn ended_mutes_are_listed_with_what_they_stopped() {
    let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-05-02T12:00:00Z").unwrap()));
    let service = Service::start_at(Arc::clone(&clock)).await;
    service.rule_to("https://example.com/hook").await;
    let begin = async |expires_at: Value| {
        let body = json!({"scope": "global", "expiresAt": expires_at});
        service.post("/mutes", &body).await.expect(201)["mute"]["id"].clone()
    };
    let list = async |query: &str| {
        let page = service.get(&format!("/mutes{query}")).await.expect(200);
        assert_eq!(page["nextCursor"], Value::Null);
        let row = |mute: &Value| (mute["id"].clone(), mute["stoppedDeliveries"].clone(), mute["endedAt"].clone());
        page["data"].as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    let by_hand = begin(Value::Null).await;
    for run in ["run-1", "run-2"] {
        service.failed(run).await;
    }
    assert_eq!(list("").await, [(by_hand.clone(), json!(2), Value::Null)]);
    assert_eq!(list("?ended=true").await, []);
    service.delete(&format!("/mutes/{}", by_hand.as_str().unwrap())).await.expect(204);
    let expiring = begin(json!("2026-05-02T12:01:00Z")).await;
    service.failed("run-3").await;
    clock.advance_ms(120_000);
    assert_eq!(list("?ended=false").await, []);
    let ended = [
        (expiring, json!(1), json!("2026-05-02T12:01:00.000Z")),
        (by_hand, json!(2), json!("2026-05-02T12:00:00.000Z")),
    ];
    assert_eq!(list("?ended=true").await, ended);
    clock.advance_ms(7 * 86_400_000 - 100_000);
    assert_eq!(list("?ended=true").await, ended[..1], "for seven days");
    assert_eq!(service.get("/mutes?ended=soon&all=1").await.problem(422, "invalid").len(), 2);
}

#[tokio::test]
async fn invalid_mute_returns_422_with_pointers() {
    let service = Service::start().await;
    let id = channel(&service, "https://example.com/hook").await;
    let endpoint = unknown_id::<EndpointId>();
    for (body, pointers) in [
        (json!({}), vec!["/scope"]),
        (json!({"scope": "team"}), vec!["/scope"]),
        (json!({"scope": "channel"}), vec!["/targetId"]),
        (json!({"scope": "channel", "targetId": 5}), vec!["/targetId"]),
        (json!({"scope": "channel", "targetId": endpoint}), vec!["/targetId"]),
        (json!({"scope": "channel", "targetId": unknown_id::<ChannelId>()}), vec!["/targetId"]),
        (json!({"scope": "endpoint", "targetId": endpoint}), vec!["/targetId"]),
        (json!({"scope": "global", "targetId": id}), vec!["/targetId"]),
        (json!({"scope": "channel", "targetId": id, "expiresAt": "2020-01-01T00:00:00Z"}), vec!["/expiresAt"]),
        (json!({"scope": "channel", "targetId": id, "expiresAt": "soon"}), vec!["/expiresAt"]),
        (json!({"scope": "channel", "targetId": id, "reason": "x".repeat(501)}), vec!["/reason"]),
        (json!({"scope": "channel", "targetId": id, "reason": "two\nlines"}), vec!["/reason"]),
        (json!({"scope": "channel", "targetId": id, "endsOnRecovery": true}), vec!["/endsOnRecovery"]),
        (json!({"scope": "global", "createdBy": "me", "reason": 1}), vec!["/reason", "/createdBy"]),
    ] {
        assert_eq!(service.post("/mutes", &body).await.problem(422, "invalid"), pointers, "{body}");
    }
    assert_eq!(service.get("/mutes").await.expect(200)["data"], json!([]), "nothing was made");

    let theirs = service.bare("POST", "/api/workspaces/other/mutes").header("content-type", "application/json");
    let theirs = theirs.header("authorization", format!("Bearer {}", service.other_key));
    let body = json!({"scope": "channel", "targetId": id}).to_string();
    let answered = service.execute(theirs.body(Full::from(body)).unwrap()).await;
    assert_eq!(answered.problem(422, "invalid"), ["/targetId"], "another workspace's channel is not there");
}

#[tokio::test]
async fn expired_mute_has_no_effect() {
    let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-05-02T12:00:00Z").unwrap()));
    let service = Service::start_at(Arc::clone(&clock)).await;
    let id = channel(&service, "https://example.com/hook").await;
    let rule = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "channelId": id});
    service.post("/notification-rules", &rule).await.expect(201);
    let body = json!({"scope": "channel", "targetId": id, "expiresAt": "2026-05-02T14:00:00Z", "reason": "deploy"});
    let mute = service.post("/mutes", &body).await.expect(201)["mute"]["id"].clone();
    service.failed("run-1").await;
    let delivery = service.settled("run-1", &["suppressed"]).await[0].clone();
    let last = delivery["verdicts"].as_array().unwrap().last().unwrap();
    let expected = json!({
        "gate": "scoped_mute", "verdict": "suppress", "evaluatedAt": "2026-05-02T12:00:00.000Z",
        "until": "2026-05-02T14:00:00.000Z", "muteId": mute,
        "detail": "This channel is muted until 14:00 UTC by first key: deploy",
    });
    assert_eq!(*last, expected);
    assert_eq!((&delivery["suppressedReason"], &delivery["heldReason"]), (&json!("muted"), &Value::Null));
    clock.advance_ms(7_200_000);
    assert_eq!(service.get("/mutes").await.expect(200)["data"], json!([]), "what is over is not shown");
    let accepted = service.failed("run-2").await;
    assert_eq!(accepted["deliveries"], json!({"pending": 1, "held": 0, "suppressed": 0}));
    service.delete(&format!("/mutes/{}", unknown_id::<MuteId>())).await.problem(404, "not_found");
}
