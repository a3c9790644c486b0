//! Results of `POST /simulate`.

use serde::Serialize;
use tidings_domain::id::{ChannelId, RuleId};
use tidings_domain::routing::NotRouted;
use tidings_domain::time::Timestamp;

use super::delivery::{Verdict, verdicts};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Simulation<'a> {
    kind: &'a str,
    at: Timestamp,
    deliveries: Vec<SimulatedDelivery<'a>>,
    not_routed: &'a [NotRouted],
}

impl<'a> Simulation<'a> {
    pub(crate) fn of(simulation: &'a tidings_engine::Simulation) -> Self {
        Self {
            kind: simulation.kind.as_str(),
            at: simulation.at,
            deliveries: simulation.deliveries.iter().map(SimulatedDelivery::of).collect(),
            not_routed: &simulation.not_routed,
        }
    }
}

/// The delivery that a rule would create.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SimulatedDelivery<'a> {
    rule_id: Option<RuleId>,
    channel_id: ChannelId,
    channel_name: &'a str,
    severity: &'a str,
    outcome: &'a str,
    until: Option<Timestamp>,
    reason: Option<&'a str>,
    detail: Option<&'a str>,
    verdicts: Vec<Verdict<'a>>,
}

impl<'a> SimulatedDelivery<'a> {
    fn of(delivery: &'a tidings_engine::SimulatedDelivery) -> Self {
        let stopped = delivery.evaluation.stopped.as_ref();
        let outcome = match stopped {
            None => "send",
            Some(_) if delivery.evaluation.held().is_some() => "hold",
            Some(_) => "suppress",
        };
        Self {
            rule_id: delivery.rule_id,
            channel_id: delivery.channel_id,
            channel_name: &delivery.channel_name,
            severity: delivery.severity.as_str(),
            outcome,
            until: stopped.and_then(|(_, stop)| stop.until),
            reason: stopped.map(|(gate, _)| gate.reason()),
            detail: stopped.map(|(_, stop)| stop.detail.as_str()),
            verdicts: verdicts(&delivery.evaluation).collect(),
        }
    }
}
