//! What a mail says, before it is text or HTML: the message with everything in it cleaned, cut and judged once.

use tidings_domain::event::{Event, EventKind};
use tidings_domain::message;
use tidings_domain::severity::Severity;
use url::Url;

use super::clean;
use crate::Letter;

/// An error's text is cut at this many characters.
pub(super) const DETAIL_CHARS_MAX: usize = 4_000;

/// A value among the facts is cut at this many characters.
const FACT_CHARS_MAX: usize = 300;

/// A mail's content. All text is plain: each form escapes it for itself.
pub(super) struct Content {
    /// How bad it is.
    pub severity: Severity,
    /// All of it in one line.
    pub title: String,
    /// A sentence more.
    pub summary: String,
    /// What went wrong; of many lines.
    pub detail: Option<String>,
    /// Where a person can look at it.
    pub link: Option<Link>,
    /// Labels and values.
    pub facts: Vec<(&'static str, String)>,
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
    fn of(text: &str) -> Option<Self> {
        let text = clean::line(text);
        match Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(Self::Web(url.into())),
            _ if text.is_empty() => None,
            _ => Some(Self::Other(text)),
        }
    }
}

impl Content {
    /// What this letter says.
    pub(super) fn of(letter: &Letter<'_>) -> Self {
        let message = message::of(letter.event, letter.severity);
        let facts = message.fields.into_iter();
        Self {
            severity: message.severity,
            title: clean::line(&message.title),
            summary: clean::line(&message.summary),
            detail: message.detail.map(|text| clean::block(&text, DETAIL_CHARS_MAX)).filter(|text| !text.is_empty()),
            link: message.link.as_deref().and_then(Link::of),
            facts: facts.map(|field| (field.label, clean::block(&clean::line(&field.value), FACT_CHARS_MAX))).collect(),
            reason: reason(letter),
        }
    }

    /// A subject that says it all. It stays the same from one failure of a resource to the next, so that mail clients
    /// put them into one conversation.
    pub(super) fn subject(&self) -> String {
        let mark = match self.severity {
            Severity::Critical => "✗ Critical: ",
            Severity::Warning => "✗ ",
            Severity::Info => "",
            Severity::Success => "✓ ",
        };
        // What looks like an encoded word would be decoded by the reader's client.
        format!("{mark}{}", self.title).replace("=?", "= ?")
    }
}

fn reason(letter: &Letter<'_>) -> String {
    match (letter.event.kind, letter.rule_id) {
        (EventKind::ChannelTest, _) => "Sent by Tidings because somebody asked for a test.".into(),
        (_, Some(_)) => format!(
            "Sent by Tidings because a notification rule for {} names this address.",
            resource_words(letter.event)
        ),
        (_, None) => "Sent by Tidings because a notification names this address.".into(),
    }
}

fn resource_words(event: &Event) -> String {
    let kind = event.resource_type.title().to_lowercase();
    format!("the {kind} {}", clean::block(&clean::line(event.resource_label()), FACT_CHARS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::email::samples;

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
            assert_eq!(Content::of(&samples::letter(&event, severity)).subject(), subject);
        }
        let event = samples::succeeded_query();
        let subject = Content::of(&samples::letter(&event, Severity::Success)).subject();
        assert_eq!(subject, "✓ Active customers by region succeeded");
    }

    #[test]
    fn only_web_links_may_be_clicked() {
        let link = |text: &str| content(|event| event.run.deep_link = Some(text.into())).link;
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
    }

    #[test]
    fn nothing_in_it_acts() {
        let content = content(|event| {
            event.run.resource_name = Some("x\r\nBcc: all@example.com\r\n\r\n\u{1b}[31m=?utf-8?q?y?=".into());
        });
        assert_eq!(content.subject(), "✗ x Bcc: all@example.com = ?utf-8?q?y?= failed");
    }
}
