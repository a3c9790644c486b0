//! Slow and panicking probes, blocked writes, and shutdown.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidings_domain::endpoint::Probe;
use tidings_monitor::{PENDING_WRITES_MAX, Scheduler};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::support::{FakeClock, FakeProber, FakeSource, endpoint, endpoint_with, s};

#[tokio::test(start_paused = true)]
async fn probe_longer_than_interval_skips_runs() {
    let (prober, start) = (FakeProber::taking(s(25)), Instant::now());
    let handle = Scheduler::start(FakeSource::of(vec![endpoint(1, 10)]), prober.clone(), FakeClock::new().clock());
    sleep(s(300)).await;
    let starts = prober.starts(1, start);
    assert!(starts.len() >= 9 && starts.windows(2).all(|pair| (pair[1] - pair[0] - 30.0).abs() < 0.003), "{starts:?}");
    handle.stop(s(0)).await;
}

#[tokio::test(start_paused = true)]
async fn panicking_check_affects_only_its_own_run() {
    let panics = endpoint_with(1, 10, Probe::Tcp { host: "panic".into(), port: 1 });
    let prober = FakeProber::taking(s(0));
    let handle =
        Scheduler::start(FakeSource::of(vec![panics, endpoint(2, 10)]), prober.clone(), FakeClock::new().clock());
    sleep(s(60)).await;
    assert_eq!(prober.started.lock().unwrap().values().map(Vec::len).collect::<Vec<_>>(), [6, 6]);
    handle.stop(s(1)).await;
}

#[tokio::test(start_paused = true)]
async fn blocked_writes_stop_probes_at_the_pending_limit() {
    let endpoints = (0..2 * PENDING_WRITES_MAX as u32).map(|number| endpoint(number, 10)).collect();
    let source = Arc::new(FakeSource { write_permits: Semaphore::new(0), ..FakeSource::with(endpoints) });
    let prober = FakeProber::taking(s(0));
    let handle = Scheduler::start(source.clone(), prober.clone(), FakeClock::new().clock());
    sleep(s(60)).await;
    assert_eq!(prober.count(), PENDING_WRITES_MAX);
    source.write_permits.add_permits(100);
    sleep(s(20)).await;
    assert!(prober.count() >= PENDING_WRITES_MAX + 2 * PENDING_WRITES_MAX, "all endpoints resume: {}", prober.count());
    handle.stop(s(1)).await;
}

#[tokio::test(start_paused = true)]
async fn stop_waits_for_probes_in_flight_up_to_the_grace_period() {
    let endpoints = || (0..100).map(|number| endpoint(number, 10)).collect();
    let (source, prober) = (FakeSource::of(endpoints()), FakeProber::taking(s(5)));
    let handle = Scheduler::start(source.clone(), prober.clone(), FakeClock::new().clock());
    sleep(s(7)).await;
    let (started, stopping) = (prober.count(), Instant::now());
    assert!(prober.in_flight.load(Ordering::SeqCst) > 10);
    handle.stop(s(60)).await;
    let took = stopping.elapsed();
    assert!(took > s(4) && took < s(6), "as long as the last probe, not the whole grace period: {took:?}");
    assert_eq!((prober.count(), source.observations.lock().unwrap().len()), (started, started));

    // Probes that take longer than the grace period are cancelled.
    let (source, prober) = (FakeSource::of(endpoints()), FakeProber::taking(s(3_600)));
    let handle = Scheduler::start(source.clone(), prober.clone(), FakeClock::new().clock());
    sleep(s(20)).await;
    let stopping = Instant::now();
    handle.stop(s(3)).await;
    assert_eq!((stopping.elapsed().as_secs(), prober.in_flight.load(Ordering::SeqCst)), (3, 0));
    assert!(source.observations.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn dropped_handle_cancels_all_probes() {
    let prober = FakeProber::taking(s(3_600));
    let handle = Scheduler::start(FakeSource::of(vec![endpoint(1, 10)]), prober.clone(), FakeClock::new().clock());
    sleep(s(20)).await;
    assert_eq!(prober.in_flight.load(Ordering::SeqCst), 1);
    drop(handle);
    timeout(s(1), async {
        while prober.in_flight.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}
