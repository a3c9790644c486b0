//! What a mail says, before it is text or HTML: the message with everything in it cleaned, cut and judged once.

use tidings_domain::event::{Event, EventKind};
use tidings_domain::incident::IncidentTrigger;
use tidings_domain::message::{self, Message};
use tidings_domain::severity::Severity;
use tidings_domain::trigger::Trigger;
use url::Url;

use super::clean;
use super::entries::Item;
use crate::OutboundMessage;

/// An error's text is cut at this many characters.
pub(super) const DETAIL_CHARS_MAX: usize = 4_000;

/// What went wrong stands above the button if it is no longer than this, so that the button is seen as well.
const SHORT_CHARS_MAX: usize = 500;
const SHORT_LINES_MAX: usize = 6;

/// Of an incident it is set large if it is no longer than this.
const GLANCE_CHARS_MAX: usize = 120;

/// A value among the facts is cut at this many characters.
const FACT_CHARS_MAX: usize = 300;

/// A label is cut at this many: those of alerts are not ours.
const LABEL_CHARS_MAX: usize = 60;

/// A link that is longer is only shown, and cut: a mail that is too large is clipped.
const URL_BYTES_MAX: usize = 2_048;

/// So many entries of a digest are listed: more than one reads, and not yet a mail that clients clip.
pub(super) const ENTRIES_MAX: usize = 50;

/// A mail's content. All text is plain: each form escapes it for itself.
pub(super) struct Content {
    /// How bad it is.
    pub severity: Severity,
    /// A subject that says it all.
    pub subject: String,
    /// All of it in one line.
    pub title: String,
    /// A sentence more.
    pub summary: String,
    /// What `detail` is.
    pub detail_label: &'static str,
    /// What went wrong; of many lines.
    pub detail: Option<String>,
    /// Where a person can look at it.
    pub link: Option<Link>,
    /// Labels and values.
    pub facts: Vec<(String, String)>,
    /// What a digest lists.
    pub items: Vec<Item>,
    /// How many more there are.
    pub more: Option<String>,
    /// The incident that it tells of: mails of the same one belong together.
    pub incident_id: Option<String>,
    /// Why one gets this mail.
    pub reason: String,
}

/// A deep link.
pub(super) enum Link {
    /// One that may be clicked: `http` or `https`.
    Web(String),
    /// One that is only shown.
    Other(String),
}

impl Link {
    /// The link, if there is text.
    pub(super) fn of(text: &str) -> Option<Self> {
        let text = clean::line(text);
        match Url::parse(&text) {
            Ok(url)
                if matches!(url.scheme(), "http" | "https")
                    && url.has_host()
                    && url.as_str().len() <= URL_BYTES_MAX =>
            {
                Some(Self::Web(url.into()))
            }
            _ if text.is_empty() => None,
            _ => Some(Self::Other(clean::block(&text, FACT_CHARS_MAX))),
        }
    }
}

impl Content {
    /// What this letter says.
    pub(super) fn of(letter: &OutboundMessage<'_>) -> Self {
        let message = message::of(letter.event, letter.severity);
        let is_digest = !message.entries.is_empty();
        let detail = message.detail.as_deref().filter(|_| !is_digest);
        Self {
            severity: message.severity,
            subject: subject(&message),
            title: clean::line(&message.title),
            summary: clean::line(&message.summary),
            detail_label: message.detail_label,
            detail: detail.map(|text| clean::block(text, DETAIL_CHARS_MAX)).filter(|text| !text.is_empty()),
            link: message.link.as_deref().and_then(Link::of),
            // The title of a digest counts already.
            facts: if is_digest { Vec::new() } else { facts(&message) },
            items: message.entries.iter().take(ENTRIES_MAX).map(Item::of).collect(),
            more: message.format_overflow(ENTRIES_MAX),
            incident_id: message.thread.map(|thread| thread.id),
            reason: reason(letter),
        }
    }

    /// Whether `detail` leaves room for the button below it.
    pub(super) fn is_detail_short(&self) -> bool {
        self.detail
            .as_deref()
            .is_some_and(|text| text.chars().count() <= SHORT_CHARS_MAX && text.lines().count() <= SHORT_LINES_MAX)
    }

    /// Whether `detail` can be read at a preview, and is still so.
    pub(super) fn fits_preview(&self) -> bool {
        self.severity != Severity::Success
            && self
                .detail
                .as_deref()
                .is_some_and(|text| text.chars().count() <= GLANCE_CHARS_MAX && !text.contains('\n'))
    }

    /// What a list of mails shows beside the subject: what that does not say yet.
    pub(super) fn preview(&self) -> String {
        let why = self
            .detail
            .as_deref()
            .and_then(|text| text.lines().next())
            .map(|line| clean::block(line, GLANCE_CHARS_MAX));
        // A list of one is the title.
        let items = self.items.iter().take(3).map(|item| item.title.clone()).filter(|title| *title != self.title);
        why.into_iter().chain(items).chain([self.summary.clone()]).collect::<Vec<_>>().join(" · ")
    }
}

/// A run's subject stays the same from one failure of a resource to the next, so that mail clients put them into one
/// conversation.
///
/// Those of an incident differ in what stands in brackets: `[✗ Critical: down] Production API`, later
/// `[✓ recovered] Production API`. Each says what is so now, and to clients that go by the subject they are all the
/// same: what stands in brackets in front is no part of the base subject (RFC 5256), and Gmail, which wants equal
/// subjects beside `References`, is known to leave it out too. A `Re: … is down` would thread as well, but over a mail
/// that says the opposite.
fn subject(message: &Message) -> String {
    let mark = match message.severity {
        Severity::Critical => "✗ Critical: ",
        Severity::Warning => "✗ ",
        Severity::Info => "",
        Severity::Success => "✓ ",
    };
    let subject = match &message.thread {
        Some(thread) => format!("[{mark}{}] {}", thread.state, clean::line(&thread.about)),
        None => format!("{mark}{}", clean::line(&message.title)),
    };
    // What looks like an encoded word would be decoded by the reader's client.
    subject.trim_end().replace("=?", "= ?")
}

fn facts(message: &Message) -> Vec<(String, String)> {
    let cut = |text: &str, chars_max| clean::block(&clean::line(text), chars_max);
    let facts = message.fields.iter();
    let facts = facts.map(|field| (cut(&field.label, LABEL_CHARS_MAX), cut(&field.value, FACT_CHARS_MAX)));
    let tags = (!message.tags.is_empty()).then(|| ("Tags".to_owned(), cut(&message.tags.join(", "), FACT_CHARS_MAX)));
    facts.chain(tags).collect()
}

fn reason(letter: &OutboundMessage<'_>) -> String {
    let because = match (letter.event.kind, letter.event.trigger, letter.rule_id) {
        (EventKind::ChannelTest, ..) => "somebody asked for a test".into(),
        (EventKind::Digest, ..) => "notifications for this address were held back until now".into(),
        (_, Trigger::Incident(IncidentTrigger::Escalated { .. }), _) => {
            format!("the escalation of {} names this address", resource_words(letter.event))
        }
        (_, _, Some(_)) => format!("a notification rule for {} names this address", resource_words(letter.event)),
        (_, _, None) => "a notification names this address".into(),
    };
    format!("Sent by Tidings because {because}.")
}

fn resource_words(event: &Event) -> String {
    let kind = event.resource_type.title().to_lowercase();
    format!("the {kind} {}", clean::block(&clean::line(event.resource_label()), FACT_CHARS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn content(change: impl FnOnce(&mut Event)) -> Content {
        let mut event = samples::failed_flow();
        change(&mut event);
        Content::of(&samples::letter(&event, Severity::Warning))
    }

    #[test]
    fn the_subject_says_how_bad_it_is() {
        let event = samples::failed_flow();
        for (severity, subject) in [
            (Severity::Critical, "✗ Critical: Daily revenue rollup failed"),
            (Severity::Warning, "✗ Daily revenue rollup failed"),
            (Severity::Info, "Daily revenue rollup failed"),
        ] {
            assert_eq!(Content::of(&samples::letter(&event, severity)).subject, subject);
        }
        let event = samples::succeeded_query();
        let subject = Content::of(&samples::letter(&event, Severity::Success)).subject;
        assert_eq!(subject, "✓ Active customers by region succeeded");
    }

    #[test]
    fn the_subjects_of_an_incident_differ_in_brackets_only() {
        use IncidentTrigger::{Escalated, Opened, Reminder, Resolved, Worsened};
        for (trigger, severity, subject) in [
            (Opened, Severity::Critical, "[✗ Critical: down] Production API"),
            (Worsened, Severity::Critical, "[✗ Critical: now down] Production API"),
            (Reminder { number: 2 }, Severity::Critical, "[✗ Critical: still down] Production API"),
            (Escalated { after_seconds: 900 }, Severity::Warning, "[✗ still down, not acknowledged] Production API"),
            (Resolved, Severity::Success, "[✓ recovered] Production API"),
        ] {
            let event = samples::outage(trigger);
            let content = Content::of(&samples::letter(&event, severity));
            assert_eq!(content.subject, subject);
            assert_eq!(content.incident_id.as_deref(), Some(&*event.run_id));
        }
    }

    #[test]
    fn what_is_seen_first_says_why() {
        let preview = |event: &Event| Content::of(&samples::letter(event, Severity::Critical)).preview();
        let opened = preview(&samples::outage(IncidentTrigger::Opened));
        assert!(opened.starts_with("HTTP 502 — expected 200 · Production API is down."), "{opened}");
        let digest = preview(&samples::digest(4));
        assert!(digest.starts_with("Production API is down · Checkout is degraded · "), "{digest}");
    }

    #[test]
    fn it_says_why_one_gets_it() {
        let reason = |event: &Event| Content::of(&samples::letter(event, Severity::Critical)).reason;
        for (trigger, words) in [
            (IncidentTrigger::Opened, "a notification rule for the endpoint Production API names"),
            (IncidentTrigger::Escalated { after_seconds: 1 }, "the escalation of the endpoint Production API names"),
        ] {
            assert_eq!(reason(&samples::outage(trigger)), format!("Sent by Tidings because {words} this address."));
        }
        assert!(reason(&samples::digest(1)).contains("held back"));
    }

    #[test]
    fn only_web_links_may_be_clicked() {
        let link = |text: &str| content(|event| event.run_mut().deep_link = Some(text.into())).link;
        for (text, href) in [
            ("https://app.example.com/f1?a=1&b=2#x", "https://app.example.com/f1?a=1&b=2#x"),
            ("HTTP://App.Example.com", "http://app.example.com/"),
            ("https://app.example.com/a b\"<", "https://app.example.com/a%20b%22%3C"),
        ] {
            assert!(matches!(link(text), Some(Link::Web(kept)) if kept == href), "{text}");
        }
        for text in ["javascript:alert(1)", "data:text/html,x", "/relative", "mailto:a@example.com", "java\0script:x"] {
            assert!(matches!(link(text), Some(Link::Other(_))), "{text}");
        }
        assert!(link(" \r\n").is_none());
        assert!(matches!(link(&format!("https://a/{}", "é".repeat(900))), Some(Link::Other(cut)) if cut.len() < 700));
    }

    #[test]
    fn nothing_in_it_acts() {
        let content = content(|event| {
            event.run_mut().resource_name = Some("x\r\nBcc: all@example.com\r\n\r\n\u{1b}[31m=?utf-8?q?y?=".into());
        });
        assert_eq!(content.subject, "✗ x Bcc: all@example.com = ?utf-8?q?y?= failed");
    }
}
