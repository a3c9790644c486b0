//! The scheduler with the real prober, over real sockets and in real time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use rustls::RootCertStore;
use tidings_channels::egress::Resolve;
use tidings_domain::check::{FailureClass, Observation};
use tidings_domain::endpoint::{Definition, Probe};
use tidings_monitor::{
    DnsResolver, EndpointProber, MonitoredEndpoint, PER_TARGET_MAX, Prober, ProberConfig, REFERENCE_INTERVAL_MIN,
    Scheduler,
};
use tokio::time::{Instant, timeout};

use super::support::{FakeClock, FakeSource, NOW, endpoint_with, id, s};
use crate::support::{OK, Server, TEST_TIMEOUT, get, loopback_guard};

/// An endpoint that is probed every second, with this timeout.
fn each_second(number: u32, url: String, timeout_ms: u32) -> MonitoredEndpoint {
    let endpoint = endpoint_with(number, 1, Probe::Http(get(url)));
    MonitoredEndpoint {
        definition: Arc::new(Definition { timeout_ms, ..Definition::clone(&endpoint.definition) }),
        ..endpoint
    }
}

/// Resolves only the reference target, and not even that while the network is down.
#[derive(Default)]
struct FakeNetwork {
    is_down: AtomicBool,
    lookups: AtomicUsize,
}

#[async_trait]
impl Resolve for FakeNetwork {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if host != "reference.example" {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such name"));
        }
        self.lookups.fetch_add(1, Ordering::SeqCst);
        if self.is_down.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }
}

fn prober(network: &Arc<FakeNetwork>, references: Vec<(String, u16)>) -> Arc<Prober> {
    let names = Arc::new(DnsResolver::with_servers(vec![SocketAddr::from(([127, 0, 0, 1], 9))]));
    let (resolver, roots) = (network.clone(), RootCertStore::empty());
    Arc::new(Prober::new(ProberConfig { guard: loopback_guard(), resolver, names, roots, idle_max: 100, references }))
}

fn class(observation: &Observation) -> Option<FailureClass> {
    observation.outcome.as_ref().err().map(|failure| failure.class)
}

#[tokio::test]
async fn hanging_target_does_not_delay_others() {
    let (hanging, quick) = (Server::trickling("").await, Server::answering(OK).await);
    let hung = 2 * PER_TARGET_MAX as u32;
    let endpoints = (0..hung + 20).map(|number| {
        let server = if number < hung { &hanging } else { &quick };
        each_second(number, server.url(), 60_000)
    });
    let source = FakeSource::of(endpoints.collect());
    let prober = prober(&Arc::default(), Vec::new());
    let handle = Scheduler::start(source.clone(), prober, FakeClock::new().clock());
    // Each responsive endpoint is probed five times while the hanging ones use all of their target's permits.
    timeout(TEST_TIMEOUT, source.wait_for(100)).await.unwrap();
    handle.stop(s(0)).await;
    let observations = source.observations.lock().unwrap();
    assert!(observations.iter().all(|(id, ..)| *id >= self::id(hung)));
    for number in hung..hung + 20 {
        let mine = observations.iter().filter(|(id, ..)| *id == self::id(number));
        let starts: Vec<_> = mine.map(|(_, _, seen)| seen.started_at.unix_ms()).collect();
        let gaps = starts.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.into_iter().all(|gap| gap < 5_000), "{starts:?}");
    }
    assert_eq!(hanging.connections(), PER_TARGET_MAX);
}

#[tokio::test]
async fn many_failures_with_reference_targets_are_classified_by_them() {
    const COUNT: usize = 2_000;
    let reference = Server::answering(OK).await;
    for is_down in [false, true] {
        let network = Arc::new(FakeNetwork { is_down: is_down.into(), ..FakeNetwork::default() });
        let references = vec![("reference.example".to_owned(), reference.address.port())];
        let prober = prober(&network, references);
        let url = |number| format!("http://nowhere-{number}.example/");
        let source = FakeSource::of((0..COUNT as u32).map(|number| each_second(number, url(number), 20_000)).collect());
        let handle = Scheduler::start(source.clone(), prober, FakeClock::new().clock());
        timeout(TEST_TIMEOUT, source.wait_for(COUNT)).await.unwrap();
        handle.stop(s(10)).await;
        let lookups = network.lookups.load(Ordering::SeqCst);
        assert!((1..=20).contains(&lookups), "at most one per second: {lookups}");
        let observations = source.observations.lock().unwrap();
        for (_, _, seen) in observations.iter() {
            let words = &seen.outcome.as_ref().unwrap_err().message;
            assert!(
                words.contains("could not be resolved: there is no such name"),
                "the original message is kept: {words}"
            );
            assert_eq!(words.ends_with("; none of the reference targets responds either"), is_down);
            assert_eq!(class(seen), Some(if is_down { FailureClass::OwnNetwork } else { FailureClass::Dns }));
        }
    }
}

#[tokio::test]
async fn reference_probe_time_is_not_part_of_the_timings() {
    let (network, reference) = (Arc::<FakeNetwork>::default(), Server::answering(OK).await);
    let prober = prober(&network, vec![("reference.example".to_owned(), reference.address.port())]);
    let endpoint = each_second(1, "http://nowhere.example/".into(), 20_000);
    // The second failure waits until the next reference probe is allowed.
    for _ in 0..2 {
        let started = Instant::now();
        let seen = prober.probe_once(&endpoint, NOW).await;
        assert_eq!(class(&seen), Some(FailureClass::Dns));
        let (took, total_ms) = (started.elapsed(), u128::from(seen.timings.total_ms));
        assert!(took < REFERENCE_INTERVAL_MIN / 2 || total_ms < took.as_millis() / 2, "{took:?} {total_ms} ms");
    }
    assert_eq!(network.lookups.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn failure_without_reference_targets_is_the_endpoints() {
    let network = Arc::new(FakeNetwork { is_down: true.into(), ..FakeNetwork::default() });
    let source = FakeSource::of(vec![each_second(1, "http://nowhere.example/".into(), 5_000)]);
    let handle = Scheduler::start(source.clone(), prober(&network, Vec::new()), FakeClock::new().clock());
    timeout(TEST_TIMEOUT, source.wait_for(1)).await.unwrap();
    handle.stop(s(1)).await;
    assert_eq!(class(&source.observations.lock().unwrap()[0].2), Some(FailureClass::Dns));
}

#[tokio::test]
async fn probes_send_the_user_agent() {
    let server = Server::answering(OK).await;
    let source = FakeSource::of(vec![each_second(1, server.url(), 5_000)]);
    let handle = Scheduler::start(source.clone(), prober(&Arc::default(), Vec::new()), FakeClock::new().clock());
    timeout(TEST_TIMEOUT, source.wait_for(1)).await.unwrap();
    handle.stop(s(1)).await;
    let agent = concat!("user-agent: Tidings/", env!("CARGO_PKG_VERSION"));
    assert!(server.heads()[0].lines().any(|line| line == agent), "{:?}", server.heads());
}
