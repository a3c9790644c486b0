//! A digest's entries in an embed's description: one line per entry with severity, link and time.

use tidings_domain::digest::Entry;
use tidings_domain::message::{Message, format_state, with_thousands_separators};

use super::render::markdown;
use crate::truncate::{one_line, or_placeholder, severity_emoji, utf16_len, web_link};

const TITLE_UNITS_MAX: usize = 150;
/// Longer links are omitted, to leave space for other entries.
const URL_BYTES_MAX: usize = 300;
/// Reserved for the last line, which counts the entries left out.
const MORE_UNITS: usize = 40;

/// The text after the summary, at most `units_max` UTF-16 units: ongoing entries first, then the others.
pub(super) fn render_lines(message: &Message, units_max: usize) -> String {
    let mut text = String::new();
    let (mut listed, mut state, mut used) = (0, None, 0);
    for entry in &message.entries {
        let head = match state {
            Some(same) if same == entry.state => "\n".to_owned(),
            _ => format!("\n\n**{}**\n", format_state(entry.state)),
        };
        let line = format!("{head}{}", render_entry(entry));
        used += utf16_len(&line);
        if used + MORE_UNITS > units_max {
            break;
        }
        text.push_str(&line);
        state = Some(entry.state);
        listed += 1;
    }
    if let Some(more) = message.format_overflow(listed) {
        text.push_str(&format!("\n\n{more}"));
    }
    text
}

fn render_entry(entry: &Entry) -> String {
    let title = or_placeholder(markdown(&one_line(&entry.title), TITLE_UNITS_MAX));
    let title = match web_link(entry.link.as_deref(), URL_BYTES_MAX) {
        Some(url) => format!("[{title}]({})", escape_url(url)),
        None => title,
    };
    // Discord shows `<t:…>` in the reader's own time zone.
    let mut line = format!("{} {title} · <t:{}:f>", severity_emoji(entry.severity), entry.at.unix_seconds());
    if entry.events > 1 {
        line.push_str(&format!(" · {} notifications", with_thousands_separators(entry.events.into())));
    }
    line
}

/// The URL with the characters encoded that would end the link or are markdown.
fn escape_url(url: &str) -> String {
    let mut escaped = String::with_capacity(url.len());
    for character in url.chars() {
        match character {
            '(' => escaped.push_str("%28"),
            ')' => escaped.push_str("%29"),
            '<' => escaped.push_str("%3C"),
            '>' => escaped.push_str("%3E"),
            '*' => escaped.push_str("%2A"),
            '\\' => escaped.push_str("%5C"),
            '`' => escaped.push_str("%60"),
            '|' => escaped.push_str("%7C"),
            _ => escaped.push(character),
        }
    }
    escaped
}
