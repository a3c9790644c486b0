//! The pace of one channel, as far as its receiver limits it: pauses, the one delivery that goes first after them, and
//! how many attempts may be in progress at once. Pure.
//!
//! Kept in memory only. After a restart a channel with due deliveries sends one first, so that a receiver that still
//! limits the rate refuses one of them and not a burst.
//!
//! ```text
//!              refused, or no requests left
//!   unlimited ──────────────────────────────▶ paused ──▶ one first ──taken──▶ a window that grows ──▶ unlimited
//!                                               ▲            │                       │
//!                                               └──refused───┴───────────────────────┘
//! ```
//!
//! It is separate from the breaker: a receiver that limits the rate is not down.

use tidings_channels::RateSignal;
use tidings_domain::retry::RETRY_AFTER_MS_MAX;
use tidings_domain::time::Timestamp;

/// The first pause after a refusal without `Retry-After`, in milliseconds; doubled while refusals go on.
const BACKOFF_MS_MIN: u64 = 1_000;
/// The longest of those pauses.
const BACKOFF_MS_MAX: u64 = 60_000;
/// A delivery that waited this long because of pauses alone is given up, in milliseconds.
pub(super) const PAUSE_WAIT_MS_MAX: u64 = 86_400_000;
/// Two reset instants this close together are the same: they are computed from when responses arrived.
const SAME_RESET_MS: u64 = 500;

/// Whether one attempt goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probing {
    No,
    /// Until the receiver answers anything but a refusal: nothing is known about it.
    UntilAnswered,
    /// Until it takes a delivery: it has limited the rate before.
    UntilTaken,
}

/// How many more requests the receiver takes until it counts anew.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    remaining: u32,
    resets_at: Timestamp,
}

/// The pace of a channel that is or was limited.
#[derive(Debug)]
pub(super) struct Pace {
    paused_until: Option<Timestamp>,
    /// When the pause began. Refusals of attempts that started before are the same news.
    paused_at: Option<Timestamp>,
    /// Since when pauses go on without the channel having caught up.
    pausing_since: Option<Timestamp>,
    /// Refusals since a delivery was last taken, each burst counted once.
    refusals: u32,
    probing: Probing,
    /// Attempts that may be in progress at once, after a refusal. As in TCP's congestion control it grows by one with
    /// each delivery up to `threshold`, then by one with each window: concurrency settles where refusals are rare.
    window: Option<f64>,
    threshold: f64,
    allowance: Option<Allowance>,
}

impl Pace {
    fn new(probing: Probing) -> Self {
        Self {
            paused_until: None,
            paused_at: None,
            pausing_since: None,
            refusals: 0,
            probing,
            window: None,
            threshold: f64::MAX,
            allowance: None,
        }
    }

    /// Of a channel whose first attempt goes alone, because nothing is known about its receiver.
    pub(super) fn unknown() -> Self {
        Self::new(Probing::UntilAnswered)
    }

    /// Of a channel about whose rate something has just become known.
    pub(super) fn known() -> Self {
        Self::new(Probing::No)
    }

    /// Until when no attempt may start, if that is after `now`. A pause that would outlast the longest one comes from a
    /// clock that was set back, and is over.
    pub(super) fn paused_until(&self, now: Timestamp) -> Option<Timestamp> {
        let used_up = self.allowance.filter(|allowance| allowance.remaining == 0).map(|allowance| allowance.resets_at);
        let until = self.paused_until.max(used_up)?;
        (until > now && until.since_ms(now) <= RETRY_AFTER_MS_MAX).then_some(until)
    }

    /// How many attempts may be in progress at once, given those that are.
    pub(super) fn concurrency(&self, in_flight: usize, now: Timestamp) -> usize {
        if self.paused_until(now).is_some() {
            return 0;
        }
        if self.probing != Probing::No {
            return 1;
        }
        let by_window = self.window.map_or(usize::MAX, |window| window as usize);
        let active = self.allowance.filter(|allowance| allowance.resets_at > now);
        let by_allowance = active.map_or(usize::MAX, |allowance| in_flight + allowance.remaining as usize);
        by_window.min(by_allowance)
    }

    /// An attempt starts.
    pub(super) fn record_start(&mut self, now: Timestamp) {
        if let Some(allowance) = &mut self.allowance {
            if allowance.resets_at <= now {
                self.allowance = None;
            } else {
                allowance.remaining = allowance.remaining.saturating_sub(1);
            }
        }
    }

    /// An attempt ended with an answer of the receiver. `others` are in progress. Returns whether a pause began.
    pub(super) fn record_answer(&mut self, answer: Answer, others: usize, now: Timestamp) -> bool {
        let was_paused = self.paused_until(now).is_some();
        match answer.rate {
            Some(RateSignal::Refused { after_ms }) => self.record_refusal(after_ms, answer.started_at, others, now),
            signal => {
                // One that started before the pause shows nothing about what the receiver takes since.
                if self.paused_at.is_none_or(|paused_at| answer.started_at > paused_at) {
                    self.record_other(answer.is_delivered);
                }
                if let Some(RateSignal::Allowance { remaining, reset_after_ms }) = signal {
                    self.record_allowance(remaining, reset_after_ms, others, now);
                }
            }
        }
        let is_paused = self.paused_until(now).is_some();
        if is_paused {
            self.probing = Probing::UntilTaken;
            self.pausing_since.get_or_insert(now);
        }
        is_paused && !was_paused
    }

    fn record_refusal(&mut self, after_ms: Option<u64>, started_at: Timestamp, others: usize, now: Timestamp) {
        let is_known = self.paused_at.is_some_and(|paused_at| started_at <= paused_at);
        if !is_known {
            self.refusals = self.refusals.saturating_add(1);
            self.threshold = ((others + 1) as f64 / 2.0).max(1.0);
            self.window = Some(1.0);
            self.paused_at = Some(now);
        }
        let backoff_ms = BACKOFF_MS_MIN << (self.refusals.clamp(1, 10) - 1);
        let pause_ms = match after_ms {
            Some(after_ms) => after_ms.min(RETRY_AFTER_MS_MAX),
            None if is_known => return,
            None => backoff_ms.min(BACKOFF_MS_MAX),
        };
        self.paused_until = self.paused_until.max(Some(now.plus_ms(pause_ms)));
    }

    fn record_other(&mut self, is_delivered: bool) {
        if self.probing == Probing::UntilAnswered || is_delivered {
            self.probing = Probing::No;
        }
        if is_delivered {
            self.refusals = 0;
            if let Some(window) = &mut self.window {
                *window += if *window < self.threshold { 1.0 } else { 1.0 / *window };
            }
        }
    }

    fn record_allowance(&mut self, remaining: u32, reset_after_ms: u64, others: usize, now: Timestamp) {
        // Those in progress may not have been counted yet.
        let remaining = remaining.saturating_sub(others as u32);
        let resets_at = now.plus_ms(reset_after_ms.min(RETRY_AFTER_MS_MAX));
        // Responses of the same window may arrive in any order: the smallest number counts.
        let known = self.allowance.filter(|known| resets_at <= known.resets_at.plus_ms(SAME_RESET_MS));
        let known = known.filter(|known| known.resets_at > now);
        self.allowance = Some(match known {
            Some(known) => {
                Allowance { remaining: remaining.min(known.remaining), resets_at: known.resets_at.max(resets_at) }
            }
            None => Allowance { remaining, resets_at },
        });
    }

    /// The store has nothing more that is due: what becomes due from now on has not waited for the pauses before.
    pub(super) fn record_caught_up(&mut self, now: Timestamp) {
        if self.paused_until(now).is_none() {
            self.pausing_since = None;
        }
    }

    /// Whether a delivery that is due since `due_at` has waited so long because of pauses that it is given up.
    pub(super) fn is_wait_exceeded(&self, due_at: Timestamp, now: Timestamp) -> bool {
        let since = self.pausing_since.map(|since| since.max(due_at));
        since.is_some_and(|since| now.since_ms(since) >= PAUSE_WAIT_MS_MAX)
    }

    /// Whether nothing of it matters any more, for a channel that may have `slots` attempts at once.
    pub(super) fn is_over(&self, slots: usize, now: Timestamp) -> bool {
        self.paused_until(now).is_none()
            && self.pausing_since.is_none()
            && self.probing == Probing::No
            && self.allowance.is_none_or(|allowance| allowance.resets_at <= now)
            && self.window.is_none_or(|window| window >= slots as f64)
    }
}

/// An answer of the receiver.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub rate: Option<RateSignal>,
    pub is_delivered: bool,
    /// When its attempt started.
    pub started_at: Timestamp,
}

#[cfg(test)]
mod tests;
