//! Why somebody heard of an event, or did not: what became of it, in one sentence for each delivery and each rule that was
//! passed over. Pure, so that the words can be tested.

use serde::Serialize;
use tidings_domain::calendar::Zone;
use tidings_domain::channel::Channel;
use tidings_domain::delivery::Status;
use tidings_domain::event::{Event, EventKind};
use tidings_domain::id::{ChannelId, DeliveryId, EventId, RuleId};
use tidings_domain::routing::{NotRouted, NotRoutedReason};
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::RuleTrigger;
use tidings_store::history::DeliveryRecord;

use super::delivery::{Verdict, verdicts};

/// When it is said, and in which zone times are.
#[derive(Clone, Copy)]
pub(crate) struct Saying<'a> {
    pub now: Timestamp,
    pub zone: &'a Zone,
}

impl Saying<'_> {
    fn at(&self, instant: Timestamp) -> String {
        self.zone.describe(instant, self.now)
    }
}

/// What became of an event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Why<'a> {
    event_id: EventId,
    kind: &'a str,
    channel_id: Option<ChannelId>,
    answer: String,
    deliveries: Vec<Told<'a>>,
    not_routed: Vec<Passed>,
}

impl<'a> Why<'a> {
    /// Of these deliveries and rules; `nobody` says why there are none.
    pub(crate) fn of(
        event: &'a Event,
        channel_id: Option<ChannelId>,
        deliveries: Vec<Told<'a>>,
        not_routed: Vec<Passed>,
        nobody: impl FnOnce() -> String,
    ) -> Self {
        let answer = match (deliveries.as_slice(), not_routed.as_slice()) {
            ([], []) => nobody(),
            ([told], []) => told.answer.clone(),
            ([], [passed]) => passed.answer.clone(),
            (told, passed) => counted(told, passed.len()),
        };
        Self { event_id: event.id, kind: event.kind.as_str(), channel_id, answer, deliveries, not_routed }
    }
}

/// `3 deliveries: 1 sent, 2 held; 1 rule was passed over`.
fn counted(told: &[Told<'_>], passed: usize) -> String {
    let by_status = Status::ALL.iter().filter_map(|status| {
        let count = told.iter().filter(|told| told.status == status.as_str()).count();
        (count > 0).then(|| format!("{count} {}", status.as_str()))
    });
    let by_status = by_status.collect::<Vec<_>>().join(", ");
    let deliveries = match told.len() {
        0 => String::new(),
        1 => format!("1 delivery: {by_status}"),
        count => format!("{count} deliveries: {by_status}"),
    };
    let rules = match passed {
        0 => String::new(),
        1 => "1 rule was passed over".to_owned(),
        count => format!("{count} rules were passed over"),
    };
    [deliveries, rules].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

/// What became of one delivery.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told<'a> {
    delivery_id: DeliveryId,
    rule_id: Option<RuleId>,
    channel_id: ChannelId,
    channel_name: Option<String>,
    status: &'a str,
    reason: Option<&'a str>,
    sequence: u32,
    replaces_id: Option<DeliveryId>,
    digest_id: Option<DeliveryId>,
    attempt_count: u32,
    answer: String,
    verdicts: Vec<Verdict<'a>>,
}

impl<'a> Told<'a> {
    /// A delivery through a channel of this name, which tries so many times, if it is still there; and the delivery by
    /// which it was said late, if it was.
    pub(crate) fn of(
        record: &'a DeliveryRecord,
        channel_name: Option<String>,
        attempts_max: Option<u32>,
        said_late: Option<DeliveryId>,
        saying: Saying<'_>,
    ) -> Self {
        let late = said_late.map(|id| format!("; said late by {id}")).unwrap_or_default();
        Self {
            delivery_id: record.id,
            rule_id: record.rule_id,
            channel_id: record.channel_id,
            channel_name,
            status: record.status.as_str(),
            reason: record.reason.as_deref(),
            sequence: record.sequence,
            replaces_id: record.replaces_id,
            digest_id: record.digest_id,
            attempt_count: record.attempt_count,
            answer: format!("{}{late}", outcome(record, attempts_max, saying)),
            verdicts: record.gate_evaluations.iter().flat_map(verdicts).collect(),
        }
    }
}

/// What became of a delivery, in one sentence.
fn outcome(record: &DeliveryRecord, attempts_max: Option<u32>, saying: Saying<'_>) -> String {
    let number =
        |count: u32| match attempts_max.filter(|max| record.event.kind != EventKind::ChannelTest && count <= *max) {
            Some(max) => format!("attempt {count} of {max}"),
            None => format!("attempt {count}"),
        };
    let count = record.attempt_count;
    let when = |instant: Option<Timestamp>| instant.map(|at| format!(" at {}", saying.at(at))).unwrap_or_default();
    let error = record.last_error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
    match (record.status, record.digest_id) {
        (Status::Sent, Some(digest)) => format!("Sent{} in the digest {digest}", when(record.sent_at)),
        (Status::Sent, None) => format!("Sent{}, {}", when(record.sent_at), number(count)),
        (Status::Failed, Some(digest)) => format!("Not delivered: the digest {digest} that carried it failed"),
        (Status::Failed, None) => {
            format!("Not delivered: {} failed{}{error}", number(count), when(record.completed_at))
        }
        (Status::Held, Some(digest)) => format!("Held back, and about to leave in the digest {digest}"),
        (Status::Held, None) => held(record, saying),
        (Status::Pending, _) if count > 0 => {
            format!("Tried again{}: {} failed{error}", when(record.next_attempt_at), number(count))
        }
        (Status::Pending, _) if record.blocked_by.is_some() && record.next_attempt_at.is_none() => {
            "Waits until an earlier message about this incident is settled".to_owned()
        }
        (Status::Pending, _) => "SubjectInfo to be sent".to_owned(),
        (Status::Sending, _) => format!("Being sent, {}", number(count + 1)),
        (Status::Suppressed, _) => not_told(stopped_because(record).unwrap_or_else(|| reason(record))),
        (Status::Skipped, _) => not_told(skipped_because(reason(record))),
    }
}

fn reason(record: &DeliveryRecord) -> &str {
    record.reason.as_deref().unwrap_or("no reason was kept")
}

/// What the gate that stopped it at the last said.
fn stopped_because(record: &DeliveryRecord) -> Option<&str> {
    record
        .gate_evaluations
        .iter()
        .rev()
        .find_map(|evaluation| evaluation.stopped.as_ref())
        .map(|(_, stop)| stop.detail.as_str())
}

/// A gate's own words say until when; where that has changed since, they are not said.
fn held(record: &DeliveryRecord, saying: Saying<'_>) -> String {
    let last = record
        .gate_evaluations
        .last()
        .filter(|evaluation| evaluation.held().map(|(_, until)| until) == record.held_until);
    let words = last.and_then(|evaluation| evaluation.stopped.as_ref()).map(|(_, stop)| stop.detail.clone());
    words.filter(|words| words.starts_with("Held ")).unwrap_or_else(|| {
        let until = record.held_until.map(|at| format!(" until {}", saying.at(at))).unwrap_or_default();
        format!("Held{until}: {}", reason(record))
    })
}

fn skipped_because(reason: &str) -> &str {
    match reason {
        "rule_disabled" => "the rule was disabled while it waited",
        "rule_deleted" => "the rule was deleted while it waited",
        "rule_changed" => "the rule speaks through another channel by now",
        "channel_deleted" => "the channel was deleted while it waited",
        "endpoint_deleted" => "the endpoint was deleted while it waited",
        other => other,
    }
}

/// `Not told: …`, in the words of what stopped it; what is a sentence of its own stays one.
fn not_told(because: &str) -> String {
    if because.starts_with("Dropped: ") {
        return because.to_owned();
    }
    let because = match because.split_once(' ') {
        Some((first @ ("This" | "Everything"), rest)) => format!("{} {rest}", first.to_lowercase()),
        _ => because.to_owned(),
    };
    format!("Not told: {because}")
}

/// A rule that was passed over.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Passed {
    rule_id: RuleId,
    /// The channel that the rule speaks through by now; none if the rule is gone.
    pub channel_id: Option<ChannelId>,
    channel_name: Option<String>,
    reason: &'static str,
    answer: String,
}

impl Passed {
    pub(crate) fn of(passed: NotRouted, event: &Event, channel: Option<Channel>) -> Self {
        Self {
            rule_id: passed.rule_id,
            channel_id: channel.as_ref().map(|channel| channel.id),
            channel_name: channel.map(|channel| channel.name),
            reason: passed.reason.as_str(),
            answer: format!("Not told: {}", passed_because(passed.reason, event)),
        }
    }
}

fn passed_because(reason: NotRoutedReason, event: &Event) -> String {
    match reason {
        NotRoutedReason::RuleDisabled => "the rule is disabled".to_owned(),
        NotRoutedReason::Trigger => {
            let what = match event.trigger.class() {
                RuleTrigger::Success => "runs that succeed",
                RuleTrigger::Failure => "runs that fail",
                RuleTrigger::Opened => "incidents that open",
                RuleTrigger::Resolved => "incidents that are over",
                RuleTrigger::Escalated => "incidents that get worse",
            };
            format!("the rule does not ask for {what}")
        }
        NotRoutedReason::TriggerType => match event.run().and_then(|run| run.trigger_type.as_ref()) {
            Some(how) => format!("the rule does not ask for runs started as {}", how.as_str()),
            None => "the rule asks how runs were started, and of this one that is not known".to_owned(),
        },
        NotRoutedReason::RecoveryDisabled => "the endpoint does not want its recoveries to be said".to_owned(),
    }
}

/// Why there is nothing to tell of: for this channel, if one is named. `is_asked_now` if there is a rule by now.
pub(crate) fn nobody_asked(event: &Event, channel_name: Option<&str>, is_asked_now: bool) -> String {
    if event.incident().is_some_and(|outage| outage.escalates_to.is_some()) {
        return "Nobody asked: this step of the escalation tells another channel only".to_owned();
    }
    let resource = format!("{} {}", event.resource_type.title().to_lowercase(), event.resource_label());
    let channel = channel_name.unwrap_or("a channel");
    if is_asked_now {
        format!("Nobody asked: no rule joined {resource} to {channel} when it came in; one does now")
    } else {
        format!("Nobody asked: no rule joins {resource} to {channel}")
    }
}

#[cfg(test)]
#[path = "why_tests.rs"]
mod tests;
