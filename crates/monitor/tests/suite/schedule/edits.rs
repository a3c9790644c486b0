//! Endpoints that are added, edited and removed while the scheduler runs.

use std::sync::Arc;

use tidings_domain::endpoint::{Definition, Probe};
use tidings_monitor::{MonitoredEndpoint, Scheduler};
use tokio::time::{Instant, sleep};

use super::support::{FakeClock, FakeProber, FakeSource, endpoint, s};

fn edit_definition(endpoint: &mut MonitoredEndpoint, change: impl FnOnce(&mut Definition)) {
    change(Arc::make_mut(&mut endpoint.definition));
}

#[tokio::test(start_paused = true)]
async fn added_endpoint_is_probed_at_once_and_removed_one_no_more() {
    let (source, prober, start) = (FakeSource::of(Vec::new()), FakeProber::taking(s(0)), Instant::now());
    let handle = Scheduler::start(source.clone(), prober.clone(), FakeClock::new().clock());
    sleep(s(100)).await;
    source.edit(|endpoints| endpoints.push(Arc::new(endpoint(1, 60))));
    sleep(s(61)).await;
    let starts = prober.starts(1, start);
    assert!(starts[0] - 100.0 < 0.06 && (starts[1] - starts[0] - 60.0).abs() < 0.003, "{starts:?}");
    source.edit(Vec::clear);
    sleep(s(600)).await;
    assert_eq!(prober.count(), 2);
    // Added again: probed at once.
    source.edit(|endpoints| endpoints.push(Arc::new(endpoint(1, 60))));
    sleep(s(1)).await;
    assert_eq!(prober.count(), 3);
    handle.stop(s(1)).await;
}

#[tokio::test(start_paused = true)]
async fn many_endpoints_added_together_are_staggered() {
    let (source, prober) = (FakeSource::of(Vec::new()), FakeProber::taking(s(0)));
    let handle = Scheduler::start(source.clone(), prober.clone(), FakeClock::new().clock());
    sleep(s(1)).await;
    source.edit(|endpoints| endpoints.extend((0..5_000).map(|number| Arc::new(endpoint(number, 60)))));
    for second in 1..=5 {
        sleep(s(1)).await;
        let expected = second * 1_000;
        assert!((expected - 250..=expected + 100).contains(&prober.count()), "{second} {}", prober.count());
    }
    sleep(s(1)).await;
    assert_eq!(prober.count(), 5_000);
    handle.stop(s(1)).await;
}

#[tokio::test(start_paused = true)]
async fn edited_interval_takes_effect_at_once_and_other_edits_keep_the_schedule() {
    let (source, prober, start) = (FakeSource::of(vec![endpoint(1, 3_600)]), FakeProber::taking(s(0)), Instant::now());
    let handle = Scheduler::start(source.clone(), prober.clone(), FakeClock::new().clock());
    source.wait_for(1).await;
    let first = prober.starts(1, start)[0];
    sleep(s(5)).await;
    source.edit_one(0, |endpoint| edit_definition(endpoint, |definition| definition.interval_seconds = 10));
    sleep(s(26)).await;
    let starts: Vec<_> = prober.starts(1, start).iter().map(|at| (at - first).round()).collect();
    assert_eq!(starts, [0.0, 10.0, 20.0, 30.0], "counted from the last run");
    source.edit_one(0, |endpoint| edit_definition(endpoint, |definition| definition.failure_threshold = 9));
    sleep(s(10)).await;
    let starts = prober.starts(1, start);
    assert_eq!((starts.len(), (starts[4] - first).round()), (5, 40.0));
    source.edit_one(0, |endpoint| edit_definition(endpoint, |definition| definition.interval_seconds = 86_400));
    sleep(s(80_000)).await;
    assert_eq!(prober.count(), 5);
    handle.stop(s(1)).await;
    let revisions: Vec<_> = source.observations.lock().unwrap().iter().map(|(_, revision, _)| *revision).collect();
    assert_eq!(revisions, [1, 2, 2, 2, 3], "each with the revision that was probed");
}

#[tokio::test(start_paused = true)]
async fn edited_probe_cancels_the_one_in_flight() {
    let (source, prober, start) = (FakeSource::of(vec![endpoint(1, 60)]), FakeProber::taking(s(8)), Instant::now());
    let handle = Scheduler::start(source.clone(), prober.clone(), FakeClock::new().clock());
    while prober.count() == 0 {
        sleep(s(1)).await;
    }
    source.edit_one(0, |endpoint| {
        edit_definition(endpoint, |definition| definition.probe = Probe::Tcp { host: "elsewhere".into(), port: 1 });
    });
    source.wait_for(1).await;
    let starts = prober.starts(1, start);
    assert!(starts.len() == 2 && starts[1] - starts[0] < 1.1, "{starts:?}");
    assert_eq!(source.observations.lock().unwrap()[0].1, 2, "the cancelled probe is not recorded");
    // Removed during a probe: that is not recorded either.
    while prober.count() < 3 {
        sleep(s(1)).await;
    }
    source.edit(Vec::clear);
    sleep(s(60)).await;
    assert_eq!(source.observations.lock().unwrap().len(), 1);
    handle.stop(s(1)).await;
}

#[tokio::test(start_paused = true)]
async fn edit_without_notification_is_found_by_polling() {
    let source = Arc::new(FakeSource { never_notifies: true, ..FakeSource::with(Vec::new()) });
    let prober = FakeProber::taking(s(0));
    let handle = Scheduler::start(source.clone(), prober.clone(), FakeClock::new().clock());
    sleep(s(10)).await;
    source.edit(|endpoints| endpoints.push(Arc::new(endpoint(1, 60))));
    sleep(s(2)).await;
    assert_eq!(prober.count(), 1);
    handle.stop(s(1)).await;
}
