//! Rows of the way of an event: what is accepted, claimed and settled.

use std::sync::Arc;

use tidings_domain::calendar::Zone;
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::{AttemptTrigger, SkipReason, Status};
use tidings_domain::event::Event;
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{ChannelId, DeliveryId, EventId, IncidentId, RuleId, WorkspaceId};
use tidings_domain::rate_limit::RateLimit;
use tidings_domain::routing::NotRouted;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

/// An event on its way in, with all that follows from it. It is told again if workspace, resource type, resource id,
/// run id and trigger are those of one before.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The event.
    pub event: Arc<Event>,
    /// The rules passed over.
    pub not_routed: Vec<NotRouted>,
    /// Its deliveries.
    pub deliveries: Vec<NewDelivery>,
}

/// A delivery on its way in.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// The rule that speaks; none for a digest, and for a step of an escalation through a channel that has no rule.
    pub rule_id: Option<RuleId>,
    /// The rule's generation; 0 without a rule.
    pub rule_generation: u32,
    /// The channel it speaks through.
    pub channel_id: ChannelId,
    /// What kind that is.
    pub channel_type: ChannelType,
    /// How bad the event is to the rule.
    pub severity: Severity,
    /// How it begins, as far as it could be told before the commit.
    pub start: InitialState,
    /// The evaluation through the gates that decided so.
    pub evaluation: GateEvaluation,
    /// What the channel's rate limit is asked with, within the commit: [`InitialState::Leased`] and [`InitialState::Due`] become held
    /// or suppressed if it refuses.
    pub rate_limit: Option<RateLimitRequest>,
    /// A delivery of the same channel and incident that must be settled before this one is tried, if it is under way by
    /// itself or in a digest. What is held back otherwise is not waited for.
    pub blocked_by: Option<DeliveryId>,
    /// Which telling of this event to this rule it is, from 1: later ones are openings said late.
    pub sequence: u32,
    /// The suppressed delivery in whose place it is said late.
    pub replaces_id: Option<DeliveryId>,
}

/// What a channel's rate limit is asked with: the limit counts first attempts in the transaction that accepts them.
/// While something that the limit held back still waits, nothing overtakes it.
#[derive(Debug, Clone)]
pub struct RateLimitRequest {
    /// The limit.
    pub limit: RateLimit,
    /// The channel's name, for the words of a refusal.
    pub channel_name: String,
    /// The zone in which the workspace says times.
    pub zone: Zone,
}

/// How a delivery begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialState {
    /// Leased to the node that accepted it, which sends it as soon as it is committed.
    Leased(Lease),
    /// Due now, for whoever claims it.
    Due,
    /// Held back by a gate, until the instant that its evaluation names.
    Held,
    /// Stopped by a gate.
    Suppressed,
}

/// Who may send, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The node, by the number it drew when it started.
    pub owner: i64,
    /// When the lease ends.
    pub until: Timestamp,
}

/// A lease that a node has on a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseRef {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// The node.
    pub owner: i64,
}

impl Claimed {
    /// The lease under which it is sent.
    pub fn lease_ref(&self) -> LeaseRef {
        LeaseRef { workspace_id: self.event.workspace_id, delivery_id: self.id, owner: self.lease.owner }
    }
}

/// How many deliveries an event began with, by where they stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// To be sent.
    pub pending: u32,
    /// Held back until later.
    pub held: u32,
    /// Stopped by a gate.
    pub suppressed: u32,
}

/// The answer to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// The event, or the one that was told first.
    pub event_id: EventId,
    /// Whether it was told before.
    pub duplicate: bool,
    /// How many deliveries it began with, the first time.
    pub counts: Counts,
    /// Those of its deliveries that began otherwise than was asked for: the rate limit refused them, they wait for
    /// another, or (of what is said late) they were there already. They are not the caller's to send.
    pub not_leased: Vec<DeliveryId>,
}

/// A delivery taken up to be sent.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Its id.
    pub id: DeliveryId,
    /// Its event.
    pub event: Arc<Event>,
    /// The rule that speaks; see [`NewDelivery::rule_id`].
    pub rule_id: Option<RuleId>,
    /// The rule's generation when the delivery was made (or resent).
    pub rule_generation: u32,
    /// The channel it speaks through.
    pub channel_id: ChannelId,
    /// What kind that is.
    pub channel_type: ChannelType,
    /// How bad the event is to the rule.
    pub severity: Severity,
    /// How many attempts were made before.
    pub attempt_count: u32,
    /// How many of them the retry policy no longer counts, because it was resent by hand since.
    pub attempt_base: u32,
    /// Why the next attempt is made.
    pub attempt_trigger: AttemptTrigger,
    /// What the last attempt left for the next.
    pub attempt_state: Option<String>,
    /// The delivery that had to be settled first, if there was one.
    pub blocked_by: Option<DeliveryId>,
    /// The lease under which it is sent.
    pub lease: Lease,
}

/// An attempt that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// Why it was made.
    pub trigger: AttemptTrigger,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// The status code that came, if one came.
    pub http_status: Option<u16>,
    /// The class of the failure.
    pub error_class: Option<String>,
    /// The failure in words.
    pub error: Option<String>,
    /// An excerpt of what the receiver answered.
    pub response_body: Option<String>,
}

/// What becomes of a delivery under a lease.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Whose lease it is; another's is [`Settled::Stale`].
    pub owner: i64,
    /// How many attempts had been made when it was claimed; another number is [`Settled::Stale`].
    pub attempt_count: u32,
    /// When.
    pub now: Timestamp,
    /// The attempt that was made, if one was.
    pub attempt: Option<Attempt>,
    /// What becomes of it.
    pub next: NextState,
    /// What the next attempt needs to know.
    pub attempt_state: Option<String>,
    /// What else its end concerns.
    pub follow_ups: FollowUps,
}

/// What else the end of a delivery concerns: looked up only where there is something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowUps {
    /// Nothing.
    None,
    /// It tells of this incident: the incident counts what was sent, and what waits for this delivery is due.
    Incident(IncidentId),
    /// It is a digest: what it carries settles with it.
    Digest,
}

/// The state that a settlement leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextState {
    /// Tried again at this instant.
    RetryAt(Timestamp),
    /// Sent or failed.
    Done(Status),
    /// A gate closed while it waited.
    Suppressed(GateEvaluation),
    /// A gate closed while it waited, until the instant that the evaluation names.
    Held(GateEvaluation),
    /// What it was made for changed while it waited.
    Skipped(SkipReason),
}

/// Whether a settlement counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It was written.
    Written,
    /// The lease had passed to somebody else, or the delivery is gone: nothing was written.
    Stale,
}

/// When a channel's next delivery is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The channel.
    pub channel_id: ChannelId,
    /// When its next one is due, or its next lease ends.
    pub at: Timestamp,
}

/// A delivery that a gate holds back.
#[derive(Debug, Clone)]
pub struct HeldDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// Its event.
    pub event: Arc<Event>,
    /// The rule that speaks.
    pub rule_id: Option<RuleId>,
    /// The rule's generation when the delivery was made.
    pub rule_generation: u32,
    /// How bad the event is to the rule.
    pub severity: Severity,
    /// The evaluation that held it back.
    pub evaluation: GateEvaluation,
}

/// What becomes of what was held back for a channel, decided anew.
#[derive(Debug, Clone)]
pub struct ReleaseBatch {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The channel.
    pub channel_id: ChannelId,
    /// When.
    pub now: Timestamp,
    /// Those that are not said now: suppressed, skipped or held once more ([`NextState::Suppressed`],
    /// [`NextState::Skipped`], [`NextState::Held`]).
    pub stopped: Vec<(DeliveryId, NextState)>,
    /// Those that are sent each by itself, in this order, as far as the channel's rate limit admits them; the others stay
    /// held until there is room.
    pub individual: Vec<DeliveryId>,
    /// Those that leave together.
    pub digest: Option<NewDigest>,
    /// What the channel's rate limit is asked with, for each of the singles and once for the digest.
    pub rate_limit: Option<RateLimitRequest>,
}

/// A digest to be made: an event of its own with one delivery, and what that carries.
#[derive(Debug, Clone)]
pub struct NewDigest {
    /// The event and its delivery ([`InitialState::Due`]).
    pub new_event: NewEvent,
    /// The deliveries that settle with it, still held until then. No digests.
    pub carried: Vec<DeliveryId>,
}

/// What came of letting go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReleaseOutcome {
    /// Deliveries that are due now, or when what goes before them is settled; the digest's own included.
    pub due: u32,
    /// Deliveries that the digest carries.
    pub carried: u32,
    /// Deliveries that are still held, those that the rate limit did not admit.
    pub held: u32,
}

/// A delivery to be sent again by hand.
#[derive(Debug, Clone, Copy)]
pub struct Resend {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The delivery; [`crate::StoreError::Conflict`] unless it was sent or failed and is no test.
    pub delivery_id: DeliveryId,
    /// The generation of its rule now.
    pub rule_generation: u32,
    /// When.
    pub now: Timestamp,
}

/// A test of a channel that was made.
#[derive(Debug, Clone)]
pub struct TestRecord {
    /// The sample event that was sent.
    pub event: Arc<Event>,
    /// The delivery's id.
    pub delivery_id: DeliveryId,
    /// The rule that was tested; none for a channel's own test.
    pub rule_id: Option<RuleId>,
    /// The channel.
    pub channel_id: ChannelId,
    /// What kind it is.
    pub channel_type: ChannelType,
    /// The one attempt.
    pub attempt: Attempt,
    /// Sent or failed.
    pub status: Status,
}
