//! Episodes of alerts: whether a report from another monitoring system is news, or a late or repeated one.
//!
//! A source reports each alert with the start, and once it is over the end, of the episode that it belongs to, by its own
//! clock. Reports may be late, repeated, out of order or lost, and redundant servers, which evaluate the same rule some
//! seconds apart, report the same episode with starts and ends that differ a little.

use crate::time::Timestamp;

/// How much later than an episode's earliest start another report may start and still belong to it, in milliseconds:
/// what lies between the evaluations of redundant servers.
pub const SAME_EPISODE_MS: u64 = 5 * 60_000;
/// How far beyond now an instant may lie by the clock of its source, in milliseconds. What lies further is no instant that
/// the source saw: taken for an end it would silence the alert until then, taken for a start no end would be after it.
const AHEAD_MAX_MS: u64 = 86_400_000;

/// A report about one alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It fires, since this instant if the source states one.
    Firing { since: Option<Timestamp> },
    /// It is over, since this instant if the source states one.
    Resolved { at: Option<Timestamp> },
}

/// What is known of the alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// The earliest start of the active episode, if one is active.
    pub active_since: Option<Timestamp>,
    /// The latest end of an earlier episode.
    pub last_end: Option<Timestamp>,
}

/// What a report does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it is late or repeated.
    Unchanged,
    /// An episode begins.
    Open { since: Timestamp },
    /// The active episode began earlier than was known.
    Antedate { since: Timestamp },
    /// The active episode ends.
    Resolve { end: Timestamp },
    /// The active episode ended unnoticed, at `end` at the latest, and another one begins.
    Replace { end: Timestamp, since: Timestamp },
    /// No episode is active, but one ended later than was known: what began before that is over as well.
    NoteEnd { end: Timestamp },
}

/// What a report does to the alert.
pub fn step(known: Known, report: Report, now: Timestamp) -> Step {
    let seen = |at: &Timestamp| *at <= now.plus_ms(AHEAD_MAX_MS);
    match report {
        Report::Firing { since } => firing(known, since.filter(seen), now),
        Report::Resolved { at } => resolved(known, at.filter(seen), now),
    }
}

fn firing(known: Known, since: Option<Timestamp>, now: Timestamp) -> Step {
    let is_over = since.zip(known.last_end).is_some_and(|(since, end)| since <= end);
    let Some(earliest) = known.active_since else {
        return if is_over { Step::Unchanged } else { Step::Open { since: since.unwrap_or(now) } };
    };
    let Some(since) = since.filter(|_| !is_over) else { return Step::Unchanged };
    let latest = earliest.plus_ms(SAME_EPISODE_MS);
    if since < earliest {
        Step::Antedate { since }
    } else if since <= latest {
        Step::Unchanged
    } else {
        // Late reports of the old episode start at `latest` at the latest; redundant ones of the new one start after it.
        Step::Replace { end: latest, since }
    }
}

fn resolved(known: Known, at: Option<Timestamp>, now: Timestamp) -> Step {
    match (known.active_since, at) {
        (Some(since), Some(at)) if at < since => Step::Unchanged,
        (Some(_), Some(end)) => Step::Resolve { end },
        (Some(since), None) => Step::Resolve { end: now.max(since) },
        (None, Some(end)) if known.last_end.is_none_or(|last| last < end) => Step::NoteEnd { end },
        (None, _) => Step::Unchanged,
    }
}

#[cfg(test)]
mod tests;
