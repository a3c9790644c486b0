//! Events: immutable facts about resources. The event pipeline starts with them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::digest::Digest;
use crate::id::{EventId, Id, WorkspaceId};
use crate::incident::IncidentSnapshot;
use crate::resource::ResourceType;
use crate::run::Run;
use crate::severity::Severity;
use crate::text::{is_blank, name_or_id};
use crate::time::Timestamp;
use crate::trigger::Trigger;

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A query, flow or job ended.
    #[serde(rename = "flow.run.terminal")]
    RunTerminal,
    /// A workflow execution succeeded.
    #[serde(rename = "workflow.completed")]
    WorkflowCompleted,
    /// A workflow execution failed.
    #[serde(rename = "workflow.failed")]
    WorkflowFailed,
    IncidentOpened,
    IncidentResolved,
    /// An incident worsened, or an escalation step became due.
    IncidentEscalated,
    IncidentReminder,
    IncidentFlapping,
    IncidentStable,
    /// Held deliveries, sent together.
    Digest,
    /// A user requested a test.
    ChannelTest,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::RunTerminal,
        Self::WorkflowCompleted,
        Self::WorkflowFailed,
        Self::IncidentOpened,
        Self::IncidentResolved,
        Self::IncidentEscalated,
        Self::IncidentReminder,
        Self::IncidentFlapping,
        Self::IncidentStable,
        Self::Digest,
        Self::ChannelTest,
    ];

    /// The wire name: webhook bodies, API, store and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RunTerminal => "flow.run.terminal",
            Self::WorkflowCompleted => "workflow.completed",
            Self::WorkflowFailed => "workflow.failed",
            Self::IncidentOpened => "incident_opened",
            Self::IncidentResolved => "incident_resolved",
            Self::IncidentEscalated => "incident_escalated",
            Self::IncidentReminder => "incident_reminder",
            Self::IncidentFlapping => "incident_flapping",
            Self::IncidentStable => "incident_stable",
            Self::Digest => "digest",
            Self::ChannelTest => "channel_test",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Whether the event belongs to an incident.
    pub const fn is_incident(self) -> bool {
        matches!(
            self,
            Self::IncidentOpened
                | Self::IncidentResolved
                | Self::IncidentEscalated
                | Self::IncidentReminder
                | Self::IncidentFlapping
                | Self::IncidentStable
        )
    }

    /// Whether the event reports a run.
    pub const fn is_run(self) -> bool {
        matches!(self, Self::RunTerminal | Self::WorkflowCompleted | Self::WorkflowFailed)
    }

    /// The kind of the event at the end of a run.
    pub const fn for_run(resource_type: ResourceType, trigger: Trigger) -> Self {
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
    pub id: EventId,
    pub workspace_id: WorkspaceId,
    pub kind: EventKind,
    pub resource_type: ResourceType,
    /// The caller's own id of the resource.
    pub resource_id: String,
    /// The caller's own id of the run; for incident events the incident's id.
    pub run_id: String,
    pub trigger: Trigger,
    /// When Tidings accepted the event.
    pub received_at: Timestamp,
    pub content: Content,
}

/// The facts of an event, by its kind.
#[derive(Debug, Clone)]
pub enum Content {
    /// A run that ended. A test has a run without optional facts.
    Run(Run),
    Incident(Box<IncidentSnapshot>),
    Digest(Box<Digest>),
}

impl Content {
    /// Deserialises the content of an event of this kind.
    ///
    /// # Errors
    /// If the text is not of that form.
    pub fn from_json(kind: EventKind, text: &str) -> Result<Self, serde_json::Error> {
        if kind.is_incident() {
            serde_json::from_str(text).map(Self::Incident)
        } else if kind == EventKind::Digest {
            serde_json::from_str(text).map(Self::Digest)
        } else {
            serde_json::from_str(text).map(Self::Run)
        }
    }
}

impl Content {
    /// The content without texts and values of its source: what remains are states, counts and instants. `name` replaces
    /// a name that must not be missing.
    #[must_use]
    pub fn erased(&self, name: &str) -> Self {
        match self {
            Self::Run(run) => Self::Run(Run {
                resource_name: None,
                trigger_type: run.trigger_type.clone(),
                started_at: run.started_at,
                completed_at: run.completed_at,
                duration_ms: run.duration_ms,
                row_count: run.row_count,
                error_message: None,
                output: None,
                deep_link: None,
                truncated: Vec::new(),
            }),
            Self::Incident(incident) => Self::Incident(Box::new(IncidentSnapshot {
                name: name.to_owned(),
                url: None,
                link: None,
                detail: None,
                resolution: None,
                actor: None,
                fields: Vec::new(),
                tags: Vec::new(),
                ..IncidentSnapshot::clone(incident)
            })),
            Self::Digest(digest) => {
                let erased = |entry: &crate::digest::Entry| crate::digest::Entry {
                    title: name.to_owned(),
                    reason: None,
                    link: None,
                    ..entry.clone()
                };
                let entries = digest.entries.iter().map(erased).collect();
                Self::Digest(Box::new(Digest { entries, ..Digest::clone(digest) }))
            }
        }
    }
}

/// Serialised without a tag: the event's kind determines the variant.
impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Run(run) => run.serialize(serializer),
            Self::Incident(incident) => incident.serialize(serializer),
            Self::Digest(digest) => digest.serialize(serializer),
        }
    }
}

impl Event {
    /// The run, if the event reports one or is a test.
    pub const fn run(&self) -> Option<&Run> {
        match &self.content {
            Content::Run(run) => Some(run),
            _ => None,
        }
    }

    /// The run, mutable.
    ///
    /// # Panics
    /// If the event has no run.
    pub fn run_mut(&mut self) -> &mut Run {
        match &mut self.content {
            Content::Run(run) => run,
            _ => panic!("the event has no run"),
        }
    }

    /// The incident's snapshot, if the event belongs to one.
    pub const fn incident(&self) -> Option<&IncidentSnapshot> {
        match &self.content {
            Content::Incident(incident) => Some(incident),
            _ => None,
        }
    }

    /// The wire name of what triggered it. None for a test and a digest, which report no one outcome.
    pub fn trigger_name(&self) -> Option<Cow<'static, str>> {
        let has_trigger = !matches!(self.kind, EventKind::ChannelTest | EventKind::Digest);
        has_trigger.then(|| self.trigger.wire_name())
    }

    /// The resource's name, if it is known and something of it is visible.
    pub fn resource_name(&self) -> Option<&str> {
        let name = match &self.content {
            Content::Run(run) => run.resource_name.as_deref(),
            Content::Incident(incident) => Some(&*incident.name),
            Content::Digest(_) => None,
        };
        name.filter(|name| !is_blank(name))
    }

    /// The name to show for the resource, or its id if there is none.
    pub fn resource_label(&self) -> &str {
        name_or_id(self.resource_name(), &self.resource_id)
    }

    /// The event's severity for a rule with this `failure_severity`.
    pub fn severity(&self, failure_severity: Severity) -> Severity {
        match (&self.content, self.trigger) {
            (Content::Incident(incident), Trigger::Incident(trigger)) => trigger.severity(incident.severity),
            (Content::Digest(digest), _) => digest.severity(),
            _ if self.kind == EventKind::ChannelTest => Severity::Info,
            (_, Trigger::Failure) => failure_severity,
            _ => Severity::Success,
        }
    }

    /// A sample event for tests of channels and rules.
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
            content: Content::Run(Run {
                resource_name: None,
                trigger_type: None,
                started_at: None,
                completed_at: now,
                duration_ms: None,
                row_count: None,
                error_message: None,
                output: (resource_type == ResourceType::UseCase).then(sample_output),
                deep_link: None,
                truncated: Vec::new(),
            }),
        }
    }
}

/// The output of a sample execution: a receiver of a use case's webhook expects one.
fn sample_output() -> Box<RawValue> {
    let json = r#"{"message":"This is a test event from Tidings."}"#;
    RawValue::from_string(json.to_owned()).unwrap_or_else(|_| unreachable!("it is JSON"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A failed flow run with all optional facts.
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
        event.run_mut().resource_name = Some("Daily revenue rollup".into());
        event.run_mut().duration_ms = Some(1842);
        event.run_mut().row_count = Some(124);
        event.run_mut().error_message = Some("relation \"orders\" does not exist".into());
        event.run_mut().trigger_type = crate::trigger::TriggerType::parse("schedule");
        event.run_mut().deep_link = Some("https://app.example.com/f1".into());
        event
    }

    /// An event of an endpoint's incident with all optional facts.
    pub(crate) fn incident_event(trigger: crate::incident::IncidentTrigger) -> Event {
        let mut event = failed_flow();
        let at = |text| Timestamp::parse(text).unwrap();
        let started_at = at("2026-05-02T03:59:00Z");
        (event.kind, event.trigger) = (trigger.event_kind(), Trigger::Incident(trigger));
        event.resource_type = ResourceType::Endpoint;
        event.resource_id = crate::id::EndpointId::from_bytes([7; 16]).to_string();
        event.run_id = crate::id::IncidentId::from_bytes([5; 16]).to_string();
        event.content = Content::Incident(Box::new(IncidentSnapshot {
            name: "Production API".into(),
            url: Some("https://api.example.com/health".into()),
            link: None,
            cause: crate::incident::Cause::EndpointDown,
            detail: Some("HTTP 502 — expected 200".into()),
            severity: Severity::Critical,
            started_at,
            failing_since: at("2026-05-02T03:58:00Z"),
            resolved_at: (trigger == crate::incident::IncidentTrigger::Resolved).then_some(event.received_at),
            at: event.received_at,
            resolution: None,
            previous_resolved_at: None,
            flap_changes: Some(7),
            escalates_to: None,
            actor: None,
            fields: vec![crate::incident::SubjectField { label: "region".into(), value: "eu-west".into() }],
            tags: vec!["prod".into()],
        }));
        event
    }

    /// A digest of these entries.
    pub(crate) fn digest_event(entries: Vec<crate::digest::Entry>) -> Event {
        let mut event = failed_flow();
        (event.kind, event.trigger) = (EventKind::Digest, Trigger::Success);
        event.resource_type = ResourceType::Channel;
        let digest = Digest::new("quiet hours of #data-alerts".into(), entries, event.received_at);
        event.content = Content::Digest(Box::new(digest));
        event
    }

    #[test]
    fn erased_content_keeps_states_and_instants_only() {
        let entry = crate::digest::Entry {
            reason: Some("timeout".into()),
            ..crate::digest::Entry::new(
                "API is down",
                Severity::Critical,
                crate::digest::EntryState::Ongoing,
                failed_flow().received_at,
            )
        };
        let events =
            [failed_flow(), incident_event(crate::incident::IncidentTrigger::Resolved), digest_event(vec![entry])];
        let erased = events.map(|event| {
            let erased = serde_json::to_value(event.content.erased("(erased)")).unwrap();
            assert!(Content::from_json(event.kind, &erased.to_string()).is_ok());
            erased
        });
        assert_eq!(
            erased[0],
            serde_json::json!({
                "triggerType": "scheduled", "completedAt": "2026-05-02T04:00:12.345Z", "durationMs": 1842, "rowCount": 124,
            })
        );
        for (erased, texts) in erased.iter().zip([
            &["revenue", "orders", "app.example.com"][..],
            &["Production", "api.example.com", "HTTP 502", "eu-west", "prod"],
            &["API", "timeout"],
        ]) {
            let text = erased.to_string();
            assert!(texts.iter().all(|part| !text.contains(part)), "{text}");
        }
    }

    #[test]
    fn event_kinds_and_contents_round_trip() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.as_str()), Some(kind));
        }
        for event in [failed_flow(), incident_event(crate::incident::IncidentTrigger::Resolved), digest_event(vec![])] {
            let stored = serde_json::to_string(&event.content).unwrap();
            let read = Content::from_json(event.kind, &stored).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), stored);
        }
    }
}
