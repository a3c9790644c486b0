//! The probe in the body of an endpoint: its type, and the fields of that type.

use serde_json::Value;
use tidings_channels::egress::tls::read_settings;
use tidings_domain::endpoint::{EXPECTED_STATUS_CODES_MAX, ExpectedStatus, HttpProbe, Probe};
use tidings_domain::secret::Secret;
use tidings_domain::tls::TlsSettings;
use tidings_domain::violation::{Violation, Violations, pointer};
use tidings_engine::settings::endpoints::EndpointDraft;
use url::Url;

use super::auth::{StoredAuth, auth};
use super::draft::{items, nullable, number};
use crate::fields::{Fields, one_of, whole_number};

/// The types of endpoints.
pub(crate) const TYPES: [&str; 6] = ["http", "tcp", "icmp", "dns", "tls", EXTERNAL];
const EXTERNAL: &str = "external";
/// The fields that depend on the type.
const TYPE_SPECIFIC: [&str; 13] = [
    "url",
    "method",
    "headers",
    "body",
    "auth",
    "followRedirects",
    "expectedStatusCodes",
    "tls",
    "heartbeatSeconds",
    "host",
    "port",
    "recordType",
    "expectedValue",
];
const TLS_PORT_DEFAULT: u16 = 443;
const RECORD_TYPE_DEFAULT: &str = "A";

/// The type of a probe.
pub(crate) const fn type_of(probe: &Probe) -> &'static str {
    match probe {
        Probe::Http(_) => "http",
        Probe::Tcp { .. } => "tcp",
        Probe::Icmp { .. } => "icmp",
        Probe::Dns { .. } => "dns",
        Probe::Tls { .. } => "tls",
        Probe::External { .. } => EXTERNAL,
    }
}

/// A probe with the secret of its `auth`.
pub(super) struct Read {
    pub(super) probe: Probe,
    pub(super) secret: Option<Secret>,
}

/// Reads the type and its fields, merged over `before` if the type stays the same. Violations with pointers that `fields`
/// cannot express go to `found`.
pub(super) fn read(fields: &mut Fields, before: Option<&EndpointDraft>, found: &mut Violations) -> Option<Read> {
    let named = fields.parsed("type", &one_of(TYPES), |word| TYPES.into_iter().find(|kind| *kind == word));
    let before_type = before.map(|before| type_of(&before.definition.probe));
    let kind = fields.required("type", named.or(before_type));
    let Some(kind) = kind else {
        // Without a type, none of these is reported as unknown.
        TYPE_SPECIFIC.into_iter().for_each(|key| _ = fields.take(key));
        return None;
    };
    let before = before.filter(|before| type_of(&before.definition.probe) == kind);
    if kind == "http" {
        return http(fields, before, found);
    }
    let known = before.map(|before| &before.definition.probe);
    if kind == EXTERNAL {
        let heartbeat_before = match known {
            Some(Probe::External { heartbeat_seconds }) => *heartbeat_seconds,
            _ => None,
        };
        let heartbeat = nullable(fields, "heartbeatSeconds", |fields| number(fields, "heartbeatSeconds"));
        let probe = Probe::External { heartbeat_seconds: heartbeat.unwrap_or(heartbeat_before) };
        return Some(Read { probe, secret: None });
    }
    let host = fields.text("host").or_else(|| known.and_then(host_of).map(str::to_owned));
    let host = fields.required("host", host);
    let probe = match kind {
        "tcp" => {
            let port = port(fields, known);
            let port = fields.required("port", port);
            Probe::Tcp { host: host?, port: port? }
        }
        "tls" => {
            let port = port(fields, known).unwrap_or(TLS_PORT_DEFAULT);
            let before = known.and_then(Probe::tls).cloned().unwrap_or_default();
            let tls = tls(fields, before, found);
            Probe::Tls { host: host?, port, tls }
        }
        "dns" => {
            let (record_before, value_before) = match known {
                Some(Probe::Dns { record_type, expected_value, .. }) => (record_type.as_str(), expected_value.clone()),
                _ => (RECORD_TYPE_DEFAULT, None),
            };
            let record_type = fields.text("recordType").unwrap_or_else(|| record_before.to_owned());
            let expected_value = nullable(fields, "expectedValue", |fields| fields.text("expectedValue"));
            Probe::Dns { host: host?, record_type, expected_value: expected_value.unwrap_or(value_before) }
        }
        _ => Probe::Icmp { host: host? },
    };
    Some(Read { probe, secret: None })
}

fn host_of(probe: &Probe) -> Option<&str> {
    match probe {
        Probe::Http(_) | Probe::External { .. } => None,
        Probe::Tcp { host, .. } | Probe::Icmp { host } | Probe::Dns { host, .. } | Probe::Tls { host, .. } => {
            Some(host)
        }
    }
}

fn port(fields: &mut Fields, before: Option<&Probe>) -> Option<u16> {
    let named = fields.integer("port", 1, u16::MAX.into()).and_then(|port| port.try_into().ok());
    named.or(match before {
        Some(Probe::Tcp { port, .. } | Probe::Tls { port, .. }) => Some(*port),
        _ => None,
    })
}

fn http(fields: &mut Fields, before: Option<&EndpointDraft>, found: &mut Violations) -> Option<Read> {
    let known = before.and_then(|before| match &before.definition.probe {
        Probe::Http(http) => Some(http),
        _ => None,
    });
    let url = fields.text("url").or_else(|| known.map(|http| http.url.clone()));
    let url = fields.required("url", url);
    let mut http = known.cloned().unwrap_or_else(|| HttpProbe::new(""));
    let origin_changed = known.zip(url.as_ref()).is_some_and(|(known, url)| !is_same_origin(&known.url, url));
    let stored =
        StoredAuth { auth: http.auth.take(), secret: before.and_then(|before| before.secret.clone()), origin_changed };
    if let Some(url) = url.clone() {
        http.url = url;
    }
    if let Some(method) = fields.text("method") {
        http.method = method;
    }
    if let Some(headers) = headers(fields, found) {
        http.headers = headers;
    }
    if let Some(body) = nullable(fields, "body", |fields| fields.text("body")) {
        http.body = body;
    }
    http.follow_redirects = fields.boolean("followRedirects").unwrap_or(http.follow_redirects);
    let expected = "must be a status code, such as 200, or a range, such as \"200-299\"";
    let codes = items(fields, "expectedStatusCodes", EXPECTED_STATUS_CODES_MAX, expected, expected_status);
    http.expected_status_codes = codes.unwrap_or(http.expected_status_codes);
    http.tls = tls(fields, std::mem::take(&mut http.tls), found);
    let (auth, secret) = auth(fields, stored, found);
    http.auth = auth;
    url.map(|_| Read { probe: Probe::Http(http), secret })
}

/// Reads `tls`, merged over the present settings: absent fields keep their value, `null` removes it, and all of them where
/// the whole object is `null`.
fn tls(fields: &mut Fields, before: TlsSettings, found: &mut Violations) -> TlsSettings {
    let Some(given) = fields.take("tls") else { return before };
    let merged = match (given, serde_json::to_value(&before)) {
        (Value::Object(given), Ok(Value::Object(mut merged))) => {
            merged.extend(given);
            Value::Object(merged)
        }
        (given, _) => given,
    };
    match read_settings(&merged, true) {
        Ok(profile) => profile.settings(),
        Err(violations) => {
            found.extend(violations.into_iter().map(|violation| violation.under("/tls")));
            before
        }
    }
}

/// Whether scheme, host and port are equal. An invalid URL has no origin and equals none.
fn is_same_origin(one: &str, other: &str) -> bool {
    let origin = |text| Url::parse(text).ok().map(|url| url.origin());
    origin(one).is_some_and(|one| one.is_tuple() && Some(one) == origin(other))
}

/// A number beyond `u16` is clamped, so that validation reports its bounds.
fn expected_status(item: &Value) -> Option<ExpectedStatus> {
    match item {
        Value::String(text) => ExpectedStatus::parse(text),
        _ => whole_number(item).map(|code| ExpectedStatus::Code(code.try_into().unwrap_or(u16::MAX))),
    }
}

fn headers(fields: &mut Fields, found: &mut Violations) -> Option<Vec<(String, String)>> {
    let mut headers = Vec::new();
    for (name, value) in fields.object("headers")? {
        match value {
            Value::String(value) => headers.push((name, value)),
            _ => found.push(Violation::new(format!("/headers{}", pointer(&name)), "must be a string")),
        }
    }
    Some(headers)
}
