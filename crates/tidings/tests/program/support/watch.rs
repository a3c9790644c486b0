//! A value that one side changes and another waits for.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::SURELY;

/// A value with a bell.
#[derive(Default)]
pub struct MonitoredEndpoint<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> MonitoredEndpoint<T> {
    /// With this value at first.
    pub fn of(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Condvar::new() }
    }

    /// The value as it is.
    pub fn look<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.lock())
    }

    /// Changes it and rings.
    pub fn change<R>(&self, write: impl FnOnce(&mut T) -> R) -> R {
        let result = write(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until there is something to see in it; none if that surely should have been.
    pub fn wait_for<R>(&self, read: impl Fn(&T) -> Option<R>) -> Option<R> {
        self.wait_longer_for(SURELY, read)
    }

    /// The same for what is known to take longer.
    pub fn wait_longer_for<R>(&self, patience: Duration, read: impl Fn(&T) -> Option<R>) -> Option<R> {
        let mut seen = None;
        let is_missing = |value: &mut T| {
            seen = read(value);
            seen.is_none()
        };
        let waited = self.changed.wait_timeout_while(self.lock(), patience, is_missing);
        drop(waited);
        seen
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
