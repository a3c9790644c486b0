//! Permits that are shared out in turns between owners.
//!
//! Each owner has at most a share of the permits, and when all are in use, those that become free go to the waiting owners
//! one after the other, however many each is waiting for. An owner whose work hangs delays only itself.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Hands out permits.
pub(super) struct FairSemaphore<K: Key>(Arc<Shared<K>>);

/// What identifies an owner.
pub(super) trait Key: Copy + Eq + Hash + Send {}

impl<T: Copy + Eq + Hash + Send> Key for T {}

struct Shared<K> {
    per_owner: usize,
    state: Mutex<State<K>>,
}

struct State<K> {
    free: usize,
    owners: HashMap<K, Owner>,
    /// The owners that wait and have not used up their share, in the order of their turns; each at most once.
    turns: VecDeque<K>,
}

#[derive(Default)]
struct Owner {
    in_use: usize,
    waiting: VecDeque<oneshot::Sender<()>>,
    has_turn: bool,
}

/// One permit, until dropped.
pub(super) struct FairPermit<K: Key> {
    shared: Arc<Shared<K>>,
    owner: K,
}

impl<K: Key> FairSemaphore<K> {
    /// `total` permits, of which one owner gets at most `per_owner`.
    pub(super) fn new(total: usize, per_owner: usize) -> Self {
        let state = State { free: total, owners: HashMap::new(), turns: VecDeque::new() };
        Self(Arc::new(Shared { per_owner, state: Mutex::new(state) }))
    }

    /// Waits for a permit. A caller that is cancelled leaves its place to the next.
    pub(super) async fn acquire(&self, owner: K) -> FairPermit<K> {
        let mut granted = {
            let mut state = self.0.lock();
            let (sender, granted) = oneshot::channel();
            let entry = state.owners.entry(owner).or_default();
            entry.waiting.push_back(sender);
            state.give_turn(owner, self.0.per_owner);
            state.dispatch(self.0.per_owner);
            Waiting { granted, owner, shared: &self.0, is_done: false }
        };
        // Never fails: the sender stays in the queue until it has sent.
        let _ = (&mut granted.granted).await;
        granted.is_done = true;
        FairPermit { shared: self.0.clone(), owner }
    }

    /// How many permits are free.
    #[cfg(test)]
    pub(super) fn available(&self) -> usize {
        self.0.lock().free
    }
}

impl<K> Shared<K> {
    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Key> Shared<K> {
    fn release(&self, owner: K) {
        let mut state = self.lock();
        state.free += 1;
        if let Some(entry) = state.owners.get_mut(&owner) {
            entry.in_use -= 1;
        }
        state.give_turn(owner, self.per_owner);
        state.dispatch(self.per_owner);
        state.forget_if_unused(owner);
    }
}

impl<K: Key> State<K> {
    /// Queues the owner for its next turn, if it waits and may have more.
    fn give_turn(&mut self, owner: K, per_owner: usize) {
        let Some(entry) = self.owners.get_mut(&owner) else { return };
        if !entry.has_turn && !entry.waiting.is_empty() && entry.in_use < per_owner {
            entry.has_turn = true;
            self.turns.push_back(owner);
        }
    }

    /// Grants free permits in turns.
    fn dispatch(&mut self, per_owner: usize) {
        while self.free > 0 {
            let Some(owner) = self.turns.pop_front() else { return };
            let Some(entry) = self.owners.get_mut(&owner) else { continue };
            entry.has_turn = false;
            // Callers that were cancelled have closed their end.
            while let Some(waiting) = entry.waiting.pop_front() {
                if waiting.send(()).is_ok() {
                    entry.in_use += 1;
                    self.free -= 1;
                    break;
                }
            }
            self.give_turn(owner, per_owner);
            self.forget_if_unused(owner);
        }
    }

    fn forget_if_unused(&mut self, owner: K) {
        if self.owners.get(&owner).is_some_and(|entry| entry.in_use == 0 && entry.waiting.is_empty()) {
            self.owners.remove(&owner);
        }
    }
}

impl<K: Key> Drop for FairPermit<K> {
    fn drop(&mut self) {
        self.shared.release(self.owner);
    }
}

/// A caller in the queue. If it is cancelled after its permit was granted, the permit is returned.
struct Waiting<'a, K: Key> {
    granted: oneshot::Receiver<()>,
    owner: K,
    shared: &'a Shared<K>,
    is_done: bool,
}

impl<K: Key> Drop for Waiting<'_, K> {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        // Closed first, so that no permit is granted after the check.
        self.granted.close();
        if self.granted.try_recv().is_ok() {
            self.shared.release(self.owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn now<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn acquire_is_limited_per_owner_and_in_total() {
        let permits = FairSemaphore::new(3, 2);
        let mut held: Vec<_> = (0..2).map(|_| now(pin!(permits.acquire('a'))).unwrap()).collect();
        assert!(now(pin!(permits.acquire('a'))).is_none(), "its share is used up");
        held.push(now(pin!(permits.acquire('b'))).unwrap());
        assert!(now(pin!(permits.acquire('b'))).is_none(), "all are in use");
        drop(held);
        assert_eq!(permits.available(), 3);
        assert!(permits.0.lock().owners.is_empty(), "unused owners are forgotten");
        assert!(now(pin!(permits.acquire('a'))).is_some(), "cancelled callers left no trace");
    }

    #[test]
    fn acquire_freed_permits_go_to_waiting_owners_in_turns() {
        let permits = FairSemaphore::new(1, 1);
        let held = now(pin!(permits.acquire('x'))).unwrap();
        let owners = ['a', 'a', 'a', 'b', 'c', 'b'];
        let mut waiting: Vec<_> = owners.iter().map(|owner| (*owner, Box::pin(permits.acquire(*owner)))).collect();
        for (_, one) in &mut waiting {
            assert!(now(one.as_mut()).is_none());
        }
        drop(held);
        let mut order = String::new();
        while !waiting.is_empty() {
            let ready = waiting.iter_mut().position(|(_, one)| now(one.as_mut()).is_some());
            let (owner, _) = waiting.remove(ready.expect("one is granted at a time"));
            order.push(owner);
        }
        assert_eq!(order, "abcaba");
        assert_eq!(permits.available(), 1);
    }

    #[test]
    fn acquire_permit_granted_to_a_cancelled_caller_is_returned() {
        let permits = FairSemaphore::new(1, 1);
        let held = now(pin!(permits.acquire('a'))).unwrap();
        let mut cancelled = Box::pin(permits.acquire('b'));
        let mut next = Box::pin(permits.acquire('c'));
        assert!(now(cancelled.as_mut()).is_none() && now(next.as_mut()).is_none());
        drop(held);
        assert_eq!(permits.available(), 0, "granted, but not taken yet");
        drop(cancelled);
        assert!(now(next.as_mut()).is_some());
    }
}
