//! Webhook bodies. They are a public contract (docs/WEBHOOKS.md): keys are added, never renamed or removed.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::event::{Event, EventKind};
use crate::id::WorkspaceId;
use crate::message::Message;
use crate::resource::ResourceType;
use crate::run::Run;
use crate::text::name_or_id;
use crate::time::Timestamp;
use crate::trigger::Trigger;

/// The body for a run. Every key is present; unknown facts are `null`.
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

/// The body for a workflow execution, in snake case as receivers of use cases expect it.
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

/// The body for all other events: incidents, digests and tests.
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

/// The event's wire name: that of its kind. A test of a use case is named like a real workflow event, as a sample.
pub fn event_name(event: &Event) -> &'static str {
    match (event.kind, event.resource_type) {
        (EventKind::ChannelTest, ResourceType::UseCase) => workflow_event(event),
        (kind, _) => kind.as_str(),
    }
}

/// The body for an event. `message` and `idempotency_key` are called only if the format needs them, as they are costly.
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

/// The event's wire name for use cases.
fn workflow_event(event: &Event) -> &'static str {
    event.trigger.class().workflow_event().unwrap_or(event.kind.as_str())
}

fn run_body<'a>(event: &'a Event, run: &'a Run) -> RunBody<'a> {
    RunBody {
        version: 1,
        event: event.kind.as_str(),
        trigger: event.trigger.wire_name(),
        resource_type: event.resource_type.as_str(),
        resource_id: &event.resource_id,
        resource_name: event.resource_name(),
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
    let snapshot = event.incident();
    MessageBody {
        version: 1,
        event: message.kind.as_str(),
        severity: message.severity.as_str(),
        title: &message.title,
        summary: &message.summary,
        detail: message.detail.as_deref(),
        link: message.link.as_deref(),
        endpoint: snapshot.filter(|_| event.resource_type == ResourceType::Endpoint).map(|incident| EndpointBody {
            id: &event.resource_id,
            name: name_or_id(Some(&incident.name), &event.resource_id),
            url: incident.url.as_deref(),
        }),
        incident: snapshot.map(|incident| IncidentBody {
            id: &event.run_id,
            started_at: incident.started_at,
            resolved_at: incident.resolved_at,
            status: incident.status().as_str(),
            cause: incident.cause.as_str(),
        }),
        fields: message.fields.iter().map(|field| FieldBody { label: &field.label, value: &field.value }).collect(),
        tags: &message.tags,
        actor: snapshot.and_then(|incident| incident.actor.as_deref()),
        idempotency_key,
        timestamp: message.timestamp,
    }
}

#[cfg(test)]
mod tests;
