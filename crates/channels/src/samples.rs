//! Events and messages for the tests of this crate: one for each form that a message can take.

use std::time::Duration;

use proptest::prelude::*;
use tidings_domain::calendar::Zone;
use tidings_domain::digest::{Digest, Entry, EntrySource, EntryState};
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
        resolution: None,
        previous_resolved_at: None,
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
        channel_id: None,
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

/// Texts that vendors are strict about, for property tests: long, blank, markup, mentions, control sequences, links.
pub fn hostile_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ \\n\\t\u{200b}\u{feff}\u{3164}]{0,12}",
        "[*_~`|<>@#\\[\\]()&:\\\\\\n .0-9a-z-]{0,400}",
        "(<!channel>|@everyone|<@1>|\\[x\\]\\(https://a.b\\)|```|:fire:|\u{1b}\\[31m|\u{1b}\\]0;t\u{7}|\u{202e}|\\r){0,40}",
        ("[&<*`@😀é]", 0..6_000usize).prop_map(|(unit, times)| unit.repeat(times)),
        "https?://[a-z]{1,12}(\\.[a-z]{2,4})?(:[0-9]{1,5})?/[\\PC]{0,40}",
        ("https://example\\.com/[a-z&|é]{1,3}", 0..2_000usize)
            .prop_map(|(url, times)| format!("{url}{}", "&|é".repeat(times))),
        "(javascript|data|ftp|mailto):[ -~]{0,30}",
    ]
}

/// Events of every kind with hostile texts in every part that comes from elsewhere.
pub fn hostile_event() -> impl Strategy<Value = Event> {
    (0..6usize, proptest::collection::vec(hostile_text(), 8), 0..25usize).prop_map(|(kind, texts, count)| {
        let text = |at: usize| texts[at % texts.len()].clone();
        let mut event = match kind {
            0 => failed_flow(),
            1 => test_event(),
            2 => digest(count as u64),
            3 => incident(IncidentTrigger::Resolved),
            _ => incident(IncidentTrigger::Opened),
        };
        event.resource_id = text(0);
        event.run_id = text(1);
        match &mut event.content {
            Content::Run(run) => {
                run.resource_name = Some(text(2));
                run.error_message = Some(text(3));
                run.deep_link = Some(text(4));
            }
            Content::Incident(incident) => {
                incident.name = text(2);
                incident.detail = Some(text(3));
                incident.link = Some(text(4));
                incident.url = Some(text(5));
                incident.actor = Some(text(6));
                let field = |at| SubjectField { label: text(at), value: text(at + 1) };
                incident.fields = (0..count).map(field).collect();
                incident.tags = (0..count).map(text).collect();
            }
            Content::Digest(digest) => {
                digest.reason = text(2);
                for (at, entry) in digest.entries.iter_mut().enumerate() {
                    entry.title = text(at + 3);
                    entry.link = Some(text(at + 4));
                    entry.reason = Some(text(at + 5));
                    entry.source = Some(EntrySource {
                        event_id: event.id,
                        resource_type: ResourceType::Flow,
                        resource_id: text(at + 6),
                        run_id: text(at + 7),
                    });
                }
            }
        }
        event
    })
}
