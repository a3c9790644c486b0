//! A webhook's custom headers: which may be set, and how they are stored.
//!
//! They are stored as one secret, a JSON object of names and values, and shown with every value masked.

use std::collections::BTreeMap;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use tidings_domain::secret::Secret;
use tidings_domain::violation::{Violation, pointer};

use crate::config::{ChannelConfig, ChannelContext};
use crate::config_reader::{MASK, REENTER_SECRET};

/// The field's key.
pub(super) const KEY: &str = "headers";
const HEADERS_MAX: usize = 20;
const VALUE_BYTES_MAX: usize = 1_024;
const NAME_BYTES_MAX: usize = 100;

/// Headers of the connection or of message framing. Setting them could let one request pass for another (request
/// smuggling).
const RESERVED: [&str; 18] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "date",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// Merges the field over the stored headers. A value that is empty or masked keeps the stored one of that name; a name
/// that is not listed is removed; a missing field keeps all, `null` none. If the requests now go to another origin, no
/// stored value is reused: a credential must not be sent to a receiver that it was not entered for.
pub(super) fn check(
    input: Option<&Value>,
    current: Option<&ChannelConfig>,
    origin_changed: bool,
    has_template: bool,
    context: &ChannelContext,
) -> Result<BTreeMap<String, String>, Vec<Violation>> {
    let mut stored = current.map(load).unwrap_or_default();
    if !has_template {
        // A content type belongs to the template that was removed.
        stored.retain(|name, _| !name.eq_ignore_ascii_case("content-type"));
    }
    let given = match input {
        None if origin_changed && !stored.is_empty() => {
            return Err(stored.keys().map(|name| Violation::new(pointer(name), REENTER_SECRET)).collect());
        }
        None => return Ok(stored),
        Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(given)) => given,
        Some(_) => return Err(vec![Violation::new("", "must be an object of header names and values")]),
    };
    if given.len() > HEADERS_MAX {
        return Err(vec![Violation::new("", format!("must contain at most {HEADERS_MAX} headers"))]);
    }
    let mut violations = Vec::new();
    let mut headers = BTreeMap::new();
    for (name, value) in given {
        let pointer = pointer(name);
        match check_header(name, value, &stored, origin_changed, has_template, context) {
            Ok(value) if headers.keys().any(|other: &String| other.eq_ignore_ascii_case(name)) => {
                drop(value);
                violations.push(Violation::new(pointer, "is a duplicate; header names are case-insensitive"));
            }
            Ok(value) => drop(headers.insert(name.clone(), value)),
            Err(message) => violations.push(Violation::new(pointer, message)),
        }
    }
    if violations.is_empty() { Ok(headers) } else { Err(violations) }
}

fn check_header(
    name: &str,
    value: &Value,
    stored: &BTreeMap<String, String>,
    origin_changed: bool,
    has_template: bool,
    context: &ChannelContext,
) -> Result<String, String> {
    if name.len() > NAME_BYTES_MAX || HeaderName::try_from(name).is_err() {
        return Err(format!("is not a header name: letters, digits and - only, at most {NAME_BYTES_MAX}"));
    }
    check_name(&name.to_ascii_lowercase(), has_template, context)?;
    let text = value.as_str().ok_or("must be a string")?;
    let value = if text.is_empty() || text == MASK {
        let before = stored.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        match before {
            Some(_) if origin_changed => return Err(REENTER_SECRET.into()),
            Some((_, value)) => value.clone(),
            None => return Err("must not be empty".into()),
        }
    } else {
        text.trim().to_owned()
    };
    if value.len() > VALUE_BYTES_MAX {
        return Err(format!("must be at most {VALUE_BYTES_MAX} bytes"));
    }
    if value.chars().any(char::is_control) || HeaderValue::try_from(&value).is_err() {
        return Err("must not contain control characters".into());
    }
    Ok(value)
}

fn check_name(name: &str, has_template: bool, context: &ChannelContext) -> Result<(), String> {
    let prefixes = [&context.run_header_prefix, &context.workflow_header_prefix];
    let vendor = |end: &str| prefixes.iter().any(|prefix| format!("{prefix}-{end}").eq_ignore_ascii_case(name));
    if name == "content-type" && !has_template {
        Err("is application/json; it can only be set together with a bodyTemplate".into())
    } else if RESERVED.contains(&name) {
        Err("is set by Tidings itself and cannot be overridden".into())
    } else if name.starts_with("webhook-") || vendor("Signature") || vendor("Event") || vendor("Webhook-Id") {
        Err("is used by Tidings' signatures and cannot be overridden".into())
    } else {
        Ok(())
    }
}

fn load(stored: &ChannelConfig) -> BTreeMap<String, String> {
    let json = stored.secrets.get(KEY).map(Secret::expose).unwrap_or("{}");
    serde_json::from_str(json).unwrap_or_default()
}

/// Adds the headers to the configuration to store.
pub(super) fn store(headers: &BTreeMap<String, String>, stored: &mut ChannelConfig) {
    let shown: Map<String, Value> = headers.keys().map(|name| (name.clone(), Value::from(MASK))).collect();
    stored.settings.insert(KEY.into(), Value::Object(shown));
    if !headers.is_empty() {
        let json = serde_json::to_string(headers).unwrap_or_else(|_| unreachable!("its keys are strings"));
        stored.secrets.insert(KEY.into(), Secret::new(json));
    }
}

/// The headers as they are sent.
pub(super) fn header_map(stored: &ChannelConfig) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in load(stored) {
        let (Ok(header), Ok(mut value)) = (HeaderName::try_from(&name), HeaderValue::try_from(value)) else {
            return Err(format!("the header {name} has an invalid name or value"));
        };
        // Keeps the value out of `Debug` output and of requests that are shown. A content type is no secret.
        value.set_sensitive(header != http::header::CONTENT_TYPE);
        headers.insert(header, value);
    }
    Ok(headers)
}
