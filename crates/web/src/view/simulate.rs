//! What was foretold, as it is shown.

use serde::Serialize;
use tidings_domain::id::{ChannelId, RuleId};
use tidings_domain::routing::NotRouted;
use tidings_domain::time::Timestamp;

use super::delivery::{Verdict, verdicts};

/// What would come of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Foretold<'a> {
    kind: &'a str,
    at: Timestamp,
    deliveries: Vec<Outlook<'a>>,
    not_routed: &'a [NotRouted],
}

impl<'a> Foretold<'a> {
    pub(crate) fn of(foretold: &'a tidings_engine::Simulation) -> Self {
        Self {
            kind: foretold.kind.as_str(),
            at: foretold.at,
            deliveries: foretold.deliveries.iter().map(Outlook::of).collect(),
            not_routed: &foretold.not_routed,
        }
    }
}

/// What would come of it for one rule.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outlook<'a> {
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

impl<'a> Outlook<'a> {
    fn of(outlook: &'a tidings_engine::SimulatedDelivery) -> Self {
        let stopped = outlook.evaluation.stopped.as_ref();
        let outcome = match stopped {
            None => "send",
            Some(_) if outlook.evaluation.held().is_some() => "hold",
            Some(_) => "suppress",
        };
        Self {
            rule_id: outlook.rule_id,
            channel_id: outlook.channel_id,
            channel_name: &outlook.channel_name,
            severity: outlook.severity.as_str(),
            outcome,
            until: stopped.and_then(|(_, stop)| stop.until),
            reason: stopped.map(|(gate, _)| gate.reason()),
            detail: stopped.map(|(_, stop)| stop.detail.as_str()),
            verdicts: verdicts(&outlook.evaluation).collect(),
        }
    }
}
