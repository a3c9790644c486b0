//! Quiescence: lets a caller that sets the clock by hand wait until everything due by then is done.
//!
//! The background loops sleep on the system's time, which is right for a clock that runs by itself. A clock set by hand
//! moves without waking them: [`Quiescence::tick`] makes all of them poll at once. Only tests depend on it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

/// A background loop that takes part.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Component {
    /// Claims due deliveries.
    Claimer,
    /// Releases held deliveries.
    ReleaseLoop,
    /// Processes timers of incidents.
    TimerLoop,
    /// Notices that external endpoints are silent.
    Heartbeats,
}

const COMPONENTS: usize = 4;

/// Tracks which work is in progress. Clones share their state.
#[derive(Clone)]
pub(crate) struct Quiescence(Arc<Inner>);

struct Inner {
    /// The number of the latest tick.
    tick: watch::Sender<u64>,
    /// For each component, the latest tick for which it has done all that was due.
    completed: [watch::Sender<u64>; COMPONENTS],
    /// Attempts in progress.
    in_progress: AtomicU64,
    /// Counts pieces of work ever started; unchanged over a full round, nothing is left to do.
    started: AtomicU64,
    /// Notified when the last attempt in progress ends.
    idle: Notify,
}

impl Default for Quiescence {
    fn default() -> Self {
        let counter = || watch::channel(0).0;
        let completed = std::array::from_fn(|_| counter());
        let (in_progress, started, idle) = Default::default();
        Self(Arc::new(Inner { tick: counter(), completed, in_progress, started, idle }))
    }
}

/// Marks an attempt as in progress until it is dropped.
pub(crate) struct ActiveGuard(Quiescence);

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        // A settlement may have made other deliveries due: another round is needed. Counted before the attempt ends,
        // so that `wait_until_idle` cannot see the end without it.
        self.0.record_work();
        if self.0.0.in_progress.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.0.idle.notify_waiters();
        }
    }
}

impl Quiescence {
    /// Makes every component poll now. Returns the number of this tick.
    pub(crate) fn tick(&self) -> u64 {
        let mut number = 0;
        self.0.tick.send_modify(|tick| {
            *tick += 1;
            number = *tick;
        });
        number
    }

    /// The listener of one component.
    pub(crate) fn listen(&self, component: Component) -> Listener {
        let completed = self.0.completed[component as usize].clone();
        Listener { tick: self.0.tick.subscribe(), seen: 0, completed }
    }

    /// Records that something was written that other components may have to process.
    pub(crate) fn record_work(&self) {
        self.0.started.fetch_add(1, Ordering::SeqCst);
    }

    /// Records that an attempt begins.
    pub(crate) fn begin_work(&self) -> ActiveGuard {
        self.0.in_progress.fetch_add(1, Ordering::SeqCst);
        self.record_work();
        ActiveGuard(self.clone())
    }

    /// Waits until every component has polled, no attempt is in progress, and a further round found nothing to do.
    pub(crate) async fn wait_until_idle(&self) {
        loop {
            let before = self.0.started.load(Ordering::SeqCst);
            let tick = self.tick();
            for completed in &self.0.completed {
                // Cannot fail: `self` holds the senders.
                let _ = completed.subscribe().wait_for(|completed| *completed >= tick).await;
            }
            self.wait_for_attempts().await;
            if self.0.started.load(Ordering::SeqCst) == before {
                return;
            }
        }
    }

    async fn wait_for_attempts(&self) {
        loop {
            let mut idle = pin!(self.0.idle.notified());
            // Register interest *before* reading the counter, so that an attempt that ends in between is not missed.
            idle.as_mut().enable();
            if self.0.in_progress.load(Ordering::SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// One component's view of the ticks.
pub(crate) struct Listener {
    tick: watch::Receiver<u64>,
    seen: u64,
    completed: watch::Sender<u64>,
}

impl Listener {
    /// Whether there was a tick since the last call. A loop calls this *before* it polls: a tick during the poll then
    /// stays unseen, and causes another one.
    pub(crate) fn observe_tick(&mut self) -> bool {
        let tick = *self.tick.borrow_and_update();
        std::mem::replace(&mut self.seen, tick) != tick
    }

    /// Waits for a tick that was not [observed](Self::observe_tick) yet.
    pub(crate) async fn poll_requested(&self) {
        let _ = self.tick.clone().wait_for(|tick| *tick != self.seen).await;
    }

    /// Reports that everything is done that was due at the last [observed](Self::observe_tick) tick.
    pub(crate) fn complete(&self) {
        let seen = self.seen;
        self.completed.send_if_modified(|completed| std::mem::replace(completed, seen) != seen);
    }
}
