//! The gates themselves: one pure function each, in evaluation order. [`super`] has the table of their effects.

use super::{Effect, GateInput, OpeningOutcome, Refusal};
use crate::channel::DisabledReason;
use crate::incident::IncidentTrigger;
use crate::maintenance as windows;
use crate::mute::{self, Mute};
use crate::quiet_hours::QuietAction;
use crate::text::format_duration;
use crate::time::Timestamp;
use crate::trigger::RuleTrigger;

/// Gate 1: the rule is paused. A step of an escalation has no rule and passes.
pub(super) fn rule_paused(input: &GateInput<'_>) -> Option<Refusal> {
    input.rule.is_some_and(|rule| rule.paused).then(|| Refusal::suppress("the rule is paused".to_owned()))
}

/// Gate 2: the channel is disabled, by a user or by Tidings itself.
pub(super) fn channel_disabled(input: &GateInput<'_>) -> Option<Refusal> {
    let channel = input.channel;
    (!channel.enabled).then(|| {
        Refusal::suppress(match channel.disabled_reason {
            Some(DisabledReason::ReceiverGone) => {
                format!("{} was disabled because its receiver answered 410 Gone", channel.name)
            }
            None => format!("{} is disabled", channel.name),
        })
    })
}

/// Gate 3: the endpoint has recovery alerts turned off. The only gate that leaves no delivery but a note on the event.
pub(super) fn recovery_disabled(input: &GateInput<'_>) -> Option<Refusal> {
    let endpoint = input.endpoint.filter(|endpoint| !endpoint.definition.recovery_alert)?;
    (input.incident_trigger() == Some(IncidentTrigger::Resolved)).then(|| Refusal {
        effect: Effect::Unroute,
        ..Refusal::suppress(format!("{} has recovery alerts turned off", endpoint.name))
    })
}

/// Gate 4: a global mute is active.
pub(super) fn global_mute(input: &GateInput<'_>, now: Timestamp) -> Option<Refusal> {
    mute::global(input.mutes, now).map(|mute| muted(mute, input, now))
}

/// Gate 5: the event is below the channel's severity filter. A successful run ranks as `info`. Recoveries always pass,
/// so that a receiver that was notified of an incident learns that it is over.
pub(super) fn severity_filter(input: &GateInput<'_>) -> Option<Refusal> {
    let filter = input.channel.policies.severity_filter;
    (!input.is_recovery() && !filter.admits(input.severity)).then(|| {
        Refusal::suppress(format!(
            "{} accepts {}, but this event is {}",
            input.channel.name,
            filter.as_str(),
            input.severity.as_str()
        ))
    })
}

/// Gate 6: the channel filters out this class of incident events. Runs always pass.
pub(super) fn event_filter(input: &GateInput<'_>) -> Option<Refusal> {
    let filters = input.channel.policies.event_filters;
    let (is_sent, what) = match input.trigger.class() {
        RuleTrigger::Success | RuleTrigger::Failure => return None,
        RuleTrigger::Opened => (filters.send_open, "openings"),
        RuleTrigger::Resolved => (filters.send_resolved, "resolutions"),
        RuleTrigger::Escalated => (filters.send_escalated, "escalations"),
    };
    (!is_sent).then(|| Refusal::suppress(format!("{} does not accept incident {what}", input.channel.name)))
}

/// Gate 7: a mute of the endpoint or of the channel is active.
pub(super) fn scoped_mute(input: &GateInput<'_>, now: Timestamp) -> Option<Refusal> {
    let endpoint_id = input.endpoint.map(|endpoint| endpoint.id);
    mute::scoped(input.mutes, endpoint_id, input.channel.id, now).map(|mute| muted(mute, input, now))
}

fn muted(mute: &Mute, input: &GateInput<'_>, now: Timestamp) -> Refusal {
    Refusal { until: mute.expires_at, mute_id: Some(mute.id), ..Refusal::suppress(mute.describe(now, input.zone)) }
}

/// Gate 8: the endpoint is in a maintenance window.
pub(super) fn maintenance(input: &GateInput<'_>, now: Timestamp) -> Option<Refusal> {
    let endpoint = input.endpoint?;
    let ends_at = windows::ends_at(&endpoint.definition.maintenance_windows, now)?;
    Some(Refusal::suppress(windows::describe(endpoint.name, ends_at, now, input.zone)).until(ends_at))
}

/// Gate 13: the incident is resolved, but nothing about it was ever sent through this channel.
pub(super) fn never_opened(input: &GateInput<'_>) -> Option<Refusal> {
    (*input.opening == OpeningOutcome::NotSent).then(|| Refusal::suppress(never_opened_detail(&input.channel.name)))
}

/// The detail of a refusal by gate 13.
pub fn never_opened_detail(channel_name: &str) -> String {
    format!("{channel_name} was not notified of the incident")
}

/// Gate 9: the endpoint's parent has an active incident, whose notifications are enough.
pub(super) fn dependency(input: &GateInput<'_>) -> Option<Refusal> {
    let endpoint = input.endpoint?;
    let parent = endpoint.active_parent?;
    Some(Refusal::suppress(format!("{} depends on {parent}, which has an active incident", endpoint.name)))
}

/// Gate 10: the channel's quiet hours. Critical events pass, unless `criticalPasses` is false.
pub(super) fn quiet_hours(input: &GateInput<'_>, now: Timestamp) -> Option<Refusal> {
    let channel = input.channel;
    let hours = channel.policies.quiet_hours.as_ref().filter(|hours| hours.covers(input.severity))?;
    let ends_at = hours.ends_at(now)?;
    let detail = hours.describe(&channel.name, ends_at, now);
    Some(match hours.action {
        QuietAction::Hold => Refusal::hold(detail, ends_at),
        QuietAction::Drop => Refusal::suppress(detail).until(ends_at),
    })
}

/// Gate 11: another opening of the endpoint passed for this channel less than `cooldownSeconds` ago. Openings only;
/// channels of critical priority pass.
pub(super) fn cooldown(input: &GateInput<'_>, now: Timestamp) -> Option<Refusal> {
    let endpoint = input.endpoint.filter(|_| input.incident_trigger() == Some(IncidentTrigger::Opened))?;
    let cooldown_ms = u64::from(endpoint.definition.cooldown_seconds) * 1_000;
    let last = endpoint.last_opening_at.filter(|_| !input.has_priority())?;
    // The last opening lies in the future if the clock was set back. Counted from there, the cooldown would last until
    // the clock has caught up; counted from `now`, it is never longer than configured.
    let ends_at = last.min(now).plus_ms(cooldown_ms);
    (now < ends_at).then(|| {
        let until = input.zone.describe(ends_at, now);
        let cooldown = format_duration(cooldown_ms);
        Refusal::suppress(format!(
            "{} is in cooldown until {until}: its last opening was less than {cooldown} ago",
            endpoint.name
        ))
        .until(ends_at)
    })
}

/// Gate 12: the channel's rate limit is used up. Channels of critical priority pass.
///
/// Evaluated last, and not by [`super::evaluate`] but by the store: whether there is capacity is known only in the
/// transaction that accepts the delivery and counts it.
pub mod rate_limit {
    use super::super::{Gate, GateEvaluation, GateInput, OpeningOutcome, Refusal};
    use crate::calendar::Zone;
    use crate::rate_limit::{RateAction, RateLimit};
    use crate::time::Timestamp;

    /// The limit that applies to a delivery which passed all other gates; `None` if it is not limited.
    pub fn applies(input: &GateInput<'_>) -> Option<RateLimit> {
        let limit = input.channel.policies.rate_limit?;
        // A resolution follows its opening, which was admitted already.
        (!input.has_priority() && *input.opening != OpeningOutcome::Sent).then_some(limit)
    }

    /// The evaluation of a delivery that the limit refuses until `next_slot_at`.
    pub fn refusal(
        evaluation: GateEvaluation,
        limit: &RateLimit,
        channel_name: &str,
        next_slot_at: Timestamp,
        now: Timestamp,
        zone: &Zone,
    ) -> GateEvaluation {
        let detail = limit.describe(channel_name, next_slot_at, now, zone);
        evaluation.stopped_at(
            Gate::RateLimit,
            match limit.action {
                RateAction::Digest => Refusal::hold(detail, next_slot_at),
                RateAction::Drop => Refusal::suppress(detail).until(next_slot_at),
            },
        )
    }
}
