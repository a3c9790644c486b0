//! Where a probe goes and what it carries: which URLs, hosts and headers are right. Values are never quoted: a URL or
//! a header may hold a secret.

use std::net::{IpAddr, Ipv6Addr};

use url::{Host, Url};

use super::limits::{HEADER_NAME_BYTES_MAX, HEADER_VALUE_BYTES_MAX, HOST_BYTES_MAX, URL_BYTES_MAX};
use crate::text::has_control;

/// Headers that say where a message ends and what becomes of its connection, and the one that asks for bodies that
/// Tidings does not unpack.
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

/// What is wrong with the URL of an HTTP probe.
pub(super) fn url_fault(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("must not be empty".to_owned());
    }
    if text.len() > URL_BYTES_MAX {
        return Some(format!("must be at most {URL_BYTES_MAX} bytes"));
    }
    // A URL parser forgives much: blanks, line breaks, missing slashes, backslashes. Those who read it might not.
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Some("must not hold blanks, control characters or backslashes".to_owned());
    }
    let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if !begins("http://") && !begins("https://") {
        return Some("must begin with http:// or https://".to_owned());
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return Some(format!("must be a URL such as https://example.com/health: {error}")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Some("must not hold a user or a password: give them as auth, where they are kept sealed".to_owned());
    }
    match (url.host(), url.port()) {
        (None, _) => Some("must name a host".to_owned()),
        (Some(Host::Domain(name)), _) if !has_labels(name) => {
            Some("its host must be a name such as example.com, or an address".to_owned())
        }
        (Some(_), Some(0)) => Some("its port must be from 1 to 65535".to_owned()),
        (Some(_), _) => None,
    }
}

/// What is wrong with the host of a probe.
pub(super) fn host_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("must not be empty")
    } else if is_host_name(text) || is_address(text) {
        None
    } else {
        Some("must be a name such as db.example.com or an address such as 2001:db8::1, without scheme, port or path")
    }
}

/// Whether it is an address; one of IPv6 may stand in brackets.
fn is_address(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(bare) => bare.parse::<Ipv6Addr>().is_ok(),
        None => text.parse::<IpAddr>().is_ok(),
    }
}

/// What is wrong with the name that a DNS probe asks for.
pub(super) fn name_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("must not be empty")
    } else if is_host_name(text) {
        None
    } else {
        Some("must be a name such as example.com")
    }
}

/// Whether it is a name, and none that would be read as an address, such as `127.1`.
fn is_host_name(text: &str) -> bool {
    text.len() <= URL_BYTES_MAX
        && !text.contains(|c: char| c == '%' || c.is_control() || c.is_whitespace())
        && matches!(Host::parse(text), Ok(Host::Domain(name)) if has_labels(&name))
}

/// Whether a name in its ASCII form is made of labels (RFC 1035, 2.3.4). Underscores are at home in DNS.
fn has_labels(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= HOST_BYTES_MAX && name.split('.').all(is_label)
}

/// What is wrong with the name of a header (RFC 9110, 5.6.2).
pub(crate) fn header_name_fault(name: &str) -> Option<&'static str> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() {
        Some("must not be empty")
    } else if name.len() > HEADER_NAME_BYTES_MAX || !name.bytes().all(is_token) {
        Some("must be a header name: letters, digits and - only, at most 100")
    } else {
        None
    }
}

/// What is wrong with a header that a probe shall carry.
pub(super) fn header_fault(name: &str, value: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    if let Some(fault) = header_name_fault(name) {
        Some(fault.to_owned())
    } else if lower == "authorization" || lower == "proxy-authorization" {
        Some("is a secret: give it as auth, where it is kept sealed".to_owned())
    } else if RESERVED.contains(&lower.as_str()) {
        Some("is set by Tidings itself and cannot be overridden".to_owned())
    } else if value.len() > HEADER_VALUE_BYTES_MAX {
        Some(format!("must be at most {HEADER_VALUE_BYTES_MAX} bytes"))
    } else if has_control(value) {
        Some("must not hold control characters".to_owned())
    } else if lower == "host" && !is_authority(value) {
        Some("must be a host such as example.com, with or without a port".to_owned())
    } else {
        None
    }
}

/// Whether it may stand behind `Host:`, for one of several sites at the same address.
fn is_authority(text: &str) -> bool {
    !text.contains(['/', '?', '#', '@']) && url_fault(&format!("http://{text}")).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn urls_are_http_name_a_host_and_hold_no_credentials() {
        for good in [
            "http://localhost/",
            "HTTPS://Example.com:8443/a?b=c#d",
            "http://10.0.0.1:8080",
            "http://[::1]/",
            "https://bücher.example/päth",
            "https://example.com/a%20b",
        ] {
            assert_eq!(url_fault(good), None, "{good}");
        }
        let long = format!("https://example.com/{}", "x".repeat(URL_BYTES_MAX));
        for (bad, fault) in [
            ("", "must not be empty"),
            ("example.com", "must begin with"),
            ("ftp://example.com/", "must begin with"),
            ("https:example.com", "must begin with"),
            ("file:///etc/passwd", "must begin with"),
            ("http://", "must be a URL"),
            ("https://exa mple.com/", "must not hold blanks"),
            ("https://example.com/\r\nHost: x", "must not hold blanks"),
            ("https:\\\\example.com", "must not hold blanks"),
            ("https://user:hunter2@example.com/", "must not hold a user"),
            ("https://:hunter2@example.com/", "must not hold a user"),
            ("https://user@example.com/", "must not hold a user"),
            ("https://example.com:0/", "its port"),
            ("https://example.com:65536/", "must be a URL"),
            ("https://exa<mple.com/", "must be a URL"),
            ("https://*.example.com/", "its host"),
            ("https://a..example.com/", "its host"),
            (long.as_str(), "must be at most"),
        ] {
            let found = url_fault(bad).unwrap_or_default();
            assert!(found.starts_with(fault) && !found.contains("hunter2"), "{bad}: {found}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses_and_nothing_else() {
        for good in ["localhost", "db-1.example.com", "_dmarc.example.com", "example.com.", "bücher.example"] {
            assert_eq!((host_fault(good), name_fault(good)), (None, None), "{good}");
        }
        for address in ["10.0.0.1", "::1", "2001:db8::7", "[::1]"] {
            assert_eq!((host_fault(address), name_fault(address).is_some()), (None, true), "{address}");
        }
        let (long, label) = (["abcdefg"; 40].join("."), format!("{}.com", "a".repeat(64)));
        let bad = [
            "",
            ".",
            "a..b",
            "https://a",
            "a:80",
            "a/b",
            "a b",
            "a\n",
            "[::1",
            "::1]",
            "[10.0.0.1]",
            "127.1",
            "0x7f.1",
            "a%41",
            "*.a",
            "u@a",
        ];
        for bad in bad.into_iter().chain(["fe80::1%eth0", &long, &label]) {
            assert!(host_fault(bad).is_some() && name_fault(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn headers_cannot_inject_or_override() {
        for (name, value) in [
            ("X-Api-Key", "a b"),
            ("User-Agent", "probe"),
            ("cookie", "a=b"),
            ("X-Empty", ""),
            ("X", "é"),
            ("Host", "shop.example"),
            ("host", "[::1]:8080"),
        ] {
            assert_eq!(header_fault(name, value), None, "{name}");
        }
        for (name, value) in [
            ("", "a"),
            ("X Y", "a"),
            ("X:", "a"),
            ("X\r\nY", "a"),
            ("é", "a"),
            ("X", "a\r\nHost: b"),
            ("X", "a\0"),
            ("Host", ""),
            ("Host", "a b"),
            ("Host", "a/b"),
            ("Host", "u@a"),
            ("Host", "a:0"),
            ("Transfer-Encoding", "chunked"),
            ("CONTENT-LENGTH", "0"),
            ("Authorization", "Bearer x"),
            (&"x".repeat(101), "a"),
            ("X", &"x".repeat(4_097)),
        ] {
            assert!(header_fault(name, value).is_some(), "{name}: {value}");
        }
    }

    proptest! {
        #[test]
        fn a_url_that_passes_goes_where_it_says(text in "(https?://)?[a-z@:/\\\\ %0-9.\\[\\]]{0,20}|\\PC{0,20}") {
            if url_fault(&text).is_none() {
                let url = Url::parse(&text).unwrap();
                prop_assert!(matches!(url.scheme(), "http" | "https") && url.has_host() && url.port() != Some(0));
                prop_assert!(url.username().is_empty() && url.password().is_none());
            }
        }
    }
}
