//! Due: for every channel with queued deliveries, when the next one is due.

use tidings_domain::delivery::Status;
use tidings_domain::time::Timestamp;

use super::fixture::{Fixture, Tenant};
use super::samples::{NOW, after_ms, attempted};
use crate::queue::{Due, InitialState, NextState};

impl Fixture {
    async fn due(&self) -> Vec<Due> {
        let mut due = self.store.due().await.unwrap();
        due.sort_by_key(|due| due.channel_id);
        due
    }
}

fn due_at(tenant: Tenant, at: Timestamp) -> Due {
    Due { workspace_id: tenant.id, channel_id: tenant.channel_id, at }
}

pub(super) async fn due_idle_store_is_empty(fixture: Fixture) {
    assert_eq!(fixture.due().await, []);
}

pub(super) async fn due_returns_earliest_per_channel(fixture: Fixture) {
    let mut expected = Vec::new();
    for number in 0..20 {
        let tenant = if number == 0 { fixture.theirs } else { fixture.another_channel().await };
        for at in [9_000, number, 500] {
            fixture.accept_one_at(tenant, InitialState::Due, after_ms(at)).await;
        }
        expected.push(due_at(tenant, after_ms(number)));
    }
    expected.sort_by_key(|due| due.channel_id);
    assert_eq!(fixture.due().await, expected);
}

pub(super) async fn due_of_leased_is_lease_end(fixture: Fixture) {
    let claimed = fixture.accept_and_claim(fixture.ours).await;
    assert_eq!(fixture.due().await, [due_at(fixture.ours, claimed.lease.until)]);
    fixture.store.settle(attempted(&claimed, NextState::RetryAt(after_ms(700)))).await.unwrap();
    assert_eq!(fixture.due().await, [due_at(fixture.ours, after_ms(700))]);
}

pub(super) async fn due_of_settled_is_empty(fixture: Fixture) {
    fixture.accept_one(fixture.ours, InitialState::Suppressed).await;
    for status in [Status::Sent, Status::Failed] {
        fixture.accept_settled(fixture.ours, status, NOW).await;
    }
    assert_eq!(fixture.due().await, []);
}
