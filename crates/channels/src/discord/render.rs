//! A message as one Discord embed.
//!
//! Limits (Discord's "Message Resource: embed limits"): title 256 characters, description 4,096, at most 25 fields with
//! names of 256 and values of 1,024, footer 2,048, and 6,000 for all of them together.

use serde_json::{Value, json};
use tidings_domain::message::Message;
use tidings_domain::severity::Severity;

use super::entries;
use crate::truncate::{
    ZERO_WIDTH_SPACE, escape_fence, one_line, or_placeholder, truncate_escaped, utf16_len, web_link,
};

const TITLE_UNITS_MAX: usize = 256;
const DESCRIPTION_UNITS_MAX: usize = 4_096;
const FIELDS_MAX: usize = 10;
const FIELD_NAME_UNITS_MAX: usize = 80;
/// Ten fields of this length leave a third of the total for the description.
const FIELD_VALUE_UNITS_MAX: usize = 300;
const SUMMARY_UNITS_MAX: usize = 1_000;
const EMBED_UNITS_MAX: usize = 6_000;
const URL_BYTES_MAX: usize = 2_048;
/// Reserved for the fences around the detail.
const FENCE_UNITS: usize = 20;

/// The request's JSON, without user name and avatar.
pub(super) fn render(message: &Message) -> Value {
    let title = or_placeholder(markdown(&one_line(&message.title), TITLE_UNITS_MAX));
    let footer = format!("{} · {}", message.severity.as_str(), message.kind.as_str());
    let fields = fields(message);
    let used: usize =
        utf16_len(&title) + utf16_len(&footer) + fields.iter().map(|(n, v)| utf16_len(n) + utf16_len(v)).sum::<usize>();
    // The description gets what the other parts leave of the total.
    let budget = DESCRIPTION_UNITS_MAX.min(EMBED_UNITS_MAX.saturating_sub(used));
    let mut description = markdown(&message.summary, SUMMARY_UNITS_MAX);
    if !message.entries.is_empty() {
        let left = budget.saturating_sub(utf16_len(&description));
        description.push_str(&entries::render_lines(message, left));
    } else if let Some(detail) = &message.detail {
        let head = format!("{description}\n**{}**", message.detail_label);
        let detail = truncate_escaped(detail, budget.saturating_sub(utf16_len(&head) + FENCE_UNITS), escape_fence);
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
    if let Some(url) = web_link(message.link.as_deref(), URL_BYTES_MAX) {
        embed["url"] = Value::from(url);
    }
    // No mention is resolved, even if one were to get past the escaping.
    json!({"embeds": [embed], "allowed_mentions": {"parse": []}})
}

/// Names and values of the fields. A digest has none: its entries use the space, and its title counts them.
fn fields(message: &Message) -> Vec<(String, String)> {
    if !message.entries.is_empty() {
        return Vec::new();
    }
    let field = |label: &str, value: &str| {
        let name = markdown(&one_line(label), FIELD_NAME_UNITS_MAX);
        (or_placeholder(name), or_placeholder(markdown(value, FIELD_VALUE_UNITS_MAX)))
    };
    let tags = (!message.tags.is_empty()).then(|| field("Tags", &one_line(&message.tags.join(", "))));
    let others_max = FIELDS_MAX - usize::from(tags.is_some());
    message.fields.iter().take(others_max).map(|other| field(&other.shown_label(), &other.value)).chain(tags).collect()
}

/// Text without markdown or mentions of its own, at most `units_max` UTF-16 units once escaped.
pub(super) fn markdown(text: &str, units_max: usize) -> String {
    truncate_escaped(text, units_max, |before, character, out| match character {
        '\\' | '*' | '_' | '~' | '`' | '|' | '[' | ']' | '<' => out.extend(['\\', character]),
        // Headings, quotes and lists start only at the beginning of a line.
        '#' | '>' | '-' if matches!(before, None | Some('\n')) => out.extend(['\\', character]),
        // The zero-width space keeps @everyone and @here from being mentions.
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
mod tests;
