//! Whether a channel was notified of an incident, and what blocks its deliveries.

use super::*;
use tidings_domain::gate::Effect;
use tidings_domain::id::{DeliveryId, EventId, Id, RuleId};

const RULE: [u8; 16] = [3; 16];
const CHANNEL: [u8; 16] = [4; 16];

fn delivery(status: Status, gate: Option<(Gate, Effect)>) -> IncidentDelivery {
    let stopped =
        gate.map(|(gate, effect)| (gate, Refusal { effect, detail: String::new(), until: None, mute_id: None }));
    IncidentDelivery {
        delivery_id: DeliveryId::from_bytes([1; 16]),
        event_id: EventId::from_bytes([2; 16]),
        trigger: Trigger::Incident(IncidentTrigger::Opened),
        rule_id: Some(RuleId::from_bytes(RULE)),
        channel_id: ChannelId::from_bytes(CHANNEL),
        status,
        evaluation: Some(GateEvaluation { evaluated_at: Timestamp::from_unix_ms(0), passed: 0, stopped }),
        held_until: None,
        digest_id: None,
        sequence: 1,
        replaces_id: None,
        attempt_state: None,
    }
}

fn outcome(earlier: &[IncidentDelivery], notified: &Notified, triggers: &[RuleTrigger]) -> OpeningOutcome {
    let event = resolution();
    let mut rule = rule();
    rule.settings.triggers = triggers.to_vec();
    let context = FanOutContext { earlier, notified: Some(notified), ..FanOutContext::default() };
    opening_outcome(&event, Some(&rule), ChannelId::from_bytes(CHANNEL), context)
}

fn opening_outcome_of(earlier: &[IncidentDelivery]) -> OpeningOutcome {
    outcome(earlier, &Notified::new(), &RuleTrigger::OF_INCIDENTS)
}

fn resolution() -> Event {
    let now = Timestamp::from_unix_ms(0);
    let id = tidings_domain::id::WorkspaceId::from_bytes([7; 16]);
    let resource = tidings_domain::resource::ResourceType::Endpoint;
    let sample = Event::sample(EventId::from_bytes([2; 16]), id, resource, "ep", now);
    Event { trigger: Trigger::Incident(IncidentTrigger::Resolved), ..sample }
}

fn rule() -> Rule {
    let now = Timestamp::from_unix_ms(0);
    let workspace_id = tidings_domain::id::WorkspaceId::from_bytes([7; 16]);
    let every_endpoint =
        (tidings_domain::resource::ResourceType::Endpoint, tidings_domain::resource::ResourceSelector::All);
    Rule::new(RuleId::from_bytes(RULE), workspace_id, every_endpoint, ChannelId::from_bytes(CHANNEL), now)
}

#[test]
fn opening_outcome_is_that_of_the_channel() {
    let channel_id = ChannelId::from_bytes(CHANNEL);
    let other_rule = IncidentDelivery { rule_id: None, ..delivery(Status::Sent, None) };
    assert_eq!(opening_outcome_of(std::slice::from_ref(&other_rule)), OpeningOutcome::Sent, "whichever rule");
    let reminder = Trigger::Incident(IncidentTrigger::Reminder { number: 1 });
    assert_eq!(opening_outcome_of(&[IncidentDelivery { trigger: reminder, ..other_rule }]), OpeningOutcome::Sent);
    let stable = Trigger::Incident(IncidentTrigger::Stable);
    let only_stable = IncidentDelivery { trigger: stable, ..delivery(Status::Sent, None) };
    assert_eq!(opening_outcome_of(&[only_stable]), OpeningOutcome::NotSent);
    let all = RuleTrigger::OF_INCIDENTS;
    let notified = |id| Notified::from([(id, NotifiedBy::Rule)]);
    assert_eq!(outcome(&[], &notified(channel_id), &all), OpeningOutcome::Sent, "pruned, or a former rule");
    assert_eq!(outcome(&[], &notified(ChannelId::from_bytes([9; 16])), &all), OpeningOutcome::NotSent);
    assert_eq!(outcome(&[], &Notified::new(), &[RuleTrigger::Resolved]), OpeningOutcome::NotApplicable);
    assert_eq!(outcome(&[], &notified(channel_id), &[RuleTrigger::Resolved]), OpeningOutcome::Sent);
}

#[test]
fn opening_outcome_takes_the_best_of_all_sequences() {
    let muted = || delivery(Status::Suppressed, Some((Gate::ScopedMute, Effect::Suppress)));
    let filtered = delivery(Status::Suppressed, Some((Gate::SeverityFilter, Effect::Suppress)));
    assert_eq!(opening_outcome_of(&[]), OpeningOutcome::NotSent, "the rule did not exist yet");
    assert_eq!(opening_outcome_of(&[muted()]), OpeningOutcome::NotSent);
    assert_eq!(
        opening_outcome_of(&[muted(), delivery(Status::Sent, None)]),
        OpeningOutcome::Sent,
        "the deferred opening was sent"
    );
    assert_eq!(opening_outcome_of(&[delivery(Status::Failed, None)]), OpeningOutcome::NotSent);
    assert_eq!(opening_outcome_of(&[filtered]), OpeningOutcome::NotApplicable);
    let held = delivery(Status::Held, Some((Gate::QuietHours, Effect::Hold)));
    assert!(matches!(
        opening_outcome_of(std::slice::from_ref(&held)),
        OpeningOutcome::Held { gate: Gate::QuietHours, .. }
    ));
    let in_digest = IncidentDelivery { digest_id: Some(DeliveryId::from_bytes([6; 16])), ..held };
    assert_eq!(opening_outcome_of(std::slice::from_ref(&in_digest)), OpeningOutcome::Sent, "its digest is in progress");
    for status in [Status::Pending, Status::Sending, Status::Sent] {
        assert_eq!(opening_outcome_of(&[delivery(status, None)]), OpeningOutcome::Sent);
    }
}
