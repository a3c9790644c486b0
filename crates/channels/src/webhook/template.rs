//! Bodies made by a user's template from the default body's fields and `title`, `summary` and `severity`.
//!
//! A template is untrusted code that runs in the senders' tasks: [`sandbox`] restricts its syntax and its filters, fuel
//! limits its steps, a budget what they read and make, and the output is limited in bytes. All that can be reported fits
//! into these limits once; a template that exceeds them fails, and the standard body is sent instead.

use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior, Value};
use tidings_domain::calendar::Zone;
use tidings_domain::event::{Content, Event};
use tidings_domain::id::{EventId, Id, WorkspaceId};
use tidings_domain::incident::{Cause, IncidentSnapshot, IncidentTrigger, SubjectField};
use tidings_domain::message::{self, Message};
use tidings_domain::payload;
use tidings_domain::resource::ResourceType;
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::trigger::Trigger;

use super::operands;
use super::sandbox::{self, BoundedWriter};
use super::values::Fields;

/// The longest template.
pub(super) const TEMPLATE_BYTES_MAX: usize = 16 * 1_024;
/// The longest body that a template may produce: twice the longest `output` that a run may report.
const OUTPUT_BYTES_MAX: usize = 512 * 1_024;
/// Steps (minijinja instructions) per rendering.
const FUEL: u64 = 50_000;
const NAME: &str = "bodyTemplate";

pub(super) struct Template(Environment<'static>);

impl Template {
    /// Compiles the template. The error says what is wrong, and in which line.
    pub(super) fn new(source: &str) -> Result<Self, String> {
        if source.len() > TEMPLATE_BYTES_MAX {
            return Err(format!("must be at most {TEMPLATE_BYTES_MAX} bytes"));
        }
        sandbox::check(source)?;
        let mut environment = Environment::empty();
        environment.set_fuel(Some(FUEL));
        // A field that an event lacks is no error: one template serves all kinds of events.
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        // Bodies are not HTML; `tojson` does the escaping where it is needed.
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_formatter(write_value);
        sandbox::add_filters(&mut environment);
        environment.add_template_owned(NAME, operands::mark(source)).map_err(|error| describe(&error))?;
        Ok(Self(environment))
    }

    /// Renders the body for an event: `plain` is its default JSON body.
    pub(super) fn render(&self, plain: &[u8], message: &Message) -> Result<Vec<u8>, String> {
        let mut fields = Fields::parse(plain).ok_or("the event has no JSON body")?;
        for (key, text) in
            [("title", &*message.title), ("summary", &*message.summary), ("severity", message.severity.as_str())]
        {
            fields.insert(key, text);
        }
        let mut output =
            BoundedWriter { bytes: Vec::with_capacity(1_024), bytes_max: OUTPUT_BYTES_MAX, is_full: false };
        let template = self.0.get_template(NAME).map_err(|error| describe(&error))?;
        let rendered = template.render_captured_to(Value::from_object(fields), &mut output);
        rendered.map_err(|error| describe(&error))?;
        Ok(output.bytes)
    }

    /// Renders a sample of every kind of event, with quotes and line breaks in its texts. With `is_json` each result
    /// must be JSON. Called when a configuration is saved, so that a mistake is reported then and not by failing
    /// deliveries.
    pub(super) fn try_samples(&self, is_json: bool) -> Result<(), String> {
        for event in sample_events() {
            let message = message::of(&event, Severity::Warning, &Zone::UTC);
            let plain = payload::body(&event, || message.clone(), String::new);
            let body =
                self.render(&plain, &message).map_err(|why| format!("fails for {}: {why}", event.kind.as_str()))?;
            if is_json && let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&body) {
                return Err(format!(
                    "does not produce JSON for {} ({error}); insert texts with | tojson and without quotes around \
                     them, or set a content-type header",
                    event.kind.as_str()
                ));
            }
        }
        Ok(())
    }
}

/// An event of each kind of body, with texts that need escaping.
fn sample_events() -> Vec<Event> {
    let now = Timestamp::from_unix_ms(1_777_694_412_345);
    let runs = [
        (ResourceType::Flow, Some(Trigger::Failure)),
        (ResourceType::Flow, Some(Trigger::Success)),
        (ResourceType::UseCase, Some(Trigger::Failure)),
        (ResourceType::UseCase, Some(Trigger::Success)),
        (ResourceType::Channel, None),
    ];
    let sample = |(resource_type, trigger): (ResourceType, Option<Trigger>)| {
        let (id, workspace_id) = (EventId::from_bytes([1; 16]), WorkspaceId::from_bytes([2; 16]));
        let mut event = Event::sample(id, workspace_id, resource_type, "sample", now);
        if let Some(trigger) = trigger {
            event.kind = tidings_domain::event::EventKind::for_run(resource_type, trigger);
            event.trigger = trigger;
            event.run_mut().resource_name = Some("Sample \"quoted\" \\ name".into());
            event.run_mut().duration_ms = Some(1_842);
            event.run_mut().row_count = Some(124);
            event.run_mut().deep_link = Some("https://example.com/runs/1".into());
            event.run_mut().error_message =
                (trigger == Trigger::Failure).then(|| "relation \"orders\" does not exist\nline 2".into());
        }
        event
    };
    let mut samples: Vec<Event> = runs.into_iter().map(sample).collect();
    let incidents = [
        (ResourceType::Endpoint, IncidentTrigger::Opened),
        (ResourceType::Endpoint, IncidentTrigger::Resolved),
        (ResourceType::Alert, IncidentTrigger::Opened),
    ];
    samples.extend(incidents.map(|(resource_type, trigger)| {
        let mut event = sample((resource_type, None));
        (event.kind, event.trigger) = (trigger.event_kind(), Trigger::Incident(trigger));
        event.content = Content::Incident(Box::new(sample_incident(resource_type, trigger, now)));
        event
    }));
    samples
}

fn sample_incident(resource_type: ResourceType, trigger: IncidentTrigger, now: Timestamp) -> IncidentSnapshot {
    let is_alert = resource_type == ResourceType::Alert;
    IncidentSnapshot {
        name: "Sample \"quoted\" \\ name".into(),
        url: (!is_alert).then(|| "https://example.com/health".into()),
        link: is_alert.then(|| "https://example.com/alerts/1".into()),
        cause: if is_alert { Cause::Alert } else { Cause::EndpointDown },
        detail: Some("\"status\" is \"down\"\nline 2".into()),
        severity: Severity::Critical,
        started_at: now,
        failing_since: now,
        resolved_at: (trigger == IncidentTrigger::Resolved).then_some(now),
        at: now,
        resolution: None,
        previous_resolved_at: None,
        flap_changes: None,
        escalates_to: None,
        actor: None,
        fields: vec![SubjectField { label: "region \"1\"".into(), value: "eu\nwest".into() }],
        tags: vec!["\"prod\"".into()],
    }
}

/// Writes `none` and undefined as nothing, and booleans, lists and objects as JSON; everything else as minijinja does.
fn write_value(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    match value.kind() {
        ValueKind::None => Ok(()),
        ValueKind::Bool => Ok(output.write_str(if value.is_true() { "true" } else { "false" })?),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {
            Ok(output.write_str(&sandbox::json(value, OUTPUT_BYTES_MAX)?)?)
        }
        _ => minijinja::escape_formatter(output, state, value),
    }
}

/// minijinja's message without the template's name.
pub(super) fn describe(error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    match error.kind() {
        ErrorKind::OutOfFuel => format!("it takes more than {FUEL} steps"),
        ErrorKind::WriteFailure => format!("it produces more than {OUTPUT_BYTES_MAX} bytes"),
        kind => match error.detail() {
            Some(detail) => format!("{kind}: {detail}{line}"),
            None => format!("{kind}{line}"),
        },
    }
}

#[cfg(test)]
mod tests;
