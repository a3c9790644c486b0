//! Invariants that hold at the end of every history.

use std::collections::{HashMap, HashSet};

use tidings_domain::delivery::Status;
use tidings_domain::event::{Content, Event, EventKind};
use tidings_domain::gate::{Effect, Gate, GateEvaluation};
use tidings_domain::id::{ChannelId, DeliveryId, Id, RuleId};
use tidings_domain::incident::{IncidentTrigger, Subject};
use tidings_domain::resource::ResourceType;
use tidings_domain::trigger::Trigger;
use tidings_store::history::DeliveryRecord;
use tidings_store::monitoring::IncidentRecord;

use super::runner::History;

const OPENED: Trigger = Trigger::Incident(IncidentTrigger::Opened);
const RESOLVED: Trigger = Trigger::Incident(IncidentTrigger::Resolved);

/// Checks all of them.
pub fn check(history: &History) {
    let all = history.world.deliveries();
    every_rule_has_delivery_or_note(history, &all);
    evaluations_are_prefixes(&all);
    deferred_deliveries_replace_suppressed_ones(&all);
    resolutions_follow_notifications(history, &all);
    the_notified_are_notified_of_the_end(history, &all);
    digest_members_settle_with_digest(&all);
    webhooks_were_sent_once(history, &all);
    incidents_count_sent_notifications(history, &all);
    for delivery in &all {
        assert!(delivery.status.is_settled(), "{delivery:?}");
        assert_eq!(delivery.sent_at.is_some(), delivery.status == Status::Sent, "{delivery:?}");
    }
}

/// Every rule of a resource has a delivery of each event, or a note why not.
fn every_rule_has_delivery_or_note(history: &History, all: &[DeliveryRecord]) {
    for record in history.world.events() {
        let event = &record.event;
        // Not deferred ones: a rule that was disabled at the time of the event may carry one later.
        let first = all.iter().filter(|it| it.event.id == event.id && it.sequence == 1);
        let delivered: HashSet<_> = first.filter_map(|it| it.rule_id).collect();
        let noted: HashSet<_> = record.not_routed.iter().map(|note| note.rule_id).collect();
        let rules: Vec<Vec<RuleId>> = match event.resource_type {
            ResourceType::Flow => vec![vec![history.flow_rule]],
            ResourceType::Endpoint => {
                let endpoint = history.endpoints.iter().position(|id| id.to_string() == event.resource_id).unwrap();
                let rules =
                    &history.former_rules[endpoint * super::strategies::CHANNELS..][..super::strategies::CHANNELS];
                if event.incident().is_some_and(|incident| incident.escalates_to.is_some()) {
                    assert!(all.iter().any(|it| it.event.id == event.id), "a step without a delivery: {event:?}");
                    continue;
                }
                rules.to_vec()
            }
            _ => continue,
        };
        for rule in rules {
            let is_in = |set: &HashSet<RuleId>| rule.iter().any(|id| set.contains(id));
            assert!(is_in(&delivered) != is_in(&noted), "either a delivery or a note: {record:?}");
        }
    }
}

/// An evaluation goes through the gates in order; a later one only through those that may change.
fn evaluations_are_prefixes(all: &[DeliveryRecord]) {
    let expected_gates = |evaluation: &GateEvaluation, is_recheck: bool| -> Vec<Gate> {
        let stopped = evaluation.stopped.as_ref().map(|(gate, _)| *gate);
        let order = Gate::ORDER.into_iter().filter(|gate| !is_recheck || gate.is_rechecked_on_send());
        let position = |gate: Gate| Gate::ORDER.iter().position(|it| *it == gate);
        order.take_while(|gate| stopped.is_none_or(|stopped| position(*gate) < position(stopped))).collect()
    };
    for delivery in all.iter().filter(|it| it.event.kind != EventKind::Digest) {
        for (number, evaluation) in delivery.gate_evaluations.iter().enumerate() {
            let passed: Vec<_> = evaluation.passed_gates().collect();
            // Before a held delivery is due only the gate that holds it is evaluated.
            let is_single_gate = number > 0 && passed.is_empty();
            assert!(
                is_single_gate || passed == expected_gates(evaluation, number > 0),
                "evaluation {number} of {delivery:?}"
            );
        }
    }
}

/// Whether it is a suppressed opening or resolution that may be deferred.
fn is_deferrable(delivery: &DeliveryRecord) -> bool {
    let stopped = delivery.gate_evaluations.last().and_then(|evaluation| evaluation.stopped.as_ref());
    let by = stopped.is_some_and(|(gate, refusal)| {
        let allows = match delivery.event.trigger {
            OPENED => gate.allows_deferred_delivery(),
            RESOLVED => gate.allows_deferred_resolution(),
            _ => false,
        };
        allows && refusal.effect == Effect::Suppress
    });
    delivery.status == Status::Suppressed && by
}

/// A deferred delivery replaces a suppressed one, which is still recorded, and each sequence exists once.
fn deferred_deliveries_replace_suppressed_ones(all: &[DeliveryRecord]) {
    let by_id: HashMap<DeliveryId, &DeliveryRecord> = all.iter().map(|it| (it.id, it)).collect();
    let mut seen = HashSet::new();
    for delivery in all {
        let of = (delivery.event.id, delivery.rule_id.map(|id| *id.as_bytes()), delivery.channel_id, delivery.sequence);
        assert!(seen.insert(of), "duplicate: {delivery:?}");
        assert_eq!(delivery.replaces_id.is_some(), delivery.sequence > 1);
        let Some(of) = delivery.replaces_id else { continue };
        let of = by_id[&of];
        assert!(is_deferrable(of), "{delivery:?} for {of:?}");
        assert_eq!(
            (of.event.id, of.channel_id, of.sequence + 1),
            (delivery.event.id, delivery.channel_id, delivery.sequence)
        );
    }
}

/// Every opening of an active incident was sent, held or failed by now, unless its gate is still closed.
pub fn openings_were_sent(history: &History) {
    let all = history.world.deliveries();
    let parent = Subject::Endpoint(history.endpoints[0]);
    let parent_is_down = history.active().any(|incident| incident.subject == parent);
    for incident in history.active() {
        let of_incident = |it: &&DeliveryRecord| it.event.run_id == incident.id.to_string();
        let openings = all.iter().filter(|it| it.event.trigger == OPENED);
        for suppressed in openings.filter(of_incident).filter(|it| is_deferrable(it)) {
            let is_by_parent = suppressed.reason.as_deref() == Some("dependency") && parent_is_down;
            let deferred = all.iter().filter(|it| it.replaces_id == Some(suppressed.id)).count();
            let is_of_parents_child = incident.subject == Subject::Endpoint(history.endpoints[1]);
            // The parent may have recovered once, and be down again.
            let is_right = deferred == 1 || deferred == 0 && is_by_parent && is_of_parents_child;
            assert!(is_right, "{deferred} deferred openings for {suppressed:?}");
        }
    }
}

/// The notifications of the incident through the channel that precede its resolution.
fn notifications_before<'a>(
    all: &'a [DeliveryRecord],
    resolved: &Event,
    channel_id: ChannelId,
) -> Vec<&'a DeliveryRecord> {
    let is_notification = |it: &&DeliveryRecord| {
        let notifies = matches!(it.event.trigger, Trigger::Incident(trigger) if trigger.notifies());
        notifies && it.channel_id == channel_id && it.event.run_id == resolved.run_id && it.event.id < resolved.id
    };
    all.iter().filter(is_notification).collect()
}

/// A resolution is sent where something was sent before, and where openings are filtered or not subscribed to.
fn resolutions_follow_notifications(history: &History, all: &[DeliveryRecord]) {
    let subscribes_to_openings = |rule: Option<RuleId>| {
        let number = history.former_rules.iter().position(|ids| rule.is_some_and(|rule| ids.contains(&rule)));
        number.is_none_or(|number| number % super::strategies::CHANNELS + 1 < super::strategies::CHANNELS)
    };
    for resolved in all.iter().filter(|it| it.event.trigger == RESOLVED && subscribes_to_openings(it.rule_id)) {
        let before = notifications_before(all, &resolved.event, resolved.channel_id);
        let was_sent = before.iter().any(|it| it.status == Status::Sent);
        let opening = before.iter().rfind(|it| it.event.trigger == OPENED);
        let was_filtered =
            matches!(opening.and_then(|it| it.reason.as_deref()), Some("severity_filter" | "event_filter"));
        if resolved.status == Status::Sent {
            assert!(was_sent || was_filtered, "{resolved:?} after {before:#?}");
            let sent_first = before.iter().any(|it| it.sent_at.is_some_and(|at| Some(at) <= resolved.sent_at));
            assert!(sent_first || was_filtered, "{resolved:?} before {before:#?}");
        }
        if resolved.reason.as_deref() == Some("never_opened") {
            assert!(!was_sent && !was_filtered, "{resolved:?} though {before:#?}");
        }
    }
}

/// A channel that was notified of an incident was notified of its end, unless one of the permitted reasons holds.
fn the_notified_are_notified_of_the_end(history: &History, all: &[DeliveryRecord]) {
    let incidents = history.world.incidents();
    let events = history.world.events();
    for record in &incidents {
        let incident = &record.incident;
        let is_end = |it: &&tidings_store::history::EventRecord| {
            it.event.run_id == incident.id.to_string() && it.event.trigger == RESOLVED
        };
        let end = &events.iter().find(is_end).expect("all are resolved").event;
        for (endpoint, channel) in channels_of(history, &incident.subject) {
            let channel_id = history.channels.get(channel).copied().unwrap_or(history.boss);
            let before = notifications_before(all, end, channel_id);
            if !before.iter().any(|it| it.status == Status::Sent) {
                continue;
            }
            assert!(record.notified.contains_key(&channel_id), "{record:?} without {channel_id}");
            let ends: Vec<_> = all.iter().filter(|it| it.event.id == end.id && it.channel_id == channel_id).collect();
            if ends.iter().any(|it| it.status == Status::Sent) {
                continue;
            }
            let is_later =
                |it: &&IncidentRecord| it.incident.subject == incident.subject && it.incident.id > incident.id;
            let was_notified_again = incidents.iter().filter(is_later).any(|it| it.notified.contains_key(&channel_id));
            let is_unwanted = !history.setup.recovery_alert
                || ends.iter().any(|it| it.reason.as_deref() == Some("event_filter") || it.status == Status::Failed);
            let rule = endpoint * super::strategies::CHANNELS + channel;
            let lacked_rule = history
                .gaps
                .iter()
                .any(|(of, _, until)| *of == rule && until.is_none_or(|until| Some(until) >= incident.resolved_at));
            let is_old = history.world.now().since_ms(incident.resolved_at.unwrap()) > 7 * 86_400_000;
            assert!(
                was_notified_again || is_unwanted || lacked_rule || is_old,
                "{record:#?}\nchannel {channel_id} was notified:\n{before:#?}\nbut not of the end:\n{ends:#?}"
            );
        }
    }
}

/// The number of the endpoint, with that of each channel; the last one is the boss's.
fn channels_of(history: &History, subject: &Subject) -> impl Iterator<Item = (usize, usize)> {
    let endpoint = history.endpoints.iter().position(|id| Subject::Endpoint(*id) == *subject).unwrap();
    (0..=super::strategies::CHANNELS).map(move |channel| (endpoint, channel))
}

/// A digest and its members end alike; ongoing incidents come first.
fn digest_members_settle_with_digest(all: &[DeliveryRecord]) {
    let by_id: HashMap<DeliveryId, &DeliveryRecord> = all.iter().map(|it| (it.id, it)).collect();
    for delivery in all {
        if let Some(digest) = delivery.digest_id.map(|id| by_id[&id]) {
            assert_eq!(
                (delivery.status, &delivery.reason),
                (digest.status, &digest.reason),
                "{delivery:?} in {digest:?}"
            );
            assert_eq!(digest.channel_id, delivery.channel_id);
            assert_eq!(digest.event.kind, EventKind::Digest);
        }
        let Content::Digest(content) = &delivery.event.content else { continue };
        assert_ne!(delivery.channel_type.as_str(), "webhook", "webhooks are never merged");
        assert!(all.iter().any(|it| it.digest_id == Some(delivery.id)), "an empty digest: {delivery:?}");
        assert!(content.entries.is_sorted_by_key(|entry| entry.state), "{content:?}");
    }
}

/// What was sent through a webhook arrived at its receiver; once, unless a process was killed.
fn webhooks_were_sent_once(history: &History, all: &[DeliveryRecord]) {
    let mut accepted: HashMap<String, usize> = HashMap::new();
    for request in history.world.receiver.requests() {
        let id = request.delivery_id.filter(|_| request.response_status == Some(200));
        id.into_iter().for_each(|id| *accepted.entry(id).or_default() += 1);
    }
    for delivery in all.iter().filter(|it| it.channel_type.as_str() == "webhook") {
        let times = accepted.get(&delivery.id.to_string()).copied().unwrap_or(0);
        let is_right = match delivery.status {
            Status::Sent => times == 1 || times > 1 && !history.is_settled_each,
            _ => times == 0 || !history.is_settled_each,
        };
        assert!(is_right, "{times} times: {delivery:?}");
    }
}

fn incidents_count_sent_notifications(history: &History, all: &[DeliveryRecord]) {
    for record in history.world.incidents() {
        let id = record.incident.id.to_string();
        let sent = all.iter().filter(|it| it.event.run_id == id && it.status == Status::Sent).count();
        assert_eq!(record.incident.notifications_sent, sent as u64, "{record:?}");
    }
}
