//! Idle HTTP connections between probes, by origin (scheme, host and port).
//!
//! A pooled connection has no task: it is checked when it is taken out. A sweeper closes those that have been idle for
//! too long or that the server closed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidings_domain::time::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::connection::HttpConnection;
use crate::limiter::PER_TARGET_MAX;

/// Maximum age of a connection. A new one resolves the name and verifies the certificate again: an old connection may
/// reach a server that new clients no longer can.
pub const CONNECTION_AGE_MAX: Duration = Duration::from_secs(600);
/// Maximum idle time of a connection: above the usual probe interval, below the timeouts of most NATs and load
/// balancers.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Default number of idle connections in total.
pub const IDLE_MAX: usize = 10_240;
const SWEEP_INTERVAL: Duration = Duration::from_secs(15);

/// The pool of one prober.
pub(crate) struct ConnectionPool {
    idle_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    origins: HashMap<String, Vec<Idle>>,
    idle_count: usize,
    has_sweeper: bool,
}

struct Idle {
    connection: HttpConnection,
    since: Instant,
}

impl ConnectionPool {
    /// A pool of at most `idle_max` connections.
    pub fn new(idle_max: usize) -> Arc<Self> {
        Arc::new(Self { idle_max, state: Mutex::default() })
    }

    /// The most recently used connection to this origin that is still usable.
    pub fn take(&self, origin: &str, now: Timestamp) -> Option<HttpConnection> {
        let (instant, max_age) = (Instant::now(), max_age(origin));
        let mut state = self.state();
        let State { origins, idle_count, .. } = &mut *state;
        let list = origins.get_mut(origin)?;
        let mut found = None;
        while let Some(mut idle) = list.pop() {
            *idle_count -= 1;
            // Once the certificate has expired, only a new handshake shows what other clients see.
            let is_valid = idle.connection.certificate.as_ref().is_none_or(|certificate| now < certificate.not_after);
            if is_valid && idle.is_usable(instant, max_age) {
                found = Some(idle.connection);
                break;
            }
        }
        if list.is_empty() {
            origins.remove(origin);
        }
        found
    }

    /// Stores a connection for the next probe; closes it if the pool is full.
    pub fn put(self: &Arc<Self>, origin: &str, connection: HttpConnection) {
        let mut state = self.state();
        if state.idle_count >= self.idle_max {
            return;
        }
        let idle = Idle { connection, since: Instant::now() };
        match state.origins.get_mut(origin) {
            Some(list) if list.len() >= PER_TARGET_MAX => return,
            Some(list) => list.push(idle),
            None => _ = state.origins.insert(origin.to_owned(), vec![idle]),
        }
        state.idle_count += 1;
        if !std::mem::replace(&mut state.has_sweeper, true) {
            self.start_sweeper();
        }
    }

    /// Closes the idle connections to this origin.
    pub fn remove(&self, origin: &str) {
        let mut state = self.state();
        let removed = state.origins.remove(origin).unwrap_or_default();
        state.idle_count -= removed.len();
        // Unlock first: closing sockets takes a while.
        drop(state);
        drop(removed);
    }

    /// Closes all idle connections, to free their file descriptors.
    pub fn clear(&self) {
        let mut state = self.state();
        let origins = std::mem::take(&mut state.origins);
        state.idle_count = 0;
        // Unlock first: closing many sockets takes a while.
        drop(state);
        drop(origins);
    }

    /// Sweeps for as long as the pool exists. Called with the first connection, because `new` may run outside a
    /// runtime.
    fn start_sweeper(self: &Arc<Self>) {
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut ticks = interval(SWEEP_INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let now = ticks.tick().await;
                let Some(pool) = pool.upgrade() else { return };
                pool.sweep(now);
            }
        });
    }

    fn sweep(&self, now: Instant) {
        let mut state = self.state();
        let mut expired = Vec::new();
        state.origins.retain(|origin, list| {
            let max_age = max_age(origin);
            expired.extend(list.extract_if(.., |idle| !idle.is_usable(now, max_age)));
            !list.is_empty()
        });
        state.idle_count -= expired.len();
        // Unlock first: closing many sockets takes a while.
        drop(state);
        drop(expired);
    }

    /// Poisoning is ignored: no panic can leave the state half updated.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn is_usable(&mut self, now: Instant, max_age: Duration) -> bool {
        let is_young = now.saturating_duration_since(self.connection.opened_at) < max_age;
        is_young && now.saturating_duration_since(self.since) < IDLE_TIMEOUT && self.connection.is_idle()
    }
}

/// Between half of [`CONNECTION_AGE_MAX`] and all of it, by origin. Connections that were opened together at startup
/// are thereby not all reopened together.
fn max_age(origin: &str) -> Duration {
    let mut hasher = DefaultHasher::new();
    origin.hash(&mut hasher);
    CONNECTION_AGE_MAX / 2 + CONNECTION_AGE_MAX * (hasher.finish() % 1_024) as u32 / 2_048
}
