//! The audit log: entries are written with what they record, and listed by filters.

use serde_json::json;
use tidings_domain::access::Actor;
use tidings_domain::audit::{AuditEntry, AuditTarget, AuditVerb, changed_fields};
use tidings_domain::delivery::Status;
use tidings_domain::id::{AuditEntryId, WorkspaceId};
use tidings_domain::time::Timestamp;

use super::fixture::{Fixture, Tenant};
use super::monitoring_fixture::{check_and_state, healthy, incident_only};
use super::samples::{NOW, after_ms, assert_refused};
use crate::accounts::AuditFilter;
use crate::monitoring::{IncidentRecord, TransitionRecord};
use crate::queue::Resend;
use crate::retention::{PruneCursor, Retention};
use crate::settings::{ConfigChange, Precondition};

const DAY_MS: u64 = 86_400_000;

impl Fixture {
    /// An entry with all fields set.
    pub(super) fn audit_entry(&self, workspace_id: Option<WorkspaceId>, at: Timestamp) -> AuditEntry {
        AuditEntry {
            id: self.id_at(at),
            workspace_id,
            at,
            actor: Actor::api_key(self.id(), "CI \"main\""),
            action: AuditTarget::Channel.action(AuditVerb::Updated),
            target_id: Some("ch_1".into()),
            target_name: Some("Data alerts — Zürich".into()),
            changes: changed_fields(&json!({"name": "a"}), &json!({"name": "b", "tags": ["x"]})),
            address: Some("192.0.2.7".into()),
            request_id: Some("req-1".into()),
        }
    }

    /// All entries about a workspace, newest first.
    pub(super) async fn audit_log(&self, workspace_id: Option<WorkspaceId>) -> Vec<AuditEntry> {
        let filter = AuditFilter { limit: 1_000, ..AuditFilter::default() };
        self.store.audit_log(workspace_id, filter).await.unwrap()
    }

    async fn audit_ids(&self, tenant: Tenant, filter: AuditFilter) -> Vec<AuditEntryId> {
        let found = self.store.audit_log(Some(tenant.id), AuditFilter { limit: 100, ..filter }).await.unwrap();
        found.iter().map(|entry| entry.id).collect()
    }
}

pub(super) async fn audit_entry_all_fields_read_back(fixture: Fixture) {
    let full = fixture.audit_entry(Some(fixture.ours.id), NOW);
    let minimal = AuditEntry {
        actor: Actor::system(),
        target_id: None,
        target_name: None,
        changes: Default::default(),
        address: None,
        request_id: None,
        ..fixture.audit_entry(Some(fixture.ours.id), NOW)
    };
    fixture.store.record_audit(vec![full.clone(), minimal.clone()]).await.unwrap();
    assert_eq!(fixture.audit_log(Some(fixture.ours.id)).await, [minimal, full]);
}

pub(super) async fn audit_log_contains_only_own_entries(fixture: Fixture) {
    let entries = [Some(fixture.ours.id), Some(fixture.theirs.id), None].map(|id| fixture.audit_entry(id, NOW));
    fixture.store.record_audit(entries.to_vec()).await.unwrap();
    for entry in entries {
        assert_eq!(fixture.audit_log(entry.workspace_id).await, std::slice::from_ref(&entry));
    }
    assert!(fixture.audit_log(Some(fixture.id())).await.is_empty());
}

pub(super) async fn audit_entry_is_written_with_its_change_or_not_at_all(fixture: Fixture) {
    let ours = fixture.ours;
    let make = || ConfigChange::PutChannel(fixture.channel(ours.id), Precondition::Absent);
    let entry = fixture.audit_entry(Some(ours.id), NOW);
    fixture.store.apply_changes(ours.id, vec![make(), ConfigChange::Audit(entry.clone())]).await.unwrap();
    assert_eq!(fixture.audit_log(Some(ours.id)).await, std::slice::from_ref(&entry));

    let refused = vec![
        ConfigChange::Audit(fixture.audit_entry(Some(ours.id), NOW)),
        ConfigChange::DeleteRule(fixture.theirs.rule_id),
    ];
    assert_refused!(fixture.store.apply_changes(ours.id, refused).await, NotFound);
    let twice = vec![make(), ConfigChange::Audit(entry.clone())];
    assert_refused!(fixture.store.apply_changes(ours.id, twice).await, Exists);
    assert_refused!(fixture.store.record_audit(vec![entry.clone()]).await, Exists);
    for other in [None, Some(fixture.theirs.id)] {
        let foreign = vec![make(), ConfigChange::Audit(fixture.audit_entry(other, NOW))];
        let outcome = fixture.store.apply_changes(ours.id, foreign).await;
        assert!(matches!(outcome, Err(crate::StoreError::Defect(_))), "{outcome:?}");
    }
    assert_eq!(fixture.audit_log(Some(ours.id)).await, [entry]);
    assert_eq!(fixture.configuration(ours).await.channels.len(), 2, "only the first was made");
    assert!(fixture.audit_log(None).await.is_empty() && fixture.audit_log(Some(fixture.theirs.id)).await.is_empty());
}

pub(super) async fn audit_log_is_newest_first_and_pages_have_no_gaps(fixture: Fixture) {
    let ours = fixture.ours;
    let instants = [0, 0, 2_000, 1_000, 0, 3_000, 3_000];
    let mut entries = instants.map(|ms| fixture.audit_entry(Some(ours.id), after_ms(ms))).to_vec();
    fixture.store.record_audit(entries.clone()).await.unwrap();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.id));
    let mut paged = Vec::new();
    loop {
        let before = paged.last().map(|entry: &AuditEntry| entry.id);
        let filter = AuditFilter { before, limit: 3, ..AuditFilter::default() };
        let page = fixture.store.audit_log(Some(ours.id), filter).await.unwrap();
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, entries);
}

pub(super) async fn audit_log_every_filter_applies(fixture: Fixture) {
    let ours = fixture.ours;
    let base = fixture.audit_entry(Some(ours.id), after_ms(1_000));
    let actor = Actor::user(fixture.id(), "Ana");
    let entry = |modify: &dyn Fn(&mut AuditEntry)| {
        let mut entry = AuditEntry { id: fixture.id_at(after_ms(1_000)), ..base.clone() };
        modify(&mut entry);
        entry
    };
    let by_other = entry(&|entry| entry.actor = actor.clone());
    let deleted = entry(&|entry| entry.action = AuditTarget::Channel.action(AuditVerb::Deleted));
    let of_rule = entry(&|entry| entry.action = AuditTarget::Rule.action(AuditVerb::Updated));
    let of_other = entry(&|entry| entry.target_id = Some("ch_2".into()));
    let early = fixture.audit_entry(Some(ours.id), NOW);
    let early = AuditEntry { actor: base.actor.clone(), ..early };
    let all = [&by_other, &deleted, &of_rule, &of_other, &early];
    fixture.store.record_audit(all.iter().map(|&entry| entry.clone()).collect()).await.unwrap();

    let filter = AuditFilter::default;
    let cases = [
        (AuditFilter { actor_id: actor.id.clone(), ..filter() }, vec![by_other.id]),
        (AuditFilter { action: Some(deleted.action), ..filter() }, vec![deleted.id]),
        (AuditFilter { action: Some(AuditTarget::Rule.action(AuditVerb::Deleted)), ..filter() }, vec![]),
        (AuditFilter { target: Some(AuditTarget::Rule), ..filter() }, vec![of_rule.id]),
        (AuditFilter { target_id: Some("ch_2".into()), ..filter() }, vec![of_other.id]),
        (AuditFilter { until: Some(after_ms(1_000)), ..filter() }, vec![early.id]),
        (AuditFilter { since: Some(after_ms(1)), ..filter() }, vec![of_other.id, of_rule.id, deleted.id, by_other.id]),
        (
            AuditFilter {
                actor_id: base.actor.id.clone(),
                target: Some(AuditTarget::Channel),
                target_id: Some("ch_1".into()),
                since: Some(NOW),
                until: Some(after_ms(1_001)),
                ..filter()
            },
            vec![deleted.id, early.id],
        ),
    ];
    for (filter, expected) in cases {
        let found = fixture.audit_ids(ours, filter.clone()).await;
        assert_eq!(found, expected, "{filter:?}");
    }
}

pub(super) async fn audit_entries_are_pruned_after_a_year(fixture: Fixture) {
    let entries: Vec<_> = [Some(fixture.ours.id), Some(fixture.theirs.id), None]
        .into_iter()
        .flat_map(|id| [fixture.audit_entry(id, NOW), fixture.audit_entry(id, after_ms(DAY_MS))])
        .collect();
    fixture.store.record_audit(entries.clone()).await.unwrap();
    let (mut from, mut deleted) = (PruneCursor::default(), 0);
    loop {
        let pruned = fixture.store.prune(after_ms(365 * DAY_MS + 1), Retention::default(), from, 2).await.unwrap();
        assert!(pruned.audit_entries <= 2);
        deleted += pruned.audit_entries;
        match pruned.next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(deleted, 3);
    for chunk in entries.chunks(2) {
        assert_eq!(fixture.audit_log(chunk[0].workspace_id).await, chunk[1..]);
    }
}

pub(super) async fn audit_entry_of_a_transition_is_written_unless_it_is_refused(fixture: Fixture) {
    let ours = fixture.ours;
    let mut record = fixture.open_incident(ours).await;
    let entry = fixture.audit_entry(Some(ours.id), after_ms(5));
    (record.incident, record.revision) = (record.incident.acknowledged(&entry.actor, after_ms(5)).unwrap(), 2);
    let transition = |entry: AuditEntry| TransitionRecord { audit: vec![entry], ..incident_only(record.clone()) };
    fixture.record_transition(ours, transition(entry.clone())).await.unwrap();
    assert_eq!(fixture.stored_incident(ours, record.incident.id).await, record);
    let late = fixture.audit_entry(Some(ours.id), after_ms(6));
    assert_refused!(fixture.record_transition(ours, transition(late)).await, Conflict);
    let foreign = TransitionRecord {
        audit: vec![fixture.audit_entry(Some(fixture.theirs.id), NOW)],
        ..incident_only(IncidentRecord { revision: 3, ..record.clone() })
    };
    let outcome = fixture.record_transition(ours, foreign).await;
    assert!(matches!(outcome, Err(crate::StoreError::Defect(_))), "{outcome:?}");
    assert_eq!(fixture.stored_incident(ours, record.incident.id).await.revision, 2);
    assert_eq!(fixture.audit_log(Some(ours.id)).await, [entry]);
}

pub(super) async fn audit_entry_of_a_check_is_written(fixture: Fixture) {
    let ours = fixture.ours;
    let endpoint_id = fixture.new_endpoint(ours).await;
    let entry = fixture.audit_entry(Some(ours.id), NOW);
    let check = check_and_state(fixture.check(endpoint_id, healthy(NOW)), fixture.state(endpoint_id, 1));
    let transition = TransitionRecord { audit: vec![entry.clone()], ..check };
    fixture.record_transition(ours, transition).await.unwrap();
    assert_eq!(fixture.audit_log(Some(ours.id)).await, [entry], "although a check alone takes another way");
}

pub(super) async fn audit_entry_of_a_resend_is_written_unless_it_is_refused(fixture: Fixture) {
    let ours = fixture.ours;
    let id = fixture.accept_settled(ours, Status::Failed, after_ms(1)).await;
    let resend = Resend { workspace_id: ours.id, delivery_id: id, rule_generation: 1, now: after_ms(2) };
    let entry = fixture.audit_entry(Some(ours.id), after_ms(2));
    fixture.store.resend(resend, Some(entry.clone())).await.unwrap();
    let again = Some(fixture.audit_entry(Some(ours.id), after_ms(3)));
    assert_refused!(fixture.store.resend(resend, again).await, Conflict);
    assert_eq!(fixture.audit_log(Some(ours.id)).await, [entry]);
}

pub(super) async fn audit_entry_of_a_recovery_is_written_if_it_found_any(fixture: Fixture) {
    let ours = fixture.ours;
    fixture.accept_settled(ours, Status::Failed, after_ms(1)).await;
    let recover = async |entry: &AuditEntry, limit| {
        let entry = Some(entry.clone());
        fixture.store.recover(ours.id, ours.channel_id, NOW, after_ms(9), limit, entry).await.unwrap()
    };
    let entry = fixture.audit_entry(Some(ours.id), after_ms(9));
    assert_eq!(recover(&entry, None).await, 1);
    assert!(fixture.audit_log(Some(ours.id)).await.is_empty(), "it only counted");
    assert_eq!(recover(&entry, Some(9)).await, 1);
    assert_eq!(recover(&fixture.audit_entry(Some(ours.id), after_ms(9)), Some(9)).await, 0);
    assert_eq!(fixture.audit_log(Some(ours.id)).await, [entry]);
}
