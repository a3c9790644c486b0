//! Generates random setups and actions.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tidings_domain::channel::{DeliveryPriority, EventFilters};
use tidings_domain::check::CheckStatus;
use tidings_domain::quiet_hours::QuietAction;
use tidings_domain::rate_limit::{RateAction, RateLimit};
use tidings_domain::severity::SeverityFilter;

/// Endpoints: a parent, its child, and an independent one.
pub const ENDPOINTS: usize = 3;
/// Channels: the first two are notified of everything, the last of resolutions only.
pub const CHANNELS: usize = 3;

/// The configuration of a history.
#[derive(Debug, Clone)]
pub struct Setup {
    pub channels: [Channel; CHANNELS],
    pub cooldown_seconds: u32,
    pub reminders: bool,
    pub escalation: bool,
    pub recovery_alert: bool,
}

#[derive(Debug, Clone)]
pub struct Channel {
    /// Whether it merges messages: Slack, else a webhook.
    pub merges: bool,
    pub limit: Option<RateLimit>,
    pub priority: DeliveryPriority,
    pub filter: SeverityFilter,
    pub filters: EventFilters,
}

/// An action of a history. Endpoints, rules and channels are given by index.
#[derive(Debug, Clone)]
pub enum Action {
    /// A check of an endpoint is reported.
    Check(usize, CheckStatus),
    /// A run is reported: failed, or successful.
    Run(bool),
    /// The clock advances, in seconds.
    Advance(u64),
    /// Everything (`target` 0), an endpoint or a channel is muted, for some time or until it is deleted. A mute of an
    /// endpoint may end on recovery.
    Mute { target: usize, seconds: Option<u64>, ends_on_recovery: bool },
    /// The oldest mute is deleted.
    Unmute,
    /// A rule is paused, or resumed.
    Pause(usize, bool),
    /// A rule is disabled, or enabled.
    Enable(usize, bool),
    /// A rule is deleted, and another one with the same settings created.
    Replace(usize),
    /// An endpoint is in maintenance from now on, for some seconds.
    Maintain(usize, u64),
    /// A channel is disabled, or enabled.
    Channel(usize, bool),
    /// A channel gets quiet hours that have just begun, with their length in minutes, or none.
    Quiet(usize, Option<(i64, QuietAction, bool)>),
    /// The receiver of a channel works (true) or fails.
    Receiver(usize, bool),
    /// All active incidents are acknowledged.
    Acknowledge,
    /// The process is killed, and another one started.
    Restart,
}

/// Any configuration.
pub fn setup() -> impl Strategy<Value = Setup> {
    let channels = [channel(), channel(), channel()];
    (channels, prop_oneof![Just(0), Just(120)], any::<bool>(), any::<bool>(), proptest::bool::weighted(0.8)).prop_map(
        |(channels, cooldown_seconds, reminders, escalation, recovery_alert)| Setup {
            channels,
            cooldown_seconds,
            reminders,
            escalation,
            recovery_alert,
        },
    )
}

fn channel() -> impl Strategy<Value = Channel> {
    let limit = (1u32..4, prop_oneof![Just(RateAction::Digest), Just(RateAction::Drop)])
        .prop_map(|(max_per_minute, action)| RateLimit { max_per_minute, action });
    let priority = prop_oneof![4 => Just(DeliveryPriority::Standard), 1 => Just(DeliveryPriority::Critical)];
    let filter = prop_oneof![4 => Just(SeverityFilter::Info), 1 => Just(SeverityFilter::Critical)];
    let sends = || proptest::bool::weighted(0.9);
    let filters = (sends(), sends(), sends()).prop_map(|(send_open, send_resolved, send_escalated)| EventFilters {
        send_open,
        send_resolved,
        send_escalated,
    });
    (any::<bool>(), option::of(limit), priority, filter, filters)
        .prop_map(|(merges, limit, priority, filter, filters)| Channel { merges, limit, priority, filter, filters })
}

/// Any sequence of actions.
pub fn actions() -> impl Strategy<Value = Vec<Action>> {
    vec(action(), 1..50)
}

fn action() -> impl Strategy<Value = Action> {
    use Action::{
        Acknowledge, Advance, Channel, Check, Enable, Maintain, Mute, Pause, Quiet, Receiver, Replace, Restart, Run,
        Unmute,
    };
    let status = prop_oneof![
        3 => Just(CheckStatus::Down),
        2 => Just(CheckStatus::Degraded),
        3 => Just(CheckStatus::Healthy),
    ];
    let seconds = prop_oneof![Just(1), Just(20), Just(61), Just(130), Just(600), Just(3_600)];
    let quiet_action = prop_oneof![3 => Just(QuietAction::Hold), 1 => Just(QuietAction::Drop)];
    let quiet = (prop_oneof![Just(5i64), Just(90)], quiet_action, any::<bool>());
    // Usually things work.
    let is_on = || proptest::bool::weighted(0.6);
    let rule = 0..ENDPOINTS * CHANNELS;
    prop_oneof![
        12 => (0..ENDPOINTS, status).prop_map(|(endpoint, status)| Check(endpoint, status)),
        3 => any::<bool>().prop_map(Run),
        8 => seconds.prop_map(Advance),
        2 => (0..1 + ENDPOINTS + CHANNELS, option::of(prop_oneof![Just(30u64), Just(900)]), any::<bool>())
            .prop_map(|(target, seconds, ends_on_recovery)| Mute { target, seconds, ends_on_recovery }),
        2 => Just(Unmute),
        2 => (rule.clone(), is_on()).prop_map(|(rule, on)| Pause(rule, !on)),
        1 => (rule.clone(), is_on()).prop_map(|(rule, on)| Enable(rule, on)),
        1 => rule.prop_map(Replace),
        1 => (0..ENDPOINTS, prop_oneof![Just(30u64), Just(900)]).prop_map(|(endpoint, seconds)| Maintain(endpoint, seconds)),
        2 => (0..CHANNELS, is_on()).prop_map(|(channel, on)| Channel(channel, on)),
        3 => (0..CHANNELS, option::weighted(0.7, quiet)).prop_map(|(channel, quiet)| Quiet(channel, quiet)),
        4 => (0..CHANNELS, any::<bool>()).prop_map(|(channel, works)| Receiver(channel, works)),
        1 => Just(Acknowledge),
        2 => Just(Restart),
    ]
}
