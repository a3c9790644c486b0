//! Names to addresses, behind a small trait so that tests can give the answers.
//!
//! While a name is being looked up, everybody who wants it waits for that one lookup: `getaddrinfo` holds a thread,
//! longer than any attempt waits for it, and a name server that hangs must not take a thread for every attempt. Nor may
//! many names that hang take all threads: so many are looked up at once and no more.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many of a name's addresses are tried.
pub const ADDRESSES_MAX: usize = 6;
/// How many names are looked up at once, each on one of the runtime's threads (it has 512).
const LOOKUPS_MAX: usize = 64;

/// Finds the addresses of a host.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, best first.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;

    /// How many names may be looked up at once. Whoever holds no thread for each may take more.
    fn lookups_max(&self) -> usize {
        LOOKUPS_MAX
    }
}

/// The system's resolver (`getaddrinfo`), with its hosts file and search rules.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// The address that a host is, if it is a literal (with or without brackets) rather than a name.
pub fn literal(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).parse().ok()
}

type Key = (String, u16);
/// The addresses, or why there are none.
type Answer = Result<Arc<[SocketAddr]>, Arc<io::Error>>;
type Lookup = Shared<BoxFuture<'static, Answer>>;

/// A resolver of which every name is asked once at a time.
pub(super) struct Lookups {
    resolver: Arc<dyn Resolve>,
    under_way: Arc<Mutex<HashMap<Key, Lookup>>>,
    permits: Arc<Semaphore>,
}

impl Lookups {
    pub(super) fn new(resolver: Arc<dyn Resolve>) -> Self {
        let permits = Arc::new(Semaphore::new(resolver.lookups_max()));
        Self { resolver, under_way: Arc::default(), permits }
    }

    /// The addresses of the name, from the lookup that is under way or from a new one, as soon as there is room for it.
    /// Who gives up waiting for room leaves no lookup behind.
    pub(super) async fn addresses(&self, host: &str, port: u16) -> Answer {
        let key = (host.to_owned(), port);
        let under_way = self.under_way().get(&key).cloned();
        if let Some(lookup) = under_way {
            return lookup.await;
        }
        match Arc::clone(&self.permits).acquire_owned().await {
            Ok(permit) => self.lookup(key, permit).await,
            Err(_) => Err(Arc::new(io::Error::other("lookups have ended"))),
        }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Key, Lookup>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new lookup, unless one began meanwhile.
    fn lookup(&self, key: Key, permit: OwnedSemaphorePermit) -> Lookup {
        // Held until the lookup is noted, so that it cannot end before.
        let mut under_way = self.under_way();
        if let Some(lookup) = under_way.get(&key) {
            return lookup.clone();
        }
        let (resolver, under_way_too) = (self.resolver.clone(), self.under_way.clone());
        let (host, port) = key.clone();
        // A task of its own: it goes on when nobody waits any more, and only its end makes room for another.
        let task = tokio::spawn(async move {
            let ending = Ending { key: (host, port), under_way: under_way_too, _permit: permit };
            let found = resolver.resolve(&ending.key.0, port).await;
            found.map(Arc::from).map_err(Arc::new)
        });
        let broken = || Err(Arc::new(io::Error::other("the lookup was broken off")));
        let answer = async move { task.await.unwrap_or_else(|_| broken()) };
        under_way.entry(key).or_insert(answer.boxed().shared()).clone()
    }
}

/// Strikes the lookup off when it ends, however it ends.
struct Ending {
    key: Key,
    under_way: Arc<Mutex<HashMap<Key, Lookup>>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// The system's own words (`failed to lookup address information: Name or service not known`), the telling part.
pub fn reason(error: &io::Error) -> String {
    let words = error.to_string();
    words.rsplit(": ").next().unwrap_or("unknown reason").to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    /// Answers when it is told to.
    #[derive(Default)]
    struct Slow {
        asked: AtomicUsize,
        go: Notify,
    }

    #[async_trait]
    impl Resolve for Slow {
        async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.go.notified().await;
            Ok(vec![SocketAddr::from(([8, 8, 8, 8], port))])
        }
    }

    #[tokio::test]
    async fn a_name_is_asked_once_at_a_time() {
        let slow = Arc::new(Slow::default());
        let lookups = Arc::new(Lookups::new(slow.clone()));
        let look = || lookups.lookup(("a".into(), 1), lookups.permits.clone().try_acquire_owned().unwrap());
        let (one, two) = (look(), look());
        // Who gives up leaves the lookup to the others.
        drop(look());
        slow.go.notify_one();
        let (one, two) = tokio::join!(one, two);
        assert_eq!((one.unwrap().len(), two.unwrap().len()), (1, 1));
        assert_eq!(slow.asked.load(Ordering::SeqCst), 1);
        assert!(lookups.under_way.lock().unwrap().is_empty(), "struck off");

        slow.go.notify_one();
        assert!(lookups.addresses("a", 1).await.is_ok());
        assert_eq!(slow.asked.load(Ordering::SeqCst), 2, "what is over is asked anew");
        assert_eq!(lookups.permits.available_permits(), LOOKUPS_MAX);
    }

    #[tokio::test]
    async fn names_that_hang_leave_threads_to_others() {
        let slow = Arc::new(Slow::default());
        let lookups = Arc::new(Lookups::new(slow.clone()));
        let ask = |number: usize| {
            let lookups = lookups.clone();
            tokio::spawn(async move { lookups.addresses(&format!("host-{number}"), 1).await })
        };
        let first: Vec<_> = (0..LOOKUPS_MAX).map(ask).collect();
        while slow.asked.load(Ordering::SeqCst) < LOOKUPS_MAX {
            tokio::task::yield_now().await;
        }
        let (gives_up, waits) = (ask(1_000), ask(1_001));
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(slow.asked.load(Ordering::SeqCst), LOOKUPS_MAX, "there is no room for more");
        gives_up.abort();
        assert!(gives_up.await.unwrap_err().is_cancelled());
        // One that ends makes room for the one that still waits.
        slow.go.notify_one();
        while slow.asked.load(Ordering::SeqCst) == LOOKUPS_MAX {
            tokio::task::yield_now().await;
        }
        slow.go.notify_waiters();
        assert!(waits.await.unwrap().is_ok());
        for one in first {
            assert!(one.await.unwrap().is_ok());
        }
        assert_eq!(slow.asked.load(Ordering::SeqCst), LOOKUPS_MAX + 1);
    }
}
