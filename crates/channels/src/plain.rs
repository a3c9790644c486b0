//! A message as plain lines, for vendors that refuse its rich form. It has nothing that a vendor could find malformed.

use std::fmt::Write;

use tidings_domain::message::Message;
use tidings_domain::text::{keep_ends, truncate_chars};

use crate::truncate::severity_emoji;

const DETAIL_CHARS_MAX: usize = 600;
const VALUE_CHARS_MAX: usize = 200;
const FIELDS_MAX: usize = 10;
const ENTRIES_MAX: usize = 20;

/// The lines, not escaped.
pub(crate) fn render(message: &Message) -> String {
    let mut text = format!("{} {}\n{}\n", severity_emoji(message.severity), message.title, message.summary);
    // Writing to a string cannot fail.
    if let Some(detail) = message.detail.as_deref().filter(|_| message.entries.is_empty()) {
        let _ = writeln!(text, "{}: {}", message.detail_label, keep_ends(detail, DETAIL_CHARS_MAX));
    }
    if message.entries.is_empty() {
        for field in message.fields.iter().take(FIELDS_MAX) {
            let _ = writeln!(text, "{}: {}", field.shown_label(), truncate_chars(&field.value, VALUE_CHARS_MAX));
        }
    }
    for entry in message.entries.iter().take(ENTRIES_MAX) {
        let title = truncate_chars(&entry.title, VALUE_CHARS_MAX);
        let _ = writeln!(text, "{} {title} · {}", severity_emoji(entry.severity), message.format_entry_facts(entry));
    }
    if let Some(more) = message.format_overflow(ENTRIES_MAX) {
        let _ = writeln!(text, "{more}");
    }
    if let Some(link) = &message.link {
        let _ = writeln!(text, "Details: {}", truncate_chars(link, VALUE_CHARS_MAX * 2));
    }
    text.truncate(text.trim_end().len());
    text
}
