//! Messages: the content of a notification for people, before a channel renders it in its own format.
//!
//! All text is plain; each channel escapes it.

mod digest_text;
mod incident_text;

use std::borrow::Cow;

use crate::digest::Entry;
use crate::event::{Content, Event, EventKind};
use crate::resource::ResourceType;
use crate::run::Run;
use crate::severity::Severity;
use crate::text::{format_duration, truncate_chars};
use crate::time::Timestamp;
use crate::trigger::Trigger;

pub use crate::text::with_thousands_separators;
pub use digest_text::format_state;

/// A labelled fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Such as `Duration`.
    pub label: Cow<'static, str>,
    /// Such as `1.8 s`.
    pub value: String,
}

impl Field {
    /// A field.
    pub fn new(label: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        Self { label: label.into(), value: value.into() }
    }
}

/// The content of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: EventKind,
    pub severity: Severity,
    /// One line, such as `Daily revenue rollup failed`.
    pub title: String,
    /// One or two sentences.
    pub summary: String,
    /// The label of `detail`, such as `Error`.
    pub detail_label: &'static str,
    /// The error or reason as the source reported it; may be long and have many lines. For a digest its entries as text,
    /// for channels that do not render `entries`.
    pub detail: Option<String>,
    /// A page about the event.
    pub link: Option<String>,
    /// Most important first.
    pub fields: Vec<Field>,
    /// Free-form labels.
    pub tags: Vec<String>,
    /// The entries of a digest, open incidents first.
    pub entries: Vec<Entry>,
    /// How many further entries the digest does not list.
    pub entries_left: u32,
    /// Set if the message is one of several about one incident.
    pub thread: Option<Thread>,
    /// When the event happened.
    pub timestamp: Timestamp,
}

/// Groups the messages about one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// The incident's id.
    pub id: String,
    /// The subject, the same in each message, such as `Production API`.
    pub about: String,
    /// The state as of this message, such as `down` or `recovered`.
    pub state: &'static str,
}

/// Longest name within a title, in characters.
const NAME_CHARS_MAX: usize = 120;

/// The message of an event, with its severity for the rule.
pub fn of(event: &Event, severity: Severity) -> Message {
    match &event.content {
        Content::Run(run) => from_run(event, run, severity),
        Content::Incident(incident) => incident_text::from_incident(event, incident, severity),
        Content::Digest(digest) => digest_text::from_digest(event, digest, severity),
    }
}

fn from_run(event: &Event, run: &Run, severity: Severity) -> Message {
    let (title, summary) = match event.kind {
        EventKind::ChannelTest => (
            "Test notification from Tidings".to_owned(),
            "This channel works. Real notifications will look like this one.".to_owned(),
        ),
        _ => describe_run(event, run),
    };
    Message {
        kind: event.kind,
        severity,
        title,
        summary,
        detail_label: "Error",
        detail: run.error_message.clone().filter(|text| !text.trim().is_empty()),
        link: run.deep_link.clone(),
        fields: fields(event, run),
        tags: Vec::new(),
        entries: Vec::new(),
        entries_left: 0,
        thread: None,
        timestamp: run.completed_at,
    }
}

fn describe_run(event: &Event, run: &Run) -> (String, String) {
    let name = truncate_chars(event.resource_label(), NAME_CHARS_MAX);
    let (ended, how) = match event.trigger {
        Trigger::Failure => ("failed", "failed"),
        _ => ("succeeded", "finished successfully"),
    };
    let after = run.duration_ms.map(|ms| format!(" after {}", format_duration(ms))).unwrap_or_default();
    (format!("{name} {ended}"), format!("{} {name} {how}{after}.", event.resource_type.title()))
}

fn fields(event: &Event, run: &Run) -> Vec<Field> {
    let mut fields = Vec::with_capacity(6);
    let mut add = |label, value: Option<String>| fields.extend(value.map(|value| Field::new(label, value)));
    if event.kind != EventKind::ChannelTest {
        let status = match event.trigger {
            Trigger::Failure => "Failure",
            _ => "Success",
        };
        add("Status", Some(status.to_owned()));
    }
    add("Resource", Some(format_resource(event)));
    add(if event.resource_type == ResourceType::UseCase { "Execution" } else { "Run" }, Some(event.run_id.clone()));
    add(
        if event.kind == EventKind::ChannelTest { "Sent" } else { "Completed" },
        Some(format_instant(run.completed_at)),
    );
    add("Duration", run.duration_ms.map(format_duration));
    add("Rows", run.row_count.map(with_thousands_separators));
    add("Started", run.trigger_type.as_ref().map(|how| how.as_str().to_owned()));
    fields
}

/// `2026-05-02 04:00:12 UTC`.
pub fn format_instant(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn format_resource(event: &Event) -> String {
    match event.resource_name() {
        Some(name) if *name != event.resource_id => format!("{name} ({})", event.resource_id),
        _ => event.resource_id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::failed_flow;

    #[test]
    fn failed_run_message_has_all_fields() {
        let message = of(&failed_flow(), Severity::Warning);
        assert_eq!(message.title, "Daily revenue rollup failed");
        assert_eq!(message.summary, "Flow Daily revenue rollup failed after 1.8 s.");
        assert_eq!(message.detail.as_deref(), Some("relation \"orders\" does not exist"));
        let lines: Vec<_> = message.fields.iter().map(|f| format!("{}: {}", f.label, f.value)).collect();
        assert_eq!(
            lines,
            [
                "Status: Failure",
                "Resource: Daily revenue rollup (f1)",
                "Run: 01HX",
                "Completed: 2026-05-02 04:00:12 UTC",
                "Duration: 1.8 s",
                "Rows: 124",
                "Started: scheduled"
            ]
        );
    }
}
