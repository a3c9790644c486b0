//! When each endpoint is due, as a pure data structure. All times are durations since the scheduler started.
//!
//! It does not use the wall clock, so that clock changes have no effect. Runs have a fixed rate: the next one is due
//! one interval after the last one was due, however late that started. Runs that were missed are skipped, not made up
//! for.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use tidings_domain::id::EndpointId;

/// Stale items are removed from the queue only above this number.
const STALE_MIN: usize = 1_024;

/// The schedule of all endpoints.
#[derive(Debug, Default)]
pub(crate) struct ScheduleTable {
    entries: HashMap<EndpointId, Entry>,
    /// Probes that have not finished, and whether they were cancelled. They may outlast their endpoint's entry.
    in_flight: HashMap<EndpointId, bool>,
    /// Runs by due time. An item is valid only if its number is that of its endpoint's entry: rescheduling leaves the
    /// old item behind, because a heap cannot remove it cheaply.
    queue: BinaryHeap<Reverse<QueueItem>>,
    last_number: u64,
}

#[derive(Debug)]
struct Entry {
    interval: Duration,
    due: Duration,
    /// When its last run was due.
    last: Option<Duration>,
    /// Number of its valid queue item.
    number: u64,
    /// A run is due that waits for a cancelled probe to finish.
    is_postponed: bool,
}

/// Ordered by due time, then by insertion.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct QueueItem {
    due: Duration,
    number: u64,
    id: EndpointId,
}

/// A run that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScheduledRun {
    pub id: EndpointId,
    pub due: Duration,
    /// Later runs of the endpoint that are overdue as well, and are skipped.
    pub missed: u64,
    /// Whether to start a probe. If not, the previous one is still in flight and this run is skipped.
    pub starts: bool,
}

impl ScheduleTable {
    /// Adds an endpoint, or replaces its entry.
    pub fn add(&mut self, id: EndpointId, interval: Duration, due: Duration) {
        self.entries.insert(id, Entry { interval, due, last: None, number: 0, is_postponed: false });
        self.enqueue(id, due);
    }

    /// Removes an endpoint and cancels its probe.
    pub fn remove(&mut self, id: EndpointId) {
        self.entries.remove(&id);
        self.cancel(id);
    }

    /// Changes the interval, which counts from the last run. Before the first run it can only bring that forward.
    pub fn set_interval(&mut self, id: EndpointId, interval: Duration, now: Duration) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.interval = interval;
        let due = entry.last.map_or(entry.due.min(now + interval), |last| last + interval).max(now);
        // A postponed run is enqueued when the cancelled probe finishes.
        if !entry.is_postponed {
            self.enqueue(id, due);
        }
    }

    /// Cancels the probe in flight and makes the next run due at `due`, because the probe's definition changed.
    pub fn restart(&mut self, id: EndpointId, due: Duration) {
        self.cancel(id);
        self.enqueue(id, due);
    }

    fn cancel(&mut self, id: EndpointId) {
        if let Some(is_cancelled) = self.in_flight.get_mut(&id) {
            *is_cancelled = true;
        }
    }

    /// When the next run is due.
    pub fn next_due(&mut self) -> Option<Duration> {
        while let Some(Reverse(item)) = self.queue.peek() {
            if self.entries.get(&item.id).is_some_and(|entry| entry.number == item.number) {
                return Some(item.due);
            }
            self.queue.pop();
        }
        None
    }

    /// Removes and returns the next run that is due by now.
    pub fn pop_due(&mut self, now: Duration) -> Option<ScheduledRun> {
        loop {
            let due = self.next_due().filter(|due| *due <= now)?;
            let Reverse(QueueItem { id, .. }) = self.queue.pop()?;
            let entry = self.entries.get_mut(&id)?;
            // The cancelled probe has not finished. Its result is not wanted, so this run waits for it instead of being
            // skipped: the new definition is probed at once, not an interval later.
            if self.in_flight.get(&id) == Some(&true) {
                entry.is_postponed = true;
                continue;
            }
            let missed = (now - due).as_nanos() / entry.interval.as_nanos().max(1);
            let missed = u64::try_from(missed).unwrap_or(u64::MAX);
            let starts = !self.in_flight.contains_key(&id);
            let skipped_time = entry.interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX));
            let last = due + skipped_time;
            entry.last = Some(last);
            let next = last + entry.interval;
            self.enqueue(id, next);
            if starts {
                self.in_flight.insert(id, false);
            }
            return Some(ScheduledRun { id, due, missed, starts });
        }
    }

    /// The endpoint's probe has finished, in whatever way.
    pub fn finish(&mut self, id: EndpointId, now: Duration) {
        self.in_flight.remove(&id);
        if self.entries.get(&id).is_some_and(|entry| entry.is_postponed) {
            self.enqueue(id, now);
        }
    }

    /// Number of endpoints.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn enqueue(&mut self, id: EndpointId, due: Duration) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        self.last_number += 1;
        (entry.due, entry.number, entry.is_postponed) = (due, self.last_number, false);
        self.queue.push(Reverse(QueueItem { due, number: self.last_number, id }));
        // Removing stale items only when most are stale keeps the amortised cost constant.
        if self.queue.len() > STALE_MIN + 2 * self.entries.len() {
            let entries = &self.entries;
            self.queue.retain(|Reverse(item)| entries.get(&item.id).is_some_and(|entry| entry.number == item.number));
        }
    }
}

#[cfg(test)]
mod tests;
