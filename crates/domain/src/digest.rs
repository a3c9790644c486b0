//! Digests: deliveries that were held for a channel, sent as one message.

use serde::{Deserialize, Serialize};

use crate::severity::Severity;
use crate::time::Timestamp;

/// Most entries that a digest lists; the others are only counted.
pub const ENTRIES_MAX: usize = 100;

/// The state of a digest entry. Ordered as digests list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryState {
    /// An active incident.
    Ongoing,
    /// An event without a state, such as the end of a run.
    OneOff,
    /// A resolved incident.
    Resolved,
}

/// One entry of a digest: a single event, or an incident with all of its held events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// One line, such as `Production API is down`.
    pub title: String,
    pub severity: Severity,
    pub state: EntryState,
    pub at: Timestamp,
    /// A page about the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// How many held events the entry summarises.
    pub events: u32,
}

/// Held deliveries of one channel, sent as one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Digest {
    /// Why the deliveries were held, such as `quiet hours` or `more than 30 messages a minute`.
    pub reason: String,
    /// At most [`ENTRIES_MAX`]: by state, then the most severe, then the oldest.
    pub entries: Vec<Entry>,
    /// All entries, also those not listed.
    pub entries_total: u32,
    /// The entries in state [`EntryState::Ongoing`], also those not listed.
    pub ongoing_total: u32,
    /// When the digest was assembled.
    pub at: Timestamp,
}

impl Digest {
    /// Sorts the entries, counts them and keeps the first [`ENTRIES_MAX`].
    pub fn new(reason: String, mut entries: Vec<Entry>, at: Timestamp) -> Self {
        let ongoing_total = entries.iter().filter(|entry| entry.state == EntryState::Ongoing).count() as u32;
        let entries_total = entries.len() as u32;
        entries.sort_by_key(|entry| (entry.state, std::cmp::Reverse(entry.severity.weight()), entry.at));
        entries.truncate(ENTRIES_MAX);
        Self { reason, entries, entries_total, ongoing_total, at }
    }

    /// The highest severity of the listed entries.
    pub fn severity(&self) -> Severity {
        self.entries
            .iter()
            .map(|entry| entry.severity)
            .max_by_key(|severity| severity.weight())
            .unwrap_or(Severity::Info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(state: EntryState, severity: Severity, at: i64) -> Entry {
        let title = format!("{state:?} {severity:?} {at}");
        Entry { title, severity, state, at: Timestamp::from_unix_ms(at), link: None, events: 1 }
    }

    #[test]
    fn entries_are_sorted_by_state_then_severity_then_age() {
        let entries = vec![
            entry(EntryState::Resolved, Severity::Critical, 1),
            entry(EntryState::OneOff, Severity::Warning, 2),
            entry(EntryState::Ongoing, Severity::Warning, 3),
            entry(EntryState::Ongoing, Severity::Critical, 5),
            entry(EntryState::Ongoing, Severity::Critical, 4),
        ];
        let digest = Digest::new("quiet hours".into(), entries, Timestamp::from_unix_ms(9));
        let order: Vec<_> = digest.entries.iter().map(|entry| entry.at.unix_ms()).collect();
        assert_eq!(order, [4, 5, 3, 2, 1]);
        assert_eq!((digest.ongoing_total, digest.severity()), (3, Severity::Critical));
    }

    #[test]
    fn long_digest_counts_unlisted_entries() {
        let entries = (0..250).map(|at| entry(EntryState::Ongoing, Severity::Critical, at)).collect();
        let digest = Digest::new(String::new(), entries, Timestamp::from_unix_ms(9));
        assert_eq!((digest.entries.len(), digest.entries_total, digest.ongoing_total), (ENTRIES_MAX, 250, 250));
    }
}
