//! Webhook messages of Prometheus Alertmanager (format version 4).
//!
//! Each alert is a resource, identified by its fingerprint. The fingerprint is a hash of the labels, so that two
//! Alertmanagers of a cluster that send the same alert open one incident. `startsAt` and `endsAt` distinguish late and
//! repeated reports from news ([`tidings_domain::incident::episode`]). Unknown fields are passed over, because later versions
//! of Alertmanager may add some.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_domain::id::WorkspaceId;
use tidings_domain::incident::episode::Report;
use tidings_domain::incident::{SubjectField, SubjectInfo};
use tidings_domain::severity::Severity;
use tidings_domain::text::{is_blank, truncate_chars};
use tidings_domain::time::Timestamp;
use tidings_domain::violation::{Violation, Violations};
use tidings_engine::Engine;
use tidings_engine::incidents::Alert;
use utoipa::ToSchema;

use crate::contract::Input;
use crate::error::Result;
use crate::response::Response;
use crate::runs::{instant_fault, link_fault, resource_id_fault};

/// The `type` of these webhooks.
pub const KIND: &str = "alertmanager";
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

/// A message of Alertmanager.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertmanagerMessage {
    #[schema(required)]
    pub version: MessageVersion,
    /// A page for alerts without a `generatorURL`; anything but an http or https URL is passed over.
    #[serde(default, rename = "externalURL")]
    pub external_url: Option<String>,
    /// How many alerts were left out of the message.
    #[serde(default)]
    pub truncated_alerts: Option<Value>,
    #[serde(default)]
    #[schema(max_items = 1_000)]
    pub alerts: Vec<AlertMessage>,
    /// Further fields are passed over.
    #[serde(flatten)]
    pub other: HashMap<String, Value>,
}

/// The version of the message format.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
pub enum MessageVersion {
    #[serde(rename = "4")]
    Four,
}

/// An alert of a message.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertMessage {
    #[schema(required)]
    pub status: AlertStatus,
    /// The id of the alert's resource.
    #[schema(required, min_length = 1, max_length = 200)]
    pub fingerprint: String,
    /// The year 1, as Go writes an instant that is not set, is none.
    #[serde(default)]
    pub starts_at: Option<Timestamp>,
    /// As `startsAt`.
    #[serde(default)]
    pub ends_at: Option<Timestamp>,
    /// A page about the alert; anything but an http or https URL is passed over.
    #[serde(default, rename = "generatorURL")]
    pub generator_url: Option<String>,
    /// Texts. `severity` is the severity: `critical` and `page`, `info` and `none`, else a warning.
    #[serde(default)]
    pub labels: Map<String, Value>,
    /// Texts. The first of `summary`, `description` and `message` is what is shown.
    #[serde(default)]
    pub annotations: Map<String, Value>,
    /// Further fields are passed over.
    #[serde(flatten)]
    pub other: HashMap<String, Value>,
}

/// Whether an alert is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertStatus {
    Firing,
    Resolved,
}

/// What became of the alerts.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct AlertCounts {
    pub opened: u32,
    pub resolved: u32,
    pub unchanged: u32,
    /// Alerts that Alertmanager left out of the message.
    pub truncated: u64,
}

impl Response for AlertCounts {}

/// Ingests a message: nothing of it if it has a violation, else its alerts in order. Idempotent: Alertmanager repeats a
/// message whose response it did not get, and a repeated alert changes nothing.
///
/// # Errors
/// [`crate::AppError::Invalid`], and those of the store.
pub async fn ingest(
    engine: &Engine,
    workspace_id: WorkspaceId,
    input: Input<AlertmanagerMessage>,
) -> Result<AlertCounts> {
    let (alerts, truncated) = alerts(input)?;
    if truncated > 0 {
        tracing::warn!(workspace = %workspace_id, truncated, "Alertmanager left out alerts: see max_alerts");
    }
    let mut counts = AlertCounts { truncated, ..AlertCounts::default() };
    for alert in alerts {
        let outcome = engine.alert(workspace_id, alert).await?;
        counts.opened += u32::from(outcome.opened.is_some());
        counts.resolved += u32::from(outcome.resolved.is_some());
        counts.unchanged += u32::from(outcome.opened.is_none() && outcome.resolved.is_none());
    }
    Ok(counts)
}

/// The alerts of a message, and how many Alertmanager left out.
fn alerts(input: Input<AlertmanagerMessage>) -> std::result::Result<(Vec<Alert>, u64), Violations> {
    let AlertmanagerMessage { external_url, truncated_alerts, alerts, .. } = &input.value;
    let link = external_url.as_deref().filter(|link| link_fault(link).is_none());
    let truncated = truncated_alerts.as_ref().and_then(Value::as_u64).unwrap_or(0);
    let mut read = Vec::with_capacity(alerts.len());
    let mut found = Violations::new();
    for (index, alert) in alerts.iter().enumerate() {
        let mut violations = Violations::new();
        read.push(read_alert(alert, MessageContext { link, truncated }, &mut violations));
        found.extend(violations.into_iter().map(|violation| violation.under(format_args!("/alerts/{index}"))));
    }
    let mut input = Input { value: (read, truncated), violations: input.violations };
    input.refuse(found);
    input.finish()
}

/// What all alerts of a message have in common.
#[derive(Clone, Copy)]
struct MessageContext<'a> {
    /// The URL of Alertmanager, for alerts without a link of their own.
    link: Option<&'a str>,
    /// Alerts that Alertmanager left out.
    truncated: u64,
}

fn read_alert(alert: &AlertMessage, message: MessageContext<'_>, found: &mut Violations) -> Alert {
    let AlertMessage { status, fingerprint, .. } = alert;
    found.extend(resource_id_fault(fingerprint).map(|fault| Violation::new("/fingerprint", fault)));
    let starts_at = instant(alert.starts_at, "/startsAt", found);
    let ends_at = instant(alert.ends_at, "/endsAt", found);
    let link = alert.generator_url.as_deref().filter(|link| link_fault(link).is_none()).or(message.link);
    let labels = texts(&alert.labels, "/labels", found);
    let annotations = texts(&alert.annotations, "/annotations", found);
    let mut subject_info = subject_info(&labels, &annotations, fingerprint, link.map(str::to_owned));
    if message.truncated > 0 {
        let value = format!("{} more of this group, see max_alerts in Alertmanager", message.truncated);
        subject_info.fields.insert(0, SubjectField { label: "Truncated alerts".to_owned(), value });
    }
    let is_firing = *status == AlertStatus::Firing;
    Alert {
        report: if is_firing { Report::Firing { since: starts_at } } else { Report::Resolved { at: ends_at } },
        severity: severity(labels.get("severity").map(String::as_str)),
        detail: if is_firing { detail(&annotations) } else { Some(RESOLVED.to_owned()) },
        subject_info,
        resource_id: fingerprint.clone(),
    }
}

/// An instant; `None` if it is absent or of the year 1.
fn instant(instant: Option<Timestamp>, at: &str, found: &mut Violations) -> Option<Timestamp> {
    let instant = instant.filter(|instant| !instant.to_string().starts_with("0001-"))?;
    found.extend(instant_fault(instant).map(|fault| Violation::new(at, fault)));
    Some(instant)
}

fn texts(values: &Map<String, Value>, at: &str, found: &mut Violations) -> BTreeMap<String, String> {
    let texts = values.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    let texts: BTreeMap<_, _> = texts.collect();
    if texts.len() < values.len() {
        found.push(Violation::new(at, "must be an object of strings"));
    }
    texts
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
