//! The delivery log: filters, full responses, resends.

use serde_json::{Value, json};
use tidings_domain::id::DeliveryId;

use crate::endpoints::made;
use crate::harness::{Service, unknown_id};
use crate::receiver::Receiver;

/// A channel without retries, and a rule of the flow `f1` for it.
async fn channel_that_tries_once(service: &Service, url: &str) -> (String, String) {
    let channel = json!({"name": "once", "type": "webhook", "config": {"url": url}, "retryOnFailure": false});
    let channel = service.post("/channels", &channel).await.expect(201)["channel"]["id"].as_str().unwrap().to_owned();
    let rule = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "channelId": channel});
    let rule = service.post("/notification-rules", &rule).await.expect(201)["rule"]["id"].as_str().unwrap().to_owned();
    (channel, rule)
}

#[tokio::test]
async fn delivery_response_has_all_fields() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let (channel, rule) = channel_that_tries_once(&service, &receiver.url).await;
    receiver.answer(502);
    let event = service.failed("run/1").await["eventId"].clone();
    let webhook_id = receiver.next().await.header("webhook-id").to_owned();
    service.settled("run/1", &["failed"]).await;
    let mut shown = service.get(&format!("/deliveries/{webhook_id}")).await.expect(200);
    let object = shown.as_object_mut().unwrap();
    for key in ["createdAt", "completedAt"] {
        assert!(object.remove(key).unwrap().is_string(), "{key}");
    }
    let attempts = object.remove("attempts").unwrap();
    let verdicts = object.remove("verdicts").unwrap();
    assert!(object.remove("lastError").unwrap().as_str().unwrap().contains("502"));
    assert_eq!(
        shown,
        json!({
            "id": webhook_id, "kind": "flow.run.terminal", "test": false, "eventId": event, "ruleId": rule,
            "channelId": channel, "channelType": "webhook", "resourceType": "flow", "resourceId": "f1",
            "resourceName": null, "runId": "run/1", "trigger": "failure", "severity": "warning",
            "idempotencyKey": format!("flow:f1:run%2F1:failure:webhook:{rule}"), "status": "failed",
            "suppressedReason": null, "heldReason": null, "heldUntil": null, "sequence": 1, "replacesDeliveryId": null, "digestId": null,
            "blockedByDeliveryId": null, "attemptCount": 1, "httpStatus": 502, "nextAttemptAt": null, "sentAt": null,
        })
    );
    let verdicts = verdicts.as_array().unwrap();
    assert!(verdicts.len() == 13 && verdicts.iter().all(|verdict| verdict["verdict"] == "pass"), "{verdicts:?}");
    let [attempt] = attempts.as_array().unwrap().as_slice() else { panic!("{attempts}") };
    assert_eq!((&attempt["trigger"], &attempt["errorClass"]), (&json!("scheduled"), &json!("status")));
}

#[tokio::test]
async fn delivery_log_supports_each_filter() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let (channel, rule) = channel_that_tries_once(&service, &receiver.url).await;
    service.failed("good-run").await;
    receiver.next().await;
    service.settled("good-run", &["sent"]).await;
    receiver.answer(500);
    service.failed("bad-run").await;
    receiver.next().await;
    service.settled("bad-run", &["failed"]).await;
    service.patch(&format!("/channels/{channel}"), &json!({"enabled": false})).await.expect(200);
    service.failed("quiet-run").await;

    let found = async |query: &str| {
        let page = service.get(&format!("/deliveries?{query}")).await.expect(200);
        page["data"].as_array().unwrap().iter().map(|row| row["runId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = ["quiet-run", "bad-run", "good-run"];
    assert_eq!(found("").await, all);
    for query in [
        format!("channel={channel}"),
        format!("channelId={channel}&rule={rule}"),
        "resourceType=flow&resourceId=f1".to_owned(),
        "resource=f1&kind=flow.run.terminal".to_owned(),
        "since=2026-01-01T00:00:00%2B02:00".to_owned(),
        "since=2020-01-01T00:00:00+02:00&until=2099-01-01T00:00:00Z&q=RUN".to_owned(),
    ] {
        assert_eq!(found(&query).await, all, "{query}");
    }
    assert_eq!(found("status=failed").await, ["bad-run"]);
    assert_eq!(found("status=suppressed&reason=channel_disabled").await, ["quiet-run"]);
    assert_eq!(found("q=500").await, ["bad-run"], "by the error");
    for nothing in ["resourceId=f2", "resourceType=job", "until=2020-01-01T00:00:00Z", "kind=workflow.failed", "q=%25"]
    {
        assert_eq!(found(nothing).await, Vec::<String>::new(), "{nothing}");
    }
    let first = service.get("/deliveries?limit=2").await.expect(200);
    let cursor = first["nextCursor"].as_str().unwrap();
    assert_eq!(found(&format!("limit=2&cursor={cursor}")).await, ["good-run"]);
}

#[tokio::test]
async fn resend_of_failed_delivery_keeps_its_id() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    channel_that_tries_once(&service, &receiver.url).await;
    receiver.answer(500);
    service.failed("run-1").await;
    let id = receiver.next().await.header("webhook-id").to_owned();
    service.settled("run-1", &["failed"]).await;
    receiver.answer(200);
    let resent = service.send("POST", &format!("/deliveries/{id}/resend"), None).await.expect(202);
    assert_eq!(resent["id"], json!(id));
    assert_eq!(receiver.next().await.header("webhook-id"), id);
    service.settled("run-1", &["sent"]).await;
    let shown = service.get(&format!("/deliveries/{id}")).await.expect(200);
    let triggers: Vec<_> = shown["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["trigger"]).collect();
    assert_eq!(triggers, [&json!("scheduled"), &json!("resend")]);
    let absent = format!("/deliveries/{}/resend", unknown_id::<DeliveryId>());
    service.send("POST", &absent, None).await.problem(404, "not_found");
}

#[tokio::test]
async fn resend_with_disabled_rule_returns_409() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let (_, rule) = channel_that_tries_once(&service, &receiver.url).await;
    service.failed("run-1").await;
    let id = receiver.next().await.header("webhook-id").to_owned();
    service.settled("run-1", &["sent"]).await;
    service.patch(&format!("/notification-rules/{rule}"), &json!({"enabled": false})).await.expect(200);
    service.send("POST", &format!("/deliveries/{id}/resend"), None).await.problem(409, "rule_inactive");
}

#[tokio::test]
async fn recover_resends_all_failed_deliveries() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let (channel, _) = channel_that_tries_once(&service, &receiver.url).await;
    receiver.answer(500);
    for n in 0..3 {
        service.failed(&format!("lost-{n}")).await;
        receiver.next().await;
        service.settled(&format!("lost-{n}"), &["failed"]).await;
    }
    receiver.answer(200);
    let since = "2020-01-01T00:00:00Z";
    let dry = json!({"channelId": channel, "since": since, "dryRun": true});
    assert_eq!(service.post("/deliveries/recover", &dry).await.expect(200), json!({"matched": 3}));
    assert!(receiver.is_quiet(), "a dry run only counts");
    let later = json!({"channelId": channel, "since": "2099-01-01T00:00:00Z"});
    assert_eq!(service.post("/deliveries/recover", &later).await.expect(200), json!({"recovered": 0}));
    let wet = json!({"channelId": channel, "since": since});
    assert_eq!(service.post("/deliveries/recover", &wet).await.expect(200), json!({"recovered": 3}));
    assert_eq!(service.settled("lost-", &["sent"]).await.len(), 3);
    for (wrong, pointers) in [
        (json!({}), vec!["/channelId", "/since"]),
        (json!({"channelId": "x", "since": "x", "dryRun": 1}), vec!["/channelId", "/dryRun", "/since"]),
        (json!({"channelId": channel, "since": since, "all": true}), vec!["/all"]),
    ] {
        assert_eq!(service.post("/deliveries/recover", &wrong).await.problem(422, "invalid"), pointers, "{wrong}");
    }
    let none: [Value; 0] = [];
    assert_eq!(service.get("/deliveries?status=failed").await.expect(200)["data"], json!(none));
}

#[tokio::test]
async fn deferred_delivery_is_listed_by_its_own_time() {
    let service = Service::start().await;
    let endpoint = made(&service, json!({"failureThreshold": 1})).await;
    let id = endpoint["id"].as_str().unwrap();
    let rule = json!({"resourceType": "endpoint", "resourceId": id, "channelType": "webhook",
                      "url": "https://example.com/"});
    service.post("/notification-rules", &rule).await.expect(201);
    service.rule_to("https://example.com/").await;
    let mute =
        service.post("/mutes", &json!({"scope": "endpoint", "targetId": id, "reason": "deploy"})).await.expect(201);
    service.post(&format!("/endpoints/{id}/checks"), &json!({"status": "down"})).await.expect(202);
    for number in 0..5 {
        service.failed(&format!("run-{number}")).await;
    }
    service.delete(&format!("/mutes/{}", mute["mute"]["id"].as_str().unwrap())).await.expect(204);
    let expected = ["2 opened", "1 failure", "1 failure", "1 failure", "1 failure", "1 failure", "1 opened"];
    let line = |row: &Value| format!("{} {}", row["sequence"], row["trigger"].as_str().unwrap());
    for _ in 0..1_000 {
        let all = service.get("/deliveries").await.expect(200);
        let rows = all["data"].as_array().unwrap();
        if rows.len() == expected.len() {
            assert_eq!(rows.iter().map(line).collect::<Vec<_>>(), expected);
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = service.get(&format!("/deliveries?limit=2{cursor}")).await.expect(200);
        paged.extend(page["data"].as_array().unwrap().iter().map(line));
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, expected);
}
