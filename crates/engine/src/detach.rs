//! Futures that run to completion even if their caller is cancelled.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Runs `work` in the caller's own task. If the caller is dropped first, as when a client disconnects, the remaining
/// work is spawned as a task of its own. Costs one allocation; spawning a task for every call would also cost two
/// wake-ups.
pub(crate) fn detach_on_drop<F>(work: F) -> DetachOnDrop<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    DetachOnDrop(Some(Box::pin(work)))
}

pub(crate) struct DetachOnDrop<F>(Option<Pin<Box<F>>>)
where
    F: Future + Send + 'static,
    F::Output: Send;

impl<F> Future for DetachOnDrop<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(work) = self.0.as_mut() else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_ready() {
            // Completed work must not be spawned by `drop`.
            self.0 = None;
        }
        polled
    }
}

impl<F> Drop for DetachOnDrop<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn drop(&mut self) {
        // Without a runtime the process is shutting down: an uncommitted write is lost with its caller.
        if let Some(work) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn detach_on_drop_awaited_returns_output() {
        assert_eq!(detach_on_drop(async { 7 }).await, 7);
    }

    #[tokio::test]
    async fn detach_on_drop_dropped_runs_to_completion() {
        let (release, released) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel();
        let mut work = Box::pin(detach_on_drop(async move {
            let _ = released.await;
            let _ = done.send("done");
        }));
        let polled = std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        drop(work);
        release.send(()).unwrap();
        assert_eq!(finished.await, Ok("done"));
    }
}
