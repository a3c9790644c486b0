//! What is told of an incident beside its opening and its end: escalation, reminders, flapping; and what ends them.

use tidings_domain::check::CheckStatus;
use tidings_domain::delivery::Status;
use tidings_domain::endpoint::EscalationStep;
use tidings_domain::id::{ChannelId, EndpointId};
use tidings_domain::incident::{IncidentStatus, IncidentTrigger};
use tidings_domain::mute::MuteScope;
use tidings_domain::severity::Severity;
use tidings_engine::incidents::Alert;

use crate::receiver::SLACK_API;
use crate::world::World;

/// A world with an endpoint that reaches `boss` after 15 minutes, and `board` after an hour.
fn escalating() -> (World, EndpointId, [ChannelId; 3]) {
    let world = World::new();
    let (hook, boss, board) = (world.webhook("hook"), world.webhook("boss"), world.webhook("board"));
    let step = |after_seconds, channel_id| EscalationStep { after_seconds, channel_id };
    let endpoint = world.endpoint("API", |it| it.escalation = vec![step(900, boss), step(3_600, board)]);
    world.rule(endpoint, hook);
    (world, endpoint, [hook, boss, board])
}

#[test]
fn escalation_reaches_one_channel_after_the_other_while_nobody_takes_it_on() {
    let (world, endpoint, [hook, boss, board]) = escalating();
    world.down(endpoint);
    world.pass(899);
    assert!(world.said(boss).is_empty());
    world.pass(1);
    assert_eq!((world.said(boss), world.said(board)), (vec!["escalated:900 sent".to_owned()], vec![]));
    assert_eq!(world.last(boss).severity, Severity::Critical);
    world.pass(2_700);
    assert_eq!(world.said(board), ["escalated:3600 sent"]);
    world.up(endpoint);
    assert_eq!(world.said(hook), ["opened sent", "resolved sent"], "the steps are told through their channels only");
    assert_eq!(world.said(boss), ["escalated:900 sent", "resolved sent"], "whoever was paged hears that it is over");
    assert_eq!(world.said(board), ["escalated:3600 sent", "resolved sent"]);
    assert_eq!(world.incident_of(endpoint).incident.notifications_sent, 6);
}

#[test]
fn an_acknowledgement_stops_escalation_and_reminders_and_only_the_first_counts() {
    let (world, endpoint, [hook, boss, _]) = escalating();
    world.redefine(endpoint, |it| it.reminder_minutes = Some(10));
    world.down(endpoint);
    world.pass(600);
    assert_eq!(world.said(hook), ["opened sent", "reminder:1 sent"]);
    let id = world.incident_of(endpoint).incident.id;
    for by in ["ana", "ben"] {
        let taken = world.wait(world.engine().acknowledge(world.workspace_id, id, by.into(), None)).unwrap();
        assert_eq!(taken.incident.acknowledged_by.as_deref(), Some("ana"));
    }
    world.pass_slowly(7_200, 600);
    assert_eq!((world.said(hook).len(), world.said(boss).len()), (2, 0));
    world.up(endpoint);
    assert_eq!(world.said(hook)[2..], ["resolved sent"]);
    assert!(world.wait(world.engine().acknowledge(world.workspace_id, id, "ana".into(), None)).is_err());
}

#[test]
fn a_step_walks_the_gates_of_its_channel() {
    let (world, endpoint, [_, boss, board]) = escalating();
    world.mute(MuteScope::Channel(boss), None);
    world.set_quiet(
        board,
        Some({
            let mut hours = world.quiet_for(120);
            hours.critical_passes = false;
            hours
        }),
    );
    world.down(endpoint);
    world.pass(900);
    world.pass(2_700);
    assert_eq!(world.said(boss), ["escalated:900 suppressed muted"]);
    assert_eq!(world.said(board), ["escalated:3600 held quiet_hours"]);
    world.pass(3_600);
    assert_eq!(world.said(board), ["escalated:3600 sent"]);
}

#[test]
fn reminders_come_again_and_again_and_missed_ones_become_one() {
    let world = World::new();
    let (endpoint, hook) = (world.endpoint("API", |it| it.reminder_minutes = Some(10)), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.down(endpoint);
    world.pass(600);
    world.pass(600);
    world.pass(1_830);
    assert_eq!(world.said(hook), ["opened sent", "reminder:1 sent", "reminder:2 sent", "reminder:3 sent"]);
    world.pass(570);
    assert_eq!(world.said(hook)[4..], ["reminder:4 sent"]);
}

#[test]
fn a_down_streak_in_a_degraded_incident_makes_it_worse_once() {
    let world = World::new();
    let (endpoint, hook) = (world.endpoint("API", |it| it.failure_threshold = 2), world.webhook("hook"));
    world.rule(endpoint, hook);
    let seen = [
        (CheckStatus::Degraded, None),
        (CheckStatus::Degraded, Some(IncidentTrigger::Opened)),
        (CheckStatus::Down, None),
        (CheckStatus::Inconclusive, None),
        (CheckStatus::Down, Some(IncidentTrigger::Worsened)),
        (CheckStatus::Down, None),
        (CheckStatus::Healthy, Some(IncidentTrigger::Resolved)),
    ];
    for (status, expected) in seen {
        assert_eq!(world.check(endpoint, status), expected, "{status:?}");
        world.pass(60);
    }
    assert_eq!(world.said(hook), ["opened sent", "worsened sent", "resolved sent"]);
    let severities: Vec<_> = world.deliveries().iter().map(|it| it.severity).collect();
    assert_eq!(severities, [Severity::Warning, Severity::Critical, Severity::Success]);
}

#[test]
fn flapping_is_said_once_and_so_is_calm() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    for _ in 0..4 {
        world.down(endpoint);
        world.pass(60);
        world.up(endpoint);
        world.pass(60);
    }
    let said = world.said(hook);
    assert_eq!(said.iter().filter(|line| *line == "flapping sent").count(), 1, "{said:?}");
    world.pass(3_600);
    assert_eq!(world.said(hook).last().unwrap(), "stable sent");
    world.pass(7_200);
    assert_eq!(world.said(hook).len(), said.len() + 1);
}

#[test]
fn calm_is_said_by_the_process_that_comes_after() {
    let mut world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    for _ in 0..4 {
        world.down(endpoint);
        world.up(endpoint);
    }
    world.restart();
    world.pass(3_600);
    assert_eq!(world.said(hook).last().unwrap(), "stable sent");
}

#[test]
fn a_mute_that_ends_on_recovery_does_and_says_nothing_of_that_outage() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.down(endpoint);
    world.new_mute(MuteScope::Endpoint(endpoint), None, true);
    world.mute(MuteScope::Endpoint(world.plain("other")), None);
    world.up(endpoint);
    assert_eq!(world.said(hook), ["opened sent", "resolved suppressed muted"]);
    assert_eq!(world.engine().mutes(world.workspace_id).unwrap().len(), 1, "the other stays");
    world.down(endpoint);
    assert_eq!(world.said(hook)[2..], ["opened sent"]);
}

#[test]
fn an_alert_from_outside_opens_and_resolves_an_incident() {
    use tidings_domain::resource::{ResourceSelector, ResourceType};
    use tidings_domain::trigger::RuleTrigger;
    use tidings_engine::settings::{NewRule, RuleChannel};
    let mut world = World::new();
    let hook = world.webhook("hook");
    let rule = NewRule {
        resource_type: ResourceType::Alert,
        resource: ResourceSelector::All,
        channel: RuleChannel::Shared(hook),
        triggers: RuleTrigger::OF_INCIDENTS.to_vec(),
        trigger_types: Vec::new(),
        enabled: true,
        paused: true,
        failure_severity: Severity::Warning,
    };
    let rule = world.wait(world.engine().create_rule(world.workspace_id, rule)).unwrap().value.rule.id;
    let alert = |is_firing| Alert {
        resource_id: "disk:/var".into(),
        is_firing,
        severity: Severity::Warning,
        starts_at: world.now(),
        detail: Some("full".into()),
        about: tidings_domain::incident::SubjectInfo::default(),
    };
    let (firing, over) = (alert(true), alert(false));
    let tell =
        |world: &World, alert: &Alert| world.wait(world.engine().alert(world.workspace_id, alert.clone())).unwrap();
    assert!(tell(&world, &firing).is_some() && tell(&world, &firing).is_none());
    world.pause(rule, false);
    world.restart();
    world.settle();
    assert_eq!(world.said(hook), ["opened suppressed rule_paused", "late opened sent"]);
    assert!(tell(&world, &over).is_some() && tell(&world, &over).is_none());
    world.settle();
    assert_eq!(world.said(hook)[2..], ["resolved sent"]);
    assert_eq!(world.incidents()[0].incident.status(), IncidentStatus::Resolved);
}

#[test]
fn a_check_that_is_told_again_changes_nothing() {
    use tidings_domain::check::{Check, ExternalCheck};
    use tidings_domain::id::{CheckId, Id};
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    let check = |status, number| {
        let reported =
            ExternalCheck { status, reason: None, status_code: None, response_time_ms: None, checked_at: world.now() };
        let id = CheckId::from_bytes([number; 16]);
        let told = world.engine().report_check(world.workspace_id, endpoint, Some(id), Check::reported(reported));
        world.wait(told).unwrap()
    };
    assert!(!check(CheckStatus::Down, 1).is_duplicate);
    assert!(check(CheckStatus::Healthy, 1).is_duplicate, "the first body wins");
    world.settle();
    assert!(!check(CheckStatus::Healthy, 2).is_duplicate);
    assert!(check(CheckStatus::Down, 1).is_duplicate);
    world.settle();
    assert_eq!(world.said(hook), ["opened sent", "resolved sent"]);
    assert!(world.deliveries().iter().all(|it| it.status == Status::Sent));
}

#[test]
fn calm_ends_no_mute_as_that_is_no_recovery() {
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    for _ in 0..4 {
        world.down(endpoint);
        world.up(endpoint);
    }
    world.new_mute(MuteScope::Endpoint(endpoint), None, true);
    world.pass(3_600);
    assert_eq!(world.said(hook).last().unwrap(), "stable suppressed muted");
    assert_eq!(world.engine().mutes(world.workspace_id).unwrap().len(), 1, "it waits for the next recovery");
}

#[test]
fn a_check_that_is_older_than_the_last_is_kept_and_changes_nothing() {
    use tidings_domain::check::{Check, ExternalCheck};
    use tidings_store::monitoring::CheckFilter;
    let world = World::new();
    let (endpoint, hook) = (world.plain("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    let checked_at = world.now();
    world.pass(60);
    world.check(endpoint, CheckStatus::Healthy);
    let old = ExternalCheck {
        status: CheckStatus::Down,
        reason: None,
        status_code: None,
        response_time_ms: None,
        checked_at,
    };
    let told = world.engine().report_check(world.workspace_id, endpoint, None, Check::reported(old));
    assert_eq!(world.wait(told).unwrap().incident, None);
    world.settle();
    assert!(world.said(hook).is_empty());
    let filter = CheckFilter { limit: 10, ..CheckFilter::default() };
    assert_eq!(world.wait(world.engine().checks(world.workspace_id, endpoint, filter)).unwrap().len(), 2);
}

#[test]
fn an_endpoint_that_is_deleted_in_an_outage_ends_it_without_a_word() {
    let world = World::new();
    let (endpoint, hook) = (world.endpoint("API", |it| it.reminder_minutes = Some(10)), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.down(endpoint);
    world.wait(world.engine().delete_endpoint(world.workspace_id, endpoint, None)).unwrap();
    world.pass_slowly(3_600, 600);
    assert_eq!(world.said(hook), ["opened sent"]);
    assert_eq!(world.incidents()[0].incident.status(), IncidentStatus::Resolved);
}

#[test]
fn slack_with_a_bot_token_keeps_an_incident_together() {
    let world = World::new();
    let (endpoint, bot) = (world.plain("API"), world.slack_bot());
    world.redefine(endpoint, |it| it.reminder_minutes = Some(10));
    world.rule(endpoint, bot);
    world.down(endpoint);
    world.pass(600);
    world.up(endpoint);
    assert_eq!(world.said(bot), ["opened sent", "reminder:1 sent", "resolved sent"]);
    let came = world.receiver.through(SLACK_API);
    let places: Vec<_> =
        came.iter().map(|it| (it.body["thread_ts"].as_str(), it.body["ts"].as_str(), it.says("recovered"))).collect();
    let (opened, reminded) = ((None, None, false), (Some("1.5"), None, false));
    assert_eq!(places, [opened, reminded, (Some("1.5"), None, true), (None, Some("1.5"), true)]);
}
