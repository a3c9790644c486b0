//! Gates: the reasons not to send a delivery now.
//!
//! A gate is a pure function of [`GateInput`] and an instant; the functions are in `gates.rs`. [`evaluate`] runs them in
//! [`Gate::ORDER`] and stops at the first [`Refusal`], whose [`Effect`] decides what becomes of the delivery. When a
//! delivery is about to be sent, [`re_evaluate`] runs those again that depend on the time or on the configuration.
//!
//! In evaluation order:
//!
//! | No. | Gate | Refuses if | Effect | Rechecked on send | Deferred |
//! |---|---|---|---|---|---|
//! | 1 | `rule_paused` | the rule is paused | suppress | yes | yes |
//! | 2 | `channel_disabled` | the channel is disabled | suppress | yes | yes |
//! | 3 | `recovery_disabled` | a resolution, and `recoveryAlert` is false | unroute | no | – |
//! | 4 | `global_mute` | a global mute is active | suppress | yes | yes |
//! | 5 | `severity_filter` | below the channel's filter; never a recovery | suppress | no | no |
//! | 6 | `event_filter` | the channel filters out this class of event | suppress | no | no |
//! | 7 | `scoped_mute` | the endpoint or the channel is muted | suppress | yes | yes |
//! | 8 | `maintenance` | the endpoint is in a maintenance window | suppress | yes | yes |
//! | 13 | `never_opened` | a resolution, and the channel was not notified of the incident | suppress | no | – |
//! | 9 | `dependency` * | the endpoint's parent has an active incident | suppress | yes | opening |
//! | 10 | `quiet_hours` * | the channel's quiet hours; by default not if critical | hold or suppress | yes | opening, if suppressed |
//! | 11 | `cooldown` * | another opening passed for the channel a short time ago | suppress | no | opening |
//! | 12 | `rate_limit` * | the channel's rate limit is used up | hold or suppress | no | no |
//!
//! *Deferred*: an opening that the gate suppressed is sent later, if the incident is still active when the gate no longer
//! refuses; and so is a resolution to a channel that was notified of the incident (*opening*: openings only). \* A
//! resolution does not evaluate this gate itself: it passes if its channel was notified of the incident, and is held
//! together with the notification that this gate holds.
//!
//! Gate 13 comes before the gates marked * because these need to know whether the channel was notified. The numbers are
//! stored with every delivery, so a gate keeps its number for good. A new gate needs a variant, a place in
//! [`Gate::ORDER`], its answers in the `impl` below and a function in `gates.rs`.

mod evaluation;
mod gates;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
pub use gates::{never_opened_detail, rate_limit};

/// Declares [`Gate`] and, for the check that none is missing from [`Gate::ORDER`], the list of its variants.
macro_rules! gates {
    ($($name:ident = $number:literal,)*) => {
        /// A gate. The discriminant is its stored number.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        #[repr(u8)]
        pub enum Gate {
            $($name = $number,)*
        }

        const VARIANTS: &[Gate] = &[$(Gate::$name),*];
    };
}

gates! {
    RulePaused = 1,
    ChannelDisabled = 2,
    RecoveryDisabled = 3,
    GlobalMute = 4,
    SeverityFilter = 5,
    EventFilter = 6,
    ScopedMute = 7,
    Maintenance = 8,
    Dependency = 9,
    QuietHours = 10,
    Cooldown = 11,
    RateLimit = 12,
    NeverOpened = 13,
}

// Compile-time check that every gate is in `ORDER`, once. One that is not would never be evaluated, and a stored
// evaluation with its number could not be read.
const _: () = {
    assert!(Gate::ORDER.len() == VARIANTS.len(), "Gate::ORDER has a gate twice, or lacks one");
    let mut variant = 0;
    while variant < VARIANTS.len() {
        let mut position = 0;
        while Gate::ORDER[position] as u8 != VARIANTS[variant] as u8 {
            position += 1;
            assert!(position < Gate::ORDER.len(), "a gate is missing in Gate::ORDER");
        }
        variant += 1;
    }
};

impl Gate {
    /// The order of evaluation. [`Self::NeverOpened`] comes before the gates that a notified channel passes.
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

    /// The gate's name: that of its reason, except for the two mutes, which share one reason.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GlobalMute => "global_mute",
            Self::ScopedMute => "scoped_mute",
            _ => self.reason(),
        }
    }

    /// The reason id that deliveries store: column, metric label and API value.
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

    /// The gate's bit in [`GateEvaluation::passed`].
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// Whether the gate is evaluated again right before a delivery is sent, against the configuration of that time.
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

    /// Whether an opening that the gate suppressed is sent later, once the gate no longer refuses. (This concerns quiet
    /// hours only if they drop: what they hold is sent at their end anyway.)
    pub const fn allows_deferred_delivery(self) -> bool {
        self.is_rechecked_on_send() || matches!(self, Self::Cooldown)
    }

    /// Whether a resolution that the gate suppressed, to a channel that was notified of the incident, is sent later, once
    /// the gate no longer refuses: the notified are also notified of the end.
    pub const fn allows_deferred_resolution(self) -> bool {
        matches!(
            self,
            Self::RulePaused | Self::ChannelDisabled | Self::GlobalMute | Self::ScopedMute | Self::Maintenance
        )
    }

    /// Whether a resolution takes over the outcome that the notifications before it had at this gate, instead of
    /// evaluating it.
    const fn follows_opening(self) -> bool {
        matches!(self, Self::Dependency | Self::QuietHours | Self::Cooldown | Self::RateLimit)
    }

    /// The gate's refusal; `None` if it passes. The rate limit always passes here: see [`rate_limit`].
    pub fn check(self, input: &GateInput<'_>, now: Timestamp) -> Option<Refusal> {
        if self.follows_opening() {
            match input.opening {
                // Held together with the opening, the resolution becomes part of the same digest entry.
                OpeningOutcome::Held { gate, refusal } => return (self == *gate).then(|| refusal.clone()),
                OpeningOutcome::Sent => return None,
                OpeningOutcome::NotApplicable | OpeningOutcome::NotSent => {}
            }
        }
        match self {
            Self::RulePaused => gates::rule_paused(input),
            Self::ChannelDisabled => gates::channel_disabled(input),
            Self::RecoveryDisabled => gates::recovery_disabled(input),
            Self::GlobalMute => gates::global_mute(input, now),
            Self::SeverityFilter => gates::severity_filter(input),
            Self::EventFilter => gates::event_filter(input),
            Self::ScopedMute => gates::scoped_mute(input, now),
            Self::Maintenance => gates::maintenance(input, now),
            Self::NeverOpened => gates::never_opened(input),
            Self::Dependency => gates::dependency(input),
            Self::QuietHours => gates::quiet_hours(input, now),
            Self::Cooldown => gates::cooldown(input, now),
            Self::RateLimit => None,
        }
    }
}

/// What gates are evaluated against: a snapshot of the configuration and of the incident's state.
#[derive(Debug, Clone, Copy)]
pub struct GateInput<'a> {
    /// The rule that the delivery is for; `None` for an escalation step, which names its channel directly.
    pub rule: Option<&'a Rule>,
    /// The channel that the delivery would be sent through.
    pub channel: &'a Channel,
    /// The event's severity for this rule.
    pub severity: Severity,
    pub trigger: Trigger,
    /// The workspace's mutes, expired ones included.
    pub mutes: &'a [Mute],
    /// The workspace's time zone, in which details give times.
    pub zone: &'a Zone,
    /// The endpoint, if the event is about one.
    pub endpoint: Option<EndpointContext<'a>>,
    /// Whether the channel was notified of the incident, if the event is its resolution.
    pub opening: &'a OpeningOutcome,
}

impl GateInput<'_> {
    /// The trigger, if the event belongs to an incident.
    const fn incident_trigger(&self) -> Option<IncidentTrigger> {
        match self.trigger {
            Trigger::Incident(trigger) => Some(trigger),
            Trigger::Success | Trigger::Failure => None,
        }
    }

    /// Whether the event reports the end of an incident or of flapping.
    const fn is_recovery(&self) -> bool {
        matches!(self.incident_trigger(), Some(IncidentTrigger::Resolved | IncidentTrigger::Stable))
    }

    /// Whether the channel is exempt from cooldowns and from its rate limit.
    fn has_priority(&self) -> bool {
        self.channel.policies.delivery_priority == DeliveryPriority::Critical
    }
}

/// What gates need to know of an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct EndpointContext<'a> {
    pub id: EndpointId,
    pub name: &'a str,
    pub definition: &'a Definition,
    /// The name of the endpoint's parent, if that has an active incident.
    pub active_parent: Option<&'a str>,
    /// When an opening last passed for this channel.
    pub last_opening_at: Option<Timestamp>,
}

/// Whether a channel was notified of an incident, by its opening or by a later notification, under whichever rule. Asked
/// for the incident's resolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpeningOutcome {
    /// It does not matter: the event is no resolution, or the rule is for resolutions only, or the opening was filtered out
    /// by the channel (gates 5 and 6). The event is evaluated like any other.
    NotApplicable,
    /// A notification was sent, or is about to be.
    Sent,
    /// None was sent, and one is held by this gate.
    Held { gate: Gate, refusal: Refusal },
    /// None was sent: suppressed by another gate, failed, or planned before the rule existed.
    NotSent,
}

/// What a refusal does with the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The delivery is settled without being sent.
    Suppress,
    /// The delivery waits for the gate to open.
    Hold,
    /// No delivery is made; the event keeps a note that the rule was not routed.
    Unroute,
}

/// Why a gate does not let a delivery pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub effect: Effect,
    /// The reason as a sentence for people.
    pub detail: String,
    /// When the gate will open, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "evaluation::maybe_unix_ms")]
    pub until: Option<Timestamp>,
    /// The mute that refused, if it was one.
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
