//! A message in Slack's Block Kit.
//!
//! Limits (Slack's Block Kit reference): header 150 characters, section text 3,000, at most 10 fields of 2,000, at most
//! 50 blocks, URL 3,000. In mrkdwn only `&`, `<` and `>` introduce links and mentions ("Formatting text for app
//! surfaces"); escaped, `<!channel>` and `<@U…>` are plain text.

use serde_json::{Value, json};
use tidings_domain::message::Message;
use tidings_domain::severity::Severity;

use super::entries;
use crate::truncate::{escape_fence, one_line, or_placeholder, severity_emoji, truncate_escaped, unescaped, web_link};

const HEADER_UNITS_MAX: usize = 150;
pub(super) const SECTION_UNITS_MAX: usize = 3_000;
const FIELDS_MAX: usize = 10;
const FIELD_UNITS_MAX: usize = 2_000;
const URL_BYTES_MAX: usize = 3_000;
/// Reserved for what surrounds a text: fences, emoji, labels.
const MARGIN: usize = 100;
const TAGS_UNITS_MAX: usize = 500;
/// How much of the reason the notification on a phone contains.
const PREVIEW_UNITS_MAX: usize = 200;

/// The request's JSON without the channel.
pub(super) fn render(message: &Message) -> Value {
    let emoji = severity_emoji(message.severity);
    let title = truncate_escaped(&one_line(&message.title), HEADER_UNITS_MAX - 5, unescaped);
    let mut blocks = vec![json!({
        "type": "header",
        // `plain_text` has no markup; with `emoji` off, `:name:` is not replaced either.
        "text": {"type": "plain_text", "text": format!("{emoji} {title}"), "emoji": false}
    })];
    let summary = mrkdwn(&message.summary, SECTION_UNITS_MAX);
    if !summary.trim().is_empty() {
        blocks.push(section(summary));
    }
    if message.entries.is_empty() {
        // The reason comes before all fields: it is what one opens the message for.
        blocks.extend(message.detail.as_deref().map(|detail| section(detail_text(message.detail_label, detail))));
        let fields: Vec<_> = message
            .fields
            .iter()
            .take(FIELDS_MAX)
            .map(|field| field_text(&field.shown_label(), &field.value))
            .collect();
        if !fields.is_empty() {
            blocks.push(json!({"type": "section", "fields": fields}));
        }
    } else {
        blocks.extend(entries::render_sections(message).into_iter().map(section));
    }
    if let Some(url) = web_link(message.link.as_deref(), URL_BYTES_MAX - MARGIN)
        && let Some(link) = link_to(url, "Open details")
    {
        blocks.push(section(link));
    }
    blocks.push(json!({"type": "context", "elements": context(message)}));
    json!({"text": preview(message), "blocks": blocks, "unfurl_links": false, "unfurl_media": false})
}

/// The fallback text where blocks are not shown, such as the notification on a phone.
fn preview(message: &Message) -> String {
    let mut preview =
        format!("{} {}", severity_emoji(message.severity), mrkdwn(&message.title, SECTION_UNITS_MAX - MARGIN));
    let first_line = message.detail.as_deref().and_then(|detail| detail.trim().lines().next());
    // A resolved incident needs no reason, and a digest's title is enough.
    if let Some(line) = first_line
        && message.severity != Severity::Success
        && message.entries.is_empty()
    {
        preview.push_str(&format!(": {}", mrkdwn(line, PREVIEW_UNITS_MAX)));
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
    let detail = truncate_escaped(detail, SECTION_UNITS_MAX - MARGIN, |before, character, out| match character {
        '`' => escape_fence(before, character, out),
        _ => escape(character, out),
    });
    format!("*{label}*\n```\n{detail}\n```")
}

fn section(text: String) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text}})
}

fn field_text(label: &str, value: &str) -> Value {
    let (label, value) = (mrkdwn(&one_line(label), MARGIN - 10), mrkdwn(value, FIELD_UNITS_MAX - MARGIN));
    json!({"type": "mrkdwn", "text": format!("*{}*\n{}", or_placeholder(label), or_placeholder(value))})
}

/// `<url|label>`, or `None` if it exceeds a section once escaped. A `|` in the URL would end it and is percent-encoded.
pub(super) fn link_to(url: &str, label: &str) -> Option<String> {
    let mut link = String::from("<");
    for character in url.chars() {
        match character {
            '|' => link.push_str("%7C"),
            _ => escape(character, &mut link),
        }
    }
    link.push_str(&format!("|{label}>"));
    (link.len() <= SECTION_UNITS_MAX).then_some(link)
}

/// Text without markup of its own, at most `units_max` UTF-16 units once escaped.
pub(super) fn mrkdwn(text: &str, units_max: usize) -> String {
    truncate_escaped(text, units_max, |_, character, out| escape(character, out))
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
mod tests;
