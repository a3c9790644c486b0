//! Room for probes: how many run at once, on one target and in all, so that none takes the place of another.
//!
//! A probe that hangs holds its place until its timeout. So one target has only so many places, and targets that took
//! long the last time share places of their own. Who takes long for the first time gives its place among the quick ones
//! back: however many begin to hang together, those that answer hardly wait for them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How many probes one target (host and port) bears at once.
pub const PER_TARGET_MAX: usize = 32;
/// How many probes run at once in all: of targets that answer soon, and of those that took long the last time.
const QUICK_MAX: usize = 1_024;
const SLOW_MAX: usize = 4_096;
/// How many probes run at once in all, apart from those that began as quick ones, took long, and found no place among
/// the slow ones: they go on without one.
pub const PROBES_MAX: usize = QUICK_MAX + SLOW_MAX;
/// Who takes so long is slow.
const SLOW_AFTER: Duration = Duration::from_secs(2);
/// Below so many targets nothing is tidied away.
const TARGETS_MIN: usize = 1_024;

/// Room for all probes.
pub(crate) struct Rooms {
    targets: Mutex<Targets>,
    quick: Arc<Semaphore>,
    slow: Arc<Semaphore>,
}

#[derive(Default)]
struct Targets {
    known: HashMap<Arc<str>, Arc<Room>>,
    /// Grown to this, those that nobody is in are forgotten.
    tidy_at: usize,
}

/// Room for the probes of one target.
struct Room {
    places: Arc<Semaphore>,
    is_slow: AtomicBool,
}

/// A place in it, until it is dropped.
pub(crate) struct Place {
    room: Arc<Room>,
    _place: Option<OwnedSemaphorePermit>,
    lane: Option<OwnedSemaphorePermit>,
    /// Where it goes if it takes long; none if it is there already.
    slow: Option<Arc<Semaphore>>,
}

impl Default for Rooms {
    fn default() -> Self {
        Self::of(QUICK_MAX, SLOW_MAX)
    }
}

impl Rooms {
    fn of(quick: usize, slow: usize) -> Self {
        let (quick, slow) = (Arc::new(Semaphore::new(quick)), Arc::new(Semaphore::new(slow)));
        Self { targets: Mutex::default(), quick, slow }
    }

    /// A place for one probe of this target, as soon as there is one. Who waits for its own target's holds no other.
    pub async fn enter(&self, target: &str) -> Place {
        let room = self.room(target);
        // The semaphores are never closed.
        let place = room.places.clone().acquire_owned().await.ok();
        let is_slow = room.is_slow.load(Ordering::Relaxed);
        let lane = if is_slow { &self.slow } else { &self.quick };
        let lane = lane.clone().acquire_owned().await.ok();
        Place { room, _place: place, lane, slow: (!is_slow).then(|| self.slow.clone()) }
    }

    fn room(&self, target: &str) -> Arc<Room> {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = targets.known.get(target) {
            return room.clone();
        }
        if targets.known.len() >= targets.tidy_at.max(TARGETS_MIN) {
            targets.known.retain(|_, room| Arc::strong_count(room) > 1);
            targets.tidy_at = targets.known.len() * 2;
        }
        let room = Arc::new(Room { places: Arc::new(Semaphore::new(PER_TARGET_MAX)), is_slow: AtomicBool::new(false) });
        targets.known.insert(target.into(), room.clone());
        room
    }
}

impl Place {
    /// What comes of the probe. If it takes long, then it makes room for quick ones.
    pub async fn while_in<T>(&mut self, probe: impl Future<Output = T>) -> T {
        let Some(slow) = self.slow.take() else { return probe.await };
        let mut probe = std::pin::pin!(probe);
        match timeout(SLOW_AFTER, &mut probe).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.room.is_slow.store(true, Ordering::Relaxed);
                self.lane = slow.try_acquire_owned().ok();
                probe.await
            }
        }
    }

    /// The probe took so long: where the target's next one goes.
    pub fn leave(self, took: Duration) {
        self.room.is_slow.store(took >= SLOW_AFTER, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// What it is now, without waiting.
    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_target_has_only_so_many_places_and_takes_none_of_others() {
        let rooms = Rooms::default();
        let held: Vec<_> = (0..PER_TARGET_MAX).map(|_| now(rooms.enter("a:1")).unwrap()).collect();
        assert!(now(rooms.enter("a:1")).is_none());
        assert!(now(rooms.enter("a:2")).is_some() && now(rooms.enter("b:1")).is_some());
        drop(held);
        assert!(now(rooms.enter("a:1")).is_some());
    }

    #[test]
    fn slow_targets_share_places_of_their_own() {
        let rooms = Rooms::of(1, 1);
        for target in ["slow:1", "slow:2"] {
            now(rooms.enter(target)).unwrap().leave(SLOW_AFTER);
        }
        let hangs = now(rooms.enter("slow:1")).unwrap();
        assert!(now(rooms.enter("slow:2")).is_none(), "they wait for each other");
        now(rooms.enter("quick:1")).unwrap().leave(Duration::from_millis(5));
        hangs.leave(Duration::from_millis(5));
        let fine_again = now(rooms.enter("slow:1")).unwrap();
        assert!(now(rooms.enter("slow:2")).is_some(), "its place is free");
        drop(fine_again);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_long_makes_room_for_quick_ones() {
        let rooms = Rooms::of(1, 1);
        let hang = |target: &'static str| {
            let rooms = &rooms;
            async move { rooms.enter(target).await.while_in(pending::<()>()).await }
        };
        let mut hanging = [pin!(hang("a:1")), pin!(hang("b:1"))];
        for hangs in &mut hanging {
            assert!(timeout(SLOW_AFTER / 2, &mut *hangs).await.is_err());
            assert!(now(rooms.enter("quick:1")).is_none(), "it may still be quick");
            assert!(timeout(SLOW_AFTER, &mut *hangs).await.is_err());
            assert!(now(rooms.enter("quick:1")).is_some());
        }
        assert!(now(rooms.enter("a:1")).is_none(), "its place is among the slow ones now, and there is only one");
    }

    #[test]
    fn places_are_forgotten_when_there_are_many() {
        let rooms = Rooms::default();
        let held = now(rooms.enter("held:1")).unwrap();
        for number in 0..3 * TARGETS_MIN {
            drop(now(rooms.enter(&format!("t:{number}"))));
        }
        let targets = rooms.targets.lock().unwrap();
        assert!(targets.known.len() <= TARGETS_MIN + 1 && targets.known.contains_key("held:1"));
        drop(held);
    }
}
