//! What waits for the writer: callers put it here, the writer takes it away by batches.
//!
//! An accept has somebody waiting at the other end, so the writer is woken for it. A settlement has not: it rides with
//! what comes next, or goes by itself when enough of them gathered or a moment has passed.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::accept::Prepared;
use super::operation::Operation;
use crate::Result;
use crate::error::StoreError;
use crate::queue::{Acceptance, Settled, Settlement};

/// Callers that may wait before further ones are held up.
const CALLERS_MAX: usize = 8_192;
/// Events, settlements and other operations that one commit takes at most (a request is not divided): some ten
/// milliseconds of work, which whoever comes next waits for.
const EVENTS_MAX: usize = 256;
const SETTLEMENTS_MAX: usize = 512;
const OTHERS_MAX: usize = 64;
/// So many settlements are worth a commit of their own.
const SETTLEMENTS_ENOUGH: usize = 64;
/// How long settlements wait for company.
const SETTLEMENTS_WAIT: Duration = Duration::from_millis(2);

/// Something that waits, with the way to tell its caller.
pub(super) struct Waiter<T, A> {
    pub(super) what: T,
    pub(super) reply: oneshot::Sender<Answer<T, A>>,
}

/// What became of it; and the thing itself, for its caller to free: the writer, that everybody waits for, would have to
/// give back memory that other threads allocated, which costs more.
pub(super) type Answer<T, A> = (Result<A>, T);

/// A request's events.
pub(super) type Accept = Waiter<Vec<Prepared>, Vec<Acceptance>>;
/// An attempt's outcome.
pub(super) type Settle = Waiter<Settlement, Settled>;

/// What one commit is to write.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) accepts: Vec<Accept>,
    pub(super) settlements: Vec<Settle>,
    pub(super) others: Vec<Box<dyn Operation>>,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.accepts.len() + self.settlements.len() + self.others.len()
    }
}

#[derive(Default)]
struct State {
    accepts: VecDeque<Accept>,
    settlements: VecDeque<Settle>,
    /// Since when the settlements wait.
    settlements_since: Option<Instant>,
    others: VecDeque<Box<dyn Operation>>,
    closing: Vec<oneshot::Sender<Infallible>>,
    is_closed: bool,
    has_ended: bool,
    /// The writer has nothing to do and waits to be woken.
    is_idle: bool,
}

/// The queue between callers and writer.
pub(super) struct Waiting {
    state: Mutex<State>,
    arrived: Condvar,
    room: Semaphore,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), room: Semaphore::new(CALLERS_MAX) }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts something in line; held up while too much waits.
    async fn put(&self, put: impl FnOnce(&mut State) -> bool) -> Result<()> {
        self.room.acquire().await.map_err(|_| StoreError::Closed)?.forget();
        let mut state = self.lock();
        if state.is_closed {
            return Err(StoreError::Closed);
        }
        let wakes = put(&mut state) && std::mem::take(&mut state.is_idle);
        drop(state);
        if wakes {
            self.arrived.notify_one();
        }
        Ok(())
    }

    pub(super) async fn accept(&self, accept: Accept) -> Result<()> {
        self.put(|state| {
            state.accepts.push_back(accept);
            true
        })
        .await
    }

    pub(super) async fn settle(&self, settle: Settle) -> Result<()> {
        self.put(|state| {
            state.settlements.push_back(settle);
            // The first sets the clock, which the writer has to see.
            let is_first = state.settlements_since.is_none();
            state.settlements_since.get_or_insert_with(Instant::now);
            is_first || state.settlements.len() >= SETTLEMENTS_ENOUGH
        })
        .await
    }

    pub(super) async fn run(&self, operation: Box<dyn Operation>) -> Result<()> {
        self.put(|state| {
            state.others.push_back(operation);
            true
        })
        .await
    }

    /// Lets nobody in any more; the writer ends when all that waits is written. The reply is dropped when it has ended.
    pub(super) fn close(&self, reply: Option<oneshot::Sender<Infallible>>) {
        let mut state = self.lock();
        state.is_closed = true;
        // After the end there is nothing to wait for.
        let reply = reply.filter(|_| !state.has_ended);
        state.closing.extend(reply);
        drop(state);
        self.room.close();
        self.arrived.notify_one();
    }

    /// Waits until there is something worth a commit and takes it; none when closed and empty.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            let gathered = state.settlements.len();
            let waited = state.settlements_since.map(|since| since.elapsed());
            let left = waited.map(|waited| SETTLEMENTS_WAIT.saturating_sub(waited));
            let is_due = left.is_some_and(|left| left.is_zero()) || gathered >= SETTLEMENTS_ENOUGH;
            let has_more = !state.accepts.is_empty() || !state.others.is_empty();
            if has_more || is_due || state.is_closed {
                break;
            }
            state.is_idle = true;
            state = match left {
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.is_idle = false;
        }
        let batch = state.take();
        drop(state);
        // When closed there is nobody to let in.
        self.room.add_permits(batch.len());
        (batch.len() > 0).then_some(batch)
    }

    /// Nobody writes any more: whoever waits is told so by the end of its reply.
    pub(super) fn abandon(&self) {
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
    fn take(&mut self) -> Batch {
        let mut events = 0;
        let requests = self.accepts.iter().take_while(|accept| {
            let fits = events < EVENTS_MAX;
            events += accept.what.len();
            fits
        });
        let requests = requests.count();
        let settlements = self.settlements.len().min(SETTLEMENTS_MAX);
        let others = self.others.len().min(OTHERS_MAX);
        let batch = Batch {
            accepts: self.accepts.drain(..requests).collect(),
            settlements: self.settlements.drain(..settlements).collect(),
            others: self.others.drain(..others).collect(),
        };
        // What is left has waited long enough.
        if self.settlements.is_empty() {
            self.settlements_since = None;
        }
        batch
    }
}
