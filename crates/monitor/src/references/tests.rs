//! Reference targets against a simulated network.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::time::advance;

use super::*;

/// Resolves every name to loopback, or fails while the network is down; counts lookups.
#[derive(Default)]
struct FakeNetwork {
    is_down: AtomicBool,
    lookups: AtomicUsize,
}

#[async_trait]
impl Resolve for FakeNetwork {
    async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        if self.is_down.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }
}

async fn reference_targets(network: &Arc<FakeNetwork>) -> (ReferenceTargets, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (ReferenceTargets::new(vec![("reference.example".into(), port)], network.clone()).unwrap(), listener)
}

async fn reclassified(references: &ReferenceTargets, class: FailureClass, probe_started: Instant) -> FailureClass {
    let mut failure = Failure { class, message: "original".into() };
    references.reclassify(&mut failure, probe_started).await;
    let is_same = failure.class == class;
    let message = if is_same { "original" } else { "original; none of the reference targets responds either" };
    assert_eq!(failure.message, message);
    failure.class
}

#[tokio::test]
async fn reference_targets_empty_list_is_none() {
    assert!(ReferenceTargets::new(Vec::new(), Arc::new(FakeNetwork::default())).is_none());
}

#[tokio::test(start_paused = true)]
async fn reclassify_probes_only_for_classes_that_may_be_own() {
    let network = Arc::new(FakeNetwork { is_down: true.into(), ..FakeNetwork::default() });
    let (references, _listener) = reference_targets(&network).await;
    for class in FailureClass::ALL {
        let may_be_own = matches!(class, FailureClass::Dns | FailureClass::Connect | FailureClass::Timeout);
        let expected = if may_be_own { FailureClass::OwnNetwork } else { class };
        let before = network.lookups.load(Ordering::SeqCst);
        assert_eq!(reclassified(&references, class, Instant::now()).await, expected);
        advance(Duration::from_millis(1)).await;
        assert_eq!(network.lookups.load(Ordering::SeqCst) - before, usize::from(may_be_own), "{class:?}");
    }
}

#[tokio::test]
async fn reclassify_responding_or_refusing_target_keeps_class() {
    let network = Arc::new(FakeNetwork::default());
    let (references, listener) = reference_targets(&network).await;
    assert_eq!(reclassified(&references, FailureClass::Connect, Instant::now()).await, FailureClass::Connect);
    drop(listener);
    assert_eq!(reclassified(&references, FailureClass::Connect, Instant::now()).await, FailureClass::Connect);
}

#[tokio::test]
async fn reclassify_ignores_earlier_success_and_counts_outage_during_probe() {
    let network = Arc::new(FakeNetwork::default());
    let (references, _listener) = reference_targets(&network).await;
    let early = Instant::now();
    assert_eq!(reclassified(&references, FailureClass::Timeout, early).await, FailureClass::Timeout);
    // The network goes down: the success of a moment ago does not count.
    network.is_down.store(true, Ordering::SeqCst);
    assert_eq!(reclassified(&references, FailureClass::Timeout, early).await, FailureClass::OwnNetwork);
    assert_eq!(network.lookups.load(Ordering::SeqCst), 2);
    // It is back. A probe that started before the outage was affected by it; one that starts now is not.
    network.is_down.store(false, Ordering::SeqCst);
    assert_eq!(reclassified(&references, FailureClass::Timeout, early).await, FailureClass::OwnNetwork);
    tokio::time::pause();
    advance(Duration::from_millis(1)).await;
    tokio::time::resume();
    assert_eq!(reclassified(&references, FailureClass::Timeout, Instant::now()).await, FailureClass::Timeout);
}

#[tokio::test]
async fn reclassify_concurrent_failures_share_one_probe() {
    let network = Arc::new(FakeNetwork::default());
    let (references, _listener) = reference_targets(&network).await;
    let references = Arc::new(references);
    let failures: Vec<_> = (0..2_000)
        .map(|_| {
            let references = references.clone();
            tokio::spawn(async move { reclassified(&references, FailureClass::Timeout, Instant::now()).await })
        })
        .collect();
    for failure in failures {
        assert_eq!(failure.await.unwrap(), FailureClass::Timeout);
    }
    // One for the failures before it, and one for those that came while it ran.
    assert!(network.lookups.load(Ordering::SeqCst) <= 2, "{:?}", network.lookups);
}
