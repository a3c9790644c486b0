//! Rows of the history: events and deliveries as the API shows them, and the filters over them.

use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::Status;
use tidings_domain::event::{Event, EventKind};
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{ChannelId, DeliveryId, EventId, RuleId};
use tidings_domain::resource::ResourceType;
use tidings_domain::routing::NotRouted;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;

use crate::queue::{Attempt, Counts};

/// An event in the history.
#[derive(Debug, Clone)]
pub struct EventRecord {
    pub event: Event,
    /// The rules of its resource that did not match it.
    pub not_routed: Vec<NotRouted>,
    /// Its deliveries by initial status.
    pub counts: Counts,
}

/// Which events to list. All conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only those older than this one (pagination).
    pub before: Option<EventId>,
    pub limit: u32,
    /// Only events of runs: no tests, incidents or digests.
    pub runs_only: bool,
    pub kind: Option<EventKind>,
    pub resource_type: Option<ResourceType>,
    pub resource_id: Option<String>,
    pub trigger: Option<Trigger>,
}

/// A delivery in the history.
#[derive(Debug, Clone)]
pub struct DeliveryRecord {
    pub id: DeliveryId,
    pub event: Event,
    /// `None` as for [`crate::queue::NewDelivery::rule_id`], and for a channel's own test.
    pub rule_id: Option<RuleId>,
    pub channel_id: ChannelId,
    pub channel_type: ChannelType,
    /// The event's severity according to the rule.
    pub severity: Severity,
    pub status: Status,
    /// The gate that suppressed or holds it, or why it was skipped.
    pub reason: Option<String>,
    /// Set while it is held and in no digest.
    pub held_until: Option<Timestamp>,
    /// See [`crate::queue::NewDelivery::sequence`].
    pub sequence: u32,
    /// See [`crate::queue::NewDelivery::replaces_id`].
    pub replaces_id: Option<DeliveryId>,
    /// The digest that it is a member of.
    pub digest_id: Option<DeliveryId>,
    /// The delivery that it waits for, or waited for.
    pub blocked_by: Option<DeliveryId>,
    /// Oldest first.
    pub gate_evaluations: Vec<GateEvaluation>,
    pub attempt_count: u32,
    /// Oldest first; empty unless the filter asks for them.
    pub attempts: Vec<Attempt>,
    /// Of the last attempt.
    pub http_status: Option<u16>,
    /// Of the last attempt.
    pub last_error: Option<String>,
    /// Set while it is pending and waits for no other delivery.
    pub next_attempt_at: Option<Timestamp>,
    /// When the receiver last accepted it.
    pub sent_at: Option<Timestamp>,
    /// When it was settled.
    pub completed_at: Option<Timestamp>,
}

/// Which deliveries to list. All conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// Only those after this one in the list (pagination).
    pub before: Option<DeliveryId>,
    pub limit: u32,
    /// Whether to load their attempts.
    pub with_attempts: bool,
    /// Only those of runs: no tests, incidents or digests.
    pub runs_only: bool,
    pub event_id: Option<EventId>,
    pub rule_id: Option<RuleId>,
    pub channel_id: Option<ChannelId>,
    pub resource_type: Option<ResourceType>,
    pub resource_id: Option<String>,
    pub status: Option<Status>,
    pub reason: Option<String>,
    /// The event's kind.
    pub kind: Option<EventKind>,
    /// The event's run id or incident id. Found through the idempotency keys, so only as long as those are kept.
    pub run_id: Option<String>,
    /// Only the members of this digest.
    pub digest_id: Option<DeliveryId>,
    /// Only those of events accepted at or after this instant, by the time in the event's id.
    pub since: Option<Timestamp>,
    /// Only those of events accepted before this instant, by the time in the event's id.
    pub until: Option<Timestamp>,
    /// Only those whose resource id, resource name, run id or last error contains this text: literally, without regard
    /// to case in any script.
    pub text: Option<String>,
}
