//! Concurrent probes: limits per target, and cancellation.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidings_channels::egress::DialOptions;
use tidings_domain::endpoint::Probe;
use tidings_monitor::PER_TARGET_MAX;
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;

use crate::support::{AGENT, NOW, OK, Server, get, http_answer, lenient, observe_http, prober};

#[tokio::test]
async fn hanging_target_gets_at_most_its_limit_of_connections() {
    let prober = Arc::new(prober());
    let (hanging, quick) = (Server::trickling("").await, Server::answering(OK).await);
    let probes: Vec<_> = (0..PER_TARGET_MAX + 10)
        .map(|_| {
            let (prober, probe) = (prober.clone(), Probe::Http(get(hanging.url())));
            tokio::spawn(async move { prober.probe(&lenient(&probe), AGENT, NOW, DialOptions::default()).await })
        })
        .collect();
    while hanging.connections() < PER_TARGET_MAX {
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        assert_eq!(http_answer(&observe_http(&prober, &get(quick.url())).await).status, 200);
    }
    assert_eq!(hanging.connections(), PER_TARGET_MAX, "the others wait for a permit");
    // Cancelled probes return their permits.
    probes.iter().take(10).for_each(tokio::task::JoinHandle::abort);
    while hanging.connections() < PER_TARGET_MAX + 10 {
        tokio::task::yield_now().await;
    }
    probes.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn waiting_for_a_permit_is_not_part_of_the_timings() {
    let prober = Arc::new(prober());
    let respond = Arc::new(Notify::new());
    let may_respond = respond.clone();
    let served = Arc::new(AtomicUsize::new(0));
    let counter = served.clone();
    let server = Server::start(move |mut stream, _, log| {
        let (may_respond, counter) = (may_respond.clone(), counter.clone());
        async move {
            if counter.fetch_add(1, Ordering::SeqCst) < PER_TARGET_MAX {
                may_respond.notified().await;
            }
            crate::support::answer_all(&mut stream, &log, OK.as_bytes()).await
        }
    })
    .await;
    let start_probe = || {
        let (prober, probe) = (prober.clone(), Probe::Http(get(server.url())));
        tokio::spawn(async move { prober.probe(&lenient(&probe), AGENT, NOW, DialOptions::default()).await })
    };
    let first: Vec<_> = (0..PER_TARGET_MAX).map(|_| start_probe()).collect();
    while served.load(Ordering::SeqCst) < PER_TARGET_MAX {
        tokio::task::yield_now().await;
    }
    let waiting = start_probe();
    tokio::task::yield_now().await;
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    tokio::time::resume();
    respond.notify_waiters();
    let observation = waiting.await.unwrap();
    assert_eq!(http_answer(&observation).status, 200);
    assert!(observation.timings.total_ms < 4_000, "{:?}", observation.timings);
    assert!(observation.started_at >= NOW.plus_ms(5_000), "it started when it got a permit");
    for probe in first {
        assert!(probe.await.unwrap().timings.total_ms >= 5_000);
    }
}

#[tokio::test]
async fn dropped_probe_closes_its_connection() {
    let (connected, closed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (on_connect, on_close) = (connected.clone(), closed.clone());
    let server = Server::start(move |mut stream, _, _| {
        let (on_connect, on_close) = (on_connect.clone(), on_close.clone());
        async move {
            on_connect.notify_one();
            while stream.read_u8().await.is_ok() {}
            on_close.notify_one();
            Ok(())
        }
    })
    .await;
    let prober = Arc::new(prober());
    let (cloned, probe) = (prober.clone(), Probe::Http(get(server.url())));
    let task = tokio::spawn(async move { cloned.probe(&lenient(&probe), AGENT, NOW, DialOptions::default()).await });
    connected.notified().await;
    task.abort();
    closed.notified().await;
}
