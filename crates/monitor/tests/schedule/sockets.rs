//! The schedule with the real prober, over real sockets and in real time.

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
    DnsResolver, EndpointProber, MonitoredEndpoint, PER_TARGET_MAX, Prober, ProberConfig, REFERENCE_GAP, Scheduler,
};
use tokio::time::{Instant, timeout};

use crate::net::{OK, SURELY, Server, get, loopback};
use crate::support::{Book, NOW, Wall, id, s, watching};

/// Looked at once a second, for so long at most.
fn each_second(number: u32, url: String, timeout_ms: u32) -> MonitoredEndpoint {
    let watch = watching(number, 1, Probe::Http(get(url)));
    MonitoredEndpoint {
        definition: Arc::new(Definition { timeout_ms, ..Definition::clone(&watch.definition) }),
        ..watch
    }
}

/// Knows the reference while the network is there, and nobody else.
#[derive(Default)]
struct Network {
    is_gone: AtomicBool,
    looks: AtomicUsize,
}

#[async_trait]
impl Resolve for Network {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if host != "reference.example" {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such name"));
        }
        self.looks.fetch_add(1, Ordering::SeqCst);
        if self.is_gone.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }
}

fn prober(network: &Arc<Network>, references: Vec<(String, u16)>) -> Arc<Prober> {
    let names = Arc::new(DnsResolver::asking(vec![SocketAddr::from(([127, 0, 0, 1], 9))]));
    let (resolver, roots) = (network.clone(), RootCertStore::empty());
    Arc::new(Prober::new(ProberConfig { guard: loopback(), resolver, names, roots, idle_max: 100, references }))
}

fn class(observation: &Observation) -> Option<FailureClass> {
    observation.outcome.as_ref().err().map(|failure| failure.class)
}

#[tokio::test]
async fn one_slow_target_delays_no_other() {
    let (hanging, quick) = (Server::dripping("").await, Server::answering(OK).await);
    let hung = 2 * PER_TARGET_MAX as u32;
    let endpoints = (0..hung + 20).map(|number| {
        let server = if number < hung { &hanging } else { &quick };
        each_second(number, server.url(), 60_000)
    });
    let book = Book::of(endpoints.collect());
    let prober = prober(&Arc::default(), Vec::new());
    let handle = Scheduler::start(book.clone(), prober, Wall::new().clock());
    // Everyone who answers is seen five times, while those that hang have taken all that they get.
    timeout(SURELY, book.until_seen(100)).await.unwrap();
    handle.stop(s(0)).await;
    let observations = book.observations.lock().unwrap();
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
async fn a_storm_of_failures_is_told_from_a_network_that_is_gone() {
    const COUNT: usize = 2_000;
    let reference = Server::answering(OK).await;
    for is_gone in [false, true] {
        let network = Arc::new(Network { is_gone: is_gone.into(), ..Network::default() });
        let references = vec![("reference.example".to_owned(), reference.address.port())];
        let prober = prober(&network, references);
        let url = |number| format!("http://nowhere-{number}.example/");
        let book = Book::of((0..COUNT as u32).map(|number| each_second(number, url(number), 20_000)).collect());
        let handle = Scheduler::start(book.clone(), prober, Wall::new().clock());
        timeout(SURELY, book.until_seen(COUNT)).await.unwrap();
        handle.stop(s(10)).await;
        let looks = network.looks.load(Ordering::SeqCst);
        assert!((1..=20).contains(&looks), "one a second: {looks}");
        let observations = book.observations.lock().unwrap();
        for (_, _, seen) in observations.iter() {
            let words = &seen.outcome.as_ref().unwrap_err().message;
            assert!(words.contains("could not be resolved: there is no such name"), "what was seen is said: {words}");
            assert_eq!(words.ends_with("; none of the reference targets answers either"), is_gone);
            assert_eq!(class(seen), Some(if is_gone { FailureClass::OwnNetwork } else { FailureClass::Dns }));
        }
    }
}

#[tokio::test]
async fn waiting_for_the_look_is_not_the_endpoints_time() {
    let (network, reference) = (Arc::<Network>::default(), Server::answering(OK).await);
    let prober = prober(&network, vec![("reference.example".to_owned(), reference.address.port())]);
    let watch = each_second(1, "http://nowhere.example/".into(), 20_000);
    // The second one is held back until the next look.
    for _ in 0..2 {
        let began = Instant::now();
        let seen = prober.look(&watch, NOW).await;
        assert_eq!(class(&seen), Some(FailureClass::Dns));
        let (took, told_ms) = (began.elapsed(), u128::from(seen.timings.total_ms));
        assert!(took < REFERENCE_GAP / 2 || told_ms < took.as_millis() / 2, "{took:?} {told_ms} ms");
    }
    assert_eq!(network.looks.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn without_references_every_failure_is_the_endpoints() {
    let network = Arc::new(Network { is_gone: true.into(), ..Network::default() });
    let book = Book::of(vec![each_second(1, "http://nowhere.example/".into(), 5_000)]);
    let handle = Scheduler::start(book.clone(), prober(&network, Vec::new()), Wall::new().clock());
    timeout(SURELY, book.until_seen(1)).await.unwrap();
    handle.stop(s(1)).await;
    assert_eq!(class(&book.observations.lock().unwrap()[0].2), Some(FailureClass::Dns));
}

#[tokio::test]
async fn probes_say_who_they_are() {
    let server = Server::answering(OK).await;
    let book = Book::of(vec![each_second(1, server.url(), 5_000)]);
    let handle = Scheduler::start(book.clone(), prober(&Arc::default(), Vec::new()), Wall::new().clock());
    timeout(SURELY, book.until_seen(1)).await.unwrap();
    handle.stop(s(1)).await;
    let agent = concat!("user-agent: Tidings/", env!("CARGO_PKG_VERSION"));
    assert!(server.heads()[0].lines().any(|line| line == agent), "{:?}", server.heads());
}
