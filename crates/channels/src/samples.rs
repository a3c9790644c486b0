//! Events and messages for the tests of this crate: one for each form that a message can take.

use std::time::Duration;

use tidings_domain::calendar::Zone;
use tidings_domain::digest::{Digest, Entry, EntryState};
use tidings_domain::event::{Content, Event, EventKind};
use tidings_domain::id::{DeliveryId, EndpointId, EventId, Id as _, IncidentId, RuleId, WorkspaceId};
use tidings_domain::incident::{Cause, IncidentSnapshot, IncidentTrigger, SubjectField};
use tidings_domain::resource::ResourceType;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::{Trigger, TriggerType};

use crate::OutboundMessage;

/// The instant of every sample.
pub fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_777_694_412_345)
}

/// A failed flow run with every field set.
pub fn failed_flow() -> Event {
    let mut event = test_event();
    event.kind = EventKind::RunTerminal;
    event.resource_id = "f1".into();
    event.trigger = Trigger::Failure;
    event.run_id = "01HX3K9T7Q".into();
    event.run_mut().resource_name = Some("Daily revenue rollup".into());
    event.run_mut().duration_ms = Some(1_842);
    event.run_mut().row_count = Some(1_240_124);
    event.run_mut().error_message = Some("relation \"orders\" does not exist".into());
    event.run_mut().trigger_type = TriggerType::parse("schedule");
    event.run_mut().deep_link = Some("https://app.example.com/flows/f1?run=01HX3K9T7Q".into());
    event
}

/// A query that succeeded.
pub fn succeeded_query() -> Event {
    let mut event = failed_flow();
    event.resource_type = ResourceType::ScheduledQuery;
    event.resource_id = "q42".into();
    event.trigger = Trigger::Success;
    event.run_mut().resource_name = Some("Active customers by region".into());
    event.run_mut().error_message = None;
    event
}

/// A notification about an endpoint's incident.
pub fn incident(trigger: IncidentTrigger) -> Event {
    let mut event = test_event();
    (event.kind, event.trigger) = (trigger.event_kind(), Trigger::Incident(trigger));
    event.resource_type = ResourceType::Endpoint;
    event.resource_id = EndpointId::from_bytes([4; 16]).to_string();
    event.run_id = IncidentId::from_bytes([5; 16]).to_string();
    event.content = Content::Incident(Box::new(IncidentSnapshot {
        name: "Production API".into(),
        url: Some("https://api.example.com/health".into()),
        link: None,
        cause: Cause::EndpointDown,
        detail: Some("HTTP 502 — expected 200".into()),
        severity: Severity::Critical,
        started_at: now().minus_ms(720_000),
        failing_since: now().minus_ms(840_000),
        resolved_at: (trigger == IncidentTrigger::Resolved).then_some(now()),
        at: now(),
        flap_changes: Some(7),
        escalates_to: None,
        actor: None,
        fields: vec![SubjectField { label: "Region".into(), value: "eu-west".into() }],
        tags: vec!["prod".into(), "customer-facing".into()],
    }));
    event
}

/// A digest of `total` held notifications.
pub fn digest(total: u64) -> Event {
    let mut event = test_event();
    (event.kind, event.resource_type) = (EventKind::Digest, ResourceType::Channel);
    let known = [
        ("Production API is down", Severity::Critical, EntryState::Ongoing),
        ("Checkout is degraded", Severity::Warning, EntryState::Ongoing),
        ("Daily revenue rollup failed", Severity::Warning, EntryState::OneOff),
        ("Website has recovered", Severity::Success, EntryState::Resolved),
    ];
    let entry = |at: u64| {
        let (title, severity, state) = known[at as usize % known.len()];
        Entry {
            link: at.is_multiple_of(2).then(|| format!("https://app.example.com/incidents/{at}")),
            events: 1 + u32::from(state == EntryState::Resolved),
            ..Entry::new(title, severity, state, now().minus_ms(60_000 * (total - at)))
        }
    };
    let entries = (0..total).map(entry).collect();
    event.content = Content::Digest(Box::new(Digest::new("quiet hours of On-call".into(), entries, now())));
    event
}

/// The event of a channel test.
pub fn test_event() -> Event {
    let (id, workspace_id) = (EventId::from_bytes([1; 16]), WorkspaceId::from_bytes([2; 16]));
    Event::sample(id, workspace_id, ResourceType::Flow, "sample", now())
}

/// A zone that outlives every sample.
pub fn utc() -> &'static Zone {
    static UTC: Zone = Zone::UTC;
    &UTC
}

/// A first attempt to deliver the event.
pub fn message(event: &Event, severity: Severity) -> OutboundMessage<'_> {
    OutboundMessage {
        delivery_id: DeliveryId::from_bytes([7; 16]),
        rule_id: Some(RuleId::from_bytes([3; 16])),
        event,
        severity,
        zone: utc(),
        now: now(),
        timeout: Duration::from_secs(5),
        fresh: false,
        attempt_state: None,
        thread: None,
    }
}
