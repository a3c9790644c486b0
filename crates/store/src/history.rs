//! Rows of the log: events and deliveries as they are shown, and the filters over them.

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

/// An event as it is shown.
#[derive(Debug, Clone)]
pub struct EventRecord {
    /// The event.
    pub event: Event,
    /// The rules passed over.
    pub not_routed: Vec<NotRouted>,
    /// How many deliveries it began with.
    pub counts: Counts,
}

/// Which events to list.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only those older than this one.
    pub before: Option<EventId>,
    /// At most so many.
    pub limit: u32,
    /// Only those of runs, not tests.
    pub runs_only: bool,
    /// Only this kind.
    pub kind: Option<EventKind>,
    /// Only about this type of resource.
    pub resource_type: Option<ResourceType>,
    /// Only about this resource.
    pub resource_id: Option<String>,
    /// Only runs that ended so.
    pub trigger: Option<Trigger>,
}

/// A delivery as it is shown.
#[derive(Debug, Clone)]
pub struct DeliveryRecord {
    /// Its id.
    pub id: DeliveryId,
    /// Its event.
    pub event: Event,
    /// The rule that speaks; none for a channel's own test.
    pub rule_id: Option<RuleId>,
    /// The channel.
    pub channel_id: ChannelId,
    /// What kind it is.
    pub channel_type: ChannelType,
    /// How bad the event is to the rule.
    pub severity: Severity,
    /// Where it stands.
    pub status: Status,
    /// The gate that stopped it or holds it back, or why it was skipped.
    pub reason: Option<String>,
    /// Until when it is held back, while it is.
    pub held_until: Option<Timestamp>,
    /// Which telling of the event to its rule it is, from 1.
    pub sequence: u32,
    /// The suppressed delivery in whose place it was said late.
    pub replaces_id: Option<DeliveryId>,
    /// The digest that carries it.
    pub digest_id: Option<DeliveryId>,
    /// The delivery that has to be settled first, or had to.
    pub blocked_by: Option<DeliveryId>,
    /// The walks through the gates, oldest first.
    pub gate_evaluations: Vec<GateEvaluation>,
    /// How many attempts were made.
    pub attempt_count: u32,
    /// The attempts, oldest first, if they were asked for.
    pub attempts: Vec<Attempt>,
    /// The last status code.
    pub http_status: Option<u16>,
    /// The last failure in words.
    pub last_error: Option<String>,
    /// When it is tried next, while it waits.
    pub next_attempt_at: Option<Timestamp>,
    /// When the receiver took it.
    pub sent_at: Option<Timestamp>,
    /// When it was settled.
    pub completed_at: Option<Timestamp>,
}

/// Which deliveries to list.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// Only those that come after this one in the list.
    pub before: Option<DeliveryId>,
    /// At most so many.
    pub limit: u32,
    /// With their attempts.
    pub with_attempts: bool,
    /// Only those of runs, not tests.
    pub runs_only: bool,
    /// Only of this event.
    pub event_id: Option<EventId>,
    /// Only of this rule.
    pub rule_id: Option<RuleId>,
    /// Only through this channel.
    pub channel_id: Option<ChannelId>,
    /// Only about this type of resource.
    pub resource_type: Option<ResourceType>,
    /// Only about this resource.
    pub resource_id: Option<String>,
    /// Only those that stand so.
    pub status: Option<Status>,
    /// Only those stopped for this reason.
    pub reason: Option<String>,
    /// Only of this kind of event.
    pub kind: Option<EventKind>,
    /// Only of events of this run or incident, as long as they would be recognised if they were told again.
    pub run_id: Option<String>,
    /// Only those that this digest carries.
    pub digest_id: Option<DeliveryId>,
    /// Only those of events told at or after this instant, as their ids say.
    pub since: Option<Timestamp>,
    /// Only those of events told before this instant, as their ids say.
    pub until: Option<Timestamp>,
    /// Only those whose resource id or name, run id or last error holds this text, each character taken literally and
    /// whatever its case, in every script.
    pub text: Option<String>,
}
