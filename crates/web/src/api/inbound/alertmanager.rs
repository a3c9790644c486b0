//! `/in/alertmanager/{secret}`: ingests webhook messages of Prometheus Alertmanager (format version 4).
//!
//! Each alert is a resource, identified by its fingerprint. The fingerprint is a hash of the labels, so that two
//! Alertmanagers of a cluster that send the same alert open one incident. `startsAt` and `endsAt` tell late and repeated
//! reports from news ([`tidings_domain::incident::episode`]). Unknown fields are ignored, because later versions of
//! Alertmanager may add some.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use tidings_domain::incident::episode::Report;
use tidings_domain::incident::{SubjectField, SubjectInfo};
use tidings_domain::severity::Severity;
use tidings_domain::text::{is_blank, truncate_chars};
use tidings_domain::time::Timestamp;
use tidings_domain::violation::{Violation, Violations};
use tidings_engine::incidents::Alert;

use crate::api::runs::{instant_fault, link_fault, resource_id_fault};
use crate::auth::InboundCaller;
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::problem::Problem;
use crate::query::INSTANT_FORM;
use crate::response::{ApiResult, ok};

/// The `type` of these webhooks.
pub(super) const KIND: &str = "alertmanager";
const ALERTS_MAX: usize = 1_000;
/// Labels of an alert that are stored; further ones are dropped.
const LABELS_MAX: usize = 20;
/// Longer texts are truncated.
const LABEL_CHARS_MAX: usize = 100;
const VALUE_CHARS_MAX: usize = 300;
const TAG_CHARS_MAX: usize = 50;
const NAME_CHARS_MAX: usize = 200;
const DETAIL_CHARS_MAX: usize = 1_000;
/// The detail of a resolution in the incident's timeline.
const RESOLVED: &str = "resolved in Alertmanager";

/// The response: what became of the alerts.
#[derive(Serialize, Default)]
struct Counts {
    opened: u32,
    resolved: u32,
    unchanged: u32,
    /// Alerts that Alertmanager left out of the message.
    truncated: u64,
}

/// Ingests a message: nothing of it if it has a violation, else its alerts in order. Idempotent: Alertmanager repeats a
/// message whose response it did not get, and a repeated alert changes nothing.
pub(crate) async fn ingest(caller: InboundCaller, object: Object) -> ApiResult {
    if caller.kind() != KIND {
        return Err(Problem::not_found("path"));
    }
    let (alerts, truncated) = read(object)?;
    if truncated > 0 {
        tracing::warn!(workspace = %caller.workspace_id(), truncated, "Alertmanager left out alerts: see max_alerts");
    }
    let mut counts = Counts { truncated, ..Counts::default() };
    for alert in alerts {
        let outcome = caller.engine().alert(caller.workspace_id(), alert).await?;
        counts.opened += u32::from(outcome.opened.is_some());
        counts.resolved += u32::from(outcome.resolved.is_some());
        counts.unchanged += u32::from(outcome.opened.is_none() && outcome.resolved.is_none());
    }
    ok(&counts)
}

/// The alerts of a message, and how many Alertmanager left out.
fn read(object: Object) -> Result<(Vec<Alert>, u64), Problem> {
    let mut fields = Fields::null_as_absent(object);
    let version = fields.parsed("version", "must be \"4\"", |version| (version == "4").then_some(()));
    fields.required("version", version);
    let link = fields.text("externalURL").filter(|link| link_fault(link).is_none());
    let truncated = fields.take("truncatedAlerts").as_ref().and_then(Value::as_u64).unwrap_or(0);
    let alerts = match fields.take("alerts") {
        None => Vec::new(),
        Some(Value::Array(alerts)) => alerts,
        Some(_) => {
            fields.refuse("alerts", "must be a list of alerts");
            Vec::new()
        }
    };
    if alerts.len() > ALERTS_MAX {
        fields.refuse("alerts", format!("must hold at most {ALERTS_MAX} alerts: set max_alerts in Alertmanager"));
        return Err(Problem::invalid(fields.into_violations_of_known()));
    }
    let mut read = Vec::with_capacity(alerts.len());
    let mut found = fields.into_violations_of_known();
    for (index, alert) in alerts.into_iter().enumerate() {
        let at = format!("/alerts/{index}");
        match alert {
            Value::Object(object) => {
                let context = MessageContext { link: link.as_deref(), truncated };
                read.extend(read_alert(Object(object), at, context, &mut found));
            }
            _ => found.push(Violation::new(at, "must be an object")),
        }
    }
    if found.is_empty() { Ok((read, truncated)) } else { Err(Problem::invalid(found)) }
}

/// What all alerts of a message have in common.
#[derive(Clone, Copy)]
struct MessageContext<'a> {
    /// The URL of Alertmanager, for alerts without a link of their own.
    link: Option<&'a str>,
    /// Alerts that Alertmanager left out.
    truncated: u64,
}

/// Reads one alert.
fn read_alert(object: Object, at: String, message: MessageContext<'_>, found: &mut Violations) -> Option<Alert> {
    let mut fields = Fields::null_as_absent(object).at(at.clone());
    let is_firing = fields.parsed("status", &one_of(["firing", "resolved"]), |word| match word {
        "firing" => Some(true),
        "resolved" => Some(false),
        _ => None,
    });
    let is_firing = fields.required("status", is_firing);
    let fingerprint = fields.string_matching("fingerprint", resource_id_fault);
    let fingerprint = fields.required("fingerprint", fingerprint);
    let starts_at = instant(&mut fields, "startsAt");
    let ends_at = instant(&mut fields, "endsAt");
    let link = fields.text("generatorURL").filter(|link| link_fault(link).is_none());
    let link = link.or_else(|| message.link.map(str::to_owned));
    let labels = strings(&mut fields, "labels");
    let annotations = strings(&mut fields, "annotations");
    found.extend(fields.into_violations_of_known());
    let (resource_id, is_firing) = (fingerprint?, is_firing?);
    let mut subject_info = subject_info(&labels, &annotations, &resource_id, link);
    if message.truncated > 0 {
        let value = format!("{} more of this group, see max_alerts in Alertmanager", message.truncated);
        subject_info.fields.insert(0, SubjectField { label: "Truncated alerts".to_owned(), value });
    }
    let report = if is_firing { Report::Firing { since: starts_at } } else { Report::Resolved { at: ends_at } };
    Some(Alert {
        report,
        severity: severity(labels.get("severity").map(String::as_str)),
        detail: if is_firing { detail(&annotations) } else { Some(RESOLVED.to_owned()) },
        subject_info,
        resource_id,
    })
}

/// An instant; `None` if it is absent or of the year 1, as Go writes an instant that is not set.
fn instant(fields: &mut Fields, key: &'static str) -> Option<Timestamp> {
    let instant = fields.parsed(key, INSTANT_FORM, Timestamp::parse)?;
    if instant.to_string().starts_with("0001-") {
        return None;
    }
    if let Some(fault) = instant_fault(instant) {
        fields.refuse(key, fault);
    }
    Some(instant)
}

/// An object of strings.
fn strings(fields: &mut Fields, key: &'static str) -> BTreeMap<String, String> {
    let mut strings = BTreeMap::new();
    for (name, value) in fields.object(key).unwrap_or_default() {
        match value {
            Value::String(value) => _ = strings.insert(name, value),
            _ => fields.refuse_once(key, "must be an object of strings"),
        }
    }
    strings
}

/// Maps the label `severity`. Its values are a convention of rule authors, so that unknown ones become warnings.
fn severity(label: Option<&str>) -> Severity {
    match label.unwrap_or_default().to_ascii_lowercase().as_str() {
        "critical" | "page" => Severity::Critical,
        "info" | "none" => Severity::Info,
        _ => Severity::Warning,
    }
}

fn detail(annotations: &BTreeMap<String, String>) -> Option<String> {
    let annotation = |key: &str| annotations.get(key).filter(|text| !text.trim().is_empty());
    let text = annotation("summary").or_else(|| annotation("description")).or_else(|| annotation("message"))?;
    Some(truncate_chars(text.trim(), DETAIL_CHARS_MAX))
}

fn subject_info(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    fingerprint: &str,
    link: Option<String>,
) -> SubjectInfo {
    let label = |name: &str| labels.get(name).filter(|value| !is_blank(value));
    let name = match (label("alertname"), label("instance")) {
        (Some(name), Some(instance)) => format!("{name} ({instance})"),
        (Some(name), None) => name.clone(),
        (None, _) => format!("alert {fingerprint}"),
    };
    let described = annotations.get("description").filter(|_| annotations.contains_key("summary"));
    let described =
        described.map(|text| SubjectField { label: "description".to_owned(), value: clean(text, DETAIL_CHARS_MAX) });
    let other_labels = labels.iter().filter(|(label, _)| *label != "alertname").take(LABELS_MAX);
    let field = |(label, value): (&String, &String)| SubjectField {
        label: clean(label, LABEL_CHARS_MAX),
        value: clean(value, VALUE_CHARS_MAX),
    };
    SubjectInfo {
        name: clean(&name, NAME_CHARS_MAX),
        url: None,
        link,
        fields: described.into_iter().chain(other_labels.clone().map(field)).collect(),
        tags: other_labels.map(|(label, value)| clean(&format!("{label}={value}"), TAG_CHARS_MAX)).collect(),
    }
}

/// One line of at most `chars_max` characters.
fn clean(text: &str, chars_max: usize) -> String {
    let line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    truncate_chars(&line, chars_max)
}
