//! The message of an incident's event.

use super::{Field, Message, NAME_CHARS_MAX, Thread, format_instant};
use crate::event::Event;
use crate::incident::{Cause, IncidentSnapshot, IncidentTrigger};
use crate::severity::Severity;
use crate::text::{format_duration, truncate_chars};
use crate::trigger::Trigger;

/// Most fields from the source.
const SOURCE_FIELDS_MAX: usize = 20;
/// From this delay on, in milliseconds, the message of a resolution says when it was.
const LATE_MS: u64 = 60_000;

pub(super) fn from_incident(event: &Event, incident: &IncidentSnapshot, severity: Severity) -> Message {
    let trigger = match event.trigger {
        Trigger::Incident(trigger) => trigger,
        Trigger::Success | Trigger::Failure => IncidentTrigger::Opened,
    };
    // A blank name would leave the sentences without a subject.
    let name = if incident.name.trim().is_empty() { &event.resource_id } else { &incident.name };
    let name = truncate_chars(name, NAME_CHARS_MAX);
    let (title, summary) = describe(incident, trigger, &name);
    Message {
        kind: event.kind,
        severity,
        title,
        summary,
        detail_label: match trigger {
            IncidentTrigger::Resolved | IncidentTrigger::Stable => "What was wrong",
            _ => "Reason",
        },
        detail: incident.detail.clone().filter(|text| !text.trim().is_empty()),
        link: incident.link.clone(),
        fields: fields(event, incident),
        tags: incident.tags.clone(),
        entries: Vec::new(),
        entries_left: 0,
        thread: Some(Thread { id: event.run_id.clone(), about: name, state: describe_state(incident, trigger) }),
        timestamp: incident.at,
    }
}

/// The state in as few words as possible, for the head of a thread.
const fn describe_state(incident: &IncidentSnapshot, trigger: IncidentTrigger) -> &'static str {
    use Cause::{Alert, EndpointDegraded, EndpointDown};
    match (trigger, incident.cause) {
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

/// Title and summary.
fn describe(incident: &IncidentSnapshot, trigger: IncidentTrigger, name: &str) -> (String, String) {
    let duration = format_duration(incident.lasted_ms());
    let state = match incident.cause {
        Cause::EndpointDown => "is down",
        Cause::EndpointDegraded => "is degraded",
        Cause::Alert => "is firing",
    };
    let been = state.trim_start_matches("is ");
    let still = state.replacen("is", "is still", 1);
    match trigger {
        IncidentTrigger::Opened => {
            let since = match incident.cause {
                Cause::Alert => format!("{name} {state} since {}.", format_instant(incident.failing_since)),
                _ => {
                    format!(
                        "{name} {state}. The first failing check was at {}.",
                        format_instant(incident.failing_since)
                    )
                }
            };
            (format!("{name} {state}"), since)
        }
        IncidentTrigger::Worsened => {
            (format!("{name} is down now"), format!("{name} was degraded, and is down now, after {duration}."))
        }
        IncidentTrigger::Escalated { .. } => (
            format!("{name} {still}: nobody has acknowledged it"),
            format!("{name} has been {been} for {duration}, and nobody has acknowledged the incident."),
        ),
        IncidentTrigger::Reminder { .. } => {
            (format!("{name} {still}"), format!("{name} has been {been} for {duration}."))
        }
        IncidentTrigger::Flapping => {
            let changes = incident.flap_changes.unwrap_or_default();
            (
                format!("{name} is flapping"),
                format!("{name} went up and down too often: {changes} changes within a short time."),
            )
        }
        IncidentTrigger::Stable => {
            (format!("{name} is stable again"), format!("{name} has stopped going up and down."))
        }
        IncidentTrigger::Resolved => {
            let (title, summary) = match (incident.cause, &incident.resolution) {
                (_, Some(how)) => {
                    (format!("{name} is resolved"), format!("The incident of {name} ended after {duration}: {how}."))
                }
                (Cause::Alert, None) => (format!("{name} is resolved"), format!("{name} fired for {duration}.")),
                (_, None) => (format!("{name} has recovered"), format!("{name} is healthy again after {duration}.")),
            };
            // A notification of the end that was deferred arrives long after it.
            let resolved_at = incident.resolved_at.filter(|at| incident.at.since_ms(*at) >= LATE_MS);
            let since = resolved_at.map(|at| format!(" It ended at {}.", format_instant(at)));
            (title, summary + since.as_deref().unwrap_or_default())
        }
    }
}

fn fields(event: &Event, incident: &IncidentSnapshot) -> Vec<Field> {
    let mut fields = Vec::with_capacity(6 + incident.fields.len());
    let what = match incident.cause {
        Cause::Alert => "Alert",
        _ => "Endpoint",
    };
    fields.push(Field::new(what, incident.name.clone()));
    fields.extend(incident.url.clone().map(|url| Field::new("Address", url)));
    fields.push(Field::new("Started", format_instant(incident.failing_since)));
    fields.extend(incident.resolved_at.map(|at| Field::new("Resolved", format_instant(at))));
    fields.push(Field::new("Lasted", format_duration(incident.lasted_ms())));
    let previous = incident.previous_resolved_at.map(format_instant);
    fields.extend(previous.map(|at| Field::new("Previous incident ended", at)));
    fields.extend(incident.actor.clone().map(|actor| Field::new("By", actor)));
    fields.push(Field::new("Incident", event.run_id.clone()));
    let source_fields = incident.fields.iter().take(SOURCE_FIELDS_MAX);
    fields.extend(source_fields.map(|field| Field::new(field.label.clone(), field.value.clone())));
    fields
}

#[cfg(test)]
mod tests {
    use crate::event::Content;
    use crate::event::tests::incident_event;
    use crate::incident::IncidentTrigger::{Escalated, Flapping, Opened, Reminder, Resolved, Stable, Worsened};
    use crate::message::{Field, of};
    use crate::severity::Severity;

    #[test]
    fn each_incident_trigger_has_its_title_and_summary() {
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
            let message = of(&incident_event(trigger), Severity::Critical);
            assert_eq!((message.title.as_str(), message.summary.as_str()), (title, summary));
        }
        let message = of(&incident_event(Resolved), Severity::Success);
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
    fn late_resolution_and_opening_after_unsent_resolution_show_when_it_ended() {
        let mut event = incident_event(Resolved);
        let Content::Incident(incident) = &mut event.content else { panic!("an incident event") };
        incident.at = incident.at.plus_ms(3_600_000);
        let summary = "Production API is healthy again after 2 min 12 s. It ended at 2026-05-02 04:00:12 UTC.";
        assert_eq!(of(&event, Severity::Success).summary, summary);
        let Content::Incident(incident) = &mut event.content else { panic!("an incident event") };
        (incident.resolution, incident.at) = (Some("endpoint deleted".into()), event.received_at);
        let message = of(&event, Severity::Success);
        let summary = "The incident of Production API ended after 2 min 12 s: endpoint deleted.";
        assert_eq!((message.title.as_str(), message.summary.as_str()), ("Production API is resolved", summary));
        let mut event = incident_event(Opened);
        let Content::Incident(incident) = &mut event.content else { panic!("an incident event") };
        incident.previous_resolved_at = Some(incident.at.minus_ms(1_000));
        let field = Field::new("Previous incident ended", "2026-05-02 04:00:11 UTC");
        assert!(of(&event, Severity::Critical).fields.contains(&field));
    }

    #[test]
    fn messages_of_one_incident_share_a_thread() {
        let mut states = Vec::new();
        for trigger in
            [Opened, Worsened, Escalated { after_seconds: 60 }, Reminder { number: 1 }, Flapping, Stable, Resolved]
        {
            let thread = of(&incident_event(trigger), Severity::Critical).thread.unwrap();
            assert_eq!(
                (thread.id.as_str(), thread.about.as_str()),
                (&*incident_event(Opened).run_id, "Production API")
            );
            states.push(thread.state);
        }
        states.dedup();
        assert_eq!(states.len(), 7, "each state differs: {states:?}");
    }

    #[test]
    fn actor_is_a_field_and_blank_name_falls_back_to_the_id() {
        let mut event = incident_event(Resolved);
        let Content::Incident(incident) = &mut event.content else { panic!("an incident event") };
        (incident.actor, incident.name) = (Some("Ada".into()), " ".into());
        let message = of(&event, Severity::Success);
        assert!(message.fields.contains(&Field::new("By", "Ada")));
        assert_eq!(message.title, "ep_07070707070707070707070707070707 has recovered");
    }
}
