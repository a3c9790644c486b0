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
/// From this delay on, in milliseconds, the message of a resolution says when it was.
const LATE_MS: u64 = 60_000;

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
            let since = resolved_at.map(|at| format!(" It ended at {}.", zone.format_instant(at)));
            (title, summary + since.as_deref().unwrap_or_default())
        }
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
    if let Some(previous) = incident.previous_resolved_at {
        add("Previous incident ended", zone.format_instant(previous));
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
mod tests;
