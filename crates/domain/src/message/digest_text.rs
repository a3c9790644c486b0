//! The message of a digest: counts, and a list of entries.

use super::{Field, Message, link, with_thousands_separators};
use crate::calendar::Zone;
use crate::digest::{Digest, Entry, EntryState};
use crate::event::Event;
use crate::severity::Severity;
use crate::text::clean_line;

/// Most entries in [`Message::detail`].
const LINES_MAX: usize = 25;

pub(super) fn from_digest(event: &Event, digest: &Digest, severity: Severity, zone: &Zone) -> Message {
    let entries: Vec<Entry> = digest.entries.iter().map(cleaned).collect();
    let (total, open) = (digest.entries_total, digest.ongoing_total);
    let held = format!("{} notifications were held back", with_thousands_separators(total.into()));
    let only = match entries.as_slice() {
        [only] if total == 1 => Some(only),
        _ => None,
    };
    let title = match only {
        Some(only) => only.title.clone(),
        None if open == 0 => held,
        None if open == total => format!("{held}, all of them still open"),
        None => format!("{held}, {} of them still open", with_thousands_separators(open.into())),
    };
    let reason = clean_line(&digest.reason);
    let summary = match (total, open) {
        (1, _) => format!("It was held back: {reason}."),
        (_, 0) => format!("They were held back: {reason}."),
        _ => format!("They were held back: {reason}. What is still open comes first."),
    };
    let mut message = Message {
        kind: event.kind,
        severity,
        title,
        summary,
        detail_label: "Notifications",
        detail: None,
        link: only.and_then(|only| only.link.clone()),
        fields: vec![
            Field::new("Still open", with_thousands_separators(open.into())),
            Field::new("In all", with_thousands_separators(total.into())),
        ],
        tags: Vec::new(),
        entries_left: total.saturating_sub(entries.len() as u32),
        entries,
        thread: None,
        timestamp: digest.at,
        zone: zone.clone(),
    };
    message.detail = Some(format_entries(&message)).filter(|lines| !lines.is_empty());
    message
}

fn cleaned(entry: &Entry) -> Entry {
    Entry { title: clean_line(&entry.title), link: entry.link.as_deref().and_then(link), ..entry.clone() }
}

/// The heading of a list of entries in this state.
pub const fn format_state(state: EntryState) -> &'static str {
    match state {
        EntryState::Ongoing => "Still open",
        EntryState::OneOff => "Runs",
        EntryState::Resolved => "Over by now",
    }
}

impl Message {
    /// The line below the first `listed` entries, such as `… and 1,950 more`; `None` if there are no more.
    pub fn format_overflow(&self, listed: usize) -> Option<String> {
        let left = u64::from(self.entries_left) + self.entries.len().saturating_sub(listed) as u64;
        (left > 0).then(|| format!("… and {} more", with_thousands_separators(left)))
    }
}

fn format_entries(message: &Message) -> String {
    let mut lines: Vec<String> =
        message.entries.iter().take(LINES_MAX).map(|entry| format_entry(message, entry)).collect();
    lines.extend(message.format_overflow(lines.len()));
    lines.join("\n")
}

fn format_entry(message: &Message, entry: &Entry) -> String {
    let state = match entry.state {
        EntryState::Ongoing => "open, ",
        EntryState::OneOff => "",
        EntryState::Resolved => "over, ",
    };
    format!("{} ({state}{}, {})", entry.title, entry.severity.as_str(), message.format_instant(entry.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::digest_event;
    use crate::time::Timestamp;

    fn entry(title: &str, state: EntryState) -> Entry {
        let at = Timestamp::parse("2026-05-02T04:00:00Z").unwrap();
        Entry::new(title, Severity::Warning, state, at)
    }

    fn message(entries: Vec<Entry>) -> Message {
        super::super::of(&digest_event(entries), Severity::Warning, &Zone::UTC)
    }

    #[test]
    fn digest_message_lists_its_entries() {
        let message = message(vec![
            entry("Daily revenue rollup failed", EntryState::OneOff),
            entry("API is degraded", EntryState::Ongoing),
            entry("Website has recovered", EntryState::Resolved),
        ]);
        assert_eq!(message.title, "3 notifications were held back, 1 of them still open");
        assert_eq!(
            message.summary,
            "They were held back: quiet hours of #data-alerts. What is still open comes first."
        );
        assert_eq!(
            message.detail.as_deref(),
            Some(
                "API is degraded (open, warning, 2026-05-02 04:00:00 UTC)\n\
                 Daily revenue rollup failed (warning, 2026-05-02 04:00:00 UTC)\n\
                 Website has recovered (over, warning, 2026-05-02 04:00:00 UTC)"
            )
        );
        assert_eq!((message.entries.len(), message.format_overflow(3)), (3, None));
        assert_eq!(message.format_overflow(1).as_deref(), Some("… and 2 more"));
    }

    #[test]
    fn single_entry_is_the_title_and_many_are_counted() {
        let only = message(vec![entry("API is degraded", EntryState::Ongoing)]);
        assert_eq!(only.title, "API is degraded");
        assert_eq!(only.summary, "It was held back: quiet hours of #data-alerts.");
        let many =
            message((0..2_000).map(|number| entry(&format!("E{number} is down"), EntryState::Ongoing)).collect());
        assert_eq!(many.title, "2,000 notifications were held back, all of them still open");
        assert!(many.detail.as_ref().unwrap().ends_with("\n… and 1,975 more"));
        assert_eq!((many.entries.len(), many.entries_left), (100, 1_900));
        assert_eq!(many.format_overflow(50).as_deref(), Some("… and 1,950 more"));
        assert_eq!(many.fields[1], Field::new("In all", "2,000"));
    }

    #[test]
    fn empty_digest_has_no_detail() {
        let none = message(vec![]);
        assert_eq!((none.title.as_str(), none.detail), ("0 notifications were held back", None));
    }
}
