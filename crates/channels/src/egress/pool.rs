//! Idle connections by origin (scheme, TLS settings, host, port), shared by all channels that use that origin.
//!
//! An idle connection has no task of its own: it sits in its origin's list, unread bytes stay in the kernel, and its state
//! is only discovered when it is used. This saves a switch between tasks on every request. A sweeper closes connections
//! that have been idle too long.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::client::Wire;
use super::tls::{TlsClient, TlsProfile};

/// No request is sent over a connection that was opened this long ago: a name that moved, or a certificate that was replaced,
/// is noticed within 10 minutes, and the last request may take as long as a channel's timeout allows at most.
const REUSE_AGE_MAX: Duration = Duration::from_secs(10 * 60 - 60);
/// How long a connection may stay idle before the sweeper closes it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);
/// How often the sweeper runs: a connection lives at most this much longer than [`IDLE_TIMEOUT`].
const SWEEP_INTERVAL: Duration = Duration::from_secs(15);
/// Idle connections per origin, and in total.
const IDLE_PER_ORIGIN_MAX: usize = 256;
const IDLE_MAX: usize = 1_024;

/// A host and port that speak HTTP, with or without TLS, and its idle connections.
pub(super) struct Origin {
    pub(super) host: String,
    pub(super) port: u16,
    /// `None` for plain `http`.
    pub(super) tls: Option<Arc<TlsClient>>,
    idle: Mutex<Vec<Idle>>,
    pools: Weak<Pools>,
}

struct Idle {
    wire: Box<Wire>,
    since: Instant,
    /// Held for its `Drop`.
    _counted: CountGuard,
}

/// One idle connection's share of the total; subtracted on drop, however the connection leaves its list.
struct CountGuard(Arc<AtomicUsize>);

impl Drop for CountGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The TLS settings unless it is plain, host, port: a connection that was made under one setting is not used under another.
type OriginKey = (Option<TlsProfile>, String, u16);

/// The origins that open channels use.
#[derive(Default)]
pub(super) struct Pools {
    // Weak: an origin lives as long as some channel's target holds it, and takes its idle connections with it.
    origins: Mutex<HashMap<OriginKey, Weak<Origin>>>,
    idle: Arc<AtomicUsize>,
    sweeper_started: AtomicBool,
}

impl Pools {
    /// The origin of this key: an existing one while any target holds it, else a new one.
    pub(super) fn origin(self: &Arc<Self>, host: &str, port: u16, tls: Option<Arc<TlsClient>>) -> Arc<Origin> {
        let key = (tls.as_ref().map(|tls| tls.profile().clone()), host.to_owned(), port);
        let mut origins = lock(&self.origins);
        if let Some(origin) = origins.get(&key).and_then(Weak::upgrade) {
            return origin;
        }
        // A linear sweep, but only when a new origin is added, which is rare (a channel was opened).
        origins.retain(|_, origin| origin.strong_count() > 0);
        let origin =
            Arc::new(Origin { host: host.to_owned(), port, tls, idle: Mutex::default(), pools: Arc::downgrade(self) });
        origins.insert(key, Arc::downgrade(&origin));
        origin
    }

    /// Closes all idle connections.
    pub(super) fn clear(&self) {
        let origins: Vec<_> = lock(&self.origins).values().filter_map(Weak::upgrade).collect();
        origins.iter().for_each(|origin| lock(&origin.idle).clear());
    }

    /// Starts the sweeper once; it ends when the pools are dropped. Called with the first idle connection, because a
    /// runtime is certainly running then; [`Default`] may be called outside of one.
    fn start_sweeper(self: &Arc<Self>) {
        if self.sweeper_started.swap(true, Ordering::Relaxed) {
            return;
        }
        let pools = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut ticks = interval(SWEEP_INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let now = ticks.tick().await;
                let Some(pools) = pools.upgrade() else { return };
                let origins: Vec<_> = lock(&pools.origins).values().filter_map(Weak::upgrade).collect();
                for origin in origins {
                    let is_kept =
                        |idle: &Idle| now.duration_since(idle.since) < IDLE_TIMEOUT && idle.wire.age() < REUSE_AGE_MAX;
                    lock(&origin.idle).retain(is_kept);
                }
            }
        });
    }
}

impl Origin {
    /// The idle connection that was used last. Last in, first out: it is the least likely to have been closed by the peer,
    /// and surplus connections age until the sweeper closes them.
    pub(super) fn take_idle(&self) -> Option<Box<Wire>> {
        let mut list = lock(&self.idle);
        loop {
            let idle = list.pop()?;
            if idle.wire.age() < REUSE_AGE_MAX {
                return Some(idle.wire);
            }
        }
    }

    /// Keeps a connection for the next request, or closes it if a limit is reached.
    pub(super) fn put_idle(&self, wire: Box<Wire>) {
        let Some(pools) = self.pools.upgrade() else { return };
        // The guard exists before the increment, so that every early return below undoes it.
        let counted = CountGuard(pools.idle.clone());
        if pools.idle.fetch_add(1, Ordering::Relaxed) >= IDLE_MAX {
            return;
        }
        pools.start_sweeper();
        let idle = Idle { wire, since: Instant::now(), _counted: counted };
        let mut list = lock(&self.idle);
        if list.len() < IDLE_PER_ORIGIN_MAX {
            list.push(idle);
        }
    }
}

/// Ignores poisoning: every critical section leaves these collections consistent even if it panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
