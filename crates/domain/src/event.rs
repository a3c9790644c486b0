//! The event: an immutable fact, told once. Where the way of an event begins.

use crate::id::{EventId, Id, WorkspaceId};
use crate::resource::ResourceType;
use crate::run::Run;
use crate::severity::Severity;
use crate::time::Timestamp;
use crate::trigger::Trigger;

/// What kind of fact an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A query, flow or job ended.
    RunTerminal,
    /// A workflow execution succeeded.
    WorkflowCompleted,
    /// A workflow execution failed.
    WorkflowFailed,
    /// Somebody asked for a test.
    ChannelTest,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::RunTerminal, Self::WorkflowCompleted, Self::WorkflowFailed, Self::ChannelTest];

    /// The event's name on the wire, in the store and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RunTerminal => "flow.run.terminal",
            Self::WorkflowCompleted => "workflow.completed",
            Self::WorkflowFailed => "workflow.failed",
            Self::ChannelTest => "channel_test",
        }
    }

    /// The kind that this name names.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The kind of event that a run of this resource type ends in.
    pub const fn of_run(resource_type: ResourceType, trigger: Trigger) -> Self {
        match (resource_type, trigger) {
            (ResourceType::UseCase, Trigger::Success) => Self::WorkflowCompleted,
            (ResourceType::UseCase, Trigger::Failure) => Self::WorkflowFailed,
            _ => Self::RunTerminal,
        }
    }
}

/// An immutable fact about a resource.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// The workspace it belongs to.
    pub workspace_id: WorkspaceId,
    /// What kind of fact it is.
    pub kind: EventKind,
    /// The kind of resource it is about.
    pub resource_type: ResourceType,
    /// The resource, by the caller's own id.
    pub resource_id: String,
    /// The run, by the caller's own id.
    pub run_id: String,
    /// How the run ended.
    pub trigger: Trigger,
    /// When Tidings took it in.
    pub received_at: Timestamp,
    /// What is known of the run.
    pub run: Run,
}

impl Event {
    /// The name to show for the resource: its own, else its id.
    pub fn resource_label(&self) -> &str {
        self.run.resource_name.as_deref().unwrap_or(&self.resource_id)
    }

    /// How bad it is for a rule that ranks failures as `failure_severity`.
    pub fn severity(&self, failure_severity: Severity) -> Severity {
        match (self.kind, self.trigger) {
            (EventKind::ChannelTest, _) => Severity::Info,
            (_, Trigger::Success) => Severity::Success,
            (_, Trigger::Failure) => failure_severity,
        }
    }

    /// A sample event, as tests of channels and rules send it.
    pub fn sample(
        id: EventId,
        workspace_id: WorkspaceId,
        resource_type: ResourceType,
        resource_id: &str,
        now: Timestamp,
    ) -> Self {
        let hex: String = id.as_bytes()[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            id,
            workspace_id,
            kind: EventKind::ChannelTest,
            resource_type,
            resource_id: resource_id.to_owned(),
            run_id: format!("test_{hex}"),
            trigger: Trigger::Success,
            received_at: now,
            run: Run {
                resource_name: None,
                trigger_type: None,
                started_at: None,
                completed_at: now,
                duration_ms: None,
                row_count: None,
                error_message: None,
                output: None,
                deep_link: None,
            },
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A failed flow run with every fact filled in.
    pub(crate) fn failed_flow() -> Event {
        let now = Timestamp::parse("2026-05-02T04:00:12.345Z").unwrap();
        let mut event = Event::sample(
            EventId::from_bytes([1; 16]),
            WorkspaceId::from_bytes([2; 16]),
            ResourceType::Flow,
            "f1",
            now,
        );
        event.kind = EventKind::RunTerminal;
        event.trigger = Trigger::Failure;
        event.run_id = "01HX".into();
        event.run.resource_name = Some("Daily revenue rollup".into());
        event.run.duration_ms = Some(1842);
        event.run.row_count = Some(124);
        event.run.error_message = Some("relation \"orders\" does not exist".into());
        event.run.trigger_type = crate::trigger::TriggerType::parse("schedule");
        event.run.deep_link = Some("https://app.example.com/f1".into());
        event
    }
}
