//! `/events/{id}/why`: why an event did or did not notify someone, one sentence for each delivery and for each rule that did
//! not match. The sentences are pure, so that each is tested.

use serde::{Deserialize, Serialize};
use tidings_domain::calendar::Zone;
use tidings_domain::channel::Channel;
use tidings_domain::delivery::{GiveUpReason, OutdatedReason, Status};
use tidings_domain::event::{Event, EventKind};
use tidings_domain::id::{ChannelId, DeliveryId, EventId, RuleId};
use tidings_domain::retry::RetryPolicy;
use tidings_domain::routing::{NotRouted, NotRoutedReason};
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::RuleTrigger;
use tidings_engine::snapshot::WorkspaceView;
use tidings_store::history::DeliveryRecord;
use utoipa::ToSchema;

use crate::error::{AppError, Result};
use crate::principal::{Authorized, Read};
use crate::response::Response;
use crate::verdict::{Verdict, verdicts};

/// How instants are written: in the workspace's zone, and with the date where it is not today.
#[derive(Clone, Copy)]
struct Phrasing<'a> {
    now: Timestamp,
    zone: &'a Zone,
}

impl Phrasing<'_> {
    fn format(&self, instant: Timestamp) -> String {
        self.zone.describe(instant, self.now)
    }
}

/// What to explain.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhyQuery {
    /// Only about this channel.
    pub channel: Option<ChannelId>,
}

/// The explanation of an event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    pub event_id: EventId,
    pub kind: EventKind,
    /// The channel that was asked about; null for all.
    pub channel_id: Option<ChannelId>,
    /// One sentence about all of it.
    pub answer: String,
    pub deliveries: Vec<DeliveryExplanation>,
    /// The rules of the resource that did not match.
    pub not_routed: Vec<UnroutedExplanation>,
}

impl Response for Why {}

impl Why {
    /// `describe_none` is the answer where there are neither deliveries nor rules.
    fn of(
        event: &Event,
        channel_id: Option<ChannelId>,
        deliveries: Vec<DeliveryExplanation>,
        not_routed: Vec<UnroutedExplanation>,
        describe_none: impl FnOnce() -> String,
    ) -> Self {
        // A rule whose channel another rule notified already is no news in the summary.
        let unmatched = || not_routed.iter().filter(|rule| rule.reason != NotRoutedReason::SameChannel);
        let answer = match (deliveries.as_slice(), unmatched().next(), unmatched().count()) {
            ([], None, _) => describe_none(),
            ([delivery], None, _) => delivery.answer.clone(),
            ([], Some(rule), 1) => rule.answer.clone(),
            (deliveries, _, count) => describe_counts(deliveries, count),
        };
        Self { event_id: event.id, kind: event.kind, channel_id, answer, deliveries, not_routed }
    }
}

/// Explains an event for every channel, or for one.
///
/// # Errors
/// If there is no such event or channel.
pub async fn explain(by: &Authorized<Read>, id: EventId, query: WhyQuery) -> Result<Why> {
    let wanted = query.channel;
    let (record, deliveries) = by.engine().event(by.workspace_id(), id).await?;
    let view = by.view()?;
    let phrasing = Phrasing { now: by.now(), zone: &view.zone };
    let channel_of = |id: ChannelId| view.channel(id).map(|loaded| &loaded.channel);
    let is_selected = |id: Option<ChannelId>| wanted.is_none() || id == wanted;

    let explained = deliveries.iter().filter(|delivery| is_selected(Some(delivery.channel_id)));
    let explained: Vec<_> = explained
        .map(|delivery| explain_delivery(delivery, &deliveries, channel_of(delivery.channel_id), phrasing))
        .collect();
    let unrouted = record.not_routed.iter().map(|not_routed| {
        // With the current channel of the rule, if the rule still exists.
        let channel = view.rule(not_routed.rule_id).and_then(|rule| channel_of(rule.channel_id));
        UnroutedExplanation::of(*not_routed, &record.event, channel)
    });
    let unrouted: Vec<_> = unrouted.filter(|rule| is_selected(rule.channel_id)).collect();
    let channel = wanted.and_then(channel_of);
    // A deleted channel can still be asked about where the event has deliveries through it.
    if wanted.is_some() && channel.is_none() && explained.is_empty() {
        return Err(AppError::not_found("channel"));
    }
    let describe_none = || {
        let name = channel.map(|channel| &*channel.name);
        no_matching_rule(&record.event, name, has_matching_rule(&view, &record.event, wanted))
    };
    Ok(Why::of(&record.event, wanted, explained, unrouted, describe_none))
}

fn explain_delivery(
    record: &DeliveryRecord,
    all: &[DeliveryRecord],
    channel: Option<&Channel>,
    phrasing: Phrasing<'_>,
) -> DeliveryExplanation {
    let policy = RetryPolicy::default_for(record.event.resource_type);
    let attempts_max = channel.map(|channel| channel.policies.retry_policy(&policy).attempts_max());
    let replaced_by = all.iter().find(|other| other.replaces_id == Some(record.id)).map(|other| other.id);
    DeliveryExplanation::of(record, channel.map(|channel| channel.name.clone()), attempts_max, replaced_by, phrasing)
}

/// Whether a rule of the resource exists now, through this channel if one is named.
fn has_matching_rule(view: &WorkspaceView, event: &Event, channel: Option<ChannelId>) -> bool {
    view.rules().any(|rule| {
        rule.resource_type == event.resource_type
            && rule.resource.matches(&event.resource_id)
            && channel.is_none_or(|channel| channel == rule.channel_id)
    })
}

/// `3 deliveries: 1 sent, 2 held; 1 rule did not match`.
fn describe_counts(deliveries: &[DeliveryExplanation], unmatched_rules: usize) -> String {
    let by_status = Status::ALL.iter().filter_map(|status| {
        let count = deliveries.iter().filter(|delivery| delivery.status == *status).count();
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
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryExplanation {
    pub delivery_id: DeliveryId,
    pub rule_id: Option<RuleId>,
    pub channel_id: ChannelId,
    /// Null if it was deleted.
    pub channel_name: Option<String>,
    pub status: Status,
    pub reason: Option<String>,
    pub sequence: u32,
    pub replaces_delivery_id: Option<DeliveryId>,
    pub digest_id: Option<DeliveryId>,
    pub attempt_count: u32,
    /// What became of it, in one sentence.
    pub answer: String,
    pub verdicts: Vec<Verdict>,
}

impl DeliveryExplanation {
    /// `channel_name` and `attempts_max` are those of its channel, none if that was deleted. `replaced_by` is the deferred
    /// delivery that was sent in place of this one.
    fn of(
        record: &DeliveryRecord,
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
            status: record.status,
            reason: record.reason.clone(),
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
        (Status::Failed, None) if reason(record) == GiveUpReason::RateLimited.as_str() => {
            format!("Not delivered{error}")
        }
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
        (Status::Suppressed, _) if OutdatedReason::parse(reason(record)).is_some() => {
            not_notified(OutdatedReason::parse(reason(record)).map_or("", OutdatedReason::describe))
        }
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
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnroutedExplanation {
    pub rule_id: RuleId,
    /// The current channel of the rule; null if the rule was deleted.
    pub channel_id: Option<ChannelId>,
    pub channel_name: Option<String>,
    pub reason: NotRoutedReason,
    /// The reason, in one sentence.
    pub answer: String,
}

impl UnroutedExplanation {
    fn of(not_routed: NotRouted, event: &Event, channel: Option<&Channel>) -> Self {
        Self {
            rule_id: not_routed.rule_id,
            channel_id: channel.map(|channel| channel.id),
            channel_name: channel.map(|channel| channel.name.clone()),
            reason: not_routed.reason,
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
fn no_matching_rule(event: &Event, channel_name: Option<&str>, is_matched_now: bool) -> String {
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
