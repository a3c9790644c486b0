//! Lookups: one per name at a time, bounded, and shared out in turns between workspaces. Behind a trait, so that tests can
//! supply answers.
//!
//! A name server that hangs keeps each lookup for seconds. Therefore callers that want the same name share its lookup, each
//! workspace has at most a share of the concurrent lookups, and names that were slow the last time have a share of their own:
//! they delay neither other workspaces nor other names of the same one.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tidings_domain::id::WorkspaceId;
use tokio::time::Instant;

use super::dial::DialOptions;
use super::fair::{FairPermit, FairSemaphore};

/// How many addresses of a name are tried.
pub const ADDRESSES_MAX: usize = 6;
/// A lookup that takes this long is slow.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// Slow names that are remembered. Beyond that all are forgotten, and found again.
const SLOW_NAMES_MAX: usize = 10_000;

/// Looks up the addresses of a host.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// The addresses of `host` in order of preference.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;

    /// The same without any cache of the resolver's own.
    async fn resolve_fresh(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.resolve(host, port).await
    }
}

/// Limits for concurrent lookups. Each takes up to four sockets.
#[derive(Debug, Clone, Copy)]
pub struct LookupLimits {
    /// In total.
    pub total: usize,
    /// Of one workspace, for names that were slow the last time and for the others each.
    pub per_workspace: usize,
}

impl Default for LookupLimits {
    fn default() -> Self {
        Self { total: 256, per_workspace: 32 }
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
/// The workspace (`None`: the instance), and whether the name was slow the last time.
type Owner = (Option<WorkspaceId>, bool);

/// Joins concurrent lookups of the same name.
pub(super) struct Lookups {
    resolver: Arc<dyn Resolve>,
    table: Arc<Mutex<Table>>,
    permits: FairSemaphore<Owner>,
}

#[derive(Default)]
struct Table {
    in_flight: HashMap<Key, Lookup>,
    slow: HashSet<String>,
}

impl Lookups {
    pub(super) fn new(resolver: Arc<dyn Resolve>, limits: LookupLimits) -> Self {
        let permits = FairSemaphore::new(limits.total, limits.per_workspace);
        Self { resolver, table: Arc::default(), permits }
    }

    /// Joins the lookup of this name in flight, or starts one as soon as a permit is free. A caller that is cancelled
    /// while it waits for a permit starts nothing.
    pub(super) async fn addresses(&self, host: &str, port: u16, dial: DialOptions) -> LookupResult {
        let key = (host.to_owned(), port, dial.fresh);
        let (in_flight, is_slow) = {
            let table = self.table();
            (table.in_flight.get(&key).cloned(), table.slow.contains(host))
        };
        if let Some(lookup) = in_flight {
            return lookup.await;
        }
        let permit = self.permits.acquire((dial.workspace, is_slow)).await;
        self.lookup(key, permit).await
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a lookup, unless another caller did so while this one waited for its permit.
    fn lookup(&self, key: Key, permit: FairPermit<Owner>) -> Lookup {
        // Locked until the lookup is inserted below: if the task ended first, its guard would find nothing to remove and
        // the finished lookup would stay in the table for good.
        let mut table = self.table();
        if let Some(lookup) = table.in_flight.get(&key) {
            return lookup.clone();
        }
        let resolver = self.resolver.clone();
        let guard =
            LookupGuard { key: key.clone(), table: self.table.clone(), started: Instant::now(), _permit: permit };
        // A task of its own: it continues when the caller that started it gives up, because others may have joined it.
        let task = tokio::spawn(async move {
            let (host, port, fresh) = &guard.key;
            let found =
                if *fresh { resolver.resolve_fresh(host, *port).await } else { resolver.resolve(host, *port).await };
            found.map(Arc::from).map_err(Arc::new)
        });
        let aborted = || Err(Arc::new(io::Error::other("the lookup was aborted")));
        let result = async move { task.await.unwrap_or_else(|_| aborted()) };
        table.in_flight.entry(key).or_insert(result.boxed().shared()).clone()
    }
}

/// Removes the lookup from the table when its task ends, also by a panic, and remembers whether the name is slow.
struct LookupGuard {
    key: Key,
    table: Arc<Mutex<Table>>,
    started: Instant,
    _permit: FairPermit<Owner>,
}

impl Drop for LookupGuard {
    fn drop(&mut self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.in_flight.remove(&self.key);
        if self.started.elapsed() < SLOW_AFTER {
            table.slow.remove(&self.key.0);
        } else {
            if table.slow.len() >= SLOW_NAMES_MAX {
                table.slow.clear();
            }
            table.slow.insert(self.key.0.clone());
        }
    }
}

/// The last part of the system's message: `name or service not known` of `failed to lookup address information: Name or
/// service not known`.
pub fn reason(error: &io::Error) -> String {
    let message = error.to_string();
    message.rsplit(": ").next().unwrap_or("unknown reason").to_lowercase()
}

#[cfg(test)]
mod tests;
