//! First due times, staggered so that endpoints do not start all at once. Pure functions.

use std::time::Duration;

use tidings_domain::id::{EndpointId, Id};
use tidings_domain::time::Timestamp;

/// At startup, endpoints that are overdue or were never checked are spread over their interval, but at most over this.
pub(crate) const STAGGER_MAX: Duration = Duration::from_secs(60);
/// Start rate of endpoints that are added together later.
const ADDED_PER_SECOND: u32 = 1_000;

/// First due time of an endpoint that exists at startup, relative to it. A restart keeps the schedule: the endpoint is
/// due one interval after its last check. A last check in the future means that the clock was set back, and is ignored.
pub(crate) fn first_due_at_startup(
    id: EndpointId,
    interval: Duration,
    last_checked_at: Option<Timestamp>,
    now: Timestamp,
) -> Duration {
    let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    let left = last_checked_at.map(|last| Duration::from_millis(last.plus_ms(interval_ms).since_ms(now)));
    match left {
        Some(left) if left > Duration::ZERO && left <= interval => left,
        _ => offset_within(id, interval.min(STAGGER_MAX)),
    }
}

/// First due time of an endpoint that is added later, relative to now: immediately, unless `count` were added together.
pub(crate) fn first_due_when_added(id: EndpointId, interval: Duration, count: usize) -> Duration {
    let others = u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX);
    offset_within(id, interval.min(Duration::from_secs(others.into()) / ADDED_PER_SECOND))
}

/// The endpoint's fixed pseudo-random offset in this span, the same at every start.
fn offset_within(id: EndpointId, span: Duration) -> Duration {
    // Ids are time-ordered and thus not uniform: this applies the finaliser of SplitMix64 to both halves.
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

    /// Ids as created one per millisecond.
    fn id(number: u32) -> EndpointId {
        EndpointId::from_uuid(uuid_v7(1_777_000_000_000 + u64::from(number), &id_suffix(number, [0; 10])))
    }

    #[test]
    fn first_due_at_startup_spreads_overdue_and_unchecked_endpoints_evenly() {
        for (interval_s, over_s) in [(10, 10), (60, 60), (3_600, 60)] {
            let mut per_second = vec![0; over_s];
            for number in 0..10_000 {
                let last = (number % 2 == 0).then(|| NOW.minus_ms(86_400_000));
                let due = first_due_at_startup(id(number), Duration::from_secs(interval_s), last, NOW);
                per_second[due.as_secs() as usize] += 1;
            }
            let even = 10_000 / over_s;
            assert!(per_second.iter().all(|count| (even / 2..=even * 2).contains(count)), "{per_second:?}");
        }
    }

    #[test]
    fn first_due_when_added_single_endpoint_is_immediate_and_many_are_spread() {
        let interval = Duration::from_secs(60);
        assert_eq!(first_due_when_added(id(7), interval, 1), Duration::ZERO);
        assert!((0..100).all(|number| first_due_when_added(id(number), interval, 100) < Duration::from_millis(100)));
        let latest = (0..10_000).map(|number| first_due_when_added(id(number), interval, 10_000)).max().unwrap();
        assert!(latest > Duration::from_secs(9) && latest < Duration::from_secs(10), "{latest:?}");
        assert!(
            (0..1_000).all(|number| first_due_when_added(id(number), Duration::from_secs(1), usize::MAX).as_secs() < 1)
        );
    }

    proptest! {
        #[test]
        fn first_due_at_startup_continues_from_the_last_check(
            number in any::<u32>(), interval_s in 1..86_400_u64, ago_ms in -7_200_000..200_000_000_i64
        ) {
            let interval = Duration::from_secs(interval_s);
            let last = Timestamp::from_unix_ms(NOW.unix_ms() - ago_ms);
            let due = first_due_at_startup(id(number), interval, Some(last), NOW);
            if (0..interval.as_millis() as i64).contains(&ago_ms) {
                prop_assert_eq!(due.as_millis() as i64, interval.as_millis() as i64 - ago_ms);
            } else {
                prop_assert!(due < interval.min(STAGGER_MAX), "overdue, or the clock was set back: {:?}", due);
                prop_assert_eq!(due, first_due_at_startup(id(number), interval, None, NOW), "the same at every start");
            }
        }
    }
}
