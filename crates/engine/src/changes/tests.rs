//! Feeds of changes: coalescing, resuming, bounds.

use tidings_domain::id::Id as _;

use super::*;

fn ours() -> WorkspaceId {
    WorkspaceId::from_bytes([1; 16])
}

fn theirs() -> WorkspaceId {
    WorkspaceId::from_bytes([2; 16])
}

fn feeds() -> Arc<Feeds> {
    Arc::new(Feeds::new(Timestamp::from_unix_ms(1_780_000_000_000)))
}

fn subscribe(feeds: &Arc<Feeds>, topics: &[Topic]) -> Subscription {
    feeds.subscribe(ours(), "key_1", topics, None).unwrap()
}

/// The topics of the next change, if it is there without waiting.
async fn next(subscription: &mut Subscription) -> Option<Vec<Topic>> {
    tokio::time::timeout(Duration::ZERO, subscription.next()).await.ok().flatten().map(|change| change.topics)
}

#[tokio::test]
async fn changes_before_a_publication_are_one() {
    let feeds = feeds();
    let mut all = subscribe(&feeds, &[]);
    assert!(!all.is_resumed());
    for topic in [Topic::Deliveries, Topic::Runs, Topic::Deliveries] {
        feeds.mark(ours(), topic);
    }
    feeds.mark(theirs(), Topic::Members);
    assert_eq!(next(&mut all).await, None, "nothing is published yet");
    feeds.publish();
    assert_eq!(next(&mut all).await, Some(vec![Topic::Runs, Topic::Deliveries]));
    feeds.publish();
    assert_eq!(next(&mut all).await, None);
}

#[tokio::test]
async fn slow_subscriber_gets_all_topics_since_it_last_looked() {
    let feeds = feeds();
    let (mut slow, mut of_one) = (subscribe(&feeds, &[]), subscribe(&feeds, &[Topic::Checks]));
    for topic in [Topic::Incidents, Topic::Checks, Topic::Incidents, Topic::Members] {
        feeds.mark(ours(), topic);
        feeds.publish();
    }
    assert_eq!(next(&mut slow).await, Some(vec![Topic::Incidents, Topic::Checks, Topic::Members]));
    assert_eq!(next(&mut of_one).await, Some(vec![Topic::Checks]));
    assert_eq!(next(&mut of_one).await, None);
}

#[tokio::test]
async fn subscriber_resumes_where_it_left() {
    let feeds = feeds();
    let mut first = subscribe(&feeds, &[]);
    feeds.mark(ours(), Topic::Runs);
    feeds.publish();
    let change = first.next().await.unwrap();
    drop(first);
    feeds.mark(ours(), Topic::Members);
    feeds.publish();
    let mut again = feeds.subscribe(ours(), "key_1", &[], Some(&change.id)).unwrap();
    assert!(again.is_resumed());
    assert_eq!(next(&mut again).await, Some(vec![Topic::Members]));
    let number = change.id.split_once('-').unwrap().0;
    for unknown in ["", "x", "1-1", "-", &format!("{number}-99"), &format!("{number}-x")] {
        let mut other = feeds.subscribe(ours(), "key_1", &[], Some(unknown)).unwrap();
        assert!(!other.is_resumed(), "{unknown}");
        assert_eq!(next(&mut other).await, None, "{unknown}");
    }
    assert!(!feeds.subscribe(theirs(), "key_1", &[], Some(&change.id)).unwrap().is_resumed());
}

#[test]
fn feed_is_removed_after_its_last_subscriber_left() {
    let feeds = feeds();
    let idle_for = |idle: Duration| {
        let feed = Arc::clone(&feeds.feeds.load()[&ours()]);
        *lock(&feed.idle_since) = Instant::now().checked_sub(idle);
        feeds.publish();
    };
    let id = subscribe(&feeds, &[]).id();
    idle_for(Duration::ZERO);
    let again = feeds.subscribe(ours(), "key_1", &[], Some(&id)).unwrap();
    assert!(again.is_resumed());
    feeds.publish();
    assert!(lock(&feeds.feeds.load()[&ours()].idle_since).is_none(), "it is in use");
    drop(again);
    idle_for(KEPT);
    assert!(feeds.feeds.load().is_empty());
    assert!(!feeds.subscribe(ours(), "key_1", &[], Some(&id)).unwrap().is_resumed());
}

#[test]
fn subscriptions_are_limited_per_caller_workspace_and_node() {
    let feeds = feeds();
    let mut open = Vec::new();
    let mut fill = |workspace_id: WorkspaceId, caller: &dyn Fn(u32) -> String| loop {
        match feeds.subscribe(workspace_id, &caller(open.len() as u32), &[], None) {
            Ok(subscription) => open.push(subscription),
            Err(exceeded) => return (open.len() as u32, exceeded),
        }
    };
    assert_eq!(fill(ours(), &|_| "key_1".into()), (CALLER_SUBSCRIPTIONS_MAX, SubscriptionsExceeded::Caller));
    let own = |number: u32| format!("key_{number}");
    assert_eq!(fill(ours(), &own), (WORKSPACE_SUBSCRIPTIONS_MAX, SubscriptionsExceeded::Workspace));
    let (all, exceeded) = (3..20)
        .map(|byte| fill(WorkspaceId::from_bytes([byte; 16]), &own))
        .find(|(_, exceeded)| *exceeded == SubscriptionsExceeded::Node)
        .unwrap();
    assert_eq!((all, exceeded), (SUBSCRIPTIONS_MAX, SubscriptionsExceeded::Node));
    open.clear();
    assert!(feeds.subscribe(ours(), "key_1", &[], None).is_ok());
    let counts = lock(&feeds.counts);
    assert_eq!((counts.all, counts.by_workspace.len(), counts.by_caller.len()), (0, 0, 0));
}

#[tokio::test]
async fn run_publishes_at_most_every_quarter_second_until_stopped() {
    let feeds = feeds();
    let mut subscription = subscribe(&feeds, &[]);
    let running = tokio::spawn(run(Arc::clone(&feeds)));
    let began = Instant::now();
    for number in 0..3 {
        feeds.mark(ours(), Topic::Deliveries);
        subscription.next().await.unwrap();
        assert!(began.elapsed() >= PUBLISH_EVERY * number);
    }
    feeds.stop();
    assert_eq!(subscription.next().await, None);
    running.await.unwrap();
}

#[test]
fn topic_names_parse() {
    assert!(Topic::ALL.into_iter().all(|topic| Topic::parse(topic.as_str()) == Some(topic)));
    assert_eq!(Topic::parse("everything"), None);
}
