//! Endpoints that come, change and go while the schedule runs.

use std::sync::Arc;

use tidings_domain::endpoint::{Definition, Probe};
use tidings_monitor::{MonitoredEndpoint, Scheduler};
use tokio::time::{Instant, sleep};

use crate::support::{Book, Eyes, Wall, s, watched};

fn edited(watch: &mut MonitoredEndpoint, change: impl FnOnce(&mut Definition)) {
    change(Arc::make_mut(&mut watch.definition));
}

#[tokio::test(start_paused = true)]
async fn who_comes_is_looked_at_at_once_and_who_goes_no_more() {
    let (book, eyes, begun) = (Book::of(Vec::new()), Eyes::taking(s(0)), Instant::now());
    let handle = Scheduler::start(book.clone(), eyes.clone(), Wall::new().clock());
    sleep(s(100)).await;
    book.edit(|endpoints| endpoints.push(Arc::new(watched(1, 60))));
    sleep(s(61)).await;
    let looks = eyes.looks(1, begun);
    assert!(looks[0] - 100.0 < 0.06 && (looks[1] - looks[0] - 60.0).abs() < 0.003, "{looks:?}");
    book.edit(Vec::clear);
    sleep(s(600)).await;
    assert_eq!(eyes.count(), 2);
    // Resumed: at once again.
    book.edit(|endpoints| endpoints.push(Arc::new(watched(1, 60))));
    sleep(s(1)).await;
    assert_eq!(eyes.count(), 3);
    handle.stop(s(1)).await;
}

#[tokio::test(start_paused = true)]
async fn who_comes_in_a_crowd_is_spread() {
    let (book, eyes) = (Book::of(Vec::new()), Eyes::taking(s(0)));
    let handle = Scheduler::start(book.clone(), eyes.clone(), Wall::new().clock());
    sleep(s(1)).await;
    book.edit(|endpoints| endpoints.extend((0..5_000).map(|number| Arc::new(watched(number, 60)))));
    for second in 1..=5 {
        sleep(s(1)).await;
        let expected = second * 1_000;
        assert!((expected - 250..=expected + 100).contains(&eyes.count()), "{second} {}", eyes.count());
    }
    sleep(s(1)).await;
    assert_eq!(eyes.count(), 5_000);
    handle.stop(s(1)).await;
}

#[tokio::test(start_paused = true)]
async fn another_interval_takes_effect_at_once_and_other_edits_leave_the_schedule_alone() {
    let (book, eyes, begun) = (Book::of(vec![watched(1, 3_600)]), Eyes::taking(s(0)), Instant::now());
    let handle = Scheduler::start(book.clone(), eyes.clone(), Wall::new().clock());
    book.until_seen(1).await;
    let first = eyes.looks(1, begun)[0];
    sleep(s(5)).await;
    book.edit_one(0, |watch| edited(watch, |definition| definition.interval_seconds = 10));
    sleep(s(26)).await;
    let looks: Vec<_> = eyes.looks(1, begun).iter().map(|at| (at - first).round()).collect();
    assert_eq!(looks, [0.0, 10.0, 20.0, 30.0], "counted from the last");
    book.edit_one(0, |watch| edited(watch, |definition| definition.failure_threshold = 9));
    sleep(s(10)).await;
    let looks = eyes.looks(1, begun);
    assert_eq!((looks.len(), (looks[4] - first).round()), (5, 40.0));
    book.edit_one(0, |watch| edited(watch, |definition| definition.interval_seconds = 86_400));
    sleep(s(80_000)).await;
    assert_eq!(eyes.count(), 5);
    handle.stop(s(1)).await;
    let revisions: Vec<_> = book.observations.lock().unwrap().iter().map(|(_, revision, _)| *revision).collect();
    assert_eq!(revisions, [1, 2, 2, 2, 3], "each with the definition that it was made by");
}

#[tokio::test(start_paused = true)]
async fn something_else_to_probe_gives_the_old_probe_up() {
    let (book, eyes, begun) = (Book::of(vec![watched(1, 60)]), Eyes::taking(s(8)), Instant::now());
    let handle = Scheduler::start(book.clone(), eyes.clone(), Wall::new().clock());
    while eyes.count() == 0 {
        sleep(s(1)).await;
    }
    book.edit_one(0, |watch| {
        edited(watch, |definition| definition.probe = Probe::Tcp { host: "elsewhere".into(), port: 1 });
    });
    book.until_seen(1).await;
    let looks = eyes.looks(1, begun);
    assert!(looks.len() == 2 && looks[1] - looks[0] < 1.1, "{looks:?}");
    assert_eq!(book.observations.lock().unwrap()[0].1, 2, "nothing is told of the old place");
    // Paused in the middle of a probe: nothing is told of it either.
    while eyes.count() < 3 {
        sleep(s(1)).await;
    }
    book.edit(Vec::clear);
    sleep(s(60)).await;
    assert_eq!(book.observations.lock().unwrap().len(), 1);
    handle.stop(s(1)).await;
}

#[tokio::test(start_paused = true)]
async fn edits_that_nobody_is_told_of_are_found() {
    let book = Arc::new(Book { is_mute: true, ..Book::with(Vec::new()) });
    let eyes = Eyes::taking(s(0));
    let handle = Scheduler::start(book.clone(), eyes.clone(), Wall::new().clock());
    sleep(s(10)).await;
    book.edit(|endpoints| endpoints.push(Arc::new(watched(1, 60))));
    sleep(s(2)).await;
    assert_eq!(eyes.count(), 1);
    handle.stop(s(1)).await;
}
