//! Deliveries in responses: one shape wherever a whole delivery appears, and the shorter one of a rule's log.

use std::borrow::Cow;

use serde::Serialize;
use tidings_channels::response_headers::parse_kept_headers;
use tidings_domain::delivery::{Status, idempotency_key};
use tidings_domain::event::EventKind;
use tidings_domain::gate::{Effect, Gate, GateEvaluation};
use tidings_domain::id::{ChannelId, DeliveryId, EventId, Id as _, MuteId, RuleId};
use tidings_domain::time::Timestamp;
use tidings_store::history::DeliveryRecord;

/// A delivery with its verdicts. Fields without a value are `null` instead of absent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Delivery<'a> {
    id: DeliveryId,
    kind: &'a str,
    test: bool,
    event_id: EventId,
    rule_id: Option<RuleId>,
    channel_id: ChannelId,
    channel_type: &'a str,
    resource_type: &'a str,
    resource_id: &'a str,
    resource_name: Option<&'a str>,
    run_id: &'a str,
    trigger: Option<Cow<'a, str>>,
    severity: &'a str,
    idempotency_key: String,
    status: &'a str,
    suppressed_reason: Option<&'a str>,
    held_reason: Option<&'a str>,
    held_until: Option<Timestamp>,
    sequence: u32,
    replaces_delivery_id: Option<DeliveryId>,
    digest_id: Option<DeliveryId>,
    blocked_by_delivery_id: Option<DeliveryId>,
    verdicts: Vec<Verdict<'a>>,
    attempt_count: u32,
    /// Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Vec<Attempt<'a>>>,
    http_status: Option<u16>,
    last_error: Option<&'a str>,
    next_attempt_at: Option<Timestamp>,
    created_at: Timestamp,
    sent_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

impl<'a> Delivery<'a> {
    /// With its attempts.
    pub(crate) fn of(record: &'a DeliveryRecord) -> Self {
        Self { attempts: Some(record.attempts.iter().map(Attempt::of).collect()), ..Self::in_list(record) }
    }

    /// Without its attempts.
    pub(crate) fn in_list(record: &'a DeliveryRecord) -> Self {
        let event = &record.event;
        Self {
            id: record.id,
            kind: event.kind.as_str(),
            test: event.kind == EventKind::ChannelTest,
            event_id: event.id,
            rule_id: record.rule_id,
            channel_id: record.channel_id,
            channel_type: record.channel_type.as_str(),
            resource_type: event.resource_type.as_str(),
            resource_id: &event.resource_id,
            resource_name: event.resource_name(),
            run_id: &event.run_id,
            trigger: event.trigger_name(),
            severity: record.severity.as_str(),
            idempotency_key: idempotency_key(event, record.channel_type, record.rule_id, Some(record.channel_id)),
            status: record.status.as_str(),
            suppressed_reason: suppressed_reason(record),
            held_reason: record.reason.as_deref().filter(|_| record.status == Status::Held),
            held_until: record.held_until,
            sequence: record.sequence,
            replaces_delivery_id: record.replaces_id,
            digest_id: record.digest_id,
            blocked_by_delivery_id: record.blocked_by,
            verdicts: record.gate_evaluations.iter().flat_map(verdicts).collect(),
            attempt_count: record.attempt_count,
            attempts: None,
            http_status: record.http_status,
            last_error: record.last_error.as_deref(),
            next_attempt_at: record.next_attempt_at,
            created_at: record.id.made_at(),
            sent_at: record.sent_at,
            completed_at: record.completed_at,
        }
    }
}

/// The verdict of one gate.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verdict<'a> {
    gate: &'a str,
    verdict: &'a str,
    evaluated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mute_id: Option<MuteId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

/// The verdicts of one evaluation, in the order of the gates.
pub(crate) fn verdicts(evaluation: &GateEvaluation) -> impl Iterator<Item = Verdict<'_>> {
    let evaluated_at = evaluation.evaluated_at;
    let verdict_of = move |gate: Gate, verdict| Verdict {
        gate: gate.as_str(),
        verdict,
        evaluated_at,
        until: None,
        mute_id: None,
        detail: None,
    };
    let passed = evaluation.passed_gates().map(move |gate| verdict_of(gate, "pass"));
    let stopped = evaluation.stopped.as_ref().map(|(gate, stop)| {
        let effect = match stop.effect {
            // `Unroute` creates no delivery, so that no record has such a verdict.
            Effect::Suppress | Effect::Unroute => "suppress",
            Effect::Hold => "hold",
        };
        Verdict { until: stop.until, mute_id: stop.mute_id, detail: Some(&stop.detail), ..verdict_of(*gate, effect) }
    });
    passed.chain(stopped)
}

/// Why it was suppressed or skipped. In other states `reason` explains the hold.
fn suppressed_reason(record: &DeliveryRecord) -> Option<&str> {
    let is_dropped = matches!(record.status, Status::Suppressed | Status::Skipped);
    record.reason.as_deref().filter(|_| is_dropped)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attempt<'a> {
    number: u32,
    trigger: &'a str,
    started_at: Timestamp,
    duration_ms: u32,
    http_status: Option<u16>,
    error_class: Option<&'a str>,
    error: Option<&'a str>,
    response_headers: Vec<ResponseHeader<'a>>,
    response_body: Option<&'a str>,
    channel_revision: Option<u32>,
    /// Only where there is something to note.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

impl<'a> Attempt<'a> {
    pub(crate) fn of(attempt: &'a tidings_store::queue::Attempt) -> Self {
        Self {
            number: attempt.number,
            trigger: attempt.trigger.as_str(),
            started_at: attempt.started_at,
            duration_ms: attempt.duration_ms,
            http_status: attempt.http_status,
            error_class: attempt.error_class.as_deref(),
            error: attempt.error.as_deref(),
            response_headers: ResponseHeader::all(attempt),
            response_body: attempt.response_body.as_deref(),
            channel_revision: attempt.channel_revision,
            note: attempt.note.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct ResponseHeader<'a> {
    name: &'a str,
    value: &'a str,
}

impl<'a> ResponseHeader<'a> {
    /// Those that the attempt kept, in the order of the response.
    fn all(attempt: &'a tidings_store::queue::Attempt) -> Vec<Self> {
        let lines = attempt.response_headers.as_deref().unwrap_or_default();
        parse_kept_headers(lines).map(|(name, value)| Self { name, value }).collect()
    }
}
