//! Query plans of watching, summaries and pruning: nothing walks a whole table.

use std::sync::Arc;

use tidings_domain::check::{Check, CheckStatus, Timings};
use tidings_domain::endpoint::{Definition, Endpoint, Probe};
use tidings_domain::event::Event;
use tidings_domain::id::{EndpointId, Id as _, IncidentId};
use tidings_domain::incident::{
    Cause, Incident, IncidentStart, IncidentStatus, IncidentTrigger, Subject, SubjectInfo, TimelineEntry,
};
use tidings_domain::mute::{Mute, MuteScope};
use tidings_domain::resource::ResourceType;
use tidings_domain::trigger::Trigger;

use super::plans::{Heard, assert_direct};
use super::{NOW, id, new_event, take_in, workspace_id};
use crate::monitoring::{CheckFilter, CheckRecord, EndpointState, IncidentFilter, IncidentRecord, TransitionRecord};
use crate::queue::NewEvent;
use crate::retention::{PruneCursor, Retention, SummaryFilter, SummaryGranularity};
use crate::settings::{ConfigChange, EndpointRecord, Precondition};
use crate::sqlite::db::Db;
use crate::sqlite::watching::{check, follow, incident, state, summary, told};
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
fn heard() -> Heard {
    let heard = Heard::new();
    heard.plans(|db| {
        let mut statement = db.prepare("INSERT INTO workspace (id, slug, created_at) VALUES (?, 'default', 0)")?;
        statement.execute([workspace_id().as_bytes()])?;
        settings::change(db, workspace_id(), &[ConfigChange::PutEndpoint(endpoint(), Precondition::Absent)])
    });
    heard
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
        created_by: "a".into(),
        created_at: NOW,
        ends_on_recovery: false,
    }
}

/// A check with all that can follow from it, at this revision.
fn following(revision: u32) -> TransitionRecord {
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
        revision,
    };
    let mut new_event: NewEvent = new_event(u64::from(revision));
    let mut event = Event::clone(&new_event.event);
    (event.resource_type, event.run_id) = (ResourceType::Endpoint, incident_id().to_string());
    event.trigger = Trigger::Incident(IncidentTrigger::Opened);
    new_event.event = Arc::new(event);
    new_event.deliveries[0].sequence = revision;
    TransitionRecord {
        timeline: vec![TimelineEntry::of_check(&check)],
        check: Some(CheckRecord { id: id(u64::from(revision)), endpoint_id: endpoint_id(), check }),
        state: Some(EndpointState { revision: revision.into(), ..EndpointState::new(endpoint_id()) }),
        incident: Some(record),
        ended_mutes: vec![id(70)],
        events: vec![new_event],
    }
}

fn follow(db: &Db<'_>, following: TransitionRecord) -> Result<()> {
    let prepared = follow::Prepared::new(following)?;
    let followed = match prepared.is_plain() {
        true => follow::plain(db, workspace_id(), &prepared)?,
        false => follow::follow(db, workspace_id(), &prepared),
    };
    followed.map(drop)
}

#[test]
fn what_follows_walks_no_table() {
    let heard = heard();
    let mutes = vec![ConfigChange::PutMute(mute(70, MuteScope::Global))];
    assert_direct(&heard.plans(|db| settings::change(db, workspace_id(), &mutes)));
    assert_direct(&heard.plans(|db| follow(db, following(1))));
    assert_direct(&heard.plans(|db| follow(db, following(2))));
    let plain = |revision| {
        let TransitionRecord { check, state, .. } = following(revision);
        TransitionRecord { check, state, ..TransitionRecord::default() }
    };
    assert_direct(&heard.plans(|db| follow(db, plain(3))));
    assert_direct(&heard.plans(|db| follow(db, plain(3))));
    let refused = |db: &Db<'_>| match follow(db, TransitionRecord { check: plain(4).check, ..plain(3) }) {
        Err(StoreError::Conflict) => Ok(()),
        other => panic!("{other:?}"),
    };
    assert_direct(&heard.plans(refused));
}

#[test]
fn reads_of_watching_walk_no_table() {
    let heard = heard();
    heard.plans(|db| follow(db, following(1)));
    assert_direct(&heard.plans(|db| state::all(db, workspace_id())));
    assert_direct(&heard.plans(|db| told::told(db, workspace_id(), incident_id())));
    assert_direct(&heard.plans(|db| incident::one(db, workspace_id(), incident_id())));
    for status in [None, Some(CheckStatus::Down)] {
        let filter = CheckFilter { before: Some(id(9)), limit: 9, status };
        assert_direct(&heard.plans(|db| check::list(db, workspace_id(), endpoint_id(), &filter)));
    }
    for span in [SummaryGranularity::Hour, SummaryGranularity::Day] {
        let filter = SummaryFilter { span, since: Some(NOW), until: Some(NOW), limit: 9 };
        assert_direct(&heard.plans(|db| summary::list(db, workspace_id(), endpoint_id(), &filter)));
    }
    // All of a small index is wanted.
    let all_active = heard.plans(|db| incident::active(db));
    assert!(all_active.iter().all(|(_, plan)| *plan == ["SCAN incident USING INDEX incident_open"]), "{all_active:?}");
    assert_direct(&heard.plans(|db| settings::configuration(db, workspace_id(), 1)));
}

#[test]
fn lists_of_incidents_walk_no_table() {
    let heard = heard();
    let subject = Subject::Endpoint(endpoint_id());
    for status in [None, Some(IncidentStatus::Active), Some(IncidentStatus::Resolved)] {
        for subject in [None, Some(subject.clone())] {
            for at in [None, Some(NOW)] {
                for before in [None, Some(id(9))] {
                    let filter =
                        IncidentFilter { before, limit: 9, status, subject: subject.clone(), since: at, until: at };
                    assert_direct(&heard.plans(|db| incident::list(db, workspace_id(), &filter)));
                }
            }
        }
    }
}

#[test]
fn keeping_walks_no_table() {
    let heard = heard();
    let expired = vec![ConfigChange::PutMute(mute(71, MuteScope::Endpoint(endpoint_id())))];
    heard.plans(|db| settings::change(db, workspace_id(), &expired));
    heard.plans(|db| follow(db, following(1)));
    heard.plans(|db| take_in(db, vec![new_event(8)]));
    heard.db.execute("UPDATE delivery SET status = 'sent'", []).unwrap();
    heard.db.execute("INSERT INTO rate_window (channel_id, instants) VALUES (randomblob(16), '[]')", []).unwrap();
    assert_direct(&heard.plans(|db| summary::summarise(db, NOW.plus_ms(DAY_MS), 1)));
    let mut cursor = Some(PruneCursor::default());
    while let Some(from) = cursor {
        let now = NOW.plus_ms(100 * DAY_MS);
        let plans = heard.plans(|db| {
            cursor = prune::prune(db, now, &Retention::default(), from, 1_000)?.next;
            Ok(())
        });
        assert_direct(&plans);
    }
    let left = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        heard.db.query_row(&sql, [], |row| row.get::<_, u32>(0)).unwrap()
    };
    assert!(
        ["event", "idempotency_key", "delivery", "rate_window", "endpoint_check", "endpoint_hour", "mute"].map(left)
            == [0; 7]
    );
}

#[test]
fn deleting_an_endpoint_walks_no_table() {
    let heard = heard();
    heard.plans(|db| follow(db, following(1)));
    let delete = [ConfigChange::DeleteEndpoint(endpoint_id(), NOW)];
    assert_direct(&heard.plans(|db| settings::change(db, workspace_id(), &delete)));
    assert_eq!(heard.db.query_row("SELECT count(*) FROM endpoint_check", [], |row| row.get::<_, u32>(0)), Ok(0));
}

/// What cannot be read must not be in the way of all that comes after it.
#[test]
fn what_cannot_be_read_is_not_counted() {
    let heard = heard();
    for revision in 1..4 {
        let TransitionRecord { check, state, .. } = following(revision);
        heard.plans(|db| follow(db, TransitionRecord { check, state, ..TransitionRecord::default() }));
    }
    let spoil = |sql: &str| assert_eq!(heard.db.execute(sql, []), Ok(1));
    spoil("UPDATE endpoint_check SET detail = '{' WHERE sort_key = (SELECT min(sort_key) FROM endpoint_check)");
    spoil("INSERT INTO endpoint_day (endpoint, day, summary) SELECT number, 20601, '{' FROM endpoint");
    spoil("INSERT INTO rate_window (channel_id, instants) VALUES (randomblob(16), '{')");
    let now = NOW.plus_ms(3 * DAY_MS);
    assert_eq!(SummaryGranularity::Day.number(NOW), 20_601);
    let done = summary::summarise(&heard.db, now, 9).unwrap();
    assert_eq!((done.hours, done.has_more), (1, false));
    let filter = SummaryFilter { span: SummaryGranularity::Day, limit: 9, ..SummaryFilter::default() };
    let days = summary::list(&heard.db, workspace_id(), endpoint_id(), &filter).unwrap();
    assert_eq!((days.len(), days[0].summary.down), (1, 2));
    let pruned = prune::prune(&heard.db, now, &Retention::default(), PruneCursor::default(), 9).unwrap();
    assert_eq!((pruned.checks, pruned.admissions), (3, 1));
}
