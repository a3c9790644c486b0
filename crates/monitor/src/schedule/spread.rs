//! When endpoints are due for the first time, so that they do not all come at once: pure functions.

use std::time::Duration;

use tidings_domain::id::{EndpointId, Id};
use tidings_domain::time::Timestamp;

/// At the start, what is overdue or was never checked is spread over its interval, and over no more than this.
pub(crate) const SPREAD_MAX: Duration = Duration::from_secs(60);
/// Of endpoints that come together later, so many begin in a second.
const TOGETHER_PER_SECOND: u32 = 1_000;

/// When an endpoint that is there at the start is due, from the start on. Its last check goes on counting over a
/// restart, unless the time of day cannot be right: then it lies in the future.
pub(crate) fn at_start(
    id: EndpointId,
    interval: Duration,
    last_checked_at: Option<Timestamp>,
    now: Timestamp,
) -> Duration {
    let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    let left = last_checked_at.map(|last| Duration::from_millis(last.plus_ms(interval_ms).since_ms(now)));
    match left {
        Some(left) if left > Duration::ZERO && left <= interval => left,
        _ => share(id, interval.min(SPREAD_MAX)),
    }
}

/// When an endpoint that came later is due, from now on: at once, unless `count` of them came together.
pub(crate) fn at_once(id: EndpointId, interval: Duration, count: usize) -> Duration {
    let together = u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX);
    share(id, interval.min(Duration::from_secs(together.into()) / TOGETHER_PER_SECOND))
}

/// The endpoint's own place in this span of time, the same at every start.
fn share(id: EndpointId, span: Duration) -> Duration {
    // Two halves of a time-ordered id are not spread by themselves (SplitMix64).
    let bytes = id.as_bytes();
    let half = |at: usize| bytes[at..at + 8].iter().fold(0_u64, |half, byte| half << 8 | u64::from(*byte));
    let mut x = half(0).rotate_left(32) ^ half(8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(((u128::from(x) * u128::from(nanos)) >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidings_domain::id::{id_suffix, uuid_v7};

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_777_694_412_345);

    /// Ids as they are made: rising, one a millisecond.
    fn id(number: u32) -> EndpointId {
        EndpointId::from_uuid(uuid_v7(1_777_000_000_000 + u64::from(number), &id_suffix(number, [0; 10])))
    }

    #[test]
    fn never_checked_and_overdue_ones_are_spread_evenly_over_the_interval() {
        for (interval_s, over_s) in [(10, 10), (60, 60), (3_600, 60)] {
            let mut per_second = vec![0; over_s];
            for number in 0..10_000 {
                let last = (number % 2 == 0).then(|| NOW.minus_ms(86_400_000));
                let due = at_start(id(number), Duration::from_secs(interval_s), last, NOW);
                per_second[due.as_secs() as usize] += 1;
            }
            let even = 10_000 / over_s;
            assert!(per_second.iter().all(|count| (even / 2..=even * 2).contains(count)), "{per_second:?}");
        }
    }

    #[test]
    fn what_comes_alone_is_due_at_once_and_what_comes_together_is_spread() {
        let interval = Duration::from_secs(60);
        assert_eq!(at_once(id(7), interval, 1), Duration::ZERO);
        assert!((0..100).all(|number| at_once(id(number), interval, 100) < Duration::from_millis(100)));
        let latest = (0..10_000).map(|number| at_once(id(number), interval, 10_000)).max().unwrap();
        assert!(latest > Duration::from_secs(9) && latest < Duration::from_secs(10), "{latest:?}");
        assert!((0..1_000).all(|number| at_once(id(number), Duration::from_secs(1), usize::MAX).as_secs() < 1));
    }

    proptest! {
        #[test]
        fn the_last_check_counts_over_a_restart(
            number in any::<u32>(), interval_s in 1..86_400_u64, ago_ms in -7_200_000..200_000_000_i64
        ) {
            let interval = Duration::from_secs(interval_s);
            let last = Timestamp::from_unix_ms(NOW.unix_ms() - ago_ms);
            let due = at_start(id(number), interval, Some(last), NOW);
            if (0..interval.as_millis() as i64).contains(&ago_ms) {
                prop_assert_eq!(due.as_millis() as i64, interval.as_millis() as i64 - ago_ms);
            } else {
                prop_assert!(due < interval.min(SPREAD_MAX), "overdue, or the clock was set back: {:?}", due);
                prop_assert_eq!(due, at_start(id(number), interval, None, NOW), "the same at every start");
            }
        }
    }
}
