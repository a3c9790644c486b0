//! `POST /simulate`. That its results match real events is tested in `simulate_agrees`.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_domain::id::EndpointId;
use tidings_domain::time::Timestamp;
use tidings_engine::clock::ManualClock;

use crate::endpoints::{made, path};
use crate::harness::{Service, unknown_id};

async fn at_noon() -> Service {
    Service::start_at(Arc::new(ManualClock::at(Timestamp::parse("2026-05-02T12:00:00Z").unwrap()))).await
}

/// Creates a channel with quiet hours at night and returns its id.
async fn quiet_channel(service: &Service) -> String {
    let body = json!({
        "name": "#night", "type": "slack", "config": {"webhookUrl": "https://hooks.slack.com/services/T0/B0/0123456789"},
        "quietHours": {"start": "22:00", "end": "07:00", "timezone": "UTC"},
    });
    service.post("/channels", &body).await.expect(201)["channel"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn simulated_run_has_outcome_and_verdict_of_each_rule() {
    let service = at_noon().await;
    let id = quiet_channel(&service).await;
    let base = json!({"resourceType": "flow", "resourceId": "f1", "triggers": ["failure"], "channelId": id});
    let rule_id = service.post("/notification-rules", &base).await.expect(201)["rule"]["id"].clone();
    let mut other = base.clone();
    other["triggers"] = json!(["success"]);
    let other = service.post("/notification-rules", &other).await.expect(201)["rule"]["id"].clone();
    let run = json!({"resourceType": "flow", "resourceId": "f1", "status": "failure", "triggerType": "schedule"});
    let now = service.post("/simulate", &json!({"run": run})).await.expect(200);
    let delivery = &now["deliveries"][0];
    assert_eq!((&now["kind"], &now["at"]), (&json!("flow.run.terminal"), &json!("2026-05-02T12:00:00.000Z")));
    assert_eq!((&delivery["outcome"], &delivery["until"]), (&json!("send"), &Value::Null));
    assert_eq!((&delivery["ruleId"], &delivery["channelName"]), (&rule_id, &json!("#night")));
    assert_eq!((&delivery["severity"], &delivery["channelId"]), (&json!("warning"), &json!(id)));
    assert_eq!(now["notRouted"], json!([{"ruleId": other, "reason": "trigger"}]));

    let at_night = service.post("/simulate", &json!({"at": "2026-05-03T01:00:00+02:00", "run": run})).await.expect(200);
    let mut delivery = at_night["deliveries"][0].clone();
    let verdicts = delivery.as_object_mut().unwrap().remove("verdicts").unwrap();
    let detail = "Held until 2026-05-03 07:00 UTC: quiet hours of #night";
    let expected = json!({
        "ruleId": rule_id, "channelId": id, "channelName": "#night", "severity": "warning", "outcome": "hold",
        "until": "2026-05-03T07:00:00.000Z", "reason": "quiet_hours", "detail": detail,
    });
    assert_eq!(delivery, expected);
    let last = verdicts.as_array().unwrap().last().unwrap();
    assert_eq!((&last["verdict"], &last["detail"]), (&json!("hold"), &json!(detail)));

    service.post("/mutes", &json!({"scope": "channel", "targetId": id})).await.expect(201);
    let muted = service.post("/simulate", &json!({"run": run})).await.expect(200);
    let delivery = &muted["deliveries"][0];
    assert_eq!((&delivery["outcome"], &delivery["reason"]), (&json!("suppress"), &json!("muted")));
    for path in ["/events", "/deliveries"] {
        assert_eq!(service.get(path).await.expect(200)["data"], json!([]), "{path}: nothing is written");
    }
}

#[tokio::test]
async fn simulated_incident_has_kind_severity_and_outcome() {
    let service = at_noon().await;
    let id = quiet_channel(&service).await;
    let endpoint = made(&service, json!({"recoveryAlert": false})).await;
    let wire = json!({"channels": [{"channelId": id, "wired": true, "paused": false}]});
    service.put(&format!("{}/notifications", path(&endpoint)), &wire).await.expect(200);
    let simulate = async |event: &str, cause: &str| {
        let endpoint = json!({"id": endpoint["id"], "event": event, "cause": cause});
        let body = json!({"at": "2026-05-02T23:00:00Z", "endpoint": endpoint});
        service.post("/simulate", &body).await.expect(200)
    };
    let outcome = |simulation: &Value| {
        let delivery = &simulation["deliveries"][0];
        (simulation["kind"].clone(), delivery["severity"].clone(), delivery["outcome"].clone())
    };
    let down = simulate("opened", "endpoint_down").await;
    assert_eq!(
        outcome(&down),
        (json!("incident_opened"), json!("critical"), json!("send")),
        "critical passes at night"
    );
    let degraded = simulate("opened", "endpoint_degraded").await;
    assert_eq!(outcome(&degraded), (json!("incident_opened"), json!("warning"), json!("hold")));
    let worsened = simulate("worsened", "endpoint_down").await;
    assert_eq!(outcome(&worsened), (json!("incident_escalated"), json!("critical"), json!("send")));
    let resolved = simulate("resolved", "endpoint_down").await;
    assert_eq!(
        (&resolved["deliveries"], &resolved["notRouted"][0]["reason"]),
        (&json!([]), &json!("recovery_disabled"))
    );
    assert_eq!(service.get("/incidents").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn invalid_simulation_returns_422_with_pointers() {
    let service = at_noon().await;
    let endpoint = made(&service, json!({})).await["id"].clone();
    let run = |key: &str, value: Value| {
        let mut run = json!({"resourceType": "flow", "resourceId": "f1", "status": "failure"});
        run[key] = value;
        json!({"run": run})
    };
    let of = |id: &Value, event: &str| json!({"endpoint": {"id": id, "event": event}});
    for (body, pointers) in [
        (json!({}), vec![""]),
        (json!({"run": null}), vec![""]),
        (json!({"run": {}}), vec!["/run/resourceType", "/run/resourceId", "/run/status"]),
        (json!({"run": 1}), vec!["/run"]),
        (run("resourceType", json!("endpoint")), vec!["/run/resourceType"]),
        (run("resourceId", json!("*")), vec!["/run/resourceId"]),
        (run("resourceId", json!("x".repeat(201))), vec!["/run/resourceId"]),
        (run("status", json!("opened")), vec!["/run/status"]),
        (run("triggerType", json!("By Hand")), vec!["/run/triggerType"]),
        (run("runId", json!("run-1")), vec!["/run/runId"]),
        (json!({"endpoint": {}}), vec!["/endpoint/id", "/endpoint/event"]),
        (of(&json!(unknown_id::<EndpointId>()), "opened"), vec!["/endpoint/id"]),
        (of(&endpoint, "escalated"), vec!["/endpoint/event"]),
        (json!({"endpoint": {"id": endpoint, "event": "opened", "cause": "alert"}}), vec!["/endpoint/cause"]),
        (json!({"at": "2027-05-05T12:00:00Z", "endpoint": {"id": endpoint, "event": "opened"}}), vec!["/at"]),
        (json!({"at": "2025-04-30T12:00:00Z", "endpoint": {"id": endpoint, "event": "opened"}}), vec!["/at"]),
        (json!({"at": "tonight", "endpoint": {"id": endpoint, "event": "opened"}}), vec!["/at"]),
    ] {
        assert_eq!(service.post("/simulate", &body).await.problem(422, "invalid"), pointers, "{body}");
    }
    let mut both = run("status", json!("failure"));
    both["endpoint"] = json!({"id": endpoint, "event": "opened"});
    assert_eq!(service.post("/simulate", &both).await.problem(422, "invalid"), ["/endpoint"]);
}
