//! Rows of the way of an event: what is accepted, claimed and settled.

use std::sync::Arc;

use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::{AttemptTrigger, SkipReason, Status};
use tidings_domain::event::Event;
use tidings_domain::gate::Walk;
use tidings_domain::id::{ChannelId, DeliveryId, EventId, RuleId, WorkspaceId};
use tidings_domain::routing::NotRouted;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;

/// An event on its way in, with all that follows from it. It is told again if workspace, resource type, resource id,
/// run id and trigger are those of one before.
#[derive(Debug, Clone)]
pub struct Incoming {
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
    /// The rule that speaks.
    pub rule_id: RuleId,
    /// The rule's generation.
    pub rule_generation: u32,
    /// The channel it speaks through.
    pub channel_id: ChannelId,
    /// What kind that is.
    pub channel_type: ChannelType,
    /// How bad the event is to the rule.
    pub severity: Severity,
    /// How it begins.
    pub start: Start,
    /// The walk through the gates that decided so.
    pub walk: Walk,
}

/// How a delivery begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Leased to the node that accepted it, which sends it as soon as it is committed.
    Leased(Lease),
    /// Due now, for whoever claims it.
    Due,
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
pub struct Held {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// The node.
    pub owner: i64,
}

impl Claimed {
    /// The lease under which it is sent.
    pub fn held(&self) -> Held {
        Held { workspace_id: self.event.workspace_id, delivery_id: self.id, owner: self.lease.owner }
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acceptance {
    /// The event, or the one that was told first.
    pub event_id: EventId,
    /// Whether it was told before.
    pub duplicate: bool,
    /// How many deliveries it began with, the first time.
    pub counts: Counts,
}

/// A delivery taken up to be sent.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Its id.
    pub id: DeliveryId,
    /// Its event.
    pub event: Arc<Event>,
    /// The rule that speaks.
    pub rule_id: RuleId,
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
    pub carry: Option<String>,
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
    pub carry: Option<String>,
}

/// The state that a settlement leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextState {
    /// Tried again at this instant.
    RetryAt(Timestamp),
    /// Sent or failed.
    Done(Status),
    /// A gate closed while it waited.
    Suppressed(Walk),
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
