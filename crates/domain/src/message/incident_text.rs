//! The message of an incident's event.

use super::{Field, Message, Thread, detail, link, short_name};
use crate::calendar::Zone;
use crate::event::Event;
use crate::incident::{Cause, IncidentSnapshot, IncidentTrigger};
use crate::severity::Severity;
use crate::text::{clean, clean_line, format_duration, is_blank, name_or_id};
use crate::trigger::Trigger;

/// Most fields from the source.
const SOURCE_FIELDS_MAX: usize = 20;

/// An opening lasts as long as the failure threshold took; only one that was deferred has lasted longer than this.
const OPENING_LASTED_MS_MIN: u64 = 60_000;

pub(super) fn from_incident(event: &Event, incident: &IncidentSnapshot, severity: Severity, zone: &Zone) -> Message {
    let trigger = trigger_of(event);
    let name = short_name(name_or_id(Some(&incident.name), &event.resource_id));
    let (title, summary) = describe(incident, trigger, &name, zone);
    let tags = incident.tags.iter().map(|tag| clean_line(tag)).filter(|tag| !is_blank(tag));
    Message {
        kind: event.kind,
        severity,
        title,
        summary,
        detail_label: match trigger {
            IncidentTrigger::Resolved | IncidentTrigger::Stable => "What was wrong",
            _ => "Reason",
        },
        detail: incident.detail.as_deref().and_then(detail),
        link: incident.link.as_deref().and_then(link),
        fields: fields(event, incident, zone),
        tags: tags.collect(),
        entries: Vec::new(),
        entries_left: 0,
        thread: Some(Thread { id: event.run_id.clone(), about: name, state: describe_state(incident, trigger) }),
        timestamp: incident.at,
        zone: zone.clone(),
    }
}

const fn trigger_of(event: &Event) -> IncidentTrigger {
    match event.trigger {
        Trigger::Incident(trigger) => trigger,
        Trigger::Success | Trigger::Failure => IncidentTrigger::Opened,
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
fn describe(incident: &IncidentSnapshot, trigger: IncidentTrigger, name: &str, zone: &Zone) -> (String, String) {
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
            let at = zone.format_instant(incident.failing_since);
            let since = match incident.cause {
                Cause::Alert => format!("{name} has been {been} since {at}."),
                _ => format!("{name} {state}. The first failing check was at {at}."),
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
        IncidentTrigger::Resolved => match incident.cause {
            Cause::Alert => (format!("{name} is resolved"), format!("{name} fired for {duration}.")),
            _ => (format!("{name} has recovered"), format!("{name} is healthy again after {duration}.")),
        },
    }
}

fn fields(event: &Event, incident: &IncidentSnapshot, zone: &Zone) -> Vec<Field> {
    let mut fields = Vec::with_capacity(7 + incident.fields.len());
    let mut add = |label: &'static str, value: String| fields.push(Field::new(label, value));
    let what = match incident.cause {
        Cause::Alert => "Alert",
        _ => "Endpoint",
    };
    add(what, clean_line(name_or_id(Some(&incident.name), &event.resource_id)));
    if let Some(url) = incident.url.as_deref().filter(|url| !is_blank(url)) {
        add("Address", clean_line(url));
    }
    add("Started", zone.format_instant(incident.failing_since));
    let lasted_ms = incident.lasted_ms();
    if let Some(resolved_at) = incident.resolved_at {
        add("Resolved", zone.format_instant(resolved_at));
        add("Lasted", format_duration(lasted_ms));
    } else {
        let is_shown = match trigger_of(event) {
            IncidentTrigger::Opened => lasted_ms > OPENING_LASTED_MS_MIN,
            // Resolved before, though the snapshot does not say when.
            IncidentTrigger::Stable => false,
            _ => true,
        };
        if is_shown {
            add("Ongoing for", format_duration(lasted_ms));
        }
    }
    if let Some(actor) = incident.actor.as_deref().filter(|actor| !is_blank(actor)) {
        add("By", clean_line(actor));
    }
    add("Incident", clean_line(&event.run_id));
    let visible = incident.fields.iter().filter(|field| !is_blank(&field.value));
    let of_source = visible.take(SOURCE_FIELDS_MAX);
    fields.extend(of_source.map(|field| Field::new(clean_line(&field.label), clean(&field.value).trim().to_owned())));
    fields
}

#[cfg(test)]
mod tests {
    use crate::calendar::Zone;
    use crate::event::tests::incident_event;
    use crate::event::{Content, Event};
    use crate::incident::IncidentTrigger::{Escalated, Flapping, Opened, Reminder, Resolved, Stable, Worsened};
    use crate::message::{Field, Message};
    use crate::severity::Severity;
    use crate::time::Timestamp;

    fn of(event: &Event, severity: Severity) -> Message {
        crate::message::of(event, severity, &Zone::UTC)
    }

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
    fn opening_lasts_only_if_it_was_deferred() {
        let mut event = incident_event(Opened);
        let lasting = |event: &Event| {
            of(event, Severity::Critical)
                .fields
                .into_iter()
                .find(|field| matches!(&*field.label, "Lasted" | "Ongoing for"))
        };
        let Content::Incident(incident) = &mut event.content else { panic!("an incident event") };
        incident.at = incident.failing_since;
        assert_eq!(lasting(&event), None);
        let Content::Incident(incident) = &mut event.content else { panic!("an incident event") };
        incident.at = Timestamp::from_unix_ms(incident.failing_since.unix_ms() + 7_200_000);
        assert_eq!(lasting(&event), Some(Field::new("Ongoing for", "2 h 0 min")));
        assert_eq!(lasting(&incident_event(Resolved)), Some(Field::new("Lasted", "2 min 12 s")));
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
