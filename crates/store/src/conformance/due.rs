//! Due: for every channel with something unsettled, when its next delivery is due.

use tidings_domain::delivery::Status;
use tidings_domain::time::Timestamp;

use super::samples::{NOW, after_ms, tried};
use super::world::{Tenant, World};
use crate::queue::{Due, InitialState, NextState};

impl World {
    async fn due(&self) -> Vec<Due> {
        let mut due = self.store.due().await.unwrap();
        due.sort_by_key(|due| due.channel_id);
        due
    }
}

fn due_at(tenant: Tenant, at: Timestamp) -> Due {
    Due { workspace_id: tenant.id, channel_id: tenant.channel_id, at }
}

pub(super) async fn an_idle_store_has_nothing_due(world: World) {
    assert_eq!(world.due().await, []);
}

pub(super) async fn every_channel_says_its_earliest(world: World) {
    let mut expected = Vec::new();
    for number in 0..20 {
        let tenant = if number == 0 { world.theirs } else { world.another_channel().await };
        for at in [9_000, number, 500] {
            world.accept_one_at(tenant, InitialState::Due, after_ms(at)).await;
        }
        expected.push(due_at(tenant, after_ms(number)));
    }
    expected.sort_by_key(|due| due.channel_id);
    assert_eq!(world.due().await, expected);
}

pub(super) async fn a_leased_delivery_is_due_when_its_lease_ends(world: World) {
    let claimed = world.claimed(world.ours).await;
    assert_eq!(world.due().await, [due_at(world.ours, claimed.lease.until)]);
    world.store.settle(tried(&claimed, NextState::RetryAt(after_ms(700)))).await.unwrap();
    assert_eq!(world.due().await, [due_at(world.ours, after_ms(700))]);
}

pub(super) async fn a_settled_delivery_is_not_due(world: World) {
    world.accept_one(world.ours, InitialState::Suppressed).await;
    for status in [Status::Sent, Status::Failed] {
        world.done(world.ours, status, NOW).await;
    }
    assert_eq!(world.due().await, []);
}
