//! How often, and when: at the start, for hours on end, over a restart, and whatever the time of day does.

use std::collections::BTreeMap;
use std::time::Duration;

use tidings_domain::time::Timestamp;
use tidings_monitor::{MonitoredEndpoint, Scheduler};
use tokio::time::{Instant, sleep};

use crate::support::{Book, Eyes, NOW, Wall, id, s, watched};

fn many(count: u32, interval_seconds: u32) -> Vec<MonitoredEndpoint> {
    (0..count).map(|number| watched(number, interval_seconds)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_start_is_spread_and_everyone_is_looked_at_once_an_interval() {
    let (book, eyes, begun) = (Book::of(many(10_000, 10)), Eyes::taking(s(1) / 10), Instant::now());
    let handle = Scheduler::start(book.clone(), eyes.clone(), Wall::new().clock());
    sleep(s(10) + Duration::from_millis(5)).await;
    assert!((0..10_000).all(|number| !eyes.looks(number, begun).is_empty()), "everyone in the first interval");
    let mut per_second = [0; 10];
    (0..10_000).for_each(|number| per_second[(eyes.looks(number, begun)[0] as usize).min(9)] += 1);
    assert!(per_second.iter().all(|count| (850..1_150).contains(count)), "{per_second:?}");
    sleep(s(120)).await;
    assert!((130_000..130_020).contains(&eyes.count()), "{}", eyes.count());
    for number in [0, 17, 9_999] {
        let looks = eyes.looks(number, begun);
        let drift = (0..).zip(&looks).map(|(turn, at)| at - looks[0] - f64::from(turn) * 10.0);
        assert!(drift.into_iter().all(|drift| drift.abs() < 0.003), "{looks:?}");
    }
    handle.stop(s(1)).await;
    assert_eq!(book.observations.lock().unwrap().len(), eyes.count(), "all that was begun was written down");
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_the_schedule() {
    let wall = Wall::new();
    let (book, eyes) = (Book::of(many(1_000, 60)), Eyes::taking(s(0)));
    let handle = Scheduler::start(book.clone(), eyes.clone(), wall.clock());
    sleep(s(90)).await;
    handle.stop(s(1)).await;
    let last: BTreeMap<_, Timestamp> =
        book.observations.lock().unwrap().iter().map(|(id, _, seen)| (*id, seen.started_at)).collect();
    assert_eq!(last.len(), 1_000);
    // Down for 20 seconds: some have become overdue, the others are looked at when they would have been.
    sleep(s(20)).await;
    let (restarted, restarted_at) = (Instant::now(), wall.now());
    let again = many(1_000, 60).into_iter();
    let again =
        again.map(|watch| MonitoredEndpoint { last_checked_at: last.get(&watch.id).copied(), ..watch }).collect();
    let eyes = Eyes::taking(s(0));
    let handle = Scheduler::start(Book::of(again), eyes.clone(), wall.clock());
    sleep(s(60)).await;
    let mut kept = 0;
    for number in 0..1_000 {
        let looks = eyes.looks(number, restarted);
        assert!(!looks.is_empty(), "everyone within an interval");
        let due_ms = last[&id(number)].unix_ms() + 60_000 - restarted_at.unix_ms();
        if due_ms > 0 {
            kept += 1;
            assert!((looks[0] * 1e3 - due_ms as f64).abs() < 4.0, "{looks:?} {due_ms}");
        }
    }
    assert!(kept > 500, "{kept}");
    handle.stop(s(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_an_hour_changes_nothing() {
    for jump_ms in [3_600_000, -3_600_000] {
        let (wall, eyes) = (Wall::new(), Eyes::taking(s(0)));
        let (book, begun) = (Book::of(many(100, 10)), Instant::now());
        let handle = Scheduler::start(book.clone(), eyes.clone(), wall.clock());
        sleep(s(60)).await;
        wall.jump(jump_ms);
        sleep(s(60)).await;
        assert_eq!(eyes.count(), 1_200);
        for number in 0..100 {
            let looks = eyes.looks(number, begun);
            assert!(looks.windows(2).all(|pair| (pair[1] - pair[0] - 10.0).abs() < 0.003), "{looks:?}");
        }
        handle.stop(s(1)).await;
        // What was seen carries the time of day, such as it was.
        let observations = book.observations.lock().unwrap();
        let last = observations.last().unwrap().2.started_at;
        assert_eq!((last.unix_ms() - NOW.unix_ms() - jump_ms) / 1_000, 119);
    }
}

#[tokio::test(start_paused = true)]
async fn a_last_check_in_the_future_is_not_waited_for() {
    // While it was down, the clock was set back by an hour.
    let ahead = MonitoredEndpoint { last_checked_at: Some(NOW.plus_ms(3_600_000)), ..watched(1, 60) };
    let (eyes, begun) = (Eyes::taking(s(0)), Instant::now());
    let handle = Scheduler::start(Book::of(vec![ahead]), eyes.clone(), Wall::new().clock());
    sleep(s(60)).await;
    assert_eq!(eyes.looks(1, begun).len(), 1);
    handle.stop(s(1)).await;
}
