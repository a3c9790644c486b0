//! The message as one Discord embed.
//!
//! Limits (Discord's "Message Resource: embed limits"): title 256 characters, description 4,096, at most 25 fields
//! with names of 256 and values of 1,024, footer 2,048, and 6,000 for all of these together.

use serde_json::{Value, json};
use tidings_domain::message::Message;
use tidings_domain::severity::Severity;

use super::entries;
use crate::truncate::{NOTHING, ZERO_WIDTH_SPACE, fenced, fit, link, one_line, units};

const TITLE_UNITS_MAX: usize = 256;
const DESCRIPTION_UNITS_MAX: usize = 4_096;
const FIELDS_MAX: usize = 10;
const FIELD_NAME_UNITS_MAX: usize = 80;
/// Ten fields as long as this leave the description a third of the whole.
const FIELD_VALUE_UNITS_MAX: usize = 300;
const SUMMARY_UNITS_MAX: usize = 1_000;
const EMBED_UNITS_MAX: usize = 6_000;
const URL_BYTES_MAX: usize = 2_048;
/// Room for the fences around a detail.
const FENCES: usize = 20;

/// The body of the request, without name and avatar.
pub(super) fn message(message: &Message) -> Value {
    let title = or_nothing(markdown(&one_line(&message.title), TITLE_UNITS_MAX));
    let footer = format!("{} · {}", message.severity.as_str(), message.kind.as_str());
    let fields = fields(message);
    let spent: usize = units(&title) + units(&footer) + fields.iter().map(|(n, v)| units(n) + units(v)).sum::<usize>();
    let room = DESCRIPTION_UNITS_MAX.min(EMBED_UNITS_MAX.saturating_sub(spent));
    let mut description = markdown(&message.summary, SUMMARY_UNITS_MAX);
    if !message.entries.is_empty() {
        let left = room.saturating_sub(units(&description));
        description.push_str(&entries::text(message, left));
    } else if let Some(detail) = &message.detail {
        let head = format!("{description}\n**{}**", message.detail_label);
        let detail = fit(detail, room.saturating_sub(units(&head) + FENCES), fenced);
        description = format!("{head}\n```\n{detail}\n```");
    }
    let fields: Vec<_> =
        fields.into_iter().map(|(name, value)| json!({"name": name, "value": value, "inline": true})).collect();
    let mut embed = json!({
        "title": title,
        "description": description,
        "color": color(message.severity),
        "fields": fields,
        "footer": {"text": footer},
        "timestamp": message.timestamp,
    });
    if let Some(url) = link(message.link.as_deref(), URL_BYTES_MAX) {
        embed["url"] = Value::from(url);
    }
    json!({"embeds": [embed], "allowed_mentions": {"parse": []}})
}

/// Names and values. A digest has none: its entries need the room, and its title counts them.
fn fields(message: &Message) -> Vec<(String, String)> {
    if !message.entries.is_empty() {
        return Vec::new();
    }
    let field = |label: &str, value: &str| {
        let name = markdown(&one_line(label), FIELD_NAME_UNITS_MAX);
        (or_nothing(name), or_nothing(markdown(value, FIELD_VALUE_UNITS_MAX)))
    };
    let tags = (!message.tags.is_empty()).then(|| field("Tags", &one_line(&message.tags.join(", "))));
    let facts_max = FIELDS_MAX - usize::from(tags.is_some());
    message.fields.iter().take(facts_max).map(|fact| field(&fact.label, &fact.value)).chain(tags).collect()
}

/// Discord wants names and values that are not blank.
pub(super) fn or_nothing(text: String) -> String {
    if text.trim().is_empty() { NOTHING.to_owned() } else { text }
}

/// Text that Discord shows as it is: markdown and mentions are escaped.
pub(super) fn markdown(text: &str, units_max: usize) -> String {
    fit(text, units_max, |before, character, out| match character {
        '\\' | '*' | '_' | '~' | '`' | '|' | '[' | ']' | '<' => out.extend(['\\', character]),
        // Only at the beginning of a line are these headings, quotes and lists.
        '#' | '>' | '-' if matches!(before, None | Some('\n')) => out.extend(['\\', character]),
        // @everyone and @here are words when something stands between.
        '@' => out.extend(['@', ZERO_WIDTH_SPACE]),
        _ => out.push(character),
    })
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
#[path = "render_tests.rs"]
mod tests;
