//! A message as one Discord embed.
//!
//! Limits (Discord's "Message Resource", "Embed limits", and "Webhook Resource", "Execute webhook"): title 256 characters,
//! description 4,096, at most 25 fields with names of 256 and values of 1,024, neither of them blank, footer 2,048, and 6,000
//! for all of them together; content 2,000. Discord refuses the whole message if one part exceeds its limit, is blank, or is
//! a URL that it finds malformed (code 50035).

use serde_json::{Value, json};
use tidings_domain::message::{Field, Message};
use tidings_domain::severity::Severity;

use super::entries;
use super::markdown::{Escaper, bare_url, markdown};
use crate::link::Link;
use crate::plain;
use crate::truncate::{escape_fence, keep_ends_escaped, or_placeholder, truncate_escaped, utf16_len};

const TITLE_UNITS_MAX: usize = 256;
const DESCRIPTION_UNITS_MAX: usize = 4_096;
const FIELDS_MAX: usize = 25;
const FIELD_NAME_UNITS_MAX: usize = 80;
const FIELD_VALUE_UNITS_MAX: usize = 300;
/// All fields together. What they leave of the total is enough for title, description and footer.
const FIELDS_UNITS_MAX: usize = 3_000;
const SUMMARY_UNITS_MAX: usize = 1_000;
/// The description comes before the fields: a longer detail would push them out of sight.
const DETAIL_UNITS_MAX: usize = 1_000;
const EMBED_UNITS_MAX: usize = 6_000;
const URL_BYTES_MAX: usize = 2_048;
const CONTENT_UNITS_MAX: usize = 2_000;
/// The length of a time as Discord takes it, `2026-05-02T04:00:12.345Z`: years before 0 or after 9999 are longer.
const TIMESTAMP_BYTES: usize = 24;

/// The request's JSON, without user name and avatar.
pub(super) fn render(message: &Message) -> Value {
    let title = or_placeholder(markdown(&message.title, TITLE_UNITS_MAX));
    let footer = format!("{} · {}", message.severity.as_str(), message.kind.as_str());
    let link = message.link.as_deref().and_then(|link| Link::parse(link, URL_BYTES_MAX)).map(Link::with_dotted_host);
    let fields = fields(message, link.as_ref().and_then(Link::text));
    let used: usize =
        utf16_len(&title) + utf16_len(&footer) + fields.iter().map(|(n, v)| utf16_len(n) + utf16_len(v)).sum::<usize>();
    // The description gets what the other parts leave of the total.
    let budget = DESCRIPTION_UNITS_MAX.min(EMBED_UNITS_MAX.saturating_sub(used));
    let mut description = markdown(&message.summary, SUMMARY_UNITS_MAX);
    if !message.entries.is_empty() {
        let left = budget.saturating_sub(utf16_len(&description));
        description.push_str(&entries::render_lines(message, left));
    } else if let Some(detail) = &message.detail {
        let detail = keep_ends_escaped(detail, DETAIL_UNITS_MAX, escape_fence);
        description.push_str(&format!("\n**{}**\n```\n{detail}\n```", message.detail_label));
    }
    let fields: Vec<_> =
        fields.into_iter().map(|(name, value)| json!({"name": name, "value": value, "inline": true})).collect();
    let mut embed = json!({
        "title": title,
        "description": or_placeholder(description),
        "color": color(message.severity),
        "fields": fields,
        "footer": {"text": footer},
    });
    let timestamp = message.timestamp.to_string();
    if timestamp.len() == TIMESTAMP_BYTES {
        embed["timestamp"] = Value::from(timestamp);
    }
    if let Some(url) = link.as_ref().and_then(Link::web) {
        embed["url"] = Value::from(url);
    }
    // No mention is resolved, even if one were to get past the escaping.
    json!({"embeds": [embed], "allowed_mentions": {"parse": []}})
}

/// The message without an embed, for when Discord refuses it.
pub(super) fn render_plain(message: &Message) -> Value {
    let mut escaper = Escaper::default();
    let text = keep_ends_escaped(&plain::render(message), CONTENT_UNITS_MAX, |before, character, out| {
        escaper.write(before, character, out);
    });
    json!({"content": or_placeholder(text), "allowed_mentions": {"parse": []}})
}

/// Names and values of the fields. A digest has only the link, if it is no web link: its entries use the space, and its
/// title counts them.
fn fields(message: &Message, link: Option<&str>) -> Vec<(String, String)> {
    let tags = Some(message.tags.join(", ")).filter(|tags| !tags.is_empty());
    let last = [("Tags", tags.as_deref()), ("Link", link)];
    let last: Vec<_> = last.into_iter().filter_map(|(label, value)| Some(field(label, value?))).collect();
    let others = if message.entries.is_empty() { message.fields.as_slice() } else { &[] };
    let mut used: usize = last.iter().map(units).sum();
    let mut fields: Vec<_> = others
        .iter()
        .take(FIELDS_MAX - last.len())
        .map(|other: &Field| field(&other.shown_label(), &other.value))
        .take_while(|field| {
            used += units(field);
            used <= FIELDS_UNITS_MAX
        })
        .collect();
    fields.extend(last);
    fields
}

fn field(label: &str, value: &str) -> (String, String) {
    let name = markdown(label, FIELD_NAME_UNITS_MAX);
    let value = match bare_url(value) {
        Some(url) => truncate_escaped(url, FIELD_VALUE_UNITS_MAX, |_, character, out| out.push(character)),
        None => markdown(value, FIELD_VALUE_UNITS_MAX),
    };
    (or_placeholder(name), or_placeholder(value))
}

fn units((name, value): &(String, String)) -> usize {
    utf16_len(name) + utf16_len(value)
}

const fn color(severity: Severity) -> u32 {
    match severity {
        Severity::Critical => 0xd9_2d_20,
        Severity::Warning => 0xf7_90_09,
        Severity::Info => 0x2e_90_fa,
        Severity::Success => 0x12_b7_6a,
    }
}

#[cfg(test)]
mod tests;
