//! Rows of the queue: events and deliveries as they are accepted, claimed, settled, held and released.

use std::sync::Arc;

use tidings_domain::calendar::Zone;
use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::{AttemptTrigger, GiveUpReason, OutdatedReason, SkipReason, Status};
use tidings_domain::event::Event;
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{ChannelId, DeliveryId, EventId, IncidentId, RuleId, WorkspaceId};
use tidings_domain::rate_limit::RateLimit;
use tidings_domain::routing::NotRouted;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

/// An event to accept. Its idempotency key is workspace, resource type, resource id, run id and trigger.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub event: Arc<Event>,
    /// A hash of what a caller sent, by which a repetition with another body is noticed. `None` where there is none.
    pub fingerprint: Option<i64>,
    /// The rules of its resource that did not match it.
    pub not_routed: Vec<NotRouted>,
    pub deliveries: Vec<NewDelivery>,
}

/// A delivery to accept.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    pub id: DeliveryId,
    /// The rule that it notifies for. `None` for a digest, and for an escalation step through a channel without a rule.
    pub rule_id: Option<RuleId>,
    /// The rule's generation when it matched, by which a later change of the rule is noticed; 0 without a rule.
    pub rule_generation: u32,
    pub channel_id: ChannelId,
    pub channel_type: ChannelType,
    /// The event's severity according to the rule.
    pub severity: Severity,
    /// The requested initial state. The transaction may change it, because of `rate_limit`, or because an earlier delivery
    /// of the same subject through the channel is in progress: this one is not attempted before that one, or the digest
    /// that it is a member of, is settled. A delivery that is held without a digest blocks nothing.
    pub initial_state: InitialState,
    /// The gate evaluation that led to `start`.
    pub evaluation: GateEvaluation,
    /// The channel's rate limit, to be applied within the transaction: a refusal turns [`InitialState::Leased`] and
    /// [`InitialState::Due`] into held or suppressed.
    pub rate_limit: Option<RateLimitRequest>,
    /// Its position among the notifications of this event for this rule, from 1. Later ones are deferred openings.
    pub sequence: u32,
    /// The suppressed delivery that this deferred opening replaces.
    pub replaces_id: Option<DeliveryId>,
}

/// A channel's rate limit, as the transaction that counts it needs it. It counts first attempts. As long as a delivery
/// is held by the limit, later ones are held, too, so that none overtakes it.
#[derive(Debug, Clone)]
pub struct RateLimitRequest {
    pub limit: RateLimit,
    /// For the text of a refusal.
    pub channel_name: String,
    /// The workspace's time zone, for the text of a refusal.
    pub zone: Zone,
}

/// The state in which a delivery is inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitialState {
    /// Leased to the accepting node, which sends it directly after the commit.
    Leased(Lease),
    /// Due now, for any node to claim.
    Due,
    /// Held by a gate, until the instant in its evaluation.
    Held,
    /// Suppressed by a gate.
    Suppressed,
}

/// The exclusive right to send a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The owning node, by the number it drew when it started.
    pub owner: i64,
    /// When it expires.
    pub until: Timestamp,
}

/// Identifies a lease on a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseRef {
    pub workspace_id: WorkspaceId,
    pub delivery_id: DeliveryId,
    pub owner: i64,
    /// When the delivery became due; it is due since then if the lease is returned.
    pub due_at: Timestamp,
}

/// The deliveries of an event by initial status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Leased, due or blocked by another delivery.
    pub pending: u32,
    pub held: u32,
    pub suppressed: u32,
}

/// The answer to an accepted event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// The event's id; of a duplicate that of the first event.
    pub event_id: EventId,
    pub duplicate: bool,
    /// Whether a duplicate has another fingerprint than the first event.
    pub differs: bool,
    /// Its deliveries when it was first accepted.
    pub counts: Counts,
    /// The deliveries that did not get the initial state that was requested, and that the caller must not send: refused
    /// by the rate limit, blocked by another delivery, or (deferred openings) inserted before.
    pub not_leased: Vec<DeliveryId>,
    /// Deliveries that wait for a retry and are attempted earlier, because one of this event waits behind them.
    pub expedited: Vec<(ChannelId, Timestamp)>,
}

/// A delivery leased to be sent.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub id: DeliveryId,
    pub event: Arc<Event>,
    /// See [`NewDelivery::rule_id`].
    pub rule_id: Option<RuleId>,
    /// The rule's generation when the delivery was created or resent.
    pub rule_generation: u32,
    pub channel_id: ChannelId,
    pub channel_type: ChannelType,
    /// The event's severity according to the rule.
    pub severity: Severity,
    /// When it became due, or its last lease expired.
    pub due_at: Timestamp,
    /// Attempts made so far.
    pub attempt_count: u32,
    /// How many of them preceded the last resend by hand; the retry policy ignores those.
    pub attempt_base: u32,
    /// Why the next attempt is made.
    pub attempt_trigger: AttemptTrigger,
    /// What the channel stored with the last attempt for the next.
    pub attempt_state: Option<String>,
    pub lease: Lease,
}

impl Claimed {
    /// The lease under which it is sent.
    pub fn lease_ref(&self) -> LeaseRef {
        LeaseRef {
            workspace_id: self.event.workspace_id,
            delivery_id: self.id,
            owner: self.lease.owner,
            due_at: self.due_at,
        }
    }
}

/// An attempt to send a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Counts from 1.
    pub number: u32,
    /// Why it was made.
    pub trigger: AttemptTrigger,
    pub started_at: Timestamp,
    pub duration_ms: u32,
    pub http_status: Option<u16>,
    /// The class of the failure, such as `timeout`.
    pub error_class: Option<String>,
    /// The failure, for people.
    pub error: Option<String>,
    /// Headers of the receiver's response: lines `name: value`, bounded and without secrets.
    pub response_headers: Option<String>,
    /// An excerpt of the receiver's response.
    pub response_body: Option<String>,
    /// The revision of the channel with which it was made; `None` if it is unknown.
    pub channel_revision: Option<u32>,
    /// Something worth knowing, whatever the outcome.
    pub note: Option<String>,
}

/// The result of processing a leased delivery.
#[derive(Debug, Clone)]
pub struct Settlement {
    pub workspace_id: WorkspaceId,
    pub delivery_id: DeliveryId,
    /// The lease's owner. If the row has another, the settlement is [`Settled::Stale`].
    pub owner: i64,
    /// The attempt count when the delivery was claimed. If the row has another, the settlement is [`Settled::Stale`].
    pub attempt_count: u32,
    pub now: Timestamp,
    /// The attempt, if one was made.
    pub attempt: Option<Attempt>,
    pub next: NextState,
    /// What the channel stores for the next attempt.
    pub attempt_state: Option<String>,
    /// The instant before which the receiver wants no retry, not even an expedited one.
    pub not_before: Option<Timestamp>,
    pub follow_ups: FollowUps,
}

/// What else must be updated when a delivery is settled. The caller knows it, so that the common case needs no query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowUps {
    /// Nothing.
    None,
    /// It notifies of this incident: the incident counts sent notifications, and the delivery may block others.
    Incident(IncidentId),
    /// It is a digest: its members are settled with it, and it may block others.
    Digest,
}

/// The state that a settlement leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextState {
    /// Pending, due at this instant. After an expedited attempt ([`AttemptTrigger::NewerEvent`]) due when the retry was
    /// that it preceded, if that is later.
    RetryAt(Timestamp),
    /// Sent or failed.
    Done(Status),
    /// Suppressed: a gate closed while it waited.
    Suppressed(GateEvaluation),
    /// Held, until the instant in the evaluation: a gate closed while it waited. A digest is suppressed instead and its
    /// members are held again, so that the digest that carries them later shows the state of then.
    Held(GateEvaluation),
    /// Skipped: its rule or channel changed while it waited.
    Skipped(SkipReason),
    /// Failed without another attempt.
    GivenUp(GiveUpReason),
    /// Suppressed, but not by a gate.
    Outdated(OutdatedReason),
}

/// Whether a settlement was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It was written.
    Written,
    /// Nothing was written: the lease passed to another owner, or the delivery no longer exists.
    Stale,
}

/// When a channel next needs attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub workspace_id: WorkspaceId,
    pub channel_id: ChannelId,
    /// When its next delivery is due or its next lease expires; of [`crate::Store::next_releases`], when its next held
    /// delivery may be released.
    pub at: Timestamp,
}

/// A delivery that a gate holds.
#[derive(Debug, Clone)]
pub struct HeldDelivery {
    pub id: DeliveryId,
    pub event: Arc<Event>,
    /// See [`NewDelivery::rule_id`].
    pub rule_id: Option<RuleId>,
    /// The rule's generation when the delivery was created.
    pub rule_generation: u32,
    /// The event's severity according to the rule.
    pub severity: Severity,
    /// The evaluation that holds it.
    pub evaluation: GateEvaluation,
}

/// What becomes of held deliveries of a channel, after their gates were evaluated again.
#[derive(Debug, Clone)]
pub struct ReleaseBatch {
    pub workspace_id: WorkspaceId,
    pub channel_id: ChannelId,
    pub now: Timestamp,
    /// Deliveries that are not sent now: suppressed, skipped or held again ([`NextState::Suppressed`],
    /// [`NextState::Skipped`], [`NextState::Held`]).
    pub not_sent: Vec<(DeliveryId, NextState)>,
    /// Deliveries released one by one, in this order, until the rate limit refuses one; that one and the rest stay
    /// held. One is suppressed instead ([`OutdatedReason::Superseded`]) if a later delivery of its subject was sent.
    pub individual: Vec<DeliveryId>,
    /// Deliveries released together.
    pub digest: Option<NewDigest>,
    /// The channel's rate limit, applied once for each of `individual` and once for the digest.
    pub rate_limit: Option<RateLimitRequest>,
}

/// A digest to create: an event with one delivery that is sent in place of its members.
#[derive(Debug, Clone)]
pub struct NewDigest {
    /// The event with its one delivery, which begins [`InitialState::Due`].
    pub new_event: NewEvent,
    /// The members: they stay held and are settled with the digest. A digest cannot be a member.
    pub members: Vec<DeliveryId>,
}

/// The result of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReleaseOutcome {
    /// Deliveries that are now pending (due, or blocked by an earlier one), including the digest itself.
    pub due: u32,
    /// Members of the digest.
    pub members: u32,
    /// Deliveries that the rate limit refused and that stay held.
    pub held: u32,
}

/// A resend by hand.
#[derive(Debug, Clone, Copy)]
pub struct Resend {
    pub workspace_id: WorkspaceId,
    pub delivery_id: DeliveryId,
    /// The current generation of its rule.
    pub rule_generation: u32,
    pub now: Timestamp,
}

/// A completed test of a channel.
#[derive(Debug, Clone)]
pub struct TestRecord {
    /// The sample event that was sent.
    pub event: Arc<Event>,
    pub delivery_id: DeliveryId,
    /// The tested rule; `None` if the channel itself was tested.
    pub rule_id: Option<RuleId>,
    pub channel_id: ChannelId,
    pub channel_type: ChannelType,
    /// The only attempt.
    pub attempt: Attempt,
    /// Sent or failed.
    pub status: Status,
}
