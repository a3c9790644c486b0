//! Query plans of monitoring, summaries and pruning: no statement scans a table.

use std::sync::Arc;

use tidings_domain::access::Actor;
use tidings_domain::check::{Check, CheckStatus, Timings};
use tidings_domain::endpoint::{Definition, Endpoint, Probe};
use tidings_domain::event::Event;
use tidings_domain::id::{EndpointId, IncidentId};
use tidings_domain::incident::{
    Cause, Incident, IncidentStart, IncidentStatus, IncidentTrigger, Subject, SubjectInfo, TimelineEntry,
};
use tidings_domain::mute::{Mute, MuteScope};
use tidings_domain::resource::ResourceType;
use tidings_domain::trigger::Trigger;

use super::query_plans::{TracedDb, assert_no_scan};
use super::{NOW, accept_events, id, insert_workspace, new_event, workspace_id};
use crate::monitoring::{
    CheckFilter, CheckRecord, EndpointState, EpisodeEnd, IncidentFilter, IncidentRecord, TransitionRecord,
};
use crate::queue::NewEvent;
use crate::retention::{PruneCursor, Retention, SummaryFilter, SummaryGranularity};
use crate::settings::{ConfigChange, EndpointRecord, Precondition};
use crate::sqlite::db::Db;
use crate::sqlite::monitoring::{check, episode, incident, incident_deliveries, state, summary, transition};
use crate::sqlite::{prune, settings};
use crate::{Result, StoreError};

const DAY_MS: u64 = 86_400_000;

fn endpoint_id() -> EndpointId {
    id(50)
}

fn incident_id() -> IncidentId {
    id(60)
}

/// A database with one workspace and one endpoint.
pub(super) fn traced_db() -> TracedDb {
    let traced = TracedDb::new();
    traced.plans(|db| {
        insert_workspace(db);
        settings::apply_changes(db, workspace_id(), &[ConfigChange::PutEndpoint(endpoint(), Precondition::Absent)])
    });
    traced
}

fn endpoint() -> EndpointRecord {
    let endpoint = Endpoint {
        id: endpoint_id(),
        workspace_id: workspace_id(),
        name: "api".into(),
        enabled: true,
        definition: Definition::new(Probe::Icmp { host: "a".into() }),
        revision: 1,
        created_at: NOW,
        updated_at: NOW,
    };
    EndpointRecord { endpoint, key_id: "k".into(), sealed: vec![] }
}

fn mute(number: u64, scope: MuteScope) -> Mute {
    Mute {
        id: id(number),
        workspace_id: workspace_id(),
        scope,
        expires_at: Some(NOW),
        reason: String::new(),
        created_by: Actor::system(),
        created_at: NOW,
        ends_on_recovery: false,
    }
}

/// A transition with everything that it may contain, at this revision.
fn full_transition(revision: u32) -> TransitionRecord {
    let check = Check {
        checked_at: NOW,
        status: CheckStatus::Down,
        reason: None,
        failure: None,
        status_code: None,
        response_time_ms: None,
        timings: Timings::default(),
        certificate: None,
        assertions: vec![],
    };
    let opening = IncidentStart {
        subject: Subject::Endpoint(endpoint_id()),
        cause: Cause::EndpointDown,
        detail: None,
        failing_since: NOW,
        at: NOW,
    };
    let record = IncidentRecord {
        incident: Incident::open(incident_id(), workspace_id(), opening),
        subject_info: SubjectInfo::default(),
        escalations_done: vec![],
        reminders: Default::default(),
        wake_at: None,
        notified: Default::default(),
        episode_started_at: None,
        revision,
    };
    let mut new_event: NewEvent = new_event(u64::from(revision));
    let mut event = Event::clone(&new_event.event);
    (event.resource_type, event.run_id) = (ResourceType::Endpoint, incident_id().to_string());
    event.trigger = Trigger::Incident(IncidentTrigger::Opened);
    new_event.event = Arc::new(event);
    new_event.deliveries[0].sequence = revision;
    TransitionRecord {
        timeline: vec![TimelineEntry::from_check(&check)],
        check: Some(CheckRecord { id: id(u64::from(revision)), endpoint_id: endpoint_id(), check }),
        endpoint_state: Some(EndpointState { revision: revision.into(), ..EndpointState::new(endpoint_id()) }),
        incident: Some(record),
        episode_end: Some(EpisodeEnd { resource_id: "disk:/var".into(), at: NOW }),
        ended_mutes: vec![(id(70), NOW)],
        events: vec![new_event],
        audit: vec![],
    }
}

fn record(db: &Db<'_>, record: TransitionRecord) -> Result<()> {
    let encoded = transition::EncodedTransition::new(record)?;
    let outcome = match encoded.is_check_only() {
        true => transition::record_check(db, workspace_id(), &encoded)?,
        false => transition::record(db, workspace_id(), &encoded),
    };
    outcome.map(drop)
}

#[test]
fn plans_of_transitions_scan_no_table() {
    let traced = traced_db();
    let mutes = vec![ConfigChange::PutMute(mute(70, MuteScope::Global))];
    assert_no_scan(&traced.plans(|db| settings::apply_changes(db, workspace_id(), &mutes)));
    assert_no_scan(&traced.plans(|db| record(db, full_transition(1))));
    assert_no_scan(&traced.plans(|db| record(db, full_transition(2))));
    let check_only = |revision| {
        let TransitionRecord { check, endpoint_state: state, .. } = full_transition(revision);
        TransitionRecord { check, endpoint_state: state, ..TransitionRecord::default() }
    };
    assert_no_scan(&traced.plans(|db| record(db, check_only(3))));
    assert_no_scan(&traced.plans(|db| record(db, check_only(3))));
    let refused = |db: &Db<'_>| match record(db, TransitionRecord { check: check_only(4).check, ..check_only(3) }) {
        Err(StoreError::Conflict) => Ok(()),
        other => panic!("{other:?}"),
    };
    assert_no_scan(&traced.plans(refused));
}

#[test]
fn plans_of_monitoring_reads_scan_no_table() {
    let traced = traced_db();
    traced.plans(|db| record(db, full_transition(1)));
    assert_no_scan(&traced.plans(|db| state::all(db, workspace_id())));
    assert_no_scan(&traced.plans(|db| incident_deliveries::list(db, workspace_id(), incident_id())));
    assert_no_scan(&traced.plans(|db| incident::get(db, workspace_id(), incident_id())));
    for status in [None, Some(CheckStatus::Down)] {
        let filter = CheckFilter { before: Some(id(9)), limit: 9, status };
        assert_no_scan(&traced.plans(|db| check::list(db, workspace_id(), endpoint_id(), &filter)));
    }
    for span in [SummaryGranularity::Hour, SummaryGranularity::Day] {
        let filter = SummaryFilter { granularity: span, since: Some(NOW), until: Some(NOW), limit: 9 };
        assert_no_scan(&traced.plans(|db| summary::list(db, workspace_id(), endpoint_id(), &filter)));
    }
    // A scan is right here: all entries of a small index are wanted.
    for (plans, index) in [
        (traced.plans(|db| incident::active(db)), "incident_open"),
        (traced.plans(|db| incident::unfinished(db)), "incident_unfinished"),
    ] {
        let expected = [&*format!("SCAN incident USING INDEX {index}"), "SEARCH w EXISTS USING PRIMARY KEY (id=?)"];
        assert!(plans.iter().all(|(_, plan)| *plan == expected), "{plans:?}");
    }
    assert_no_scan(&traced.plans(|db| incident::notified(db, workspace_id(), incident_id())));
    assert_no_scan(&traced.plans(|db| episode::last_end(db, workspace_id(), "disk:/var")));
    assert_no_scan(&traced.plans(|db| settings::configuration(db, workspace_id(), 1)));
}

#[test]
fn plans_of_incident_lists_scan_no_table() {
    let traced = traced_db();
    let subject = Subject::Endpoint(endpoint_id());
    for status in [None, Some(IncidentStatus::Active), Some(IncidentStatus::Resolved)] {
        for subject in [None, Some(subject.clone())] {
            for at in [None, Some(NOW)] {
                for before in [None, Some(id(9))] {
                    let filter = IncidentFilter {
                        before,
                        limit: 9,
                        status,
                        subject: subject.clone(),
                        since: at,
                        until: at,
                        has_wake_up: false,
                    };
                    assert_no_scan(&traced.plans(|db| incident::list(db, workspace_id(), &filter)));
                    let unfinished = IncidentFilter { has_wake_up: true, ..filter };
                    assert_no_scan(&traced.plans(|db| incident::list(db, workspace_id(), &unfinished)));
                }
            }
        }
    }
}

#[test]
fn plans_of_retention_scan_no_table() {
    let traced = traced_db();
    let expired = vec![ConfigChange::PutMute(mute(71, MuteScope::Endpoint(endpoint_id())))];
    traced.plans(|db| settings::apply_changes(db, workspace_id(), &expired));
    traced.plans(|db| record(db, full_transition(1)));
    traced.plans(|db| accept_events(db, vec![new_event(8)]));
    traced.db.execute("UPDATE delivery SET status = 'sent'", []).unwrap();
    traced.db.execute("INSERT INTO rate_window (channel_id, instants) VALUES (randomblob(16), '[]')", []).unwrap();
    assert_no_scan(&traced.plans(|db| summary::summarise(db, NOW.plus_ms(DAY_MS), 1)));
    let mut cursor = Some(PruneCursor::default());
    while let Some(from) = cursor {
        let now = NOW.plus_ms(100 * DAY_MS);
        let plans = traced.plans(|db| {
            cursor = prune::prune(db, now, &Retention::default(), from, 1_000)?.next;
            Ok(())
        });
        assert_no_scan(&plans);
    }
    let left = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        traced.db.query_row(&sql, [], |row| row.get::<_, u32>(0)).unwrap()
    };
    assert!(
        [
            "event",
            "idempotency_key",
            "delivery",
            "rate_window",
            "endpoint_check",
            "endpoint_hour",
            "mute",
            "alert_episode"
        ]
        .map(left)
            == [0; 8]
    );
}

#[test]
fn plans_of_endpoint_deletion_scan_no_table() {
    let traced = traced_db();
    traced.plans(|db| record(db, full_transition(1)));
    let delete = [ConfigChange::DeleteEndpoint(endpoint_id(), NOW)];
    assert_no_scan(&traced.plans(|db| settings::apply_changes(db, workspace_id(), &delete)));
    assert_eq!(traced.db.query_row("SELECT count(*) FROM endpoint_check", [], |row| row.get::<_, u32>(0)), Ok(0));
}

/// A row that cannot be decoded must not stop the work on those after it.
#[test]
fn retention_skips_undecodable_rows() {
    let traced = traced_db();
    for revision in 1..4 {
        let TransitionRecord { check, endpoint_state: state, .. } = full_transition(revision);
        traced.plans(|db| record(db, TransitionRecord { check, endpoint_state: state, ..TransitionRecord::default() }));
    }
    let corrupt = |sql: &str| assert_eq!(traced.db.execute(sql, []), Ok(1));
    corrupt("UPDATE endpoint_check SET detail = '{' WHERE sort_key = (SELECT min(sort_key) FROM endpoint_check)");
    corrupt("INSERT INTO endpoint_day (endpoint, day, summary) SELECT number, 20601, '{' FROM endpoint");
    corrupt("INSERT INTO rate_window (channel_id, instants) VALUES (randomblob(16), '{')");
    let now = NOW.plus_ms(3 * DAY_MS);
    assert_eq!(SummaryGranularity::Day.number(NOW), 20_601);
    let done = summary::summarise(&traced.db, now, 9).unwrap();
    assert_eq!((done.hours, done.has_more), (1, false));
    let filter = SummaryFilter { granularity: SummaryGranularity::Day, limit: 9, ..SummaryFilter::default() };
    let days = summary::list(&traced.db, workspace_id(), endpoint_id(), &filter).unwrap();
    assert_eq!((days.len(), days[0].summary.down), (1, 2));
    let pruned = prune::prune(&traced.db, now, &Retention::default(), PruneCursor::default(), 9).unwrap();
    assert_eq!((pruned.checks, pruned.rate_windows), (3, 1));
}
