//! The channel: a destination and its policies, made once, used by many rules.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{ChannelId, RuleId, WorkspaceId};
use crate::quiet_hours::QuietHours;
use crate::rate_limit::RateLimit;
use crate::retry::RetryPolicy;
use crate::severity::SeverityFilter;
use crate::time::Timestamp;

/// What kind of destination a channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChannelType {
    /// Mail over SMTP.
    Email,
    /// A signed HTTP request.
    Webhook,
    /// A Slack message.
    Slack,
    /// A Discord message.
    Discord,
}

impl ChannelType {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::Email, Self::Webhook, Self::Slack, Self::Discord];

    /// The word for it in the API, in the store and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Discord => "discord",
        }
    }

    /// The type that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Which events of incidents a channel lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventFilters {
    /// Openings, and what reminds of them.
    #[serde(default = "yes")]
    pub send_open: bool,
    /// Resolutions, and that an endpoint is stable again.
    #[serde(default = "yes")]
    pub send_resolved: bool,
    /// Escalations, and that an incident got worse.
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

/// How much a channel matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeliveryPriority {
    /// As any other.
    #[default]
    Standard,
    /// Past cooldowns and its rate limit.
    Critical,
}

impl DeliveryPriority {
    /// Every priority.
    pub const ALL: [Self; 2] = [Self::Standard, Self::Critical];

    /// The word for it in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Critical => "critical",
        }
    }

    /// The priority that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == word)
    }
}

/// How a channel is used, whatever kind it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    /// The least severity it lets through.
    pub severity_filter: SeverityFilter,
    /// Which events of incidents it lets through.
    pub event_filters: EventFilters,
    /// How much it matters.
    pub delivery_priority: DeliveryPriority,
    /// When it is left in peace.
    pub quiet_hours: Option<QuietHours>,
    /// How much it takes in a minute.
    pub rate_limit: Option<RateLimit>,
    /// False: one attempt.
    pub retry_on_failure: bool,
    /// Delays between attempts in seconds; `None` for those of the kind of event.
    pub retry_delays_seconds: Option<Vec<u32>>,
    /// How long one attempt may take, in milliseconds.
    pub timeout_ms: u32,
}

/// The time one attempt may take where the channel does not say, in milliseconds.
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

impl Policies {
    /// When to try again: the channel's own delays, or `default`, or never.
    pub fn retries(&self, default: &RetryPolicy) -> RetryPolicy {
        match (&self.retry_delays_seconds, self.retry_on_failure) {
            (_, false) => RetryPolicy::none(),
            (Some(seconds), true) => RetryPolicy::from_seconds(seconds),
            (None, true) => default.clone(),
        }
    }
}

/// Why Tidings itself disabled a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisabledReason {
    /// The last attempt of a delivery was answered 410.
    Gone,
}

impl DisabledReason {
    /// The word for it in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
        }
    }

    /// The reason that this word names.
    pub fn parse(word: &str) -> Option<Self> {
        (word == "gone").then_some(Self::Gone)
    }
}

/// What Tests of the channel have shown; live sends never change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Connectivity {
    /// Whether the last test went through; `None` before the first.
    pub is_connected: Option<bool>,
    /// When it was last tested.
    pub last_tested_at: Option<Timestamp>,
    /// When a test last went through.
    pub last_success_at: Option<Timestamp>,
    /// When a test last failed.
    pub last_failure_at: Option<Timestamp>,
}

impl Connectivity {
    /// What is known after a test at `now`.
    pub fn tested(self, ok: bool, now: Timestamp) -> Self {
        Self {
            is_connected: Some(ok),
            last_tested_at: Some(now),
            last_success_at: if ok { Some(now) } else { self.last_success_at },
            last_failure_at: if ok { self.last_failure_at } else { Some(now) },
        }
    }
}

/// A destination and its policies. Its secrets are kept apart, sealed.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Its id.
    pub id: ChannelId,
    /// The workspace it belongs to.
    pub workspace_id: WorkspaceId,
    /// The rule that owns it, for a private channel made by a rule's inline fields.
    pub owner_rule_id: Option<RuleId>,
    /// Its name, for people.
    pub name: String,
    /// What kind of destination it is.
    pub channel_type: ChannelType,
    /// The destination's fields that are no secret, as the API shows them; secrets appear as masked previews.
    pub settings: Map<String, Value>,
    /// Whether it is on.
    pub enabled: bool,
    /// Why Tidings disabled it, if it did.
    pub disabled_reason: Option<DisabledReason>,
    /// How it is used.
    pub policies: Policies,
    /// What tests have shown.
    pub connectivity: Connectivity,
    /// Rises with every edit.
    pub revision: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rule::Rule;

    /// A plain webhook channel for the rule.
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
    fn a_channels_own_retries_go_before_those_of_the_event() {
        let default = RetryPolicy::from_seconds(&[15, 60]);
        let mut policies = Policies::default();
        assert_eq!(policies.retries(&default), default);
        policies.retry_delays_seconds = Some(vec![1]);
        assert_eq!(policies.retries(&default), RetryPolicy::from_seconds(&[1]));
        policies.retry_on_failure = false;
        assert_eq!(policies.retries(&default).attempts_max(), 1);
    }

    #[test]
    fn a_test_sets_its_own_side_only() {
        let (one, two) = (Timestamp::from_unix_ms(1), Timestamp::from_unix_ms(2));
        let seen = Connectivity::default().tested(true, one).tested(false, two);
        assert_eq!(seen.is_connected, Some(false));
        assert_eq!(
            (seen.last_success_at, seen.last_failure_at, seen.last_tested_at),
            (Some(one), Some(two), Some(two))
        );
    }
}
