//! The delivery: one sequence to tell one rule of one event, and the states it goes through.
//!
//! ```text
//!            ┌──────────── retry ────────────┐
//! pending ─claim→ sending ─settle→ sent | failed | pending
//!    └─ rule gone → skipped     └─ a gate closed meanwhile → suppressed
//! ```

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::channel::ChannelType;
use crate::event::Event;
use crate::id::RuleId;
use crate::retry::RetryPolicy;
use crate::time::Timestamp;

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Waits for its first or next attempt.
    Pending,
    /// Held back by a gate until later.
    Held,
    /// Leased to a node that is sending it.
    Sending,
    /// The receiver took it.
    Sent,
    /// The last attempt failed.
    Failed,
    /// A gate stopped it.
    Suppressed,
    /// Its rule was disabled or deleted while it waited.
    Skipped,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::Held, Self::Sending, Self::Sent, Self::Failed, Self::Suppressed, Self::Skipped];

    /// The word for it in the API and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Held => "held",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Suppressed => "suppressed",
            Self::Skipped => "skipped",
        }
    }

    /// The status that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether nothing more will happen to it by itself.
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Sent | Self::Failed | Self::Suppressed | Self::Skipped)
    }

    /// Whether it may be resent by hand: it was tried, and nothing is under way.
    pub const fn is_resendable(self) -> bool {
        matches!(self, Self::Sent | Self::Failed)
    }
}

/// Why a delivery was skipped when it came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// The endpoint that it tells of is gone.
    EndpointDeleted,

    /// Its rule is disabled, or was since it was made.
    RuleDisabled,
    /// Its rule is gone.
    RuleDeleted,
    /// Its rule speaks through another channel now.
    RuleChanged,
    /// Its channel is gone.
    ChannelDeleted,
}

impl SkipReason {
    /// The reason id: column and API value alike.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RuleDisabled => "rule_disabled",
            Self::RuleDeleted => "rule_deleted",
            Self::RuleChanged => "rule_changed",
            Self::ChannelDeleted => "channel_deleted",
            Self::EndpointDeleted => "endpoint_deleted",
        }
    }
}

/// Why an attempt was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptTrigger {
    /// By the engine, the first time or as a retry.
    Scheduled,
    /// Somebody asked for it to be sent again.
    Resend,
    /// Somebody asked for a test.
    Test,
}

impl AttemptTrigger {
    /// The word for it in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Resend => "resend",
            Self::Test => "test",
        }
    }

    /// The trigger that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Scheduled, Self::Resend, Self::Test].into_iter().find(|trigger| trigger.as_str() == word)
    }
}

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver took it.
    Delivered,
    /// It did not, but may later.
    Retry {
        /// Milliseconds that the receiver asked to be left alone, from `Retry-After`.
        after_ms: Option<u64>,
    },
    /// It never will.
    Dead,
}

/// What becomes of a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// It is settled.
    Settled(Status),
    /// It is tried again at this instant.
    RetryAt(Timestamp),
}

/// What follows from the policy's attempt `number` (from 1). `jitter` in −1..=1, see [`RetryPolicy::delay_ms`].
pub fn next_step(outcome: Outcome, policy: &RetryPolicy, number: u32, jitter: f64, now: Timestamp) -> NextStep {
    match outcome {
        Outcome::Delivered => NextStep::Settled(Status::Sent),
        Outcome::Dead => NextStep::Settled(Status::Failed),
        Outcome::Retry { after_ms } => match policy.delay_ms(number, jitter, after_ms) {
            Some(delay_ms) => NextStep::RetryAt(now.plus_ms(delay_ms)),
            None => NextStep::Settled(Status::Failed),
        },
    }
}

/// Unreserved characters of RFC 3986 stay as they are.
const KEY_PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `resourceType:resourceId:runId:trigger:channelType:ruleId`, each part percent-encoded.
pub fn idempotency_key(event: &Event, channel_type: ChannelType, rule_id: Option<RuleId>) -> String {
    let mut key = String::with_capacity(160);
    let rule_id = rule_id.map_or_else(String::new, |id| id.to_string());
    let trigger = event.trigger.word();
    let parts =
        [event.resource_type.as_str(), &event.resource_id, &event.run_id, &*trigger, channel_type.as_str(), &rule_id];
    for (index, part) in parts.into_iter().enumerate() {
        let separator = if index == 0 { "" } else { ":" };
        let _ = write!(key, "{separator}{}", utf8_percent_encode(part, KEY_PART));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::failed_flow;
    use crate::id::Id;
    use crate::resource::ResourceType;

    #[test]
    fn words_read_back() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
    }

    #[test]
    fn what_follows_an_attempt() {
        let (policy, now) = (RetryPolicy::of(ResourceType::Flow), Timestamp::from_unix_ms(1_000));
        let retry = Outcome::Retry { after_ms: None };
        assert_eq!(next_step(Outcome::Delivered, &policy, 1, 0.0, now), NextStep::Settled(Status::Sent));
        assert_eq!(next_step(Outcome::Dead, &policy, 1, 0.0, now), NextStep::Settled(Status::Failed));
        assert_eq!(next_step(retry, &policy, 1, 0.0, now), NextStep::RetryAt(Timestamp::from_unix_ms(16_000)));
        assert_eq!(next_step(retry, &policy, 6, 0.0, now), NextStep::Settled(Status::Failed));
        assert_eq!(
            next_step(Outcome::Retry { after_ms: Some(90_000) }, &policy, 1, 0.0, now),
            NextStep::RetryAt(Timestamp::from_unix_ms(91_000))
        );
    }

    #[test]
    fn key_parts_cannot_run_into_each_other() {
        let mut event = failed_flow();
        event.resource_id = "a:b/c d".into();
        let key = idempotency_key(&event, ChannelType::Webhook, Some(RuleId::from_bytes([3; 16])));
        assert_eq!(key, "flow:a%3Ab%2Fc%20d:01HX:failure:webhook:rule_03030303030303030303030303030303");
    }
}
