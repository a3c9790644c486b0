//! Tests of what the conformance suite cannot see: query plans, failures of the disk and of operations, the size of the
//! write-ahead log.

mod account_plans;
mod beside;
mod checkpoints;
mod fast_paths;
mod faults;
mod history_index;
mod insights_plans;
mod monitoring_plans;
mod query_plans;
mod readers;

use std::sync::Arc;

use tidings_domain::channel::ChannelType;
use tidings_domain::event::{Content, Event, EventKind};
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{ChannelId, Id, RuleId, WorkspaceId, id_suffix, uuid_v7};
use tidings_domain::incident::{Cause, Incident, IncidentStart, IncidentTrigger, Subject, SubjectInfo};
use tidings_domain::resource::ResourceType;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;
use tidings_domain::workspace::Workspace;

use super::db::Db;
use super::{SqliteStore, accept, accounts};
use crate::queue::{Acceptance, InitialState, NewDelivery, NewEvent};
use crate::settings::{Preferences, WorkspaceRecord};
use crate::{AccountStore as _, Result, Store as _};

const NOW: Timestamp = Timestamp::from_unix_ms(1_780_000_000_000);

fn workspace_id() -> WorkspaceId {
    WorkspaceId::from_bytes([1; 16])
}

fn channel_id() -> ChannelId {
    ChannelId::from_bytes([2; 16])
}

/// The id with this number.
fn id<T: Id>(number: u64) -> T {
    T::from_uuid(uuid_v7(NOW.unix_ms().unsigned_abs(), &id_suffix(number as u32, [0; 10])))
}

/// The event with this number and its one delivery, due now.
fn new_event(number: u64) -> NewEvent {
    let mut event = Event::sample(id(number), workspace_id(), ResourceType::Flow, "f1", NOW);
    event.kind = EventKind::RunTerminal;
    event.run_id = format!("run-{number}");
    let delivery = NewDelivery {
        id: id(number),
        rule_id: Some(RuleId::from_bytes([3; 16])),
        rule_generation: 1,
        channel_id: channel_id(),
        channel_type: ChannelType::Webhook,
        severity: Severity::Warning,
        initial_state: InitialState::Due,
        evaluation: GateEvaluation { evaluated_at: NOW, passed: 0, stopped: None },
        rate_limit: None,
        sequence: 1,
        replaces_id: None,
    };
    NewEvent { event: Arc::new(event), fingerprint: None, not_routed: vec![], deliveries: vec![delivery] }
}

/// The same of an incident of this alert.
fn new_incident_event(number: u64, alert: &str) -> NewEvent {
    let mut new_event = new_event(number);
    let subject = Subject::Alert(alert.into());
    let start = IncidentStart { subject, cause: Cause::Alert, detail: None, failing_since: NOW, at: NOW };
    let incident = Incident::open(id(1), workspace_id(), start);
    let info = SubjectInfo { name: "API".into(), url: None, link: None, fields: vec![], tags: vec![] };
    let mut event = Event::clone(&new_event.event);
    let trigger = IncidentTrigger::Reminder { number: number as u32 };
    (event.kind, event.trigger) = (trigger.event_kind(), Trigger::Incident(trigger));
    (event.resource_type, event.resource_id) = (ResourceType::Alert, alert.into());
    event.run_id = incident.id.to_string();
    event.content = Content::Incident(Box::new(incident.snapshot(info, NOW)));
    new_event.event = Arc::new(event);
    new_event
}

/// Accepts events, as the writer does.
fn accept_events(db: &Db<'_>, batch: Vec<NewEvent>) -> Result<Vec<Acceptance>> {
    let encoded = batch.into_iter().map(accept::EncodedEvent::new).collect::<Result<Vec<_>>>()?;
    accept::accept(db, &encoded.iter().collect::<Vec<_>>())
}

/// The event with this number, about this large.
fn new_event_of_bytes(number: u64, bytes: usize) -> NewEvent {
    let mut new_event = new_event(number);
    let mut event = Event::clone(&new_event.event);
    event.run_mut().error_message = Some("x".repeat(bytes));
    new_event.event = Arc::new(event);
    new_event
}

/// A store with one workspace.
async fn open(directory: &tempfile::TempDir) -> SqliteStore {
    let store = SqliteStore::open(directory.path()).unwrap();
    let workspace = Workspace::new(workspace_id(), "default", NOW);
    let record = WorkspaceRecord { workspace, preferences: Preferences::default(), api_keys: vec![] };
    store.create_workspace(record, None, vec![]).await.unwrap();
    store
}

/// The same workspace, in a database without a store around it.
fn insert_workspace(db: &Db<'_>) {
    let workspace = Workspace::new(workspace_id(), "default", NOW);
    let record = WorkspaceRecord { workspace, preferences: Preferences::default(), api_keys: vec![] };
    accounts::workspace::create(db, &record, None).unwrap();
}

async fn event_exists(store: &SqliteStore, number: u64) -> bool {
    store.event(workspace_id(), id(number)).await.unwrap().is_some()
}
