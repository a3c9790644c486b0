//! A mail's content before it is text or HTML: the message with every text cut.

use tidings_domain::event::{Event, EventKind};
use tidings_domain::incident::IncidentTrigger;
use tidings_domain::message::Message;
use tidings_domain::severity::Severity;
use tidings_domain::text::{clean_line, keep_ends, truncate_chars};
use tidings_domain::trigger::Trigger;

use super::entries::DigestItem;
use crate::OutboundMessage;
use crate::link::Link;
use crate::truncate::is_short;

/// How much of an error's text is kept.
pub(super) const DETAIL_CHARS_MAX: usize = 4_000;

/// An incident's detail up to this length is set large and fits into the preview.
const PREVIEW_CHARS_MAX: usize = 120;

/// How much of a field's value is kept.
const FIELD_VALUE_CHARS_MAX: usize = 300;

/// How much of a label is kept: alerts bring their own.
const LABEL_CHARS_MAX: usize = 60;

/// A longer link is shown as cut text, not as a link: clients clip large mails.
const URL_BYTES_MAX: usize = 2_048;

/// How many entries of a digest are listed; more would make a mail that clients clip.
pub(super) const ENTRIES_MAX: usize = 50;

/// A mail's content. All texts are plain; each format escapes them itself.
pub(super) struct Content {
    pub severity: Severity,
    /// Understandable without opening the mail.
    pub subject: String,
    pub title: String,
    /// One more sentence.
    pub summary: String,
    pub detail_label: &'static str,
    /// What went wrong, in several lines.
    pub detail: Option<String>,
    pub link: Option<Link>,
    /// Labels and values.
    pub fields: Vec<(String, String)>,
    /// A digest's entries.
    pub items: Vec<DigestItem>,
    /// How many entries are not listed, as a sentence.
    pub more: Option<String>,
    /// Mails with the same one are threaded.
    pub incident_id: Option<String>,
    /// Why the mail was sent.
    pub reason: String,
}

impl Content {
    /// Renders the message's texts.
    pub(super) fn from_message(outbound: &OutboundMessage<'_>) -> Self {
        let message = outbound.texts();
        let is_digest = !message.entries.is_empty();
        let detail = message.detail.as_deref().filter(|_| !is_digest);
        Self {
            severity: message.severity,
            subject: subject(&message),
            title: message.title.clone(),
            summary: message.summary.clone(),
            detail_label: message.detail_label,
            detail: detail.map(|text| keep_ends(text, DETAIL_CHARS_MAX)),
            link: message.link.as_deref().and_then(|link| Link::parse(link, URL_BYTES_MAX)),
            // A digest's title contains the counts already.
            fields: if is_digest { Vec::new() } else { fields(&message) },
            items: message
                .entries
                .iter()
                .take(ENTRIES_MAX)
                .map(|entry| DigestItem::from_entry(&message, entry))
                .collect(),
            more: message.format_overflow(ENTRIES_MAX),
            incident_id: message.thread.map(|thread| thread.id),
            reason: reason(outbound),
        }
    }

    /// Whether the button and the facts stay in sight below `detail`.
    pub(super) fn is_detail_short(&self) -> bool {
        self.detail.as_deref().is_some_and(is_short)
    }

    /// Whether `detail` is short enough to be set large, and still applies.
    pub(super) fn fits_preview(&self) -> bool {
        self.severity != Severity::Success
            && self
                .detail
                .as_deref()
                .is_some_and(|text| text.chars().count() <= PREVIEW_CHARS_MAX && !text.contains('\n'))
    }

    /// What a mail list shows beside the subject: only what the subject lacks.
    pub(super) fn preview(&self) -> String {
        let why = self
            .detail
            .as_deref()
            .and_then(|text| text.lines().next())
            .map(|line| truncate_chars(line, PREVIEW_CHARS_MAX));
        // A digest of one entry has that entry's title.
        let items = self.items.iter().take(3).map(|item| item.title.clone()).filter(|title| *title != self.title);
        why.into_iter().chain(items).chain([self.summary.clone()]).collect::<Vec<_>>().join(" · ")
    }
}

/// A run's subject is the same from one failure of a resource to the next, so that mail clients group them.
///
/// The subjects of an incident differ only in brackets: `[✗ Critical: down] Production API`, later `[✓ recovered]
/// Production API`. Each describes the current state, and for clients that group by subject they are equal: a bracketed
/// prefix is not part of the base subject (RFC 5256), and Gmail, which wants equal subjects beside `References`, is
/// known to ignore it as well. `Re: … is down` would group too, but above a mail that says the opposite.
fn subject(message: &Message) -> String {
    let mark = match message.severity {
        Severity::Critical => "✗ Critical: ",
        Severity::Warning => "✗ ",
        Severity::Info => "",
        Severity::Success => "✓ ",
    };
    let subject = match &message.thread {
        Some(thread) => format!("[{mark}{}] {}", thread.state, thread.about),
        None => format!("{mark}{}", message.title),
    };
    // Otherwise the reader's client would decode what looks like an encoded word.
    subject.trim_end().replace("=?", "= ?")
}

fn fields(message: &Message) -> Vec<(String, String)> {
    // A value of several lines, such as an alert's annotation, would not fit beside its label.
    let cut = |text: &str, chars_max| truncate_chars(&clean_line(text), chars_max);
    let fields = message.fields.iter();
    let fields =
        fields.map(|field| (cut(&field.shown_label(), LABEL_CHARS_MAX), cut(&field.value, FIELD_VALUE_CHARS_MAX)));
    let tags =
        (!message.tags.is_empty()).then(|| ("Tags".to_owned(), cut(&message.tags.join(", "), FIELD_VALUE_CHARS_MAX)));
    fields.chain(tags).collect()
}

fn reason(message: &OutboundMessage<'_>) -> String {
    let because = match (message.event.kind, message.event.trigger, message.rule_id) {
        (EventKind::ChannelTest, ..) => "a test of this channel was requested".into(),
        (EventKind::Digest, ..) => "notifications for this address were held back until now".into(),
        (_, Trigger::Incident(IncidentTrigger::Escalated { .. }), _) => {
            format!("the escalation of {} names this address", describe_resource(message.event))
        }
        (_, _, Some(_)) => format!("a notification rule for {} names this address", describe_resource(message.event)),
        (_, _, None) => "a notification names this address".into(),
    };
    format!("Sent by Tidings because {because}.")
}

fn describe_resource(event: &Event) -> String {
    let kind = event.resource_type.title().to_lowercase();
    format!("the {kind} {}", truncate_chars(&clean_line(event.resource_label()), FIELD_VALUE_CHARS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn content(change: impl FnOnce(&mut Event)) -> Content {
        let mut event = samples::failed_flow();
        change(&mut event);
        Content::from_message(&samples::message(&event, Severity::Warning))
    }

    #[test]
    fn subject_shows_severity() {
        let event = samples::failed_flow();
        for (severity, subject) in [
            (Severity::Critical, "✗ Critical: Daily revenue rollup failed"),
            (Severity::Warning, "✗ Daily revenue rollup failed"),
            (Severity::Info, "Daily revenue rollup failed"),
        ] {
            assert_eq!(Content::from_message(&samples::message(&event, severity)).subject, subject);
        }
        let event = samples::succeeded_query();
        let subject = Content::from_message(&samples::message(&event, Severity::Success)).subject;
        assert_eq!(subject, "✓ Active customers by region succeeded");
    }

    #[test]
    fn subject_of_an_incident_differs_in_brackets_only() {
        use IncidentTrigger::{Escalated, Opened, Reminder, Resolved, Worsened};
        for (trigger, severity, subject) in [
            (Opened, Severity::Critical, "[✗ Critical: down] Production API"),
            (Worsened, Severity::Critical, "[✗ Critical: now down] Production API"),
            (Reminder { number: 2 }, Severity::Critical, "[✗ Critical: still down] Production API"),
            (Escalated { after_seconds: 900 }, Severity::Warning, "[✗ still down, not acknowledged] Production API"),
            (Resolved, Severity::Success, "[✓ recovered] Production API"),
        ] {
            let event = samples::incident(trigger);
            let content = Content::from_message(&samples::message(&event, severity));
            assert_eq!(content.subject, subject);
            assert_eq!(content.incident_id.as_deref(), Some(&*event.run_id));
        }
    }

    #[test]
    fn preview_starts_with_the_reason() {
        let preview = |event: &Event| Content::from_message(&samples::message(event, Severity::Critical)).preview();
        let opened = preview(&samples::incident(IncidentTrigger::Opened));
        assert!(opened.starts_with("HTTP 502 — expected 200 · Production API is down."), "{opened}");
        let digest = preview(&samples::digest(4));
        assert!(digest.starts_with("Production API is down · Checkout is degraded · "), "{digest}");
    }

    #[test]
    fn reason_names_rule_or_escalation() {
        let reason = |event: &Event| Content::from_message(&samples::message(event, Severity::Critical)).reason;
        for (trigger, because) in [
            (IncidentTrigger::Opened, "a notification rule for the endpoint Production API names"),
            (IncidentTrigger::Escalated { after_seconds: 1 }, "the escalation of the endpoint Production API names"),
        ] {
            assert_eq!(reason(&samples::incident(trigger)), format!("Sent by Tidings because {because} this address."));
        }
        assert!(reason(&samples::digest(1)).contains("held back"));
    }

    #[test]
    fn subject_control_characters_and_encoded_words_are_removed() {
        let content = content(|event| {
            event.run_mut().resource_name = Some("x\r\nBcc: all@example.com\r\n\r\n\u{1b}[31m=?utf-8?q?y?=".into());
        });
        assert_eq!(content.subject, "✗ x Bcc: all@example.com = ?utf-8?q?y?= failed");
    }
}
