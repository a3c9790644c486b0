//! Properties of the evaluation over all gates: the first refusal decides, and each gate refuses for its own reason only.

use proptest::prelude::*;

use super::*;
use crate::access::Actor;
use crate::channel::tests::channel_for;
use crate::endpoint::{Definition, HttpProbe, Probe};
use crate::event::tests::failed_flow;
use crate::id::{Id, UserId, WorkspaceId};
use crate::maintenance::MaintenanceWindow;
use crate::mute::MuteScope;
use crate::quiet_hours::{QuietAction, QuietHours};
use crate::rate_limit::{RateAction, RateLimit};
use crate::rule::tests::rule_for;
use crate::severity::SeverityFilter;

const NOON: &str = "2026-05-02T12:00:00Z";

/// The gates in evaluation order, as stored and documented: number, name, reason, whether it is rechecked on send and
/// whether an opening that it suppressed is sent later.
const TABLE: [(Gate, u8, &str, &str, bool, bool); 13] = [
    (Gate::RulePaused, 1, "rule_paused", "rule_paused", true, true),
    (Gate::ChannelDisabled, 2, "channel_disabled", "channel_disabled", true, true),
    (Gate::RecoveryDisabled, 3, "recovery_disabled", "recovery_disabled", false, false),
    (Gate::GlobalMute, 4, "global_mute", "muted", true, true),
    (Gate::SeverityFilter, 5, "severity_filter", "severity_filter", false, false),
    (Gate::EventFilter, 6, "event_filter", "event_filter", false, false),
    (Gate::ScopedMute, 7, "scoped_mute", "muted", true, true),
    (Gate::Maintenance, 8, "maintenance", "maintenance", true, true),
    (Gate::NeverOpened, 13, "never_opened", "never_opened", false, false),
    (Gate::Dependency, 9, "dependency", "dependency", true, true),
    (Gate::QuietHours, 10, "quiet_hours", "quiet_hours", true, true),
    (Gate::Cooldown, 11, "cooldown", "cooldown", false, true),
    (Gate::RateLimit, 12, "rate_limit", "rate_limit", false, false),
];

/// The gates at which a resolution follows its opening. Written out, so that the oracle does not ask the code under test.
const FOLLOWS_OPENING: [Gate; 4] = [Gate::Dependency, Gate::QuietHours, Gate::Cooldown, Gate::RateLimit];

/// Every fact that a gate depends on.
#[derive(Debug, Clone)]
struct World {
    rule_paused: bool,
    has_rule: bool,
    channel_enabled: bool,
    filter: SeverityFilter,
    severity: Severity,
    sends: [bool; 3],
    priority: bool,
    quiet: Option<(QuietAction, bool)>,
    muted: [bool; 3],
    in_maintenance: bool,
    is_endpoint: bool,
    recovery_alert: bool,
    parent_down: bool,
    cooling: bool,
    trigger: Trigger,
    opening: OpeningOutcome,
}

fn world() -> impl Strategy<Value = World> {
    let triggers = [
        Trigger::Success,
        Trigger::Failure,
        Trigger::Incident(IncidentTrigger::Opened),
        Trigger::Incident(IncidentTrigger::Worsened),
        Trigger::Incident(IncidentTrigger::Escalated { after_seconds: 900 }),
        Trigger::Incident(IncidentTrigger::Reminder { number: 1 }),
        Trigger::Incident(IncidentTrigger::Flapping),
        Trigger::Incident(IncidentTrigger::Stable),
        Trigger::Incident(IncidentTrigger::Resolved),
    ];
    let held = Refusal::hold("held".into(), Timestamp::from_unix_ms(9));
    let openings = [
        OpeningOutcome::NotApplicable,
        OpeningOutcome::Sent,
        OpeningOutcome::NotSent,
        OpeningOutcome::Held { gate: Gate::QuietHours, refusal: held.clone() },
        OpeningOutcome::Held { gate: Gate::RateLimit, refusal: held },
    ];
    let rare = || proptest::bool::weighted(0.2);
    let often = || proptest::bool::weighted(0.8);
    let quiet = prop::option::weighted(0.3, (prop::sample::select(QuietAction::ALL.to_vec()), any::<bool>()));
    let one = (rare(), often(), often(), 0..3usize, 0..4usize, [often(), often(), often()], rare());
    let two = (quiet, [rare(), rare(), rare()], rare(), often(), often(), rare(), rare());
    let three = (prop::sample::select(triggers.to_vec()), prop::sample::select(openings.to_vec()));
    (one, two, three).prop_map(|(one, two, (trigger, opening))| {
        let (rule_paused, has_rule, channel_enabled, filter, severity, sends, priority) = one;
        let (quiet, muted, in_maintenance, is_endpoint, recovery_alert, parent_down, cooling) = two;
        let is_incident = matches!(trigger, Trigger::Incident(_));
        World {
            rule_paused,
            has_rule,
            channel_enabled,
            filter: [SeverityFilter::Info, SeverityFilter::Warning, SeverityFilter::Critical][filter],
            severity: [Severity::Critical, Severity::Warning, Severity::Info, Severity::Success][severity],
            sends,
            priority,
            quiet,
            muted,
            in_maintenance,
            is_endpoint: is_endpoint && is_incident,
            recovery_alert,
            parent_down,
            cooling,
            trigger,
            opening: if trigger == Trigger::Incident(IncidentTrigger::Resolved) {
                opening
            } else {
                OpeningOutcome::NotApplicable
            },
        }
    })
}

fn now() -> Timestamp {
    Timestamp::parse(NOON).unwrap()
}

impl World {
    /// Calls `evaluate` with the gate input of this world.
    fn with<T>(&self, evaluate: impl FnOnce(&GateInput<'_>) -> T) -> T {
        let event = failed_flow();
        let mut rule = rule_for(&event);
        rule.paused = self.rule_paused;
        let mut channel = channel_for(&rule);
        channel.enabled = self.channel_enabled;
        let policies = &mut channel.policies;
        policies.severity_filter = self.filter;
        let [send_open, send_resolved, send_escalated] = self.sends;
        policies.event_filters = crate::channel::EventFilters { send_open, send_resolved, send_escalated };
        policies.delivery_priority =
            if self.priority { DeliveryPriority::Critical } else { DeliveryPriority::Standard };
        policies.rate_limit = Some(RateLimit { max_per_minute: 1, action: RateAction::Digest });
        policies.quiet_hours = self.quiet.map(|(action, critical_passes)| QuietHours {
            start: "11:00".into(),
            end: "13:00".into(),
            timezone: "UTC".into(),
            days: Vec::new(),
            action,
            critical_passes,
        });
        let endpoint_id = EndpointId::from_bytes([7; 16]);
        let scopes = [MuteScope::Global, MuteScope::Endpoint(endpoint_id), MuteScope::Channel(channel.id)];
        let mutes: Vec<Mute> =
            scopes.into_iter().zip(self.muted).filter(|(_, is_on)| *is_on).map(|(scope, _)| mute(scope)).collect();
        let mut definition = Definition::new(Probe::Http(HttpProbe::new("https://example.com/")));
        definition.recovery_alert = self.recovery_alert;
        definition.cooldown_seconds = 600;
        if self.in_maintenance {
            let (starts_at, ends_at) = (now().minus_ms(1), now().plus_ms(60_000));
            definition.maintenance_windows = vec![MaintenanceWindow::Once { starts_at, ends_at }];
        }
        let endpoint = EndpointContext {
            id: endpoint_id,
            name: "API",
            definition: &definition,
            active_parent: self.parent_down.then_some("Database"),
            last_opening_at: self.cooling.then(|| now().minus_ms(1_000)),
        };
        evaluate(&GateInput {
            rule: self.has_rule.then_some(&rule),
            channel: &channel,
            severity: self.severity,
            trigger: self.trigger,
            mutes: &mutes,
            zone: &Zone::UTC,
            endpoint: self.is_endpoint.then_some(endpoint),
            opening: &self.opening,
        })
    }

    /// The oracle: whether the gate refuses, written from the documented table.
    fn refuses(&self, gate: Gate) -> bool {
        use IncidentTrigger::{Opened, Resolved, Stable};
        let class = self.trigger.class();
        let of_incident =
            |those: &[IncidentTrigger]| matches!(self.trigger, Trigger::Incident(it) if those.contains(&it));
        let passes = matches!(self.opening, OpeningOutcome::Sent);
        let held_by = match &self.opening {
            OpeningOutcome::Held { gate, .. } => Some(*gate),
            _ => None,
        };
        if FOLLOWS_OPENING.contains(&gate) && held_by.is_some() {
            return held_by == Some(gate);
        }
        match gate {
            Gate::RulePaused => self.rule_paused && self.has_rule,
            Gate::ChannelDisabled => !self.channel_enabled,
            Gate::RecoveryDisabled => self.is_endpoint && !self.recovery_alert && of_incident(&[Resolved]),
            Gate::GlobalMute => self.muted[0],
            Gate::SeverityFilter => !of_incident(&[Resolved, Stable]) && !self.filter.admits(self.severity),
            Gate::EventFilter => {
                let classes = crate::trigger::RuleTrigger::OF_INCIDENTS;
                classes.into_iter().zip(self.sends).any(|(it, is_sent)| it == class && !is_sent)
            }
            Gate::ScopedMute => (self.is_endpoint && self.muted[1]) || self.muted[2],
            Gate::Maintenance => self.is_endpoint && self.in_maintenance,
            Gate::NeverOpened => self.opening == OpeningOutcome::NotSent,
            Gate::Dependency => self.is_endpoint && self.parent_down && !passes,
            Gate::QuietHours => {
                let covers = |(_, critical_passes): (_, bool)| self.severity != Severity::Critical || !critical_passes;
                self.quiet.is_some_and(covers) && !passes
            }
            Gate::Cooldown => self.is_endpoint && self.cooling && of_incident(&[Opened]) && !self.priority,
            Gate::RateLimit => false,
        }
    }
}

fn mute(scope: MuteScope) -> Mute {
    Mute {
        id: MuteId::from_bytes([9; 16]),
        workspace_id: WorkspaceId::from_bytes([2; 16]),
        scope,
        expires_at: Some(now().plus_ms(1)),
        reason: String::new(),
        created_by: Actor::user(UserId::from_bytes([7; 16]), "ana@example.com"),
        created_at: now(),
        ends_on_recovery: false,
    }
}

#[test]
fn gate_numbers_are_stable() {
    for (gate, number, name, reason, ..) in TABLE {
        assert_eq!((gate as u8, gate.as_str(), gate.reason()), (number, name, reason));
        assert_eq!(Gate::from_number(number), Some(gate));
        assert_eq!(gate.bit(), 2u64.pow(number.into()));
    }
    assert_eq!([0, 14, u8::MAX].map(Gate::from_number), [None; 3]);
}

#[test]
fn gate_order_and_properties_match_the_documented_table() {
    assert_eq!(Gate::ORDER, TABLE.map(|(gate, ..)| gate));
    for (gate, _, _, _, is_rechecked, is_deferred) in TABLE {
        let found = (gate.is_rechecked_on_send(), gate.allows_deferred_delivery());
        assert_eq!(found, (is_rechecked, is_deferred), "{gate:?}");
        assert_eq!(gate.follows_opening(), FOLLOWS_OPENING.contains(&gate), "{gate:?}");
    }
}

#[test]
fn stored_evaluation_of_an_older_version_reads_back() {
    let stored = r#"{"at":1777694400000,"passed":16382}"#;
    let evaluation: GateEvaluation = serde_json::from_str(stored).unwrap();
    assert_eq!(evaluation.passed_gates().collect::<Vec<_>>(), Gate::ORDER, "all thirteen");
    assert_eq!(serde_json::to_string(&evaluation).unwrap(), stored);
}

#[test]
fn cooldown_ends_on_the_millisecond_also_after_the_clock_was_set_back() {
    let mut world = World {
        rule_paused: false,
        has_rule: true,
        channel_enabled: true,
        filter: SeverityFilter::Info,
        severity: Severity::Critical,
        sends: [true; 3],
        priority: false,
        quiet: None,
        muted: [false; 3],
        in_maintenance: false,
        is_endpoint: true,
        recovery_alert: true,
        parent_down: false,
        cooling: true,
        trigger: Trigger::Incident(IncidentTrigger::Opened),
        opening: OpeningOutcome::NotApplicable,
    };
    let ends_at = now().plus_ms(599_000);
    let refusal = world.with(|input| Gate::Cooldown.check(input, now())).unwrap();
    assert_eq!((refusal.until, refusal.effect), (Some(ends_at), Effect::Suppress));
    assert_eq!(refusal.detail, "API is in cooldown until 12:09:59 UTC: its last opening was less than 10 min 0 s ago");
    assert!(world.with(|input| Gate::Cooldown.check(input, ends_at)).is_none());
    let set_back = world.with(|input| Gate::Cooldown.check(input, now().minus_ms(3_600_000))).unwrap();
    assert_eq!(set_back.until, Some(now().minus_ms(3_000_000)), "counted from now, not from an opening in the future");
    world.priority = true;
    assert!(world.with(|input| Gate::Cooldown.check(input, now())).is_none());
}

proptest! {
    #[test]
    fn evaluation_stops_at_the_first_refusal(world in world()) {
        let expected = Gate::ORDER.into_iter().find(|gate| world.refuses(*gate));
        let evaluation = world.with(|input| evaluate(input, now()));
        prop_assert_eq!(evaluation.stopped.as_ref().map(|(gate, _)| *gate), expected);
        prop_assert_eq!(evaluation.evaluated_at, now());
        let before: Vec<_> = Gate::ORDER.into_iter().take_while(|gate| Some(*gate) != expected).collect();
        prop_assert_eq!(evaluation.passed_gates().collect::<Vec<_>>(), before);
        let stored = serde_json::to_string(&evaluation).unwrap();
        prop_assert_eq!(&serde_json::from_str::<GateEvaluation>(&stored).unwrap(), &evaluation, "reads back from the store");
    }

    #[test]
    fn each_gate_refuses_by_its_own_facts_and_re_evaluation_covers_the_rechecked_ones(world in world()) {
        for gate in Gate::ORDER {
            prop_assert_eq!(world.with(|input| gate.check(input, now())).is_some(), world.refuses(gate), "{:?}", gate);
        }
        let rechecked = TABLE.into_iter().filter(|(_, _, _, _, is_rechecked, _)| *is_rechecked).map(|(gate, ..)| gate);
        let expected = rechecked.into_iter().find(|gate| world.refuses(*gate));
        let again = world.with(|input| re_evaluate(input, now()));
        prop_assert_eq!(again.stopped.map(|(gate, _)| gate), expected);
    }

    #[test]
    fn held_evaluation_has_a_release_time_in_the_future(world in world()) {
        let evaluation = world.with(|input| evaluate(input, now()));
        if let Some((gate, until)) = evaluation.held() {
            let is_of_opening = matches!(&world.opening, OpeningOutcome::Held { gate: of_opening, .. } if *of_opening == gate);
            prop_assert!(until > now() || is_of_opening);
            prop_assert!(matches!(gate, Gate::QuietHours | Gate::RateLimit));
        }
    }

    #[test]
    fn rate_limit_applies_unless_priority_or_a_sent_opening_exempts(world in world()) {
        let applies = world.with(rate_limit::applies).is_some();
        prop_assert_eq!(applies, !world.priority && world.opening != OpeningOutcome::Sent);
    }
}
