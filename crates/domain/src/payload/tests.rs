//! Tests of `payload`.

use super::*;
use crate::calendar::Zone;
use crate::event::tests::failed_flow;
use crate::message;
use crate::severity::Severity;
use serde_json::{Value, json};

fn read(event: &Event) -> Value {
    let bytes = body(event, || message::of(event, Severity::Info, &Zone::UTC), || "key".into());
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn run_body_has_every_key() {
    let mut event = failed_flow();
    assert_eq!(
        read(&event),
        json!({
            "version": 1, "event": "flow.run.terminal", "trigger": "failure", "resourceType": "flow",
            "resourceId": "f1", "resourceName": "Daily revenue rollup", "runId": "01HX",
            "completedAt": "2026-05-02T04:00:12.345Z", "durationMs": 1842, "rowCount": 124,
            "errorMessage": "relation \"orders\" does not exist", "triggerType": "scheduled",
            "workspaceId": "ws_02020202020202020202020202020202", "deepLink": "https://app.example.com/f1"
        })
    );
    event.content = Event::sample(event.id, event.workspace_id, event.resource_type, "f1", event.received_at).content;
    let bare = read(&event);
    for key in ["resourceName", "durationMs", "rowCount", "errorMessage", "triggerType", "deepLink"] {
        assert_eq!(bare.get(key), Some(&Value::Null), "{key} is present and null");
    }
}

#[test]
fn workflow_body_has_output_or_error() {
    let mut event = failed_flow();
    (event.resource_type, event.kind, event.trigger) =
        (ResourceType::UseCase, EventKind::WorkflowCompleted, Trigger::Success);
    event.run_mut().output = Some(RawValue::from_string(r#"{"summary":"Processed 42 records"}"#.into()).unwrap());
    let completed = json!({
        "event": "workflow.completed", "execution_id": "01HX", "use_case_id": "f1", "status": "completed",
        "trigger_type": "schedule", "output": {"summary": "Processed 42 records"}
    });
    assert_eq!(read(&event), completed);
    (event.kind, event.trigger) = (EventKind::WorkflowFailed, Trigger::Failure);
    assert_eq!(
        read(&event),
        json!({
            "event": "workflow.failed", "execution_id": "01HX", "use_case_id": "f1", "status": "failed",
            "trigger_type": "schedule", "output": null, "error": "relation \"orders\" does not exist"
        })
    );
}

#[test]
fn test_body_is_marked_as_a_test() {
    let mut event = failed_flow();
    event.kind = EventKind::ChannelTest;
    let test = read(&event);
    assert_eq!(
        (&test["event"], &test["severity"], &test["idempotencyKey"]),
        (&json!("channel_test"), &json!("info"), &json!("key"))
    );
    event.resource_type = ResourceType::UseCase;
    event.trigger = Trigger::Success;
    let sample = read(&event);
    assert_eq!((&sample["event"], &sample["test"]), (&json!("workflow.completed"), &json!(true)));
    assert_eq!(sample["output"], Value::Null, "the event was made for a flow");
    let (id, workspace_id) = (event.id, event.workspace_id);
    let sample = Event::sample(id, workspace_id, ResourceType::UseCase, "uc1", event.received_at);
    assert_eq!(read(&sample)["output"], json!({"message": "This is a test event from Tidings."}));
}

#[test]
fn incident_body_has_endpoint_and_incident() {
    let event = crate::event::tests::incident_event(crate::incident::IncidentTrigger::Opened);
    assert_eq!(
        read(&event),
        json!({
            "version": 1, "event": "incident_opened", "severity": "info", "title": "Production API is down",
            "summary": "Production API is down. The first failing check was at 2026-05-02 03:58:00 UTC.",
            "detail": "HTTP 502 — expected 200", "link": null,
            "endpoint": {"id": "ep_07070707070707070707070707070707", "name": "Production API",
                         "url": "https://api.example.com/health"},
            "incident": {"id": "inc_05050505050505050505050505050505", "startedAt": "2026-05-02T03:59:00.000Z",
                         "resolvedAt": null, "status": "active", "cause": "endpoint_down"},
            "fields": [
                {"label": "Endpoint", "value": "Production API"},
                {"label": "Address", "value": "https://api.example.com/health"},
                {"label": "Started", "value": "2026-05-02 03:58:00 UTC"},
                {"label": "Ongoing for", "value": "2 min 12 s"},
                {"label": "Incident", "value": "inc_05050505050505050505050505050505"},
                {"label": "region", "value": "eu-west"}
            ],
            "tags": ["prod"], "actor": null, "idempotencyKey": "key", "timestamp": "2026-05-02T04:00:12.345Z"
        })
    );
}
