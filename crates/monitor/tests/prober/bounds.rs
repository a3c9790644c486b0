//! Many probes at once: one that hangs takes nothing from the others, and one that is dropped leaves nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidings_domain::endpoint::Probe;
use tidings_monitor::PER_TARGET_MAX;
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;

use crate::support::{AGENT, LONG, NOW, OK, Server, get, look_at, page, prober};

#[tokio::test]
async fn a_target_that_hangs_gets_so_many_connections_and_delays_no_other() {
    let prober = Arc::new(prober());
    let (hanging, quick) = (Server::dripping("").await, Server::answering(OK).await);
    let looks: Vec<_> = (0..PER_TARGET_MAX + 10)
        .map(|_| {
            let (prober, probe) = (prober.clone(), Probe::Http(get(hanging.url())));
            tokio::spawn(async move { prober.probe(&probe, None, LONG, AGENT, NOW).await })
        })
        .collect();
    while hanging.connections() < PER_TARGET_MAX {
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        assert_eq!(page(&look_at(&prober, &get(quick.url())).await).status, 200);
    }
    assert_eq!(hanging.connections(), PER_TARGET_MAX, "the others wait");
    // Who gives up makes room.
    looks.iter().take(10).for_each(tokio::task::JoinHandle::abort);
    while hanging.connections() < PER_TARGET_MAX + 10 {
        tokio::task::yield_now().await;
    }
    looks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn waiting_for_its_turn_is_not_the_endpoints_time() {
    let prober = Arc::new(prober());
    let go = Arc::new(Notify::new());
    let told = go.clone();
    let served = Arc::new(AtomicUsize::new(0));
    let counter = served.clone();
    let server = Server::start(move |mut stream, _, log| {
        let (told, counter) = (told.clone(), counter.clone());
        async move {
            if counter.fetch_add(1, Ordering::SeqCst) < PER_TARGET_MAX {
                told.notified().await;
            }
            crate::support::answer_all(&mut stream, &log, OK.as_bytes()).await
        }
    })
    .await;
    let look = || {
        let (prober, probe) = (prober.clone(), Probe::Http(get(server.url())));
        tokio::spawn(async move { prober.probe(&probe, None, LONG, AGENT, NOW).await })
    };
    let first: Vec<_> = (0..PER_TARGET_MAX).map(|_| look()).collect();
    while served.load(Ordering::SeqCst) < PER_TARGET_MAX {
        tokio::task::yield_now().await;
    }
    let waits = look();
    tokio::task::yield_now().await;
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    tokio::time::resume();
    go.notify_waiters();
    let observation = waits.await.unwrap();
    assert_eq!(page(&observation).status, 200);
    assert!(observation.timings.total_ms < 4_000, "{:?}", observation.timings);
    assert!(observation.started_at >= NOW.plus_ms(5_000), "it began when it was its turn");
    for look in first {
        assert!(look.await.unwrap().timings.total_ms >= 5_000);
    }
}

#[tokio::test]
async fn a_probe_that_is_dropped_closes_its_connection() {
    let (came, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (comes, goes) = (came.clone(), gone.clone());
    let server = Server::start(move |mut stream, _, _| {
        let (comes, goes) = (comes.clone(), goes.clone());
        async move {
            comes.notify_one();
            while stream.read_u8().await.is_ok() {}
            goes.notify_one();
            Ok(())
        }
    })
    .await;
    let prober = Arc::new(prober());
    let (probing, probe) = (prober.clone(), Probe::Http(get(server.url())));
    let look = tokio::spawn(async move { probing.probe(&probe, None, LONG, AGENT, NOW).await });
    came.notified().await;
    look.abort();
    gone.notified().await;
}
