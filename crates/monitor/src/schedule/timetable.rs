//! When each endpoint is due: a pure function of what it was told, in time since the start.
//!
//! It knows no wall clock: one that jumps changes nothing. The rate is fixed: the next turn comes one interval after
//! the last one was due, however late that began. Turns that nobody could take are skipped, never made up for.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use tidings_domain::id::EndpointId;

/// The queue is cleared of entries that count no more when it has so many, and most of it is those.
const STALE_MIN: usize = 1_024;

/// The timetable. Time is what has passed since it began.
#[derive(Debug, Default)]
pub(crate) struct Timetable {
    rows: HashMap<EndpointId, Row>,
    /// Probes that have not ended, and whether they were given up: those of endpoints that are gone may outlive them.
    under_way: HashMap<EndpointId, bool>,
    /// The turns. One counts only if its number is that of its endpoint's row: an edit leaves the old one behind.
    queue: BinaryHeap<Reverse<Entry>>,
    entries: u64,
}

#[derive(Debug)]
struct Row {
    interval: Duration,
    due: Duration,
    /// When its last turn was due.
    last: Option<Duration>,
    entry: u64,
    /// Its turn has come, and waits for the end of a probe that was given up.
    is_owed: bool,
}

/// Ordered by when it is due; of those due together, the one entered first goes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    due: Duration,
    number: u64,
    id: EndpointId,
}

/// An endpoint's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    pub id: EndpointId,
    /// When it was due.
    pub due: Duration,
    /// How many turns after it have passed meanwhile, and are skipped.
    pub missed: u64,
    /// Whether a probe is to begin. If not, the one before is still under way, and this turn is skipped.
    pub starts: bool,
}

impl Timetable {
    /// Enters an endpoint, or enters it anew.
    pub fn add(&mut self, id: EndpointId, interval: Duration, due: Duration) {
        self.rows.insert(id, Row { interval, due, last: None, entry: 0, is_owed: false });
        self.enter(id, due);
    }

    /// Strikes an endpoint out. A probe that is under way is given up.
    pub fn remove(&mut self, id: EndpointId) {
        self.rows.remove(&id);
        self.give_up(id);
    }

    /// Another interval counts from the last turn; before the first turn it only brings that nearer.
    pub fn set_interval(&mut self, id: EndpointId, interval: Duration, now: Duration) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        row.interval = interval;
        let due = row.last.map_or(row.due.min(now + interval), |last| last + interval).max(now);
        if !row.is_owed {
            self.enter(id, due);
        }
    }

    /// Something else is to be probed from now on: the probe that is under way is given up, and the next is due then.
    pub fn turn_to(&mut self, id: EndpointId, due: Duration) {
        self.give_up(id);
        self.enter(id, due);
    }

    fn give_up(&mut self, id: EndpointId) {
        if let Some(is_given_up) = self.under_way.get_mut(&id) {
            *is_given_up = true;
        }
    }

    /// When the next turn is due.
    pub fn next_due(&mut self) -> Option<Duration> {
        while let Some(Reverse(entry)) = self.queue.peek() {
            if self.rows.get(&entry.id).is_some_and(|row| row.entry == entry.number) {
                return Some(entry.due);
            }
            self.queue.pop();
        }
        None
    }

    /// The next turn that is due by now, if there is one.
    pub fn take(&mut self, now: Duration) -> Option<Turn> {
        loop {
            let due = self.next_due().filter(|due| *due <= now)?;
            let Reverse(Entry { id, .. }) = self.queue.pop()?;
            let row = self.rows.get_mut(&id)?;
            if self.under_way.get(&id) == Some(&true) {
                row.is_owed = true;
                continue;
            }
            let missed = (now - due).as_nanos() / row.interval.as_nanos().max(1);
            let missed = u64::try_from(missed).unwrap_or(u64::MAX);
            let starts = !self.under_way.contains_key(&id);
            let passed = row.interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX));
            let last = due + passed;
            row.last = Some(last);
            let next = last + row.interval;
            self.enter(id, next);
            if starts {
                self.under_way.insert(id, false);
            }
            return Some(Turn { id, due, missed, starts });
        }
    }

    /// The probe of this endpoint has ended, however it did.
    pub fn ended(&mut self, id: EndpointId, now: Duration) {
        self.under_way.remove(&id);
        if self.rows.get(&id).is_some_and(|row| row.is_owed) {
            self.enter(id, now);
        }
    }

    /// How many endpoints there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many probes are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    fn enter(&mut self, id: EndpointId, due: Duration) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        self.entries += 1;
        (row.due, row.entry, row.is_owed) = (due, self.entries, false);
        self.queue.push(Reverse(Entry { due, number: self.entries, id }));
        if self.queue.len() > STALE_MIN + 2 * self.rows.len() {
            let rows = &self.rows;
            self.queue.retain(|Reverse(entry)| rows.get(&entry.id).is_some_and(|row| row.entry == entry.number));
        }
    }
}

#[cfg(test)]
#[path = "timetable_tests.rs"]
mod tests;
