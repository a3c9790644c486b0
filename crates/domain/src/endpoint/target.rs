//! Validates the URLs, hosts and headers of probes. Messages never quote a value, as a URL or a header may contain a
//! secret.

use std::net::{IpAddr, Ipv6Addr};

use url::{Host, Url};

use super::limits::{HEADER_NAME_BYTES_MAX, HEADER_VALUE_BYTES_MAX, HOST_BYTES_MAX, URL_BYTES_MAX};
use crate::text::has_control;

/// Headers that only the HTTP client may set: those that delimit the message or control its connection, and
/// `accept-encoding`, which names the codings that Tidings decodes.
const RESERVED: [&str; 11] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What is wrong with the URL of an HTTP probe, if anything.
pub(super) fn validate_url(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("must not be empty".to_owned());
    }
    if text.len() > URL_BYTES_MAX {
        return Some(format!("must be at most {URL_BYTES_MAX} bytes"));
    }
    // The URL parser tolerates blanks, line breaks, backslashes and missing slashes, so that a lenient and a strict reader
    // would disagree on where the URL goes.
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Some("must not contain blanks, control characters or backslashes".to_owned());
    }
    let starts_with = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if !starts_with("http://") && !starts_with("https://") {
        return Some("must start with http:// or https://".to_owned());
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return Some(format!("must be a URL such as https://example.com/health: {error}")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Some("must not contain a user or a password: use auth, which is stored encrypted".to_owned());
    }
    match (url.host(), url.port()) {
        (None, _) => Some("must have a host".to_owned()),
        (Some(Host::Domain(name)), _) if !has_labels(name) => {
            Some("its host must be a name such as example.com, or an address".to_owned())
        }
        (Some(_), Some(0)) => Some("its port must be from 1 to 65535".to_owned()),
        (Some(_), _) => None,
    }
}

/// What is wrong with the host of a probe, if anything.
pub(super) fn validate_host(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("must not be empty")
    } else if is_host_name(text) || is_address(text) {
        None
    } else {
        Some("must be a name such as db.example.com or an address such as 2001:db8::1, without scheme, port or path")
    }
}

/// Whether the text is an IP address. An IPv6 address may be in brackets.
fn is_address(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(bare) => bare.parse::<Ipv6Addr>().is_ok(),
        None => text.parse::<IpAddr>().is_ok(),
    }
}

/// What is wrong with the name that a DNS probe queries, if anything.
pub(super) fn validate_dns_name(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("must not be empty")
    } else if is_host_name(text) {
        None
    } else {
        Some("must be a name such as example.com")
    }
}

/// Whether the text is a host name and cannot be read as an address, as `127.1` can.
fn is_host_name(text: &str) -> bool {
    text.len() <= URL_BYTES_MAX
        && !text.contains(|c: char| c == '%' || c.is_control() || c.is_whitespace())
        && matches!(Host::parse(text), Ok(Host::Domain(name)) if has_labels(&name))
}

/// Whether a name in ASCII form consists of labels (RFC 1035, 2.3.4). DNS also uses underscores, as in `_dmarc`.
fn has_labels(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= HOST_BYTES_MAX && name.split('.').all(is_label)
}

/// What is wrong with a header name (a token of RFC 9110, 5.6.2), if anything.
pub(crate) fn validate_header_name(name: &str) -> Option<&'static str> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() {
        Some("must not be empty")
    } else if name.len() > HEADER_NAME_BYTES_MAX || !name.bytes().all(is_token) {
        Some("must be a header name: letters, digits and - only, at most 100")
    } else {
        None
    }
}

/// What is wrong with a request header of a probe, if anything.
pub(super) fn validate_header(name: &str, value: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    if let Some(message) = validate_header_name(name) {
        Some(message.to_owned())
    } else if lower == "authorization" || lower == "proxy-authorization" {
        Some("is a secret: use auth, which is stored encrypted".to_owned())
    } else if RESERVED.contains(&lower.as_str()) {
        Some("is set by Tidings itself and cannot be overridden".to_owned())
    } else if value.len() > HEADER_VALUE_BYTES_MAX {
        Some(format!("must be at most {HEADER_VALUE_BYTES_MAX} bytes"))
    } else if has_control(value) {
        Some("must not contain control characters".to_owned())
    } else if lower == "host" && !is_authority(value) {
        Some("must be a host such as example.com, with or without a port".to_owned())
    } else {
        None
    }
}

/// Whether the text is a valid value of `Host`, which users set to select a site by name at a given address.
fn is_authority(text: &str) -> bool {
    !text.contains(['/', '?', '#', '@']) && validate_url(&format!("http://{text}")).is_none()
}

#[cfg(test)]
mod tests;
