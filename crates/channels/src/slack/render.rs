//! The message in Slack's Block Kit.
//!
//! Limits (Slack's Block Kit reference): header 150 characters, a section's text 3,000, at most 10 fields of 2,000,
//! at most 50 blocks, a URL 3,000. Only `&`, `<` and `>` mean something in mrkdwn's own syntax of links and mentions
//! ("Formatting text for app surfaces"); escaped, `<!channel>` and `<@U…>` are words like any other.

use serde_json::{Value, json};
use tidings_domain::message::Message;
use tidings_domain::severity::Severity;

use crate::fit::{NOTHING, fenced, fit, link, plain};

const HEADER_UNITS_MAX: usize = 150;
const SECTION_UNITS_MAX: usize = 3_000;
const FIELDS_MAX: usize = 10;
const FIELD_UNITS_MAX: usize = 2_000;
const URL_BYTES_MAX: usize = 3_000;
/// Room that is left for what is put around a text: fences, emoji, labels.
const MARGIN: usize = 100;

/// The body of the request, without the channel.
pub(super) fn message(message: &Message) -> Value {
    let sign = sign(message.severity);
    let title = fit(&message.title, HEADER_UNITS_MAX - 5, plain);
    let mut blocks = vec![json!({
        "type": "header",
        // Plain text: nothing in it is read as markup, and with emoji off neither is :this:.
        "text": {"type": "plain_text", "text": format!("{sign} {title}"), "emoji": false}
    })];
    let summary = mrkdwn(&message.summary, SECTION_UNITS_MAX);
    if !summary.trim().is_empty() {
        blocks.push(section(summary.clone()));
    }
    let fields: Vec<_> =
        message.fields.iter().take(FIELDS_MAX).map(|field| field_text(field.label, &field.value)).collect();
    if !fields.is_empty() {
        blocks.push(json!({"type": "section", "fields": fields}));
    }
    if let Some(detail) = &message.detail {
        let detail = fit(detail, SECTION_UNITS_MAX - MARGIN, |before, character, out| match character {
            '`' => fenced(before, character, out),
            _ => escape(character, out),
        });
        blocks.push(section(format!("```\n{detail}\n```")));
    }
    if let Some(url) = link(message.link.as_deref(), URL_BYTES_MAX - MARGIN)
        && let Some(link) = link_to(url, "Open details")
    {
        blocks.push(section(link));
    }
    let context = format!("{} · {}", message.severity.as_str(), message.kind.as_str());
    blocks.push(json!({"type": "context", "elements": [{"type": "mrkdwn", "text": context}]}));
    let fallback = format!("{sign} {}", mrkdwn(&message.title, SECTION_UNITS_MAX - MARGIN));
    json!({"text": fallback, "blocks": blocks, "unfurl_links": false, "unfurl_media": false})
}

fn section(text: String) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text}})
}

fn field_text(label: &str, value: &str) -> Value {
    let value = mrkdwn(value, FIELD_UNITS_MAX - MARGIN);
    let value = if value.trim().is_empty() { NOTHING } else { &value };
    json!({"type": "mrkdwn", "text": format!("*{}*\n{value}", mrkdwn(label, MARGIN - 10))})
}

/// `<url|words>`; a `|` of the URL's own would end it too soon. None if it no longer fits once escaped.
fn link_to(url: &str, words: &str) -> Option<String> {
    let mut link = String::from("<");
    for character in url.chars() {
        match character {
            '|' => link.push_str("%7C"),
            _ => escape(character, &mut link),
        }
    }
    link.push_str(&format!("|{words}>"));
    (link.len() <= SECTION_UNITS_MAX).then_some(link)
}

fn mrkdwn(text: &str, units_max: usize) -> String {
    fit(text, units_max, |_, character, out| escape(character, out))
}

fn escape(character: char, out: &mut String) {
    match character {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        _ => out.push(character),
    }
}

const fn sign(severity: Severity) -> char {
    match severity {
        Severity::Critical => '🔴',
        Severity::Warning => '🟠',
        Severity::Info => '🔵',
        Severity::Success => '🟢',
    }
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
