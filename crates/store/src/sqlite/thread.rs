//! Threads that are waited for: what started one does not end before it.

use std::thread::{Builder, JoinHandle};

use crate::Result;
use crate::error::StoreError;

/// A thread that is joined when this is dropped. Whatever tells the thread to end is dropped before.
pub(super) struct Joined(Option<JoinHandle<()>>);

impl Joined {
    pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<Self> {
        let handle = Builder::new()
            .name(name.into())
            .spawn(work)
            .map_err(|error| StoreError::Database(format!("cannot start the thread {name}: {error}")))?;
        Ok(Self(Some(handle)))
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        if let Some(Err(_)) = self.0.take().map(JoinHandle::join) {
            tracing::error!("a thread of the store panicked");
        }
    }
}
