//! Activity: health of channels, mutes with what they stopped, resends of many deliveries.

use tidings_domain::delivery::Status;
use tidings_domain::gate::{Effect, Gate, GateEvaluation, Refusal};
use tidings_domain::id::{DeliveryId, MuteId};
use tidings_domain::mute::{Mute, MuteScope};
use tidings_domain::time::Timestamp;

use super::fixture::{Fixture, Tenant};
use super::samples::{NOW, after_ms, lease, stopped, unattempted};
use crate::activity::{ChannelHealthRecord, MuteFilter, MuteRecord, ResendOutcome};
use crate::queue::{FollowUps, InitialState, NewDelivery, NextState, ReleaseBatch, Resend, Settlement};
use crate::settings::ConfigChange;

/// An evaluation that this mute stopped.
fn muted(id: MuteId) -> GateEvaluation {
    let refusal = Refusal { effect: Effect::Suppress, detail: "muted".into(), until: None, mute_id: Some(id) };
    GateEvaluation { stopped: Some((Gate::ScopedMute, refusal)), ..stopped(Gate::ScopedMute, NOW) }
}

impl Fixture {
    async fn put_mute(&self, tenant: Tenant, expires_at: Option<Timestamp>) -> Mute {
        let mute = Mute { expires_at, ..self.mute(tenant, MuteScope::Global) };
        self.apply_change(tenant, ConfigChange::PutMute(mute.clone())).await.unwrap();
        mute
    }

    async fn end_mute(&self, tenant: Tenant, mute: &Mute, at: Timestamp) {
        self.apply_change(tenant, ConfigChange::EndMute(mute.id, at)).await.unwrap();
    }

    async fn mutes(&self, tenant: Tenant, now: Timestamp, filter: MuteFilter) -> Vec<MuteRecord> {
        self.store.mutes(tenant.id, now, filter).await.unwrap()
    }

    async fn stopped_count(&self, tenant: Tenant, id: MuteId) -> u32 {
        let found = self.mutes(tenant, NOW, MuteFilter::InForce).await;
        found.iter().find(|record| record.mute.id == id).expect("it is in force").stopped_count
    }

    fn suppressed_by(&self, mute: &Mute) -> NewDelivery {
        let evaluation = muted(mute.id);
        NewDelivery { evaluation, ..self.delivery(self.ours, InitialState::Suppressed) }
    }
}

fn health(tenant: Tenant, count: u32) -> ChannelHealthRecord {
    ChannelHealthRecord {
        workspace_id: tenant.id,
        channel_id: tenant.channel_id,
        last_sent_at: Some(after_ms(1)),
        last_failed_at: None,
        failing_since: Some(after_ms(2)),
        outcomes: u128::MAX - 5,
        count,
    }
}

pub(super) async fn channel_health_survives_restart_and_is_replaced(fixture: Fixture) {
    let (ours, theirs) = (fixture.ours, fixture.theirs);
    fixture.store.save_channel_health(vec![health(ours, 1), health(theirs, 2)]).await.unwrap();
    let last = ChannelHealthRecord { last_failed_at: Some(after_ms(9)), failing_since: None, ..health(ours, 100) };
    fixture.store.save_channel_health(vec![last]).await.unwrap();
    let fixture = fixture.reopen().await;
    let mut found = fixture.store.channel_health().await.unwrap();
    found.sort_by_key(|record| record.count);
    assert_eq!(found, [health(theirs, 2), last]);
}

pub(super) async fn channel_health_of_missing_channel_is_ignored(fixture: Fixture) {
    let ours = fixture.ours;
    let foreign = ChannelHealthRecord { workspace_id: fixture.theirs.id, ..health(ours, 1) };
    let unknown = ChannelHealthRecord { channel_id: fixture.id(), ..health(ours, 1) };
    fixture.store.save_channel_health(vec![foreign, unknown]).await.unwrap();
    assert_eq!(fixture.store.channel_health().await.unwrap(), []);
    fixture.store.save_channel_health(vec![]).await.unwrap();

    fixture.store.save_channel_health(vec![health(ours, 1)]).await.unwrap();
    fixture.apply_change(ours, ConfigChange::DeleteRule(ours.rule_id)).await.unwrap();
    fixture.apply_change(ours, ConfigChange::DeleteChannel(ours.channel_id)).await.unwrap();
    assert_eq!(fixture.store.channel_health().await.unwrap(), [], "it is deleted with its channel");
    fixture.store.save_channel_health(vec![health(ours, 1)]).await.unwrap();
    assert_eq!(fixture.store.channel_health().await.unwrap(), [], "and not written again");
}

pub(super) async fn mutes_are_in_force_or_ended(fixture: Fixture) {
    let (ours, theirs) = (fixture.ours, fixture.theirs);
    let endless = fixture.put_mute(ours, None).await;
    let expired = fixture.put_mute(ours, Some(after_ms(10))).await;
    let by_hand = fixture.put_mute(ours, Some(after_ms(90))).await;
    let late = fixture.put_mute(ours, Some(after_ms(5))).await;
    fixture.put_mute(theirs, Some(after_ms(1))).await;
    let ids = |records: &[MuteRecord]| records.iter().map(|record| record.mute.id).collect::<Vec<_>>();
    let in_force = fixture.mutes(ours, after_ms(9), MuteFilter::InForce).await;
    assert_eq!(ids(&in_force), [endless.id, expired.id, by_hand.id]);
    assert!(in_force.iter().all(|record| record.ended_at.is_none()));

    fixture.end_mute(ours, &by_hand, after_ms(12)).await;
    // Ended after it expired: that was its end.
    fixture.end_mute(ours, &late, after_ms(20)).await;
    let ended = |since, limit| MuteFilter::Ended { since, limit };
    let found = fixture.mutes(ours, after_ms(30), ended(after_ms(5), 9)).await;
    let expected = [(by_hand, 12), (expired, 10), (late, 5)].map(|(mute, ms)| MuteRecord {
        mute,
        ended_at: Some(after_ms(ms)),
        stopped_count: 0,
    });
    assert_eq!(found, expected);
    assert_eq!(fixture.mutes(ours, after_ms(30), ended(after_ms(5), 2)).await, expected[..2]);
    assert_eq!(fixture.mutes(ours, after_ms(30), ended(after_ms(11), 9)).await, expected[..1]);
    assert_eq!(fixture.mutes(ours, after_ms(9), ended(NOW, 9)).await.len(), 2, "one has not expired yet");
    assert_eq!(ids(&fixture.mutes(ours, after_ms(30), MuteFilter::InForce).await), [endless.id]);
}

pub(super) async fn mutes_count_accepted_deliveries_that_they_stopped(fixture: Fixture) {
    let ours = fixture.ours;
    let (mute, other) = (fixture.put_mute(ours, None).await, fixture.put_mute(ours, None).await);
    let deliveries = vec![fixture.suppressed_by(&mute), fixture.suppressed_by(&mute), fixture.suppressed_by(&other)];
    let event = fixture.new_event(fixture.event(ours), deliveries);
    let unmuted = fixture.new_event(fixture.event(ours), vec![fixture.delivery(ours, InitialState::Suppressed)]);
    fixture.store.accept(vec![event.clone(), unmuted]).await.unwrap();
    fixture.accept(event).await;
    assert_eq!(fixture.stopped_count(ours, mute.id).await, 2, "a duplicate does not count");
    assert_eq!(fixture.stopped_count(ours, other.id).await, 1);

    fixture.end_mute(ours, &mute, after_ms(1)).await;
    let event = fixture.new_event(fixture.event(ours), vec![fixture.suppressed_by(&mute)]);
    fixture.accept(event).await;
    let ended = fixture.mutes(ours, after_ms(2), MuteFilter::Ended { since: NOW, limit: 1 }).await;
    assert_eq!(ended[0].stopped_count, 3, "planned before it ended, committed after");
}

pub(super) async fn mutes_count_deliveries_stopped_when_sent_or_released(fixture: Fixture) {
    let ours = fixture.ours;
    let mute = fixture.put_mute(ours, None).await;
    let claimed = fixture.accept_and_claim(ours).await;
    let suppressed = unattempted(&claimed, NextState::Suppressed(muted(mute.id)));
    fixture.store.settle(Settlement { owner: 9, ..suppressed.clone() }).await.unwrap();
    assert_eq!(fixture.stopped_count(ours, mute.id).await, 0, "a stale settlement does not count");
    fixture.store.settle(suppressed).await.unwrap();
    assert_eq!(fixture.stopped_count(ours, mute.id).await, 1);

    let held = fixture.accept_held(3).await;
    let not_sent = vec![(held[0], NextState::Suppressed(muted(mute.id)))];
    let release = || ReleaseBatch { not_sent: not_sent.clone(), ..fixture.empty_release(NOW) };
    fixture.release_held(release()).await;
    fixture.release_held(release()).await;
    assert_eq!(fixture.stopped_count(ours, mute.id).await, 2, "it is held no more the second time");

    let digest = fixture.digest(held[1..].to_vec());
    fixture.release_held(ReleaseBatch { digest: Some(digest), ..fixture.empty_release(NOW) }).await;
    let claimed = fixture.claim(ours, NOW, lease(1, 60_000), 9).await.remove(0);
    let settlement = unattempted(&claimed, NextState::Suppressed(muted(mute.id)));
    fixture.store.settle(Settlement { follow_ups: FollowUps::Digest, ..settlement }).await.unwrap();
    assert_eq!(fixture.stopped_count(ours, mute.id).await, 5, "the digest and its two members");
}

pub(super) async fn resend_all_refusals_do_not_affect_others(fixture: Fixture) {
    let (ours, theirs) = (fixture.ours, fixture.theirs);
    let failed = fixture.accept_settled(ours, Status::Failed, after_ms(1)).await;
    let sent = fixture.accept_settled(ours, Status::Sent, after_ms(1)).await;
    let foreign = fixture.accept_settled(theirs, Status::Failed, after_ms(1)).await;
    let suppressed = fixture.accept_one(ours, InitialState::Suppressed).await;
    let resend =
        |delivery_id: DeliveryId| Resend { workspace_id: ours.id, delivery_id, rule_generation: 5, now: after_ms(900) };
    let ids = [failed, foreign, suppressed, fixture.id(), sent, failed];
    let outcomes = fixture.store.resend_all(ids.map(|id| (resend(id), None)).to_vec()).await.unwrap();
    use ResendOutcome::{Due, NotFound, NotResendable};
    assert_eq!(outcomes, [Due, NotFound, NotResendable, NotFound, Due, NotResendable]);
    for id in [failed, sent] {
        let found = fixture.read(ours, id).await;
        assert_eq!((found.status, found.next_attempt_at), (Status::Pending, Some(after_ms(900))));
    }
    assert_eq!(fixture.status(theirs, foreign).await, Status::Failed);
    assert_eq!(fixture.store.resend_all(vec![]).await.unwrap(), []);
}
