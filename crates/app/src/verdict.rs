//! Verdicts of gates in responses.

use serde::Serialize;
use tidings_domain::gate::{Effect, Gate, GateEvaluation};
use tidings_domain::id::MuteId;
use tidings_domain::time::Timestamp;
use utoipa::ToSchema;

/// The verdict of one gate.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    pub gate: Gate,
    pub verdict: VerdictKind,
    pub evaluated_at: Timestamp,
    /// When the gate opens, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The mute, if one stopped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mute_id: Option<MuteId>,
    /// The reason, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a gate decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    Pass,
    Hold,
    Suppress,
}

/// The verdicts of one evaluation, in the order of the gates.
pub fn verdicts(evaluation: &GateEvaluation) -> impl Iterator<Item = Verdict> {
    let evaluated_at = evaluation.evaluated_at;
    let verdict_of =
        move |gate: Gate, verdict| Verdict { gate, verdict, evaluated_at, until: None, mute_id: None, detail: None };
    let passed = evaluation.passed_gates().map(move |gate| verdict_of(gate, VerdictKind::Pass));
    let stopped = evaluation.stopped.as_ref().map(|(gate, refusal)| {
        let verdict = match refusal.effect {
            // `Unroute` creates no delivery, so that no record has such a verdict.
            Effect::Suppress | Effect::Unroute => VerdictKind::Suppress,
            Effect::Hold => VerdictKind::Hold,
        };
        let detail = Some(refusal.detail.clone());
        Verdict { until: refusal.until, mute_id: refusal.mute_id, detail, ..verdict_of(*gate, verdict) }
    });
    passed.chain(stopped)
}
