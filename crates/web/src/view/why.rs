//! Why an event did or did not notify someone: one sentence for each delivery and for each rule that did not match.
//! Pure, so that every sentence is tested.

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

/// How instants are written: in the workspace's zone, and with the date where it is not today.
#[derive(Clone, Copy)]
pub(crate) struct Phrasing<'a> {
    pub now: Timestamp,
    pub zone: &'a Zone,
}

impl Phrasing<'_> {
    fn format(&self, instant: Timestamp) -> String {
        self.zone.describe(instant, self.now)
    }
}

/// The explanation of an event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Why<'a> {
    event_id: EventId,
    kind: &'a str,
    channel_id: Option<ChannelId>,
    answer: String,
    deliveries: Vec<DeliveryExplanation<'a>>,
    not_routed: Vec<UnroutedExplanation>,
}

impl<'a> Why<'a> {
    /// `describe_none` is the answer where there are neither deliveries nor rules.
    pub(crate) fn of(
        event: &'a Event,
        channel_id: Option<ChannelId>,
        deliveries: Vec<DeliveryExplanation<'a>>,
        not_routed: Vec<UnroutedExplanation>,
        describe_none: impl FnOnce() -> String,
    ) -> Self {
        // A rule whose channel another rule notified already is no news in the summary.
        let same_channel = NotRoutedReason::SameChannel.as_str();
        let unmatched = || not_routed.iter().filter(|rule| rule.reason != same_channel);
        let answer = match (deliveries.as_slice(), unmatched().next(), unmatched().count()) {
            ([], None, _) => describe_none(),
            ([delivery], None, _) => delivery.answer.clone(),
            ([], Some(rule), 1) => rule.answer.clone(),
            (deliveries, _, count) => describe_counts(deliveries, count),
        };
        Self { event_id: event.id, kind: event.kind.as_str(), channel_id, answer, deliveries, not_routed }
    }
}

/// `3 deliveries: 1 sent, 2 held; 1 rule did not match`.
fn describe_counts(deliveries: &[DeliveryExplanation<'_>], unmatched_rules: usize) -> String {
    let by_status = Status::ALL.iter().filter_map(|status| {
        let count = deliveries.iter().filter(|delivery| delivery.status == status.as_str()).count();
        (count > 0).then(|| format!("{count} {}", status.as_str()))
    });
    let by_status = by_status.collect::<Vec<_>>().join(", ");
    let deliveries = match deliveries.len() {
        0 => String::new(),
        1 => format!("1 delivery: {by_status}"),
        count => format!("{count} deliveries: {by_status}"),
    };
    let rules = match unmatched_rules {
        0 => String::new(),
        1 => "1 rule did not match".to_owned(),
        count => format!("{count} rules did not match"),
    };
    [deliveries, rules].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

/// What became of one delivery.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeliveryExplanation<'a> {
    delivery_id: DeliveryId,
    rule_id: Option<RuleId>,
    channel_id: ChannelId,
    channel_name: Option<String>,
    status: &'a str,
    reason: Option<&'a str>,
    sequence: u32,
    replaces_delivery_id: Option<DeliveryId>,
    digest_id: Option<DeliveryId>,
    attempt_count: u32,
    answer: String,
    verdicts: Vec<Verdict<'a>>,
}

impl<'a> DeliveryExplanation<'a> {
    /// `channel_name` and `attempts_max` are those of its channel, none if that was deleted. `replaced_by` is the deferred
    /// delivery that was sent in place of this one.
    pub(crate) fn of(
        record: &'a DeliveryRecord,
        channel_name: Option<String>,
        attempts_max: Option<u32>,
        replaced_by: Option<DeliveryId>,
        phrasing: Phrasing<'_>,
    ) -> Self {
        let replacement = replaced_by.map(|id| format!("; sent later as {id}")).unwrap_or_default();
        Self {
            delivery_id: record.id,
            rule_id: record.rule_id,
            channel_id: record.channel_id,
            channel_name,
            status: record.status.as_str(),
            reason: record.reason.as_deref(),
            sequence: record.sequence,
            replaces_delivery_id: record.replaces_id,
            digest_id: record.digest_id,
            attempt_count: record.attempt_count,
            answer: format!("{}{replacement}", describe_outcome(record, attempts_max, phrasing)),
            verdicts: record.gate_evaluations.iter().flat_map(verdicts).collect(),
        }
    }
}

/// What became of a delivery, in one sentence.
fn describe_outcome(record: &DeliveryRecord, attempts_max: Option<u32>, phrasing: Phrasing<'_>) -> String {
    // Without "of {max}" for tests, which are not retried, and after manual resends beyond the policy's attempts.
    let number =
        |count: u32| match attempts_max.filter(|max| record.event.kind != EventKind::ChannelTest && count <= *max) {
            Some(max) => format!("attempt {count} of {max}"),
            None => format!("attempt {count}"),
        };
    let count = record.attempt_count;
    let when =
        |instant: Option<Timestamp>| instant.map(|at| format!(" at {}", phrasing.format(at))).unwrap_or_default();
    let error = record.last_error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
    match (record.status, record.digest_id) {
        (Status::Sent, Some(digest)) => format!("Sent{} in the digest {digest}", when(record.sent_at)),
        (Status::Sent, None) => format!("Sent{}, {}", when(record.sent_at), number(count)),
        (Status::Failed, Some(digest)) => format!("Not delivered: the digest {digest}, which contains it, failed"),
        (Status::Failed, None) => {
            format!("Not delivered: {} failed{}{error}", number(count), when(record.completed_at))
        }
        (Status::Held, Some(digest)) => format!("Held, to be sent in the digest {digest}"),
        (Status::Held, None) => describe_hold(record, phrasing),
        (Status::Pending, _) if count > 0 => {
            format!("Retry{}: {} failed{error}", when(record.next_attempt_at), number(count))
        }
        (Status::Pending, _) if record.blocked_by.is_some() && record.next_attempt_at.is_none() => {
            "Waiting for an earlier notification of the same endpoint or alert".to_owned()
        }
        (Status::Pending, _) => "About to be sent".to_owned(),
        (Status::Sending, _) => format!("Sending, {}", number(count + 1)),
        (Status::Suppressed, _) => not_notified(stop_detail(record).unwrap_or_else(|| reason(record))),
        (Status::Skipped, _) => not_notified(describe_skip(reason(record))),
    }
}

fn reason(record: &DeliveryRecord) -> &str {
    record.reason.as_deref().unwrap_or("no reason was recorded")
}

/// The detail of the verdict that stopped it last.
fn stop_detail(record: &DeliveryRecord) -> Option<&str> {
    record
        .gate_evaluations
        .iter()
        .rev()
        .find_map(|evaluation| evaluation.stopped.as_ref())
        .map(|(_, stop)| stop.detail.as_str())
}

/// The gate's own sentence, which names the time of the release; unless that time has changed since.
fn describe_hold(record: &DeliveryRecord, phrasing: Phrasing<'_>) -> String {
    let last = record
        .gate_evaluations
        .last()
        .filter(|evaluation| evaluation.held().map(|(_, until)| until) == record.held_until);
    let detail = last.and_then(|evaluation| evaluation.stopped.as_ref()).map(|(_, stop)| stop.detail.clone());
    detail.filter(|detail| detail.starts_with("Held ")).unwrap_or_else(|| {
        let until = record.held_until.map(|at| format!(" until {}", phrasing.format(at))).unwrap_or_default();
        format!("Held{until}: {}", reason(record))
    })
}

fn describe_skip(reason: &str) -> &str {
    match reason {
        "rule_disabled" => "the rule was disabled before the delivery was sent",
        "rule_deleted" => "the rule was deleted before the delivery was sent",
        "rule_changed" => "the rule was moved to another channel before the delivery was sent",
        "channel_deleted" => "the channel was deleted before the delivery was sent",
        "endpoint_deleted" => "the endpoint was deleted before the delivery was sent",
        other => other,
    }
}

/// `Not notified: …` with the detail of the gate. "Dropped: …" is a whole sentence already.
fn not_notified(detail: &str) -> String {
    if detail.starts_with("Dropped: ") {
        return detail.to_owned();
    }
    let detail = match detail.split_once(' ') {
        Some((first @ ("This" | "Everything"), rest)) => format!("{} {rest}", first.to_lowercase()),
        _ => detail.to_owned(),
    };
    format!("Not notified: {detail}")
}

/// Why a rule of the resource did not match the event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UnroutedExplanation {
    rule_id: RuleId,
    /// The current channel of the rule; none if the rule was deleted.
    pub channel_id: Option<ChannelId>,
    channel_name: Option<String>,
    reason: &'static str,
    answer: String,
}

impl UnroutedExplanation {
    pub(crate) fn of(not_routed: NotRouted, event: &Event, channel: Option<Channel>) -> Self {
        Self {
            rule_id: not_routed.rule_id,
            channel_id: channel.as_ref().map(|channel| channel.id),
            channel_name: channel.map(|channel| channel.name),
            reason: not_routed.reason.as_str(),
            answer: format!("Not notified: {}", describe_not_routed(not_routed.reason, event)),
        }
    }
}

fn describe_not_routed(reason: NotRoutedReason, event: &Event) -> String {
    match reason {
        NotRoutedReason::RuleDisabled => "the rule is disabled".to_owned(),
        NotRoutedReason::Trigger => {
            let what = match event.trigger.class() {
                RuleTrigger::Success => "runs that succeed",
                RuleTrigger::Failure => "runs that fail",
                RuleTrigger::Opened => "incidents that open",
                RuleTrigger::Resolved => "incidents that are resolved",
                RuleTrigger::Escalated => "incidents that worsen or escalate",
            };
            format!("the rule is not triggered by {what}")
        }
        NotRoutedReason::TriggerType => match event.run().and_then(|run| run.trigger_type.as_ref()) {
            Some(how) => format!("the rule does not include the trigger type {}", how.as_str()),
            None => "the rule includes certain trigger types only, and the run has none".to_owned(),
        },
        NotRoutedReason::SameChannel => {
            "another rule sends this event through the same channel, which is notified once".to_owned()
        }
        NotRoutedReason::RecoveryDisabled => "recovery notifications are disabled for the endpoint".to_owned(),
    }
}

/// The answer for an event without deliveries and rules; for this channel, if one is named. `is_matched_now`: whether
/// such a rule exists by now.
pub(crate) fn no_matching_rule(event: &Event, channel_name: Option<&str>, is_matched_now: bool) -> String {
    if event.incident().is_some_and(|incident| incident.escalates_to.is_some()) {
        return "No rule applies: this escalation step notifies another channel only".to_owned();
    }
    let resource = format!("{} {}", event.resource_type.title().to_lowercase(), event.resource_label());
    let channel = channel_name.unwrap_or("a channel");
    if is_matched_now {
        format!("No rule joined {resource} to {channel} when the event was received; one does now")
    } else {
        format!("No rule joins {resource} to {channel}")
    }
}

#[cfg(test)]
mod tests;
