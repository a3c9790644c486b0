//! Events and letters for the tests of this module.

use std::time::Duration;

use tidings_domain::event::{Event, EventKind};
use tidings_domain::id::{DeliveryId, EventId, Id as _, RuleId, WorkspaceId};
use tidings_domain::resource::ResourceType;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::{Trigger, TriggerType};

use crate::Letter;

/// The instant of every sample.
pub fn now() -> Timestamp {
    Timestamp::from_unix_ms(1_777_694_412_345)
}

/// A failed flow run with every fact filled in.
pub fn failed_flow() -> Event {
    let mut event = test_event();
    event.kind = EventKind::RunTerminal;
    event.resource_id = "f1".into();
    event.trigger = Trigger::Failure;
    event.run_id = "01HX3K9T7Q".into();
    event.run.resource_name = Some("Daily revenue rollup".into());
    event.run.duration_ms = Some(1_842);
    event.run.row_count = Some(1_240_124);
    event.run.error_message = Some("relation \"orders\" does not exist".into());
    event.run.trigger_type = TriggerType::parse("schedule");
    event.run.deep_link = Some("https://app.example.com/flows/f1?run=01HX3K9T7Q".into());
    event
}

/// A query that went well.
pub fn succeeded_query() -> Event {
    let mut event = failed_flow();
    event.resource_type = ResourceType::ScheduledQuery;
    event.resource_id = "q42".into();
    event.trigger = Trigger::Success;
    event.run.resource_name = Some("Active customers by region".into());
    event.run.error_message = None;
    event
}

/// What a channel's Test sends.
pub fn test_event() -> Event {
    let (id, workspace_id) = (EventId::from_bytes([1; 16]), WorkspaceId::from_bytes([2; 16]));
    Event::sample(id, workspace_id, ResourceType::Flow, "sample", now())
}

/// The event as a letter.
pub fn letter(event: &Event, severity: Severity) -> Letter<'_> {
    Letter {
        delivery_id: DeliveryId::from_bytes([7; 16]),
        rule_id: Some(RuleId::from_bytes([3; 16])),
        event,
        severity,
        now: now(),
        timeout: Duration::from_secs(5),
        carry: None,
    }
}
