//! Due times: at startup, over a long time, after a restart, and when the wall clock jumps.

use std::collections::BTreeMap;
use std::time::Duration;

use tidings_domain::time::Timestamp;
use tidings_monitor::{MonitoredEndpoint, Scheduler};
use tokio::time::{Instant, sleep};

use super::support::{FakeClock, FakeProber, FakeSource, NOW, endpoint, id, s};

fn many(count: u32, interval_seconds: u32) -> Vec<MonitoredEndpoint> {
    (0..count).map(|number| endpoint(number, interval_seconds)).collect()
}

#[tokio::test(start_paused = true)]
async fn startup_is_staggered_and_each_endpoint_probed_once_per_interval() {
    let (source, prober, start) = (FakeSource::of(many(10_000, 10)), FakeProber::taking(s(1) / 10), Instant::now());
    let handle = Scheduler::start(source.clone(), prober.clone(), FakeClock::new().clock());
    sleep(s(10) + Duration::from_millis(5)).await;
    assert!((0..10_000).all(|number| !prober.starts(number, start).is_empty()), "each endpoint in the first interval");
    let mut per_second = [0; 10];
    (0..10_000).for_each(|number| per_second[(prober.starts(number, start)[0] as usize).min(9)] += 1);
    assert!(per_second.iter().all(|count| (850..1_150).contains(count)), "{per_second:?}");
    sleep(s(120)).await;
    assert!((130_000..130_020).contains(&prober.count()), "{}", prober.count());
    for number in [0, 17, 9_999] {
        let starts = prober.starts(number, start);
        let drift = (0..).zip(&starts).map(|(run, at)| at - starts[0] - f64::from(run) * 10.0);
        assert!(drift.into_iter().all(|drift| drift.abs() < 0.003), "{starts:?}");
    }
    handle.stop(s(1)).await;
    assert_eq!(source.observations.lock().unwrap().len(), prober.count(), "every probe was recorded");
}

#[tokio::test(start_paused = true)]
async fn restart_keeps_the_schedule() {
    let clock = FakeClock::new();
    let (source, prober) = (FakeSource::of(many(1_000, 60)), FakeProber::taking(s(0)));
    let handle = Scheduler::start(source.clone(), prober.clone(), clock.clock());
    sleep(s(90)).await;
    handle.stop(s(1)).await;
    let last: BTreeMap<_, Timestamp> =
        source.observations.lock().unwrap().iter().map(|(id, _, seen)| (*id, seen.started_at)).collect();
    assert_eq!(last.len(), 1_000);
    // Down for 20 seconds: some endpoints have become overdue, the others are probed as scheduled before.
    sleep(s(20)).await;
    let (restarted, restarted_at) = (Instant::now(), clock.now());
    let again = many(1_000, 60).into_iter();
    let again = again
        .map(|endpoint| MonitoredEndpoint { last_checked_at: last.get(&endpoint.id).copied(), ..endpoint })
        .collect();
    let prober = FakeProber::taking(s(0));
    let handle = Scheduler::start(FakeSource::of(again), prober.clone(), clock.clock());
    sleep(s(60)).await;
    let mut kept = 0;
    for number in 0..1_000 {
        let starts = prober.starts(number, restarted);
        assert!(!starts.is_empty(), "each endpoint within an interval");
        let due_ms = last[&id(number)].unix_ms() + 60_000 - restarted_at.unix_ms();
        if due_ms > 0 {
            kept += 1;
            assert!((starts[0] * 1e3 - due_ms as f64).abs() < 4.0, "{starts:?} {due_ms}");
        }
    }
    assert!(kept > 500, "{kept}");
    handle.stop(s(1)).await;
}

#[tokio::test(start_paused = true)]
async fn wall_clock_jump_does_not_affect_the_schedule() {
    for jump_ms in [3_600_000, -3_600_000] {
        let (clock, prober) = (FakeClock::new(), FakeProber::taking(s(0)));
        let (source, start) = (FakeSource::of(many(100, 10)), Instant::now());
        let handle = Scheduler::start(source.clone(), prober.clone(), clock.clock());
        sleep(s(60)).await;
        clock.jump(jump_ms);
        sleep(s(60)).await;
        assert_eq!(prober.count(), 1_200);
        for number in 0..100 {
            let starts = prober.starts(number, start);
            assert!(starts.windows(2).all(|pair| (pair[1] - pair[0] - 10.0).abs() < 0.003), "{starts:?}");
        }
        handle.stop(s(1)).await;
        // Observations carry the wall-clock time, including the jump.
        let observations = source.observations.lock().unwrap();
        let last = observations.last().unwrap().2.started_at;
        assert_eq!((last.unix_ms() - NOW.unix_ms() - jump_ms) / 1_000, 119);
    }
}

#[tokio::test(start_paused = true)]
async fn last_check_in_the_future_is_ignored() {
    // The clock was set back by an hour while the program was down.
    let ahead = MonitoredEndpoint { last_checked_at: Some(NOW.plus_ms(3_600_000)), ..endpoint(1, 60) };
    let (prober, start) = (FakeProber::taking(s(0)), Instant::now());
    let handle = Scheduler::start(FakeSource::of(vec![ahead]), prober.clone(), FakeClock::new().clock());
    sleep(s(60)).await;
    assert_eq!(prober.starts(1, start).len(), 1);
    handle.stop(s(1)).await;
}
