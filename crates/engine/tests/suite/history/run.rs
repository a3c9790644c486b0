//! Has it happen, and lets it come to its end.

use std::collections::{BTreeMap, HashSet};

use tidings_domain::check::{Check, CheckStatus, ExternalCheck};
use tidings_domain::delivery::Status;
use tidings_domain::endpoint::{Definition, EscalationStep};
use tidings_domain::gate::{Effect, Gate};
use tidings_domain::id::{ChannelId, CheckId, EndpointId, EventId, Id, RuleId, id_suffix, uuid_v7};
use tidings_domain::incident::{Cause, IncidentStatus, IncidentTrigger};
use tidings_domain::mute::MuteScope;
use tidings_domain::resource::ResourceType;
use tidings_domain::trigger::{RuleTrigger, Trigger};
use tidings_engine::settings::{ChannelEdit, RuleEdit};
use tidings_engine::{Simulation, SimulationRequest};

use super::plan::{Action, CHANNELS, ENDPOINTS, Setup};
use crate::log::is_open;
use crate::world::World;

/// The longest that it may take to come to an end, in steps of a minute.
const STEPS_MAX: u32 = 400;

/// What happened, and in what world.
pub struct History {
    pub world: World,
    pub setup: Setup,
    pub endpoints: Vec<EndpointId>,
    pub channels: Vec<ChannelId>,
    /// The rules of endpoint `n` are those from `n * CHANNELS` on.
    pub rules: Vec<RuleId>,
    /// A rule that tells the first channel of flows.
    pub flow_rule: RuleId,
    /// Where steps of escalations lead.
    pub boss: ChannelId,
    /// Whether all that is due is done before the next thing happens.
    pub is_calm: bool,
    checks: Vec<(EndpointId, CheckId, Check)>,
    runs: Vec<(String, Trigger)>,
}

/// What the receivers call a channel.
pub fn name(number: usize, merges: bool) -> String {
    if merges { format!("slack-{number}") } else { format!("hook-{number}") }
}

impl History {
    pub fn begin(setup: &Setup, is_calm: bool) -> Self {
        let world = World::new();
        let channel = |(number, channel): (usize, &super::plan::Channel)| {
            let name = name(number, channel.merges);
            let id = if channel.merges { world.slack(&name) } else { world.webhook(&name) };
            let edit = ChannelEdit {
                severity_filter: Some(channel.filter),
                event_filters: Some(channel.filters),
                delivery_priority: Some(channel.priority),
                rate_limit: Some(channel.limit),
                ..ChannelEdit::default()
            };
            world.edit(id, edit);
            id
        };
        let channels: Vec<_> = setup.channels.iter().enumerate().map(channel).collect();
        let boss = world.webhook("boss");
        let define = |it: &mut Definition| {
            it.cooldown_seconds = setup.cooldown;
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
                let all = number + 1 < CHANNELS;
                let triggers = if all { &RuleTrigger::OF_INCIDENTS[..] } else { &[RuleTrigger::Resolved] };
                rules.push(world.rule_of(*endpoint, *channel, triggers));
            }
        }
        let flow_rule = world.flow_rule(channels[0]);
        let (setup, checks, runs) = (setup.clone(), Vec::new(), Vec::new());
        Self { world, setup, endpoints, channels, rules, flow_rule, boss, is_calm, checks, runs }
    }

    pub fn act(&mut self, action: &Action) {
        let world = &self.world;
        match action {
            Action::Check(endpoint, status) => self.check(*endpoint, *status),
            Action::Run(fails) => self.run(*fails),
            Action::Pass(seconds) => world.pass(*seconds),
            Action::Mute { what, seconds, ends_on_recovery } => {
                let scope = match *what {
                    0 => MuteScope::Global,
                    endpoint if endpoint <= ENDPOINTS => MuteScope::Endpoint(self.endpoints[endpoint - 1]),
                    channel => MuteScope::Channel(self.channels[channel - 1 - ENDPOINTS]),
                };
                let ends_on_recovery = *ends_on_recovery && matches!(scope, MuteScope::Endpoint(_));
                world.new_mute(scope, *seconds, ends_on_recovery);
            }
            Action::Unmute => {
                let oldest = world.engine().mutes(world.workspace_id).unwrap().first().map(|mute| mute.id);
                oldest.into_iter().for_each(|id| world.unmute(id));
            }
            Action::Pause(rule, paused) => world.pause(self.rules[*rule], *paused),
            Action::Enable(rule, on) => self.enable(*rule, *on),
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
            Action::Acknowledge => self.acknowledge(),
            Action::Restart => self.world.restart(),
        }
        if self.is_calm {
            self.world.settle();
            self.is_at_rest();
        }
    }

    /// Nothing that should have been done by now is left, and nobody looks again and again.
    fn is_at_rest(&self) {
        let now = self.world.now();
        for delivery in self.world.deliveries() {
            assert!(delivery.held_until.is_none_or(|at| at > now), "still held: {delivery:?}");
            assert!(delivery.next_attempt_at.is_none_or(|at| at > now), "still due: {delivery:?}");
        }
        assert!(self.world.engine().next_poll_at().is_none_or(|at| at > now), "an incident is looked at all the time");
    }

    fn enable(&self, rule: usize, on: bool) {
        self.world.edit_rule(self.rules[rule], RuleEdit { enabled: Some(on), ..RuleEdit::default() });
    }

    fn acknowledge(&self) {
        for record in self.world.incidents() {
            if record.incident.status() == IncidentStatus::Active {
                let taken =
                    self.world.engine().acknowledge(self.world.workspace_id, record.incident.id, "ana".into(), None);
                self.world.wait(taken).unwrap();
            }
        }
    }

    fn check(&mut self, endpoint: usize, status: CheckStatus) {
        let endpoint = self.endpoints[endpoint];
        let question = self.is_calm.then(|| self.question(endpoint, status)).flatten();
        let foretold = question.map(|question| self.simulate(question));
        let reported = ExternalCheck {
            status,
            reason: None,
            status_code: None,
            response_time_ms: None,
            checked_at: self.world.now(),
        };
        let check = Check::reported(reported);
        let number = id_suffix(self.checks.len() as u32, [0; 10]);
        let id = CheckId::from_uuid(uuid_v7(self.world.now().unix_ms() as u64, &number));
        let told = self.world.engine().report_check(self.world.workspace_id, endpoint, Some(id), check.clone());
        let answer = self.world.wait(told).unwrap();
        assert!(!answer.is_duplicate);
        self.checks.push((endpoint, id, check));
        if let (Some(foretold), Some((incident_id, Some(trigger)))) = (foretold, answer.incident) {
            let events = self.world.events();
            let event = events.iter().find(|record| {
                record.event.run_id == incident_id.to_string() && record.event.trigger == Trigger::Incident(trigger)
            });
            self.compare(&foretold, event.unwrap().event.id);
        }
    }

    /// What to ask before this check, if something will follow from it.
    fn question(&self, id: EndpointId, status: CheckStatus) -> Option<SimulationRequest> {
        let state = self.world.wait(self.world.engine().endpoint_state(self.world.workspace_id, id));
        let cause = if status == CheckStatus::Down { Cause::EndpointDown } else { Cause::EndpointDegraded };
        let trigger = match (state.incident_id, status) {
            (None, CheckStatus::Down | CheckStatus::Degraded) => IncidentTrigger::Opened,
            (Some(_), CheckStatus::Healthy) => IncidentTrigger::Resolved,
            _ => return None,
        };
        Some(SimulationRequest::Endpoint { id, trigger, cause })
    }

    fn simulate(&self, question: SimulationRequest) -> Simulation {
        let world = &self.world;
        world.wait(world.engine().simulate(world.workspace_id, question, world.now())).unwrap()
    }

    /// What was foretold has come to be, rule by rule.
    fn compare(&self, foretold: &Simulation, event_id: EventId) {
        type Stopped = BTreeMap<Option<RuleId>, Option<(u8, Effect)>>;
        let stopped = |stopped: Option<(Gate, Effect)>| stopped.map(|(gate, effect)| (gate as u8, effect));
        let expected: Stopped = foretold
            .deliveries
            .iter()
            .map(|it| (it.rule_id, stopped(it.evaluation.stopped.as_ref().map(|(gate, stop)| (*gate, stop.effect)))))
            .collect();
        let of_event = |it: &tidings_store::history::DeliveryRecord| it.event.id == event_id && it.sequence == 1;
        let found: Stopped = self
            .world
            .deliveries()
            .iter()
            .filter(|it| of_event(it))
            .map(|it| {
                (it.rule_id, stopped(it.gate_evaluations[0].stopped.as_ref().map(|(gate, stop)| (*gate, stop.effect))))
            })
            .collect();
        assert_eq!(found, expected, "what was foretold of {:?}", foretold.kind);
    }

    fn run(&mut self, fails: bool) {
        let trigger = if fails { Trigger::Failure } else { Trigger::Success };
        let run_id = format!("run-{}", self.runs.len());
        let (resource_type, resource_id) = (ResourceType::Flow, "rollup".to_owned());
        let question = SimulationRequest::Run { resource_type, resource_id, trigger, trigger_type: None };
        let foretold = self.is_calm.then(|| self.simulate(question));
        let answer = self.world.report(&run_id, trigger);
        self.runs.push((run_id, trigger));
        foretold.iter().for_each(|foretold| self.compare(foretold, answer.event_id));
    }

    /// Nothing stands in the way any more, and nothing new comes by itself.
    pub fn lift(&self) {
        let world = &self.world;
        for (number, channel) in self.channels.iter().enumerate() {
            world.set_broken(&name(number, self.setup.channels[number].merges), false);
            world.set_enabled(*channel, true);
            world.set_quiet(*channel, None);
        }
        for (number, rule) in self.rules.iter().enumerate() {
            self.enable(number, true);
            world.pause(*rule, false);
        }
        for mute in world.engine().mutes(world.workspace_id).unwrap() {
            world.unmute(mute.id);
        }
        self.acknowledge();
        world.settle();
    }

    /// Lets time pass until everything is settled.
    pub fn run_out(&self) {
        // What cools down is said after that.
        self.world.pass(u64::from(self.setup.cooldown) + 1);
        for _ in 0..STEPS_MAX {
            if !self.world.deliveries().iter().any(is_open) {
                self.is_at_rest();
                return;
            }
            self.world.pass(61);
        }
        let open: Vec<_> = self.world.deliveries().into_iter().filter(is_open).collect();
        panic!("never settled: {open:#?}");
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

    /// Saying everything again changes nothing.
    pub fn say_all_again(&self) {
        let summary = |world: &World| {
            let said: Vec<_> = world.deliveries().iter().map(|it| (it.id, it.status, it.attempt_count)).collect();
            (said, world.events().len(), world.receiver.came().len())
        };
        let before = summary(&self.world);
        assert!(before.0.iter().all(|(_, status, _)| *status != Status::Sending));
        for (endpoint, id, check) in &self.checks {
            let told = self.world.engine().report_check(self.world.workspace_id, *endpoint, Some(*id), check.clone());
            assert!(self.world.wait(told).unwrap().is_duplicate);
        }
        for (run_id, trigger) in &self.runs {
            assert!(self.world.report(run_id, *trigger).duplicate);
        }
        self.world.settle();
        assert_eq!(summary(&self.world), before);
    }
}
