//! A message in Slack's Block Kit.
//!
//! Limits (Slack's reference, "Header block", "Section block", "Context block", "Text object" and "Blocks"): header 150
//! characters, text of a section 1 to 3,000, at most 10 fields of 2,000 each, at most 10 elements of a context, at most 50
//! blocks. Slack refuses the whole message if one part exceeds its limit or is empty.

use serde_json::{Value, json};
use tidings_domain::message::{Field, Message};
use tidings_domain::severity::Severity;

use super::entries;
use super::mrkdwn::{escape, is_literal, link_to, mrkdwn, mrkdwn_object, plain_object};
use crate::link::Link;
use crate::plain;
use crate::truncate::{
    escape_fence, is_short, keep_ends_escaped, or_placeholder, severity_emoji, truncate_escaped, unescaped,
};

const HEADER_UNITS_MAX: usize = 150;
pub(super) const SECTION_UNITS_MAX: usize = 3_000;
const SUMMARY_UNITS_MAX: usize = 1_000;
/// More would push the facts of other messages out of sight.
const DETAIL_UNITS_MAX: usize = 1_500;
/// Fields of one section.
const FIELDS_MAX: usize = 10;
const SECTIONS_OF_FIELDS_MAX: usize = 3;
const LABEL_UNITS_MAX: usize = 80;
const VALUE_UNITS_MAX: usize = 500;
const URL_BYTES_MAX: usize = 2_048;
const TAGS_UNITS_MAX: usize = 500;
/// How much of the reason the notification on a phone contains.
const PREVIEW_UNITS_MAX: usize = 200;
const PLAIN_UNITS_MAX: usize = 3_000;

/// The request's JSON without the channel.
pub(super) fn render(message: &Message) -> Value {
    let emoji = severity_emoji(message.severity);
    let title = or_placeholder(truncate_escaped(&message.title, HEADER_UNITS_MAX - 5, unescaped));
    let mut blocks = vec![json!({"type": "header", "text": plain_object(format!("{emoji} {title}"))})];
    let summary = truncate_escaped(&message.summary, SUMMARY_UNITS_MAX, unescaped);
    if !summary.trim().is_empty() {
        blocks.push(section(plain_object(summary)));
    }
    if message.entries.is_empty() {
        let detail = message.detail.as_deref().map(|detail| section(detail_object(message.detail_label, detail)));
        let is_first = message.detail.as_deref().is_some_and(is_short);
        blocks.extend(detail.clone().filter(|_| is_first));
        let fields: Vec<_> = message.fields.iter().map(field_object).collect();
        let sections = fields.chunks(FIELDS_MAX).take(SECTIONS_OF_FIELDS_MAX);
        blocks.extend(sections.map(|fields| json!({"type": "section", "fields": fields})));
        blocks.extend(detail.filter(|_| !is_first));
    } else {
        blocks.extend(entries::render_sections(message).into_iter().map(|text| section(mrkdwn_object(text))));
    }
    let link = message.link.as_deref().and_then(|link| Link::parse(link, URL_BYTES_MAX));
    blocks.extend(link.map(|link| section(link_object(&link))));
    blocks.push(json!({"type": "context", "elements": context(message)}));
    // The text is shown where blocks are not, such as in the notification on a phone.
    json!({"text": preview(message), "mrkdwn": false, "blocks": blocks, "unfurl_links": false, "unfurl_media": false})
}

/// The message without blocks, for when Slack refuses them.
pub(super) fn render_plain(message: &Message) -> Value {
    let text = plain::render(message);
    let text = keep_ends_escaped(&text, PLAIN_UNITS_MAX, escape);
    json!({"text": text, "mrkdwn": false, "unfurl_links": false, "unfurl_media": false})
}

fn preview(message: &Message) -> String {
    let mut preview = format!(
        "{} {}",
        severity_emoji(message.severity),
        or_placeholder(truncate_escaped(&message.title, SUMMARY_UNITS_MAX, escape))
    );
    let first_line = message.detail.as_deref().and_then(|detail| detail.trim().lines().next());
    // A resolved incident needs no reason, and a digest's title is enough.
    if let Some(line) = first_line
        && message.severity != Severity::Success
        && message.entries.is_empty()
    {
        preview.push_str(&format!(": {}", truncate_escaped(line, PREVIEW_UNITS_MAX, escape)));
    }
    preview
}

fn context(message: &Message) -> Vec<Value> {
    let mut texts = vec![mrkdwn_object(format!("{} · {}", message.severity.as_str(), message.kind.as_str()))];
    if !message.tags.is_empty() {
        let tags = truncate_escaped(&message.tags.join(", "), TAGS_UNITS_MAX, unescaped);
        texts.push(plain_object(format!("Tags: {tags}")));
    }
    texts
}

fn detail_object(label: &str, detail: &str) -> Value {
    let detail = keep_ends_escaped(detail, DETAIL_UNITS_MAX, |before, character, out| match character {
        '`' => escape_fence(before, character, out),
        _ => escape(before, character, out),
    });
    mrkdwn_object(format!("*{label}*\n```\n{detail}\n```"))
}

fn section(text: Value) -> Value {
    json!({"type": "section", "text": text})
}

fn field_object(field: &Field) -> Value {
    let (label, value) = (field.shown_label(), field.value.as_str());
    let is_literal = is_literal(&label) && is_literal(value);
    let write = if is_literal { escape } else { unescaped };
    let label = or_placeholder(truncate_escaped(&label, LABEL_UNITS_MAX, write));
    let value = or_placeholder(truncate_escaped(value, VALUE_UNITS_MAX, write));
    if is_literal { mrkdwn_object(format!("*{label}*\n{value}")) } else { plain_object(format!("{label}\n{value}")) }
}

fn link_object(link: &Link) -> Value {
    match link {
        Link::Web(url) => match link_to(url, "Open details", SECTION_UNITS_MAX) {
            Some(link) => mrkdwn_object(link),
            // Escapes can make a URL of many ampersands five times as long.
            None => plain_object(format!("Details: {url}")),
        },
        Link::Text(text) => plain_object(format!("Details: {text}")),
    }
}

/// An entry's title as a link, if it has one.
pub(super) fn linked(title: &str, link: Option<&Link>, units_max: usize) -> String {
    let title = or_placeholder(mrkdwn(title, units_max));
    link.and_then(Link::web).and_then(|url| link_to(url, &title, SECTION_UNITS_MAX)).unwrap_or(title)
}

#[cfg(test)]
mod tests;
