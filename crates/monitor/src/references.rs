//! Whether this machine's own network works: targets that the operator named are asked for a connection.
//!
//! They are asked only when a probe failed in a way that may be this machine's own fault. However many fail, there is
//! one look at a time, and one a second; who fails meanwhile waits for it. A look counts for a failure only if it
//! ended after it: that all was well a moment before says nothing about a cable that was pulled since.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ipnet::IpNet;
use tidings_channels::egress::{DialError, Dialer, Guard, Resolve};
use tidings_domain::check::{Failure, FailureClass};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::measure;

/// How long the targets are given, all at once.
pub const REFERENCE_TIMEOUT: Duration = Duration::from_secs(2);
/// From the beginning of one look to that of the next, at least.
pub const REFERENCE_GAP: Duration = Duration::from_secs(1);
/// What is added to the words of a failure that is this machine's own.
const WORDS: &str = "; none of the reference targets answers either";

/// The reference targets.
pub(crate) struct References {
    targets: Vec<(String, u16)>,
    dialer: Dialer,
    /// Held while somebody looks, so that there is one look at a time.
    looked: Mutex<Looked>,
}

/// What the looks so far have shown.
#[derive(Default)]
struct Looked {
    /// When the last one began, and when it ended.
    last: Option<(Instant, Instant)>,
    /// When last none of them answered.
    silent_at: Option<Instant>,
}

impl References {
    /// These hosts and ports, which the operator trusts; none if there are none.
    pub fn new(targets: Vec<(String, u16)>, resolver: Arc<dyn Resolve>) -> Option<Self> {
        let everywhere = ["0.0.0.0/0", "::/0"].iter().filter_map(|net| net.parse::<IpNet>().ok()).collect();
        let dialer = Dialer::new(Guard { allow: everywhere, allow_http: false }, resolver);
        (!targets.is_empty()).then(|| Self { targets, dialer, looked: Mutex::default() })
    }

    /// Makes a failure this machine's own if it may be and none of the targets answers. `began` is when the probe did:
    /// if none answered at any time since, then nothing was learnt about the other end.
    pub async fn judge(&self, failure: &mut Failure, began: Instant) {
        let may_be_own = matches!(failure.class, FailureClass::Dns | FailureClass::Connect | FailureClass::Timeout);
        if may_be_own && self.were_silent(began, Instant::now()).await {
            failure.class = FailureClass::OwnNetwork;
            failure.message.push_str(WORDS);
        }
    }

    /// Whether none answered some time between the two, or answers now.
    async fn were_silent(&self, began: Instant, failed: Instant) -> bool {
        let mut looked = self.looked.lock().await;
        let were_silent = |looked: &Looked| looked.silent_at.is_some_and(|at| at >= began);
        if were_silent(&looked) {
            return true;
        }
        if let Some((since, until)) = looked.last {
            // It ended after the failure: while this one waited for it.
            if until >= failed {
                return false;
            }
            sleep_until(since + REFERENCE_GAP).await;
        }
        let since = Instant::now();
        let answers = self.answers(since + REFERENCE_TIMEOUT).await;
        let until = Instant::now();
        measure::looked_at_references(answers);
        let was_silent = looked.silent_at.is_some() && looked.silent_at == looked.last.map(|(_, until)| until);
        looked.last = Some((since, until));
        if !answers {
            looked.silent_at = Some(until);
        }
        match (answers, was_silent) {
            (false, false) => {
                tracing::warn!("no reference target answers: failing checks are inconclusive until one does");
            }
            (true, true) => tracing::info!("a reference target answers again: checks count again"),
            _ => {}
        }
        !answers
    }

    /// Whether one of them answers until then.
    async fn answers(&self, deadline: Instant) -> bool {
        let mut asked: FuturesUnordered<_> =
            self.targets.iter().map(|(host, port)| self.answers_at(host, *port, deadline)).collect();
        while let Some(answers) = asked.next().await {
            if answers {
                return true;
            }
        }
        false
    }

    /// Who refuses a connection is there, and so is the way to it.
    async fn answers_at(&self, host: &str, port: u16, deadline: Instant) -> bool {
        let Ok(admitted) = self.dialer.admitted(host, port, deadline).await else { return false };
        match self.dialer.connect(&admitted, deadline).await {
            Ok(_) => true,
            Err(DialError::Unconnected(error)) => error.kind() == ErrorKind::ConnectionRefused,
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use async_trait::async_trait;
    use tokio::net::TcpListener;
    use tokio::time::advance;

    use super::*;

    /// Knows the address of a target, or hangs as a network does that is gone; counts how often it was asked.
    #[derive(Default)]
    struct Network {
        is_gone: AtomicBool,
        looks: AtomicUsize,
    }

    #[async_trait]
    impl Resolve for Network {
        async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            self.looks.fetch_add(1, Ordering::SeqCst);
            if self.is_gone.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::NotFound.into());
            }
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
        }
    }

    async fn references(network: &Arc<Network>) -> (References, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (References::new(vec![("reference.example".into(), port)], network.clone()).unwrap(), listener)
    }

    async fn judged(references: &References, class: FailureClass, began: Instant) -> FailureClass {
        let mut failure = Failure { class, message: "seen".into() };
        references.judge(&mut failure, began).await;
        let words = if failure.class == class { "seen" } else { "seen; none of the reference targets answers either" };
        assert_eq!(failure.message, words);
        failure.class
    }

    #[tokio::test]
    async fn without_targets_there_is_nothing_to_ask() {
        assert!(References::new(Vec::new(), Arc::new(Network::default())).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn only_failures_that_may_be_our_own_are_looked_into() {
        let network = Arc::new(Network { is_gone: true.into(), ..Network::default() });
        let (references, _listener) = references(&network).await;
        for class in FailureClass::ALL {
            let may_be = matches!(class, FailureClass::Dns | FailureClass::Connect | FailureClass::Timeout);
            let expected = if may_be { FailureClass::OwnNetwork } else { class };
            let before = network.looks.load(Ordering::SeqCst);
            assert_eq!(judged(&references, class, Instant::now()).await, expected);
            advance(Duration::from_millis(1)).await;
            assert_eq!(network.looks.load(Ordering::SeqCst) - before, usize::from(may_be), "{class:?}");
        }
    }

    #[tokio::test]
    async fn who_answers_or_refuses_shows_that_the_network_works() {
        let network = Arc::new(Network::default());
        let (references, listener) = references(&network).await;
        assert_eq!(judged(&references, FailureClass::Connect, Instant::now()).await, FailureClass::Connect);
        drop(listener);
        assert_eq!(judged(&references, FailureClass::Connect, Instant::now()).await, FailureClass::Connect);
    }

    #[tokio::test]
    async fn a_look_from_before_the_failure_does_not_count_and_a_gap_during_the_probe_does() {
        let network = Arc::new(Network::default());
        let (references, _listener) = references(&network).await;
        let early = Instant::now();
        assert_eq!(judged(&references, FailureClass::Timeout, early).await, FailureClass::Timeout);
        // The cable is pulled: what was seen a moment ago is of no use.
        network.is_gone.store(true, Ordering::SeqCst);
        assert_eq!(judged(&references, FailureClass::Timeout, early).await, FailureClass::OwnNetwork);
        assert_eq!(network.looks.load(Ordering::SeqCst), 2);
        // It is back. A probe from before suffered from it; one from after it did not.
        network.is_gone.store(false, Ordering::SeqCst);
        assert_eq!(judged(&references, FailureClass::Timeout, early).await, FailureClass::OwnNetwork);
        tokio::time::pause();
        advance(Duration::from_millis(1)).await;
        tokio::time::resume();
        assert_eq!(judged(&references, FailureClass::Timeout, Instant::now()).await, FailureClass::Timeout);
    }

    #[tokio::test]
    async fn a_storm_of_failures_makes_one_look() {
        let network = Arc::new(Network::default());
        let (references, _listener) = references(&network).await;
        let references = Arc::new(references);
        let failing: Vec<_> = (0..2_000)
            .map(|_| {
                let references = references.clone();
                tokio::spawn(async move { judged(&references, FailureClass::Timeout, Instant::now()).await })
            })
            .collect();
        for failing in failing {
            assert_eq!(failing.await.unwrap(), FailureClass::Timeout);
        }
        // One for those that failed before it, and one for those that failed while it was under way.
        assert!(network.looks.load(Ordering::SeqCst) <= 2, "{:?}", network.looks);
    }
}
