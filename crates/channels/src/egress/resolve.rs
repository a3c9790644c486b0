//! Name resolution with one lookup per name at a time, behind a trait so that tests can supply answers.
//!
//! Callers that want the same name share its lookup: `getaddrinfo` blocks a thread and cannot be cancelled, often
//! longer than any attempt waits, so a name server that hangs must not cost a thread per attempt. The number of
//! concurrent lookups is limited as well, so that many hanging names do not exhaust the thread pool.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::dial::DialOptions;

/// How many addresses of a name are tried.
pub const ADDRESSES_MAX: usize = 6;
/// Concurrent lookups. Each blocks a thread of the runtime's blocking pool (512 threads by default).
const LOOKUPS_MAX: usize = 64;

/// Looks up the addresses of a host.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// The addresses of `host` in order of preference.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;

    /// The same without any cache of the resolver's own.
    async fn resolve_fresh(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.resolve(host, port).await
    }

    /// Limit for concurrent lookups. A resolver that does not block a thread per lookup may raise it.
    fn lookups_max(&self) -> usize {
        LOOKUPS_MAX
    }
}

/// The system's resolver (`getaddrinfo`), with its hosts file and search domains.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// The address if `host` is a literal, with or without brackets; `None` for a name.
pub fn literal(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// Host, port, whether it bypasses the resolver's cache.
type Key = (String, u16, bool);
// `Arc`s, because `Shared` clones the result for every waiting caller.
type LookupResult = Result<Arc<[SocketAddr]>, Arc<io::Error>>;
type Lookup = Shared<BoxFuture<'static, LookupResult>>;

/// Joins concurrent lookups of the same name.
pub(super) struct Lookups {
    resolver: Arc<dyn Resolve>,
    in_flight: Arc<Mutex<HashMap<Key, Lookup>>>,
    permits: Arc<Semaphore>,
}

impl Lookups {
    pub(super) fn new(resolver: Arc<dyn Resolve>) -> Self {
        let permits = Arc::new(Semaphore::new(resolver.lookups_max()));
        Self { resolver, in_flight: Arc::default(), permits }
    }

    /// Joins the lookup of this name in flight, or starts one as soon as a permit is free. A caller that is cancelled
    /// while it waits for a permit starts nothing.
    pub(super) async fn addresses(&self, host: &str, port: u16, dial: DialOptions) -> LookupResult {
        let key = (host.to_owned(), port, dial.fresh);
        let in_flight = self.in_flight().get(&key).cloned();
        if let Some(lookup) = in_flight {
            return lookup.await;
        }
        match Arc::clone(&self.permits).acquire_owned().await {
            Ok(permit) => self.lookup(key, permit).await,
            Err(_) => Err(Arc::new(io::Error::other("lookups have ended"))),
        }
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<Key, Lookup>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a lookup, unless another caller did so while this one waited for its permit.
    fn lookup(&self, key: Key, permit: OwnedSemaphorePermit) -> Lookup {
        // Locked until the lookup is inserted below: if the task ended first, its guard would find nothing to remove and
        // the finished lookup would stay in the table for good.
        let mut in_flight = self.in_flight();
        if let Some(lookup) = in_flight.get(&key) {
            return lookup.clone();
        }
        let (resolver, table) = (self.resolver.clone(), self.in_flight.clone());
        let (host, port, fresh) = key.clone();
        // A task of its own: it continues when every caller has timed out, because its thread stays blocked, and the permit
        // must be held for as long as that.
        let task = tokio::spawn(async move {
            let guard = LookupGuard { key: (host, port, fresh), in_flight: table, _permit: permit };
            let host = &guard.key.0;
            let found =
                if fresh { resolver.resolve_fresh(host, port).await } else { resolver.resolve(host, port).await };
            found.map(Arc::from).map_err(Arc::new)
        });
        let aborted = || Err(Arc::new(io::Error::other("the lookup was aborted")));
        let result = async move { task.await.unwrap_or_else(|_| aborted()) };
        in_flight.entry(key).or_insert(result.boxed().shared()).clone()
    }
}

/// Removes the lookup from the table when its task ends, also by a panic.
struct LookupGuard {
    key: Key,
    in_flight: Arc<Mutex<HashMap<Key, Lookup>>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for LookupGuard {
    fn drop(&mut self) {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// The last part of the system's message: `name or service not known` of `failed to lookup address information: Name or
/// service not known`.
pub fn reason(error: &io::Error) -> String {
    let message = error.to_string();
    message.rsplit(": ").next().unwrap_or("unknown reason").to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    /// Answers when `go` is notified.
    #[derive(Default)]
    struct SlowResolver {
        lookups: AtomicUsize,
        go: Notify,
    }

    #[async_trait]
    impl Resolve for SlowResolver {
        async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            self.lookups.fetch_add(1, Ordering::SeqCst);
            self.go.notified().await;
            Ok(vec![SocketAddr::from(([8, 8, 8, 8], port))])
        }
    }

    #[tokio::test]
    async fn concurrent_lookups_of_one_name_are_joined() {
        let slow = Arc::new(SlowResolver::default());
        let lookups = Arc::new(Lookups::new(slow.clone()));
        let join = || lookups.lookup(("a".into(), 1, false), lookups.permits.clone().try_acquire_owned().unwrap());
        let (one, two) = (join(), join());
        // A cancelled caller does not cancel the lookup of the others.
        drop(join());
        slow.go.notify_one();
        let (one, two) = tokio::join!(one, two);
        assert_eq!((one.unwrap().len(), two.unwrap().len()), (1, 1));
        assert_eq!(slow.lookups.load(Ordering::SeqCst), 1);
        assert!(lookups.in_flight.lock().unwrap().is_empty(), "removed when it ended");

        slow.go.notify_one();
        assert!(lookups.addresses("a", 1, DialOptions::default()).await.is_ok());
        assert_eq!(slow.lookups.load(Ordering::SeqCst), 2, "a finished lookup is not cached");
        assert_eq!(lookups.permits.available_permits(), LOOKUPS_MAX);
    }

    #[tokio::test]
    async fn hanging_lookups_are_limited_and_waiting_callers_can_be_cancelled() {
        let slow = Arc::new(SlowResolver::default());
        let lookups = Arc::new(Lookups::new(slow.clone()));
        let look_up = |number: usize| {
            let lookups = lookups.clone();
            tokio::spawn(async move { lookups.addresses(&format!("host-{number}"), 1, DialOptions::default()).await })
        };
        let first: Vec<_> = (0..LOOKUPS_MAX).map(look_up).collect();
        while slow.lookups.load(Ordering::SeqCst) < LOOKUPS_MAX {
            tokio::task::yield_now().await;
        }
        let (cancelled, waiting) = (look_up(1_000), look_up(1_001));
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(slow.lookups.load(Ordering::SeqCst), LOOKUPS_MAX, "no permit for more");
        cancelled.abort();
        assert!(cancelled.await.unwrap_err().is_cancelled());
        // One lookup that ends frees a permit for the caller that still waits.
        slow.go.notify_one();
        while slow.lookups.load(Ordering::SeqCst) == LOOKUPS_MAX {
            tokio::task::yield_now().await;
        }
        slow.go.notify_waiters();
        assert!(waiting.await.unwrap().is_ok());
        for one in first {
            assert!(one.await.unwrap().is_ok());
        }
        assert_eq!(slow.lookups.load(Ordering::SeqCst), LOOKUPS_MAX + 1);
    }
}
