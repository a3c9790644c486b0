//! Notifications of an incident besides its opening and resolution: escalation, reminders, flapping; and what ends them.

use std::collections::BTreeSet;

use tidings_domain::access::Actor;
use tidings_domain::audit::{AuditTarget, AuditVerb};
use tidings_domain::check::CheckStatus;
use tidings_domain::delivery::Status;
use tidings_domain::endpoint::EscalationStep;
use tidings_domain::id::{ChannelId, EndpointId};
use tidings_domain::incident::episode::Report;
use tidings_domain::incident::{IncidentStatus, IncidentTrigger};
use tidings_domain::mute::MuteScope;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_engine::incidents::Alert;

use crate::receiver::{Mode, SLACK_API};
use crate::world::{World, ana};

/// An endpoint that escalates to `boss` after 15 minutes, and to `board` after an hour.
fn world_with_escalation() -> (World, EndpointId, [ChannelId; 3]) {
    let world = World::new();
    let (hook, boss, board) = (world.webhook("hook"), world.webhook("boss"), world.webhook("board"));
    let step = |after_seconds, channel_id| EscalationStep { after_seconds, channel_id };
    let endpoint = world.endpoint("API", |it| it.escalation = vec![step(900, boss), step(3_600, board)]);
    world.rule(endpoint, hook);
    (world, endpoint, [hook, boss, board])
}

#[test]
fn unacknowledged_incident_escalates_step_by_step() {
    let (world, endpoint, [hook, boss, board]) = world_with_escalation();
    world.down(endpoint);
    world.advance(899);
    assert!(world.outcomes(boss).is_empty());
    world.advance(1);
    assert_eq!((world.outcomes(boss), world.outcomes(board)), (vec!["escalated:900 sent".to_owned()], vec![]));
    assert_eq!(world.last(boss).severity, Severity::Critical);
    world.advance(2_700);
    assert_eq!(world.outcomes(board), ["escalated:3600 sent"]);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved sent"], "steps go to their own channels only");
    assert_eq!(
        world.outcomes(boss),
        ["escalated:900 sent", "resolved sent"],
        "a channel that was escalated to gets the resolution"
    );
    assert_eq!(world.outcomes(board), ["escalated:3600 sent", "resolved sent"]);
    assert_eq!(world.incident_of(endpoint).incident.notifications_sent, 6);
    // Two deliveries of the resolution have no rule: their channels distinguish their keys.
    let requests = world.receiver.requests();
    let keys: BTreeSet<_> = requests.iter().map(|request| request.body["idempotencyKey"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), 6, "{keys:#?}");
}

#[test]
fn acknowledgement_stops_escalation_and_reminders() {
    let (world, endpoint, [hook, boss, _]) = world_with_escalation();
    world.redefine(endpoint, |it| it.reminder_minutes = Some(10));
    world.down(endpoint);
    world.advance(600);
    assert_eq!(world.outcomes(hook), ["opened sent", "reminder:1 sent"]);
    let id = world.incident_of(endpoint).incident.id;
    for by in [ana(), Actor::system()] {
        let entry = world.audit_entry(AuditTarget::Incident.action(AuditVerb::Acknowledged));
        let acknowledged =
            world.wait(world.engine().acknowledge(world.workspace_id, id, by, None, Some(entry))).unwrap();
        assert_eq!(acknowledged.incident.acknowledged_by, Some(ana()));
    }
    let entries = world.audit_log();
    assert_eq!(entries.len(), 1, "the second changed nothing");
    assert_eq!(entries[0].target_name.as_deref(), Some(&*world.incident_of(endpoint).subject_info.name));
    world.advance_in_steps(7_200, 600);
    assert_eq!((world.outcomes(hook).len(), world.outcomes(boss).len()), (2, 0));
    world.up(endpoint);
    assert_eq!(world.outcomes(hook)[2..], ["resolved sent"]);
    assert!(world.wait(world.engine().acknowledge(world.workspace_id, id, ana(), None, None)).is_err());
}

#[test]
fn escalation_step_is_evaluated_by_the_gates() {
    let (world, endpoint, [_, boss, board]) = world_with_escalation();
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
    world.advance(900);
    world.advance(2_700);
    assert_eq!(world.outcomes(boss), ["escalated:900 suppressed muted"]);
    assert_eq!(world.outcomes(board), ["escalated:3600 held quiet_hours"]);
    world.advance(3_600);
    assert_eq!(world.outcomes(board), ["escalated:3600 sent"]);
}

#[test]
fn reminders_repeat_and_missed_ones_become_one() {
    let world = World::new();
    let (endpoint, hook) = (world.endpoint("API", |it| it.reminder_minutes = Some(10)), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.down(endpoint);
    world.advance(600);
    world.advance(600);
    world.advance(1_830);
    assert_eq!(world.outcomes(hook), ["opened sent", "reminder:1 sent", "reminder:2 sent", "reminder:3 sent"]);
    world.advance(570);
    assert_eq!(world.outcomes(hook)[4..], ["reminder:4 sent"]);
}

#[test]
fn down_streak_in_degraded_incident_worsens_once() {
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
        world.advance(60);
    }
    assert_eq!(world.outcomes(hook), ["opened sent", "worsened sent", "resolved sent"]);
    let severities: Vec<_> = world.deliveries().iter().map(|it| it.severity).collect();
    assert_eq!(severities, [Severity::Warning, Severity::Critical, Severity::Success]);
}

#[test]
fn flapping_and_stable_notify_once() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    for _ in 0..4 {
        world.down(endpoint);
        world.advance(60);
        world.up(endpoint);
        world.advance(60);
    }
    let outcomes = world.outcomes(hook);
    assert_eq!(outcomes.iter().filter(|line| *line == "flapping sent").count(), 1, "{outcomes:?}");
    world.advance(3_600);
    assert_eq!(world.outcomes(hook).last().unwrap(), "stable sent");
    world.advance(7_200);
    assert_eq!(world.outcomes(hook).len(), outcomes.len() + 1);
}

#[test]
fn stable_notifies_after_restart() {
    let mut world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    for _ in 0..4 {
        world.down(endpoint);
        world.up(endpoint);
    }
    world.restart();
    world.advance(3_600);
    assert_eq!(world.outcomes(hook).last().unwrap(), "stable sent");
}

#[test]
fn mute_that_ends_on_recovery_ends_before_the_resolution_is_sent() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.down(endpoint);
    world.new_mute(MuteScope::Endpoint(endpoint), None, true);
    world.mute(MuteScope::Endpoint(world.simple_endpoint("other")), None);
    world.up(endpoint);
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved suppressed muted", "deferred resolved sent"]);
    assert_eq!(world.mutes().len(), 1, "the other mute stays");
    world.down(endpoint);
    assert_eq!(world.outcomes(hook)[3..], ["opened sent"]);
}

fn alert(report: Report) -> Alert {
    Alert {
        resource_id: "disk:/var".into(),
        report,
        severity: Severity::Warning,
        detail: Some("full".into()),
        subject_info: tidings_domain::incident::SubjectInfo::default(),
    }
}

/// Ingests it; returns what it did.
fn ingest(world: &World, alert: &Alert) -> &'static str {
    let outcome = world.wait(world.engine().alert(world.workspace_id, alert.clone())).unwrap();
    match (outcome.opened.is_some(), outcome.resolved.is_some()) {
        (true, false) => "opened",
        (false, true) => "resolved",
        (true, true) => "replaced",
        (false, false) => "unchanged",
    }
}

#[test]
fn late_and_repeated_alerts_are_no_news() {
    let mut world = World::new();
    let hook = world.webhook("hook");
    world.alert_rule(hook);
    let at = |seconds: u64| Timestamp::from_unix_ms(1_777_690_000_000).plus_ms(seconds * 1_000);
    let firing = |seconds| alert(Report::Firing { since: Some(at(seconds)) });
    let over = |seconds| alert(Report::Resolved { at: Some(at(seconds)) });
    // Two servers report the same episode some seconds apart, the second one late.
    for (report, expected) in [
        (firing(20), "opened"),
        (firing(0), "unchanged"),
        (over(60), "resolved"),
        (firing(20), "unchanged"),
        (over(65), "unchanged"),
    ] {
        assert_eq!(ingest(&world, &report), expected, "{report:?}");
    }
    assert_eq!(world.incidents()[0].episode_started_at, Some(at(0)), "the earliest start");
    world.restart();
    assert_eq!(ingest(&world, &firing(63)), "unchanged", "the end is stored");
    assert_eq!(ingest(&world, &firing(900)), "opened");
    world.restart();
    assert_eq!(ingest(&world, &over(65)), "unchanged", "that was an earlier episode");
    assert_eq!(ingest(&world, &firing(1_300)), "replaced", "the report of the end was lost");
    assert_eq!(ingest(&world, &firing(900)), "unchanged");
    assert_eq!(ingest(&world, &over(1_400)), "resolved");
    world.settle();
    let pair = ["opened sent", "resolved sent"];
    assert_eq!(world.outcomes(hook), [pair, pair, pair].concat());
    let severities: Vec<_> = world.incidents().iter().map(|it| it.incident.status()).collect();
    assert_eq!(severities, [IncidentStatus::Resolved; 3]);
}

#[test]
fn alert_that_waits_while_its_idle_state_is_dropped_is_not_forgotten() {
    let world = World::new();
    let start = world.now();
    for round in 0..20 {
        let at = |seconds: u64| Some(start.plus_ms((round * 100 + seconds) * 1_000));
        let (over, firing) = (alert(Report::Resolved { at: at(0) }), alert(Report::Firing { since: at(1) }));
        let of_both = async {
            let engine = world.engine();
            tokio::join!(engine.alert(world.workspace_id, over), engine.alert(world.workspace_id, firing))
        };
        let (_, opened) = world.wait(of_both);
        assert!(opened.unwrap().opened.is_some());
        assert_eq!(ingest(&world, &alert(Report::Resolved { at: at(2) })), "resolved", "round {round}");
    }
}

#[test]
fn alert_from_a_clock_that_is_ahead_is_one_incident() {
    let world = World::new();
    let hook = world.webhook("hook");
    world.alert_rule(hook);
    let ahead = world.now().plus_ms(3_600_000);
    let reports = [
        Report::Firing { since: Some(ahead) },
        Report::Firing { since: Some(ahead) },
        Report::Resolved { at: Some(ahead.plus_ms(60_000)) },
        Report::Firing { since: Some(ahead) },
    ];
    assert_eq!(reports.map(|it| ingest(&world, &alert(it))), ["opened", "unchanged", "resolved", "unchanged"]);
}

#[test]
fn alert_opens_and_resolves_an_incident() {
    let mut world = World::new();
    let hook = world.webhook("hook");
    let rule = world.alert_rule(hook);
    world.pause(rule, true);
    let firing = alert(Report::Firing { since: Some(world.now()) });
    let over = alert(Report::Resolved { at: None });
    assert_eq!([&firing, &firing].map(|it| ingest(&world, it)), ["opened", "unchanged"]);
    world.pause(rule, false);
    world.restart();
    world.settle();
    assert_eq!(world.outcomes(hook), ["opened suppressed rule_paused", "deferred opened sent"]);
    assert_eq!([&over, &over].map(|it| ingest(&world, it)), ["resolved", "unchanged"]);
    world.settle();
    assert_eq!(world.outcomes(hook)[2..], ["resolved sent"]);
    assert_eq!(world.incidents()[0].incident.status(), IncidentStatus::Resolved);
}

#[test]
fn duplicate_check_changes_nothing() {
    use tidings_domain::check::{Check, ExternalCheck};
    use tidings_domain::id::{CheckId, Id};
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    let check = |status, number| {
        let check =
            ExternalCheck { status, reason: None, status_code: None, response_time_ms: None, checked_at: world.now() };
        let id = CheckId::from_bytes([number; 16]);
        let reported = world.engine().report_check(world.workspace_id, endpoint, Some(id), Check::from_external(check));
        world.wait(reported).unwrap()
    };
    assert!(!check(CheckStatus::Down, 1).is_duplicate);
    assert!(check(CheckStatus::Healthy, 1).is_duplicate, "the first report wins");
    world.settle();
    assert!(!check(CheckStatus::Healthy, 2).is_duplicate);
    assert!(check(CheckStatus::Down, 1).is_duplicate);
    world.settle();
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved sent"]);
    assert!(world.deliveries().iter().all(|it| it.status == Status::Sent));
}

#[test]
fn stable_does_not_end_mutes() {
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    for _ in 0..4 {
        world.down(endpoint);
        world.up(endpoint);
    }
    world.new_mute(MuteScope::Endpoint(endpoint), None, true);
    world.advance(3_600);
    assert_eq!(world.outcomes(hook).last().unwrap(), "stable suppressed muted");
    assert_eq!(world.mutes().len(), 1, "the mute waits for the next recovery");
}

#[test]
fn check_older_than_the_last_is_stored_and_changes_nothing() {
    use tidings_domain::check::{Check, ExternalCheck};
    use tidings_store::monitoring::CheckFilter;
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    let checked_at = world.now();
    world.advance(60);
    world.check(endpoint, CheckStatus::Healthy);
    let old = ExternalCheck {
        status: CheckStatus::Down,
        reason: None,
        status_code: None,
        response_time_ms: None,
        checked_at,
    };
    let reported = world.engine().report_check(world.workspace_id, endpoint, None, Check::from_external(old));
    assert_eq!(world.wait(reported).unwrap().incident, None);
    world.settle();
    assert!(world.outcomes(hook).is_empty());
    let filter = CheckFilter { limit: 10, ..CheckFilter::default() };
    assert_eq!(world.wait(world.engine().checks(world.workspace_id, endpoint, filter)).unwrap().len(), 2);
}

#[test]
fn deleted_endpoint_resolves_its_incident_and_notifies() {
    let world = World::new();
    let (endpoint, hook) = (world.endpoint("API", |it| it.reminder_minutes = Some(10)), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.down(endpoint);
    world.wait(world.delete_endpoint(endpoint));
    world.advance_in_steps(3_600, 600);
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved sent"]);
    assert_eq!(world.incidents()[0].incident.status(), IncidentStatus::Resolved);
    assert!(world.receiver.requests()[1].contains("endpoint deleted"), "{:?}", world.receiver.requests());
}

#[test]
fn endpoint_that_goes_down_again_while_it_is_deleted_is_over_for_all() {
    use tidings_domain::check::{Check, ExternalCheck};
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.private_rule(endpoint, "private");
    world.down(endpoint);
    world.receiver.set("private", Mode::Hang);
    let (reason, status_code, response_time_ms) = (None, None, None);
    let status = CheckStatus::Down;
    let down = ExternalCheck { status, reason, status_code, response_time_ms, checked_at: world.now() };
    let check_meanwhile = async {
        world.receiver.wait_for_requests("private", 2).await;
        world.engine().report_check(world.workspace_id, endpoint, None, Check::from_external(down)).await.unwrap();
        world.receiver.set("private", Mode::Respond(200));
    };
    world.wait(async { tokio::join!(world.delete_endpoint(endpoint), check_meanwhile) });
    world.settle();
    let pair = ["opened sent", "resolved sent"];
    assert_eq!(world.outcomes(hook), [pair, pair].concat());
    assert_eq!(world.receiver.requests_to("private").len(), 4);
}

#[test]
fn resolution_of_deleted_endpoint_is_retried_without_its_rule() {
    let mut world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    world.down(endpoint);
    world.set_broken("hook", true);
    world.wait(world.delete_endpoint(endpoint));
    world.settle();
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved pending"]);
    world.set_broken("hook", false);
    world.restart();
    world.advance(70);
    assert_eq!(world.outcomes(hook), ["opened sent", "resolved sent"]);
}

#[test]
fn muted_resolution_of_deleted_endpoint_needs_a_rule_that_is_left() {
    for keeps_rule in [true, false] {
        let mut world = World::new();
        let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
        if keeps_rule {
            world.rule_of_every_endpoint(hook);
        } else {
            world.rule(endpoint, hook);
        }
        world.down(endpoint);
        world.mute(MuteScope::Global, Some(600));
        world.wait(world.delete_endpoint(endpoint));
        world.restart();
        world.advance(600);
        let deferred: &[&str] = if keeps_rule { &["deferred resolved sent"] } else { &[] };
        assert_eq!(world.outcomes(hook)[2..], *deferred);
        assert!(world.engine().next_poll_at().is_none_or(|at| at > world.now()), "no busy loop");
    }
}

#[test]
fn paused_endpoint_keeps_its_incident_and_the_first_checks_after_decide() {
    let (world, endpoint, [hook, boss, _]) = world_with_escalation();
    world.redefine(endpoint, |it| (it.reminder_minutes, it.failure_threshold) = (Some(10), 2));
    world.check(endpoint, CheckStatus::Down);
    world.down(endpoint);
    world.set_endpoint_enabled(endpoint, false);
    world.advance_in_steps(3_600, 600);
    assert_eq!((world.outcomes(hook), world.outcomes(boss)), (vec!["opened sent".to_owned()], vec![]));
    world.set_endpoint_enabled(endpoint, true);
    world.advance(60);
    assert!(world.outcomes(boss).is_empty(), "no one knows yet whether it is still down");
    assert_eq!(world.check(endpoint, CheckStatus::Healthy), Some(IncidentTrigger::Resolved));
    world.settle();
    assert_eq!((world.outcomes(hook)[1..].to_vec(), world.outcomes(boss)), (vec!["resolved sent".to_owned()], vec![]));
    // A streak does not go on over a pause.
    assert_eq!(world.check(endpoint, CheckStatus::Down), None);
    world.set_endpoint_enabled(endpoint, false);
    world.set_endpoint_enabled(endpoint, true);
    assert_eq!(world.check(endpoint, CheckStatus::Down), None);
    assert_eq!(world.check(endpoint, CheckStatus::Down), Some(IncidentTrigger::Opened));
}

#[test]
fn resumed_endpoint_that_is_still_down_escalates_after_its_first_check() {
    let (world, endpoint, [_, boss, _]) = world_with_escalation();
    world.down(endpoint);
    world.set_endpoint_enabled(endpoint, false);
    world.advance(1_000);
    world.set_endpoint_enabled(endpoint, true);
    world.settle();
    assert!(world.outcomes(boss).is_empty());
    world.check(endpoint, CheckStatus::Down);
    world.settle();
    assert_eq!(world.outcomes(boss), ["escalated:900 sent"]);
}

#[test]
fn endpoint_that_is_probed_in_another_way_starts_its_streak_over() {
    let world = World::new();
    let endpoint = world.endpoint("API", |it| it.failure_threshold = 2);
    assert_eq!(world.check(endpoint, CheckStatus::Down), None);
    world.redefine(endpoint, |it| {
        it.probe = tidings_domain::endpoint::Probe::Icmp { host: "203.0.113.8".into() };
    });
    assert_eq!(world.check(endpoint, CheckStatus::Down), None);
    assert_eq!(world.check(endpoint, CheckStatus::Down), Some(IncidentTrigger::Opened));
}

#[test]
fn reported_check_of_the_future_does_not_silence_those_after_it() {
    use tidings_domain::check::{Check, ExternalCheck};
    let world = World::new();
    let (endpoint, hook) = (world.simple_endpoint("API"), world.webhook("hook"));
    world.rule(endpoint, hook);
    let checked_at = world.now().plus_ms(3_600_000);
    let (reason, status_code, response_time_ms) = (None, None, None);
    let ahead = ExternalCheck { status: CheckStatus::Healthy, reason, status_code, response_time_ms, checked_at };
    world.wait(world.engine().report_check(world.workspace_id, endpoint, None, Check::from_external(ahead))).unwrap();
    world.advance(60);
    world.down(endpoint);
}

#[test]
fn slack_bot_posts_an_incident_in_one_thread() {
    let world = World::new();
    let (endpoint, bot) = (world.simple_endpoint("API"), world.slack_bot());
    world.redefine(endpoint, |it| it.reminder_minutes = Some(10));
    world.rule(endpoint, bot);
    world.down(endpoint);
    world.advance(600);
    world.up(endpoint);
    assert_eq!(world.outcomes(bot), ["opened sent", "reminder:1 sent", "resolved sent"]);
    let requests = world.receiver.requests_to(SLACK_API);
    let threads: Vec<_> = requests
        .iter()
        .map(|it| (it.body["thread_ts"].as_str(), it.body["ts"].as_str(), it.contains("recovered")))
        .collect();
    let (opened, reminded) = ((None, None, false), (Some("1.5"), None, false));
    assert_eq!(threads, [opened, reminded, (Some("1.5"), None, true), (None, Some("1.5"), true)]);
}
