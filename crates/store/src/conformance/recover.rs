//! Recover: a channel's failed deliveries are made due again in bulk.

use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::time::Timestamp;

use super::samples::{NOW, after_ms, lease};
use super::world::{Tenant, World};
use crate::queue::InitialState;
use crate::settings::{ConfigChange, Precondition};

impl World {
    async fn recover(&self, tenant: Tenant, since: Timestamp, limit: Option<u32>) -> u64 {
        self.store.recover(tenant.id, tenant.channel_id, since, after_ms(900), limit).await.unwrap()
    }
}

pub(super) async fn without_a_limit_it_only_counts(world: World) {
    let mut failed = Vec::new();
    for at in 0..3 {
        failed.push(world.done(world.ours, Status::Failed, after_ms(at)).await);
    }
    world.done(world.ours, Status::Sent, after_ms(3)).await;
    world.accept_one(world.ours, InitialState::Suppressed).await;
    assert_eq!(world.recover(world.ours, NOW, None).await, 3);
    for id in failed {
        assert_eq!(world.status(world.ours, id).await, Status::Failed);
    }
    assert_eq!(world.recover(world.ours, NOW, Some(0)).await, 0);
}

pub(super) async fn the_longest_failed_come_first(world: World) {
    let ours = world.ours;
    let late = world.done(ours, Status::Failed, after_ms(30)).await;
    let early = world.done(ours, Status::Failed, after_ms(10)).await;
    let middle = world.done(ours, Status::Failed, after_ms(20)).await;
    let mut rule = world.our_rule().await;
    (rule.generation, rule.revision) = (6, 2);
    world.change(ours, ConfigChange::PutRule(rule, Precondition::Revision(1))).await.unwrap();

    assert_eq!(world.recover(ours, NOW, Some(2)).await, 2);
    assert_eq!(world.status(ours, late).await, Status::Failed);
    for id in [early, middle] {
        let found = world.read(ours, id).await;
        assert_eq!((found.status, found.next_attempt_at), (Status::Pending, Some(after_ms(900))));
        assert_eq!((found.completed_at, found.attempt_count), (None, 1));
    }
    for claimed in world.claim(ours, after_ms(900), lease(1, 9_000), 9).await {
        assert_eq!((claimed.attempt_base, claimed.attempt_trigger), (1, AttemptTrigger::Resend));
        assert_eq!(claimed.rule_generation, 6, "that of the rule as it is now");
    }
    assert_eq!(world.recover(ours, NOW, Some(2)).await, 1);
    assert_eq!(world.recover(ours, NOW, Some(2)).await, 0);
}

pub(super) async fn only_failures_since_then(world: World) {
    for at in [10, 20, 30] {
        world.done(world.ours, Status::Failed, after_ms(at)).await;
    }
    for (since, count) in [(0, 3), (20, 2), (21, 1), (31, 0)] {
        assert_eq!(world.recover(world.ours, after_ms(since), None).await, count);
    }
    assert_eq!(world.recover(world.ours, after_ms(20), Some(9)).await, 2);
    assert_eq!(world.recover(world.ours, NOW, None).await, 1);
}

pub(super) async fn only_of_rules_that_are_on(world: World) {
    let ours = world.ours;
    let mut own = world.rule(ours.id, ours.channel_id);
    let deleted = Tenant { rule_id: own.id, ..ours };
    world.put_rule(own.clone()).await.unwrap();
    world.done(ours, Status::Failed, NOW).await;
    world.done(deleted, Status::Failed, NOW).await;
    assert_eq!(world.recover(ours, NOW, None).await, 2);

    (own.enabled, own.revision) = (false, 2);
    world.change(ours, ConfigChange::PutRule(own, Precondition::Revision(1))).await.unwrap();
    assert_eq!(world.recover(ours, NOW, None).await, 1);
    world.change(ours, ConfigChange::DeleteRule(deleted.rule_id)).await.unwrap();
    assert_eq!(world.recover(ours, NOW, None).await, 1);
    assert_eq!(world.recover(ours, NOW, Some(9)).await, 1);
}

pub(super) async fn only_of_this_channel(world: World) {
    let other = world.another_channel().await;
    world.done(world.ours, Status::Failed, NOW).await;
    let kept = world.done(other, Status::Failed, NOW).await;
    assert_eq!(world.recover(world.ours, NOW, None).await, 1);
    assert_eq!(world.recover(world.ours, NOW, Some(9)).await, 1);
    assert_eq!(world.status(other, kept).await, Status::Failed);
}

pub(super) async fn no_tests(world: World) {
    for rule_id in [None, Some(world.ours.rule_id)] {
        let mut test = world.test(world.ours, Status::Failed, NOW);
        test.rule_id = rule_id;
        world.store.record_test(test).await.unwrap();
    }
    for limit in [None, Some(9)] {
        assert_eq!(world.recover(world.ours, NOW, limit).await, 0);
    }
}
