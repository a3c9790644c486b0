//! Reported runs: single, in batches, repeated; and their responses.

use serde_json::{Value, json};

use crate::harness::Service;
use crate::receiver::Receiver;

fn run(id: &str, status: &str) -> Value {
    json!({"resourceType": "flow", "resourceId": "f1", "runId": id, "status": status})
}

#[tokio::test]
async fn repeated_run_is_sent_once() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    service.rule_to(&receiver.url).await;
    let first = service.failed("run-1").await;
    assert_eq!(first["duplicate"], false);
    assert_eq!(first["deliveries"], json!({"pending": 1, "held": 0, "suppressed": 0}));
    assert_eq!(receiver.next().await.json()["runId"], "run-1");

    let mut again = run("run-1", "failure");
    again["errorMessage"] = "changed".into();
    let second = service.post("/runs", &again).await.expect(202);
    assert_eq!((&second["eventId"], &second["duplicate"]), (&first["eventId"], &json!(true)));
    assert_eq!(second["deliveries"], first["deliveries"], "the same answer");
    let event = service.get(&format!("/events/{}", first["eventId"].as_str().unwrap())).await.expect(200);
    assert_eq!(event["errorMessage"], Value::Null, "the first body wins");
    service.settled("run-1", &["sent"]).await;
    assert!(receiver.is_quiet());
}

#[tokio::test]
async fn batch_of_runs_is_atomic() {
    let service = Service::start().await;
    let list = json!([run("a", "success"), run("b", "failure"), run("a", "success")]);
    let answers = service.post("/runs", &list).await.expect(202);
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 3, "in their order");
    assert_eq!((&answers[0]["eventId"], &answers[2]["duplicate"]), (&answers[2]["eventId"], &json!(true)));

    let lines = format!("{}\n{}\n\n", run("c", "success"), run("d", "success"));
    for kind in ["application/x-ndjson", "application/jsonl; charset=utf-8"] {
        let answers = service.post_raw("/runs", kind, lines.clone()).await.expect(202);
        assert_eq!(answers.as_array().unwrap().len(), 2);
    }
    let one = service.post("/runs", &json!([run("e", "success")])).await.expect(202);
    assert!(one.is_array(), "a list is answered with a list");

    let mut bad: Vec<_> = (0..100).map(|n| run(&format!("bad-{n}"), "success")).collect();
    bad[57].as_object_mut().unwrap().remove("runId");
    assert_eq!(service.post("/runs", &Value::from(bad)).await.problem(422, "invalid"), ["/57/runId"]);
    let runs = service.get("/runs?limit=200").await.expect(200);
    assert_eq!(runs["data"].as_array().unwrap().len(), 5, "none of the bad list was taken");
}

#[tokio::test]
async fn run_with_all_fields_round_trips() {
    let service = Service::start().await;
    let report = json!({
        "resourceType": "use_case", "resourceId": "uc_1", "resourceName": "Nightly import", "runId": "exec_1",
        "status": "success", "triggerType": "schedule", "startedAt": "2026-05-02T04:00:00+00:00",
        "completedAt": "2026-05-02T06:00:12.3456+02:00", "durationMs": 12345, "rowCount": 124,
        "errorMessage": null, "output": {"summary": "Processed 42 records"}, "deepLink": "https://app.example.com/x",
    });
    let accepted = service.post("/runs", &report).await.expect(202);
    let list = service.get("/runs?resourceType=use_case&resourceId=uc_1&status=success").await.expect(200);
    let mut shown = list["data"][0].clone();
    let received = shown.as_object_mut().unwrap().remove("receivedAt");
    assert!(received.is_some_and(|at| at.as_str().unwrap().ends_with('Z')));
    assert_eq!(
        shown,
        json!({
            "eventId": accepted["eventId"], "resourceType": "use_case", "resourceId": "uc_1",
            "resourceName": "Nightly import", "runId": "exec_1", "status": "success", "triggerType": "scheduled",
            "startedAt": "2026-05-02T04:00:00.000Z", "completedAt": "2026-05-02T04:00:12.345Z", "durationMs": 12345,
            "rowCount": 124, "errorMessage": null, "output": {"summary": "Processed 42 records"},
            "deepLink": "https://app.example.com/x", "deliveries": {"pending": 0, "held": 0, "suppressed": 0},
        })
    );
    let events = service.get("/events?kind=workflow.completed").await.expect(200);
    assert_eq!(events["data"][0]["id"], accepted["eventId"]);
    assert_eq!(service.get("/events?kind=workflow.failed").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn event_has_deliveries_and_unrouted_rules() {
    let service = Service::start().await;
    let mut receiver = Receiver::start().await;
    let mut rule = json!({
        "resourceType": "flow", "resourceId": "*", "triggers": ["failure"], "channelType": "webhook", "url": receiver.url,
    });
    let mut make = async |key: &str, value: Value| {
        rule[key] = value;
        let made = service.post("/notification-rules", &rule).await.expect(201);
        rule.as_object_mut().unwrap().remove(key);
        rule["triggers"] = json!(["failure"]);
        made["rule"]["id"].as_str().unwrap().to_owned()
    };
    let sent_rule = make("failureSeverity", "critical".into()).await;
    let disabled = make("enabled", false.into()).await;
    let other_trigger = make("triggers", json!(["success"])).await;
    let other_start = make("triggerTypes", json!(["schedule"])).await;
    let paused = make("paused", true.into()).await;

    let mut failed = run("run-1", "failure");
    failed["triggerType"] = "manual".into();
    let accepted = service.post("/runs", &failed).await.expect(202);
    assert_eq!(accepted["deliveries"], json!({"pending": 1, "held": 0, "suppressed": 1}));
    receiver.next().await;
    service.settled("run-1", &["sent", "suppressed"]).await;

    let event = service.get(&format!("/events/{}", accepted["eventId"].as_str().unwrap())).await.expect(200);
    let mut not_routed = event["notRouted"].as_array().unwrap().clone();
    not_routed.sort_by_key(|entry| entry["reason"].to_string());
    assert_eq!(
        Value::from(not_routed),
        json!([
            {"ruleId": disabled, "reason": "rule_disabled"},
            {"ruleId": other_trigger, "reason": "trigger"},
            {"ruleId": other_start, "reason": "trigger_type"},
        ])
    );
    let deliveries = event["deliveries"].as_array().unwrap();
    let of = |rule: &str| deliveries.iter().find(|delivery| delivery["ruleId"] == rule).unwrap();
    let gates = |delivery: &Value| {
        let verdicts = delivery["verdicts"].as_array().unwrap().iter();
        verdicts
            .map(|v| format!("{}:{}", v["gate"].as_str().unwrap(), v["verdict"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    let (sent, stopped) = (of(&sent_rule), of(&paused));
    assert_eq!((&sent["status"], &sent["severity"]), (&json!("sent"), &json!("critical")));
    let passed = gates(sent);
    assert!(passed.len() == 13 && passed.iter().all(|verdict| verdict.ends_with(":pass")), "{passed:?}");
    assert_eq!((&sent["attempts"][0]["number"], &sent["attempts"][0]["httpStatus"]), (&json!(1), &json!(200)));
    assert_eq!(sent["attempts"][0]["responseBody"], "answered 200");
    assert_eq!((&stopped["status"], &stopped["suppressedReason"]), (&json!("suppressed"), &json!("rule_paused")));
    assert_eq!(gates(stopped), ["rule_paused:suppress"]);
    assert!(stopped["verdicts"][0]["detail"].is_string() && stopped["verdicts"][0]["evaluatedAt"].is_string());
    assert_eq!(stopped["attempts"], json!([]));
}

#[tokio::test]
async fn cursor_pages_through_the_whole_list() {
    let service = Service::start().await;
    let runs: Vec<_> = (0..7).map(|n| run(&format!("run-{n}"), "success")).collect();
    service.post("/runs", &Value::from(runs)).await.expect(202);
    for path in ["/runs", "/events"] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = service.get(&format!("{path}?limit=3{cursor}")).await.expect(200);
            seen.extend(page["data"].as_array().unwrap().iter().map(|run| run["runId"].as_str().unwrap().to_owned()));
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        seen.sort_unstable();
        let expected: Vec<_> = (0..7).map(|n| format!("run-{n}")).collect();
        assert_eq!(seen, expected, "{path}: each once");
    }
}
