//! Gates: reasons not to send now, walked in a fixed order up to the first that stops.
//!
//! A gate is a pure function of a snapshot and an instant, one file each. The numbers are those of the product's table
//! and are what the store keeps, so a gate keeps its number for good.

mod channel_disabled;
mod cooldown;
mod dependency;
mod endpoint_paused;
mod evaluation;
mod event_filter;
mod global_mute;
mod maintenance;
mod never_opened;
mod quiet_hours;
pub mod rate_limit;
mod recovery_disabled;
mod scoped_mute;
mod severity_filter;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::calendar::Zone;
use crate::channel::{Channel, DeliveryPriority};
use crate::endpoint::Definition;
use crate::id::{EndpointId, MuteId};
use crate::incident::IncidentTrigger;
use crate::mute::Mute;
use crate::rule::Rule;
use crate::severity::Severity;
use crate::time::Timestamp;
use crate::trigger::Trigger;

pub use evaluation::{GateEvaluation, evaluate, re_evaluate};

/// A gate, by its number in the product's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Gate {
    /// The rule is paused.
    RulePaused = 1,
    /// The channel is disabled.
    ChannelDisabled = 2,
    /// The endpoint does not want its recoveries to be said.
    RecoveryDisabled = 3,
    /// Everything is muted.
    GlobalMute = 4,
    /// The channel does not take this severity.
    SeverityFilter = 5,
    /// The channel does not take this kind of an incident's events.
    EventFilter = 6,
    /// The endpoint or the channel is muted.
    ScopedMute = 7,
    /// The endpoint is in a maintenance window.
    Maintenance = 8,
    /// The endpoint's parent has an active incident.
    Dependency = 9,
    /// The channel's quiet hours.
    QuietHours = 10,
    /// The endpoint's last opening was said through this channel a short while ago.
    Cooldown = 11,
    /// The channel takes no more in this minute.
    RateLimit = 12,
    /// It is over, but nobody was told that it had begun. Beside the table: what it says of resolutions.
    NeverOpened = 13,
}

impl Gate {
    /// The order in which gates are walked. That an opening was never said stands where it matters whether it was:
    /// before those that a resolution passes if it was.
    pub const ORDER: [Self; 13] = [
        Self::RulePaused,
        Self::ChannelDisabled,
        Self::RecoveryDisabled,
        Self::GlobalMute,
        Self::SeverityFilter,
        Self::EventFilter,
        Self::ScopedMute,
        Self::Maintenance,
        Self::NeverOpened,
        Self::Dependency,
        Self::QuietHours,
        Self::Cooldown,
        Self::RateLimit,
    ];

    /// Its name: that of its reason, but for the two that ask for mutes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GlobalMute => "global_mute",
            Self::ScopedMute => "scoped_mute",
            _ => self.reason(),
        }
    }

    /// The reason id: column, metric label and API value alike.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::RulePaused => "rule_paused",
            Self::ChannelDisabled => "channel_disabled",
            Self::RecoveryDisabled => "recovery_disabled",
            Self::GlobalMute | Self::ScopedMute => "muted",
            Self::SeverityFilter => "severity_filter",
            Self::EventFilter => "event_filter",
            Self::Maintenance => "maintenance",
            Self::Dependency => "dependency",
            Self::QuietHours => "quiet_hours",
            Self::Cooldown => "cooldown",
            Self::RateLimit => "rate_limit",
            Self::NeverOpened => "never_opened",
        }
    }

    /// The gate with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ORDER.into_iter().find(|gate| *gate as u8 == number)
    }

    /// Whether it is asked again when a delivery comes up, against the configuration of that instant.
    pub const fn is_rechecked_on_send(self) -> bool {
        matches!(
            self,
            Self::RulePaused
                | Self::ChannelDisabled
                | Self::GlobalMute
                | Self::ScopedMute
                | Self::Maintenance
                | Self::Dependency
                | Self::QuietHours
        )
    }

    /// Whether an opening that it stopped is said late, once it no longer would. (Quiet hours only if they drop: what
    /// they hold is said anyway.)
    pub const fn allows_deferred_delivery(self) -> bool {
        self.is_rechecked_on_send() || matches!(self, Self::Cooldown)
    }

    /// Whether a resolution passes it unasked if its opening was said.
    const fn skips_recoveries(self) -> bool {
        matches!(self, Self::Dependency | Self::QuietHours | Self::Cooldown | Self::RateLimit)
    }

    /// Its refusal, if it refuses. The rate limit is asked where admissions are counted: see [`rate_limit`].
    pub fn ask(self, facts: &GateInput<'_>, now: Timestamp) -> Option<Refusal> {
        if let (true, OpeningOutcome::Held { gate, refusal: stop }) = (self.skips_recoveries(), facts.opening) {
            // It waits with its opening, and both become one entry of the digest.
            return (self == *gate).then(|| stop.clone());
        }
        if self.skips_recoveries() && matches!(facts.opening, OpeningOutcome::Sent) {
            return None;
        }
        match self {
            Self::RulePaused => endpoint_paused::ask(facts),
            Self::ChannelDisabled => channel_disabled::ask(facts),
            Self::RecoveryDisabled => recovery_disabled::ask(facts),
            Self::GlobalMute => global_mute::ask(facts, now),
            Self::SeverityFilter => severity_filter::ask(facts),
            Self::EventFilter => event_filter::ask(facts),
            Self::ScopedMute => scoped_mute::ask(facts, now),
            Self::Maintenance => maintenance::ask(facts, now),
            Self::NeverOpened => never_opened::ask(facts),
            Self::Dependency => dependency::ask(facts),
            Self::QuietHours => quiet_hours::ask(facts, now),
            Self::Cooldown => cooldown::ask(facts, now),
            Self::RateLimit => None,
        }
    }
}

/// The snapshot that gates look at.
#[derive(Debug, Clone, Copy)]
pub struct GateInput<'a> {
    /// The rule that would speak; none for a step of an escalation through a channel that has no rule here.
    pub rule: Option<&'a Rule>,
    /// The channel it would speak through.
    pub channel: &'a Channel,
    /// How bad the event is to this rule.
    pub severity: Severity,
    /// What brought the event about.
    pub trigger: Trigger,
    /// The mutes of the workspace, those included that are over.
    pub mutes: &'a [Mute],
    /// The zone in which the workspace says times.
    pub zone: &'a Zone,
    /// The endpoint that the event is about, if it is one.
    pub endpoint: Option<EndpointContext<'a>>,
    /// What became of the opening, if the event is its resolution.
    pub opening: &'a OpeningOutcome,
}

impl GateInput<'_> {
    /// What happened to the incident, if the event tells of one.
    const fn of_incident(&self) -> Option<IncidentTrigger> {
        match self.trigger {
            Trigger::Incident(trigger) => Some(trigger),
            Trigger::Success | Trigger::Failure => None,
        }
    }

    /// Whether it is good news of an incident.
    const fn is_recovery(&self) -> bool {
        matches!(self.of_incident(), Some(IncidentTrigger::Resolved | IncidentTrigger::Stable))
    }

    /// Whether the channel passes cooldowns and its rate limit.
    fn has_priority(&self) -> bool {
        self.channel.policies.delivery_priority == DeliveryPriority::Critical
    }
}

/// What gates know of an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct EndpointContext<'a> {
    /// Its id.
    pub id: EndpointId,
    /// Its name.
    pub name: &'a str,
    /// What is watched, and what follows from its checks.
    pub definition: &'a Definition,
    /// The name of its parent, if that has an active incident.
    pub parent_down: Option<&'a str>,
    /// When an opening last passed for this channel.
    pub last_opening_at: Option<Timestamp>,
}

/// What became of an incident's opening, for the rule that would tell of its resolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpeningOutcome {
    /// The event is no resolution, or the rule speaks of resolutions only, or the opening was not to the channel's liking
    /// (gates 5 and 6): it walks as any event.
    NotApplicable,
    /// It was sent, or is about to be.
    Sent,
    /// It is held back.
    Held {
        /// By this gate.
        gate: Gate,
        /// With this refusal.
        refusal: Refusal,
    },
    /// It was not said: stopped otherwise, or failed, or the rule was not there yet.
    NotSent,
}

/// What a gate that stops does with the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It is not said.
    Suppress,
    /// It is said later.
    Hold,
    /// There is none: the rule is passed over.
    Unroute,
}

/// A gate's refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What becomes of the delivery.
    pub effect: Effect,
    /// Why, in plain words.
    pub detail: String,
    /// When it will no longer refuse, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "evaluation::maybe_unix_ms")]
    pub until: Option<Timestamp>,
    /// The mute, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mute_id: Option<MuteId>,
}

impl Refusal {
    fn suppress(detail: String) -> Self {
        Self { effect: Effect::Suppress, detail, until: None, mute_id: None }
    }

    fn until(self, until: Timestamp) -> Self {
        Self { until: Some(until), ..self }
    }

    fn hold(detail: String, until: Timestamp) -> Self {
        Self { effect: Effect::Hold, detail, until: Some(until), mute_id: None }
    }
}
