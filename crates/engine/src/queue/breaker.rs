//! The breaker: while a destination is down it gets one attempt at a time. It never consumes, skips or reschedules an
//! attempt; it only bounds how many are made at once. Pure.

/// Failures in a row after which the destination is taken to be down.
const OPEN_AFTER: u32 = 10;

/// One channel's breaker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Breaker {
    failures_in_a_row: u32,
}

impl Breaker {
    /// Whether the destination is taken to be down.
    pub(super) fn is_open(&self) -> bool {
        self.failures_in_a_row >= OPEN_AFTER
    }

    /// Learns how an attempt ended; `outage` if it says that the destination as a whole is in trouble. True if this
    /// opened the breaker.
    pub(super) fn learn(&mut self, outage: bool) -> bool {
        let before = self.is_open();
        self.failures_in_a_row = if outage { self.failures_in_a_row.saturating_add(1) } else { 0 };
        self.is_open() && !before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_with_the_first_answer() {
        let mut breaker = Breaker::default();
        for n in 1..OPEN_AFTER {
            assert!(!breaker.learn(true), "failure {n}");
        }
        assert!(!breaker.learn(false));
        let opened: Vec<_> = (0..OPEN_AFTER + 5).filter(|_| breaker.learn(true)).collect();
        assert_eq!(opened.len(), 1, "told once");
        assert!(breaker.is_open());
        breaker.learn(false);
        assert!(!breaker.is_open());
    }
}
