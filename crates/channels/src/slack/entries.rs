//! A digest's entries in Block Kit: one text a section, each entry a line with its sign, its link and its time.

use tidings_domain::digest::Entry;
use tidings_domain::message::{Message, format_instant, format_state, with_thousands_separators};

use super::render::{SECTION_UNITS_MAX, link_to, mrkdwn, or_nothing};
use crate::truncate::{link, one_line, sign, units};

const TITLE_UNITS_MAX: usize = 150;
/// Longer links are left out: escaped, one as long as this still fits into a section.
const URL_BYTES_MAX: usize = 500;
/// More than anybody reads, and far fewer than 50 blocks even if each had one to itself.
const ENTRIES_MAX: usize = 30;
/// Slack refuses messages whose blocks are too long together (`msg_blocks_too_long`), at a length that it does not
/// document: a cautious choice.
const LIST_UNITS_MAX: usize = 9_000;

/// The texts of the sections: what is still open first, then the others, then how many there are besides.
pub(super) fn texts(message: &Message) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let (mut listed, mut spent, mut state) = (0, 0, None);
    for entry in message.entries.iter().take(ENTRIES_MAX) {
        let line = line(entry);
        spent += units(&line);
        if spent > LIST_UNITS_MAX {
            break;
        }
        match texts.last_mut() {
            Some(text) if state == Some(entry.state) && units(text) + units(&line) < SECTION_UNITS_MAX => {
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

fn line(entry: &Entry) -> String {
    let title = or_nothing(mrkdwn(&one_line(&entry.title), TITLE_UNITS_MAX));
    let title = link(entry.link.as_deref(), URL_BYTES_MAX).and_then(|url| link_to(url, &title)).unwrap_or(title);
    let mut line = format!("{} {title} · {}", sign(entry.severity), format_instant(entry.at));
    if entry.events > 1 {
        line.push_str(&format!(" · {} notifications", with_thousands_separators(entry.events.into())));
    }
    line
}
