//! What must hold once a history has come to its end.

use std::collections::{HashMap, HashSet};

use tidings_domain::delivery::Status;
use tidings_domain::event::{Content, EventKind};
use tidings_domain::gate::{Effect, Gate, GateEvaluation};
use tidings_domain::id::{DeliveryId, Id, RuleId};
use tidings_domain::incident::{IncidentTrigger, Subject};
use tidings_domain::resource::ResourceType;
use tidings_domain::trigger::Trigger;
use tidings_store::history::DeliveryRecord;

use super::run::History;

const OPENED: Trigger = Trigger::Incident(IncidentTrigger::Opened);
const RESOLVED: Trigger = Trigger::Incident(IncidentTrigger::Resolved);

/// All of it.
pub fn hold(history: &History) {
    let all = history.world.deliveries();
    every_rule_was_asked(history, &all);
    verdicts_are_prefixes(&all);
    late_openings_stand_for_what_was_stopped(&all);
    resolutions_follow_openings(history, &all);
    digests_carry(&all);
    webhooks_were_sent_once(history, &all);
    incidents_count_what_was_sent(history, &all);
    for delivery in &all {
        assert!(delivery.status.is_settled(), "{delivery:?}");
        assert_eq!(delivery.sent_at.is_some(), delivery.status == Status::Sent, "{delivery:?}");
    }
}

/// Every rule of a resource has a delivery of each of its events, or a note why not.
fn every_rule_was_asked(history: &History, all: &[DeliveryRecord]) {
    for record in history.world.events() {
        let event = &record.event;
        let asked: HashSet<_> = all.iter().filter(|it| it.event.id == event.id).filter_map(|it| it.rule_id).collect();
        let noted: HashSet<_> = record.not_routed.iter().map(|note| note.rule_id).collect();
        let rules: Vec<RuleId> = match event.resource_type {
            ResourceType::Flow => vec![history.flow_rule],
            ResourceType::Endpoint => {
                let endpoint = history.endpoints.iter().position(|id| id.to_string() == event.resource_id).unwrap();
                let rules = &history.rules[endpoint * super::plan::CHANNELS..][..super::plan::CHANNELS];
                if event.incident().is_some_and(|outage| outage.escalates_to.is_some()) {
                    assert!(all.iter().any(|it| it.event.id == event.id), "a step that nobody heard of: {event:?}");
                    continue;
                }
                rules.to_vec()
            }
            _ => continue,
        };
        for rule in rules {
            assert!(asked.contains(&rule) != noted.contains(&rule), "either a row or a note: {record:?}");
        }
    }
}

/// A evaluation asks one gate after the other; a later evaluation those that may change.
fn verdicts_are_prefixes(all: &[DeliveryRecord]) {
    let upto = |evaluation: &GateEvaluation, changeable: bool| -> Vec<Gate> {
        let stopped = evaluation.stopped.as_ref().map(|(gate, _)| *gate);
        let order = Gate::ORDER.into_iter().filter(|gate| !changeable || gate.is_rechecked_on_send());
        let place = |gate: Gate| Gate::ORDER.iter().position(|it| *it == gate);
        order.take_while(|gate| stopped.is_none_or(|stopped| place(*gate) < place(stopped))).collect()
    };
    for delivery in all.iter().filter(|it| it.event.kind != EventKind::Digest) {
        for (number, evaluation) in delivery.gate_evaluations.iter().enumerate() {
            let passed: Vec<_> = evaluation.passed_gates().collect();
            let asks_one = number > 0 && passed.is_empty();
            assert!(asks_one || passed == upto(evaluation, number > 0), "evaluation {number} of {delivery:?}");
        }
    }
}

/// What of an opening may be said late.
fn allows_deferred_delivery(delivery: &DeliveryRecord) -> bool {
    let stopped = delivery.gate_evaluations.last().and_then(|evaluation| evaluation.stopped.as_ref());
    let by = stopped.is_some_and(|(gate, stop)| gate.allows_deferred_delivery() && stop.effect == Effect::Suppress);
    delivery.event.trigger == OPENED && delivery.status == Status::Suppressed && by
}

/// A late opening stands for one that was stopped, which is still there, and there is one of each sequence.
fn late_openings_stand_for_what_was_stopped(all: &[DeliveryRecord]) {
    let by_id: HashMap<DeliveryId, &DeliveryRecord> = all.iter().map(|it| (it.id, it)).collect();
    let mut seen = HashSet::new();
    for delivery in all {
        let of = (delivery.event.id, delivery.rule_id.map(|id| *id.as_bytes()), delivery.channel_id, delivery.sequence);
        assert!(seen.insert(of), "told twice: {delivery:?}");
        assert_eq!(delivery.replaces_id.is_some(), delivery.sequence > 1);
        let Some(of) = delivery.replaces_id else { continue };
        let of = by_id[&of];
        assert!(allows_deferred_delivery(of), "{delivery:?} for {of:?}");
        assert_eq!(
            (of.event.id, of.rule_id, of.sequence + 1),
            (delivery.event.id, delivery.rule_id, delivery.sequence)
        );
    }
}

/// Every opening of what is active was said, held or failed by now, unless what stopped it still does.
pub fn openings_were_said(history: &History) {
    let all = history.world.deliveries();
    let parent = Subject::Endpoint(history.endpoints[0]);
    let parent_is_down = history.active().any(|incident| incident.subject == parent);
    for incident in history.active() {
        let of_incident = |it: &&DeliveryRecord| it.event.run_id == incident.id.to_string();
        for stopped in all.iter().filter(of_incident).filter(|it| allows_deferred_delivery(it)) {
            let is_by_parent = stopped.reason.as_deref() == Some("dependency") && parent_is_down;
            let late = all.iter().filter(|it| it.replaces_id == Some(stopped.id)).count();
            let is_of_parents_child = incident.subject == Subject::Endpoint(history.endpoints[1]);
            // The parent may have recovered once, and be down again.
            let is_right = late == 1 || late == 0 && is_by_parent && is_of_parents_child;
            assert!(is_right, "{late} late tellings of {stopped:?}");
        }
    }
}

/// A resolution is said to those who heard of the opening, and to those who never wanted to hear of openings.
fn resolutions_follow_openings(history: &History, all: &[DeliveryRecord]) {
    let speaks_of_openings = |rule: Option<RuleId>| {
        let number = history.rules.iter().position(|id| Some(*id) == rule);
        number.is_some_and(|number| number % super::plan::CHANNELS + 1 < super::plan::CHANNELS)
    };
    for resolved in all.iter().filter(|it| it.event.trigger == RESOLVED && speaks_of_openings(it.rule_id)) {
        let is_opening = |it: &&DeliveryRecord| {
            it.event.trigger == OPENED && it.event.run_id == resolved.event.run_id && it.rule_id == resolved.rule_id
        };
        let openings: Vec<_> = all.iter().filter(is_opening).collect();
        let was_said = openings.iter().any(|it| it.status == Status::Sent);
        let reason = openings.last().and_then(|it| it.reason.as_deref());
        let was_filtered = matches!(reason, Some("severity_filter" | "event_filter"));
        if resolved.status == Status::Sent {
            assert!(was_said || was_filtered, "{resolved:?} after {openings:#?}");
            let said_first = openings.iter().any(|it| it.sent_at.is_some_and(|at| Some(at) <= resolved.sent_at));
            assert!(said_first || was_filtered, "{resolved:?} before {openings:#?}");
        }
        if resolved.reason.as_deref() == Some("never_opened") {
            assert!(!was_said && !was_filtered, "{resolved:?} though {openings:#?}");
        }
    }
}

/// A digest and what it carries end alike; what is open comes first.
fn digests_carry(all: &[DeliveryRecord]) {
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
        assert!(all.iter().any(|it| it.digest_id == Some(delivery.id)), "an empty one: {delivery:?}");
        assert!(content.entries.is_sorted_by_key(|entry| entry.state), "{content:?}");
    }
}

/// What was sent through a webhook came to its receiver; once, unless a process was killed.
fn webhooks_were_sent_once(history: &History, all: &[DeliveryRecord]) {
    let mut taken: HashMap<String, usize> = HashMap::new();
    for came in history.world.receiver.came() {
        let id = came.delivery_id.filter(|_| came.answered == Some(200));
        id.into_iter().for_each(|id| *taken.entry(id).or_default() += 1);
    }
    for delivery in all.iter().filter(|it| it.channel_type.as_str() == "webhook") {
        let times = taken.get(&delivery.id.to_string()).copied().unwrap_or(0);
        let is_right = match delivery.status {
            Status::Sent => times == 1 || times > 1 && !history.is_calm,
            _ => times == 0 || !history.is_calm,
        };
        assert!(is_right, "{times} times: {delivery:?}");
    }
}

fn incidents_count_what_was_sent(history: &History, all: &[DeliveryRecord]) {
    for record in history.world.incidents() {
        let id = record.incident.id.to_string();
        let sent = all.iter().filter(|it| it.event.run_id == id && it.status == Status::Sent).count();
        assert_eq!(record.incident.notifications_sent, sent as u64, "{record:?}");
    }
}
