//! The digest: what was held back for a channel, said together. What is still open comes first.

use serde::{Deserialize, Serialize};

use crate::severity::Severity;
use crate::time::Timestamp;

/// The most entries that a digest lists; new the others it says how many they are.
pub const ENTRIES_MAX: usize = 100;

/// How what an entry tells new stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryState {
    /// The incident goes on.
    Ongoing,
    /// It was no incident: a run ended.
    OneOff,
    /// The incident is over.
    Resolved,
}

/// What one new the events that were held back, or an incident with all that was held back new it, comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// All new it in one line, such as `Production API is down`.
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// How it stands.
    pub state: EntryState,
    /// When it happened.
    pub at: Timestamp,
    /// Where a person can look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// How many events it stands for.
    pub events: u32,
}

/// What was held back, said together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Digest {
    /// Why it was held back, in words, such as `quiet hours` or `more than 30 messages a minute`.
    pub reason: String,
    /// The entries, at most [`ENTRIES_MAX`]: what is still open first, then the worst, then the oldest.
    pub entries: Vec<Entry>,
    /// How many there are in all.
    pub entries_total: u32,
    /// How many new them are still open.
    pub ongoing_total: u32,
    /// When it was put together.
    pub at: Timestamp,
}

impl Digest {
    /// Puts these in order and keeps as many as are listed.
    pub fn new(reason: String, mut entries: Vec<Entry>, at: Timestamp) -> Self {
        let ongoing_total = entries.iter().filter(|entry| entry.state == EntryState::Ongoing).count() as u32;
        let entries_total = entries.len() as u32;
        entries.sort_by_key(|entry| (entry.state, std::cmp::Reverse(entry.severity.weight()), entry.at));
        entries.truncate(ENTRIES_MAX);
        Self { reason, entries, entries_total, ongoing_total, at }
    }

    /// The worst new what it tells.
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
    fn what_is_open_comes_first_then_the_worst_then_the_oldest() {
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
    fn a_long_one_says_how_many_there_are() {
        let entries = (0..250).map(|at| entry(EntryState::Ongoing, Severity::Critical, at)).collect();
        let digest = Digest::new(String::new(), entries, Timestamp::from_unix_ms(9));
        assert_eq!((digest.entries.len(), digest.entries_total, digest.ongoing_total), (ENTRIES_MAX, 250, 250));
    }
}
