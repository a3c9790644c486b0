//! A digest's entries in Block Kit: sections of lines, one line per entry with severity, link and time.

use tidings_domain::digest::Entry;
use tidings_domain::message::{Message, format_state, with_thousands_separators};

use super::render::{SECTION_UNITS_MAX, link_to, mrkdwn};
use crate::truncate::{one_line, or_placeholder, severity_emoji, utf16_len, web_link};

const TITLE_UNITS_MAX: usize = 150;
/// Longer links are omitted. Escaped (five times as long at worst), one of this length still fits into a section.
const URL_BYTES_MAX: usize = 500;
/// Even with one block per entry, far below Slack's limit of 50 blocks.
const ENTRIES_MAX: usize = 30;
/// Slack refuses messages whose blocks are too long together (`msg_blocks_too_long`) but does not document the limit. A
/// cautious value.
const LIST_UNITS_MAX: usize = 9_000;

/// The texts of the sections: ongoing entries first, then the others, then the number of entries left out.
pub(super) fn render_sections(message: &Message) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let (mut listed, mut used, mut state) = (0, 0, None);
    for entry in message.entries.iter().take(ENTRIES_MAX) {
        let line = render_entry(message, entry);
        used += utf16_len(&line);
        if used > LIST_UNITS_MAX {
            break;
        }
        match texts.last_mut() {
            Some(text) if state == Some(entry.state) && utf16_len(text) + utf16_len(&line) < SECTION_UNITS_MAX => {
                text.push('\n');
                text.push_str(&line);
            }
            _ if state == Some(entry.state) => texts.push(line),
            _ => texts.push(format!("*{}*\n{line}", format_state(entry.state))),
        }
        state = Some(entry.state);
        listed += 1;
    }
    texts.extend(message.format_overflow(listed));
    texts
}

fn render_entry(message: &Message, entry: &Entry) -> String {
    let title = or_placeholder(mrkdwn(&one_line(&entry.title), TITLE_UNITS_MAX));
    let title = web_link(entry.link.as_deref(), URL_BYTES_MAX).and_then(|url| link_to(url, &title)).unwrap_or(title);
    let mut line = format!("{} {title} · {}", severity_emoji(entry.severity), message.format_instant(entry.at));
    if entry.events > 1 {
        line.push_str(&format!(" · {} notifications", with_thousands_separators(entry.events.into())));
    }
    line
}
