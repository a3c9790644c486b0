//! Open connections between requests, by origin (scheme, host, port), shared by all channels that speak to it.
//!
//! A waiting connection has no task of its own: it lies in its origin's list with the bytes in the kernel, and is
//! looked at when it is taken out. So a request costs no hand-over between tasks. What has lain too long is swept.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::client::Wire;

/// How long a connection may lie idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);
/// How often what has lain too long is swept.
const SWEEP_INTERVAL: Duration = Duration::from_secs(15);
/// How many connections may lie idle for one origin, and in all.
const IDLE_PER_ORIGIN_MAX: usize = 256;
const IDLE_MAX: usize = 1_024;

/// A place on the network that speaks HTTP, and its idle connections.
pub(super) struct Origin {
    pub(super) host: String,
    pub(super) port: u16,
    /// Whom the certificate must name; none for plain `http`.
    pub(super) server_name: Option<ServerName<'static>>,
    idle: Mutex<Vec<Idle>>,
    pools: Weak<Pools>,
}

struct Idle {
    wire: Box<Wire>,
    since: Instant,
    /// Gives the place in the count back when this is dropped.
    _counted: Counted,
}

/// One idle connection's place in the count of all.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

type Key = (bool, String, u16);

/// The origins that some channel speaks to.
#[derive(Default)]
pub(super) struct Pools {
    origins: Mutex<HashMap<Key, Weak<Origin>>>,
    idle: Arc<AtomicUsize>,
    swept: AtomicBool,
}

impl Pools {
    /// The origin, the same one for everybody who asks while somebody has it.
    pub(super) fn origin(
        self: &Arc<Self>,
        host: &str,
        port: u16,
        server_name: Option<ServerName<'static>>,
    ) -> Arc<Origin> {
        let key = (server_name.is_some(), host.to_owned(), port);
        let mut origins = lock(&self.origins);
        if let Some(origin) = origins.get(&key).and_then(Weak::upgrade) {
            return origin;
        }
        origins.retain(|_, origin| origin.strong_count() > 0);
        let origin = Arc::new(Origin {
            host: host.to_owned(),
            port,
            server_name,
            idle: Mutex::default(),
            pools: Arc::downgrade(self),
        });
        origins.insert(key, Arc::downgrade(&origin));
        origin
    }

    /// Closes all idle connections.
    pub(super) fn clear(&self) {
        let origins: Vec<_> = lock(&self.origins).values().filter_map(Weak::upgrade).collect();
        origins.iter().for_each(|origin| lock(&origin.idle).clear());
    }

    /// Sweeps while the pools live. Started with the first idle connection, when there is a runtime for sure.
    fn sweep(self: &Arc<Self>) {
        if self.swept.swap(true, Ordering::Relaxed) {
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
                    lock(&origin.idle).retain(|idle| now.duration_since(idle.since) < IDLE_TIMEOUT);
                }
            }
        });
    }
}

impl Origin {
    /// The connection that was used last, if one lies there.
    pub(super) fn take(&self) -> Option<Box<Wire>> {
        lock(&self.idle).pop().map(|idle| idle.wire)
    }

    /// Keeps a connection for the next request, unless there are enough.
    pub(super) fn keep(&self, wire: Box<Wire>) {
        let Some(pools) = self.pools.upgrade() else { return };
        let counted = Counted(pools.idle.clone());
        if pools.idle.fetch_add(1, Ordering::Relaxed) >= IDLE_MAX {
            return;
        }
        pools.sweep();
        let idle = Idle { wire, since: Instant::now(), _counted: counted };
        let mut list = lock(&self.idle);
        if list.len() < IDLE_PER_ORIGIN_MAX {
            list.push(idle);
        }
    }
}

/// The lists hold nothing that a panic elsewhere could have left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
