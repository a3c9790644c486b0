//! Channels: a destination with delivery policies, shared by any number of rules.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::id::{ChannelId, RuleId, WorkspaceId};
use crate::quiet_hours::QuietHours;
use crate::rate_limit::RateLimit;
use crate::retry::{RETRY_DELAY_SECONDS_MAX, RETRY_DELAYS_MAX, RetryPolicy};
use crate::severity::SeverityFilter;
use crate::time::Timestamp;
use crate::violation::{Violation, Violations};

/// The type of a channel's destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelType {
    /// Mail over SMTP.
    Email,
    /// A signed HTTP request.
    Webhook,
    Slack,
    Discord,
}

impl ChannelType {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::Email, Self::Webhook, Self::Slack, Self::Discord];

    /// The wire name: API, store and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Discord => "discord",
        }
    }

    /// Attempts of one channel that may be in progress at once, if the receivers of this type are known to want few.
    ///
    /// Discord takes 5 messages in 2 seconds through a webhook, Slack about one a second in short bursts; mail servers
    /// bound the connections of a client. More at once would only be refused.
    pub const fn attempts_max(self) -> Option<usize> {
        match self {
            Self::Email | Self::Slack | Self::Discord => Some(4),
            Self::Webhook => None,
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Which classes of incident events a channel accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventFilters {
    /// Openings, reminders and flapping.
    #[serde(default = "yes")]
    pub send_open: bool,
    /// Resolutions, and the end of flapping.
    #[serde(default = "yes")]
    pub send_resolved: bool,
    /// Escalations, and incidents that worsened.
    #[serde(default = "yes")]
    pub send_escalated: bool,
}

const fn yes() -> bool {
    true
}

impl Default for EventFilters {
    fn default() -> Self {
        Self { send_open: true, send_resolved: true, send_escalated: true }
    }
}

/// Whether a channel is exempt from cooldowns and rate limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryPriority {
    #[default]
    Standard,
    /// Exempt from cooldowns and from the channel's rate limit.
    Critical,
}

impl DeliveryPriority {
    /// Every priority.
    pub const ALL: [Self; 2] = [Self::Standard, Self::Critical];

    /// The wire name: API and store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Critical => "critical",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == name)
    }
}

/// Delivery policies, common to all channel types. One type for drafts and the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Policies {
    /// The least severity that it accepts. A successful run counts as info, and `incident_resolved` always passes. By default
    /// that of the workspace's preferences.
    pub severity_filter: SeverityFilter,
    /// Which incident events it accepts. By default those of the workspace's preferences.
    pub event_filters: EventFilters,
    /// `critical` passes cooldowns and the rate limit.
    pub delivery_priority: DeliveryPriority,
    /// Null for none.
    pub quiet_hours: Option<QuietHours>,
    /// Null for none.
    pub rate_limit: Option<RateLimit>,
    /// False for a single attempt.
    pub retry_on_failure: bool,
    /// Delays between attempts, in seconds, each from 1 to 86,400; null for the default of the event's resource type.
    #[schema(max_items = 20)]
    pub retry_delays_seconds: Option<Vec<u32>>,
    /// The time limit of one attempt, in milliseconds.
    #[schema(minimum = 1_000, maximum = 60_000)]
    pub timeout_ms: u32,
}

/// The default time limit of one attempt, in milliseconds.
pub const TIMEOUT_MS_DEFAULT: u32 = 15_000;

impl Default for Policies {
    fn default() -> Self {
        Self {
            severity_filter: SeverityFilter::default(),
            event_filters: EventFilters::default(),
            delivery_priority: DeliveryPriority::default(),
            quiet_hours: None,
            rate_limit: None,
            retry_on_failure: true,
            retry_delays_seconds: None,
            timeout_ms: TIMEOUT_MS_DEFAULT,
        }
    }
}

/// Allowed time limits of an attempt, in milliseconds.
const TIMEOUT_MS_RANGE: std::ops::RangeInclusive<u32> = 1_000..=60_000;

impl Policies {
    /// Everything wrong with the policies.
    pub fn violations(&self) -> Violations {
        let under = |pointer: &'static str| move |violation: Violation| violation.under(pointer);
        let mut violations = Vec::new();
        violations.extend(self.quiet_hours.iter().flat_map(QuietHours::violations).map(under("/quietHours")));
        violations.extend(self.rate_limit.iter().flat_map(RateLimit::violations).map(under("/rateLimit")));
        if !TIMEOUT_MS_RANGE.contains(&self.timeout_ms) {
            violations.push(Violation::new("/timeoutMs", "must be from 1000 to 60000"));
        }
        let delays = self.retry_delays_seconds.as_deref().unwrap_or_default();
        if delays.len() > RETRY_DELAYS_MAX {
            violations.push(Violation::new("/retryDelaysSeconds", "must list at most 20 delays"));
        }
        let invalid = delays.iter().enumerate().filter(|(_, delay)| !(1..=RETRY_DELAY_SECONDS_MAX).contains(*delay));
        violations.extend(invalid.map(|(index, _)| {
            Violation::new(format!("/retryDelaysSeconds/{index}"), "must be from 1 to 86400 seconds")
        }));
        violations
    }

    /// The retry policy: the channel's own delays, or else `default`; no retries if they are turned off.
    pub fn retry_policy(&self, default: &RetryPolicy) -> RetryPolicy {
        match (&self.retry_delays_seconds, self.retry_on_failure) {
            (_, false) => RetryPolicy::none(),
            (Some(seconds), true) => RetryPolicy::from_seconds(seconds),
            (None, true) => default.clone(),
        }
    }
}

/// Why Tidings disabled a channel by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum DisabledReason {
    /// The receiver answered every attempt of a delivery with 410 Gone.
    #[serde(rename = "gone")]
    ReceiverGone,
}

impl DisabledReason {
    /// The wire name: API and store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReceiverGone => "gone",
        }
    }

    /// Parses a wire name.
    pub fn parse(name: &str) -> Option<Self> {
        (name == "gone").then_some(Self::ReceiverGone)
    }
}

/// The results of channel tests. Deliveries do not change them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Connectivity {
    /// Whether the last test succeeded; `None` before the first.
    pub is_connected: Option<bool>,
    pub last_tested_at: Option<Timestamp>,
    pub last_success_at: Option<Timestamp>,
    pub last_failure_at: Option<Timestamp>,
}

impl Connectivity {
    /// The state after a test at `now`.
    pub fn after_test(self, ok: bool, now: Timestamp) -> Self {
        Self {
            is_connected: Some(ok),
            last_tested_at: Some(now),
            last_success_at: if ok { Some(now) } else { self.last_success_at },
            last_failure_at: if ok { self.last_failure_at } else { Some(now) },
        }
    }
}

/// A channel. Its secrets are not part of it; they are stored encrypted.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    pub id: ChannelId,
    pub workspace_id: WorkspaceId,
    /// The owner of a private channel, which a rule's inline fields created; `None` for a shared channel.
    pub owner_rule_id: Option<RuleId>,
    pub name: String,
    pub channel_type: ChannelType,
    /// The type-specific fields as the API returns them; secrets appear as masked previews.
    pub settings: Map<String, Value>,
    pub enabled: bool,
    /// Set if Tidings disabled the channel, not a user.
    pub disabled_reason: Option<DisabledReason>,
    pub policies: Policies,
    pub connectivity: Connectivity,
    /// Incremented by every edit.
    pub revision: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rule::Rule;

    /// A webhook channel with default policies for the rule.
    pub(crate) fn channel_for(rule: &Rule) -> Channel {
        Channel {
            id: rule.channel_id,
            workspace_id: rule.workspace_id,
            owner_rule_id: None,
            name: "ops".into(),
            channel_type: ChannelType::Webhook,
            settings: Map::new(),
            enabled: true,
            disabled_reason: None,
            policies: Policies::default(),
            connectivity: Connectivity::default(),
            revision: 1,
            created_at: rule.created_at,
            updated_at: rule.created_at,
        }
    }

    #[test]
    fn channel_retry_delays_override_the_default() {
        let default = RetryPolicy::from_seconds(&[15, 60]);
        let mut policies = Policies::default();
        assert_eq!(policies.retry_policy(&default), default);
        policies.retry_delays_seconds = Some(vec![1]);
        assert_eq!(policies.retry_policy(&default), RetryPolicy::from_seconds(&[1]));
        policies.retry_on_failure = false;
        assert_eq!(policies.retry_policy(&default).attempts_max(), 1);
    }

    #[test]
    fn connectivity_keeps_the_last_success_and_the_last_failure() {
        let (one, two) = (Timestamp::from_unix_ms(1), Timestamp::from_unix_ms(2));
        let connectivity = Connectivity::default().after_test(true, one).after_test(false, two);
        assert_eq!(connectivity.is_connected, Some(false));
        assert_eq!(
            (connectivity.last_success_at, connectivity.last_failure_at, connectivity.last_tested_at),
            (Some(one), Some(two), Some(two))
        );
    }
}
