//! Work that goes on when its caller goes away.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Runs the work in the caller's own task; should the caller be dropped first, as when a client hangs up, the work is
/// moved to a task of its own and goes on to its end. Costs one allocation, where a task for each call costs two wake-ups
/// as well.
pub(crate) fn unbroken<F>(work: F) -> Unbroken<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    Unbroken(Some(Box::pin(work)))
}

pub(crate) struct Unbroken<F>(Option<Pin<Box<F>>>)
where
    F: Future + Send + 'static,
    F::Output: Send;

impl<F> Future for Unbroken<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(work) = self.0.as_mut() else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F> Drop for Unbroken<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn drop(&mut self) {
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
    async fn it_answers_its_caller() {
        assert_eq!(unbroken(async { 7 }).await, 7);
    }

    #[tokio::test]
    async fn it_goes_on_without_its_caller() {
        let (go, gone) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel();
        let mut work = Box::pin(unbroken(async move {
            let _ = gone.await;
            let _ = done.send("done");
        }));
        let begun = std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
        assert!(begun.is_pending());
        drop(work);
        go.send(()).unwrap();
        assert_eq!(finished.await, Ok("done"));
    }
}
