//! An event for each form that a mail can take.

use tidings_domain::digest::{Digest, Entry, EntryState};
use tidings_domain::event::{Content, Event, EventKind};
use tidings_domain::incident::{Cause, IncidentSnapshot, IncidentTrigger, SubjectField};
use tidings_domain::resource::ResourceType;
use tidings_domain::severity::Severity;
use tidings_domain::trigger::Trigger;

use crate::support::event;

/// The samples with a name and a severity each.
pub fn mail_samples() -> Vec<(&'static str, Event, Severity)> {
    let mut failed = event();
    failed.run_mut().resource_name = Some("Daily revenue rollup".into());
    failed.run_mut().row_count = Some(1_240_124);
    failed.run_mut().error_message = Some(
        "Traceback (most recent call last):\n  File \"/srv/flows/revenue.py\", line 212, in <module>\n    \
         load(partition=\"2026-05-01\", table=\"analytics.revenue_by_region_daily_materialised_with_a_long_name\")\n\
         psycopg.errors.UndefinedTable: relation \"orders\" does not exist\n\
         LINE 1: SELECT sum(amount) FROM orders WHERE day = $1\n                                ^"
            .into(),
    );
    let mut succeeded = failed.clone();
    (succeeded.trigger, succeeded.run_mut().error_message) = (Trigger::Success, None);
    let mut long = failed.clone();
    long.run_mut().resource_name = Some("a_name_without_any_space_that_a_machine_wrote_".repeat(4));
    long.run_mut().deep_link = Some(format!("https://app.example.com/{}", "segment/".repeat(30)));
    long.run_mut().error_message = Some("ERROR ".repeat(200_000));
    let mut test = event();
    (test.kind, test.trigger, test.run_mut().error_message) = (EventKind::ChannelTest, Trigger::Success, None);
    let mut samples = vec![
        ("critical", failed.clone(), Severity::Critical),
        ("warning", failed.clone(), Severity::Warning),
        ("info", failed, Severity::Info),
        ("success", succeeded, Severity::Success),
        ("long", long, Severity::Critical),
        ("test", test, Severity::Info),
    ];
    samples.extend(incident_samples());
    samples.extend(digest_samples());
    samples
}

/// A notification about an endpoint's incident.
pub fn incident(trigger: IncidentTrigger) -> Event {
    let mut event = event();
    let now = event.received_at;
    (event.kind, event.trigger) = (trigger.event_kind(), Trigger::Incident(trigger));
    (event.resource_type, event.resource_id) = (ResourceType::Endpoint, "ep_1".into());
    event.run_id = "inc_01890a5d7b3c7c4a9b1e2f3a4b5c6d7e".into();
    event.content = Content::Incident(Box::new(IncidentSnapshot {
        name: "Production API".into(),
        url: Some("https://api.example.com/health".into()),
        link: Some("https://tidings.example.com/incidents/inc_01890a5d7b3c7c4a9b1e2f3a4b5c6d7e".into()),
        cause: Cause::EndpointDown,
        detail: Some("HTTP 502 — expected 200".into()),
        severity: Severity::Critical,
        started_at: now.minus_ms(720_000),
        failing_since: now.minus_ms(840_000),
        resolved_at: (trigger == IncidentTrigger::Resolved).then_some(now),
        at: now,
        resolution: None,
        previous_resolved_at: None,
        flap_changes: Some(7),
        escalates_to: None,
        actor: None,
        fields: vec![],
        tags: vec!["prod".into(), "customer-facing".into()],
    }));
    event
}

fn incident_samples() -> Vec<(&'static str, Event, Severity)> {
    let mut degraded = incident(IncidentTrigger::Opened);
    let Content::Incident(snapshot) = &mut degraded.content else { unreachable!() };
    (snapshot.cause, snapshot.severity, snapshot.link) = (Cause::EndpointDegraded, Severity::Warning, None);
    snapshot.detail = Some("6.2 s — slower than 5.0 s".into());
    let mut alert = incident(IncidentTrigger::Opened);
    alert.resource_type = ResourceType::Alert;
    let Content::Incident(snapshot) = &mut alert.content else { unreachable!() };
    (snapshot.name, snapshot.cause, snapshot.url) = ("HighErrorRate".into(), Cause::Alert, None);
    snapshot.detail = Some(
        "The error rate of checkout is at 12.4 % and was above 5 % for ten minutes. See the runbook: \
         https://runbooks.example.com/high-error-rate, and the board of the payment team for what was rolled out \
         today. It has happened twice this week."
            .into(),
    );
    let field = |label: &str, value: &str| SubjectField { label: label.into(), value: value.into() };
    snapshot.fields = vec![
        field("job", "checkout"),
        field("instance", "checkout-7c9d8f6b5-x2x4z.checkout.svc.cluster.local:9090"),
        field("topology_kubernetes_io_availability_zone_of_the_node", "eu-central-1b"),
        field("severity", "critical"),
    ];
    vec![
        ("incident-down", incident(IncidentTrigger::Opened), Severity::Critical),
        ("incident-degraded", degraded, Severity::Warning),
        ("incident-escalated", incident(IncidentTrigger::Escalated { after_seconds: 900 }), Severity::Critical),
        ("incident-flapping", incident(IncidentTrigger::Flapping), Severity::Critical),
        ("incident-resolved", incident(IncidentTrigger::Resolved), Severity::Success),
        ("incident-alert", alert, Severity::Critical),
    ]
}

/// A digest of `total` entries.
pub fn digest(total: usize) -> Event {
    let mut event = event();
    let now = event.received_at;
    (event.kind, event.trigger) = (EventKind::Digest, Trigger::Success);
    (event.resource_type, event.resource_id) = (ResourceType::Channel, "ch_1".into());
    let known = [
        ("Production API is down", Severity::Critical, EntryState::Ongoing),
        ("Checkout is degraded", Severity::Warning, EntryState::Ongoing),
        ("Daily revenue rollup failed", Severity::Warning, EntryState::OneOff),
        (
            "Website of the marketing department and its many friends has recovered",
            Severity::Success,
            EntryState::Resolved,
        ),
        ("Active customers by region succeeded", Severity::Success, EntryState::OneOff),
    ];
    let entry = |at: usize| {
        let (title, severity, state) = known[at % known.len()];
        Entry {
            link: at.is_multiple_of(2).then(|| format!("https://tidings.example.com/incidents/{at}")),
            events: if state == EntryState::Resolved { 2 } else { 1 },
            ..Entry::new(title, severity, state, now.minus_ms(60_000 * (total - at) as u64))
        }
    };
    let because = "quiet hours of On-call, from 22:00 to 07:00".into();
    event.content = Content::Digest(Box::new(Digest::new(because, (0..total).map(entry).collect(), now)));
    event
}

fn digest_samples() -> Vec<(&'static str, Event, Severity)> {
    vec![
        ("digest-one", digest(1), Severity::Critical),
        ("digest-few", digest(5), Severity::Critical),
        ("digest-many", digest(2_000), Severity::Critical),
    ]
}
