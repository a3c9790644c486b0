//! Circuit breaker: while a destination is down its channel gets one attempt at a time. It never consumes, skips or
//! reschedules an attempt; it only bounds concurrency. Pure.

/// Consecutive failures after which the breaker opens.
const OPEN_AFTER: u32 = 10;

/// One channel's breaker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Breaker {
    consecutive_failures: u32,
}

impl Breaker {
    /// Whether the destination is considered down.
    pub(super) fn is_open(&self) -> bool {
        self.consecutive_failures >= OPEN_AFTER
    }

    /// Records how an attempt ended. `is_outage` means a failure of the destination as a whole, as opposed to one that
    /// concerns this message only. Returns whether this opened the breaker.
    pub(super) fn record_outcome(&mut self, is_outage: bool) -> bool {
        let was_open = self.is_open();
        self.consecutive_failures = if is_outage { self.consecutive_failures.saturating_add(1) } else { 0 };
        self.is_open() && !was_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaker_opens_after_consecutive_failures_and_closes_on_first_success() {
        let mut breaker = Breaker::default();
        for n in 1..OPEN_AFTER {
            assert!(!breaker.record_outcome(true), "failure {n}");
        }
        assert!(!breaker.record_outcome(false));
        let opened: Vec<_> = (0..OPEN_AFTER + 5).filter(|_| breaker.record_outcome(true)).collect();
        assert_eq!(opened.len(), 1, "reported once");
        assert!(breaker.is_open());
        breaker.record_outcome(false);
        assert!(!breaker.is_open());
    }
}
