//! A digest's entries in an embed's description: each a line with its sign, its link and its time.

use tidings_domain::digest::Entry;
use tidings_domain::message::{Message, format_state, with_thousands_separators};

use super::render::{markdown, or_nothing};
use crate::truncate::{link, one_line, sign, units};

const TITLE_UNITS_MAX: usize = 150;
/// Longer links are left out: the room is better used for other entries.
const URL_BYTES_MAX: usize = 300;
/// Room for the last line, which counts the others.
const MORE_UNITS: usize = 40;

/// What follows the summary, within so many units: what is still open first, then the others.
pub(super) fn text(message: &Message, units_max: usize) -> String {
    let mut text = String::new();
    let (mut listed, mut state, mut spent) = (0, None, 0);
    for entry in &message.entries {
        let head = match state {
            Some(same) if same == entry.state => "\n".to_owned(),
            _ => format!("\n\n**{}**\n", format_state(entry.state)),
        };
        let line = format!("{head}{}", line(entry));
        spent += units(&line);
        if spent + MORE_UNITS > units_max {
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

fn line(entry: &Entry) -> String {
    let title = or_nothing(markdown(&one_line(&entry.title), TITLE_UNITS_MAX));
    let title = match link(entry.link.as_deref(), URL_BYTES_MAX) {
        Some(url) => format!("[{title}]({})", address(url)),
        None => title,
    };
    // Discord shows the instant in the reader's own zone.
    let mut line = format!("{} {title} · <t:{}:f>", sign(entry.severity), entry.at.unix_seconds());
    if entry.events > 1 {
        line.push_str(&format!(" · {} notifications", with_thousands_separators(entry.events.into())));
    }
    line
}

/// The URL so that nothing in it ends the link or is read as markdown.
fn address(url: &str) -> String {
    let mut address = String::with_capacity(url.len());
    for character in url.chars() {
        match character {
            '(' => address.push_str("%28"),
            ')' => address.push_str("%29"),
            '<' => address.push_str("%3C"),
            '>' => address.push_str("%3E"),
            '*' => address.push_str("%2A"),
            '\\' => address.push_str("%5C"),
            '`' => address.push_str("%60"),
            '|' => address.push_str("%7C"),
            _ => address.push(character),
        }
    }
    address
}
