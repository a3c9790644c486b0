//! Messages: the content of a notification for people, before a channel renders it in its own format.
//!
//! All text is plain and cleaned ([`crate::text::clean`]); each channel escapes it. Labels and titles are one line.

mod digest_text;
mod incident_text;

use std::borrow::Cow;

use crate::calendar::Zone;
use crate::digest::Entry;
use crate::event::{Content, Event, EventKind};
use crate::resource::ResourceType;
use crate::run::Run;
use crate::severity::Severity;
use crate::text::{clean, clean_line, format_duration, is_blank};
use crate::time::Timestamp;
use crate::trigger::Trigger;

pub use crate::text::{truncate_units, with_thousands_separators};
pub use digest_text::format_state;

/// A labelled fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Such as `Duration`. One from the source is as it is there, so that templates find it; see [`Self::shown_label`].
    pub label: Cow<'static, str>,
    /// Such as `1.8 s`.
    pub value: String,
}

impl Field {
    /// A field.
    pub fn new(label: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        Self { label: label.into(), value: value.into() }
    }

    /// The label for people. Those from the source, such as `instance_id`, get the style of the others: `Instance id`.
    pub fn shown_label(&self) -> String {
        let label = clean_line(&self.label.replace('_', " "));
        let mut characters = label.chars();
        match characters.next() {
            Some(first) if first.is_ascii_lowercase() => {
                format!("{}{}", first.to_ascii_uppercase(), characters.as_str())
            }
            _ => label,
        }
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
    /// The zone of the times in the texts: the workspace's.
    pub zone: Zone,
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

/// Longest name within a title, in UTF-16 units, as vendors count. Together with the longest sentence around it, a severity
/// symbol and a vendor's escapes, a title fits into the shortest limit (Slack's header, 150): otherwise a vendor's limit would
/// cut off the verb.
const NAME_UNITS_MAX: usize = 100;

/// The message of an event, with its severity for the rule and the time zone of its workspace.
pub fn of(event: &Event, severity: Severity, zone: &Zone) -> Message {
    match &event.content {
        Content::Run(run) => from_run(event, run, severity, zone),
        Content::Incident(incident) => incident_text::from_incident(event, incident, severity, zone),
        Content::Digest(digest) => digest_text::from_digest(event, digest, severity, zone),
    }
}

impl Message {
    /// An instant in the message's time zone, such as `2026-05-02 06:00:12 CEST`.
    pub fn format_instant(&self, at: Timestamp) -> String {
        self.zone.format_instant(at)
    }
}

fn from_run(event: &Event, run: &Run, severity: Severity, zone: &Zone) -> Message {
    let (title, summary) = match event.kind {
        EventKind::ChannelTest => describe_test(event),
        _ => describe_run(event, run),
    };
    Message {
        kind: event.kind,
        severity,
        title,
        summary,
        detail_label: "Error",
        detail: run.error_message.as_deref().and_then(detail),
        link: run.deep_link.as_deref().and_then(link),
        fields: fields(event, run, zone),
        tags: Vec::new(),
        entries: Vec::new(),
        entries_left: 0,
        thread: None,
        timestamp: run.completed_at,
        zone: zone.clone(),
    }
}

fn describe_test(event: &Event) -> (String, String) {
    const TITLE: &str = "Test notification from Tidings";
    match event.resource_name() {
        Some(name) if event.resource_type == ResourceType::Channel => {
            let name = short_name(name);
            let summary = format!("The channel {name} works. Real notifications will look like this one.");
            (format!("{TITLE}: {name}"), summary)
        }
        _ => (TITLE.to_owned(), "This channel works. Real notifications will look like this one.".to_owned()),
    }
}

fn describe_run(event: &Event, run: &Run) -> (String, String) {
    let name = short_name(event.resource_label());
    let (ended, how) = match event.trigger {
        Trigger::Failure => ("failed", "failed"),
        _ => ("succeeded", "finished successfully"),
    };
    let after = run.duration_ms.map(|ms| format!(" after {}", format_duration(ms))).unwrap_or_default();
    (format!("{name} {ended}"), format!("{} {name} {how}{after}.", event.resource_type.title()))
}

fn fields(event: &Event, run: &Run, zone: &Zone) -> Vec<Field> {
    let is_test = event.kind == EventKind::ChannelTest;
    let mut fields = Vec::with_capacity(7);
    let mut add = |label, value: Option<String>| fields.extend(value.map(|value| Field::new(label, value)));
    if !is_test {
        let status = match event.trigger {
            Trigger::Failure => "Failure",
            _ => "Success",
        };
        add("Status", Some(status.to_owned()));
    }
    add(event.resource_type.title(), Some(format_resource(event)));
    add(
        if event.resource_type == ResourceType::UseCase { "Execution" } else { "Run" },
        Some(clean_line(&event.run_id)),
    );
    add("Trigger", run.trigger_type.as_ref().map(|how| clean_line(how.as_str())));
    add(if is_test { "Sent" } else { "Completed" }, Some(zone.format_instant(run.completed_at)));
    add("Duration", run.duration_ms.map(format_duration));
    add("Rows", run.row_count.map(with_thousands_separators));
    fields
}

fn format_resource(event: &Event) -> String {
    let id = clean_line(&event.resource_id);
    match event.resource_name().map(clean_line) {
        Some(name) if name != id => format!("{name} ({id})"),
        _ => id,
    }
}

/// A name within a title, on one line.
fn short_name(name: &str) -> String {
    truncate_units(&clean_line(name), NAME_UNITS_MAX)
}

/// An error or reason, cleaned; `None` if nothing of it is visible.
fn detail(text: &str) -> Option<String> {
    // A beginning of many empty lines would push the text out of sight; the indentation of its first line stays.
    let cleaned = clean(text);
    let lines = cleaned.trim_end();
    let start = lines.len() - lines.trim_start().len();
    let start = lines[..start].rfind('\n').map_or(0, |at| at + 1);
    (!is_blank(lines)).then(|| lines[start..].to_owned())
}

fn link(text: &str) -> Option<String> {
    Some(clean_line(text)).filter(|link| !link.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::{failed_flow, incident_event};
    use crate::incident::IncidentTrigger;

    #[test]
    fn failed_run_message_has_all_fields() {
        let message = of(&failed_flow(), Severity::Warning, &Zone::UTC);
        assert_eq!(message.title, "Daily revenue rollup failed");
        assert_eq!(message.summary, "Flow Daily revenue rollup failed after 1.8 s.");
        assert_eq!(message.detail.as_deref(), Some("relation \"orders\" does not exist"));
        let lines: Vec<_> = message.fields.iter().map(|f| format!("{}: {}", f.label, f.value)).collect();
        assert_eq!(
            lines,
            [
                "Status: Failure",
                "Flow: Daily revenue rollup (f1)",
                "Run: 01HX",
                "Trigger: scheduled",
                "Completed: 2026-05-02 04:00:12 UTC",
                "Duration: 1.8 s",
                "Rows: 124"
            ]
        );
    }

    #[test]
    fn shown_label_of_the_source_has_the_style_of_the_others() {
        for (label, shown) in [("instance_id", "Instance id"), ("Team", "Team"), ("éa", "éa"), ("", "")] {
            assert_eq!(Field::new(label, "x").shown_label(), shown);
        }
    }

    #[test]
    fn times_are_in_the_zone_of_the_workspace() {
        let zurich = Zone::from_name("Europe/Zurich").unwrap();
        let run = of(&failed_flow(), Severity::Warning, &zurich);
        assert!(run.fields.contains(&Field::new("Completed", "2026-05-02 06:00:12 CEST")));
        let opened = of(&incident_event(IncidentTrigger::Opened), Severity::Critical, &zurich);
        assert!(opened.fields.contains(&Field::new("Started", "2026-05-02 05:58:00 CEST")));
        assert!(opened.summary.ends_with("at 2026-05-02 05:58:00 CEST."), "{}", opened.summary);
    }

    #[test]
    fn blank_name_falls_back_to_the_id() {
        for blank in ["", " ", "\u{200b}", "\u{1b}[0m"] {
            let mut event = failed_flow();
            event.run_mut().resource_name = Some(blank.into());
            let message = of(&event, Severity::Warning, &Zone::UTC);
            assert_eq!(message.title, "f1 failed", "{blank:?}");
            assert!(message.fields.contains(&Field::new("Flow", "f1")));
        }
    }

    #[test]
    fn every_text_is_cleaned() {
        let mut event = failed_flow();
        let hostile = "\u{1b}[31mx\u{202e}y\u{1b}]0;t\u{7}\rz";
        event.resource_id = hostile.into();
        event.run_id = hostile.into();
        event.run_mut().resource_name = Some(hostile.into());
        event.run_mut().error_message = Some(format!("\n\n  {hostile}\n"));
        event.run_mut().deep_link = Some(format!("https://example.com/{hostile}"));
        let message = of(&event, Severity::Warning, &Zone::UTC);
        assert_eq!(message.title, "xy z failed");
        assert_eq!(message.detail.as_deref(), Some("  xy\nz"));
        assert_eq!(message.link.as_deref(), Some("https://example.com/xy z"));
        assert!(message.fields.contains(&Field::new("Run", "xy z")));
    }

    #[test]
    fn title_of_a_long_name_keeps_its_verb() {
        for name in ["📈".repeat(200), "x".repeat(500), "ä ".repeat(300)] {
            let mut event = failed_flow();
            event.run_mut().resource_name = Some(name);
            let title = of(&event, Severity::Warning, &Zone::UTC).title;
            assert!(title.ends_with("… failed") && title.encode_utf16().count() <= 110, "{title}");
        }
    }

    #[test]
    fn test_message_names_its_channel() {
        let mut event = failed_flow();
        (event.kind, event.resource_type) = (EventKind::ChannelTest, ResourceType::Channel);
        event.run_mut().resource_name = Some("#data-alerts".into());
        let message = of(&event, Severity::Info, &Zone::UTC);
        assert_eq!(message.title, "Test notification from Tidings: #data-alerts");
        assert!(message.fields.contains(&Field::new("Channel", "#data-alerts (f1)")));
    }
}
