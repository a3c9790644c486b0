//! A value that one thread changes and others wait for.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::WAIT_MAX;

/// A value with a condition variable that signals its changes.
#[derive(Default)]
pub struct Observed<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Observed<T> {
    /// Begins with this value.
    pub fn of(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Condvar::new() }
    }

    /// Reads the value.
    pub fn read<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.lock())
    }

    /// Changes the value and wakes all waiters.
    pub fn change<R>(&self, write: impl FnOnce(&mut T) -> R) -> R {
        let result = write(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `read` returns something; `None` after [`WAIT_MAX`].
    pub fn wait_for<R>(&self, read: impl Fn(&T) -> Option<R>) -> Option<R> {
        self.wait_longer_for(WAIT_MAX, read)
    }

    /// The same with another timeout.
    pub fn wait_longer_for<R>(&self, timeout: Duration, read: impl Fn(&T) -> Option<R>) -> Option<R> {
        let mut seen = None;
        let is_missing = |value: &mut T| {
            seen = read(value);
            seen.is_none()
        };
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, is_missing);
        drop(waited);
        seen
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
