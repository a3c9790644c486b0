//! Webhook subscriptions of use cases: their compatibility contract.

use serde_json::{Value, json};
use tidings_domain::id::RuleId;
use tidings_domain::secret::Secret;
use tidings_domain::signature::Signer;
use tidings_domain::time::Timestamp;

use crate::harness::{Service, unknown_id};
use crate::receiver::{Received, Receiver};

async fn subscribe(service: &Service, body: Value) -> (String, String, Value) {
    let made = service.post("/use-cases/uc_01HX/webhooks", &body).await.expect(201);
    let id = made["rule"]["id"].as_str().unwrap().to_owned();
    (id, made["signingSecretOnce"].as_str().unwrap().to_owned(), made["rule"].clone())
}

async fn ended(service: &Service, run_id: &str, status: &str, trigger_type: &str) -> Value {
    let run = json!({
        "resourceType": "use_case", "resourceId": "uc_01HX", "runId": run_id, "status": status,
        "triggerType": trigger_type, "output": {"summary": "Processed 42 records"}, "errorMessage": "it broke",
    });
    service.post("/runs", &run).await.expect(202)
}

/// Verifies as documented: HMAC over the timestamp of the header, a dot, and the raw body.
fn verifies(received: &Received, secret: &str) -> bool {
    let header = received.header("X-MagOne-Signature");
    let timestamp = header.strip_prefix("t=").unwrap().split(',').next().unwrap();
    let at = Timestamp::from_unix_ms(timestamp.parse::<i64>().unwrap() * 1_000);
    header == Signer::new(&Secret::new(secret), None).timestamped_hex(at, &received.body)
}

#[tokio::test]
async fn subscription_receives_its_events_in_the_workflow_format() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let body = json!({"url": receiver.url, "events": ["workflow.completed", "workflow.failed"], "triggerTypes": []});
    let (id, secret, _) = subscribe(&service, body).await;
    ended(&service, "exec_1", "success", "schedule").await;
    let received = receiver.next().await;
    assert_eq!(
        received.json(),
        json!({
            "event": "workflow.completed", "execution_id": "exec_1", "use_case_id": "uc_01HX", "status": "completed",
            "trigger_type": "schedule", "output": {"summary": "Processed 42 records"},
        })
    );
    assert!(verifies(&received, &secret));
    assert_eq!(received.header("X-MagOne-Event"), "workflow.completed");
    assert_eq!(received.header("X-MagOne-Webhook-Id"), id);

    ended(&service, "exec_2", "failure", "api").await;
    let received = receiver.next().await;
    assert_eq!(received.header("X-MagOne-Event"), "workflow.failed");
    let failed = received.json();
    assert_eq!(
        (&failed["status"], &failed["output"], &failed["error"]),
        (&json!("failed"), &Value::Null, &json!("it broke"))
    );
}

#[tokio::test]
async fn subscription_is_created_listed_and_deleted() {
    let service = Service::start().await;
    let body = json!({
        "url": "https://example.com/hook?token=0123456789abcdef", "events": ["workflow.failed"],
        "triggerTypes": ["schedule", "in_app", "manual", "chat", "api"],
    });
    let (id, secret, rule) = subscribe(&service, body).await;
    assert!(secret.starts_with("whsec_"));
    let mut shown = rule.clone();
    for key in ["createdAt", "updatedAt"] {
        assert!(shown.as_object_mut().unwrap().remove(key).unwrap().is_string());
    }
    assert_eq!(
        shown,
        json!({
            "id": id, "useCaseId": "uc_01HX", "url": "https://example.com/hook?token=0123…", "events": ["workflow.failed"],
            "triggerTypes": ["schedule", "manual", "chat", "api"], "enabled": true, "revision": 1,
        })
    );
    let path = format!("/use-cases/uc_01HX/webhooks/{id}");
    assert_eq!(service.get(&path).await.expect(200), rule);
    let list = service.get("/use-cases/uc_01HX/webhooks").await.expect(200);
    assert_eq!(list, json!({"data": [rule], "nextCursor": null}));
    assert_eq!(service.get("/use-cases/uc_2/webhooks").await.expect(200)["data"], json!([]));

    let as_rule = service.get(&format!("/notification-rules/{id}")).await.expect(200);
    assert_eq!(as_rule["triggerTypes"], json!(["scheduled", "manual", "chat", "api"]), "a view of the same rules");

    let elsewhere = format!("/use-cases/uc_2/webhooks/{id}");
    service.get(&elsewhere).await.problem(404, "not_found");
    service.delete(&elsewhere).await.problem(404, "not_found");
    service.send("POST", &format!("{elsewhere}/test"), None).await.problem(404, "not_found");
    service.get(&format!("{elsewhere}/deliveries")).await.problem(404, "not_found");
    service.delete(&format!("/use-cases/uc_01HX/webhooks/{}", unknown_id::<RuleId>())).await.problem(404, "not_found");
    service.delete(&path).await.expect(204);
    service.get(&path).await.problem(404, "not_found");
}

#[tokio::test]
async fn trigger_type_filter_excludes_other_runs() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let body = json!({"url": receiver.url, "events": ["workflow.completed"], "triggerTypes": ["schedule"]});
    subscribe(&service, body).await;
    for (run_id, trigger_type) in [("exec_1", "manual"), ("exec_2", "chat"), ("exec_3", "api")] {
        let accepted = ended(&service, run_id, "success", trigger_type).await;
        assert_eq!(accepted["deliveries"]["pending"], 0, "{trigger_type}");
    }
    for (run_id, trigger_type) in [("exec_4", "schedule"), ("exec_5", "scheduled")] {
        ended(&service, run_id, "success", trigger_type).await;
        let body = receiver.next().await.json();
        assert_eq!((&body["execution_id"], &body["trigger_type"]), (&json!(run_id), &json!("schedule")));
    }
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn history_has_tests_and_attempts_with_responses() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let (id, secret, _) = subscribe(&service, json!({"url": receiver.url, "events": ["workflow.failed"]})).await;
    let path = format!("/use-cases/uc_01HX/webhooks/{id}");
    let tested = service.send("POST", &format!("{path}/test"), None).await.expect(200);
    assert_eq!((&tested["ok"], &tested["httpStatus"]), (&json!(true), &json!(200)));
    let received = receiver.next().await;
    assert!(verifies(&received, &secret));
    assert_eq!((&received.json()["event"], &received.json()["test"]), (&json!("workflow.failed"), &json!(true)));

    receiver.answer(500);
    ended(&service, "exec_1", "failure", "api").await;
    receiver.next().await;
    let history = loop {
        let history = service.get(&format!("{path}/deliveries")).await.expect(200);
        if history["data"][0]["attemptCount"] == 1 {
            break history;
        }
        tokio::task::yield_now().await;
    };
    let [delivery, test] = history["data"].as_array().unwrap().as_slice() else { panic!("{history}") };
    assert_eq!(
        (&delivery["event"], &delivery["executionId"], &delivery["test"]),
        (&json!("workflow.failed"), &json!("exec_1"), &json!(false))
    );
    assert_eq!((&delivery["status"], &delivery["lastError"].is_string()), (&json!("pending"), &true));
    let attempt = &delivery["attempts"][0];
    assert_eq!((&attempt["number"], &attempt["httpStatus"]), (&json!(1), &json!(500)));
    assert_eq!((&attempt["responseBody"], attempt["error"].is_string()), (&json!("answered 500"), true));
    assert!(attempt["startedAt"].is_string() && attempt["durationMs"].is_u64());
    assert_eq!(
        (&test["test"], &test["status"], &test["event"]),
        (&json!(true), &json!("sent"), &json!("workflow.failed"))
    );
    let of_runs = "/notification-rules/deliveries?resourceType=use_case&resourceId=uc_01HX";
    let of_runs = service.get(of_runs).await.expect(200);
    let runs: Vec<_> = of_runs["data"].as_array().unwrap().iter().map(|row| &row["runId"]).collect();
    assert_eq!(runs, [&json!("exec_1")], "a test is no run");
    let instant = |value: &Value| Timestamp::parse(value.as_str().unwrap()).unwrap();
    let waits_ms = instant(&delivery["nextAttemptAt"]).since_ms(instant(&attempt["startedAt"]));
    assert!((26_000..36_000).contains(&waits_ms), "the use cases' own policy, about 30 s: {waits_ms}");
}
