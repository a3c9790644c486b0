//! Each sentence of `GET /events/{id}/why`.

use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::GiveUpReason;
use tidings_domain::event::{Content, EventKind};
use tidings_domain::gate::{Effect, Gate, GateEvaluation, Refusal};
use tidings_domain::id::{Id, WorkspaceId};
use tidings_domain::incident::{Cause, Incident, IncidentStart, IncidentTrigger, Subject, SubjectInfo};
use tidings_domain::resource::ResourceType;
use tidings_domain::severity::Severity;
use tidings_domain::trigger::{Trigger, TriggerType};

use super::*;

fn now() -> Timestamp {
    Timestamp::parse("2026-05-02T20:30:00Z").unwrap()
}

fn at(time: &str) -> Timestamp {
    Timestamp::parse(&format!("2026-05-02T{time}Z")).unwrap()
}

fn failed_flow() -> Event {
    let (id, workspace_id) = (EventId::from_bytes([1; 16]), WorkspaceId::from_bytes([2; 16]));
    let mut event = Event::sample(id, workspace_id, ResourceType::Flow, "f1", now());
    (event.kind, event.trigger) = (EventKind::RunTerminal, Trigger::Failure);
    event
}

fn record(status: Status) -> DeliveryRecord {
    DeliveryRecord {
        id: DeliveryId::from_bytes([5; 16]),
        event: failed_flow(),
        rule_id: Some(RuleId::from_bytes([3; 16])),
        channel_id: ChannelId::from_bytes([4; 16]),
        channel_type: ChannelType::Slack,
        severity: Severity::Warning,
        status,
        reason: None,
        held_until: None,
        sequence: 1,
        replaces_id: None,
        digest_id: None,
        blocked_by: None,
        gate_evaluations: Vec::new(),
        attempt_count: 0,
        attempts: Vec::new(),
        http_status: None,
        last_error: None,
        next_attempt_at: None,
        sent_at: None,
        completed_at: None,
    }
}

/// A delivery that this gate stopped, with this detail.
fn stopped(status: Status, gate: Gate, detail: &str, until: Option<Timestamp>) -> DeliveryRecord {
    let effect = if status == Status::Held { Effect::Hold } else { Effect::Suppress };
    let stop = Refusal { effect, detail: detail.to_owned(), until, mute_id: None };
    let evaluation = GateEvaluation { evaluated_at: now(), passed: 0, stopped: Some((gate, stop)) };
    DeliveryRecord {
        reason: Some(gate.reason().to_owned()),
        held_until: until.filter(|_| status == Status::Held),
        gate_evaluations: vec![evaluation],
        ..record(status)
    }
}

fn answer(record: &DeliveryRecord) -> String {
    let zone = Zone::from_name("Europe/Zurich").unwrap();
    let phrasing = Phrasing { now: now(), zone: &zone };
    DeliveryExplanation::of(record, Some("#data-alerts".into()), Some(6), None, phrasing).answer
}

#[test]
fn attempted_delivery_is_explained_with_its_attempts() {
    let sent = DeliveryRecord { attempt_count: 2, sent_at: Some(at("20:29:05")), ..record(Status::Sent) };
    assert_eq!(answer(&sent), "Sent at 22:29:05 Europe/Zurich, attempt 2 of 6");
    let resent = DeliveryRecord { attempt_count: 7, ..sent.clone() };
    assert_eq!(
        answer(&resent),
        "Sent at 22:29:05 Europe/Zurich, attempt 7",
        "more than the policy allows, by a manual resend"
    );
    let error = Some("HTTP 502 Bad Gateway".to_owned());
    let failed = DeliveryRecord {
        attempt_count: 6,
        completed_at: Some(at("20:29:00")),
        last_error: error.clone(),
        ..record(Status::Failed)
    };
    let expected = "Not delivered: attempt 6 of 6 failed at 22:29 Europe/Zurich: HTTP 502 Bad Gateway";
    assert_eq!(answer(&failed), expected);
    let waits = DeliveryRecord {
        attempt_count: 1,
        next_attempt_at: Some(at("20:31:00")),
        last_error: error,
        ..record(Status::Pending)
    };
    let expected = "Retry at 22:31 Europe/Zurich: attempt 1 of 6 failed: HTTP 502 Bad Gateway";
    assert_eq!(answer(&waits), expected);
    assert_eq!(answer(&record(Status::Pending)), "About to be sent");
    assert_eq!(answer(&record(Status::Sending)), "Sending, attempt 1 of 6");
    let after = DeliveryRecord { blocked_by: Some(DeliveryId::from_bytes([9; 16])), ..record(Status::Pending) };
    assert_eq!(answer(&after), "Waiting for an earlier notification of the same endpoint or alert");
}

#[test]
fn held_delivery_is_explained_with_its_current_release_time() {
    let expected = "Held until 07:00 Europe/Zurich: quiet hours of #data-alerts";
    let held = stopped(Status::Held, Gate::QuietHours, expected, Some(at("05:00:00")));
    assert_eq!(answer(&held), expected);
    let longer = DeliveryRecord { held_until: Some(at("21:00:00")), ..held.clone() };
    assert_eq!(answer(&longer), "Held until 23:00 Europe/Zurich: quiet_hours");
    let id = DeliveryId::from_bytes([8; 16]);
    let digest_id = Some(id);
    let carried = DeliveryRecord { digest_id, held_until: None, ..held };
    assert_eq!(answer(&carried), format!("Held, to be sent in the digest {id}"));
    let sent = DeliveryRecord { digest_id, sent_at: Some(at("05:00:00")), ..record(Status::Sent) };
    assert_eq!(answer(&sent), format!("Sent at 07:00 Europe/Zurich in the digest {id}"));
    let failed = DeliveryRecord { digest_id, ..record(Status::Failed) };
    assert_eq!(answer(&failed), format!("Not delivered: the digest {id}, which contains it, failed"));
}

#[test]
fn suppressed_delivery_is_explained_with_the_detail_of_its_gate() {
    for (gate, detail, expected) in [
        (Gate::RulePaused, "the rule is paused", "Not notified: the rule is paused"),
        (Gate::ChannelDisabled, "#Ops is disabled", "Not notified: #Ops is disabled"),
        (Gate::ScopedMute, "This channel is muted by ana", "Not notified: this channel is muted by ana"),
        (Gate::GlobalMute, "Everything is muted by ana", "Not notified: everything is muted by ana"),
        (
            Gate::QuietHours,
            "Dropped: quiet hours of #ops until 07:00 UTC",
            "Dropped: quiet hours of #ops until 07:00 UTC",
        ),
    ] {
        assert_eq!(answer(&stopped(Status::Suppressed, gate, detail, None)), expected);
    }
    // A verdict that held it before is not why it was not sent.
    let held = stopped(Status::Suppressed, Gate::QuietHours, "Held until 07:00", None);
    let superseded = DeliveryRecord { reason: Some("superseded".into()), ..held };
    assert_eq!(
        answer(&superseded),
        "Not notified: a later notification of the same endpoint or alert was sent while this one was held"
    );
    let reason = GiveUpReason::RateLimited;
    let given_up = DeliveryRecord {
        reason: Some(reason.as_str().into()),
        last_error: Some(reason.describe().into()),
        ..record(Status::Failed)
    };
    assert_eq!(answer(&given_up), "Not delivered: it waited 24 hours because the receiver limits the rate");
    let skipped = DeliveryRecord { reason: Some("rule_disabled".into()), ..record(Status::Skipped) };
    assert_eq!(answer(&skipped), "Not notified: the rule was disabled before the delivery was sent");
    let late = DeliveryId::from_bytes([7; 16]);
    let stopped = stopped(Status::Suppressed, Gate::RulePaused, "the rule is paused", None);
    let phrasing = Phrasing { now: now(), zone: &Zone::UTC };
    let explained = DeliveryExplanation::of(&stopped, None, None, Some(late), phrasing);
    assert_eq!(explained.answer, format!("Not notified: the rule is paused; sent later as {late}"));
}

#[test]
fn unmatched_rule_is_explained_by_its_reason() {
    let mut event = failed_flow();
    let describe = |reason, event: &Event| {
        UnroutedExplanation::of(NotRouted { rule_id: RuleId::from_bytes([3; 16]), reason }, event, None).answer
    };
    assert_eq!(describe(NotRoutedReason::RuleDisabled, &event), "Not notified: the rule is disabled");
    assert_eq!(describe(NotRoutedReason::Trigger, &event), "Not notified: the rule is not triggered by runs that fail");
    let unknown = "Not notified: the rule includes certain trigger types only, and the run has none";
    assert_eq!(describe(NotRoutedReason::TriggerType, &event), unknown);
    event.run_mut().trigger_type = TriggerType::parse("chat");
    let chat = "Not notified: the rule does not include the trigger type chat";
    assert_eq!(describe(NotRoutedReason::TriggerType, &event), chat);
    let recovery = "Not notified: recovery notifications are disabled for the endpoint";
    assert_eq!(describe(NotRoutedReason::RecoveryDisabled, &event), recovery);
    let same = "Not notified: another rule sends this event through the same channel, which is notified once";
    assert_eq!(describe(NotRoutedReason::SameChannel, &event), same);
}

#[test]
fn event_without_rules_is_explained() {
    let mut event = failed_flow();
    assert_eq!(no_matching_rule(&event, Some("#ops"), false), "No rule joins flow f1 to #ops");
    event.run_mut().resource_name = Some("Nightly import".into());
    let expected = "No rule joined flow Nightly import to a channel when the event was received; one does now";
    assert_eq!(no_matching_rule(&event, None, true), expected);
    let subject = Subject::Endpoint(tidings_domain::id::EndpointId::from_bytes([7; 16]));
    let opening = IncidentStart { subject, cause: Cause::EndpointDown, detail: None, failing_since: now(), at: now() };
    let incident = Incident::open(Id::from_bytes([6; 16]), event.workspace_id, opening);
    let mut snapshot = incident.snapshot(SubjectInfo::default(), now());
    snapshot.escalates_to = Some(ChannelId::from_bytes([4; 16]));
    event.trigger = Trigger::Incident(IncidentTrigger::Escalated { after_seconds: 900 });
    event.content = Content::Incident(Box::new(snapshot));
    let expected = "No rule applies: this escalation step notifies another channel only";
    assert_eq!(no_matching_rule(&event, Some("#ops"), true), expected);
}

#[test]
fn several_deliveries_and_rules_are_counted() {
    let event = failed_flow();
    let phrasing = Phrasing { now: now(), zone: &Zone::UTC };
    let delivery = |status| DeliveryRecord { sent_at: Some(now()), ..record(status) };
    let records = [delivery(Status::Sent), delivery(Status::Held), delivery(Status::Sent)];
    let explained: Vec<_> =
        records.iter().map(|record| DeliveryExplanation::of(record, None, None, None, phrasing)).collect();
    let not_routed = NotRouted { rule_id: RuleId::from_bytes([3; 16]), reason: NotRoutedReason::Trigger };
    let why =
        Why::of(&event, None, explained, vec![UnroutedExplanation::of(not_routed, &event, None)], || unreachable!());
    assert_eq!(why.answer, "3 deliveries: 1 held, 2 sent; 1 rule did not match");
    let same_channel = || {
        let not_routed = NotRouted { rule_id: RuleId::from_bytes([5; 16]), reason: NotRoutedReason::SameChannel };
        vec![UnroutedExplanation::of(not_routed, &event, None)]
    };
    let only = DeliveryExplanation::of(&records[0], None, None, None, phrasing);
    let answer = only.answer.clone();
    assert_eq!(Why::of(&event, None, vec![only], same_channel(), || unreachable!()).answer, answer);
    assert_eq!(Why::of(&event, None, vec![], vec![], || "none".into()).answer, "none");
}
