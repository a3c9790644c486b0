//! The pulse: somebody set the clock, and wants to know when all that was due by it is done.
//!
//! The loops of the engine sleep by the system's time, which is right for clocks that run. One that is set by hand moves
//! without their hearing of it: the pulse tells them. Nothing else depends on it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

/// The loops that listen.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// Fetches what is due.
    Claimer,
    /// Lets go what was held back.
    Holds,
    /// Looks after incidents.
    Keeper,
}

const PARTS: usize = 3;

/// The pulse. Cheap to clone: all clones are one.
#[derive(Clone)]
pub(crate) struct Pulse(Arc<Inner>);

struct Inner {
    /// How often somebody asked.
    asked: watch::Sender<u64>,
    /// Up to which asking each part has looked.
    seen: [watch::Sender<u64>; PARTS],
    /// Attempts under way.
    under_way: AtomicU64,
    /// How many things were ever begun.
    begun: AtomicU64,
    /// Told when no attempt is under way any more.
    at_rest: Notify,
}

impl Default for Pulse {
    fn default() -> Self {
        let counter = || watch::channel(0).0;
        let seen = std::array::from_fn(|_| counter());
        let (under_way, begun, at_rest) = Default::default();
        Self(Arc::new(Inner { asked: counter(), seen, under_way, begun, at_rest }))
    }
}

/// An attempt is under way until this is dropped.
pub(crate) struct Busy(Pulse);

impl Drop for Busy {
    fn drop(&mut self) {
        // What it has settled others may wait for.
        self.0.worked();
        if self.0.0.under_way.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.0.at_rest.notify_waiters();
        }
    }
}

impl Pulse {
    /// The clock was set: everybody is to look.
    pub(crate) fn beat(&self) -> u64 {
        let mut now = 0;
        self.0.asked.send_modify(|asked| {
            *asked += 1;
            now = *asked;
        });
        now
    }

    /// What one loop hears it with.
    pub(crate) fn listen(&self, part: Part) -> Listener {
        let seen = self.0.seen[part as usize].clone();
        Listener { asked: self.0.asked.subscribe(), heard: 0, seen }
    }

    /// Something was written that others may have to look at.
    pub(crate) fn worked(&self) {
        self.0.begun.fetch_add(1, Ordering::SeqCst);
    }

    /// An attempt begins.
    pub(crate) fn busy(&self) -> Busy {
        self.0.under_way.fetch_add(1, Ordering::SeqCst);
        self.worked();
        Busy(self.clone())
    }

    /// Waits until everybody has looked, no attempt is under way, and looking once more found nothing to do.
    pub(crate) async fn settled(&self) {
        loop {
            let before = self.0.begun.load(Ordering::SeqCst);
            let now = self.beat();
            for seen in &self.0.seen {
                // An end of the senders is not possible: they live here.
                let _ = seen.subscribe().wait_for(|seen| *seen >= now).await;
            }
            self.rest().await;
            if self.0.begun.load(Ordering::SeqCst) == before {
                return;
            }
        }
    }

    /// Waits until no attempt is under way.
    async fn rest(&self) {
        loop {
            let mut at_rest = pin!(self.0.at_rest.notified());
            // Before the look, so that what ends after it is heard.
            at_rest.as_mut().enable();
            if self.0.under_way.load(Ordering::SeqCst) == 0 {
                return;
            }
            at_rest.await;
        }
    }
}

/// What one loop hears the pulse with.
pub(crate) struct Listener {
    asked: watch::Receiver<u64>,
    heard: u64,
    seen: watch::Sender<u64>,
}

impl Listener {
    /// Whether somebody asked since the last look; that is taken as heard.
    pub(crate) fn hear(&mut self) -> bool {
        let heard = *self.asked.borrow_and_update();
        std::mem::replace(&mut self.heard, heard) != heard
    }

    /// Waits until somebody asks who was not heard yet.
    pub(crate) async fn asked(&self) {
        let _ = self.asked.clone().wait_for(|asked| *asked != self.heard).await;
    }

    /// Everything was looked at that was due when it was last [heard](Self::hear).
    pub(crate) fn done(&self) {
        let heard = self.heard;
        self.seen.send_if_modified(|seen| std::mem::replace(seen, heard) != heard);
    }
}
