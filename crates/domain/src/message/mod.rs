//! The message: what a person is told, before a channel gives it its own form.

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

pub use digest_text::format_state;

/// A line of facts: what it is, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// What it is, such as `Duration`.
    pub label: Cow<'static, str>,
    /// What it says, such as `1.8 s`.
    pub value: String,
}

impl Field {
    /// A line of facts.
    pub fn new(label: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        Self { label: label.into(), value: value.into() }
    }
}

/// What a person is told of an event. All text is plain; each channel escapes it for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The kind of event.
    pub kind: EventKind,
    /// How bad it is.
    pub severity: Severity,
    /// All of it in one line, such as `Daily revenue rollup failed`.
    pub title: String,
    /// A sentence more.
    pub summary: String,
    /// What `detail` is, such as `Error`.
    pub detail_label: &'static str,
    /// What went wrong, as the source reported it; may be long and of many lines. For a digest its entries as text, for
    /// those who do not list `entries` themselves.
    pub detail: Option<String>,
    /// Where a person can look at it.
    pub link: Option<String>,
    /// The facts, most telling first.
    pub fields: Vec<Field>,
    /// Words of the user's own.
    pub tags: Vec<String>,
    /// What a digest lists: what is still open first.
    pub entries: Vec<Entry>,
    /// How many more there are that a digest does not list.
    pub entries_left: u32,
    /// What it goes on with, if it is one of several messages about the same.
    pub thread: Option<Thread>,
    /// When it happened.
    pub timestamp: Timestamp,
}

/// What joins the messages about one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// The incident's id.
    pub id: String,
    /// What it is about: the same in each of its messages, such as `Production API`.
    pub about: String,
    /// How that stands as of this message, such as `down` or `recovered`.
    pub state: &'static str,
}

/// Names are cut at this many characters within a title.
const NAME_CHARS_MAX: usize = 120;

/// The message of an event, for a rule to which it is this bad.
pub fn of(event: &Event, severity: Severity) -> Message {
    match &event.content {
        Content::Run(run) => of_run(event, run, severity),
        Content::Incident(outage) => incident_text::of(event, outage, severity),
        Content::Digest(digest) => digest_text::of(event, digest, severity),
    }
}

fn of_run(event: &Event, run: &Run, severity: Severity) -> Message {
    let (title, summary) = match event.kind {
        EventKind::ChannelTest => (
            "Test notification from Tidings".to_owned(),
            "This channel works. Real notifications will look like this one.".to_owned(),
        ),
        _ => run_words(event, run),
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

fn run_words(event: &Event, run: &Run) -> (String, String) {
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
    add("Resource", Some(resource_words(event)));
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

/// An instant as messages say it: `2026-05-02 04:00:12 UTC`.
pub fn format_instant(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn resource_words(event: &Event) -> String {
    match event.resource_name() {
        Some(name) if *name != event.resource_id => format!("{name} ({})", event.resource_id),
        _ => event.resource_id.clone(),
    }
}

/// `1234567` as `1,234,567`.
pub fn with_thousands_separators(number: u64) -> String {
    let digits = number.to_string();
    let mut words = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            words.push(',');
        }
        words.push(digit);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::failed_flow;

    #[test]
    fn a_failed_run_says_it_all() {
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

    #[test]
    fn numbers_are_grouped() {
        for (number, words) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(with_thousands_separators(number), words);
        }
    }
}
