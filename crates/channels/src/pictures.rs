//! Writes every kind of message to `target/messages`, for people to check: mails as HTML and text, Slack's and Discord's JSON.
//!
//! ```text
//! cargo test -p tidings-channels --lib -- --ignored pictures
//! ```

use std::fs;
use std::path::Path;

use tidings_domain::calendar::Zone;
use tidings_domain::digest::Entry;
use tidings_domain::event::{Content as EventContent, Event, EventKind};
use tidings_domain::incident::{Cause, IncidentTrigger, SubjectField};
use tidings_domain::resource::ResourceType;
use tidings_domain::severity::Severity;
use tidings_domain::trigger::Trigger;

use crate::{OutboundMessage, discord, email, samples, slack};

fn cases() -> Vec<(&'static str, Event, Severity)> {
    use IncidentTrigger::{Escalated, Flapping, Opened, Reminder, Resolved, Stable, Worsened};
    let with = |mut event: Event, change: fn(&mut Event)| {
        change(&mut event);
        event
    };
    let traceback = |event: &mut Event| {
        let frames: String = (0..60)
            .map(|line| format!("  File \"/srv/etl/step_{line}.py\", line {line}, in run\n    load(step_{line})\n"))
            .collect();
        event.run_mut().error_message =
            Some(format!("Traceback (most recent call last):\n{frames}psycopg.errors.UndefinedTable: no \"orders\""));
    };
    let hostile = |event: &mut Event| {
        event.run_mut().resource_name = Some("*Daily* <!channel> @everyone \u{202e}txt.exe\u{1b}[31m".into());
        event.run_mut().error_message = Some(
            "\u{1b}[1;31mERROR\u{1b}[0m <b>x</b> ```\r10 %\r20 %\r\n[x](https://evil.example) \u{1b}]0;t\u{7}end"
                .into(),
        );
        event.run_mut().deep_link = Some("http://grafana/d/1?a=<b>".into());
    };
    vec![
        ("opened-down", samples::incident(Opened), Severity::Critical),
        (
            "opened-degraded",
            with(samples::incident(Opened), |event| {
                let EventContent::Incident(incident) = &mut event.content else { return };
                (incident.cause, incident.severity) = (Cause::EndpointDegraded, Severity::Warning);
                incident.detail = Some("response time 5,210 ms — limit 5,000 ms".into());
                incident.link = Some("https://app.example.com/endpoints/api".into());
            }),
            Severity::Warning,
        ),
        (
            "opened-alert",
            with(samples::incident(Opened), |event| {
                event.resource_type = ResourceType::Alert;
                let EventContent::Incident(incident) = &mut event.content else { return };
                (incident.cause, incident.name) = (Cause::Alert, "HighErrorRate".into());
                incident.detail = Some("5xx ratio of checkout is 12 % for 10 minutes.\nSee the runbook.".into());
                incident.link = Some("https://prometheus.example.com/graph?g0.expr=up".into());
                let labels = ["alertname", "job", "instance", "kubernetes_namespace"];
                let field = |label: &str| SubjectField { label: label.into(), value: format!("value of {label}") };
                incident.fields = labels.map(field).into();
            }),
            Severity::Critical,
        ),
        ("worsened", samples::incident(Worsened), Severity::Critical),
        ("escalated", samples::incident(Escalated { after_seconds: 900 }), Severity::Critical),
        ("reminder", samples::incident(Reminder { number: 2 }), Severity::Critical),
        ("flapping", samples::incident(Flapping), Severity::Critical),
        ("stable", samples::incident(Stable), Severity::Success),
        ("resolved", samples::incident(Resolved), Severity::Success),
        ("run-failure", samples::failed_flow(), Severity::Warning),
        ("run-failure-long", with(samples::failed_flow(), traceback), Severity::Critical),
        ("run-failure-hostile", with(samples::failed_flow(), hostile), Severity::Warning),
        ("run-success", samples::succeeded_query(), Severity::Success),
        (
            "use-case",
            with(samples::failed_flow(), |event| {
                (event.kind, event.resource_type) = (EventKind::WorkflowFailed, ResourceType::UseCase);
                event.trigger = Trigger::Failure;
                event.run_mut().row_count = None;
            }),
            Severity::Warning,
        ),
        (
            "digest",
            with(samples::digest(9), |event| {
                let EventContent::Digest(digest) = &mut event.content else { return };
                let reason = |entry: &mut Entry| entry.reason = Some("HTTP 502 — expected 200".into());
                digest.entries.iter_mut().for_each(reason);
            }),
            Severity::Critical,
        ),
        (
            "test",
            with(samples::test_event(), |event| {
                event.resource_type = ResourceType::Channel;
                event.resource_id = "ch_01890a5d".into();
                event.run_mut().resource_name = Some("#data-alerts".into());
            }),
            Severity::Info,
        ),
    ]
}

#[test]
#[ignore = "writes files for people"]
fn pictures_of_every_message_are_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/messages");
    fs::create_dir_all(&folder).unwrap();
    let zone = Zone::from_name("Europe/Zurich").unwrap();
    for (name, event, severity) in cases() {
        let outbound = OutboundMessage { zone: &zone, ..samples::message(&event, severity) };
        let (html, text) = email::render_both(&outbound);
        let message = outbound.texts();
        let pretty = |body: serde_json::Value| format!("{body:#}\n");
        for (form, written) in [
            ("html", html),
            ("txt", text),
            ("slack.json", pretty(slack::render_body(&message))),
            ("discord.json", pretty(discord::render_body(&message))),
        ] {
            fs::write(folder.join(format!("{name}.{form}")), written).unwrap();
        }
    }
}
