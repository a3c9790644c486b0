//! A digest's entries in Block Kit: sections of lines, for each entry one with severity, link and time, and one with the
//! reason.

use tidings_domain::digest::Entry;
use tidings_domain::message::{Message, format_state};

use super::mrkdwn::mrkdwn;
use super::render::{SECTION_UNITS_MAX, linked};
use crate::link::Link;
use crate::truncate::{severity_emoji, utf16_len};

const TITLE_UNITS_MAX: usize = 150;
const REASON_UNITS_MAX: usize = 150;
const RUN_ID_UNITS_MAX: usize = 150;
/// Longer links are omitted. Escaped (five times as long at worst), one of this length still fits into a section.
const URL_BYTES_MAX: usize = 400;
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
    let link = entry.link.as_deref().and_then(|link| Link::parse(link, URL_BYTES_MAX));
    let title = linked(&entry.title, link.as_ref(), TITLE_UNITS_MAX);
    let facts = mrkdwn(&message.format_entry_facts(entry), RUN_ID_UNITS_MAX + 100);
    let mut line = format!("{} {title} · {facts}", severity_emoji(entry.severity));
    if let Some(reason) = &entry.reason {
        line.push_str(&format!("\n      {}", mrkdwn(reason, REASON_UNITS_MAX)));
    }
    line
}
