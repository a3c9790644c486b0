use std::sync::atomic::{AtomicUsize, Ordering};

use tidings_domain::id::Id as _;
use tokio::sync::Notify;

use super::*;

const LIMITS: LookupLimits = LookupLimits { total: 8, per_workspace: 4 };

/// Answers when `go` is notified; names that begin with `fast` at once.
#[derive(Default)]
struct SlowResolver {
    lookups: AtomicUsize,
    go: Notify,
}

#[async_trait]
impl Resolve for SlowResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        if !host.starts_with("fast") {
            self.go.notified().await;
        }
        Ok(vec![SocketAddr::from(([8, 8, 8, 8], port))])
    }
}

impl SlowResolver {
    fn lookups(&self) -> usize {
        self.lookups.load(Ordering::SeqCst)
    }
}

fn of(workspace: u8) -> DialOptions {
    DialOptions { workspace: Some(WorkspaceId::from_bytes([workspace; 16])), fresh: false }
}

async fn yield_often() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn concurrent_lookups_of_one_name_are_joined() {
    let slow = Arc::new(SlowResolver::default());
    let lookups = Lookups::new(slow.clone(), LIMITS);
    let (mut one, mut two, mut cancelled) = (
        Box::pin(lookups.addresses("a", 1, of(1))),
        Box::pin(lookups.addresses("a", 1, of(2))),
        Box::pin(lookups.addresses("a", 1, of(1))),
    );
    for caller in [&mut cancelled, &mut one, &mut two] {
        assert!(futures_util::poll!(caller).is_pending());
    }
    // A cancelled caller does not cancel the lookup of the others, not even the one that started it.
    drop(cancelled);
    yield_often().await;
    slow.go.notify_one();
    let (one, two) = tokio::join!(one, two);
    assert_eq!((one.unwrap().len(), two.unwrap().len()), (1, 1));
    assert_eq!(slow.lookups(), 1);
    assert!(lookups.table().in_flight.is_empty(), "removed when it ended");

    slow.go.notify_one();
    assert!(lookups.addresses("a", 1, of(1)).await.is_ok());
    assert_eq!(slow.lookups(), 2, "a finished lookup is not cached");
    assert_eq!(lookups.permits.available(), LIMITS.total);
}

#[tokio::test]
async fn hanging_lookups_are_limited_per_workspace_and_waiting_callers_can_be_cancelled() {
    let slow = Arc::new(SlowResolver::default());
    let lookups = Arc::new(Lookups::new(slow.clone(), LIMITS));
    let look_up = |workspace: u8, name: String| {
        let lookups = lookups.clone();
        tokio::spawn(async move { lookups.addresses(&name, 1, of(workspace)).await })
    };
    let hanging: Vec<_> = (0..200).map(|number| look_up(1, format!("dead-{number}"))).collect();
    yield_often().await;
    assert_eq!(slow.lookups(), LIMITS.per_workspace, "no permit for more");
    assert!(look_up(2, "fast".into()).await.unwrap().is_ok(), "another workspace does not wait");
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
    // One lookup that ends frees a permit, and no caller of the workspace waits any more.
    let waiting = look_up(1, "fast-own".into());
    yield_often().await;
    assert!(!waiting.is_finished());
    slow.go.notify_one();
    assert!(waiting.await.unwrap().is_ok());
    slow.go.notify_waiters();
    while lookups.permits.available() < LIMITS.total {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn names_that_were_slow_do_not_delay_others_of_their_workspace() {
    let slow = Arc::new(SlowResolver::default());
    let lookups = Arc::new(Lookups::new(slow.clone(), LIMITS));
    let look_up = |name: String| {
        let lookups = lookups.clone();
        tokio::spawn(async move { lookups.addresses(&name, 1, of(1)).await })
    };
    for round in 0..2 {
        let hanging: Vec<_> = (0..LIMITS.per_workspace).map(|number| look_up(format!("dead-{number}"))).collect();
        yield_often().await;
        let fast = look_up("fast".into());
        yield_often().await;
        assert_eq!(fast.is_finished(), round == 1, "round {round}");
        tokio::time::advance(SLOW_AFTER).await;
        slow.go.notify_waiters();
        for one in hanging {
            assert!(one.await.unwrap().is_ok());
        }
        assert!(fast.await.unwrap().is_ok());
    }
}
