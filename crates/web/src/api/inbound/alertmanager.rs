//! `/in/alertmanager/{secret}`: takes in what Prometheus' Alertmanager tells its webhook receivers (version 4).
//!
//! Each alert is a resource of its own, known by its fingerprint: the same whoever tells of it, so that two Alertmanagers
//! that tell the same open one incident. Fields that are not read here are let be: the form is not ours.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use tidings_domain::incident::{SubjectField, SubjectInfo};
use tidings_domain::severity::Severity;
use tidings_domain::text::truncate_chars;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::{Violation, Violations};
use tidings_engine::incidents::Alert;

use crate::answer::{Answer, ok};
use crate::api::runs::{instant_fault, link_fault, resource_id_fault};
use crate::auth::InboundCaller;
use crate::body::Object;
use crate::fields::{Fields, one_of};
use crate::problem::Problem;
use crate::query::INSTANT_FORM;

/// The word for this form.
pub(super) const KIND: &str = "alertmanager";
/// The most alerts in one message.
const ALERTS_MAX: usize = 1_000;
/// How many labels of an alert are kept.
const LABELS_MAX: usize = 20;
/// How much of each is kept, in characters.
const LABEL_CHARS_MAX: usize = 100;
const VALUE_CHARS_MAX: usize = 300;
const TAG_CHARS_MAX: usize = 50;
const NAME_CHARS_MAX: usize = 200;
const DETAIL_CHARS_MAX: usize = 1_000;
/// What the timeline says where Alertmanager says that it is over.
const RESOLVED: &str = "Alertmanager says that it is resolved";

/// What a message did.
#[derive(Serialize, Default)]
struct Counts {
    opened: u32,
    resolved: u32,
    unchanged: u32,
}

/// Takes a message in. Nothing is done if anything in it is wrong; then its alerts are taken in their order. One that is
/// told again, because the answer was lost, changes nothing.
pub(crate) async fn tell(caller: InboundCaller, object: Object) -> Answer {
    if caller.kind() != KIND {
        return Err(Problem::not_found("path"));
    }
    let mut counts = Counts::default();
    for alert in read(object)? {
        let is_firing = alert.is_firing;
        let count = match caller.engine().alert(caller.workspace_id(), alert).await? {
            None => &mut counts.unchanged,
            Some(_) if is_firing => &mut counts.opened,
            Some(_) => &mut counts.resolved,
        };
        *count += 1;
    }
    ok(&counts)
}

fn read(object: Object) -> Result<Vec<Alert>, Problem> {
    let mut fields = Fields::where_null_is_absent(object);
    let version = fields.parsed("version", "must be \"4\"", |version| (version == "4").then_some(()));
    fields.required("version", version);
    let link = fields.text("externalURL").filter(|link| link_fault(link).is_none());
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
            Value::Object(object) => read.extend(one(Object(object), at, link.as_deref(), &mut found)),
            _ => found.push(Violation::new(at, "must be an object")),
        }
    }
    if found.is_empty() { Ok(read) } else { Err(Problem::invalid(found)) }
}

/// Reads one alert.
fn one(object: Object, at: String, otherwise: Option<&str>, found: &mut Violations) -> Option<Alert> {
    let mut fields = Fields::where_null_is_absent(object).at(at.clone());
    let is_firing = fields.parsed("status", &one_of(["firing", "resolved"]), |word| match word {
        "firing" => Some(true),
        "resolved" => Some(false),
        _ => None,
    });
    let is_firing = fields.required("status", is_firing);
    let fingerprint = fields.text_where("fingerprint", resource_id_fault);
    let fingerprint = fields.required("fingerprint", fingerprint);
    let starts_at = fields.parsed("startsAt", INSTANT_FORM, Timestamp::parse);
    let starts_at = fields.required("startsAt", starts_at);
    if let Some(fault) = starts_at.and_then(instant_fault) {
        fields.refuse("startsAt", fault);
    }
    let link = fields.text("generatorURL").filter(|link| link_fault(link).is_none());
    let link = link.or_else(|| otherwise.map(str::to_owned));
    let labels = texts(&mut fields, "labels");
    let annotations = texts(&mut fields, "annotations");
    found.extend(fields.into_violations_of_known());
    let (resource_id, is_firing) = (fingerprint?, is_firing?);
    let about = about(&labels, &annotations, &resource_id, link);
    Some(Alert {
        is_firing,
        severity: severity(labels.get("severity").map(String::as_str)),
        starts_at: starts_at?,
        detail: if is_firing { detail(&annotations) } else { Some(RESOLVED.to_owned()) },
        about,
        resource_id,
    })
}

/// An object of texts.
fn texts(fields: &mut Fields, key: &'static str) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for (name, value) in fields.object(key).unwrap_or_default() {
        match value {
            Value::String(value) => _ = texts.insert(name, value),
            _ => fields.refuse_once(key, "must be an object of strings"),
        }
    }
    texts
}

/// What the label `severity` means: there is no rule for it, only habits.
fn severity(label: Option<&str>) -> Severity {
    match label.unwrap_or_default().to_ascii_lowercase().as_str() {
        "critical" | "page" => Severity::Critical,
        "info" | "none" => Severity::Info,
        _ => Severity::Warning,
    }
}

fn detail(annotations: &BTreeMap<String, String>) -> Option<String> {
    let said = |key: &str| annotations.get(key).filter(|text| !text.trim().is_empty());
    let text = said("summary").or_else(|| said("description")).or_else(|| said("message"))?;
    Some(truncate_chars(text.trim(), DETAIL_CHARS_MAX))
}

fn about(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    fingerprint: &str,
    link: Option<String>,
) -> SubjectInfo {
    let name = match (labels.get("alertname"), labels.get("instance")) {
        (Some(name), Some(instance)) => format!("{name} ({instance})"),
        (Some(name), None) => name.clone(),
        (None, _) => format!("alert {fingerprint}"),
    };
    let described = annotations.get("description").filter(|_| annotations.contains_key("summary"));
    let described =
        described.map(|text| SubjectField { label: "description".to_owned(), value: clean(text, DETAIL_CHARS_MAX) });
    let others = labels.iter().filter(|(label, _)| *label != "alertname").take(LABELS_MAX);
    let fact = |(label, value): (&String, &String)| SubjectField {
        label: clean(label, LABEL_CHARS_MAX),
        value: clean(value, VALUE_CHARS_MAX),
    };
    SubjectInfo {
        name: clean(&name, NAME_CHARS_MAX),
        url: None,
        link,
        fields: described.into_iter().chain(others.clone().map(fact)).collect(),
        tags: others.map(|(label, value)| clean(&format!("{label}={value}"), TAG_CHARS_MAX)).collect(),
    }
}

/// One line of at most so many characters.
fn clean(text: &str, chars_max: usize) -> String {
    let line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    truncate_chars(&line, chars_max)
}
