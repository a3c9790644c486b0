//! Recover: the failed deliveries of a channel are made due again.

use tidings_domain::delivery::{AttemptTrigger, Status};
use tidings_domain::time::Timestamp;

use super::fixture::{Fixture, Tenant};
use super::samples::{NOW, after_ms, lease};
use crate::queue::InitialState;
use crate::settings::{ConfigChange, Precondition};

impl Fixture {
    async fn recover(&self, tenant: Tenant, since: Timestamp, limit: Option<u32>) -> u64 {
        self.store.recover(tenant.id, tenant.channel_id, since, after_ms(900), limit, None).await.unwrap()
    }
}

pub(super) async fn recover_without_limit_only_counts(fixture: Fixture) {
    let mut failed = Vec::new();
    for at in 0..3 {
        failed.push(fixture.accept_settled(fixture.ours, Status::Failed, after_ms(at)).await);
    }
    fixture.accept_settled(fixture.ours, Status::Sent, after_ms(3)).await;
    fixture.accept_one(fixture.ours, InitialState::Suppressed).await;
    assert_eq!(fixture.recover(fixture.ours, NOW, None).await, 3);
    for id in failed {
        assert_eq!(fixture.status(fixture.ours, id).await, Status::Failed);
    }
    assert_eq!(fixture.recover(fixture.ours, NOW, Some(0)).await, 0);
}

pub(super) async fn recover_takes_longest_failed_first(fixture: Fixture) {
    let ours = fixture.ours;
    let late = fixture.accept_settled(ours, Status::Failed, after_ms(30)).await;
    let early = fixture.accept_settled(ours, Status::Failed, after_ms(10)).await;
    let middle = fixture.accept_settled(ours, Status::Failed, after_ms(20)).await;
    let mut rule = fixture.our_rule().await;
    (rule.generation, rule.revision) = (6, 2);
    fixture.apply_change(ours, ConfigChange::PutRule(rule, Precondition::Revision(1))).await.unwrap();

    assert_eq!(fixture.recover(ours, NOW, Some(2)).await, 2);
    assert_eq!(fixture.status(ours, late).await, Status::Failed);
    for id in [early, middle] {
        let found = fixture.read(ours, id).await;
        assert_eq!((found.status, found.next_attempt_at), (Status::Pending, Some(after_ms(900))));
        assert_eq!((found.completed_at, found.attempt_count), (None, 1));
    }
    for claimed in fixture.claim(ours, after_ms(900), lease(1, 9_000), 9).await {
        assert_eq!((claimed.attempt_base, claimed.attempt_trigger), (1, AttemptTrigger::Resend));
        assert_eq!(claimed.rule_generation, 6, "that of the rule as it is now");
    }
    assert_eq!(fixture.recover(ours, NOW, Some(2)).await, 1);
    assert_eq!(fixture.recover(ours, NOW, Some(2)).await, 0);
}

pub(super) async fn recover_ignores_failures_before_since(fixture: Fixture) {
    for at in [10, 20, 30] {
        fixture.accept_settled(fixture.ours, Status::Failed, after_ms(at)).await;
    }
    for (since, count) in [(0, 3), (20, 2), (21, 1), (31, 0)] {
        assert_eq!(fixture.recover(fixture.ours, after_ms(since), None).await, count);
    }
    assert_eq!(fixture.recover(fixture.ours, after_ms(20), Some(9)).await, 2);
    assert_eq!(fixture.recover(fixture.ours, NOW, None).await, 1);
}

pub(super) async fn recover_ignores_disabled_and_deleted_rules(fixture: Fixture) {
    let ours = fixture.ours;
    let mut own = fixture.rule(ours.id, ours.channel_id);
    let deleted = Tenant { rule_id: own.id, ..ours };
    fixture.put_rule(own.clone()).await.unwrap();
    fixture.accept_settled(ours, Status::Failed, NOW).await;
    fixture.accept_settled(deleted, Status::Failed, NOW).await;
    assert_eq!(fixture.recover(ours, NOW, None).await, 2);

    (own.enabled, own.revision) = (false, 2);
    fixture.apply_change(ours, ConfigChange::PutRule(own, Precondition::Revision(1))).await.unwrap();
    assert_eq!(fixture.recover(ours, NOW, None).await, 1);
    fixture.apply_change(ours, ConfigChange::DeleteRule(deleted.rule_id)).await.unwrap();
    assert_eq!(fixture.recover(ours, NOW, None).await, 1);
    assert_eq!(fixture.recover(ours, NOW, Some(9)).await, 1);
}

pub(super) async fn recover_ignores_other_channels(fixture: Fixture) {
    let other = fixture.another_channel().await;
    fixture.accept_settled(fixture.ours, Status::Failed, NOW).await;
    let kept = fixture.accept_settled(other, Status::Failed, NOW).await;
    assert_eq!(fixture.recover(fixture.ours, NOW, None).await, 1);
    assert_eq!(fixture.recover(fixture.ours, NOW, Some(9)).await, 1);
    assert_eq!(fixture.status(other, kept).await, Status::Failed);
}

pub(super) async fn recover_ignores_tests(fixture: Fixture) {
    for rule_id in [None, Some(fixture.ours.rule_id)] {
        let mut test = fixture.test(fixture.ours, Status::Failed, NOW);
        test.rule_id = rule_id;
        fixture.store.record_test(test).await.unwrap();
    }
    for limit in [None, Some(9)] {
        assert_eq!(fixture.recover(fixture.ours, NOW, limit).await, 0);
    }
}
