//! Executes the actions of a history, and brings it to an end.

use std::collections::{BTreeMap, HashSet};

use tidings_domain::check::{Check, CheckStatus, ExternalCheck};
use tidings_domain::delivery::Status;
use tidings_domain::endpoint::{Definition, EscalationStep};
use tidings_domain::gate::{Effect, Gate};
use tidings_domain::id::{ChannelId, CheckId, EndpointId, EventId, Id, RuleId, id_suffix, uuid_v7};
use tidings_domain::incident::{Cause, IncidentStatus, IncidentTrigger};
use tidings_domain::maintenance::MaintenanceWindow;
use tidings_domain::mute::MuteScope;
use tidings_domain::resource::ResourceType;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::{RuleTrigger, Trigger};
use tidings_engine::{Simulation, SimulationRequest};

use super::strategies::{Action, CHANNELS, ENDPOINTS, Setup};
use crate::receiver::Mode;
use crate::records::is_unsettled;
use crate::world::{World, ana};

/// The longest time until everything is settled, in steps of a minute.
const STEPS_MAX: u32 = 400;

/// A history: its fixture, and what was reported to it.
pub struct History {
    pub world: World,
    pub setup: Setup,
    pub endpoints: Vec<EndpointId>,
    pub channels: Vec<ChannelId>,
    /// The rules of endpoint `n` are those from `n * CHANNELS` on.
    pub rules: Vec<RuleId>,
    /// All rules that each of `rules` has been, the present one last.
    pub former_rules: Vec<Vec<RuleId>>,
    /// When a rule was disabled or replaced, and until when it did not exist or match.
    pub gaps: Vec<(usize, Timestamp, Option<Timestamp>)>,
    /// A rule that notifies the first channel of flows.
    pub flow_rule: RuleId,
    /// The channel of the first escalation step.
    pub boss: ChannelId,
    /// Whether everything due is done before the next action.
    pub is_settled_each: bool,
    checks: Vec<(EndpointId, CheckId, Check)>,
    runs: Vec<(String, Trigger)>,
}

/// The triggers of the rule with this number.
fn triggers(rule: usize) -> &'static [RuleTrigger] {
    let all = rule % CHANNELS + 1 < CHANNELS;
    if all { &RuleTrigger::OF_INCIDENTS } else { &[RuleTrigger::Resolved] }
}

/// The name of a channel, and of its receiver.
pub fn name(number: usize, merges: bool) -> String {
    if merges { format!("slack-{number}") } else { format!("hook-{number}") }
}

impl History {
    pub fn begin(setup: &Setup, is_settled_each: bool) -> Self {
        let world = World::new();
        let channel = |(number, channel): (usize, &super::strategies::Channel)| {
            let name = name(number, channel.merges);
            let id = if channel.merges { world.slack(&name) } else { world.webhook(&name) };
            world.edit(id, |policies| {
                policies.severity_filter = channel.filter;
                policies.event_filters = channel.filters;
                policies.delivery_priority = channel.priority;
                policies.rate_limit = channel.limit;
            });
            id
        };
        let channels: Vec<_> = setup.channels.iter().enumerate().map(channel).collect();
        let boss = world.webhook("boss");
        let define = |it: &mut Definition| {
            it.cooldown_seconds = setup.cooldown_seconds;
            it.recovery_alert = setup.recovery_alert;
            it.reminder_minutes = setup.reminders.then_some(10);
            let step = |after_seconds, channel_id| EscalationStep { after_seconds, channel_id };
            it.escalation = if setup.escalation { vec![step(300, boss), step(900, channels[0])] } else { Vec::new() };
        };
        let parent = world.endpoint("parent", define);
        let child = world.endpoint("child", |it| {
            define(it);
            it.parent_id = Some(parent);
        });
        let endpoints = vec![parent, child, world.endpoint("alone", define)];
        let mut rules = Vec::new();
        for endpoint in &endpoints {
            for (number, channel) in channels.iter().enumerate() {
                rules.push(world.rule_for(*endpoint, *channel, triggers(number)));
            }
        }
        let flow_rule = world.flow_rule(channels[0]);
        let (setup, checks, runs) = (setup.clone(), Vec::new(), Vec::new());
        let (former_rules, gaps) = (rules.iter().map(|rule| vec![*rule]).collect(), Vec::new());
        Self {
            world,
            setup,
            endpoints,
            channels,
            rules,
            former_rules,
            gaps,
            flow_rule,
            boss,
            is_settled_each,
            checks,
            runs,
        }
    }

    pub fn act(&mut self, action: &Action) {
        let world = &self.world;
        match action {
            Action::Check(endpoint, status) => self.check(*endpoint, *status),
            Action::Run(fails) => self.run(*fails),
            Action::Advance(seconds) => world.advance(*seconds),
            Action::Mute { target, seconds, ends_on_recovery } => {
                let scope = match *target {
                    0 => MuteScope::Global,
                    endpoint if endpoint <= ENDPOINTS => MuteScope::Endpoint(self.endpoints[endpoint - 1]),
                    channel => MuteScope::Channel(self.channels[channel - 1 - ENDPOINTS]),
                };
                let ends_on_recovery = *ends_on_recovery && matches!(scope, MuteScope::Endpoint(_));
                world.new_mute(scope, *seconds, ends_on_recovery);
            }
            Action::Unmute => {
                let oldest = world.mutes().first().map(|mute| mute.id);
                oldest.into_iter().for_each(|id| world.unmute(id));
            }
            Action::Pause(rule, paused) => world.pause(self.rules[*rule], *paused),
            Action::Enable(rule, on) => self.enable(*rule, *on),
            Action::Replace(rule) => self.replace(*rule),
            Action::Maintain(endpoint, seconds) => {
                let (starts_at, ends_at) = (world.now(), world.now().plus_ms(seconds * 1_000));
                let window = MaintenanceWindow::Once { starts_at, ends_at };
                world.redefine(self.endpoints[*endpoint], |it| it.maintenance_windows = vec![window.clone()]);
            }
            Action::Channel(channel, on) => world.set_enabled(self.channels[*channel], *on),
            Action::Quiet(channel, hours) => {
                let hours = hours.map(|(minutes, action, critical_passes)| {
                    let mut hours = world.quiet_for(minutes);
                    (hours.action, hours.critical_passes) = (action, critical_passes);
                    hours
                });
                world.set_quiet(self.channels[*channel], hours);
            }
            Action::Receiver(channel, works) => {
                world.set_broken(&name(*channel, self.setup.channels[*channel].merges), !works);
            }
            Action::Slow(channel) => {
                world.receiver.set(&name(*channel, self.setup.channels[*channel].merges), Mode::Slow);
            }
            Action::Acknowledge => self.acknowledge(),
            Action::Restart => self.world.restart(),
        }
        if self.is_settled_each {
            self.world.settle();
            self.assert_idle();
        }
    }

    /// Nothing due is left, and no loop is busy.
    fn assert_idle(&self) {
        let now = self.world.now();
        for delivery in self.world.deliveries() {
            assert!(delivery.held_until.is_none_or(|at| at > now), "still held: {delivery:?}");
            assert!(delivery.next_attempt_at.is_none_or(|at| at > now), "still due: {delivery:?}");
        }
        assert!(self.world.engine().next_poll_at().is_none_or(|at| at > now), "the timer loop is busy");
    }

    fn replace(&mut self, rule: usize) {
        let (world, now) = (&self.world, self.world.now());
        world.delete_rule(self.rules[rule]);
        let (endpoint, channel) = (self.endpoints[rule / CHANNELS], self.channels[rule % CHANNELS]);
        self.rules[rule] = world.rule_for(endpoint, channel, triggers(rule));
        self.former_rules[rule].push(self.rules[rule]);
        self.end_gap(rule);
        self.gaps.push((rule, now, Some(now)));
    }

    fn end_gap(&mut self, rule: usize) {
        let now = self.world.now();
        let gaps = self.gaps.iter_mut().filter(|(of, _, until)| *of == rule && until.is_none());
        gaps.for_each(|(_, _, until)| *until = Some(now));
    }

    fn enable(&mut self, rule: usize, on: bool) {
        if on {
            self.end_gap(rule);
        } else {
            self.gaps.push((rule, self.world.now(), None));
        }
        self.world.edit_rule(self.rules[rule], |rule| rule.enabled = on);
    }

    fn acknowledge(&self) {
        for record in self.world.incidents() {
            if record.incident.status() == IncidentStatus::Active {
                let acknowledged =
                    self.world.engine().acknowledge(self.world.workspace_id, record.incident.id, ana(), None, None);
                self.world.wait(acknowledged).unwrap();
            }
        }
    }

    fn check(&mut self, endpoint: usize, status: CheckStatus) {
        let endpoint = self.endpoints[endpoint];
        let request = self.is_settled_each.then(|| self.simulation_request(endpoint, status)).flatten();
        let simulation = request.map(|request| self.simulate(request));
        let check = ExternalCheck {
            status,
            reason: None,
            status_code: None,
            response_time_ms: None,
            checked_at: self.world.now(),
        };
        let check = Check::from_external(check);
        let number = id_suffix(self.checks.len() as u32, [0; 10]);
        let id = CheckId::from_uuid(uuid_v7(self.world.now().unix_ms() as u64, &number));
        let reported = self.world.engine().report_check(self.world.workspace_id, endpoint, Some(id), check.clone());
        let outcome = self.world.wait(reported).unwrap();
        assert!(!outcome.is_duplicate);
        self.checks.push((endpoint, id, check));
        if let (Some(simulation), Some((incident_id, Some(trigger)))) = (simulation, outcome.incident) {
            let events = self.world.events();
            let event = events.iter().find(|record| {
                record.event.run_id == incident_id.to_string() && record.event.trigger == Trigger::Incident(trigger)
            });
            self.assert_as_simulated(&simulation, event.unwrap().event.id);
        }
    }

    /// The simulation of what this check will lead to, if anything.
    fn simulation_request(&self, id: EndpointId, status: CheckStatus) -> Option<SimulationRequest> {
        let state = self.world.wait(self.world.engine().endpoint_state(self.world.workspace_id, id));
        let cause = if status == CheckStatus::Down { Cause::EndpointDown } else { Cause::EndpointDegraded };
        let trigger = match (state.incident_id, status) {
            (None, CheckStatus::Down | CheckStatus::Degraded) => IncidentTrigger::Opened,
            (Some(_), CheckStatus::Healthy) => IncidentTrigger::Resolved,
            _ => return None,
        };
        Some(SimulationRequest::Endpoint { id, trigger, cause })
    }

    fn simulate(&self, request: SimulationRequest) -> Simulation {
        let world = &self.world;
        world.wait(world.engine().simulate(world.workspace_id, request, world.now())).unwrap()
    }

    /// The deliveries of the event are as simulated, rule by rule.
    fn assert_as_simulated(&self, simulation: &Simulation, event_id: EventId) {
        type Stopped = BTreeMap<Option<RuleId>, Option<(u8, Effect)>>;
        let stopped = |stopped: Option<(Gate, Effect)>| stopped.map(|(gate, effect)| (gate as u8, effect));
        let expected: Stopped = simulation
            .deliveries
            .iter()
            .map(|it| {
                (it.rule_id, stopped(it.evaluation.stopped.as_ref().map(|(gate, refusal)| (*gate, refusal.effect))))
            })
            .collect();
        let of_event = |it: &tidings_store::history::DeliveryRecord| it.event.id == event_id && it.sequence == 1;
        let found: Stopped = self
            .world
            .deliveries()
            .iter()
            .filter(|it| of_event(it))
            .map(|it| {
                (
                    it.rule_id,
                    stopped(it.gate_evaluations[0].stopped.as_ref().map(|(gate, refusal)| (*gate, refusal.effect))),
                )
            })
            .collect();
        assert_eq!(found, expected, "simulation of {:?}", simulation.kind);
    }

    fn run(&mut self, fails: bool) {
        let trigger = if fails { Trigger::Failure } else { Trigger::Success };
        let run_id = format!("run-{}", self.runs.len());
        let (resource_type, resource_id) = (ResourceType::Flow, "rollup".to_owned());
        let request = SimulationRequest::Run { resource_type, resource_id, trigger, trigger_type: None };
        let simulation = self.is_settled_each.then(|| self.simulate(request));
        let acceptance = self.world.report(&run_id, trigger);
        self.runs.push((run_id, trigger));
        simulation.iter().for_each(|simulation| self.assert_as_simulated(simulation, acceptance.event_id));
    }

    /// Opens every gate that an action closed, and acknowledges all incidents, so that nothing escalates any more.
    pub fn open_all_gates(&mut self) {
        (0..self.rules.len()).for_each(|rule| self.enable(rule, true));
        let world = &self.world;
        for (number, channel) in self.channels.iter().enumerate() {
            world.set_broken(&name(number, self.setup.channels[number].merges), false);
            world.set_enabled(*channel, true);
            world.set_quiet(*channel, None);
        }
        self.rules.iter().for_each(|rule| world.pause(*rule, false));
        self.endpoints.iter().for_each(|id| world.redefine(*id, |it| it.maintenance_windows.clear()));
        for mute in world.mutes() {
            world.unmute(mute.id);
        }
        self.acknowledge();
        world.settle();
    }

    /// Advances the clock until everything is settled.
    pub fn run_until_settled(&self) {
        // Openings that the cooldown deferred are sent after it.
        self.world.advance(u64::from(self.setup.cooldown_seconds) + 1);
        for _ in 0..STEPS_MAX {
            if !self.world.deliveries().iter().any(is_unsettled) {
                self.assert_idle();
                return;
            }
            self.world.advance(61);
        }
        let unsettled: Vec<_> = self.world.deliveries().into_iter().filter(is_unsettled).collect();
        panic!("never settled: {unsettled:#?}");
    }

    fn resolve(&mut self, endpoint: usize) {
        let subject = tidings_domain::incident::Subject::Endpoint(self.endpoints[endpoint]);
        let active: HashSet<_> = self.active().map(|incident| incident.subject).collect();
        if active.contains(&subject) {
            self.check(endpoint, CheckStatus::Healthy);
            self.world.settle();
        }
    }

    /// The incidents that are active.
    pub fn active(&self) -> impl Iterator<Item = tidings_domain::incident::Incident> {
        let all = self.world.incidents().into_iter().map(|record| record.incident);
        all.filter(|incident| incident.status() == IncidentStatus::Active)
    }

    pub fn resolve_parent(&mut self) {
        self.resolve(0);
    }

    pub fn resolve_all(&mut self) {
        (0..ENDPOINTS).for_each(|endpoint| self.resolve(endpoint));
    }

    /// Reporting everything again changes nothing.
    pub fn report_everything_again(&self) {
        let summary = |world: &World| {
            let deliveries: Vec<_> = world.deliveries().iter().map(|it| (it.id, it.status, it.attempt_count)).collect();
            (deliveries, world.events().len(), world.receiver.requests().len())
        };
        let before = summary(&self.world);
        assert!(before.0.iter().all(|(_, status, _)| *status != Status::Sending));
        for (endpoint, id, check) in &self.checks {
            let reported =
                self.world.engine().report_check(self.world.workspace_id, *endpoint, Some(*id), check.clone());
            assert!(self.world.wait(reported).unwrap().is_duplicate);
        }
        for (run_id, trigger) in &self.runs {
            assert!(self.world.report(run_id, *trigger).duplicate);
        }
        self.world.settle();
        assert_eq!(summary(&self.world), before);
    }
}
