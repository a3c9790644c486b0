//! Rows of the history: events and deliveries as the API shows them, and the filters over them.

use std::fmt;
use std::str::FromStr;

use tidings_domain::channel::ChannelType;
use tidings_domain::delivery::Status;
use tidings_domain::event::{Event, EventKind};
use tidings_domain::gate::GateEvaluation;
use tidings_domain::id::{ChannelId, DeliveryId, EventId, RuleId, sort_key_at, sort_key_time};
use tidings_domain::resource::ResourceType;
use tidings_domain::routing::NotRouted;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;

use crate::queue::{Attempt, Counts};

/// A page of a list, newest first.
#[derive(Debug, Clone)]
pub struct Page<T> {
    pub records: Vec<T>,
    /// Set if the search ended for lack of time before the page was full: there may be more records before it.
    pub searched_until: Option<SearchedUntil>,
}

impl<T> Page<T> {
    /// A page that was searched to its end.
    pub const fn complete(records: Vec<T>) -> Self {
        Self { records, searched_until: None }
    }
}

/// How far back a search came that ended for lack of time, as a sort key: everything at or after it was searched. As
/// text it is a cursor from which another search goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SearchedUntil(i64);

impl SearchedUntil {
    const PREFIX: &'static str = "until_";

    pub(crate) const fn of(sort_key: i64) -> Self {
        Self(sort_key)
    }

    pub(crate) const fn sort_key(self) -> i64 {
        self.0
    }

    /// The instant, in the millisecond in which the first event is that was searched.
    pub fn at(self) -> Timestamp {
        sort_key_time(self.0)
    }
}

impl From<Timestamp> for SearchedUntil {
    /// The search that found all at or after this instant.
    fn from(at: Timestamp) -> Self {
        Self(sort_key_at(at.unix_ms()))
    }
}

impl fmt::Display for SearchedUntil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:016x}", Self::PREFIX, self.0)
    }
}

/// The text is no [`SearchedUntil`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a cursor of a search that ended early")]
pub struct InvalidSearchedUntil;

impl FromStr for SearchedUntil {
    type Err = InvalidSearchedUntil;

    fn from_str(text: &str) -> Result<Self, InvalidSearchedUntil> {
        let digits = text.strip_prefix(Self::PREFIX).filter(|digits| digits.len() == 16).ok_or(InvalidSearchedUntil)?;
        // The radix parser allows a sign.
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let key = i64::from_str_radix(digits, 16).ok().filter(|_| is_hex).ok_or(InvalidSearchedUntil)?;
        Ok(Self(key))
    }
}

/// What one call of [`crate::Store::index_history`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexProgress {
    /// Blocks that were built.
    pub blocks: u32,
    /// The next call should follow at once.
    pub has_more: bool,
}

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
    /// Only those older than what a search found that ended early (pagination).
    pub searched_until: Option<SearchedUntil>,
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
    /// Only those after what a search found that ended early (pagination).
    pub searched_until: Option<SearchedUntil>,
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
