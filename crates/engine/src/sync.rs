//! Locking helpers, and retrying after a write conflict.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tidings_store::StoreError;

use crate::error::EngineError;

/// How often a write is attempted while other writers win the race for the same row.
pub(crate) const CONFLICT_ATTEMPTS: u32 = 5;

/// Locks a mutex, poisoned or not. The guarded sections of this crate are short and do no I/O; a panic in one of them
/// must not stop every other task from making progress.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error that may report a lost race under optimistic concurrency.
pub(crate) trait Conflict {
    /// Whether another writer was faster: the caller reads again and repeats.
    fn is_conflict(&self) -> bool;
}

impl Conflict for StoreError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict | Self::Exists)
    }
}

impl Conflict for EngineError {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_conflict())
    }
}

/// Runs `attempt` until it succeeds or fails otherwise than with a conflict, at most [`CONFLICT_ATTEMPTS`] times.
/// `attempt` must read its input anew each time. Returns the last conflict if none of the attempts got through.
pub(crate) async fn retry_on_conflict<T, E: Conflict, F>(mut attempt: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut attempts = 1;
    loop {
        match attempt().await {
            Err(error) if error.is_conflict() && attempts < CONFLICT_ATTEMPTS => attempts += 1,
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn retry_on_conflict_repeats_conflicts_only_and_gives_up_after_five() {
        let calls = Cell::new(0);
        let counted = || async {
            calls.set(calls.get() + 1);
            if calls.get() < 3 { Err(StoreError::Exists) } else { Ok(calls.get()) }
        };
        assert!(matches!(retry_on_conflict(counted).await, Ok(3)));
        calls.set(0);
        let always = || async {
            calls.set(calls.get() + 1);
            Err::<(), _>(StoreError::Conflict)
        };
        assert!(matches!(retry_on_conflict(always).await, Err(StoreError::Conflict)));
        assert_eq!(calls.get(), CONFLICT_ATTEMPTS);
        calls.set(0);
        let closed = || async {
            calls.set(calls.get() + 1);
            Err::<(), _>(StoreError::Closed)
        };
        assert!(matches!(retry_on_conflict(closed).await, Err(StoreError::Closed)));
        assert_eq!(calls.get(), 1);
    }
}
