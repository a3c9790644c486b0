//! Deliveries: one notification of one event for one rule, through the rule's channel.
//!
//! ```text
//!              ┌───────── retry ─────────┐
//!              ↓                         │
//! accept ──→ pending ─claim─→ sending ─settle─→ sent | failed
//!    │         ↑ │                       └────→ suppressed (a gate refused on recheck)
//!    │         │ └─→ skipped (see SkipReason)
//!    │      release
//!    ├──→ held ┘     (a gate holds)
//!    └──→ suppressed (a gate suppresses)
//! ```

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::channel::ChannelType;
use crate::event::Event;
use crate::id::{ChannelId, RuleId};
use crate::retry::RetryPolicy;
use crate::time::Timestamp;

/// The state of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DeliveryStatus)]
pub enum Status {
    /// Waits for its first or next attempt.
    Pending,
    /// Held by a gate until it is released.
    Held,
    /// Leased to a node that is sending it.
    Sending,
    /// The receiver accepted it.
    Sent,
    /// The last attempt failed.
    Failed,
    /// A gate suppressed it.
    Suppressed,
    /// Its configuration changed before it was sent: see [`SkipReason`].
    Skipped,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::Held, Self::Sending, Self::Sent, Self::Failed, Self::Suppressed, Self::Skipped];

    /// The wire name: API and metrics.
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

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether the state is final, apart from manual resends.
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Sent | Self::Failed | Self::Suppressed | Self::Skipped)
    }

    /// Whether it can be resent manually: it was attempted, and no attempt is pending.
    pub const fn is_resendable(self) -> bool {
        matches!(self, Self::Sent | Self::Failed)
    }
}

/// Why a delivery was skipped when it became due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// The event's endpoint was deleted.
    EndpointDeleted,
    /// The rule is disabled, or was disabled after the delivery was created.
    RuleDisabled,
    RuleDeleted,
    /// The rule has another channel now.
    RuleChanged,
    ChannelDeleted,
}

impl SkipReason {
    /// The wire name: API and store.
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

/// Why a delivery was suppressed before it was sent: something newer made it outdated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutdatedReason {
    /// It was held, and a later delivery of its subject was sent through the channel meanwhile.
    Superseded,
    /// A step or reminder of an incident that was acknowledged meanwhile.
    Acknowledged,
    /// A step or reminder of an incident that was resolved meanwhile.
    IncidentOver,
}

impl OutdatedReason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Superseded, Self::Acknowledged, Self::IncidentOver];

    /// The wire name: API and store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Acknowledged => "acknowledged",
            Self::IncidentOver => "incident_over",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// For people: why there was no notification.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Superseded => "a later notification of the same endpoint or alert was sent while this one was held",
            Self::Acknowledged => "the incident was acknowledged before the delivery was sent",
            Self::IncidentOver => "the incident was resolved before the delivery was sent",
        }
    }
}

/// Why a delivery failed without a last attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUpReason {
    /// It waited for a day, only because the receiver limits the rate.
    RateLimited,
}

impl GiveUpReason {
    /// The wire name: API and store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "receiver_rate_limited",
        }
    }

    /// For people, as the delivery's last error.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::RateLimited => "it waited 24 hours because the receiver limits the rate",
        }
    }
}

/// Why an attempt was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptTrigger {
    /// A first attempt or a retry.
    Scheduled,
    /// A user requested a resend.
    Resend,
    /// A user requested a test.
    Test,
    /// A newer event of its subject waits behind it: the attempt is made before the retry is due, and uses up none.
    NewerEvent,
}

impl AttemptTrigger {
    /// The wire name: API and store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Resend => "resend",
            Self::Test => "test",
            Self::NewerEvent => "newer_event",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Scheduled, Self::Resend, Self::Test, Self::NewerEvent]
            .into_iter()
            .find(|trigger| trigger.as_str() == name)
    }
}

/// The outcome of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// A temporary failure.
    Retry {
        /// The delay that the receiver requested with `Retry-After`, in milliseconds.
        after_ms: Option<u64>,
    },
    /// A permanent failure.
    PermanentFailure,
    /// Nothing was sent, for want of capacity on this side: no attempt.
    NotStarted {
        /// When the delivery is due again, in milliseconds from now.
        after_ms: u64,
    },
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    Settled(Status),
    /// Another attempt at this instant.
    RetryAt(Timestamp),
}

/// The next step after attempt `number` (from 1). For `jitter` see [`RetryPolicy::delay_ms`].
pub fn next_step(outcome: Outcome, policy: &RetryPolicy, number: u32, jitter: f64, now: Timestamp) -> NextStep {
    match outcome {
        Outcome::Delivered => NextStep::Settled(Status::Sent),
        Outcome::PermanentFailure => NextStep::Settled(Status::Failed),
        Outcome::Retry { after_ms } => match policy.delay_ms(number, jitter, after_ms) {
            Some(delay_ms) => NextStep::RetryAt(now.plus_ms(delay_ms)),
            None => NextStep::Settled(Status::Failed),
        },
        Outcome::NotStarted { after_ms } => NextStep::RetryAt(now.plus_ms(after_ms)),
    }
}

/// Encodes everything but the unreserved characters of RFC 3986, so that parts cannot contain the separator.
const KEY_PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `resourceType:resourceId:runId:trigger:channelType:ruleId`, each part percent-encoded. A delivery without a rule has
/// the channel's id in its place: of one event, each channel gets one. (Deferred deliveries have the key of the one that
/// they replace, as they are the same notification.)
pub fn idempotency_key(
    event: &Event,
    channel_type: ChannelType,
    rule_id: Option<RuleId>,
    channel_id: Option<ChannelId>,
) -> String {
    let mut key = String::with_capacity(160);
    let channel_id = || channel_id.map(|id| id.to_string());
    let owner = rule_id.map(|id| id.to_string()).or_else(channel_id).unwrap_or_default();
    let trigger = event.trigger.wire_name();
    let parts =
        [event.resource_type.as_str(), &event.resource_id, &event.run_id, &*trigger, channel_type.as_str(), &owner];
    for (index, part) in parts.into_iter().enumerate() {
        let separator = if index == 0 { "" } else { ":" };
        let _ = write!(key, "{separator}{}", utf8_percent_encode(part, KEY_PART));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::event::tests::failed_flow;
    use crate::id::Id;
    use crate::incident::IncidentTrigger;
    use crate::resource::ResourceType;
    use crate::trigger::Trigger;

    #[test]
    fn wire_names_round_trip() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
    }

    #[test]
    fn next_step_follows_outcome_and_policy() {
        let (policy, now) = (RetryPolicy::default_for(ResourceType::Flow), Timestamp::from_unix_ms(1_000));
        let retry = Outcome::Retry { after_ms: None };
        assert_eq!(next_step(Outcome::Delivered, &policy, 1, 0.0, now), NextStep::Settled(Status::Sent));
        assert_eq!(next_step(Outcome::PermanentFailure, &policy, 1, 0.0, now), NextStep::Settled(Status::Failed));
        assert_eq!(next_step(retry, &policy, 1, 0.0, now), NextStep::RetryAt(Timestamp::from_unix_ms(16_000)));
        assert_eq!(next_step(retry, &policy, 6, 0.0, now), NextStep::Settled(Status::Failed));
        assert_eq!(
            next_step(Outcome::Retry { after_ms: Some(90_000) }, &policy, 1, 0.0, now),
            NextStep::RetryAt(Timestamp::from_unix_ms(91_000))
        );
    }

    #[test]
    fn idempotency_key_escapes_its_separator() {
        let mut event = failed_flow();
        event.resource_id = "a:b/c d".into();
        let key = idempotency_key(&event, ChannelType::Webhook, Some(RuleId::from_bytes([3; 16])), None);
        assert_eq!(key, "flow:a%3Ab%2Fc%20d:01HX:failure:webhook:rule_03030303030303030303030303030303");
        let channel = Some(ChannelId::from_bytes([4; 16]));
        let key = idempotency_key(&event, ChannelType::Webhook, None, channel);
        assert_eq!(key, "flow:a%3Ab%2Fc%20d:01HX:failure:webhook:ch_04040404040404040404040404040404");
    }

    /// Everything that distinguishes two deliveries, but for their sequence.
    type Identity = (ResourceType, String, String, Trigger, ChannelType, Option<RuleId>, ChannelId);

    fn identities() -> impl Strategy<Value = Identity> {
        // Few values, of which many look like a separator or an escape, so that pairs often differ in one part only.
        let id = || "[a:%3A]{0,4}";
        let trigger = prop_oneof![
            proptest::sample::select(Trigger::OF_RUNS.to_vec()),
            (1..3_u32).prop_map(|after_seconds| Trigger::Incident(IncidentTrigger::Escalated { after_seconds })),
            (1..3_u32).prop_map(|number| Trigger::Incident(IncidentTrigger::Reminder { number })),
            Just(Trigger::Incident(IncidentTrigger::Resolved)),
        ];
        let rule_id = proptest::option::of((1..4_u8).prop_map(|byte| RuleId::from_bytes([byte; 16])));
        let channel_id = (1..4_u8).prop_map(|byte| ChannelId::from_bytes([byte; 16]));
        let resource_type = proptest::sample::select(ResourceType::ALL.to_vec());
        let channel_type = proptest::sample::select(ChannelType::ALL.to_vec());
        (resource_type, id(), id(), trigger, channel_type, rule_id, channel_id)
    }

    proptest! {
        #[test]
        fn idempotency_keys_of_different_deliveries_differ(one in identities(), other in identities()) {
            let key_of = |identity: &Identity| {
                let (resource_type, resource_id, run_id, trigger, channel_type, rule_id, channel_id) = identity.clone();
                let mut event = failed_flow();
                (event.resource_type, event.resource_id) = (resource_type, resource_id);
                (event.run_id, event.trigger) = (run_id, trigger);
                idempotency_key(&event, channel_type, rule_id, Some(channel_id))
            };
            // The channel of a rule is not part of the key.
            let same = |(a, b, c, d, e, rule, channel): &Identity| {
                (*a, b.clone(), c.clone(), *d, *e, *rule, rule.is_none().then_some(*channel))
            };
            prop_assert_eq!(key_of(&one) == key_of(&other), same(&one) == same(&other));
        }
    }
}
