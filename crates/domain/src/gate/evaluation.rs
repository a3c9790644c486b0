//! The result of evaluating the gates: which ones passed, and which one stopped the delivery.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Effect, Gate, GateInput, Refusal};
use crate::time::Timestamp;

/// One evaluation of the gates. Every delivery stores all of its evaluations.
///
/// Serialised in a short form, as there are very many of them: `{"at":<unix ms>,"passed":<bits>}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateEvaluation {
    #[serde(rename = "at", with = "unix_ms")]
    pub evaluated_at: Timestamp,
    /// The gates that passed, as the union of their [`Gate::bit`]s.
    pub passed: u64,
    /// The gate that stopped the delivery, with its refusal; `None` if all evaluated gates passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<(Gate, Refusal)>,
}

// Compile-time check that the bit of every gate fits into `passed`. An overflowing shift would wrap around in release
// builds and mark another gate as passed.
const _: () = {
    let mut index = 0;
    while index < Gate::ORDER.len() {
        assert!((Gate::ORDER[index] as u32) < u64::BITS, "the gate's number does not fit into GateEvaluation::passed");
        index += 1;
    }
};

/// Instants as bare milliseconds. Only the stored form uses it; the API writes RFC 3339.
mod unix_ms {
    use super::{Deserialize, Deserializer, Serializer, Timestamp};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(at.unix_ms())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_unix_ms)
    }
}

/// [`unix_ms`] for an optional instant.
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
    /// The gates that passed, in evaluation order.
    pub fn passed_gates(&self) -> impl Iterator<Item = Gate> + '_ {
        Gate::ORDER.into_iter().filter(|gate| self.passed & gate.bit() != 0)
    }

    /// Whether no gate stopped the delivery.
    pub const fn is_open(&self) -> bool {
        self.stopped.is_none()
    }

    /// The gate that holds the delivery and until when, if one does.
    pub fn held(&self) -> Option<(Gate, Timestamp)> {
        let (gate, refusal) = self.stopped.as_ref().filter(|(_, refusal)| refusal.effect == Effect::Hold)?;
        Some((*gate, refusal.until.unwrap_or(self.evaluated_at)))
    }

    /// The same evaluation, stopped by `gate`, which counted as passed before.
    #[must_use]
    pub fn stopped_at(mut self, gate: Gate, refusal: Refusal) -> Self {
        self.passed &= !gate.bit();
        self.stopped = Some((gate, refusal));
        self
    }
}

/// Evaluates all gates in order, up to the first that refuses.
///
/// The rate limit counts as passed: the store evaluates it later, in the transaction that counts the delivery (see
/// [`super::rate_limit::applies`]).
pub fn evaluate(input: &GateInput<'_>, now: Timestamp) -> GateEvaluation {
    evaluate_if(input, now, |_| true)
}

/// Evaluates the gates again that may have changed since the delivery was accepted. Called right before it is sent.
pub fn re_evaluate(input: &GateInput<'_>, now: Timestamp) -> GateEvaluation {
    evaluate_if(input, now, Gate::is_rechecked_on_send)
}

fn evaluate_if(input: &GateInput<'_>, now: Timestamp, is_included: impl Fn(Gate) -> bool) -> GateEvaluation {
    let mut passed = 0;
    for gate in Gate::ORDER.into_iter().filter(|gate| is_included(*gate)) {
        match gate.check(input, now) {
            Some(refusal) => return GateEvaluation { evaluated_at: now, passed, stopped: Some((gate, refusal)) },
            None => passed |= gate.bit(),
        }
    }
    GateEvaluation { evaluated_at: now, passed, stopped: None }
}
