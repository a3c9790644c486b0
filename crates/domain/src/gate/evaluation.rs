//! The evaluation through the gates: which were passed, and which stopped it. Every delivery keeps its walks.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Effect, Gate, GateInput, Refusal};
use crate::time::Timestamp;

/// One evaluation through the gates: which were passed, and which stopped it, if any.
///
/// Serialised in a short form, as every delivery keeps one: `{"at":<unix ms>,"passed":<bits>}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateEvaluation {
    /// When.
    #[serde(rename = "at", with = "unix_ms")]
    pub evaluated_at: Timestamp,
    /// The gates passed, bit `n` for gate number `n`.
    pub passed: u16,
    /// The gate that stopped it and its refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<(Gate, Refusal)>,
}

/// Instants as bare milliseconds, in the store only.
mod unix_ms {
    use super::{Deserialize, Deserializer, Serializer, Timestamp};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(at.unix_ms())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_unix_ms)
    }
}

/// The same for one that may not be there.
pub(super) mod maybe_unix_ms {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Timestamp};

    pub(in super::super) fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        at.map(Timestamp::unix_ms).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(Timestamp::from_unix_ms))
    }
}

impl GateEvaluation {
    /// The gates passed, in their order.
    pub fn passed_gates(&self) -> impl Iterator<Item = Gate> + '_ {
        Gate::ORDER.into_iter().filter(|gate| self.passed & (1 << *gate as u8) != 0)
    }

    /// Whether nothing stopped it.
    pub const fn is_open(&self) -> bool {
        self.stopped.is_none()
    }

    /// The gate that holds it back and until when, if one does.
    pub fn held(&self) -> Option<(Gate, Timestamp)> {
        let (gate, stop) = self.stopped.as_ref().filter(|(_, stop)| stop.effect == Effect::Hold)?;
        Some((*gate, stop.until.unwrap_or(self.evaluated_at)))
    }

    /// The same evaluation, stopped after all by the last gate.
    #[must_use]
    pub fn stopped_at(mut self, gate: Gate, stop: Refusal) -> Self {
        self.passed &= !(1 << gate as u8);
        self.stopped = Some((gate, stop));
        self
    }
}

/// Walks every gate in order, up to the first that stops. The last one, the rate limit, is taken to be passed: whoever
/// counts admissions asks it (see [`super::rate_limit::is_asked`]).
pub fn evaluate(facts: &GateInput<'_>, now: Timestamp) -> GateEvaluation {
    walk_those(facts, now, |_| true)
}

/// Walks the changeable gates again, as is done when a delivery comes up.
pub fn re_evaluate(facts: &GateInput<'_>, now: Timestamp) -> GateEvaluation {
    walk_those(facts, now, Gate::is_rechecked_on_send)
}

fn walk_those(facts: &GateInput<'_>, now: Timestamp, asked: impl Fn(Gate) -> bool) -> GateEvaluation {
    let mut passed = 0;
    for gate in Gate::ORDER.into_iter().filter(|gate| asked(*gate)) {
        match gate.ask(facts, now) {
            Some(stop) => return GateEvaluation { evaluated_at: now, passed, stopped: Some((gate, stop)) },
            None => passed |= 1 << gate as u8,
        }
    }
    GateEvaluation { evaluated_at: now, passed, stopped: None }
}
