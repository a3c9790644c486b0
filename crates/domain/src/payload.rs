//! Bodies of webhooks, to the letter of the contract. Keys are only ever added.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::event::{Event, EventKind};
use crate::id::WorkspaceId;
use crate::message::Message;
use crate::resource::ResourceType;
use crate::run::Run;
use crate::time::Timestamp;
use crate::trigger::Trigger;

/// A run's body, as in the first origin document: every key present, `null` where unknown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunBody<'a> {
    version: u8,
    event: &'static str,
    trigger: Cow<'static, str>,
    resource_type: &'static str,
    resource_id: &'a str,
    resource_name: Option<&'a str>,
    run_id: &'a str,
    completed_at: Timestamp,
    duration_ms: Option<u64>,
    row_count: Option<u64>,
    error_message: Option<&'a str>,
    trigger_type: Option<&'a str>,
    workspace_id: WorkspaceId,
    deep_link: Option<&'a str>,
}

/// A workflow execution's body, as in the third.
#[derive(Serialize)]
struct WorkflowBody<'a> {
    event: &'static str,
    execution_id: &'a str,
    use_case_id: &'a str,
    status: &'static str,
    trigger_type: Option<&'a str>,
    output: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    test: bool,
}

/// The body of everything else: incidents, digests, tests.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageBody<'a> {
    version: u8,
    event: &'static str,
    severity: &'static str,
    title: &'a str,
    summary: &'a str,
    detail: Option<&'a str>,
    link: Option<&'a str>,
    endpoint: Option<EndpointBody<'a>>,
    incident: Option<IncidentBody<'a>>,
    fields: Vec<FieldBody<'a>>,
    tags: &'a [String],
    actor: Option<&'a str>,
    idempotency_key: &'a str,
    timestamp: Timestamp,
}

#[derive(Serialize)]
struct EndpointBody<'a> {
    id: &'a str,
    name: &'a str,
    url: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IncidentBody<'a> {
    id: &'a str,
    started_at: Timestamp,
    resolved_at: Option<Timestamp>,
    status: &'static str,
    cause: &'static str,
}

#[derive(Serialize)]
struct FieldBody<'a> {
    label: &'a str,
    value: &'a str,
}

/// The event's name on the wire: its kind's, but a use case's test is a sample of what it will hear.
pub fn event_name(event: &Event) -> &'static str {
    match (event.kind, event.resource_type) {
        (EventKind::ChannelTest, ResourceType::UseCase) => workflow_event(event),
        (kind, _) => kind.as_str(),
    }
}

/// The body that tells of this event. `message` and `idempotency_key` are asked for only where the form wants them.
pub fn body(event: &Event, message: impl FnOnce() -> Message, idempotency_key: impl FnOnce() -> String) -> Vec<u8> {
    match (event.kind, event.resource_type) {
        (EventKind::RunTerminal, _) => event.run().map(|run| json(&run_body(event, run))),
        (EventKind::WorkflowCompleted | EventKind::WorkflowFailed, _)
        | (EventKind::ChannelTest, ResourceType::UseCase) => event.run().map(|run| json(&workflow_body(event, run))),
        _ => None,
    }
    .unwrap_or_else(|| json(&message_body(event, &message(), &idempotency_key())))
}

fn json(body: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(640);
    serde_json::to_writer(&mut bytes, body).unwrap_or_else(|_| unreachable!("these bodies have string keys only"));
    bytes
}

/// The name that use cases know the event by.
fn workflow_event(event: &Event) -> &'static str {
    event.trigger.class().workflow_event().unwrap_or(event.kind.as_str())
}

fn run_body<'a>(event: &'a Event, run: &'a Run) -> RunBody<'a> {
    RunBody {
        version: 1,
        event: event.kind.as_str(),
        trigger: event.trigger.word(),
        resource_type: event.resource_type.as_str(),
        resource_id: &event.resource_id,
        resource_name: run.resource_name.as_deref(),
        run_id: &event.run_id,
        completed_at: run.completed_at,
        duration_ms: run.duration_ms,
        row_count: run.row_count,
        error_message: run.error_message.as_deref(),
        trigger_type: run.trigger_type.as_ref().map(|how| how.as_str()),
        workspace_id: event.workspace_id,
        deep_link: run.deep_link.as_deref(),
    }
}

fn workflow_body<'a>(event: &'a Event, run: &'a Run) -> WorkflowBody<'a> {
    let failed = event.trigger == Trigger::Failure;
    WorkflowBody {
        event: workflow_event(event),
        execution_id: &event.run_id,
        use_case_id: &event.resource_id,
        status: if failed { "failed" } else { "completed" },
        trigger_type: run.trigger_type.as_ref().map(|how| how.as_workflow_str()),
        output: run.output.as_deref().filter(|_| !failed),
        error: failed.then_some(run.error_message.as_deref()),
        test: event.kind == EventKind::ChannelTest,
    }
}

fn message_body<'a>(event: &'a Event, message: &'a Message, idempotency_key: &'a str) -> MessageBody<'a> {
    let outage = event.incident();
    MessageBody {
        version: 1,
        event: message.kind.as_str(),
        severity: message.severity.as_str(),
        title: &message.title,
        summary: &message.summary,
        detail: message.detail.as_deref(),
        link: message.link.as_deref(),
        endpoint: outage.filter(|_| event.resource_type == ResourceType::Endpoint).map(|outage| EndpointBody {
            id: &event.resource_id,
            name: &outage.name,
            url: outage.url.as_deref(),
        }),
        incident: outage.map(|outage| IncidentBody {
            id: &event.run_id,
            started_at: outage.started_at,
            resolved_at: outage.resolved_at,
            status: outage.status().as_str(),
            cause: outage.cause.as_str(),
        }),
        fields: message.fields.iter().map(|field| FieldBody { label: &field.label, value: &field.value }).collect(),
        tags: &message.tags,
        actor: outage.and_then(|outage| outage.actor.as_deref()),
        idempotency_key,
        timestamp: message.timestamp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::failed_flow;
    use crate::message;
    use crate::severity::Severity;
    use serde_json::{Value, json};

    fn read(event: &Event) -> Value {
        let bytes = body(event, || message::of(event, Severity::Info), || "key".into());
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn a_runs_body_is_that_of_the_first_document() {
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
        event.content =
            Event::sample(event.id, event.workspace_id, event.resource_type, "f1", event.received_at).content;
        let bare = read(&event);
        for key in ["resourceName", "durationMs", "rowCount", "errorMessage", "triggerType", "deepLink"] {
            assert_eq!(bare.get(key), Some(&Value::Null), "{key} is present and null");
        }
    }

    #[test]
    fn a_workflows_body_is_that_of_the_third_document() {
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
    fn a_test_says_that_it_is_one() {
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
    }

    #[test]
    fn an_incidents_body_says_what_is_out_of_order() {
        let event = crate::event::tests::outage_event(crate::incident::IncidentTrigger::Opened);
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
                    {"label": "Lasted", "value": "2 min 12 s"},
                    {"label": "Incident", "value": "inc_05050505050505050505050505050505"},
                    {"label": "region", "value": "eu-west"}
                ],
                "tags": ["prod"], "actor": null, "idempotencyKey": "key", "timestamp": "2026-05-02T04:00:12.345Z"
            })
        );
    }
}
