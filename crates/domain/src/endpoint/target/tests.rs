//! Tests of `endpoint::target`.

use super::*;
use proptest::prelude::*;

#[test]
fn url_must_be_http_with_a_host_and_without_credentials() {
    for good in [
        "http://localhost/",
        "HTTPS://Example.com:8443/a?b=c#d",
        "http://10.0.0.1:8080",
        "http://[::1]/",
        "https://bücher.example/päth",
        "https://example.com/a%20b",
    ] {
        assert_eq!(validate_url(good), None, "{good}");
    }
    let long = format!("https://example.com/{}", "x".repeat(URL_BYTES_MAX));
    for (bad, message) in [
        ("", "must not be empty"),
        ("example.com", "must start with"),
        ("ftp://example.com/", "must start with"),
        ("https:example.com", "must start with"),
        ("file:///etc/passwd", "must start with"),
        ("http://", "must be a URL"),
        ("https://exa mple.com/", "must not contain blanks"),
        ("https://example.com/\r\nHost: x", "must not contain blanks"),
        ("https:\\\\example.com", "must not contain blanks"),
        ("https://user:hunter2@example.com/", "must not contain a user"),
        ("https://:hunter2@example.com/", "must not contain a user"),
        ("https://user@example.com/", "must not contain a user"),
        ("https://example.com:0/", "its port"),
        ("https://example.com:65536/", "must be a URL"),
        ("https://exa<mple.com/", "must be a URL"),
        ("https://*.example.com/", "its host"),
        ("https://a..example.com/", "its host"),
        (long.as_str(), "must be at most"),
    ] {
        let found = validate_url(bad).unwrap_or_default();
        assert!(found.starts_with(message) && !found.contains("hunter2"), "{bad}: {found}");
    }
}

#[test]
fn host_must_be_a_name_or_an_address() {
    for good in ["localhost", "db-1.example.com", "_dmarc.example.com", "example.com.", "bücher.example"] {
        assert_eq!((validate_host(good), validate_dns_name(good)), (None, None), "{good}");
    }
    for address in ["10.0.0.1", "::1", "2001:db8::7", "[::1]"] {
        assert_eq!((validate_host(address), validate_dns_name(address).is_some()), (None, true), "{address}");
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
        assert!(validate_host(bad).is_some() && validate_dns_name(bad).is_some(), "{bad}");
    }
}

#[test]
fn header_cannot_inject_or_override() {
    for (name, value) in [
        ("X-Api-Key", "a b"),
        ("User-Agent", "probe"),
        ("cookie", "a=b"),
        ("X-Empty", ""),
        ("X", "é"),
        ("Host", "shop.example"),
        ("host", "[::1]:8080"),
    ] {
        assert_eq!(validate_header(name, value), None, "{name}");
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
        assert!(validate_header(name, value).is_some(), "{name}: {value}");
    }
}

proptest! {
    #[test]
    fn valid_url_parses_to_an_http_target(text in "(https?://)?[a-z@:/\\\\ %0-9.\\[\\]]{0,20}|\\PC{0,20}") {
        if validate_url(&text).is_none() {
            let url = Url::parse(&text).unwrap();
            prop_assert!(matches!(url.scheme(), "http" | "https") && url.has_host() && url.port() != Some(0));
            prop_assert!(url.username().is_empty() && url.password().is_none());
        }
    }
}
