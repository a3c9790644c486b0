//! What a person is told of an incident.

use super::{Field, Message, NAME_CHARS_MAX, Thread, format_instant};
use crate::event::Event;
use crate::incident::{Cause, IncidentSnapshot, IncidentTrigger};
use crate::severity::Severity;
use crate::text::{format_duration, truncate_chars};
use crate::trigger::Trigger;

/// Facts of the source's own are cut at this many.
const FACTS_MAX: usize = 20;

pub(super) fn of(event: &Event, outage: &IncidentSnapshot, severity: Severity) -> Message {
    let trigger = match event.trigger {
        Trigger::Incident(trigger) => trigger,
        Trigger::Success | Trigger::Failure => IncidentTrigger::Opened,
    };
    // A name that is blank would leave a sentence without its subject.
    let name = if outage.name.trim().is_empty() { &event.resource_id } else { &outage.name };
    let name = truncate_chars(name, NAME_CHARS_MAX);
    let (title, summary) = describe(outage, trigger, &name);
    Message {
        kind: event.kind,
        severity,
        title,
        summary,
        detail_label: match trigger {
            IncidentTrigger::Resolved | IncidentTrigger::Stable => "What was wrong",
            _ => "Reason",
        },
        detail: outage.detail.clone().filter(|text| !text.trim().is_empty()),
        link: outage.link.clone(),
        fields: fields(event, outage),
        tags: outage.tags.clone(),
        entries: Vec::new(),
        entries_left: 0,
        thread: Some(Thread { id: event.run_id.clone(), about: name, state: state(outage, trigger) }),
        timestamp: outage.at,
    }
}

/// How it stands, in as few words as will do.
const fn state(outage: &IncidentSnapshot, trigger: IncidentTrigger) -> &'static str {
    use Cause::{Alert, EndpointDegraded, EndpointDown};
    match (trigger, outage.cause) {
        (IncidentTrigger::Opened, EndpointDown) => "down",
        (IncidentTrigger::Opened, EndpointDegraded) => "degraded",
        (IncidentTrigger::Opened, Alert) => "firing",
        (IncidentTrigger::Worsened, _) => "now down",
        (IncidentTrigger::Escalated { .. }, EndpointDown) => "still down, not acknowledged",
        (IncidentTrigger::Escalated { .. }, EndpointDegraded) => "still degraded, not acknowledged",
        (IncidentTrigger::Escalated { .. }, Alert) => "still firing, not acknowledged",
        (IncidentTrigger::Reminder { .. }, EndpointDown) => "still down",
        (IncidentTrigger::Reminder { .. }, EndpointDegraded) => "still degraded",
        (IncidentTrigger::Reminder { .. }, Alert) => "still firing",
        (IncidentTrigger::Flapping, _) => "flapping",
        (IncidentTrigger::Stable, _) => "stable again",
        (IncidentTrigger::Resolved, EndpointDown | EndpointDegraded) => "recovered",
        (IncidentTrigger::Resolved, Alert) => "resolved",
    }
}

fn describe(outage: &IncidentSnapshot, trigger: IncidentTrigger, name: &str) -> (String, String) {
    let for_so_long = format_duration(outage.lasted_ms());
    let state = match outage.cause {
        Cause::EndpointDown => "is down",
        Cause::EndpointDegraded => "is degraded",
        Cause::Alert => "is firing",
    };
    let been = state.trim_start_matches("is ");
    let still = state.replacen("is", "is still", 1);
    match trigger {
        IncidentTrigger::Opened => {
            let since = match outage.cause {
                Cause::Alert => format!("{name} {state} since {}.", format_instant(outage.failing_since)),
                _ => {
                    format!("{name} {state}. The first failing check was at {}.", format_instant(outage.failing_since))
                }
            };
            (format!("{name} {state}"), since)
        }
        IncidentTrigger::Worsened => {
            (format!("{name} is down now"), format!("{name} was degraded, and is down now, after {for_so_long}."))
        }
        IncidentTrigger::Escalated { .. } => (
            format!("{name} {still}: nobody has acknowledged it"),
            format!("{name} has been {been} for {for_so_long}, and nobody has acknowledged the incident."),
        ),
        IncidentTrigger::Reminder { .. } => {
            (format!("{name} {still}"), format!("{name} has been {been} for {for_so_long}."))
        }
        IncidentTrigger::Flapping => {
            let changes = outage.changes.unwrap_or_default();
            (
                format!("{name} is flapping"),
                format!("{name} went up and down too often: {changes} changes within a short time."),
            )
        }
        IncidentTrigger::Stable => {
            (format!("{name} is stable again"), format!("{name} has stopped going up and down."))
        }
        IncidentTrigger::Resolved => match outage.cause {
            Cause::Alert => (format!("{name} is resolved"), format!("{name} fired for {for_so_long}.")),
            _ => (format!("{name} has recovered"), format!("{name} is healthy again after {for_so_long}.")),
        },
    }
}

fn fields(event: &Event, outage: &IncidentSnapshot) -> Vec<Field> {
    let mut fields = Vec::with_capacity(6 + outage.fields.len());
    let what = match outage.cause {
        Cause::Alert => "Alert",
        _ => "Endpoint",
    };
    fields.push(Field::new(what, outage.name.clone()));
    fields.extend(outage.url.clone().map(|url| Field::new("Address", url)));
    fields.push(Field::new("Started", format_instant(outage.failing_since)));
    fields.extend(outage.resolved_at.map(|at| Field::new("Resolved", format_instant(at))));
    fields.push(Field::new("Lasted", format_duration(outage.lasted_ms())));
    fields.extend(outage.actor.clone().map(|actor| Field::new("By", actor)));
    fields.push(Field::new("Incident", event.run_id.clone()));
    let facts = outage.fields.iter().take(FACTS_MAX);
    fields.extend(facts.map(|fact| Field::new(fact.label.clone(), fact.value.clone())));
    fields
}

#[cfg(test)]
mod tests {
    use crate::event::Content;
    use crate::event::tests::outage_event;
    use crate::incident::IncidentTrigger::{Escalated, Flapping, Opened, Reminder, Resolved, Stable, Worsened};
    use crate::message::{Field, of};
    use crate::severity::Severity;

    #[test]
    fn each_event_of_an_incident_says_what_happened() {
        for (trigger, title, summary) in [
            (
                Opened,
                "Production API is down",
                "Production API is down. The first failing check was at 2026-05-02 03:58:00 UTC.",
            ),
            (Worsened, "Production API is down now", "Production API was degraded, and is down now, after 2 min 12 s."),
            (
                Escalated { after_seconds: 60 },
                "Production API is still down: nobody has acknowledged it",
                "Production API has been down for 2 min 12 s, and nobody has acknowledged the incident.",
            ),
            (Reminder { number: 1 }, "Production API is still down", "Production API has been down for 2 min 12 s."),
            (
                Flapping,
                "Production API is flapping",
                "Production API went up and down too often: 7 changes within a short time.",
            ),
            (Stable, "Production API is stable again", "Production API has stopped going up and down."),
            (Resolved, "Production API has recovered", "Production API is healthy again after 2 min 12 s."),
        ] {
            let message = of(&outage_event(trigger), Severity::Critical);
            assert_eq!((message.title.as_str(), message.summary.as_str()), (title, summary));
        }
        let message = of(&outage_event(Resolved), Severity::Success);
        let lines: Vec<_> = message.fields.iter().map(|f| format!("{}: {}", f.label, f.value)).collect();
        assert_eq!(
            lines,
            [
                "Endpoint: Production API",
                "Address: https://api.example.com/health",
                "Started: 2026-05-02 03:58:00 UTC",
                "Resolved: 2026-05-02 04:00:12 UTC",
                "Lasted: 2 min 12 s",
                "Incident: inc_05050505050505050505050505050505",
                "region: eu-west"
            ]
        );
        assert_eq!(message.detail.as_deref(), Some("HTTP 502 — expected 200"));
        assert_eq!(message.tags, ["prod"]);
        assert_eq!(message.detail_label, "What was wrong");
    }

    #[test]
    fn one_incident_is_one_thread_however_it_stands() {
        let mut states = Vec::new();
        for trigger in
            [Opened, Worsened, Escalated { after_seconds: 60 }, Reminder { number: 1 }, Flapping, Stable, Resolved]
        {
            let thread = of(&outage_event(trigger), Severity::Critical).thread.unwrap();
            assert_eq!((thread.id.as_str(), thread.about.as_str()), (&*outage_event(Opened).run_id, "Production API"));
            states.push(thread.state);
        }
        states.dedup();
        assert_eq!(states.len(), 7, "each says something else: {states:?}");
    }

    #[test]
    fn who_did_it_is_said_and_a_blank_name_gives_way_to_the_id() {
        let mut event = outage_event(Resolved);
        let Content::Incident(outage) = &mut event.content else { panic!("an outage") };
        (outage.actor, outage.name) = (Some("Ada".into()), " ".into());
        let message = of(&event, Severity::Success);
        assert!(message.fields.contains(&Field::new("By", "Ada")));
        assert_eq!(message.title, "ep_07070707070707070707070707070707 has recovered");
    }
}
