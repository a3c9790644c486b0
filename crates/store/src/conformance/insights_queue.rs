//! What waits for channels, what becomes due next, and what deserves attention.

use tidings_domain::delivery::Status;
use tidings_domain::incident::{IncidentTrigger, Subject};
use tidings_domain::severity::Severity;

use super::fixture::{Fixture, HELD_MS};
use super::monitoring_fixture::incident_only;
use super::samples::{NOW, after_ms, attempted, lease};
use crate::insights::{AttentionCounts, Backlog, UpcomingDelivery};
use crate::queue::{InitialState, NextState};

pub(super) async fn backlog_counts_pending_leased_and_held(fixture: Fixture) {
    let ours = fixture.ours;
    let idle = Backlog {
        channel_id: ours.channel_id,
        pending: 0,
        sending: 0,
        held: 0,
        oldest_made_at: None,
        next_due_at: None,
        next_release_at: None,
    };
    assert_eq!(fixture.store.backlog(vec![ours.channel_id]).await.unwrap(), [idle]);
    fixture.accept_settled(ours, Status::Sent, NOW).await;
    let claimed = fixture.accept_and_claim(ours).await;
    fixture.store.settle(attempted(&claimed, NextState::RetryAt(after_ms(15_000)))).await.unwrap();
    fixture.accept_one_at(ours, InitialState::Leased(lease(1, 9_000)), after_ms(1)).await;
    fixture.accept_one_at(ours, InitialState::Due, after_ms(2)).await;
    fixture.accept_one_at(ours, InitialState::Held, after_ms(3)).await;
    fixture.accept_one(ours, InitialState::Suppressed).await;
    let found = fixture.store.backlog(vec![fixture.theirs.channel_id, ours.channel_id]).await.unwrap();
    let expected = Backlog {
        pending: 2,
        sending: 1,
        held: 1,
        oldest_made_at: Some(NOW),
        next_due_at: Some(after_ms(2)),
        next_release_at: Some(after_ms(3 + HELD_MS)),
        ..idle
    };
    assert_eq!(found, [Backlog { channel_id: fixture.theirs.channel_id, ..idle }, expected]);
}

pub(super) async fn backlog_counts_blocked_deliveries(fixture: Fixture) {
    let ours = fixture.ours;
    let record = fixture.incident_record(ours, Subject::Alert("a1".into()));
    for (number, trigger) in
        [IncidentTrigger::Opened, IncidentTrigger::Reminder { number: 1 }, IncidentTrigger::Resolved]
            .into_iter()
            .enumerate()
    {
        let at = after_ms(number as u64);
        let delivery = fixture.delivery_at(ours, InitialState::Due, at);
        fixture.accept(fixture.incident_event(&record, trigger, at, vec![delivery])).await;
    }
    let found = fixture.store.backlog(vec![ours.channel_id]).await.unwrap()[0];
    assert_eq!((found.pending, found.oldest_made_at), (3, Some(NOW)), "the head and the two behind it");
    assert_eq!(fixture.store.attention(ours.id, vec![ours.channel_id], NOW, 9).await.unwrap().pending, 3);
    assert_eq!(fixture.store.attention(ours.id, vec![ours.channel_id], NOW, 2).await.unwrap().pending, 2);
}

pub(super) async fn upcoming_lists_retries_and_held_in_order(fixture: Fixture) {
    let (ours, other) = (fixture.ours, fixture.another_channel().await);
    let mut retries = Vec::new();
    for (tenant, ms) in [(ours, 30), (other, 10), (ours, 20), (ours, 40)] {
        let claimed = fixture.accept_and_claim(tenant).await;
        fixture.store.settle(attempted(&claimed, NextState::RetryAt(after_ms(ms)))).await.unwrap();
        retries.push(UpcomingDelivery { delivery_id: claimed.id, channel_id: tenant.channel_id, at: after_ms(ms) });
    }
    fixture.accept_one_at(ours, InitialState::Leased(lease(1, 9_000)), NOW).await;
    fixture.accept_one(fixture.theirs, InitialState::Held).await;
    let mut held = Vec::new();
    for (tenant, ms) in [(ours, 2), (other, 1)] {
        let id = fixture.accept_one_at(tenant, InitialState::Held, after_ms(ms)).await;
        let at = after_ms(ms + HELD_MS);
        held.push(UpcomingDelivery { delivery_id: id, channel_id: tenant.channel_id, at });
    }
    let channels = vec![ours.channel_id, other.channel_id];
    let found = fixture.store.upcoming(channels.clone(), after_ms(10), 2).await.unwrap();
    assert_eq!(found.retries, [retries[2], retries[0]], "what is due already is not upcoming");
    assert_eq!(found.held, [held[1], held[0]]);
    let found = fixture.store.upcoming(channels, NOW, 9).await.unwrap();
    assert_eq!(found.retries, [retries[1], retries[2], retries[0], retries[3]]);
    assert_eq!(fixture.store.upcoming(vec![], NOW, 9).await.unwrap(), Default::default());
}

pub(super) async fn attention_counts_stop_at_the_limit(fixture: Fixture) {
    let ours = fixture.ours;
    for ms in 0..4 {
        fixture.accept_settled(ours, Status::Failed, after_ms(ms)).await;
        fixture.accept_one_at(ours, InitialState::Held, after_ms(ms)).await;
    }
    fixture.accept_settled(fixture.theirs, Status::Failed, NOW).await;
    fixture.store.record_test(fixture.test(ours, Status::Failed, after_ms(9))).await.unwrap();
    let attention = |since, limit| fixture.store.attention(ours.id, vec![ours.channel_id], since, limit);
    assert_eq!(attention(NOW, 99).await.unwrap(), AttentionCounts { failed: 4, held: 4, ..AttentionCounts::default() });
    assert_eq!(attention(after_ms(2), 99).await.unwrap().failed, 2);
    assert_eq!(attention(NOW, 3).await.unwrap(), AttentionCounts { failed: 3, held: 3, ..AttentionCounts::default() });
}

pub(super) async fn attention_counts_active_incidents(fixture: Fixture) {
    let ours = fixture.ours;
    for (number, is_acknowledged) in [false, true, false].into_iter().enumerate() {
        let mut record = fixture.incident_record(ours, Subject::Alert(format!("a{number}")));
        record.incident.acknowledged_at = is_acknowledged.then_some(NOW);
        record.incident.severity = Severity::Critical;
        fixture.record_transition(ours, incident_only(record)).await.unwrap();
    }
    let mut resolved = fixture.incident_record(ours, Subject::Alert("over".into()));
    resolved.incident.resolved_at = Some(NOW);
    fixture.record_transition(ours, incident_only(resolved)).await.unwrap();
    let theirs = fixture.incident_record(fixture.theirs, Subject::Alert("a0".into()));
    fixture.record_transition(fixture.theirs, incident_only(theirs)).await.unwrap();
    let mut found = fixture.store.attention(ours.id, vec![], NOW, 9).await.unwrap().incidents;
    found.sort_by_key(|(_, is_acknowledged, _)| *is_acknowledged);
    assert_eq!(found, [(Severity::Critical, false, 2), (Severity::Critical, true, 1)]);
    let found = fixture.store.attention(ours.id, vec![], NOW, 1).await.unwrap().incidents;
    assert_eq!(found.iter().map(|(.., count)| count).sum::<u32>(), 1);
}
