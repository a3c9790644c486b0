//! The test fixture: a data directory, a manual clock, a receiver, and an engine that can be killed and restarted.
//!
//! The engine runs only while the test waits for something: its runtime has no thread of its own. Dropping that runtime
//! ends all tasks at once, as a killed process does.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_channels::egress::{Egress, Guard};
use tidings_channels::{ChannelConfig, ChannelContext, registry};
use tidings_domain::access::Actor;
use tidings_domain::audit::{AuditAction, AuditEntry};
use tidings_domain::channel::{Channel, ChannelType, Connectivity, Policies};
use tidings_domain::check::{Check, CheckStatus, ExternalCheck};
use tidings_domain::endpoint::{Definition, Endpoint, Probe};
use tidings_domain::id::{ChannelId, EndpointId, Id as _, MuteId, RuleId, UserId, WorkspaceId};
use tidings_domain::incident::IncidentTrigger;
use tidings_domain::mute::{Mute, MuteScope};
use tidings_domain::quiet_hours::QuietHours;
use tidings_domain::resource::{ResourceSelector, ResourceType};
use tidings_domain::rule::Rule;
use tidings_domain::run::Run;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::{RuleTrigger, Trigger};
use tidings_domain::workspace::Workspace;
use tidings_engine::accept::RunReport;
use tidings_engine::clock::{Clock, ManualClock, new_id};
use tidings_engine::settings::channels::new_signing_secret;
use tidings_engine::settings::endpoints::rules_for;
use tidings_engine::settings::{ConfigPlan, instance};
use tidings_engine::snapshot::WorkspaceView;
use tidings_engine::vault::Vault;
use tidings_engine::{Engine, EngineError, Options};
use tidings_store::Store;
use tidings_store::accounts::AuditFilter;
use tidings_store::queue::Acceptance;
use tidings_store::settings::{ConfigChange, Precondition, Preferences, WorkspaceRecord};
use tidings_store::sqlite::SqliteStore;
use tokio::runtime::{Builder, Runtime};

use crate::receiver::{Mode, Receiver, SLACK_API};

/// Longer than any wait in these tests takes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The fixture.
pub struct World {
    /// Begins at noon of a Saturday, UTC.
    pub clock: Arc<ManualClock>,
    /// Receives everything that is sent.
    pub receiver: Receiver,
    pub workspace_id: WorkspaceId,
    process: Option<Process>,
    directory: TempDir,
}

struct Process {
    engine: Engine,
    runtime: Runtime,
}

/// A person.
pub fn ana() -> Actor {
    Actor::user(UserId::from_bytes([7; 16]), "Ana")
}

impl World {
    pub fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-05-02T12:00:00Z").unwrap()));
        let directory = tempfile::tempdir().unwrap();
        let receiver = Receiver::start();
        let process = Process::start(&directory, &clock, receiver.address);
        let workspace_id = process.engine.workspace_id("default").unwrap();
        Self { clock, receiver, workspace_id, process: Some(process), directory }
    }

    /// Kills the process and starts another one.
    pub fn restart(&mut self) {
        self.process = None;
        self.process = Some(Process::start(&self.directory, &self.clock, self.receiver.address));
    }

    /// Stops the process as a service is stopped, and starts another one.
    pub fn stop_and_restart(&mut self) {
        assert!(self.wait(self.engine().stop(TIMEOUT)));
        self.restart();
    }

    fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    pub fn engine(&self) -> &Engine {
        &self.process().engine
    }

    /// Waits for the future; the engine runs meanwhile.
    #[track_caller]
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let waited = async { tokio::time::timeout(TIMEOUT, future).await };
        self.process().runtime.block_on(waited).expect("timed out")
    }

    /// An entry of the audit log, for an operation that takes one.
    pub fn audit_entry(&self, action: AuditAction) -> AuditEntry {
        AuditEntry {
            id: new_id(self.clock.as_ref(), self.now()),
            workspace_id: Some(self.workspace_id),
            at: self.now(),
            actor: ana(),
            action,
            target_id: None,
            target_name: None,
            changes: Default::default(),
            address: None,
            request_id: None,
        }
    }

    /// The audit log of the workspace, newest first.
    pub fn audit_log(&self) -> Vec<AuditEntry> {
        let filter = AuditFilter { limit: 100, ..AuditFilter::default() };
        self.wait(self.engine().accounts().audit_log(Some(self.workspace_id), filter)).unwrap()
    }

    // Time -------------------------------------------------------------------------------------------------------------

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Waits until everything due now is done.
    #[track_caller]
    pub fn settle(&self) {
        self.wait(self.engine().wait_until_idle());
    }

    /// Advances the clock, and waits until everything due then is done.
    #[track_caller]
    pub fn advance(&self, seconds: u64) {
        self.clock.advance_ms(seconds * 1_000);
        self.settle();
    }

    /// Advances the clock in steps.
    #[track_caller]
    pub fn advance_in_steps(&self, seconds: u64, step: u64) {
        (0..seconds.div_ceil(step)).for_each(|_| self.advance(step));
    }

    /// Quiet hours that began a minute ago and end in `minutes`.
    pub fn quiet_for(&self, minutes: i64) -> QuietHours {
        let clock_time = |at: Timestamp| at.to_string()[11..16].to_owned();
        let now = self.now().unix_ms();
        let at = |minutes: i64| clock_time(Timestamp::from_unix_ms(now + minutes * 60_000));
        let hours = json!({"start": at(-1), "end": at(minutes), "timezone": "UTC"});
        serde_json::from_value(hours).unwrap()
    }

    // Configuration ----------------------------------------------------------------------------------------------------

    /// A webhook that retries after a minute, and again after two more.
    #[track_caller]
    pub fn webhook(&self, name: &str) -> ChannelId {
        self.channel(name, ChannelType::Webhook)
    }

    /// A channel that merges messages. Its name begins with `slack`, which makes the receiver respond like Slack.
    #[track_caller]
    pub fn slack(&self, name: &str) -> ChannelId {
        assert!(name.starts_with("slack"));
        self.channel(name, ChannelType::Slack)
    }

    /// Slack with a bot token.
    #[track_caller]
    pub fn slack_bot(&self) -> ChannelId {
        let config = json!({"botToken": "xoxb-1234567890-abcdef", "channel": "#ops"});
        self.channel_of(SLACK_API, ChannelType::Slack, &config)
    }

    #[track_caller]
    fn channel(&self, name: &str, channel_type: ChannelType) -> ChannelId {
        let url = format!("http://{}/{name}", self.receiver.address);
        let config = if channel_type == ChannelType::Slack { json!({"webhookUrl": url}) } else { json!({"url": url}) };
        self.channel_of(name, channel_type, &config)
    }

    #[track_caller]
    fn channel_of(&self, name: &str, channel_type: ChannelType, config: &Value) -> ChannelId {
        let (id, put) = self.new_channel(name, channel_type, config, None);
        self.change(|_| vec![put.clone()]);
        id
    }

    /// A channel, private to the rule if there is an owner, and the change that stores it.
    fn new_channel(
        &self,
        name: &str,
        channel_type: ChannelType,
        config: &Value,
        owner_rule_id: Option<RuleId>,
    ) -> (ChannelId, ConfigChange) {
        let settings = self.engine().settings();
        let checked =
            registry::plugin(channel_type).check(config.as_object().unwrap(), None, settings.channel_context());
        let mut config = checked.unwrap();
        let now = self.now();
        new_signing_secret(&mut config, channel_type, settings.clock(), now);
        let policies = match owner_rule_id {
            Some(_) => Policies::default(),
            None => Policies { retry_delays_seconds: Some(vec![60, 120]), ..Policies::default() },
        };
        let channel = Channel {
            id: new_id(settings.clock(), now),
            workspace_id: self.workspace_id,
            owner_rule_id,
            name: name.to_owned(),
            channel_type,
            settings: config.settings.clone(),
            enabled: true,
            disabled_reason: None,
            policies,
            connectivity: Connectivity::default(),
            revision: 1,
            created_at: now,
            updated_at: now,
        };
        let id = channel.id;
        (id, ConfigChange::PutChannel(settings.channel_record(channel, &config), Precondition::Absent))
    }

    /// Commits these changes of the configuration.
    #[track_caller]
    pub fn change(&self, changes: impl Fn(&WorkspaceView) -> Vec<ConfigChange>) {
        let plan = |view: &WorkspaceView, _| Ok::<_, EngineError>(ConfigPlan { changes: changes(view), value: () });
        self.wait(self.engine().settings().update(self.workspace_id, plan)).unwrap();
    }

    /// Edits a channel's policies.
    #[track_caller]
    pub fn edit(&self, id: ChannelId, edit: impl Fn(&mut Policies)) {
        self.edit_channel(id, |channel, _| edit(&mut channel.policies));
    }

    /// Gives a webhook another URL.
    #[track_caller]
    pub fn set_url(&self, id: ChannelId, url: &str) {
        let context = self.engine().settings().channel_context();
        let fields = json!({"url": url}).as_object().unwrap().clone();
        self.edit_channel(id, |channel, config| {
            *config = registry::plugin(channel.channel_type).check(&fields, Some(config), context).unwrap();
            channel.settings.clone_from(&config.settings);
        });
        self.engine().queue().forget_pause(id);
    }

    #[track_caller]
    fn edit_channel(&self, id: ChannelId, edit: impl Fn(&mut Channel, &mut ChannelConfig)) {
        self.change(|view| {
            let loaded = view.channel(id).unwrap();
            let (mut channel, mut config) = (loaded.channel.clone(), loaded.config.clone());
            edit(&mut channel, &mut config);
            channel.revision += 1;
            let record = self.engine().settings().channel_record(channel, &config);
            vec![ConfigChange::PutChannel(record, Precondition::Revision(loaded.channel.revision))]
        });
    }

    #[track_caller]
    pub fn set_quiet(&self, id: ChannelId, hours: Option<QuietHours>) {
        self.edit(id, |policies| policies.quiet_hours.clone_from(&hours));
    }

    #[track_caller]
    pub fn set_enabled(&self, id: ChannelId, enabled: bool) {
        self.edit_channel(id, |channel, _| channel.enabled = enabled);
    }

    /// An endpoint whose first failing check opens an incident, and whose first healthy check resolves it.
    #[track_caller]
    pub fn endpoint(&self, name: &str, define: impl FnOnce(&mut Definition)) -> EndpointId {
        let mut definition = Definition::new(Probe::Tcp { host: "203.0.113.7".into(), port: 7 });
        (definition.failure_threshold, definition.recovery_threshold) = (1, 1);
        define(&mut definition);
        let now = self.now();
        let endpoint = Endpoint {
            id: new_id(self.engine().settings().clock(), now),
            workspace_id: self.workspace_id,
            name: name.to_owned(),
            enabled: true,
            definition,
            revision: 1,
            created_at: now,
            updated_at: now,
        };
        let id = endpoint.id;
        let put = ConfigChange::PutEndpoint(self.engine().settings().endpoint_record(endpoint), Precondition::Absent);
        self.change(|_| vec![put.clone()]);
        id
    }

    /// An endpoint with default settings otherwise.
    #[track_caller]
    pub fn simple_endpoint(&self, name: &str) -> EndpointId {
        self.endpoint(name, |_| {})
    }

    #[track_caller]
    pub fn redefine(&self, id: EndpointId, define: impl Fn(&mut Definition)) {
        self.edit_endpoint(id, |endpoint| define(&mut endpoint.definition));
    }

    /// Pauses or resumes the endpoint.
    #[track_caller]
    pub fn set_endpoint_enabled(&self, id: EndpointId, enabled: bool) {
        self.edit_endpoint(id, |endpoint| endpoint.enabled = enabled);
    }

    #[track_caller]
    fn edit_endpoint(&self, id: EndpointId, edit: impl Fn(&mut Endpoint)) {
        let before = self.engine().endpoint(self.workspace_id, id).unwrap();
        self.change(|view| {
            let mut endpoint = view.endpoint(id).unwrap().endpoint.clone();
            let before = endpoint.revision;
            edit(&mut endpoint);
            endpoint.revision += 1;
            let record = self.engine().settings().endpoint_record(endpoint);
            vec![ConfigChange::PutEndpoint(record, Precondition::Revision(before))]
        });
        let (before, after) = (&before.endpoint, self.engine().endpoint(self.workspace_id, id).unwrap());
        if after.endpoint.definition.probe != before.definition.probe || after.endpoint.enabled && !before.enabled {
            self.wait(self.engine().restart_streak(self.workspace_id, id)).unwrap();
        }
    }

    /// Deletes the endpoint with its rules, as the API does. Its children have no parent afterwards.
    pub async fn delete_endpoint(&self, id: EndpointId) {
        self.engine().end_incident_of_deleted(self.workspace_id, id).await.unwrap();
        let settings = self.engine().settings();
        let plan = |view: &WorkspaceView, now| {
            let mut changes = Vec::new();
            for rule in rules_for(view, id) {
                changes.push(ConfigChange::DeleteRule(rule.id));
                let channel = view.channel(rule.channel_id).filter(|loaded| !loaded.is_shared());
                changes.extend(channel.map(|loaded| ConfigChange::DeleteChannel(loaded.channel.id)));
            }
            for child in view.endpoints().filter(|it| it.endpoint.definition.parent_id == Some(id)) {
                let mut child = child.endpoint.clone();
                let before = child.revision;
                (child.definition.parent_id, child.revision) = (None, before + 1);
                let record = settings.endpoint_record(child);
                changes.push(ConfigChange::PutEndpoint(record, Precondition::Revision(before)));
            }
            changes.push(ConfigChange::DeleteEndpoint(id, now));
            Ok::<_, EngineError>(ConfigPlan { changes, value: () })
        };
        settings.update(self.workspace_id, plan).await.unwrap();
    }

    /// A rule that notifies this channel of all events of the endpoint's incidents.
    #[track_caller]
    pub fn rule(&self, endpoint: EndpointId, channel: ChannelId) -> RuleId {
        self.rule_for(endpoint, channel, &RuleTrigger::OF_INCIDENTS)
    }

    #[track_caller]
    pub fn rule_for(&self, endpoint: EndpointId, channel: ChannelId, triggers: &[RuleTrigger]) -> RuleId {
        let mut rule = self.draft_rule(ResourceType::Endpoint, ResourceSelector::One(endpoint.to_string()), channel);
        rule.settings.triggers = triggers.to_vec();
        self.put_rule(rule, Vec::new())
    }

    /// A rule like [`Self::rule`], with a private webhook under this name at the receiver.
    #[track_caller]
    pub fn private_rule(&self, endpoint: EndpointId, name: &str) -> RuleId {
        let rule_id = new_id(self.engine().clock(), self.now());
        let config = json!({"url": format!("http://{}/{name}", self.receiver.address)});
        let (channel_id, put) = self.new_channel(name, ChannelType::Webhook, &config, Some(rule_id));
        let resource = ResourceSelector::One(endpoint.to_string());
        let rule = Rule { id: rule_id, ..self.draft_rule(ResourceType::Endpoint, resource, channel_id) };
        self.put_rule(rule, vec![put])
    }

    /// A rule that notifies this channel of all events of every endpoint's incidents.
    #[track_caller]
    pub fn rule_of_every_endpoint(&self, channel: ChannelId) -> RuleId {
        self.put_rule(self.draft_rule(ResourceType::Endpoint, ResourceSelector::All, channel), Vec::new())
    }

    /// A rule that notifies this channel of all events of every alert.
    #[track_caller]
    pub fn alert_rule(&self, channel: ChannelId) -> RuleId {
        self.put_rule(self.draft_rule(ResourceType::Alert, ResourceSelector::All, channel), Vec::new())
    }

    /// A rule that notifies this channel of the runs of every flow.
    #[track_caller]
    pub fn flow_rule(&self, channel: ChannelId) -> RuleId {
        self.put_rule(self.draft_rule(ResourceType::Flow, ResourceSelector::All, channel), Vec::new())
    }

    /// A rule for every event of the resource that is not stored yet.
    fn draft_rule(&self, resource_type: ResourceType, resource: ResourceSelector, channel: ChannelId) -> Rule {
        let now = self.now();
        Rule::new(new_id(self.engine().clock(), now), self.workspace_id, (resource_type, resource), channel, now)
    }

    /// Stores a new rule after these changes.
    #[track_caller]
    fn put_rule(&self, rule: Rule, mut changes: Vec<ConfigChange>) -> RuleId {
        let id = rule.id;
        changes.push(ConfigChange::PutRule(rule, Precondition::Absent));
        self.change(|_| changes.clone());
        id
    }

    #[track_caller]
    pub fn edit_rule(&self, id: RuleId, edit: impl Fn(&mut Rule)) {
        self.change(|view| {
            let before = view.rule(id).unwrap();
            let mut rule = Rule::clone(before);
            edit(&mut rule);
            vec![ConfigChange::PutRule(rule.revised(before, self.now()), Precondition::Revision(before.revision))]
        });
    }

    /// Deletes a rule with its private channel.
    #[track_caller]
    pub fn delete_rule(&self, id: RuleId) {
        self.change(|view| {
            let private = view.private_channel(view.rule(id).unwrap());
            let private = private.map(|loaded| ConfigChange::DeleteChannel(loaded.channel.id));
            [ConfigChange::DeleteRule(id)].into_iter().chain(private).collect()
        });
    }

    #[track_caller]
    pub fn pause(&self, id: RuleId, paused: bool) {
        self.edit_rule(id, |rule| rule.paused = paused);
    }

    #[track_caller]
    pub fn mute(&self, scope: MuteScope, seconds: Option<u64>) -> MuteId {
        self.new_mute(scope, seconds, false)
    }

    #[track_caller]
    pub fn new_mute(&self, scope: MuteScope, seconds: Option<u64>, ends_on_recovery: bool) -> MuteId {
        let expires_at = seconds.map(|seconds| self.now().plus_ms(seconds * 1_000));
        let (id, created_at) = (new_id(self.engine().clock(), self.now()), self.now());
        let (workspace_id, reason, created_by) = (self.workspace_id, "test".to_owned(), ana());
        let mute = Mute { id, workspace_id, scope, expires_at, reason, created_by, created_at, ends_on_recovery };
        self.change(|_| vec![ConfigChange::PutMute(mute.clone())]);
        id
    }

    /// The mutes that have not ended, oldest first.
    #[track_caller]
    pub fn mutes(&self) -> Vec<Mute> {
        let view = self.engine().view(self.workspace_id).unwrap();
        view.mutes.iter().filter(|mute| mute.is_active(self.now())).cloned().collect()
    }

    #[track_caller]
    pub fn unmute(&self, id: MuteId) {
        let now = self.now();
        self.change(|_| vec![ConfigChange::EndMute(id, now)]);
    }

    // Events -----------------------------------------------------------------------------------------------------------

    /// Reports a check. What follows from it is committed, but not sent yet.
    #[track_caller]
    pub fn check(&self, endpoint: EndpointId, status: CheckStatus) -> Option<IncidentTrigger> {
        self.check_at(endpoint, status, self.now())
    }

    /// Reports a check that was made then.
    #[track_caller]
    pub fn check_at(
        &self,
        endpoint: EndpointId,
        status: CheckStatus,
        checked_at: Timestamp,
    ) -> Option<IncidentTrigger> {
        let reason = status.is_failing().then(|| "timed out".to_owned());
        let reported = ExternalCheck { status, reason, status_code: None, response_time_ms: None, checked_at };
        let check = Check::from_external(reported);
        let outcome = self.wait(self.engine().report_check(self.workspace_id, endpoint, None, check)).unwrap();
        outcome.incident.and_then(|(_, transition)| transition)
    }

    /// Reports a check with this reason.
    #[track_caller]
    pub fn check_with_reason(&self, endpoint: EndpointId, status: CheckStatus, reason: &str) {
        let (status_code, response_time_ms, checked_at) = (None, None, self.now());
        let reported = ExternalCheck { status, reason: Some(reason.into()), status_code, response_time_ms, checked_at };
        let check = Check::from_external(reported);
        self.wait(self.engine().report_check(self.workspace_id, endpoint, None, check)).unwrap();
    }

    /// Waits until the receiver has got a request of this channel.
    #[track_caller]
    pub fn wait_for_request(&self, channel: &str) {
        while self.receiver.requests_to(channel).is_empty() {
            self.wait(async { tokio::time::sleep(Duration::from_millis(2)).await });
        }
    }

    /// The endpoint goes down, and its notifications are sent.
    #[track_caller]
    pub fn down(&self, endpoint: EndpointId) {
        assert_eq!(self.check(endpoint, CheckStatus::Down), Some(IncidentTrigger::Opened));
        self.settle();
    }

    /// The endpoint becomes degraded, and its notifications are sent.
    #[track_caller]
    pub fn degraded(&self, endpoint: EndpointId) {
        assert_eq!(self.check(endpoint, CheckStatus::Degraded), Some(IncidentTrigger::Opened));
        self.settle();
    }

    /// The endpoint recovers, and its notifications are sent.
    #[track_caller]
    pub fn up(&self, endpoint: EndpointId) {
        assert_eq!(self.check(endpoint, CheckStatus::Healthy), Some(IncidentTrigger::Resolved));
        self.settle();
    }

    /// A finished run of a flow.
    pub fn run_of(&self, run_id: &str, trigger: Trigger) -> RunReport {
        let run = Run {
            resource_name: None,
            trigger_type: None,
            started_at: None,
            completed_at: self.now(),
            duration_ms: None,
            row_count: None,
            error_message: None,
            output: None,
            deep_link: None,
            truncated: Vec::new(),
        };
        let (resource_type, resource_id) = (ResourceType::Flow, "rollup".into());
        RunReport { resource_type, resource_id, run_id: run_id.to_owned(), trigger, run, fingerprint: 0 }
    }

    /// Reports a finished run of a flow.
    #[track_caller]
    pub fn report(&self, run_id: &str, trigger: Trigger) -> Acceptance {
        let report = self.run_of(run_id, trigger);
        self.wait(self.engine().report(self.workspace_id, vec![report])).unwrap().pop().unwrap()
    }

    /// Reports a failed run; its notifications are sent.
    #[track_caller]
    pub fn fail_run(&self, run_id: &str) {
        self.report(run_id, Trigger::Failure);
        self.settle();
    }

    /// Makes the receiver respond 500 to this channel's requests, or 200 again.
    pub fn set_broken(&self, channel: &str, broken: bool) {
        self.receiver.set(channel, Mode::Respond(if broken { 500 } else { 200 }));
    }
}

impl Process {
    fn start(directory: &TempDir, clock: &Arc<ManualClock>, receiver: SocketAddr) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let guard = Guard { allow: vec!["127.0.0.0/8".parse().unwrap()], allow_http: false };
        let mut context = ChannelContext::new(Arc::new(Egress::new(guard)));
        context.slack_api_base = format!("http://{receiver}/{SLACK_API}");
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(directory.path()).unwrap());
        let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
        let vault = Arc::new(Vault::new(&[7; 32]));
        let engine = runtime.block_on(async move {
            if store.workspaces().await.unwrap().is_empty() {
                let now = clock.now();
                let workspace = Workspace::new(new_id(clock.as_ref(), now), instance::DEFAULT_WORKSPACE, now);
                let record = WorkspaceRecord { workspace, preferences: Preferences::default(), api_keys: vec![] };
                store.create_workspace(record, None, vec![]).await.unwrap();
            }
            Engine::start(store, context, vault, clock, Options::default()).await.unwrap()
        });
        Self { engine, runtime }
    }
}
