//! Connections between probes, by origin (scheme, host and port). They have no tasks: each lies in its origin's list,
//! and is looked at when it is taken out. What has lain too long, or was closed by the other end, is swept.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidings_domain::time::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::wire::Wire;
use crate::room::PER_TARGET_MAX;

/// How long a connection is used at most. Then name, address, port and certificate are looked at anew: what an old
/// connection still reaches may be gone for everybody else.
pub const KEPT_AGE_MAX: Duration = Duration::from_secs(600);
/// How long a connection may lie idle: the usual interval is shorter, and what stands between (NAT, balancers) mostly
/// forgets later.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// How many connections lie idle, in all, unless the prober is told otherwise.
pub const IDLE_MAX: usize = 10_240;
/// How often what has lain too long is swept.
const SWEEP_INTERVAL: Duration = Duration::from_secs(15);

/// The connections.
pub(crate) struct Pool {
    idle_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    origins: HashMap<String, Vec<Idle>>,
    idle: usize,
    is_swept: bool,
}

struct Idle {
    wire: Wire,
    since: Instant,
}

impl Pool {
    /// An empty one for so many.
    pub fn new(idle_max: usize) -> Arc<Self> {
        Arc::new(Self { idle_max, state: Mutex::default() })
    }

    /// The connection to this origin that was used last and is still good. One whose certificate has ended meanwhile
    /// is not: a fresh one shows what everybody else sees.
    pub fn take(&self, origin: &str, now: Timestamp) -> Option<Wire> {
        let (instant, age_max) = (Instant::now(), age_max(origin));
        let mut state = self.state();
        let State { origins, idle, .. } = &mut *state;
        let list = origins.get_mut(origin)?;
        let mut found = None;
        while let Some(mut next) = list.pop() {
            *idle -= 1;
            let is_valid = next.wire.certificate.as_ref().is_none_or(|certificate| now < certificate.not_after);
            if is_valid && next.is_good(instant, age_max) {
                found = Some(next.wire);
                break;
            }
        }
        if list.is_empty() {
            origins.remove(origin);
        }
        found
    }

    /// Keeps a connection for the next probe, unless there are enough.
    pub fn keep(self: &Arc<Self>, origin: &str, wire: Wire) {
        let mut state = self.state();
        if state.idle >= self.idle_max {
            return;
        }
        let idle = Idle { wire, since: Instant::now() };
        match state.origins.get_mut(origin) {
            Some(list) if list.len() >= PER_TARGET_MAX => return,
            Some(list) => list.push(idle),
            None => _ = state.origins.insert(origin.to_owned(), vec![idle]),
        }
        state.idle += 1;
        if !std::mem::replace(&mut state.is_swept, true) {
            self.sweep_from_now_on();
        }
    }

    /// Closes them all, to make room.
    pub fn clear(&self) {
        let mut state = self.state();
        let origins = std::mem::take(&mut state.origins);
        state.idle = 0;
        drop(state);
        drop(origins);
    }

    /// Sweeps while the pool lives. Begun with the first idle connection, when there is a runtime for sure.
    fn sweep_from_now_on(self: &Arc<Self>) {
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
        let mut swept = Vec::new();
        state.origins.retain(|origin, list| {
            let age_max = age_max(origin);
            swept.extend(list.extract_if(.., |idle| !idle.is_good(now, age_max)));
            !list.is_empty()
        });
        state.idle -= swept.len();
        // They are closed after others may go on.
        drop(state);
        drop(swept);
    }

    /// Nothing in it could be left half done by a panic elsewhere.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn is_good(&mut self, now: Instant, age_max: Duration) -> bool {
        let is_young = now.saturating_duration_since(self.wire.made) < age_max;
        is_young && now.saturating_duration_since(self.since) < IDLE_TIMEOUT && self.wire.is_quiet()
    }
}

/// How long connections to this origin are used: between half of the most and the most. Those that were made together,
/// when the process began, are not all made anew together.
fn age_max(origin: &str) -> Duration {
    let mut hasher = DefaultHasher::new();
    origin.hash(&mut hasher);
    KEPT_AGE_MAX / 2 + KEPT_AGE_MAX * (hasher.finish() % 1_024) as u32 / 2_048
}
