//! What the answers to “why did I not hear of it?” say.

use tidings_domain::channel::ChannelType;
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

/// One that this gate stopped, in these words.
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

fn said(record: &DeliveryRecord) -> String {
    let zone = Zone::from_name("Europe/Zurich").unwrap();
    let saying = Saying { now: now(), zone: &zone };
    Told::of(record, Some("#data-alerts".into()), Some(6), None, saying).answer
}

#[test]
fn what_was_tried_is_said_with_its_attempts() {
    let sent = DeliveryRecord { attempt_count: 2, sent_at: Some(at("20:29:05")), ..record(Status::Sent) };
    assert_eq!(said(&sent), "Sent at 22:29:05 Europe/Zurich, attempt 2 of 6");
    let resent = DeliveryRecord { attempt_count: 7, ..sent.clone() };
    assert_eq!(said(&resent), "Sent at 22:29:05 Europe/Zurich, attempt 7", "more than the policy has, by hand");
    let error = Some("HTTP 502 Bad Gateway".to_owned());
    let failed = DeliveryRecord {
        attempt_count: 6,
        completed_at: Some(at("20:29:00")),
        last_error: error.clone(),
        ..record(Status::Failed)
    };
    let words = "Not delivered: attempt 6 of 6 failed at 22:29 Europe/Zurich: HTTP 502 Bad Gateway";
    assert_eq!(said(&failed), words);
    let waits = DeliveryRecord {
        attempt_count: 1,
        next_attempt_at: Some(at("20:31:00")),
        last_error: error,
        ..record(Status::Pending)
    };
    let words = "Tried again at 22:31 Europe/Zurich: attempt 1 of 6 failed: HTTP 502 Bad Gateway";
    assert_eq!(said(&waits), words);
    assert_eq!(said(&record(Status::Pending)), "SubjectInfo to be sent");
    assert_eq!(said(&record(Status::Sending)), "Being sent, attempt 1 of 6");
    let after = DeliveryRecord { blocked_by: Some(DeliveryId::from_bytes([9; 16])), ..record(Status::Pending) };
    assert_eq!(said(&after), "Waits until an earlier message about this incident is settled");
}

#[test]
fn what_is_held_is_said_with_the_time_that_counts_now() {
    let words = "Held until 07:00 Europe/Zurich: quiet hours of #data-alerts";
    let held = stopped(Status::Held, Gate::QuietHours, words, Some(at("05:00:00")));
    assert_eq!(said(&held), words);
    let longer = DeliveryRecord { held_until: Some(at("21:00:00")), ..held.clone() };
    assert_eq!(said(&longer), "Held until 23:00 Europe/Zurich: quiet_hours");
    let id = DeliveryId::from_bytes([8; 16]);
    let digest_id = Some(id);
    let carried = DeliveryRecord { digest_id, held_until: None, ..held };
    assert_eq!(said(&carried), format!("Held back, and about to leave in the digest {id}"));
    let sent = DeliveryRecord { digest_id, sent_at: Some(at("05:00:00")), ..record(Status::Sent) };
    assert_eq!(said(&sent), format!("Sent at 07:00 Europe/Zurich in the digest {id}"));
    let failed = DeliveryRecord { digest_id, ..record(Status::Failed) };
    assert_eq!(said(&failed), format!("Not delivered: the digest {id} that carried it failed"));
}

#[test]
fn what_was_stopped_is_said_in_the_gates_words() {
    for (gate, detail, answer) in [
        (Gate::RulePaused, "the rule is paused", "Not told: the rule is paused"),
        (Gate::ChannelDisabled, "#Ops is disabled", "Not told: #Ops is disabled"),
        (Gate::ScopedMute, "This channel is muted by ana", "Not told: this channel is muted by ana"),
        (Gate::GlobalMute, "Everything is muted by ana", "Not told: everything is muted by ana"),
        (
            Gate::QuietHours,
            "Dropped: quiet hours of #ops until 07:00 UTC",
            "Dropped: quiet hours of #ops until 07:00 UTC",
        ),
    ] {
        assert_eq!(said(&stopped(Status::Suppressed, gate, detail, None)), answer);
    }
    let skipped = DeliveryRecord { reason: Some("rule_disabled".into()), ..record(Status::Skipped) };
    assert_eq!(said(&skipped), "Not told: the rule was disabled while it waited");
    let late = DeliveryId::from_bytes([7; 16]);
    let stopped = stopped(Status::Suppressed, Gate::RulePaused, "the rule is paused", None);
    let saying = Saying { now: now(), zone: &Zone::UTC };
    let told = Told::of(&stopped, None, None, Some(late), saying);
    assert_eq!(told.answer, format!("Not told: the rule is paused; said late by {late}"));
}

#[test]
fn rules_that_were_passed_over_say_why() {
    let mut event = failed_flow();
    let describe = |reason, event: &Event| {
        Passed::of(NotRouted { rule_id: RuleId::from_bytes([3; 16]), reason }, event, None).answer
    };
    assert_eq!(describe(NotRoutedReason::RuleDisabled, &event), "Not told: the rule is disabled");
    assert_eq!(describe(NotRoutedReason::Trigger, &event), "Not told: the rule does not ask for runs that fail");
    let unknown = "Not told: the rule asks how runs were started, and of this one that is not known";
    assert_eq!(describe(NotRoutedReason::TriggerType, &event), unknown);
    event.run_mut().trigger_type = TriggerType::parse("chat");
    let chat = "Not told: the rule does not ask for runs started as chat";
    assert_eq!(describe(NotRoutedReason::TriggerType, &event), chat);
    let recovery = "Not told: the endpoint does not want its recoveries to be said";
    assert_eq!(describe(NotRoutedReason::RecoveryDisabled, &event), recovery);
}

#[test]
fn where_nobody_asked_it_says_so() {
    let mut event = failed_flow();
    assert_eq!(nobody_asked(&event, Some("#ops"), false), "Nobody asked: no rule joins flow f1 to #ops");
    event.run_mut().resource_name = Some("Nightly import".into());
    let words = "Nobody asked: no rule joined flow Nightly import to a channel when it came in; one does now";
    assert_eq!(nobody_asked(&event, None, true), words);
    let subject = Subject::Endpoint(tidings_domain::id::EndpointId::from_bytes([7; 16]));
    let opening = IncidentStart { subject, cause: Cause::EndpointDown, detail: None, failing_since: now(), at: now() };
    let incident = Incident::open(Id::from_bytes([6; 16]), event.workspace_id, opening);
    let mut outage = incident.snapshot(SubjectInfo::default(), now());
    outage.escalates_to = Some(ChannelId::from_bytes([4; 16]));
    event.trigger = Trigger::Incident(IncidentTrigger::Escalated { after_seconds: 900 });
    event.content = Content::Incident(Box::new(outage));
    let words = "Nobody asked: this step of the escalation tells another channel only";
    assert_eq!(nobody_asked(&event, Some("#ops"), true), words);
}

#[test]
fn many_are_counted() {
    let event = failed_flow();
    let saying = Saying { now: now(), zone: &Zone::UTC };
    let told = |status| DeliveryRecord { sent_at: Some(now()), ..record(status) };
    let records = [told(Status::Sent), told(Status::Held), told(Status::Sent)];
    let told: Vec<_> = records.iter().map(|record| Told::of(record, None, None, None, saying)).collect();
    let passed = NotRouted { rule_id: RuleId::from_bytes([3; 16]), reason: NotRoutedReason::Trigger };
    let why = Why::of(&event, None, told, vec![Passed::of(passed, &event, None)], || unreachable!());
    assert_eq!(why.answer, "3 deliveries: 1 held, 2 sent; 1 rule was passed over");
    assert_eq!(Why::of(&event, None, vec![], vec![], || "nobody".into()).answer, "nobody");
}
