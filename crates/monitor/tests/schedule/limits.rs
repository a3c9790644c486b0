//! Probes that take too long, that fail, that nobody writes down; and the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidings_domain::endpoint::Probe;
use tidings_monitor::{PENDING_WRITES_MAX, Scheduler};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Book, Eyes, Wall, s, watched, watching};

#[tokio::test(start_paused = true)]
async fn an_endpoint_whose_probe_is_under_way_waits_for_its_next_turn() {
    let (eyes, begun) = (Eyes::taking(s(25)), Instant::now());
    let handle = Scheduler::start(Book::of(vec![watched(1, 10)]), eyes.clone(), Wall::new().clock());
    sleep(s(300)).await;
    let looks = eyes.looks(1, begun);
    assert!(looks.len() >= 9 && looks.windows(2).all(|pair| (pair[1] - pair[0] - 30.0).abs() < 0.003), "{looks:?}");
    handle.stop(s(0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_takes_nothing_but_its_own_turn() {
    let panics = watching(1, 10, Probe::Tcp { host: "panic".into(), port: 1 });
    let eyes = Eyes::taking(s(0));
    let handle = Scheduler::start(Book::of(vec![panics, watched(2, 10)]), eyes.clone(), Wall::new().clock());
    sleep(s(60)).await;
    assert_eq!(eyes.began.lock().unwrap().values().map(Vec::len).collect::<Vec<_>>(), [6, 6]);
    handle.stop(s(1)).await;
}

#[tokio::test(start_paused = true)]
async fn while_nothing_can_be_written_down_no_more_is_looked_at_than_can_be_kept() {
    let endpoints = (0..2 * PENDING_WRITES_MAX as u32).map(|number| watched(number, 10)).collect();
    let book = Arc::new(Book { pens: Semaphore::new(0), ..Book::with(endpoints) });
    let eyes = Eyes::taking(s(0));
    let handle = Scheduler::start(book.clone(), eyes.clone(), Wall::new().clock());
    sleep(s(60)).await;
    assert_eq!(eyes.count(), PENDING_WRITES_MAX);
    book.pens.add_permits(100);
    sleep(s(20)).await;
    assert!(eyes.count() >= PENDING_WRITES_MAX + 2 * PENDING_WRITES_MAX, "everyone again: {}", eyes.count());
    handle.stop(s(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_what_is_under_way_and_begins_nothing() {
    let endpoints = || (0..100).map(|number| watched(number, 10)).collect();
    let (book, eyes) = (Book::of(endpoints()), Eyes::taking(s(5)));
    let handle = Scheduler::start(book.clone(), eyes.clone(), Wall::new().clock());
    sleep(s(7)).await;
    let (begun, stopping) = (eyes.count(), Instant::now());
    assert!(eyes.now.load(Ordering::SeqCst) > 10);
    handle.stop(s(60)).await;
    let took = stopping.elapsed();
    assert!(took > s(4) && took < s(6), "as long as the last probe, not as long as it might: {took:?}");
    assert_eq!((eyes.count(), book.observations.lock().unwrap().len()), (begun, begun));

    // What takes longer than the bound is dropped.
    let (book, eyes) = (Book::of(endpoints()), Eyes::taking(s(3_600)));
    let handle = Scheduler::start(book.clone(), eyes.clone(), Wall::new().clock());
    sleep(s(20)).await;
    let stopping = Instant::now();
    handle.stop(s(3)).await;
    assert_eq!((stopping.elapsed().as_secs(), eyes.now.load(Ordering::SeqCst)), (3, 0));
    assert!(book.observations.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_is_dropped_ends_everything() {
    let eyes = Eyes::taking(s(3_600));
    let handle = Scheduler::start(Book::of(vec![watched(1, 10)]), eyes.clone(), Wall::new().clock());
    sleep(s(20)).await;
    assert_eq!(eyes.now.load(Ordering::SeqCst), 1);
    drop(handle);
    timeout(s(1), async {
        while eyes.now.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}
