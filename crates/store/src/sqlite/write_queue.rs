//! The queue in front of the writer: callers push requests, the writer takes them in batches.
//!
//! An accept has a client waiting for the response, so it wakes the writer at once. A settlement has not: it rides with
//! the next batch, or gets one of its own when enough of them have gathered or a short time has passed.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::accept::EncodedEvent;
use super::operation::Operation;
use crate::Result;
use crate::error::StoreError;
use crate::queue::{Acceptance, Settled, Settlement};

/// Requests that may be queued; further callers wait in [`WriteQueue::push`].
const REQUESTS_MAX: usize = 8_192;
/// The most that one commit takes of events (a request is not divided), settlements and other operations. That is about
/// ten milliseconds of work, which the next caller has to wait for.
const BATCH_EVENTS_MAX: usize = 256;
const BATCH_SETTLEMENTS_MAX: usize = 512;
const BATCH_OTHERS_MAX: usize = 64;
/// This many settlements get a commit of their own.
const SETTLEMENTS_COMMIT_AT: usize = 64;
/// How long settlements wait for a batch to join. A crash in that time repeats their attempts.
const SETTLEMENTS_MAX_WAIT: Duration = Duration::from_millis(2);

/// A request with the channel for its reply.
pub(super) struct Request<T, A> {
    pub(super) payload: T,
    pub(super) reply: oneshot::Sender<Reply<T, A>>,
}

/// The result, and the payload for the caller to free. The writer is the one thread that all others wait for, and
/// freeing memory that another thread allocated is expensive.
pub(super) type Reply<T, A> = (Result<A>, T);

pub(super) type AcceptRequest = Request<Vec<EncodedEvent>, Vec<Acceptance>>;
pub(super) type SettleRequest = Request<Settlement, Settled>;

/// What one commit writes.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) accepts: Vec<AcceptRequest>,
    pub(super) settlements: Vec<SettleRequest>,
    pub(super) others: Vec<Box<dyn Operation>>,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.accepts.len() + self.settlements.len() + self.others.len()
    }
}

#[derive(Default)]
struct State {
    accepts: VecDeque<AcceptRequest>,
    settlements: VecDeque<SettleRequest>,
    /// When the oldest queued settlement was pushed.
    settlements_since: Option<Instant>,
    others: VecDeque<Box<dyn Operation>>,
    /// Dropped when the writer has ended, which wakes the callers of `close`.
    closing: Vec<oneshot::Sender<Infallible>>,
    is_closed: bool,
    has_ended: bool,
    /// The writer waits on the condition variable.
    is_idle: bool,
}

pub(super) struct WriteQueue {
    state: Mutex<State>,
    wakeup: Condvar,
    capacity: Semaphore,
}

impl Default for WriteQueue {
    fn default() -> Self {
        Self { state: Mutex::default(), wakeup: Condvar::new(), capacity: Semaphore::new(REQUESTS_MAX) }
    }
}

impl WriteQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pushes a request with `push`, which returns whether the writer must be woken. Waits while the queue is full.
    async fn push(&self, push: impl FnOnce(&mut State) -> bool) -> Result<()> {
        // The permit is given back by `next_batch`, not here: it counts requests that are queued.
        self.capacity.acquire().await.map_err(|_| StoreError::Closed)?.forget();
        let mut state = self.lock();
        // `close` sets the flag under this lock. A request that passed the semaphore before that must not be pushed
        // after the writer took its last batch, because nothing would reply to it.
        if state.is_closed {
            return Err(StoreError::Closed);
        }
        // Only the first of several callers wakes an idle writer; a busy one looks into the queue anyway when it is
        // done.
        let wakes = push(&mut state) && std::mem::take(&mut state.is_idle);
        drop(state);
        if wakes {
            self.wakeup.notify_one();
        }
        Ok(())
    }

    pub(super) async fn accept(&self, accept: AcceptRequest) -> Result<()> {
        self.push(|state| {
            state.accepts.push_back(accept);
            true
        })
        .await
    }

    pub(super) async fn settle(&self, settle: SettleRequest) -> Result<()> {
        self.push(|state| {
            state.settlements.push_back(settle);
            // The first settlement starts the timer, so a writer that waits without a timeout must wake to see it.
            let is_first = state.settlements_since.is_none();
            state.settlements_since.get_or_insert_with(Instant::now);
            is_first || state.settlements.len() >= SETTLEMENTS_COMMIT_AT
        })
        .await
    }

    pub(super) async fn run(&self, operation: Box<dyn Operation>) -> Result<()> {
        self.push(|state| {
            state.others.push_back(operation);
            true
        })
        .await
    }

    /// Accepts no more requests; the writer ends when the queued ones are written. `reply` is dropped when it has
    /// ended.
    pub(super) fn close(&self, reply: Option<oneshot::Sender<Infallible>>) {
        let mut state = self.lock();
        state.is_closed = true;
        // Once the writer has ended nothing would drop the sender, and its receiver would wait for ever.
        let reply = reply.filter(|_| !state.has_ended);
        state.closing.extend(reply);
        drop(state);
        self.capacity.close();
        self.wakeup.notify_one();
    }

    /// Waits for the next batch; `None` when the queue is closed and empty.
    pub(super) fn next_batch(&self) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            let gathered = state.settlements.len();
            let waited = state.settlements_since.map(|since| since.elapsed());
            let left = waited.map(|waited| SETTLEMENTS_MAX_WAIT.saturating_sub(waited));
            let is_due = left.is_some_and(|left| left.is_zero()) || gathered >= SETTLEMENTS_COMMIT_AT;
            let has_more = !state.accepts.is_empty() || !state.others.is_empty();
            if has_more || is_due || state.is_closed {
                break;
            }
            // Set under the lock that `push` takes, so a request pushed from here on wakes this wait.
            state.is_idle = true;
            state = match left {
                None => self.wakeup.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.wakeup.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            // After a timeout or a spurious wake-up no caller has cleared it.
            state.is_idle = false;
        }
        let batch = state.take_batch();
        drop(state);
        self.capacity.add_permits(batch.len());
        (batch.len() > 0).then_some(batch)
    }

    /// Fails everything that is queued, because the writer has ended: a caller sees that its reply channel was dropped.
    pub(super) fn cancel_all(&self) {
        self.close(None);
        let mut state = self.lock();
        state.has_ended = true;
        state.closing.clear();
        state.accepts.clear();
        state.settlements.clear();
        state.others.clear();
    }
}

impl State {
    fn take_batch(&mut self) -> Batch {
        let mut events = 0;
        // The request that reaches the limit is still taken whole, so one of any size is written at some time.
        let requests = self.accepts.iter().take_while(|accept| {
            let fits = events < BATCH_EVENTS_MAX;
            events += accept.payload.len();
            fits
        });
        let requests = requests.count();
        let settlements = self.settlements.len().min(BATCH_SETTLEMENTS_MAX);
        let others = self.others.len().min(BATCH_OTHERS_MAX);
        let batch = Batch {
            accepts: self.accepts.drain(..requests).collect(),
            settlements: self.settlements.drain(..settlements).collect(),
            others: self.others.drain(..others).collect(),
        };
        // Settlements that did not fit keep the old instant and so are due with the next batch.
        if self.settlements.is_empty() {
            self.settlements_since = None;
        }
        batch
    }
}

/// A thread that is joined on drop. Whatever makes the thread end must be dropped, or signalled, before.
pub(super) struct JoinOnDrop(Option<JoinHandle<()>>);

impl JoinOnDrop {
    pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<Self> {
        let handle = Builder::new()
            .name(name.into())
            .spawn(work)
            .map_err(|error| StoreError::Database(format!("cannot start the thread {name}: {error}")))?;
        Ok(Self(Some(handle)))
    }
}

impl Drop for JoinOnDrop {
    fn drop(&mut self) {
        if let Some(Err(_)) = self.0.take().map(JoinHandle::join) {
            tracing::error!("a store thread panicked");
        }
    }
}
