//! A digest's entries in an embed's description: for each one line with severity, link and time, and one with the reason.

use tidings_domain::digest::Entry;
use tidings_domain::message::{Message, format_state};

use super::markdown::{markdown, masked_link};
use crate::link::Link;
use crate::truncate::{or_placeholder, severity_emoji, utf16_len};

const TITLE_UNITS_MAX: usize = 150;
const REASON_UNITS_MAX: usize = 150;
const FACTS_UNITS_MAX: usize = 250;
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
        let line = format!("{head}{}", render_entry(message, entry));
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

fn render_entry(message: &Message, entry: &Entry) -> String {
    let title = or_placeholder(markdown(&entry.title, TITLE_UNITS_MAX));
    let link = entry.link.as_deref().and_then(|link| Link::parse(link, URL_BYTES_MAX)).map(Link::with_dotted_host);
    let title = match link.as_ref().and_then(Link::web) {
        Some(url) => masked_link(&title, url),
        None => title,
    };
    let facts = markdown(&message.format_entry_facts(entry), FACTS_UNITS_MAX);
    let mut line = format!("{} {title} · {facts}", severity_emoji(entry.severity));
    if let Some(reason) = &entry.reason {
        line.push_str(&format!("\n{}", markdown(reason, REASON_UNITS_MAX)));
    }
    line
}
