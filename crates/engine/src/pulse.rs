//! The pulse: somebody set the clock, and wants to know when all that was due by it is done.
//!
//! The loops of the engine sleep by the system's time, which is right for clocks that run. One that is set by hand moves
//! without their hearing of it: the pulse tells them. Nothing else depends on it.

use std::sync::Arc;

use tokio::sync::watch;

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
    /// Attempts under way, and how many things were ever begun.
    work: watch::Sender<Work>,
}

#[derive(Clone, Copy, Default)]
struct Work {
    under_way: u64,
    begun: u64,
}

impl Default for Pulse {
    fn default() -> Self {
        let counter = || watch::channel(0).0;
        let work = watch::channel(Work::default()).0;
        Self(Arc::new(Inner { asked: counter(), seen: std::array::from_fn(|_| counter()), work }))
    }
}

/// An attempt is under way until this is dropped.
pub(crate) struct Busy(Pulse);

impl Drop for Busy {
    fn drop(&mut self) {
        // What it has settled others may wait for.
        self.0.0.work.send_modify(|work| (work.under_way, work.begun) = (work.under_way - 1, work.begun + 1));
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
        self.0.work.send_modify(|work| work.begun += 1);
    }

    /// An attempt begins.
    pub(crate) fn busy(&self) -> Busy {
        self.0.work.send_modify(|work| {
            work.under_way += 1;
            work.begun += 1;
        });
        Busy(self.clone())
    }

    /// Waits until everybody has looked, no attempt is under way, and looking once more found nothing to do.
    pub(crate) async fn settled(&self) {
        let mut work = self.0.work.subscribe();
        loop {
            let before = work.borrow().begun;
            let now = self.beat();
            for seen in &self.0.seen {
                // An end of the senders is not possible: they live here.
                let _ = seen.subscribe().wait_for(|seen| *seen >= now).await;
            }
            let _ = work.wait_for(|work| work.under_way == 0).await;
            if work.borrow().begun == before {
                return;
            }
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
