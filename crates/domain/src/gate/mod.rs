//! Gates: reasons not to send now, walked in a fixed order up to the first that stops.
//!
//! A gate is a pure function of a snapshot and an instant, one file each. The numbers are those of the product's table
//! and are what the store keeps, so a gate keeps its number for good.

mod channel_disabled;
mod endpoint_paused;
mod severity_filter;

use serde::{Deserialize, Serialize};

use crate::channel::Channel;
use crate::rule::Rule;
use crate::severity::Severity;
use crate::time::Timestamp;

/// A gate, by its number in the product's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Gate {
    /// The rule is paused.
    EndpointPaused = 1,
    /// The channel is disabled.
    ChannelDisabled = 2,
    /// The channel does not take this severity.
    SeverityFilter = 5,
}

impl Gate {
    /// The order in which gates are walked.
    pub const ORDER: [Self; 3] = [Self::EndpointPaused, Self::ChannelDisabled, Self::SeverityFilter];

    /// The reason id: column, metric label and API value alike.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EndpointPaused => "endpoint_paused",
            Self::ChannelDisabled => "channel_disabled",
            Self::SeverityFilter => "severity_filter",
        }
    }

    /// The gate with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ORDER.into_iter().find(|gate| *gate as u8 == number)
    }

    /// Whether it is asked again when a delivery comes up, against the configuration of that instant.
    pub const fn is_changeable(self) -> bool {
        matches!(self, Self::EndpointPaused | Self::ChannelDisabled)
    }

    fn ask(self, facts: &Facts<'_>) -> Option<Stop> {
        match self {
            Self::EndpointPaused => endpoint_paused::ask(facts),
            Self::ChannelDisabled => channel_disabled::ask(facts),
            Self::SeverityFilter => severity_filter::ask(facts),
        }
    }
}

/// The snapshot that gates look at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The rule that would speak.
    pub rule: &'a Rule,
    /// The channel it would speak through.
    pub channel: &'a Channel,
    /// How bad the event is to this rule.
    pub severity: Severity,
}

/// What a gate that stops does with the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It is not said.
    Suppress,
}

/// A gate's refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// What becomes of the delivery.
    pub effect: Effect,
    /// Why, in plain words.
    pub detail: String,
}

impl Stop {
    fn suppress(detail: String) -> Self {
        Self { effect: Effect::Suppress, detail }
    }
}

/// One walk through the gates: which were passed, and which stopped it, if any.
///
/// Serialised in a short form, as every delivery keeps one: `{"at":<unix ms>,"passed":<bits>}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// When.
    #[serde(rename = "at", with = "unix_ms")]
    pub evaluated_at: Timestamp,
    /// The gates passed, bit `n` for gate number `n`.
    pub passed: u16,
    /// The gate that stopped it and its refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<(Gate, Stop)>,
}

/// Instants as bare milliseconds, in the store only.
mod unix_ms {
    use super::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(at.unix_ms())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_unix_ms)
    }
}

impl Walk {
    /// The gates passed, in their order.
    pub fn passed_gates(&self) -> impl Iterator<Item = Gate> + '_ {
        Gate::ORDER.into_iter().filter(|gate| self.passed & (1 << *gate as u8) != 0)
    }
}

/// Walks every gate in order, up to the first that stops.
pub fn walk(facts: &Facts<'_>, now: Timestamp) -> Walk {
    walk_those(facts, now, |_| true)
}

/// Walks the changeable gates again, as is done when a delivery comes up.
pub fn walk_again(facts: &Facts<'_>, now: Timestamp) -> Walk {
    walk_those(facts, now, Gate::is_changeable)
}

fn walk_those(facts: &Facts<'_>, now: Timestamp, asked: impl Fn(Gate) -> bool) -> Walk {
    let mut passed = 0;
    for gate in Gate::ORDER.into_iter().filter(|gate| asked(*gate)) {
        match gate.ask(facts) {
            Some(stop) => return Walk { evaluated_at: now, passed, stopped: Some((gate, stop)) },
            None => passed |= 1 << gate as u8,
        }
    }
    Walk { evaluated_at: now, passed, stopped: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::tests::channel_for;
    use crate::event::tests::failed_flow;
    use crate::rule::tests::rule_for;
    use crate::severity::SeverityFilter;
    use proptest::prelude::*;

    #[test]
    fn numbers_rise_in_the_order_of_the_walk_and_read_back() {
        assert!(Gate::ORDER.windows(2).all(|pair| (pair[0] as u8) < pair[1] as u8));
        for gate in Gate::ORDER {
            assert_eq!(Gate::from_number(gate as u8), Some(gate));
        }
    }

    proptest! {
        #[test]
        fn the_first_gate_that_stops_decides(
            paused: bool, enabled: bool, filter in 0..3usize, severity in 0..4usize, at in 0i64..2_000_000_000_000
        ) {
            let event = failed_flow();
            let mut rule = rule_for(&event);
            let mut channel = channel_for(&rule);
            rule.paused = paused;
            channel.enabled = enabled;
            channel.policies.severity_filter =
                [SeverityFilter::Info, SeverityFilter::Warning, SeverityFilter::Critical][filter];
            let severity = [Severity::Critical, Severity::Warning, Severity::Info, Severity::Success][severity];
            let facts = Facts { rule: &rule, channel: &channel, severity };
            let now = Timestamp::from_unix_ms(at);

            let refused = channel.policies.severity_filter.admits(severity);
            let expected = [(paused, Gate::EndpointPaused), (!enabled, Gate::ChannelDisabled), (!refused, Gate::SeverityFilter)]
                .into_iter().find(|(stops, _)| *stops).map(|(_, gate)| gate);
            let walk = walk(&facts, now);
            prop_assert_eq!(walk.stopped.as_ref().map(|(gate, _)| *gate), expected);
            prop_assert_eq!(walk.evaluated_at, now);
            let stored = serde_json::to_string(&walk).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Walk>(&stored).unwrap(), &walk, "reads back from the store");
            let before: Vec<_> = Gate::ORDER.into_iter().take_while(|gate| Some(*gate) != expected).collect();
            prop_assert_eq!(walk.passed_gates().collect::<Vec<_>>(), before);

            let again = walk_again(&facts, now);
            prop_assert_eq!(again.stopped.is_some(), paused || !enabled, "the severity filter is asked once");
        }
    }
}
