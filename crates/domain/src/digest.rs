//! Digests: deliveries that were held for a channel, sent as one message.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::EventId;
use crate::resource::ResourceType;
use crate::severity::Severity;
use crate::time::Timestamp;

/// Most entries that a digest lists; the others are only counted.
pub const ENTRIES_MAX: usize = 100;

/// The state of a digest entry. Ordered as digests list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryState {
    /// An active incident.
    Ongoing,
    /// An event without a state, such as the end of a run.
    OneOff,
    /// A resolved incident.
    Resolved,
}

/// The longest [`Entry::reason`], in characters.
pub const REASON_CHARS_MAX: usize = 300;

/// One entry of a digest: a single event, or an incident with all of its held events, as the last of them has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// One line, such as `Production API is down`.
    pub title: String,
    /// [`Severity::Success`] once it is resolved.
    pub severity: Severity,
    pub state: EntryState,
    pub at: Timestamp,
    /// The error or cause as one line; of a resolved incident what was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A page about the event, as its source gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// How many held events the entry summarises.
    pub events: u32,
    /// What the entry is about; `None` in samples.
    #[serde(flatten)]
    pub source: Option<EntrySource>,
}

/// The event that an entry shows: the last one of an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntrySource {
    pub event_id: EventId,
    pub resource_type: ResourceType,
    pub resource_id: String,
    /// The run's id; of an incident its own.
    pub run_id: String,
}

impl Entry {
    /// An entry of one event without optional facts.
    pub fn new(title: impl Into<String>, severity: Severity, state: EntryState, at: Timestamp) -> Self {
        Self { title: title.into(), severity, state, at, reason: None, link: None, events: 1, source: None }
    }
}

/// Held deliveries of one channel, sent as one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Digest {
    /// Why the deliveries were held, such as `quiet hours` or `more than 30 messages a minute`.
    pub reason: String,
    /// At most [`ENTRIES_MAX`]: by state, then the most severe, then the oldest.
    pub entries: Vec<Entry>,
    /// All entries, also those not listed: the sum of the three totals by state.
    pub entries_total: u32,
    /// The entries in state [`EntryState::Ongoing`], also those not listed.
    pub ongoing_total: u32,
    /// The entries in state [`EntryState::OneOff`], also those not listed.
    #[serde(default)]
    pub one_off_total: u32,
    /// The entries in state [`EntryState::Resolved`], also those not listed.
    #[serde(default)]
    pub resolved_total: u32,
    /// The deliveries that the digest replaces, at least as many as entries.
    #[serde(default)]
    pub notifications_total: u32,
    /// When the digest was assembled.
    pub at: Timestamp,
}

impl Digest {
    /// Sorts the entries, counts them and keeps the first [`ENTRIES_MAX`].
    pub fn new(reason: String, mut entries: Vec<Entry>, at: Timestamp) -> Self {
        let count = |state| entries.iter().filter(|entry| entry.state == state).count() as u32;
        let (ongoing_total, one_off_total, resolved_total) =
            (count(EntryState::Ongoing), count(EntryState::OneOff), count(EntryState::Resolved));
        let entries_total = entries.len() as u32;
        let notifications_total = entries.iter().map(|entry| entry.events).sum();
        entries.sort_by_key(Self::order);
        entries.truncate(ENTRIES_MAX);
        Self { reason, entries, entries_total, ongoing_total, one_off_total, resolved_total, notifications_total, at }
    }

    fn order(entry: &Entry) -> impl Ord + use<> {
        (entry.state, std::cmp::Reverse(entry.severity.weight()), entry.at)
    }

    /// The digest after `update` has brought its listed entries up to date. Entries that are not listed cannot be
    /// updated, and keep the state in which they were counted.
    #[must_use]
    pub fn updated(&self, update: impl Fn(&Entry) -> Option<Entry>) -> Self {
        let mut digest = self.clone();
        for entry in &mut digest.entries {
            let Some(updated) = update(entry) else { continue };
            let totals = [&mut digest.ongoing_total, &mut digest.one_off_total, &mut digest.resolved_total];
            for (total, state) in
                totals.into_iter().zip([EntryState::Ongoing, EntryState::OneOff, EntryState::Resolved])
            {
                *total = *total + u32::from(updated.state == state) - u32::from(entry.state == state);
            }
            *entry = updated;
        }
        digest.entries.sort_by_key(Self::order);
        digest
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
        Entry::new(format!("{state:?} {severity:?} {at}"), severity, state, Timestamp::from_unix_ms(at))
    }

    #[test]
    fn totals_add_up_before_and_after_an_update() {
        let mut entries: Vec<_> = (0..120).map(|at| entry(EntryState::Ongoing, Severity::Warning, at)).collect();
        entries.push(entry(EntryState::OneOff, Severity::Warning, 1));
        entries.push(Entry { events: 4, ..entry(EntryState::Resolved, Severity::Success, 1) });
        let digest = Digest::new(String::new(), entries, Timestamp::from_unix_ms(9));
        let totals = |it: &Digest| (it.ongoing_total, it.one_off_total, it.resolved_total, it.entries_total);
        assert_eq!((totals(&digest), digest.notifications_total), ((120, 1, 1, 122), 125));
        let updated = digest.updated(|it| {
            (it.at.unix_ms() < 10).then(|| Entry {
                state: EntryState::Resolved,
                severity: Severity::Success,
                ..it.clone()
            })
        });
        assert_eq!((totals(&updated), updated.notifications_total), ((110, 1, 11, 122), 125));
        assert!(updated.entries.is_sorted_by_key(|entry| entry.state));
        assert_eq!(updated.entries[0].at.unix_ms(), 10, "the resolved ones come last");
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
