//! The message of a digest: counts, and a list of entries.

use super::{Field, Message, link, with_thousands_separators};
use crate::calendar::Zone;
use crate::digest::{Digest, Entry, EntrySource, EntryState};
use crate::event::Event;
use crate::resource::ResourceType;
use crate::severity::Severity;
use crate::text::{clean_line, is_blank};

/// Most entries in [`Message::detail`].
const LINES_MAX: usize = 25;

pub(super) fn from_digest(event: &Event, digest: &Digest, severity: Severity, zone: &Zone) -> Message {
    let entries: Vec<Entry> = digest.entries.iter().map(cleaned).collect();
    let (total, open) = (digest.entries_total, digest.ongoing_total);
    // Several notifications of one incident are one entry.
    let notifications = digest.notifications_total.max(total);
    let count = |number: u32| with_thousands_separators(number.into());
    let held = format!("{} notifications were held back", count(notifications));
    let only = match entries.as_slice() {
        [only] if total == 1 => Some(only),
        _ => None,
    };
    let title = match only {
        Some(only) => only.title.clone(),
        None if open == 0 => held.clone(),
        None if notifications > total && open == 1 => format!("{held}, 1 incident is still open"),
        None if notifications > total => format!("{held}, {} incidents are still open", count(open)),
        None if open == total => format!("{held}, all of them still open"),
        None => format!("{held}, {} of them still open", count(open)),
    };
    let reason = clean_line(&digest.reason);
    let summary = match (notifications, total, open) {
        (1, ..) => format!("It was held back: {reason}."),
        (_, 1, _) => format!("{held}: {reason}."),
        (_, _, 0) => format!("They were held back: {reason}."),
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
            Field::new(format_state(EntryState::Ongoing), count(open)),
            Field::new(format_state(EntryState::OneOff), count(digest.one_off_total)),
            Field::new(format_state(EntryState::Resolved), count(digest.resolved_total)),
            Field::new("In all", count(total)),
            Field::new("Notifications", count(notifications)),
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
    let reason = entry.reason.as_deref().map(clean_line).filter(|reason| !is_blank(reason));
    let reason = reason.map(|reason| match entry.state {
        EntryState::Resolved => format!("It was: {reason}"),
        EntryState::Ongoing | EntryState::OneOff => reason,
    });
    Entry { title: clean_line(&entry.title), reason, link: entry.link.as_deref().and_then(link), ..entry.clone() }
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

impl Message {
    /// When an entry's last event happened, the run that it is about, and how many notifications it replaces:
    /// `2026-05-02 04:00:00 UTC · run 01HX · 3 notifications`.
    pub fn format_entry_facts(&self, entry: &Entry) -> String {
        let mut facts = self.format_instant(entry.at);
        if let Some(source) = entry.source.as_ref().filter(|source| has_run(source)) {
            let what = if source.resource_type == ResourceType::UseCase { "execution" } else { "run" };
            facts.push_str(&format!(" · {what} {}", clean_line(&source.run_id)));
        }
        if entry.events > 1 {
            facts.push_str(&format!(" · {} notifications", with_thousands_separators(entry.events.into())));
        }
        facts
    }
}

fn has_run(source: &EntrySource) -> bool {
    !source.resource_type.has_incidents() && !is_blank(&source.run_id)
}

fn format_entries(message: &Message) -> String {
    let mut lines: Vec<String> =
        message.entries.iter().take(LINES_MAX).map(|entry| format_entry(message, entry)).collect();
    lines.extend(message.format_overflow(lines.len()));
    lines.join("\n")
}

/// `API is degraded (open, warning, 2026-05-02 04:00:00 UTC): HTTP 502 — expected 200`.
fn format_entry(message: &Message, entry: &Entry) -> String {
    let state = match entry.state {
        EntryState::Ongoing => "open, ",
        EntryState::OneOff => "",
        EntryState::Resolved => "over, ",
    };
    let facts = format!("{state}{}, {}", entry.severity.as_str(), message.format_entry_facts(entry));
    let reason = entry.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{} ({facts}){reason}", entry.title)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::digest_event;
    use crate::id::{EventId, Id as _};
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
        assert_eq!(many.fields[3], Field::new("In all", "2,000"));
    }

    #[test]
    fn entries_of_several_notifications_add_up() {
        let outage = Entry {
            events: 3,
            reason: Some("HTTP 502\r\u{1b}[0m now".into()),
            ..entry("API is down", EntryState::Ongoing)
        };
        let mut run = entry("Rollup failed", EntryState::OneOff);
        run.source = Some(EntrySource {
            event_id: EventId::from_bytes([1; 16]),
            resource_type: ResourceType::Flow,
            resource_id: "f1".into(),
            run_id: "01HX".into(),
        });
        let both = message(vec![outage.clone(), run]);
        assert_eq!(both.title, "4 notifications were held back, 1 incident is still open");
        assert_eq!(
            both.detail.as_deref(),
            Some(
                "API is down (open, warning, 2026-05-02 04:00:00 UTC · 3 notifications): HTTP 502 now\n\
                 Rollup failed (warning, 2026-05-02 04:00:00 UTC · run 01HX)"
            )
        );
        let counts: Vec<_> = both.fields.iter().map(|field| format!("{}: {}", field.label, field.value)).collect();
        assert_eq!(counts, ["Still open: 1", "Runs: 1", "Over by now: 0", "In all: 2", "Notifications: 4"]);
        let one = message(vec![outage]);
        assert_eq!(
            (one.title.as_str(), one.summary.as_str()),
            ("API is down", "3 notifications were held back: quiet hours of #data-alerts.")
        );
    }

    #[test]
    fn empty_digest_has_no_detail() {
        let none = message(vec![]);
        assert_eq!((none.title.as_str(), none.detail), ("0 notifications were held back", None));
    }
}
