//! Request bodies of endpoints: creation, edit and test. This module checks types and known values; the domain validates
//! bounds.

use serde_json::Value;
use tidings_domain::check::{ASSERTIONS_MAX, Assertion, AssertionKind, CheckStatus, Operator};
use tidings_domain::endpoint::{Definition, ESCALATION_STEPS_MAX, EscalationStep, TAGS_MAX};
use tidings_domain::maintenance::{MaintenanceWindow, Recurring, WINDOWS_MAX};
use tidings_domain::severity::Severity;
use tidings_domain::time::Timestamp;
use tidings_domain::violation::Violations;
use tidings_engine::settings::endpoints::EndpointDraft;

use super::probe::{self, Read};
use crate::body::Object;
use crate::fields::{Fields, INTEGER_MAX, one_of};
use crate::query::INSTANT_FORM;

/// The name of an endpoint test without one.
const NAME_OF_TEST: &str = "a test";
/// Days in a maintenance window.
const DAYS_MAX: usize = 7;

/// Reads a creation.
pub(super) fn new(object: Object) -> Result<EndpointDraft, Violations> {
    read(Fields::null_as_absent(object), None, None)
}

/// Reads an edit, merged over the endpoint.
pub(super) fn merged(object: Object, before: EndpointDraft) -> Result<EndpointDraft, Violations> {
    read(Fields::new(object), Some(before), None)
}

/// Reads a test: merged over an endpoint, or like a creation, in which the name is optional.
pub(super) fn test(object: Object, before: Option<EndpointDraft>) -> Result<EndpointDraft, Violations> {
    match before {
        Some(before) => merged(object, before),
        None => read(Fields::null_as_absent(object), None, Some(NAME_OF_TEST)),
    }
}

fn read(
    mut fields: Fields,
    before: Option<EndpointDraft>,
    default_name: Option<&str>,
) -> Result<EndpointDraft, Violations> {
    let (name_before, enabled_before) = match &before {
        Some(before) => (Some(before.name.clone()), before.enabled),
        None => (default_name.map(str::to_owned), true),
    };
    let name = fields.text("name").or(name_before);
    let name = fields.required("name", name);
    let enabled = fields.boolean("enabled").unwrap_or(enabled_before);
    let mut of_probe = Violations::new();
    let read = probe::read(&mut fields, before.as_ref(), &mut of_probe);
    let mut definition = before.map(|before| before.definition);
    if let Some(Read { probe, .. }) = &read {
        let known = definition.get_or_insert_with(|| Definition::new(probe.clone()));
        if probe.is_external() && !known.probe.is_external() {
            // Settings of probes have no effect any more, and are refused.
            let defaults = Definition::new(probe.clone());
            known.interval_seconds = defaults.interval_seconds;
            known.timeout_ms = defaults.timeout_ms;
            known.latency_threshold_ms = defaults.latency_threshold_ms;
            known.ssl_warning_days = defaults.ssl_warning_days;
            known.assertions = defaults.assertions;
        }
        known.probe = probe.clone();
    }
    // Without a valid probe the other fields are read all the same, so that their violations are reported, too. The
    // placeholder is discarded below.
    let mut definition =
        definition.unwrap_or_else(|| Definition::new(tidings_domain::endpoint::Probe::Icmp { host: String::new() }));
    overwrite(&mut fields, &mut definition);
    let mut found = fields.into_violations();
    found.extend(of_probe);
    match (name, read) {
        (Some(name), Some(read)) if found.is_empty() => {
            Ok(EndpointDraft { name, enabled, definition, secret: read.secret })
        }
        _ => Err(found),
    }
}

/// Overwrites the definition with the fields that are present, except the probe.
fn overwrite(fields: &mut Fields, definition: &mut Definition) {
    put(&mut definition.assertions, fields.objects("assertions", ASSERTIONS_MAX, assertion));
    put(&mut definition.interval_seconds, number(fields, "intervalSeconds"));
    put(&mut definition.timeout_ms, number(fields, "timeoutMs"));
    put(&mut definition.latency_threshold_ms, number(fields, "latencyThresholdMs"));
    put(&mut definition.ssl_warning_days, number(fields, "sslWarningDays"));
    let severities = [Severity::Critical, Severity::Warning, Severity::Info];
    let severity = |word: &str| severities.into_iter().find(|severity| severity.as_str() == word);
    put(&mut definition.severity, fields.parsed("severity", &one_of(severities.map(Severity::as_str)), severity));
    put(&mut definition.failure_threshold, number(fields, "failureThreshold"));
    put(&mut definition.recovery_threshold, number(fields, "recoveryThreshold"));
    put(&mut definition.cooldown_seconds, number(fields, "cooldownSeconds"));
    put(&mut definition.recovery_alert, fields.boolean("recoveryAlert"));
    let parent = |fields: &mut Fields| {
        fields.parsed("parentId", "must be an endpoint's id, such as ep_…, or null", |text| text.parse().ok())
    };
    put(&mut definition.parent_id, nullable(fields, "parentId", parent));
    put(&mut definition.reminder_minutes, nullable(fields, "reminderMinutes", |it| number(it, "reminderMinutes")));
    put(&mut definition.maintenance_windows, fields.objects("maintenanceWindows", WINDOWS_MAX, window));
    put(&mut definition.escalation, fields.objects("escalation", ESCALATION_STEPS_MAX, step));
    let tag = |item: &Value| item.as_str().map(str::to_owned);
    put(&mut definition.tags, items(fields, "tags", TAGS_MAX, "must be a string", tag));
}

fn put<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// A field that may be `null`, which is `Some(None)`.
pub(super) fn nullable<T>(
    fields: &mut Fields,
    key: &'static str,
    read: impl FnOnce(&mut Fields) -> Option<T>,
) -> Option<Option<T>> {
    if fields.take_null(key) { Some(None) } else { read(fields).map(Some) }
}

/// A whole number, clamped to `u32`; the domain validates its bounds.
pub(super) fn number(fields: &mut Fields, key: &'static str) -> Option<u32> {
    fields.integer(key, 0, INTEGER_MAX).map(|number| number.try_into().unwrap_or(u32::MAX))
}

/// A list of at most `items_max` values that `parse` accepts; `expected` is the message for others.
pub(super) fn items<T>(
    fields: &mut Fields,
    key: &'static str,
    items_max: usize,
    expected: &str,
    parse: impl Fn(&Value) -> Option<T>,
) -> Option<Vec<T>> {
    let Value::Array(items) = fields.take(key)? else {
        fields.refuse(key, "must be a list");
        return None;
    };
    if items.len() > items_max {
        fields.refuse(key, format!("must hold at most {items_max} items"));
        return None;
    }
    let mut list = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        match parse(item) {
            Some(value) => list.push(value),
            None => fields.refuse_item(key, index, expected),
        }
    }
    Some(list)
}

fn assertion(fields: &mut Fields) -> Option<Assertion> {
    let kinds = one_of(AssertionKind::ALL.map(AssertionKind::as_str));
    let kind = fields.parsed("kind", &kinds, AssertionKind::parse);
    let kind = fields.required("kind", kind);
    let operators = one_of(Operator::ALL.map(Operator::as_str));
    let operator = fields.parsed("operator", &operators, Operator::parse);
    let operator = fields.required("operator", operator);
    let target = fields.text("target");
    let value = fields.text("value");
    let severities = [CheckStatus::Down, CheckStatus::Degraded];
    let named = |word: &str| severities.into_iter().find(|severity| severity.as_str() == word);
    let severity = fields.parsed("severity", &one_of(severities.map(CheckStatus::as_str)), named);
    let severity = severity.unwrap_or(CheckStatus::Down);
    Some(Assertion { kind: kind?, operator: operator?, target, value, severity })
}

fn window(fields: &mut Fields) -> Option<MaintenanceWindow> {
    let kind = fields.parsed("kind", &one_of(["once", "recurring"]), |word| match word {
        "once" => Some(true),
        "recurring" => Some(false),
        _ => None,
    });
    let is_once = match fields.required("kind", kind) {
        Some(is_once) => is_once,
        None => {
            // The other fields depend on the kind: without it, none of them is reported as unknown.
            for key in
                ["startsAt", "endsAt", "days", "monthDay", "start", "durationMinutes", "timezone", "from", "until"]
            {
                fields.take(key);
            }
            return None;
        }
    };
    if is_once {
        let starts_at = instant(fields, "startsAt");
        let starts_at = fields.required("startsAt", starts_at);
        let ends_at = instant(fields, "endsAt");
        let ends_at = fields.required("endsAt", ends_at);
        return Some(MaintenanceWindow::Once { starts_at: starts_at?, ends_at: ends_at? });
    }
    let day = |item: &Value| item.as_str().map(str::to_owned);
    let days = items(fields, "days", DAYS_MAX, "must be mon, tue, wed, thu, fri, sat or sun", day);
    let month_day = number(fields, "monthDay");
    let start = fields.text("start");
    let start = fields.required("start", start);
    let duration_minutes = number(fields, "durationMinutes");
    let duration_minutes = fields.required("durationMinutes", duration_minutes);
    let timezone = fields.text("timezone");
    let timezone = fields.required("timezone", timezone);
    let (from, until) = (instant(fields, "from"), instant(fields, "until"));
    Some(MaintenanceWindow::Recurring(Recurring {
        days: days.unwrap_or_default(),
        month_day,
        start: start?,
        duration_minutes: duration_minutes?,
        timezone: timezone?,
        from,
        until,
    }))
}

fn instant(fields: &mut Fields, key: &'static str) -> Option<Timestamp> {
    fields.parsed(key, INSTANT_FORM, Timestamp::parse)
}

fn step(fields: &mut Fields) -> Option<EscalationStep> {
    let after_seconds = number(fields, "afterSeconds");
    let after_seconds = fields.required("afterSeconds", after_seconds);
    let expected = "must be a channel's id, such as ch_… of GET /channels";
    let channel_id = fields.parsed("channelId", expected, |text| text.parse().ok());
    let channel_id = fields.required("channelId", channel_id);
    Some(EscalationStep { after_seconds: after_seconds?, channel_id: channel_id? })
}
