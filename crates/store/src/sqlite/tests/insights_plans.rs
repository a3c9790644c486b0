//! Query plans of insights: nothing scans a table that grows, and no page is sorted.

use tidings_domain::endpoint::{Definition, Endpoint, HttpProbe, Probe};
use tidings_domain::id::{EndpointId, Id as _};
use tidings_domain::resource::ResourceType;

use super::query_plans::{TracedDb, assert_no_scan, combinations};
use super::{NOW, accept_events, channel_id, id, new_event, new_incident_event, workspace_id};
use crate::insights::{
    ActivityFilter, OutcomeStatus, ResourceEdit, ResourceFilter, ResourceKey, ResourceOrder, ResourcePosition,
};
use crate::settings::{ConfigChange, EndpointRecord, Precondition};
use crate::sqlite::insights::{activity, backlog, erase, fold, resource, uptime};
use crate::sqlite::settings;

fn flow() -> ResourceKey {
    ResourceKey { workspace_id: workspace_id(), resource_type: ResourceType::Flow, resource_id: "f1".into() }
}

/// The workspace that others refer to.
fn insert_workspace(traced: &TracedDb) {
    let sql = "INSERT INTO workspace (id, slug, name, locale, plan, created_at, revision) \
         VALUES (?, 'w', 'W', 'en', 'default', 0, 1)";
    traced.db.execute(sql, [workspace_id().as_bytes()]).unwrap();
}

/// As [`assert_no_scan`], but what a row or a subquery holds may be scanned.
fn assert_no_table_scan(plans: &[(String, Vec<String>)]) {
    let of_rows = |step: &String| {
        step.starts_with("SCAN (subquery") || step.contains("VIRTUAL TABLE") || step == "SCAN CONSTANT ROW"
    };
    let plans: Vec<_> = plans
        .iter()
        .map(|(sql, plan)| (sql.clone(), plan.iter().filter(|step| !of_rows(step)).cloned().collect()))
        .collect();
    assert_no_scan(&plans);
}

#[test]
fn plans_of_fold_scan_no_table() {
    let traced = TracedDb::new();
    traced.plans(|db| accept_events(db, vec![new_event(1), new_incident_event(2, "a1")]));
    assert_no_scan(&traced.plans(|db| fold::start(db)));
    // Twice: a resource that exists is merged.
    for _ in 0..2 {
        assert_no_scan(&traced.plans(|db| {
            db.notes.publish();
            let read = fold::read(db, 0, 9)?;
            fold::has_erasures(db, 0)?;
            fold::write_all(db, &read, Some(9))
        }));
    }
}

#[test]
fn plans_of_resource_lists_scan_no_table() {
    let traced = TracedDb::new();
    let position = || ResourcePosition {
        name: "n".into(),
        last_at: NOW,
        resource_type: ResourceType::Flow,
        resource_id: "f1".into(),
    };
    let conditions: [fn(&mut ResourceFilter); 5] = [
        |filter| filter.order = ResourceOrder::LastOutcome,
        |filter| filter.resource_type = Some(ResourceType::Flow),
        |filter| filter.text = Some("f".into()),
        |filter| filter.tag = Some("prod".into()),
        |filter| filter.status = Some(OutcomeStatus::Failure),
    ];
    for filter in combinations(&conditions) {
        for after in [None, Some(position())] {
            let filter = ResourceFilter { after, limit: 9, ..filter.clone() };
            assert_no_table_scan(&traced.plans(|db| resource::list(db, workspace_id(), &filter, NOW)));
        }
    }
    assert_no_scan(&traced.plans(|db| resource::get(db, &flow(), NOW)));
    assert_no_scan(&traced.plans(|db| resource::prune(db, [1; 16], NOW, 9)));
}

#[test]
fn plans_of_resource_edits_and_erasure_scan_no_table() {
    let traced = TracedDb::new();
    insert_workspace(&traced);
    traced.plans(|db| {
        accept_events(db, vec![new_event(1)])?;
        let read = fold::read(db, 0, 9)?;
        fold::write_all(db, &read, None)
    });
    let edit = ResourceEdit { key: flow(), expected_revision: 1, name: None, link: None, tags: vec![] };
    assert_no_scan(&traced.plans(|db| resource::edit(db, &edit, NOW)));
    traced.db.execute("UPDATE delivery SET status = 'sent', due_at = NULL, digest_sort_key = sort_key", []).unwrap();
    let later = NOW.plus_ms(9);
    assert_no_scan(&traced.plans(|db| erase::request(db, &flow(), later)));
    assert_no_scan(&traced.plans(|db| {
        assert_eq!(erase::erase(db, later, 1)?.events, 1);
        erase::erase(db, later, 1)
    }));
    assert_no_scan(&traced.plans(|db| erase::is_due(db, later)));
    assert_no_scan(&traced.plans(|db| erase::record(db, &flow())));
    assert_no_scan(&traced.plans(|db| erase::prune(db, NOW, 9)));

    let endpoint = Endpoint {
        id: id(1),
        workspace_id: workspace_id(),
        name: "API".into(),
        enabled: true,
        definition: Definition::new(Probe::Http(HttpProbe::new("https://example.com"))),
        revision: 1,
        created_at: NOW,
        updated_at: NOW,
    };
    let record = EndpointRecord { endpoint, key_id: "k".into(), sealed: vec![] };
    for change in [ConfigChange::PutEndpoint(record, Precondition::Absent), ConfigChange::DeleteEndpoint(id(1), NOW)] {
        assert_no_table_scan(&traced.plans(|db| settings::apply_changes(db, workspace_id(), &[change])));
    }
}

#[test]
fn plans_of_counts_read_indices_only() {
    let traced = TracedDb::new();
    let filter = ActivityFilter { since: NOW, until: NOW.plus_ms(1), minutes: 1, is_up_to_date: true };
    assert_no_scan(&traced.plans(|db| activity::list(db, workspace_id(), &filter)));
    assert_no_scan(&traced.plans(|db| activity::prune(db, [1; 16], NOW, 9)));
    let plans = traced.plans(|db| backlog::backlog(db, &[channel_id()]));
    assert_no_counting_of_rows(&plans);
    let plans = traced.plans(|db| backlog::attention(db, workspace_id(), &[channel_id()], NOW, 9));
    assert_no_counting_of_rows(&plans);
    let reads_rows = plans.iter().flat_map(|(_, plan)| plan).filter(|step| step.contains("USING INDEX delivery"));
    assert_eq!(reads_rows.count(), 1, "only failed deliveries need their rows, to leave tests out: {plans:#?}");
    assert_no_scan(&traced.plans(|db| backlog::upcoming(db, &[channel_id()], NOW, 9)));
}

/// As [`assert_no_table_scan`], but distinct blocked deliveries, which are few, may be collected.
fn assert_no_counting_of_rows(plans: &[(String, Vec<String>)]) {
    let plans: Vec<_> = plans
        .iter()
        .map(|(sql, plan)| (sql.clone(), plan.iter().filter(|step| !step.contains("FOR DISTINCT")).cloned().collect()))
        .collect();
    assert_no_table_scan(&plans);
    let of_queue = plans.iter().flat_map(|(_, plan)| plan).filter(|step| step.contains("delivery_due"));
    for step in of_queue {
        assert!(step.contains("COVERING INDEX"), "{step}");
    }
}

#[test]
fn plans_of_uptime_scan_no_table() {
    let traced = TracedDb::new();
    insert_workspace(&traced);
    traced
        .db
        .execute(
            "INSERT INTO endpoint (workspace_id, id, version, name, enabled, definition, key_id, sealed, revision, \
             created_at, updated_at) VALUES (?1, ?2, 1, 'n', 1, '{}', 'k', x'', 1, 0, 0)",
            [[1_u8; 16], [7; 16]],
        )
        .unwrap();
    let endpoint = EndpointId::from_bytes([7; 16]);
    let plans = traced.plans(|db| uptime::list(db, workspace_id(), &[endpoint], NOW, 90));
    assert_eq!(plans.len(), 5, "the endpoint, its days, later checks, incidents in the span and before it");
    assert_no_scan(&plans);
}
