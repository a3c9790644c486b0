//! Resends of many deliveries, by ids and by filter.

use serde_json::{Value, json};
use tidings_domain::id::DeliveryId;

use crate::harness::{Service, unknown_id};
use crate::receiver::Receiver;

const PATH: &str = "/deliveries/resend";

/// A service with deliveries that failed, oldest first, and the channel that they failed through.
async fn with_failed(runs: &[&str]) -> (Service, Receiver, String, Vec<String>) {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let channel = json!({"name": "once", "type": "webhook", "config": {"url": receiver.url}, "retryOnFailure": false});
    let channel = service.post("/channels", &channel).await.expect(201)["channel"]["id"].as_str().unwrap().to_owned();
    let rule = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "channelId": channel});
    service.post("/notification-rules", &rule).await.expect(201);
    receiver.answer(500);
    let mut ids = Vec::new();
    for run in runs {
        service.failed(run).await;
        ids.push(receiver.next().await.header("webhook-id").to_owned());
        service.settled(run, &["failed"]).await;
    }
    receiver.answer(200);
    (service, receiver, channel, ids)
}

fn ok(id: &str) -> Value {
    json!({"id": id, "ok": true, "code": null, "detail": null})
}

#[tokio::test]
async fn resend_by_ids_answers_for_each() {
    let (service, mut receiver, channel, ids) = with_failed(&["run-1", "run-2"]).await;
    service.post(&format!("/channels/{channel}/test"), &json!({})).await.expect(200);
    let test = receiver.next().await.header("webhook-id").to_owned();
    let absent = unknown_id::<DeliveryId>();
    let request = |dry_run: bool| json!({"ids": [ids[1], ids[0], test, absent, ids[0]], "dryRun": dry_run});
    let dry = service.post(PATH, &request(true)).await.expect(200);
    assert_eq!((&dry["dryRun"], &dry["matched"], &dry["resent"]), (&json!(true), &json!(4), &json!(2)));
    assert!(receiver.is_quiet(), "a dry run sends nothing");
    let mut wet = service.post(PATH, &request(false)).await.expect(200);
    let results = wet.as_object_mut().unwrap().remove("results").unwrap();
    assert_eq!(results, dry["results"]);
    let expected = json!({"dryRun": false, "matched": 4, "resent": 2, "refused": {"not_found": 1, "not_resendable": 1},
                          "nextCursor": null});
    assert_eq!(wet, expected);
    for id in &ids {
        assert!(results.as_array().unwrap().contains(&ok(id)));
    }
    let of = |id: &str| results.as_array().unwrap().iter().find(|result| result["id"] == id).unwrap().clone();
    assert_eq!((&of(&absent)["code"], &of(&test)["code"]), (&json!("not_found"), &json!("not_resendable")));
    let sent = [receiver.next().await, receiver.next().await].map(|request| request.header("webhook-id").to_owned());
    assert!(ids.iter().all(|id| sent.contains(id)));
    service.settled("run-", &["sent"]).await;
}

#[tokio::test]
async fn resend_by_filter_goes_on_with_its_cursor() {
    let (service, mut receiver, channel, ids) = with_failed(&["run-1", "run-2", "run-3"]).await;
    let filter = json!({"status": "failed", "channel": channel, "resourceType": "flow", "q": "run-"});
    let dry = service.post(PATH, &json!({"filter": filter, "dryRun": true})).await.expect(200);
    let counted = json!({"dryRun": true, "matched": 3, "resent": 3, "refused": {}, "results": [], "nextCursor": null});
    assert_eq!(dry, counted);
    // The newest first, and of one call the oldest first.
    let first = service.post(PATH, &json!({"filter": filter, "limit": 2})).await.expect(200);
    assert_eq!((&first["results"], &first["nextCursor"]), (&json!([ok(&ids[1]), ok(&ids[2])]), &json!(ids[1])));
    let more = json!({"filter": filter, "limit": 2, "cursor": first["nextCursor"]});
    let last = service.post(PATH, &more).await.expect(200);
    assert_eq!((&last["results"], &last["nextCursor"]), (&json!([ok(&ids[0])]), &Value::Null));
    for _ in 0..3 {
        receiver.next().await;
    }
    service.settled("run-", &["sent"]).await;
    assert_eq!(service.post(PATH, &json!({"filter": filter})).await.expect(200)["matched"], 0);
}

#[tokio::test]
async fn resend_refuses_what_gates_or_rules_stop() {
    let (service, mut receiver, channel, ids) = with_failed(&["run-1"]).await;
    service.post("/mutes", &json!({"scope": "channel", "targetId": channel})).await.expect(201);
    let answer = service.post(PATH, &json!({"ids": ids})).await.expect(200);
    assert_eq!((&answer["resent"], &answer["refused"]), (&json!(0), &json!({"not_resendable": 1})));
    assert!(answer["results"][0]["detail"].as_str().unwrap().contains("muted"), "{answer}");
    let rules = service.get("/notification-rules?resourceType=flow&resourceId=f1").await.expect(200);
    let rule = rules["data"][0]["id"].as_str().unwrap().to_owned();
    service.patch(&format!("/notification-rules/{rule}"), &json!({"enabled": false})).await.expect(200);
    let answer = service.post(PATH, &json!({"ids": ids})).await.expect(200);
    assert_eq!(answer["refused"], json!({"rule_inactive": 1}));
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn invalid_resend_returns_422_with_pointers() {
    let (service, _receiver, _, ids) = with_failed(&[]).await;
    assert!(ids.is_empty());
    let id = unknown_id::<DeliveryId>();
    for (body, pointers) in [
        (json!({}), vec!["/ids"]),
        (json!({"ids": [id], "filter": {}}), vec!["/filter"]),
        (json!({"ids": [id], "cursor": id}), vec!["/cursor"]),
        (json!({"ids": ["x", 5]}), vec!["/ids/0", "/ids/1"]),
        (json!({"ids": vec![id.clone(); 1_001]}), vec!["/ids"]),
        (json!({"filter": {"status": "sent", "kind": "digest"}, "limit": 0}), vec!["/limit"]),
        (json!({"filter": {"status": "gone", "all": true}}), vec!["/filter/status", "/filter/all"]),
        (json!({"filter": "failed", "dryRun": "yes"}), vec!["/filter", "/dryRun"]),
    ] {
        let mut found = service.post(PATH, &body).await.problem(422, "invalid");
        found.sort_by_key(|pointer| pointers.iter().position(|expected| expected == pointer));
        assert_eq!(found, pointers, "{body}");
    }
    assert_eq!(service.post(PATH, &json!({"ids": []})).await.expect(200)["matched"], 0);
}
