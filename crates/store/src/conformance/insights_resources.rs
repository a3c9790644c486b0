//! Resources: what is folded from events and configuration, lists, and edits.

use tidings_domain::check::CheckStatus;
use tidings_domain::event::Event;
use tidings_domain::incident::{IncidentTrigger, Subject};
use tidings_domain::resource::ResourceType;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;

use super::fixture::{Fixture, Tenant};
use super::monitoring_fixture::{check_and_state, timed_out};
use super::samples::{NOW, after_ms, assert_refused};
use crate::insights::{
    LastOutcome, OutcomeStatus, RECENT_RUNS, ResourceEdit, ResourceFilter, ResourceKey, ResourceOrder,
    ResourcePosition, ResourceRecord,
};
use crate::monitoring::EndpointState;
use crate::settings::{ConfigChange, Precondition};

const DAY_MS: u64 = 86_400_000;

pub(super) fn key(tenant: Tenant, resource_type: ResourceType, id: &str) -> ResourceKey {
    ResourceKey { workspace_id: tenant.id, resource_type, resource_id: id.into() }
}

pub(super) fn flow(tenant: Tenant, id: &str) -> ResourceKey {
    key(tenant, ResourceType::Flow, id)
}

fn all() -> ResourceFilter {
    ResourceFilter { limit: 999, ..ResourceFilter::default() }
}

impl Fixture {
    /// A run of a flow that ended at this instant, without a name.
    pub(super) fn run(&self, tenant: Tenant, id: &str, completed_at: Timestamp, is_success: bool) -> Event {
        let mut event = self.event(tenant);
        event.resource_id = id.into();
        event.trigger = if is_success { Trigger::Success } else { Trigger::Failure };
        event.run_mut().resource_name = None;
        event.run_mut().completed_at = completed_at;
        event
    }

    pub(super) async fn report(&self, event: Event) {
        self.accept(self.new_event(event, vec![])).await;
    }

    pub(super) async fn resource(&self, key: ResourceKey) -> Option<ResourceRecord> {
        self.store.resource(key, NOW).await.unwrap()
    }

    async fn resources(&self, tenant: Tenant, filter: ResourceFilter) -> Vec<String> {
        let found = self.store.resources(tenant.id, filter, NOW).await.unwrap();
        found.into_iter().map(|resource| resource.resource_id).collect()
    }
}

pub(super) async fn resource_of_runs_has_name_last_run_and_outcomes(fixture: Fixture) {
    let ours = fixture.ours;
    assert_eq!(fixture.resource(flow(ours, "f1")).await, None);
    let mut named = fixture.run(ours, "f1", after_ms(1), true);
    named.run_mut().resource_name = Some("Nightly".into());
    fixture.report(named).await;
    fixture.report(fixture.run(ours, "f1", after_ms(3), false)).await;
    let found = fixture.resource(flow(ours, "f1")).await.unwrap();
    assert_eq!((found.own_name, found.reported_name.as_deref()), (None, Some("Nightly")), "a nameless run keeps it");
    assert_eq!((found.link, found.tags.as_slice(), found.revision, found.checks), (None, &[][..], 1, None));
    assert_eq!((found.first_seen_at, found.last_seen_at), (NOW, NOW));
    let last = LastOutcome { status: OutcomeStatus::Failure, at: after_ms(3), duration_ms: Some(1_842) };
    assert_eq!(found.last, Some(last));
    let recent: Vec<_> = found.recent.iter().map(|run| (run.completed_at, run.is_success)).collect();
    assert_eq!(recent, [(after_ms(3), false), (after_ms(1), true)]);
    assert_eq!(fixture.resource(flow(fixture.theirs, "f1")).await, None, "another workspace has none");
    assert_eq!(fixture.resource(key(ours, ResourceType::Job, "f1")).await, None);
}

pub(super) async fn resource_last_run_is_the_one_that_ended_last(fixture: Fixture) {
    let ours = fixture.ours;
    for (ms, is_success) in [(50, true), (10, false), (60, false), (20, true)] {
        let mut run = fixture.run(ours, "f1", after_ms(ms), is_success);
        run.run_mut().resource_name = Some(format!("name {ms}"));
        fixture.report(run).await;
        fixture.store.fold(99).await.unwrap();
    }
    let found = fixture.resource(flow(ours, "f1")).await.unwrap();
    assert_eq!((found.last.unwrap().at, found.reported_name.as_deref()), (after_ms(60), Some("name 60")));
    let ends: Vec<_> = found.recent.iter().map(|run| run.completed_at).collect();
    assert_eq!(ends, [60, 50, 20, 10].map(after_ms));
}

pub(super) async fn resource_keeps_the_last_runs_only(fixture: Fixture) {
    let runs = RECENT_RUNS as u64 + 5;
    for ms in 0..runs {
        fixture.report(fixture.run(fixture.ours, "f1", after_ms(ms), ms % 2 == 0)).await;
    }
    let found = fixture.resource(flow(fixture.ours, "f1")).await.unwrap();
    assert_eq!(found.recent.len(), RECENT_RUNS);
    assert_eq!(found.recent[0].completed_at, after_ms(runs - 1));
}

/// A start folds the last minutes again: nothing is counted twice, and what a killed process had not folded is.
pub(super) async fn fold_again_after_restart_changes_nothing(fixture: Fixture) {
    for ms in 0..5 {
        fixture.report(fixture.run(fixture.ours, "f1", after_ms(ms), ms != 3)).await;
    }
    let before = fixture.resource(flow(fixture.ours, "f1")).await;
    assert_eq!(before.as_ref().map(|resource| resource.recent.len()), Some(5));
    assert_eq!(fixture.store.fold(99).await.unwrap().events, 0, "nothing happened since");
    let fixture = fixture.reopen().await;
    assert!(fixture.store.fold(2).await.unwrap().has_more, "in steps");
    assert_eq!(fixture.resource(flow(fixture.ours, "f1")).await, before);
    fixture.report(fixture.run(fixture.ours, "f1", after_ms(9), true)).await;
    assert_eq!(fixture.resource(flow(fixture.ours, "f1")).await.unwrap().recent.len(), 6);
}

pub(super) async fn resources_every_filter_applies(fixture: Fixture) {
    let ours = fixture.ours;
    for (id, name, is_success) in
        [("b", "Über", true), ("a", "zebra", false), ("c", "Apple", true), ("x/y %", "mango", false)]
    {
        let mut run = fixture.run(ours, id, after_ms(1), is_success);
        run.run_mut().resource_name = Some(name.into());
        fixture.report(run).await;
    }
    let mut job = fixture.run(ours, "a", after_ms(9), true);
    job.resource_type = ResourceType::Job;
    fixture.report(job).await;
    fixture.report(fixture.run(fixture.theirs, "theirs", after_ms(9), true)).await;
    let edit = ResourceEdit {
        key: flow(ours, "c"),
        expected_revision: 1,
        name: None,
        link: None,
        tags: vec!["prod".into(), "eu".into()],
    };
    fixture.store.edit_resource(edit, NOW, None).await.unwrap();

    assert_eq!(fixture.resources(ours, all()).await, ["a", "c", "x/y %", "a", "b"], "by name without case");
    let cases: [(&str, ResourceFilter, &[&str]); 8] = [
        ("type", ResourceFilter { resource_type: Some(ResourceType::Job), ..all() }, &["a"]),
        ("text in name", ResourceFilter { text: Some("üBE".into()), ..all() }, &["b"]),
        ("text in id", ResourceFilter { text: Some("/Y %".into()), ..all() }, &["x/y %"]),
        ("tag", ResourceFilter { tag: Some("eu".into()), ..all() }, &["c"]),
        ("part of a tag", ResourceFilter { tag: Some("e".into()), ..all() }, &[]),
        ("status", ResourceFilter { status: Some(OutcomeStatus::Failure), ..all() }, &["x/y %", "a"]),
        ("last first", ResourceFilter { order: ResourceOrder::LastOutcome, limit: 1, ..all() }, &["a"]),
        (
            "two",
            ResourceFilter { text: Some("a".into()), status: Some(OutcomeStatus::Failure), ..all() },
            &["x/y %", "a"],
        ),
    ];
    for (what, filter, expected) in cases {
        assert_eq!(fixture.resources(ours, filter).await, expected, "{what}");
    }
}

pub(super) async fn resources_pages_have_no_gaps(fixture: Fixture) {
    let ours = fixture.ours;
    for number in 0..11_u64 {
        // Some names and ends are the same.
        let mut run = fixture.run(ours, &format!("f{number}"), after_ms(number / 2), true);
        run.run_mut().resource_name = Some(format!("name {}", number / 3));
        run.resource_type = [ResourceType::Flow, ResourceType::Job][(number % 2) as usize];
        fixture.report(run).await;
    }
    fixture.new_endpoint(ours).await;
    for order in [ResourceOrder::Name, ResourceOrder::LastOutcome] {
        let whole = fixture.store.resources(ours.id, ResourceFilter { order, ..all() }, NOW).await.unwrap();
        assert_eq!(whole.len(), 12);
        let mut paged: Vec<ResourceRecord> = Vec::new();
        loop {
            let after = paged.last().map(|last| ResourcePosition {
                name: last.title(),
                last_at: last.ordered_at(),
                resource_type: last.resource_type,
                resource_id: last.resource_id.clone(),
            });
            let filter = ResourceFilter { order, after, limit: 4, ..ResourceFilter::default() };
            let page = fixture.store.resources(ours.id, filter, NOW).await.unwrap();
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, whole, "{order:?}");
    }
}

pub(super) async fn resource_of_endpoint_follows_configuration_and_checks(fixture: Fixture) {
    let ours = fixture.ours;
    let mut record = fixture.endpoint(ours);
    record.endpoint.definition.tags = vec!["prod".into()];
    let id = record.endpoint.id;
    let endpoint = key(ours, ResourceType::Endpoint, &id.to_string());
    fixture.put_endpoint(record.clone()).await.unwrap();
    let found = fixture.resource(endpoint.clone()).await.unwrap();
    assert_eq!(found.reported_name.as_deref(), Some("Production \"API\" — Zürich"));
    assert_eq!((found.tags, found.last, found.checks), (vec!["prod".to_owned()], None, Some((0, 0))));

    let check = timed_out(after_ms(5));
    let state = EndpointState { last_check: Some(check.clone()), ..fixture.state(id, 1) };
    fixture.record_transition(ours, check_and_state(fixture.check(id, check), state)).await.unwrap();
    (record.endpoint.name, record.endpoint.revision) = ("Renamed".into(), 2);
    let put = ConfigChange::PutEndpoint(record, Precondition::Revision(1));
    fixture.apply_change(ours, put).await.unwrap();
    let found = fixture.resource(endpoint.clone()).await.unwrap();
    let last = LastOutcome { status: OutcomeStatus::Check(CheckStatus::Down), at: after_ms(5), duration_ms: None };
    assert_eq!((found.reported_name.as_deref(), found.last), (Some("Renamed"), Some(last)));
    let down = ResourceFilter { status: Some(OutcomeStatus::Check(CheckStatus::Down)), ..all() };
    assert_eq!(fixture.resources(ours, down).await, [id.to_string()]);
    fixture.store.summarise(NOW.plus_ms(DAY_MS / 12), 99).await.unwrap();
    assert_eq!(fixture.resource(endpoint.clone()).await.unwrap().checks, Some((1, 0)));

    let edit = ResourceEdit { key: endpoint.clone(), expected_revision: 1, name: None, link: None, tags: vec![] };
    assert_refused!(fixture.store.edit_resource(edit, NOW, None).await, NotFound);
    assert_refused!(fixture.store.erase_resource(endpoint.clone(), NOW, None).await, InUse);
    fixture.apply_change(ours, ConfigChange::DeleteEndpoint(id, NOW)).await.unwrap();
    assert_eq!(fixture.resource(endpoint).await, None);
}

pub(super) async fn resource_of_alert_follows_its_incident(fixture: Fixture) {
    let ours = fixture.ours;
    let mut record = fixture.incident_record(ours, Subject::Alert("a1".into()));
    let alert = key(ours, ResourceType::Alert, "a1");
    fixture.accept(fixture.incident_event(&record, IncidentTrigger::Opened, NOW, vec![])).await;
    let found = fixture.resource(alert.clone()).await.unwrap();
    let active = LastOutcome { status: OutcomeStatus::Active, at: NOW, duration_ms: None };
    assert_eq!((found.reported_name.as_deref(), found.last), (Some("Production API"), Some(active)));
    assert!(found.recent.is_empty());
    record.incident.resolved_at = Some(after_ms(400));
    fixture.accept(fixture.incident_event(&record, IncidentTrigger::Resolved, after_ms(400), vec![])).await;
    let found = fixture.resource(alert).await.unwrap();
    let resolved = LastOutcome { status: OutcomeStatus::Resolved, at: after_ms(400), duration_ms: Some(400) };
    assert_eq!(found.last, Some(resolved));
}

pub(super) async fn edit_resource_is_fenced_by_revision(fixture: Fixture) {
    let ours = fixture.ours;
    let mut run = fixture.run(ours, "f1", NOW, true);
    run.run_mut().resource_name = Some("reported".into());
    fixture.report(run).await;
    let edit = |expected_revision, name: Option<&str>| ResourceEdit {
        key: flow(ours, "f1"),
        expected_revision,
        name: name.map(Into::into),
        link: Some("https://app.example.com/f1".into()),
        tags: vec!["a \"b\"".into()],
    };
    let entry = fixture.audit_entry(Some(ours.id), NOW);
    let edited = fixture.store.edit_resource(edit(1, Some("Mine")), NOW, Some(entry.clone())).await.unwrap();
    let again = fixture.audit_entry(Some(ours.id), NOW);
    assert_refused!(fixture.store.edit_resource(edit(1, None), NOW, Some(again)).await, Conflict);
    assert_eq!(fixture.audit_log(Some(ours.id)).await, [entry], "a refused edit leaves no entry");
    assert_eq!((edited.own_name.as_deref(), edited.revision), (Some("Mine"), 2));
    assert_eq!(fixture.resource(flow(ours, "f1")).await, Some(edited.clone()));
    let foreign = ResourceEdit { key: flow(fixture.theirs, "f1"), ..edit(2, None) };
    assert_refused!(fixture.store.edit_resource(foreign, NOW, None).await, NotFound);
    // A later run does not undo it, and is found by the name that a person gave.
    fixture.report(fixture.run(ours, "f1", after_ms(1), false)).await;
    let found = fixture.resource(flow(ours, "f1")).await.unwrap();
    assert_eq!((found.own_name, found.tags, found.recent.len()), (edited.own_name, edited.tags, 2));
    assert_eq!(fixture.resources(ours, ResourceFilter { text: Some("mine".into()), ..all() }).await, ["f1"]);
    assert_eq!(fixture.resources(ours, ResourceFilter { text: Some("reported".into()), ..all() }).await.len(), 0);
    let edited = fixture.store.edit_resource(edit(2, None), NOW, None).await.unwrap();
    assert_eq!((edited.own_name, edited.reported_name.as_deref()), (None, Some("reported")));
}

pub(super) async fn prune_forgets_resources_that_were_not_seen(fixture: Fixture) {
    let ours = fixture.ours;
    for id in ["old", "edited", "new"] {
        fixture.report(fixture.run(ours, id, NOW, true)).await;
    }
    let edit = ResourceEdit {
        key: flow(ours, "edited"),
        expected_revision: 1,
        name: Some("E".into()),
        link: None,
        tags: vec![],
    };
    fixture.store.edit_resource(edit, NOW, None).await.unwrap();
    let endpoint = fixture.new_endpoint(ours).await;
    let later = NOW.plus_ms(90 * DAY_MS);
    let mut again = fixture.event_at(ours, later);
    again.resource_id = "new".into();
    fixture.report(again).await;
    fixture.store.fold(99).await.unwrap();
    fixture.prune_all(later, 2).await;
    assert_eq!(fixture.resources(ours, all()).await.len(), 4, "90 days, not more");
    fixture.prune_all(later.plus_ms(1), 2).await;
    let left = fixture.resources(ours, all()).await;
    assert_eq!(left, ["new", "edited", &endpoint.to_string()]);
}
