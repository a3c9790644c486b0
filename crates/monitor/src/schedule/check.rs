//! One check, from its endpoint's turn until what was seen is written down.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::roster::{EndpointProber, EndpointSource, MonitoredEndpoint};
use super::scheduler::WallClock;
use crate::measure;

/// A check.
pub(crate) struct Check {
    pub roster: Arc<dyn EndpointSource>,
    pub look: Arc<dyn EndpointProber>,
    pub clock: WallClock,
    /// When it was due.
    pub due: Instant,
    pub watch: Arc<MonitoredEndpoint>,
    /// How many observations wait to be written down.
    pub unwritten: Arc<AtomicUsize>,
}

impl Check {
    /// Looks, unless it is given up, and tells what was seen. From then on it is not given up any more: whoever writes
    /// it down is not to be stopped half way.
    pub async fn run(self, given_up: oneshot::Receiver<()>) {
        let (late, now) = (self.due.elapsed(), (self.clock)());
        let observation = tokio::select! {
            biased;
            _ = given_up => return,
            observation = self.look.look(&self.watch, now) => observation,
        };
        // It says when it began, which may be later: its target has only so many places.
        measure::lagged(late + Duration::from_millis(observation.started_at.since_ms(now)));
        let _unwritten = Unwritten::new(&self.unwritten);
        self.roster.observed(&self.watch, observation).await;
    }
}

/// An observation that waits to be written down, however that ends.
struct Unwritten<'a>(&'a AtomicUsize);

impl<'a> Unwritten<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
