//! The receiver's own headers: what may be set, what is ours, and how they are kept.
//!
//! Kept as one secret, a JSON object of name and value; shown with every value masked.

use std::collections::BTreeMap;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use tidings_domain::secret::Secret;
use tidings_domain::violation::{Violation, pointer};

use crate::config::{ChannelConfig, ChannelContext};
use crate::config_reader::{GIVE_AGAIN, MASK};

/// The field's key.
pub(super) const KEY: &str = "headers";
const HEADERS_MAX: usize = 20;
const VALUE_BYTES_MAX: usize = 1_024;
const NAME_BYTES_MAX: usize = 100;

/// What belongs to the connection or to the message as such; setting it would let one request pass for another.
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

/// Reads the field over what is kept. A value that is empty or masked keeps the one kept under that name; a name that
/// is not listed is dropped; a missing field keeps all, `null` none. Where the requests go to another origin than
/// before (`moved`), nothing is kept: a value that its receiver was trusted with is no other receiver's business.
pub(super) fn check(
    input: Option<&Value>,
    current: Option<&ChannelConfig>,
    moved: bool,
    has_template: bool,
    environment: &ChannelContext,
) -> Result<BTreeMap<String, String>, Vec<Violation>> {
    let mut kept = current.map(kept).unwrap_or_default();
    if !has_template {
        // It went with the template that is gone.
        kept.retain(|name, _| !name.eq_ignore_ascii_case("content-type"));
    }
    let given = match input {
        None if moved && !kept.is_empty() => {
            return Err(kept.keys().map(|name| Violation::new(pointer(name), GIVE_AGAIN)).collect());
        }
        None => return Ok(kept),
        Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(given)) => given,
        Some(_) => return Err(vec![Violation::new("", "must be an object of header names and values")]),
    };
    if given.len() > HEADERS_MAX {
        return Err(vec![Violation::new("", format!("must hold at most {HEADERS_MAX} headers"))]);
    }
    let mut violations = Vec::new();
    let mut headers = BTreeMap::new();
    for (name, value) in given {
        let pointer = pointer(name);
        match one(name, value, &kept, moved, has_template, environment) {
            Ok(value) if headers.keys().any(|other: &String| other.eq_ignore_ascii_case(name)) => {
                drop(value);
                violations.push(Violation::new(pointer, "is there twice; header names ignore case"));
            }
            Ok(value) => drop(headers.insert(name.clone(), value)),
            Err(message) => violations.push(Violation::new(pointer, message)),
        }
    }
    if violations.is_empty() { Ok(headers) } else { Err(violations) }
}

fn one(
    name: &str,
    value: &Value,
    kept: &BTreeMap<String, String>,
    moved: bool,
    has_template: bool,
    environment: &ChannelContext,
) -> Result<String, String> {
    if name.len() > NAME_BYTES_MAX || HeaderName::try_from(name).is_err() {
        return Err(format!("is no header name: letters, digits and - only, at most {NAME_BYTES_MAX}"));
    }
    refused_name(&name.to_ascii_lowercase(), has_template, environment)?;
    let text = value.as_str().ok_or("must be a string")?;
    let value = if text.is_empty() || text == MASK {
        let before = kept.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        match before {
            Some(_) if moved => return Err(GIVE_AGAIN.into()),
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
        return Err("must not hold control characters".into());
    }
    Ok(value)
}

fn refused_name(name: &str, has_template: bool, environment: &ChannelContext) -> Result<(), String> {
    let prefixes = [&environment.run_header_prefix, &environment.workflow_header_prefix];
    let vendor = |end: &str| prefixes.iter().any(|prefix| format!("{prefix}-{end}").eq_ignore_ascii_case(name));
    if name == "content-type" && !has_template {
        Err("is application/json; it can be set together with a bodyTemplate only".into())
    } else if RESERVED.contains(&name) {
        Err("is set by Tidings itself and cannot be overridden".into())
    } else if name.starts_with("webhook-") || vendor("Signature") || vendor("Event") || vendor("Webhook-Id") {
        Err("carries Tidings' own signature and cannot be overridden".into())
    } else {
        Ok(())
    }
}

fn kept(stored: &ChannelConfig) -> BTreeMap<String, String> {
    let json = stored.secrets.get(KEY).map(Secret::expose).unwrap_or("{}");
    serde_json::from_str(json).unwrap_or_default()
}

/// Puts the headers into what is to be kept.
pub(super) fn store(headers: &BTreeMap<String, String>, stored: &mut ChannelConfig) {
    let shown: Map<String, Value> = headers.keys().map(|name| (name.clone(), Value::from(MASK))).collect();
    stored.settings.insert(KEY.into(), Value::Object(shown));
    if !headers.is_empty() {
        let json = serde_json::to_string(headers).unwrap_or_else(|_| unreachable!("its keys are strings"));
        stored.secrets.insert(KEY.into(), Secret::new(json));
    }
}

/// The headers as they go over the wire.
pub(super) fn open(stored: &ChannelConfig) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in kept(stored) {
        let (Ok(header), Ok(mut value)) = (HeaderName::try_from(&name), HeaderValue::try_from(value)) else {
            return Err(format!("the header {name} cannot be sent"));
        };
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}
