//! The message in Slack's Block Kit.
//!
//! Limits (Slack's Block Kit reference): header 150 characters, a section's text 3,000, at most 10 fields of 2,000,
//! at most 50 blocks, a URL 3,000. Only `&`, `<` and `>` mean something in mrkdwn's own syntax of links and mentions
//! ("Formatting text for app surfaces"); escaped, `<!channel>` and `<@U…>` are words like any other.

use serde_json::{Value, json};
use tidings_domain::message::Message;
use tidings_domain::severity::Severity;

use super::entries;
use crate::truncate::{NOTHING, fenced, fit, link, one_line, plain, sign};

const HEADER_UNITS_MAX: usize = 150;
pub(super) const SECTION_UNITS_MAX: usize = 3_000;
const FIELDS_MAX: usize = 10;
const FIELD_UNITS_MAX: usize = 2_000;
const URL_BYTES_MAX: usize = 3_000;
/// Room that is left for what is put around a text: fences, emoji, labels.
const MARGIN: usize = 100;
const TAGS_UNITS_MAX: usize = 500;
/// So much of what went wrong stands in what a telephone shows of a message.
const GLANCE_UNITS_MAX: usize = 200;

/// The body of the request, without the channel.
pub(super) fn message(message: &Message) -> Value {
    let sign = sign(message.severity);
    let title = fit(&one_line(&message.title), HEADER_UNITS_MAX - 5, plain);
    let mut blocks = vec![json!({
        "type": "header",
        // Plain text: nothing in it is read as markup, and with emoji off neither is :this:.
        "text": {"type": "plain_text", "text": format!("{sign} {title}"), "emoji": false}
    })];
    let summary = mrkdwn(&message.summary, SECTION_UNITS_MAX);
    if !summary.trim().is_empty() {
        blocks.push(section(summary));
    }
    if message.entries.is_empty() {
        // Why, before all other facts.
        blocks.extend(message.detail.as_deref().map(|detail| section(detail_text(message.detail_label, detail))));
        let fields: Vec<_> =
            message.fields.iter().take(FIELDS_MAX).map(|field| field_text(&field.label, &field.value)).collect();
        if !fields.is_empty() {
            blocks.push(json!({"type": "section", "fields": fields}));
        }
    } else {
        blocks.extend(entries::texts(message).into_iter().map(section));
    }
    if let Some(url) = link(message.link.as_deref(), URL_BYTES_MAX - MARGIN)
        && let Some(link) = link_to(url, "Open details")
    {
        blocks.push(section(link));
    }
    blocks.push(json!({"type": "context", "elements": context(message)}));
    json!({"text": preview(message), "blocks": blocks, "unfurl_links": false, "unfurl_media": false})
}

/// What stands where there are no blocks: in the notification on a telephone.
fn preview(message: &Message) -> String {
    let mut preview = format!("{} {}", sign(message.severity), mrkdwn(&message.title, SECTION_UNITS_MAX - MARGIN));
    let first_line = message.detail.as_deref().and_then(|detail| detail.trim().lines().next());
    // What is over needs no reason any more, and a digest says enough in its title.
    if let Some(line) = first_line
        && message.severity != Severity::Success
        && message.entries.is_empty()
    {
        preview.push_str(&format!(": {}", mrkdwn(line, GLANCE_UNITS_MAX)));
    }
    preview
}

fn context(message: &Message) -> Vec<Value> {
    let mut texts = vec![format!("{} · {}", message.severity.as_str(), message.kind.as_str())];
    if !message.tags.is_empty() {
        texts.push(format!("Tags: {}", mrkdwn(&one_line(&message.tags.join(", ")), TAGS_UNITS_MAX)));
    }
    texts.into_iter().map(|text| json!({"type": "mrkdwn", "text": text})).collect()
}

fn detail_text(label: &str, detail: &str) -> String {
    let detail = fit(detail, SECTION_UNITS_MAX - MARGIN, |before, character, out| match character {
        '`' => fenced(before, character, out),
        _ => escape(character, out),
    });
    format!("*{label}*\n```\n{detail}\n```")
}

fn section(text: String) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text}})
}

fn field_text(label: &str, value: &str) -> Value {
    let (label, value) = (mrkdwn(&one_line(label), MARGIN - 10), mrkdwn(value, FIELD_UNITS_MAX - MARGIN));
    json!({"type": "mrkdwn", "text": format!("*{}*\n{}", or_nothing(label), or_nothing(value))})
}

/// Slack wants texts that are not blank.
pub(super) fn or_nothing(text: String) -> String {
    if text.trim().is_empty() { NOTHING.to_owned() } else { text }
}

/// `<url|words>`; a `|` of the URL's own would end it too soon. None if it no longer fits once escaped.
pub(super) fn link_to(url: &str, words: &str) -> Option<String> {
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

pub(super) fn mrkdwn(text: &str, units_max: usize) -> String {
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

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
