//! Which URLs may be targets, in every spelling.

use super::*;

fn refusal(url: &str, guard: &Guard) -> Option<String> {
    check_url(&Url::parse(url).unwrap_or_else(|_| panic!("{url} is a URL")), guard).err()
}

#[test]
fn check_url_odd_spellings_of_refused_addresses_are_refused() {
    let open = Guard { allow: Vec::new(), allow_http: true };
    for host in [
        "127.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f.1",
        "0x7f000001",
        "127.1",
        "127.0.1",
        "017700000001",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "foo.localhost",
        "%6cocalhost",
        "１２７.0.0.1",
        "0",
        "169.254.169.254",
        "2852039166",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "10.0.0.1",
        "192.168.1.1",
        "0xa.1",
    ] {
        for scheme in ["http", "https"] {
            let why = refusal(&format!("{scheme}://{host}/x?token=hunter2hunter2"), &open);
            let why = why.unwrap_or_else(|| panic!("{host} passed"));
            assert!(why.contains("TIDINGS_ALLOW_TARGETS") && !why.contains("hunter2"), "{why}");
        }
    }
}

#[test]
fn check_url_error_names_the_problem() {
    let guard = Guard::default();
    for (url, message) in [
        ("ftp://example.com", "https://"),
        ("file:///etc/passwd", "https://"),
        ("mailto:a@example.com", "https://"),
        ("http://example.com", "http is only allowed for"),
        ("https://user@example.com", "Authorization header"),
        ("https://user:secret@example.com", "Authorization header"),
        ("https://example.com:0/", "port 0"),
    ] {
        let why = refusal(url, &guard).unwrap_or_else(|| panic!("{url} passed"));
        assert!(why.contains(message) && !why.contains("secret"), "{url}: {why}");
    }
    assert!(refusal(&format!("https://example.com/{}", "x".repeat(2_048)), &guard).is_some());
    for url in
        ["https://example.com", "https://example.com:8443/a?b=c", "https://[2606:4700::1111]/", "https://8.8.8.8"]
    {
        assert_eq!(refusal(url, &guard), None, "{url}");
    }
}

#[test]
fn check_url_plain_http_needs_allowed_target() {
    let inside = Guard { allow: vec!["127.0.0.0/8".parse().unwrap()], allow_http: false };
    assert_eq!(refusal("http://127.0.0.1:8080/", &inside), None);
    assert_eq!(refusal("http://localhost:8080/", &inside), None);
    assert_eq!(refusal("http://sink.internal/", &inside), None, "the address is checked when the name is resolved");
    assert!(refusal("http://8.8.8.8/", &inside).is_some());
    let everywhere = Guard { allow: Vec::new(), allow_http: true };
    assert_eq!(refusal("http://example.com/", &everywhere), None);
    assert!(refusal("http://127.0.0.1/", &everywhere).is_some());
}
