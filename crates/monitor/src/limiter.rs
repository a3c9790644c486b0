//! Limits concurrent probes, per target and in total, so that slow targets do not delay others.
//!
//! A probe that hangs holds its permits until its timeout. Therefore each target has a limit of its own, and targets
//! whose last probe was slow draw from a separate pool. A probe that turns out to be slow while it runs returns its
//! fast permit: even when many targets start to hang at the same time, responsive ones hardly wait.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Concurrent probes of one target (host and port).
pub const PER_TARGET_MAX: usize = 32;
/// Concurrent probes of targets that responded quickly the last time, in total.
const FAST_PROBES_MAX: usize = 1_024;
/// Concurrent probes of targets that were slow the last time, in total.
const SLOW_PROBES_MAX: usize = 4_096;
/// Concurrent probes in total. Probes that turned slow while the slow pool was exhausted run on without a permit and
/// come on top.
pub const PROBES_MAX: usize = FAST_PROBES_MAX + SLOW_PROBES_MAX;
/// A probe that takes this long is slow.
const SLOW_AFTER: Duration = Duration::from_secs(2);
/// Unused targets are forgotten only above this number.
const TARGETS_MIN: usize = 1_024;

/// Hands out permits for probes.
pub(crate) struct ProbeLimiter {
    targets: Mutex<Targets>,
    fast_pool: Arc<Semaphore>,
    slow_pool: Arc<Semaphore>,
}

#[derive(Default)]
struct Targets {
    by_name: HashMap<Arc<str>, Arc<TargetLimit>>,
    /// Size at which unused targets are removed next. Doubling it makes the cost of scanning amortised constant.
    prune_at: usize,
}

struct TargetLimit {
    permits: Arc<Semaphore>,
    is_slow: AtomicBool,
}

/// Permission for one probe, until dropped.
pub(crate) struct ProbePermit {
    target: Arc<TargetLimit>,
    _target_permit: Option<OwnedSemaphorePermit>,
    pool_permit: Option<OwnedSemaphorePermit>,
    /// The pool to move to when the probe turns out to be slow; `None` if it is in that pool already.
    slow_pool: Option<Arc<Semaphore>>,
}

impl Default for ProbeLimiter {
    fn default() -> Self {
        Self::with_pools(FAST_PROBES_MAX, SLOW_PROBES_MAX)
    }
}

impl ProbeLimiter {
    fn with_pools(fast: usize, slow: usize) -> Self {
        let (fast_pool, slow_pool) = (Arc::new(Semaphore::new(fast)), Arc::new(Semaphore::new(slow)));
        Self { targets: Mutex::default(), fast_pool, slow_pool }
    }

    /// Waits for a permit to probe this target.
    pub async fn acquire(&self, target: &str) -> ProbePermit {
        let target = self.target_limit(target);
        // The target's permit comes first: while waiting for it, a probe must not hold a permit that others could use.
        // `ok` never loses an error, because the semaphores are never closed.
        let target_permit = target.permits.clone().acquire_owned().await.ok();
        let is_slow = target.is_slow.load(Ordering::Relaxed);
        let pool = if is_slow { &self.slow_pool } else { &self.fast_pool };
        let pool_permit = pool.clone().acquire_owned().await.ok();
        let slow_pool = (!is_slow).then(|| self.slow_pool.clone());
        ProbePermit { target, _target_permit: target_permit, pool_permit, slow_pool }
    }

    fn target_limit(&self, target: &str) -> Arc<TargetLimit> {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(limit) = targets.by_name.get(target) {
            return limit.clone();
        }
        if targets.by_name.len() >= targets.prune_at.max(TARGETS_MIN) {
            // A count above one means that a probe holds a permit or waits for one.
            targets.by_name.retain(|_, limit| Arc::strong_count(limit) > 1);
            targets.prune_at = targets.by_name.len() * 2;
        }
        let permits = Arc::new(Semaphore::new(PER_TARGET_MAX));
        let limit = Arc::new(TargetLimit { permits, is_slow: AtomicBool::new(false) });
        targets.by_name.insert(target.into(), limit.clone());
        limit
    }
}

impl ProbePermit {
    /// Runs the probe. If it turns out to be slow, its fast permit is returned and a slow one taken if there is one.
    pub async fn run<T>(&mut self, probe: impl Future<Output = T>) -> T {
        let Some(slow_pool) = self.slow_pool.take() else { return probe.await };
        let mut probe = std::pin::pin!(probe);
        match timeout(SLOW_AFTER, &mut probe).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.target.is_slow.store(true, Ordering::Relaxed);
                // `try_`: waiting for a slow permit would suspend a probe whose timeout is running.
                self.pool_permit = slow_pool.try_acquire_owned().ok();
                probe.await
            }
        }
    }

    /// Releases the permit. The time that the probe took selects the pool of the target's next probe.
    pub fn finish(self, took: Duration) {
        self.target.is_slow.store(took >= SLOW_AFTER, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// The future's value, if it is ready without waiting.
    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn acquire_is_limited_per_target() {
        let limiter = ProbeLimiter::default();
        let permits: Vec<_> = (0..PER_TARGET_MAX).map(|_| now(limiter.acquire("a:1")).unwrap()).collect();
        assert!(now(limiter.acquire("a:1")).is_none());
        assert!(now(limiter.acquire("a:2")).is_some() && now(limiter.acquire("b:1")).is_some());
        drop(permits);
        assert!(now(limiter.acquire("a:1")).is_some());
    }

    #[test]
    fn acquire_slow_targets_share_a_separate_pool() {
        let limiter = ProbeLimiter::with_pools(1, 1);
        for target in ["slow:1", "slow:2"] {
            now(limiter.acquire(target)).unwrap().finish(SLOW_AFTER);
        }
        let hanging = now(limiter.acquire("slow:1")).unwrap();
        assert!(now(limiter.acquire("slow:2")).is_none(), "the slow pool is exhausted");
        now(limiter.acquire("fast:1")).unwrap().finish(Duration::from_millis(5));
        hanging.finish(Duration::from_millis(5));
        let fast_again = now(limiter.acquire("slow:1")).unwrap();
        assert!(now(limiter.acquire("slow:2")).is_some(), "the slow permit is free again");
        drop(fast_again);
    }

    #[tokio::test(start_paused = true)]
    async fn run_slow_probe_returns_its_fast_permit() {
        let limiter = ProbeLimiter::with_pools(1, 1);
        let hang = |target: &'static str| {
            let limiter = &limiter;
            async move { limiter.acquire(target).await.run(pending::<()>()).await }
        };
        let mut hanging = [pin!(hang("a:1")), pin!(hang("b:1"))];
        for hangs in &mut hanging {
            assert!(timeout(SLOW_AFTER / 2, &mut *hangs).await.is_err());
            assert!(now(limiter.acquire("fast:1")).is_none(), "it is not slow yet");
            assert!(timeout(SLOW_AFTER, &mut *hangs).await.is_err());
            assert!(now(limiter.acquire("fast:1")).is_some());
        }
        assert!(now(limiter.acquire("a:1")).is_none(), "it now needs a slow permit, and the only one is in use");
    }

    #[test]
    fn target_limit_unused_targets_are_pruned() {
        let limiter = ProbeLimiter::default();
        let permit = now(limiter.acquire("used:1")).unwrap();
        for number in 0..3 * TARGETS_MIN {
            drop(now(limiter.acquire(&format!("t:{number}"))));
        }
        let targets = limiter.targets.lock().unwrap();
        assert!(targets.by_name.len() <= TARGETS_MIN + 1 && targets.by_name.contains_key("used:1"));
        drop(permit);
    }
}
